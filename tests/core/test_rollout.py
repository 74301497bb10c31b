"""The state machine: every pair of situation and verb, and what each verb makes of the state.

Rolling back: `test_rollout_leaving`. What automation may do, approvals, entries and the people of a new
run: `test_rollout_automatic`.
"""

from dataclasses import replace
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import rollout
from gateway.core.rollout import TABLE, TAKES_EPOCH, Verb, carry_out
from gateway.core.spec import Holdback, Stage
from gateway.core.types import LINE, MigrationState, Phase
from gateway.errors import BadRequest, Conflict
from tests.support.situations import (
    COMPLETED,
    DRAFT,
    DRAINING,
    HALF,
    KILLED,
    PAUSED,
    ROLLED_BACK,
    RUNNING,
    SOAKING,
    SPEC,
    WAITING,
    order,
)

VERBS: tuple[Verb, ...] = get_args(Verb)

EDITED = replace(SPEC, candidate="newer", stages=(Stage("only", 100),))

SITUATIONS: dict[str, MigrationState] = {
    "draft": DRAFT,
    "running": RUNNING,
    "running, to be approved": HALF,
    "running, approved": replace(HALF, approved_by="bob", approved_at=50.0),
    "running at the first stage": replace(RUNNING, stage_index=0, weight=0),
    "paused by a person": PAUSED,
    "paused for want of an approval": WAITING,
    "paused, inconclusive": replace(PAUSED, reason="inconclusive"),
    "paused by a freeze": replace(PAUSED, reason="freeze"),
    "paused without data": replace(PAUSED, reason="no_data"),
    "soaking": SOAKING,
    "completed": COMPLETED,
    "rolled back": ROLLED_BACK,
    "draining": DRAINING,
    "killed": KILLED,
}
ROLLBACKS: tuple[Verb, ...] = ("rollback", "automatic-rollback", "emergency-rollback")

LEADS_TO: dict[str, dict[Verb, Phase]] = {
    "draft": {
        "start": Phase.running,
        "rollback": Phase.rolled_back,
        "emergency-rollback": Phase.rolled_back,
    },
    "running": {
        "advance": Phase.running,
        "set-weight": Phase.paused,
        "pause": Phase.paused,
        "step-back": Phase.running,
        "automatic-advance": Phase.running,
        "automatic-pause": Phase.paused,
        "freeze-baseline": Phase.running,
        **dict.fromkeys(ROLLBACKS, Phase.rolled_back),
    },
    "paused by a person": {
        "advance": Phase.running,
        "set-weight": Phase.paused,
        "resume": Phase.running,
        "step-back": Phase.running,
        "freeze-baseline": Phase.paused,
        **dict.fromkeys(ROLLBACKS, Phase.rolled_back),
    },
    "soaking": {
        "set-weight": Phase.paused,
        "pause": Phase.paused,
        "freeze-baseline": Phase.soaking,
        "complete": Phase.completed,
        **dict.fromkeys(ROLLBACKS, Phase.rolled_back),
    },
    "completed": {"restart": Phase.running},
    "rolled back": {"emergency-rollback": Phase.rolled_back, "restart": Phase.running},
}
"""What is legal, and where it leads. Everything else is refused."""

_running, _rolled_back = LEADS_TO["running"], LEADS_TO["rolled back"]
_waiting: dict[Verb, Phase] = LEADS_TO["paused by a person"] | {
    "pause": Phase.paused,
    "automatic-advance": Phase.running,
    "automatic-pause": Phase.paused,
    "automatic-resume": Phase.running,
}


def _but(without: Verb, cells: dict[Verb, Phase]) -> dict[Verb, Phase]:
    return {verb: to for verb, to in cells.items() if verb != without}


LEADS_TO |= {
    "running, to be approved": {"approve": Phase.running} | _but("automatic-advance", _running),
    "running, approved": _running,
    "running at the first stage": _but("step-back", _running),
    "paused for want of an approval": {"approve": Phase.running} | _but("automatic-advance", _waiting),
    "paused, inconclusive": _but("automatic-pause", _waiting),
    "paused by a freeze": _waiting,
    "paused without data": _waiting,
    "draining": _rolled_back | {"rollback": Phase.rolled_back},
    "killed": _rolled_back,
}

INTERNAL = frozenset(v for v in VERBS if v.startswith("automatic-")) | {"freeze-baseline"}


@pytest.mark.parametrize(("situation", "verb"), list(product(SITUATIONS, VERBS)), ids=str)
def test_every_cell_of_the_table(situation: str, verb: Verb) -> None:
    before = SITUATIONS[situation]
    untouched = replace(before)
    if verb in LEADS_TO[situation]:
        after = carry_out(before, order(verb), SPEC)
        assert after.phase is LEADS_TO[situation][verb]
        assert (after.updated_at, after.updated_by) == (99.0, "ada")
        assert after.order == before.order  # version and epoch belong to the store
    else:
        with pytest.raises(Conflict) as refused:
            carry_out(before, order(verb), SPEC)
        assert "'m'" in refused.value.message
        assert len(refused.value.message) > 20
    assert before == untouched


def test_every_phase_is_visited() -> None:
    assert {state.phase for state in SITUATIONS.values()} == set(Phase)
    assert set(LEADS_TO) == set(SITUATIONS)


@pytest.mark.parametrize(
    ("situation", "verb"),
    [cell for cell in product(SITUATIONS, VERBS) if (SITUATIONS[cell[0]].phase, cell[1]) not in TABLE],
    ids=str,
)
def test_a_refusal_names_what_is_possible_instead(situation: str, verb: Verb) -> None:
    before = SITUATIONS[situation]
    with pytest.raises(Conflict) as refused:
        carry_out(before, order(verb), SPEC)
    assert f"{verb} is not possible while migration 'm' is {before.phase.value}" in refused.value.message
    _, _, possible = refused.value.message.partition("possible: ")
    assert possible.split(", ") == sorted(LEADS_TO[situation].keys() - INTERNAL)


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


def test_whoever_is_excluded_is_not_served_in_soaking_either() -> None:
    spared = replace(SOAKING, excluded=((1, 5_000), (2, 20_000)))
    assert rollout.served_percent(spared) == 76.0
    assert rollout.served_percent(replace(spared, phase=Phase.completed)) == 100.0


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


def test_a_person_takes_over_what_automation_has_paused_and_a_second_pause_is_refused() -> None:
    waiting = replace(PAUSED, reason="no_data")
    after = carry_out(waiting, order("pause"), SPEC)
    assert (after.phase, after.reason, after.entry) == (Phase.paused, "user", waiting.entry)
    with pytest.raises(Conflict, match="paused by hand already"):
        carry_out(after, order("pause"), SPEC)


def test_completing_serves_the_candidate_to_everybody() -> None:
    after = carry_out(SOAKING, order("complete"), SPEC)
    assert (after.phase, after.weight, after.reason) == (Phase.completed, LINE, "")


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
        if verb in ("pause", "resume", "approve", "automatic-pause", "automatic-resume", "freeze-baseline"):
            assert state.weight == before.weight
        assert state.widest >= state.weight
        if state.run == before.run:
            assert state.entry >= before.entry
            assert state.widest >= before.widest
        else:
            assert (state.entry, state.approved_by, state.slow_after_s) == (1, "", 0.0)
        if state.entry != before.entry:
            assert not state.approved_by
