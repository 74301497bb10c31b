"""The state machine: every pair of phase and verb, and what each verb makes of the state."""

from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import rollout
from gateway.core.rollout import TABLE, TAKES_EPOCH, Order, Verb, carry_out
from gateway.core.spec import Holdback, MigrationSpec, OnRollback, Stage
from gateway.core.types import LINE, MigrationState, Phase
from gateway.errors import BadRequest, Conflict

VERBS: tuple[Verb, ...] = get_args(Verb)

SPEC = MigrationSpec(
    name="m",
    control="old",
    candidate="new",
    models=("old",),
    stages=(
        Stage("internal", 0, hold_s=60),
        Stage("canary", 5, hold_s=60),
        Stage("early", 25, hold_s=60),
        Stage("half", 50, hold_s=60),
        Stage("full", 100),
    ),
)
EDITED = replace(SPEC, candidate="newer", stages=(Stage("only", 100),))
DRAFT = MigrationState("m")
RUNNING = replace(
    DRAFT,
    phase=Phase.running,
    run=1,
    version=4,
    epoch=2,
    stage_index=1,
    weight=5_000,
    spec=SPEC,
    stage_entered_at=10,
)
PAUSED = replace(RUNNING, phase=Phase.paused, reason="user")
SOAKING = replace(RUNNING, phase=Phase.soaking, stage_index=4, weight=LINE)
COMPLETED = replace(SOAKING, phase=Phase.completed)
ROLLED_BACK = replace(RUNNING, phase=Phase.rolled_back, reason="user", weight=0, evicted_run=1)
DRAINING = replace(ROLLED_BACK, draining=True, evicted_run=0)
KILLED = replace(ROLLED_BACK, reason="emergency")

IN: dict[Phase, MigrationState] = {
    state.phase: state for state in (DRAFT, RUNNING, PAUSED, SOAKING, COMPLETED, ROLLED_BACK)
}

LEADS_TO: dict[tuple[Phase, Verb], Phase] = {
    (Phase.draft, "start"): Phase.running,
    (Phase.draft, "rollback"): Phase.rolled_back,
    (Phase.draft, "emergency-rollback"): Phase.rolled_back,
    (Phase.running, "advance"): Phase.running,
    (Phase.running, "set-weight"): Phase.paused,
    (Phase.running, "pause"): Phase.paused,
    (Phase.running, "step-back"): Phase.running,
    (Phase.running, "rollback"): Phase.rolled_back,
    (Phase.running, "automatic-rollback"): Phase.rolled_back,
    (Phase.running, "emergency-rollback"): Phase.rolled_back,
    (Phase.paused, "advance"): Phase.running,
    (Phase.paused, "set-weight"): Phase.paused,
    (Phase.paused, "resume"): Phase.running,
    (Phase.paused, "step-back"): Phase.running,
    (Phase.paused, "rollback"): Phase.rolled_back,
    (Phase.paused, "automatic-rollback"): Phase.rolled_back,
    (Phase.paused, "emergency-rollback"): Phase.rolled_back,
    (Phase.soaking, "set-weight"): Phase.paused,
    (Phase.soaking, "pause"): Phase.paused,
    (Phase.soaking, "rollback"): Phase.rolled_back,
    (Phase.soaking, "automatic-rollback"): Phase.rolled_back,
    (Phase.soaking, "emergency-rollback"): Phase.rolled_back,
    (Phase.soaking, "complete"): Phase.completed,
    (Phase.rolled_back, "emergency-rollback"): Phase.rolled_back,
    (Phase.rolled_back, "restart"): Phase.running,
    (Phase.completed, "restart"): Phase.running,
}
"""What is legal, and where it leads. Everything else is refused; for a migration that drains, see below."""


def order(verb: Verb, *, percent: float | None = 30.0, mode: str | None = None) -> Order:
    return Order(verb, by="ada", at=99.0, percent=percent, mode=mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(("phase", "verb"), list(product(Phase, VERBS)), ids=str)
def test_every_cell_of_the_table(phase: Phase, verb: Verb) -> None:
    before = IN[phase]
    if (phase, verb) in LEADS_TO:
        after = carry_out(before, order(verb), SPEC)
        assert after.phase is LEADS_TO[phase, verb]
        assert (after.updated_at, after.updated_by) == (99.0, "ada")
        assert after.order == before.order  # version and epoch belong to the store
    else:
        with pytest.raises(Conflict) as refused:
            carry_out(before, order(verb), SPEC)
        assert "'m'" in refused.value.message
        assert IN[phase] is before


@pytest.mark.parametrize(
    ("phase", "verb"), [cell for cell in product(Phase, VERBS) if cell not in TABLE], ids=str
)
def test_a_refusal_names_what_is_possible_instead(phase: Phase, verb: Verb) -> None:
    with pytest.raises(Conflict) as refused:
        carry_out(IN[phase], order(verb), SPEC)
    assert f"{verb} is not possible while migration 'm' is {phase.value}" in refused.value.message
    _, _, possible = refused.value.message.partition("possible: ")
    offered = possible.split(", ")
    assert offered == sorted(v for p, v in LEADS_TO if p is phase and v != "automatic-rollback")


def test_only_what_would_be_accepted_is_called_possible() -> None:
    def possible(state: MigrationState) -> list[str]:
        with pytest.raises(Conflict) as refused:
            carry_out(state, order("complete"), SPEC)
        return refused.value.message.partition("possible: ")[2].split(", ")

    assert possible(KILLED) == ["emergency-rollback", "restart"]
    assert possible(DRAINING) == ["emergency-rollback", "restart", "rollback"]
    assert "step-back" in possible(RUNNING)
    assert "step-back" not in possible(replace(RUNNING, stage_index=0))


@pytest.mark.parametrize("verb", ["rollback", "emergency-rollback"])
def test_once_completed_the_way_back_is_a_new_run_and_the_refusal_says_so(verb: Verb) -> None:
    with pytest.raises(Conflict, match=r"a new run begins at the first stage.*possible: restart$"):
        carry_out(COMPLETED, order(verb), SPEC)


@pytest.mark.parametrize(
    ("state", "served"),
    [(DRAFT, 0), (RUNNING, 5), (PAUSED, 5), (SOAKING, 98), (COMPLETED, 100), (ROLLED_BACK, 0)],
    ids=lambda value: value.phase if isinstance(value, MigrationState) else "",
)
def test_the_share_is_what_the_phase_serves_less_who_is_held_back(
    state: MigrationState, served: float
) -> None:
    held_back = replace(state, spec=replace(SPEC, holdback=Holdback(percent=2)))
    assert rollout.served_percent(held_back) == served
    assert rollout.summary(held_back)["weight_percent"] == served


def test_only_verbs_that_must_beat_older_kills_and_snapshots_take_an_epoch() -> None:
    assert set(TAKES_EPOCH) == {"start", "restart", "emergency-rollback"}


# --- start and restart --------------------------------------------------------------------------------------


def test_a_start_copies_the_configuration_into_the_run() -> None:
    after = carry_out(DRAFT, order("start"), SPEC)
    assert (after.run, after.spec, after.stage_index, after.weight) == (1, SPEC, 0, 0)
    assert after.stage_entered_at == 99.0


@pytest.mark.parametrize("before", [ROLLED_BACK, KILLED, DRAINING, COMPLETED])
def test_a_restart_is_a_new_run_of_the_configuration_as_it_stands_now(before: MigrationState) -> None:
    after = carry_out(before, order("restart"), EDITED)
    assert (after.run, after.spec, after.stage_index, after.weight) == (2, EDITED, 0, LINE)
    assert (after.reason, after.draining, after.killed) == ("", False, False)


@pytest.mark.parametrize("before", [ROLLED_BACK, DRAINING])
def test_a_restart_revives_no_conversation_that_was_evicted(before: MigrationState) -> None:
    assert carry_out(before, order("restart"), SPEC).evicted_run == before.evicted_run


def test_a_restart_keeps_lists_that_were_set_through_the_api() -> None:
    before = replace(ROLLED_BACK, lists=replace(SPEC.lists, deny_users=("eve",)))
    assert carry_out(before, order("restart"), SPEC).lists == before.lists


# --- advance and step-back ----------------------------------------------------------------------------------


def test_advancing_climbs_stage_by_stage_and_then_soaks() -> None:
    state, climbed = carry_out(DRAFT, order("start"), SPEC), []
    while state.phase is Phase.running:
        climbed.append((state.stage_index, rollout.percent(state.weight)))
        state = carry_out(state, order("advance"), SPEC)
    assert climbed == [(0, 0), (1, 5), (2, 25), (3, 50), (4, 100)]
    assert (state.phase, state.weight, state.stage_index) == (Phase.soaking, LINE, 4)


@pytest.mark.parametrize(
    ("weight", "index", "stage"), [(30_000, 1, 3), (4_000, 3, 1), (5_000, 3, 2), (0, 4, 1), (99_999, 0, 4)]
)
def test_advance_goes_to_the_first_stage_above_the_present_weight(
    weight: int, index: int, stage: int
) -> None:
    after = carry_out(replace(PAUSED, weight=weight, stage_index=index), order("advance"), SPEC)
    assert (after.phase, after.stage_index) == (Phase.running, stage)
    assert after.weight == rollout.points(SPEC.stages[stage].percent)


def test_a_full_manual_weight_still_passes_through_the_last_stage() -> None:
    before = replace(PAUSED, weight=LINE, stage_index=2)
    last = carry_out(before, order("advance"), SPEC)
    assert (last.phase, last.stage_index, last.weight) == (Phase.running, 4, LINE)
    assert carry_out(last, order("advance"), SPEC).phase is Phase.soaking


def test_a_run_climbs_its_own_stages_whatever_the_file_says_now() -> None:
    assert carry_out(RUNNING, order("advance"), EDITED).weight == 25_000


@pytest.mark.parametrize("before", [RUNNING, PAUSED])
def test_stepping_back_re_enters_the_stage_before_and_goes_on(before: MigrationState) -> None:
    after = carry_out(replace(before, stage_index=3, weight=60_000), order("step-back"), SPEC)
    assert (after.phase, after.stage_index, after.weight) == (Phase.running, 2, 25_000)
    assert after.stage_entered_at == 99.0


@pytest.mark.parametrize("before", [RUNNING, PAUSED])
def test_there_is_no_stage_before_the_first(before: MigrationState) -> None:
    with pytest.raises(Conflict, match="first stage"):
        carry_out(replace(before, stage_index=0), order("step-back"), SPEC)


# --- weight, pause, resume ----------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [RUNNING, PAUSED, SOAKING])
def test_a_manual_weight_pauses_and_keeps_the_stage(before: MigrationState) -> None:
    after = carry_out(before, order("set-weight", percent=12.345), SPEC)
    assert (after.phase, after.reason, after.weight) == (Phase.paused, "user", 12_345)
    assert (after.stage_index, after.stage_entered_at) == (before.stage_index, before.stage_entered_at)


@pytest.mark.parametrize("percent", [-0.001, 100.001, float("nan"), float("inf"), None])
def test_a_weight_that_is_no_percentage_is_refused(percent: float | None) -> None:
    with pytest.raises(BadRequest, match="percent"):
        carry_out(RUNNING, order("set-weight", percent=percent), SPEC)


@pytest.mark.parametrize("before", [RUNNING, SOAKING])
def test_a_pause_changes_neither_weight_nor_stage(before: MigrationState) -> None:
    after = carry_out(before, order("pause"), SPEC)
    assert (after.reason, after.weight, after.stage_index) == ("user", before.weight, before.stage_index)


@pytest.mark.parametrize("weight", [0, 1_000, 5_000, 70_000, LINE])
def test_resuming_keeps_the_weight_and_runs_the_hold_again(weight: int) -> None:
    after = carry_out(replace(PAUSED, weight=weight), order("resume"), SPEC)
    assert (after.phase, after.reason, after.weight, after.stage_index) == (Phase.running, "", weight, 1)
    assert after.stage_entered_at == 99.0


@pytest.mark.parametrize("before", [RUNNING, PAUSED])
def test_nothing_waits_for_an_approval_yet(before: MigrationState) -> None:
    with pytest.raises(Conflict, match="not waiting for an approval"):
        carry_out(before, order("approve"), SPEC)


def test_completing_serves_the_candidate_to_everybody() -> None:
    after = carry_out(SOAKING, order("complete"), SPEC)
    assert (after.phase, after.weight, after.reason) == (Phase.completed, LINE, "")


# --- rolling back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "cause"),
    [("rollback", "user"), ("automatic-rollback", "automatic"), ("emergency-rollback", "emergency")],
)
@pytest.mark.parametrize("before", [RUNNING, PAUSED, SOAKING])
def test_a_rollback_says_why_and_serves_nothing(before: MigrationState, verb: Verb, cause: str) -> None:
    after = carry_out(before, order(verb), SPEC)
    assert (after.phase, after.reason, after.weight) == (Phase.rolled_back, cause, 0)
    assert (after.evicted_run, after.draining) == (1, False)
    assert after.killed is (cause == "emergency")
    assert after.stage_index == before.stage_index


@pytest.mark.parametrize("verb", ["rollback", "automatic-rollback"])
@pytest.mark.parametrize(
    ("asked", "configured", "drains"),
    [(None, "evict", False), (None, "drain", True), ("drain", "evict", True), ("evict", "drain", False)],
)
def test_how_conversations_leave_is_as_asked_else_as_configured(
    verb: Verb, asked: str | None, configured: str, drains: bool
) -> None:
    before = replace(RUNNING, spec=replace(SPEC, on_rollback=OnRollback(mode=configured)))  # type: ignore[arg-type]
    after = carry_out(before, order(verb, mode=asked), SPEC)
    assert (after.draining, after.evicted_run) == (drains, 0 if drains else 1)


@pytest.mark.parametrize("asked", [None, "drain", "evict"])
def test_an_emergency_always_evicts(asked: str | None) -> None:
    before = replace(RUNNING, spec=replace(SPEC, on_rollback=OnRollback(mode="drain")))
    after = carry_out(before, order("emergency-rollback", mode=asked), SPEC)
    assert (after.draining, after.evicted_run) == (False, 1)


def test_an_emergency_ends_a_drain() -> None:
    after = carry_out(DRAINING, order("emergency-rollback"), SPEC)
    assert (after.killed, after.draining, after.evicted_run) == (True, False, 1)


@pytest.mark.parametrize("mode", [None, "evict"])
def test_a_drain_can_be_cut_short(mode: str | None) -> None:
    after = carry_out(DRAINING, order("rollback", mode=mode), SPEC)
    assert (after.phase, after.draining, after.evicted_run) == (Phase.rolled_back, False, 1)


@pytest.mark.parametrize(("before", "mode"), [(DRAINING, "drain"), (ROLLED_BACK, None), (KILLED, "evict")])
def test_what_is_rolled_back_cannot_be_rolled_back_again(before: MigrationState, mode: str | None) -> None:
    with pytest.raises(Conflict, match="rolled back already"):
        carry_out(before, order("rollback", mode=mode), SPEC)


def test_a_process_without_configuration_stops_just_as_an_emergency_rollback_does() -> None:
    for before in (DRAFT, RUNNING, PAUSED, SOAKING, DRAINING):
        alone = rollout.emergency(before, by="ada", at=99.0)
        assert alone == carry_out(before, order("emergency-rollback"), SPEC)


def test_a_draft_has_nothing_to_drain() -> None:
    after = carry_out(DRAFT, order("rollback", mode="drain"), SPEC)
    assert (after.phase, after.draining) == (Phase.rolled_back, False)


# --- for people ---------------------------------------------------------------------------------------------


def test_a_summary_shows_what_an_audit_event_needs() -> None:
    assert rollout.summary(PAUSED) == {
        "phase": "paused", "reason": "user", "stage": 1, "weight_percent": 5.0, "run": 1, "version": 4,
    }  # fmt: skip


def test_the_run_goes_by_its_own_copy_and_a_draft_by_the_file() -> None:
    assert rollout.spec_in_force(RUNNING, EDITED) is SPEC
    assert rollout.spec_in_force(DRAFT, EDITED) is EDITED


@given(st.integers(0, LINE))
def test_percentages_and_points_are_each_others_inverse(points: int) -> None:
    assert rollout.points(rollout.percent(points)) == points


# --- any history --------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(VERBS), st.floats(0, 100), st.sampled_from([None, "evict", "drain"])),
        max_size=25,
    )
)
def test_no_history_of_verbs_breaks_an_invariant(history: list[tuple[Verb, float, str | None]]) -> None:
    state = DRAFT
    for verb, percent, mode in history:
        before = state
        try:
            state = carry_out(state, order(verb, percent=percent, mode=mode), SPEC)
        except Conflict:
            continue
        assert 0 <= state.weight <= LINE
        assert 0 <= state.stage_index < len(SPEC.stages)
        assert state.run == before.run + (verb in ("start", "restart"))
        assert before.evicted_run <= state.evicted_run <= state.run
        assert state.phase is not Phase.draft
        if state.phase is Phase.rolled_back:
            assert state.weight == 0
            assert state.draining is (state.evicted_run < state.run)
        else:
            assert not state.draining
        if verb in ("pause", "resume"):
            assert state.weight == before.weight
