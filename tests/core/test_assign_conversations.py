"""A conversation keeps its model: pins, records, and the ways of leaving."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import assign
from gateway.core.assign import Assignment, Facts
from gateway.core.spec import Lists
from gateway.core.types import LINE, Arm, MigrationState, Phase, Pin, Reason

CONTROL, CANDIDATE = Arm.control, Arm.candidate
SERVING = (Phase.running, Phase.paused, Phase.soaking)

# Run 1 of `m` puts alice at 3440, bob at 37642, user-42 at 70352.
ALICE, BOB, USER_42 = (Facts(unit, names=(unit,)) for unit in ("alice", "bob", "user-42"))

RUNNING = MigrationState("m", phase=Phase.running, run=1, weight=20_000)
DRAFT = MigrationState("m")
ROLLED_BACK = replace(RUNNING, phase=Phase.rolled_back, reason="user", weight=0, evicted_run=1)
DRAINING = replace(ROLLED_BACK, evicted_run=0, draining=True)
KILLED = replace(ROLLED_BACK, reason="emergency")
COMPLETED = replace(RUNNING, phase=Phase.completed, weight=LINE)

NO_LISTS = Lists()
ON_CANDIDATE = Pin(CANDIDATE, run=1, ruleset="r1")
ON_CONTROL = Pin(CONTROL, run=1, ruleset="r1")


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


def continuing(facts: Facts) -> Facts:
    return replace(facts, continues=True)


def of(assignment: Assignment) -> tuple[Arm, Reason]:
    return assignment.arm, assignment.reason


# --- conversations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pin", [ON_CONTROL, ON_CANDIDATE])
@pytest.mark.parametrize("weight", [0, 20_000, 60_000, LINE])
@pytest.mark.parametrize("phase", [*SERVING, Phase.completed])
def test_a_conversation_keeps_its_arm_through_any_weight(phase: Phase, weight: int, pin: Pin) -> None:
    state = replace(RUNNING, phase=phase, weight=weight)
    for facts in (ALICE, BOB, USER_42):
        assert of(decide(state, continuing(facts), pin=pin)) == (pin.arm, Reason.pinned)


@pytest.mark.parametrize("arm", list(Arm))
def test_a_conversation_without_a_pin_goes_by_its_units_record(arm: Arm) -> None:
    for weight in (0, 20_000, LINE):
        assignment = decide(replace(RUNNING, weight=weight), continuing(ALICE), record=arm)
        assert (of(assignment), assignment.pins) == ((arm, Reason.recorded), True)


@pytest.mark.parametrize("weight", [0, 20_000, LINE])
def test_a_conversation_that_nobody_remembers_is_carried_over_on_control(weight: int) -> None:
    assignment = decide(replace(RUNNING, weight=weight), continuing(ALICE))
    assert of(assignment) == (CONTROL, Reason.carried_over)
    assert assignment.pins
    assert not assignment.enrolled


def test_a_pin_and_a_record_do_not_bind_a_new_conversation() -> None:
    assert of(decide(RUNNING, BOB, pin=ON_CANDIDATE, record=CANDIDATE)) == (CONTROL, Reason.bucket)


def test_when_the_weight_shrinks_a_unit_leaves_with_its_next_conversation() -> None:
    shrunk = replace(RUNNING, weight=1_000)
    assert decide(shrunk, continuing(ALICE), pin=ON_CANDIDATE).arm is CANDIDATE
    assert of(decide(shrunk, ALICE, record=CANDIDATE)) == (CONTROL, Reason.bucket)


def test_a_control_unit_that_the_candidate_now_covers_moves_up_with_its_next_conversation() -> None:
    wide = replace(RUNNING, weight=80_000)
    assert of(decide(wide, USER_42, record=CONTROL)) == (CANDIDATE, Reason.bucket)
    assert decide(wide, continuing(USER_42), pin=ON_CONTROL).arm is CONTROL


def test_a_returning_unit_is_recorded_where_record_and_range_agree() -> None:
    assert of(decide(RUNNING, ALICE, record=CANDIDATE)) == (CANDIDATE, Reason.recorded)
    assert of(decide(replace(RUNNING, weight=30_000), USER_42, record=CONTROL)) == (CONTROL, Reason.recorded)


@pytest.mark.parametrize(
    ("pin", "record", "enrolled"),
    [
        (ON_CANDIDATE, CANDIDATE, True),
        (ON_CONTROL, CONTROL, True),
        (ON_CONTROL, CANDIDATE, False),
        (ON_CANDIDATE, None, False),
        (ON_CONTROL, None, False),
    ],
)
def test_later_turns_count_where_the_unit_is_enrolled_on_the_conversations_arm(
    pin: Pin, record: Arm | None, enrolled: bool
) -> None:
    assert decide(RUNNING, continuing(ALICE), pin=pin, record=record).enrolled is enrolled


def test_a_conversation_of_an_earlier_run_does_not_count_in_this_one() -> None:
    second = replace(RUNNING, run=2)
    assignment = decide(second, continuing(ALICE), pin=ON_CANDIDATE, record=CANDIDATE)
    assert (of(assignment), assignment.enrolled) == ((CANDIDATE, Reason.pinned), False)


@pytest.mark.parametrize(
    "facts", [ALICE, continuing(ALICE), Facts(None)], ids=["fresh", "continuing", "no unit"]
)
@pytest.mark.parametrize(
    ("state", "holdback"), [(DRAFT, 0.0), (RUNNING, 0.0), (RUNNING, 100.0), (ROLLED_BACK, 0.0), (KILLED, 0.0)]
)
def test_a_conversation_is_pinned_wherever_it_begins(
    state: MigrationState, holdback: float, facts: Facts
) -> None:
    assert decide(state, facts, holdback=holdback).pins


def test_the_guard_pins_a_conversation_that_begins_and_leaves_the_pin_of_one_that_continues() -> None:
    assert decide(RUNNING, replace(ALICE, unservable=True)).pins
    assert not decide(RUNNING, replace(continuing(ALICE), unservable=True), pin=ON_CANDIDATE).pins


def test_a_force_header_moves_no_pin() -> None:
    assert not decide(RUNNING, replace(ALICE, forced=CANDIDATE)).pins


# --- leaving ------------------------------------------------------------------------------------------------


def test_eviction_sends_running_conversations_to_control_at_once() -> None:
    assert of(decide(ROLLED_BACK, continuing(ALICE), pin=ON_CANDIDATE)) == (CONTROL, Reason.not_running)


def test_a_drain_lets_running_conversations_finish_and_takes_no_new_ones() -> None:
    assert of(decide(DRAINING, continuing(ALICE), pin=ON_CANDIDATE)) == (CANDIDATE, Reason.pinned)
    assert of(decide(DRAINING, ALICE, pin=ON_CANDIDATE, record=CANDIDATE)) == (CONTROL, Reason.not_running)
    assert of(decide(DRAINING, continuing(ALICE), record=CANDIDATE)) == (CONTROL, Reason.not_running)
    assert of(decide(DRAINING, continuing(ALICE), pin=ON_CONTROL)) == (CONTROL, Reason.not_running)


def test_denied_people_do_not_drain() -> None:
    lists = Lists(deny_users=("alice",))
    assert decide(DRAINING, continuing(ALICE), lists=lists, pin=ON_CANDIDATE).reason is Reason.denied


def test_an_evicted_conversation_does_not_return_to_the_candidate_with_the_next_run() -> None:
    second = replace(RUNNING, run=2, weight=LINE, evicted_run=1)
    assert of(decide(second, continuing(ALICE), pin=ON_CANDIDATE)) == (CONTROL, Reason.carried_over)
    assert of(decide(second, continuing(ALICE), pin=ON_CONTROL)) == (CONTROL, Reason.pinned)


def test_a_drained_conversation_goes_on_in_the_next_run() -> None:
    second = replace(RUNNING, run=2, weight=0)
    assert of(decide(second, continuing(ALICE), pin=ON_CANDIDATE)) == (CANDIDATE, Reason.pinned)


def test_completion_takes_everybody_but_conversations_still_pinned_to_control() -> None:
    assert of(decide(COMPLETED, continuing(BOB), pin=ON_CONTROL)) == (CONTROL, Reason.pinned)
    assert of(decide(COMPLETED, continuing(BOB))) == (CANDIDATE, Reason.bucket)
    assert decide(COMPLETED, continuing(BOB), record=CONTROL).arm is CANDIDATE
    assert of(decide(COMPLETED, BOB)) == (CANDIDATE, Reason.bucket)


# --- while nothing can be looked up -------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [ALICE, BOB, USER_42, continuing(ALICE), continuing(BOB)])
@pytest.mark.parametrize("phase", [*SERVING, Phase.completed])
def test_without_memory_the_hash_answers(phase: Phase, facts: Facts) -> None:
    state = replace(RUNNING, phase=phase)
    assignment = assign.without_memory(state, facts)
    assert (assignment.arm, assignment.reason) == (
        decide(state, replace(facts, continues=False)).arm,
        Reason.bucket,
    )
    assert not assignment.pins
    assert not (facts.continues and assignment.enrolled)


def test_without_memory_nothing_drains_and_nobody_is_control() -> None:
    assert of(assign.without_memory(DRAINING, continuing(ALICE))) == (CONTROL, Reason.not_running)
    assert of(assign.without_memory(RUNNING, Facts(None))) == (CONTROL, Reason.no_unit)
    assert of(assign.without_memory(COMPLETED, Facts(None))) == (CANDIDATE, Reason.no_unit)


@given(st.text(min_size=1, max_size=20), st.integers(0, LINE), st.integers(0, LINE))
def test_no_change_of_weight_moves_a_conversation(unit: str, began_at: int, now: int) -> None:
    first = decide(replace(RUNNING, weight=began_at), Facts(unit))
    pin = Pin(first.arm, run=1, ruleset="r1")
    record = first.arm if first.enrolled else None
    later = replace(RUNNING, weight=now)
    assert decide(later, Facts(unit, continues=True), pin=pin, record=record).arm is first.arm
    assert decide(later, Facts(unit, continues=True), record=record).arm is first.arm
