"""Who gets which arm, and why: the hash, the precedence row by row, and what holds for everybody."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import assign
from gateway.core.assign import HALF, Assignment, Facts, bucket_of, by_hash, in_holdback, served_weight
from gateway.core.spec import Lists
from gateway.core.types import LINE, Arm, MigrationState, Phase, Pin, Reason

CONTROL, CANDIDATE = Arm.control, Arm.candidate
SERVING = (Phase.running, Phase.paused, Phase.soaking)

# Run 1 of `m` puts alice at 3440, bob at 37642, user-42 at 70352.
ALICE = Facts("alice", names=("alice",))
BOB = Facts("bob", names=("bob",))

RUNNING = MigrationState("m", phase=Phase.running, run=1, weight=20_000)
DRAFT = MigrationState("m")
ROLLED_BACK = replace(RUNNING, phase=Phase.rolled_back, reason="user", weight=0, evicted_run=1)
KILLED = replace(ROLLED_BACK, reason="emergency")
COMPLETED = replace(RUNNING, phase=Phase.completed, weight=LINE)

NO_LISTS = Lists()
ON_CANDIDATE = Pin(CANDIDATE, run=1, ruleset="r1")
ON_CONTROL = Pin(CONTROL, run=1, ruleset="r1")

weights = st.integers(0, LINE)
buckets = st.integers(0, LINE - 1)
units = st.text(min_size=1, max_size=20)


def decide(
    state: MigrationState,
    facts: Facts,
    *,
    lists: Lists = NO_LISTS,
    holdback: float = 0.0,
    pin: Pin | None = None,
    record: Arm | None = None,
) -> Assignment:
    """Decide as the data path does: what needs no memory first."""
    settled = assign.settle(state, facts, lists, holdback)
    return settled if settled is not None else assign.remember(state, facts, pin, record)


def of(assignment: Assignment) -> tuple[Arm, Reason]:
    return assignment.arm, assignment.reason


# --- the line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "bucket"), [("alice", 3440), ("bob", 37642), ("user-42", 70352)])
def test_the_published_vectors(unit: str, bucket: int) -> None:
    assert bucket_of("m", 1, unit) == bucket


@given(st.text(max_size=8), st.integers(0, 99), units)
def test_every_unit_has_a_place_on_the_line(name: str, run: int, unit: str) -> None:
    assert 0 <= bucket_of(name, run, unit) < LINE


def test_a_new_run_and_another_migration_draw_other_people() -> None:
    def drawn(name: str, run: int) -> set[int]:
        return {n for n in range(10_000) if bucket_of(name, run, f"user-{n}") < 20_000}

    first = drawn("m", 1)
    for other in (drawn("m", 2), drawn("n", 1)):
        assert 0.17 < len(first & other) / len(first) < 0.23


def test_twenty_percent_is_twenty_percent_of_the_units() -> None:
    arms = [decide(RUNNING, Facts(f"user-{n}")).arm for n in range(10_000)]
    assert 1_800 <= arms.count(CANDIDATE) <= 2_200


@pytest.mark.parametrize("weight", [1_000, 5_000, 20_000, 45_000, 50_000])
def test_both_arms_enrol_alike_up_to_one_half(weight: int) -> None:
    enrolled = [
        a.arm for n in range(10_000) if (a := decide(replace(RUNNING, weight=weight), Facts(str(n)))).enrolled
    ]
    expected = 10_000 * weight / LINE
    assert enrolled.count(CANDIDATE) == pytest.approx(expected, abs=200)
    assert enrolled.count(CONTROL) == pytest.approx(expected, abs=200)


@pytest.mark.parametrize(
    ("bucket", "weight", "arm", "enrolled"),
    [
        (0, 0, CONTROL, False),
        (HALF, 0, CONTROL, False),
        (0, 1, CANDIDATE, True),
        (1, 1, CONTROL, False),
        (19_999, 20_000, CANDIDATE, True),
        (20_000, 20_000, CONTROL, False),
        (49_999, 20_000, CONTROL, False),
        (50_000, 20_000, CONTROL, True),
        (69_999, 20_000, CONTROL, True),
        (70_000, 20_000, CONTROL, False),
        (49_999, HALF, CANDIDATE, True),
        (50_000, HALF, CONTROL, True),
        (99_999, HALF, CONTROL, True),
        (59_999, 60_000, CANDIDATE, True),
        (60_000, 60_000, CONTROL, True),
        (99_999, LINE, CANDIDATE, True),
    ],
)
def test_the_edges_of_the_arms(bucket: int, weight: int, arm: Arm, enrolled: bool) -> None:
    assert by_hash(bucket, weight) == (arm, enrolled)


@given(buckets, weights, weights)
def test_widening_takes_nobody_out_of_the_candidate(bucket: int, one: int, other: int) -> None:
    narrow, wide = sorted((one, other))
    if by_hash(bucket, narrow)[0] is CANDIDATE:
        assert by_hash(bucket, wide) == (CANDIDATE, True)


@given(buckets, st.integers(0, HALF), st.integers(0, HALF))
def test_widening_up_to_one_half_moves_no_enrolled_unit_between_arms(
    bucket: int, one: int, other: int
) -> None:
    narrow, wide = sorted((one, other))
    arm, enrolled = by_hash(bucket, narrow)
    if enrolled:
        assert by_hash(bucket, wide) == (arm, True)


@given(buckets, weights)
def test_the_candidate_is_always_enrolled(bucket: int, weight: int) -> None:
    arm, enrolled = by_hash(bucket, weight)
    assert enrolled or arm is CONTROL


# --- the weight that is served ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "served"),
    [(Phase.draft, 0), (Phase.running, 20_000), (Phase.paused, 20_000), (Phase.soaking, LINE),
     (Phase.completed, LINE), (Phase.rolled_back, 0)],
)  # fmt: skip
def test_each_phase_serves_its_weight(phase: Phase, served: int) -> None:
    assert served_weight(replace(RUNNING, phase=phase)) == served


# --- precedence, row by row ---------------------------------------------------------------------------------

EVERYTHING = Facts("alice", ("alice",), task="internal", unservable=True, forced=CANDIDATE, continues=True)
ALL_LISTS = Lists(allow_users=("alice",), allow_tasks=("internal",), deny_users=("alice",))
"""Alice meets every rule at once; each row below takes away the one that won before it."""


def test_precedence_row_by_row() -> None:
    facts, lists, state, holdback = EVERYTHING, ALL_LISTS, KILLED, 100.0
    pin: Pin | None = ON_CANDIDATE
    record: Arm | None = CANDIDATE

    def now() -> tuple[Arm, Reason]:
        return of(decide(state, facts, lists=lists, holdback=holdback, pin=pin, record=record))

    assert now() == (CONTROL, Reason.killed)
    state = replace(KILLED, reason="user")
    assert now() == (CONTROL, Reason.denied)
    lists = replace(lists, deny_users=())
    assert now() == (CONTROL, Reason.unservable)
    facts = replace(facts, unservable=False)
    assert now() == (CANDIDATE, Reason.forced)
    facts = replace(facts, forced=None)
    assert now() == (CONTROL, Reason.not_running)
    state = RUNNING
    assert now() == (CANDIDATE, Reason.allowed_user)
    lists = replace(lists, allow_users=())
    assert now() == (CANDIDATE, Reason.allowed_task)
    lists = replace(lists, allow_tasks=())
    assert now() == (CONTROL, Reason.holdback)
    holdback = 0.0
    state = replace(RUNNING, excluded=((7, LINE),))
    assert now() == (CONTROL, Reason.excluded)
    state = RUNNING
    assert now() == (CANDIDATE, Reason.pinned)
    pin = None
    assert now() == (CANDIDATE, Reason.recorded)
    record = None
    assert now() == (CONTROL, Reason.carried_over)
    facts = replace(facts, continues=False)
    assert now() == (CANDIDATE, Reason.bucket)
    facts = replace(facts, unit=None)
    assert now() == (CONTROL, Reason.no_unit)


@pytest.mark.parametrize("forced", list(Arm))
@pytest.mark.parametrize("phase", list(Phase))
def test_an_operator_may_force_an_arm_in_any_phase(phase: Phase, forced: Arm) -> None:
    assignment = decide(replace(RUNNING, phase=phase), replace(ALICE, forced=forced))
    assert assignment == Assignment(forced, Reason.forced)


def test_nobody_forces_an_arm_after_an_emergency() -> None:
    assert of(decide(KILLED, replace(ALICE, forced=CANDIDATE))) == (CONTROL, Reason.killed)


@pytest.mark.parametrize("phase", [*SERVING, Phase.completed])
def test_listed_people_and_tasks_get_the_candidate_at_any_weight(phase: Phase) -> None:
    state = replace(RUNNING, phase=phase, weight=0)
    lists = Lists(allow_users=("bob",), allow_tasks=("internal",))
    assert of(decide(state, BOB, lists=lists)) == (CANDIDATE, Reason.allowed_user)
    assert of(decide(state, Facts("x", task="internal"), lists=lists)) == (CANDIDATE, Reason.allowed_task)
    assert of(decide(state, Facts(None, task="internal"), lists=lists)) == (CANDIDATE, Reason.allowed_task)


@pytest.mark.parametrize("state", [DRAFT, ROLLED_BACK])
def test_lists_start_nothing(state: MigrationState) -> None:
    assert of(decide(state, ALICE, lists=Lists(allow_users=("alice",)))) == (CONTROL, Reason.not_running)


def test_any_of_a_callers_names_may_be_listed() -> None:
    facts = Facts("header-value", names=("header-value", "end-user"))
    assert decide(RUNNING, facts, lists=Lists(deny_users=("end-user",))).reason is Reason.denied
    assert decide(RUNNING, facts, lists=Lists(allow_users=("end-user",))).reason is Reason.allowed_user
    assert decide(RUNNING, facts, lists=Lists(deny_users=("end",))).reason is not Reason.denied


@pytest.mark.parametrize(
    "state", [RUNNING, replace(RUNNING, phase=Phase.soaking), KILLED, DRAFT, ROLLED_BACK]
)
@pytest.mark.parametrize(
    "given",
    [
        {"lists": Lists(deny_users=("alice",))},
        {"lists": Lists(allow_users=("alice",))},
        {"holdback": 100.0},
    ],
)
def test_whoever_is_assigned_by_name_or_held_back_is_never_enrolled(
    state: MigrationState, given: dict[str, object]
) -> None:
    assert not decide(state, ALICE, **given).enrolled  # type: ignore[arg-type]


def test_forced_and_unservable_requests_are_never_enrolled() -> None:
    assert not decide(RUNNING, replace(ALICE, forced=CANDIDATE)).enrolled
    assert not decide(RUNNING, replace(ALICE, unservable=True)).enrolled


# --- holdback -----------------------------------------------------------------------------------------------


def test_a_holdback_holds_its_share_back_whatever_the_run() -> None:
    held = {n for n in range(10_000) if in_holdback("m", f"user-{n}", 2)}
    assert 150 <= len(held) <= 250
    for run in (1, 2):
        state = replace(RUNNING, run=run, weight=LINE)
        reasons = {n: decide(state, Facts(f"user-{n}"), holdback=2).reason for n in range(1_000)}
        assert {n for n, reason in reasons.items() if reason is Reason.holdback} == {
            n for n in held if n < 1_000
        }


def test_a_holdback_is_independent_of_the_arms() -> None:
    held = [n for n in range(20_000) if in_holdback("m", f"user-{n}", 10)]
    candidates = sum(bucket_of("m", 1, f"user-{n}") < 20_000 for n in held)
    assert candidates / len(held) == pytest.approx(0.2, abs=0.03)


def test_a_smaller_holdback_holds_back_some_of_the_same_people() -> None:
    assert {n for n in range(2_000) if in_holdback("m", str(n), 1)} < {
        n for n in range(2_000) if in_holdback("m", str(n), 5)
    }


def test_no_holdback_holds_nobody_and_completion_ends_it() -> None:
    assert not any(in_holdback("m", str(n), 0) for n in range(1_000))
    assert of(decide(COMPLETED, ALICE, holdback=100)) == (CANDIDATE, Reason.bucket)


def test_soaking_is_everybody_less_the_holdback() -> None:
    state = replace(RUNNING, phase=Phase.soaking, weight=LINE)
    arms = [decide(state, Facts(f"user-{n}"), holdback=10).arm for n in range(5_000)]
    assert arms.count(CONTROL) == pytest.approx(500, abs=75)


# --- the people of an earlier run ---------------------------------------------------------------------------


def test_a_run_that_keeps_the_assignment_hashes_as_the_one_before() -> None:
    third = replace(RUNNING, run=3)
    kept = replace(third, seed=1)
    for facts, bucket in ((ALICE, 3440), (BOB, 37642)):
        assert decide(kept, facts).bucket == assign.without_memory(kept, facts).bucket == bucket
        assert decide(kept, facts) == decide(RUNNING, facts)
        assert decide(third, facts).bucket == bucket_of("m", 3, str(facts.unit)) != bucket


@pytest.mark.parametrize("continues", [False, True])
@pytest.mark.parametrize("phase", SERVING)
def test_whoever_an_earlier_run_gave_to_the_candidate_stays_on_control(phase: Phase, continues: bool) -> None:
    state = replace(RUNNING, phase=phase, run=2, weight=LINE, excluded=((1, 5_000),))
    alice = replace(ALICE, continues=continues)
    assert decide(state, alice) == Assignment(CONTROL, Reason.excluded, pins=True)
    assert of(decide(state, replace(BOB, continues=continues), pin=ON_CANDIDATE))[1] is not Reason.excluded


@pytest.mark.parametrize(("widest", "excluded"), [(3_440, False), (3_441, True)])
def test_exclusion_ends_where_the_earlier_run_did(widest: int, excluded: bool) -> None:
    state = replace(RUNNING, run=2, excluded=((1, widest),))
    assert (decide(state, ALICE).reason is Reason.excluded) is excluded


def test_several_runs_may_be_excluded_and_thin_out_both_arms_alike() -> None:
    state = replace(RUNNING, run=3, weight=HALF, excluded=((1, 20_000), (2, 20_000)))
    made = [decide(state, Facts(f"user-{n}")) for n in range(10_000)]
    spared = [n for n, each in enumerate(made) if each.reason is Reason.excluded]
    assert len(spared) == pytest.approx(3_600, abs=200)
    assert all(min(bucket_of("m", run, f"user-{n}") for run in (1, 2)) < 20_000 for n in spared)
    for arm in Arm:
        assert sum(each.enrolled and each.arm is arm for each in made) == pytest.approx(3_200, abs=200)


def test_once_control_has_ended_nobody_is_spared() -> None:
    assert of(decide(replace(COMPLETED, excluded=((1, LINE),)), ALICE)) == (CANDIDATE, Reason.bucket)


def test_who_is_listed_gets_the_candidate_all_the_same() -> None:
    state = replace(RUNNING, excluded=((1, LINE),))
    assert decide(state, ALICE, lists=Lists(allow_users=("alice",))).arm is CANDIDATE
    assert of(decide(state, Facts(None))) == (CONTROL, Reason.no_unit)


# --- no unit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", SERVING)
def test_nobody_in_particular_stays_on_control_and_out_of_the_numbers(phase: Phase) -> None:
    assignment = decide(replace(RUNNING, phase=phase, weight=LINE), Facts(None))
    assert (of(assignment), assignment.enrolled) == ((CONTROL, Reason.no_unit), False)


def test_once_completed_nobody_stays_on_control() -> None:
    assert of(decide(COMPLETED, Facts(None))) == (CANDIDATE, Reason.no_unit)


# --- whatever happens ---------------------------------------------------------------------------------------


@given(
    units, weights, st.sampled_from(Phase), st.booleans(), st.sampled_from([None, ON_CONTROL, ON_CANDIDATE]),
    st.sampled_from([None, CONTROL, CANDIDATE]), st.floats(0, 100),
)  # fmt: skip
def test_where_no_weight_is_served_only_a_drain_reaches_the_candidate(
    unit: str,
    weight: int,
    phase: Phase,
    continues: bool,
    pin: Pin | None,
    record: Arm | None,
    holdback: float,
) -> None:
    state = replace(RUNNING, phase=phase, weight=weight, evicted_run=int(phase is Phase.rolled_back))
    assignment = decide(state, Facts(unit, continues=continues), holdback=holdback, pin=pin, record=record)
    if phase in (Phase.draft, Phase.rolled_back):
        assert of(assignment) == (CONTROL, Reason.not_running)
    elif not continues and not in_holdback("m", unit, holdback):
        assert (assignment.arm is CANDIDATE) == (bucket_of("m", 1, unit) < served_weight(state))
