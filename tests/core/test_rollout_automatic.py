"""The controller's verbs, approvals, what counts as an entry, and who a new run draws."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from gateway.core import rollout
from gateway.core.gates.verdict import PauseReason
from gateway.core.rollout import Order, Verb, carry_out
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import LINE, MigrationState, Phase
from gateway.errors import BadRequest, Conflict

SPEC = MigrationSpec(
    name="m",
    control="old",
    candidate="new",
    models=("old",),
    stages=(
        Stage("canary", 5, hold_s=60),
        Stage("half", 50, hold_s=60, approval=True, approval_by_another=True),
        Stage("full", 100),
    ),
)
REASONS: tuple[PauseReason, ...] = get_args(PauseReason)


def do(state: MigrationState, *verbs: Verb, by: str = "ada", **arguments: Any) -> MigrationState:
    """Carry out verbs one after the other, each a second after the one before."""
    for verb in verbs:
        state = carry_out(state, Order(verb, by, state.updated_at + 1, **arguments), SPEC)
    return state


CANARY = do(MigrationState("m"), "start")
AT_HALF = do(CANARY, "advance")
WAITING = do(AT_HALF, "automatic-pause", by="controller", pause_reason="approval")


# --- entries ------------------------------------------------------------------------------------------------


def test_an_entry_is_each_stage_entered_each_change_of_weight_and_each_resumption_by_a_person() -> None:
    state = CANARY
    assert (state.entry, state.widest, state.started_by) == (1, 5_000, "ada")
    for verb, entry in [
        ("advance", 2), ("step-back", 3), ("set-weight", 4), ("resume", 5), ("pause", 5), ("resume", 6),
        ("advance", 7), ("advance", 8), ("advance", 9), ("pause", 9), ("resume", 10),
    ]:  # fmt: skip
        state = do(state, verb, by="bob", percent=2.0)  # type: ignore[arg-type]
        assert state.entry == entry, verb
    assert (state.started_by, state.widest) == ("ada", LINE)


def test_the_widest_weight_of_a_run_outlives_a_smaller_one_and_a_rollback() -> None:
    state = do(do(CANARY, "set-weight", percent=30.0), "set-weight", percent=1.0)
    assert (state.weight, state.widest) == (1_000, 30_000)
    rolled_back = do(state, "rollback")
    assert (rolled_back.weight, rolled_back.widest) == (0, 30_000)
    assert do(rolled_back, "restart").widest == 5_000


def test_a_new_run_begins_everything_anew() -> None:
    frozen = do(AT_HALF, "freeze-baseline", slow_after_s=9.0)
    again = do(do(do(frozen, "approve", by="bob"), "rollback"), "restart", by="bob")
    assert (again.entry, again.slow_after_s, again.approved_by, again.started_by) == (1, 0.0, "", "bob")


# --- approvals ----------------------------------------------------------------------------------------------


def test_an_approval_is_recorded_and_leaves_a_running_stage_running() -> None:
    after = do(AT_HALF, "approve", by="bob")
    assert (after.phase, after.approved_by, after.approved_at) == (Phase.running, "bob", after.updated_at)
    assert (after.stage_index, after.weight, after.entry) == (1, 50_000, AT_HALF.entry)


def test_an_approval_ends_the_pause_that_waited_for_it_without_a_new_entry() -> None:
    after = do(WAITING, "approve", by="bob")
    assert (after.phase, after.reason, after.approved_by) == (Phase.running, "", "bob")
    assert (after.entry, after.stage_entered_at) == (WAITING.entry, WAITING.stage_entered_at)


@pytest.mark.parametrize("reason", ["user", "inconclusive", "freeze", "no_data"])
def test_an_approval_ends_no_other_pause(reason: str) -> None:
    after = do(replace(WAITING, reason=reason), "approve", by="bob")
    assert (after.phase, after.reason, after.approved_by) == (Phase.paused, reason, "bob")


def test_an_approval_is_refused_where_none_is_asked_for_or_one_is_there() -> None:
    with pytest.raises(Conflict, match="not waiting for an approval: its stage 'canary' asks for none"):
        do(CANARY, "approve", by="bob")
    with pytest.raises(Conflict, match="approved already, by bob"):
        do(AT_HALF, "approve", "approve", by="bob")


def test_whoever_started_the_run_may_not_approve_where_another_must() -> None:
    with pytest.raises(Conflict, match="somebody other than ada, who started this run"):
        do(WAITING, "approve")
    alone = replace(SPEC.stages[1], approval_by_another=False)
    relaxed = replace(WAITING, spec=replace(SPEC, stages=(SPEC.stages[0], alone, SPEC.stages[2])))
    assert do(relaxed, "approve").approved_by == "ada"


def test_whoever_restarted_the_run_has_started_it() -> None:
    again = do(do(do(AT_HALF, "rollback"), "restart", by="bob"), "advance", by="bob")
    assert do(again, "approve", by="ada").approved_by == "ada"
    with pytest.raises(Conflict, match="other than bob"):
        do(again, "approve", by="bob")


def test_a_hand_advance_is_no_way_round_the_second_person() -> None:
    with pytest.raises(Conflict, match="somebody other than ada"):
        do(WAITING, "advance")
    assert do(WAITING, "advance", by="bob").stage_index == 2
    assert do(WAITING, "advance", force=True).stage_index == 2
    assert do(do(WAITING, "approve", by="bob"), "advance").stage_index == 2


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [("advance", {}), ("step-back", {}), ("set-weight", {"percent": 50.0}), ("resume", {})],
)
def test_an_approval_is_void_once_the_entry_that_it_was_for_has_ended(
    verb: Verb, arguments: dict[str, Any]
) -> None:
    approved = do(AT_HALF, "approve", by="bob")
    before = do(approved, "pause") if verb == "resume" else approved
    assert before.approved_by == "bob"
    after = do(before, verb, **arguments)
    assert (after.approved_by, after.approved_at, after.entry) == ("", 0.0, AT_HALF.entry + 1)


# --- what automation may do ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", REASONS)
def test_an_automatic_pause_and_resumption_change_neither_weight_nor_entry(reason: PauseReason) -> None:
    paused = do(AT_HALF, "automatic-pause", by="controller", pause_reason=reason)
    assert (paused.phase, paused.reason) == (Phase.paused, reason)
    assert rollout.paused_by_automation(paused)
    resumed = do(paused, "automatic-resume", by="controller")
    assert replace(resumed, updated_at=0, updated_by="") == replace(AT_HALF, updated_at=0, updated_by="")


def test_a_pause_may_change_its_reason_but_not_repeat_it() -> None:
    changed = do(WAITING, "automatic-pause", pause_reason="freeze")
    assert (changed.reason, changed.entry) == ("freeze", WAITING.entry)
    with pytest.raises(Conflict, match="for that reason already"):
        do(WAITING, "automatic-pause", pause_reason="approval")
    with pytest.raises(BadRequest, match="pause_reason"):
        do(AT_HALF, "automatic-pause")


@pytest.mark.parametrize("verb", ["automatic-advance", "automatic-pause", "automatic-resume"])
@pytest.mark.parametrize("by_hand", ["pause", "set-weight"])
def test_what_a_person_has_paused_automation_leaves_alone(verb: Verb, by_hand: Verb) -> None:
    for before in (CANARY, WAITING):
        paused = do(before, by_hand, percent=5.0)
        assert (paused.reason, rollout.paused_by_automation(paused)) == ("user", False)
        with pytest.raises(Conflict, match="paused by a person"):
            do(paused, verb, pause_reason="freeze")


def test_automation_climbs_as_a_person_does_and_ends_in_soaking() -> None:
    half = do(CANARY, "automatic-advance", by="controller")
    assert replace(half, updated_by="") == replace(AT_HALF, updated_by="")
    full = do(do(half, "approve", by="bob"), "automatic-advance", by="controller")
    assert (full.phase, full.stage_index, full.weight) == (Phase.running, 2, LINE)
    soaking = do(full, "automatic-advance", by="controller")
    assert (soaking.phase, soaking.weight, soaking.entry) == (Phase.soaking, LINE, full.entry + 1)


@pytest.mark.parametrize("reason", REASONS)
def test_automation_advances_out_of_its_own_pauses(reason: str) -> None:
    paused = replace(CANARY, phase=Phase.paused, reason=reason)
    after = do(paused, "automatic-advance", by="controller")
    assert (after.phase, after.reason, after.stage_index) == (Phase.running, "", 1)


@pytest.mark.parametrize("force", [False, True])
def test_nothing_automatic_goes_past_a_missing_approval(force: bool) -> None:
    for before in (AT_HALF, WAITING):
        with pytest.raises(Conflict, match="stage 'half' of migration 'm' has not been approved"):
            do(before, "automatic-advance", by="controller", force=force)


def test_a_baseline_is_frozen_once_in_a_run() -> None:
    frozen = do(CANARY, "freeze-baseline", by="controller", slow_after_s=12.5)
    assert (frozen.slow_after_s, frozen.entry, frozen.phase) == (12.5, CANARY.entry, Phase.running)
    assert do(frozen, "advance", "step-back", "pause", "resume").slow_after_s == 12.5
    with pytest.raises(Conflict, match="its baseline already"):
        do(frozen, "freeze-baseline", slow_after_s=3.0)
    for nothing in (0.0, -1.0):
        with pytest.raises(BadRequest, match="slow_after_s"):
            do(CANARY, "freeze-baseline", slow_after_s=nothing)


@pytest.mark.parametrize("verb", ["rollback", "step-back", "advance"])
@pytest.mark.parametrize("reason", ["user", *REASONS])
def test_people_and_rollbacks_act_whatever_the_pause_is_for(verb: Verb, reason: str) -> None:
    paused = replace(AT_HALF, phase=Phase.paused, reason=reason, started_by="eve")
    assert do(paused, verb).phase is (Phase.rolled_back if verb == "rollback" else Phase.running)


# --- the people of a new run --------------------------------------------------------------------------------


def test_a_new_run_draws_new_people_unless_told_to_keep_them() -> None:
    rolled_back = do(AT_HALF, "rollback")
    assert do(rolled_back, "restart").hash_run == 2
    kept = do(rolled_back, "restart", keep_assignment=True)
    assert (kept.run, kept.seed, kept.hash_run) == (2, 1, 1)
    thrice = do(do(kept, "rollback"), "restart", keep_assignment=True)
    assert (thrice.run, thrice.hash_run) == (3, 1)
    assert do(do(thrice, "rollback"), "restart").hash_run == 4


def test_whoever_saw_the_candidate_can_be_kept_off_it() -> None:
    second = do(do(AT_HALF, "rollback"), "restart", exclude_previous=True)
    assert (second.hash_run, second.excluded) == (2, ((1, 50_000),))
    third = do(do(second, "rollback"), "restart", exclude_previous=True)
    assert third.excluded == ((1, 50_000), (2, 5_000))


@pytest.mark.parametrize("keep", [False, True])
def test_exclusions_outlast_further_runs(keep: bool) -> None:
    second = do(do(AT_HALF, "rollback"), "restart", exclude_previous=True)
    assert do(do(second, "rollback"), "restart", keep_assignment=keep).excluded == ((1, 50_000),)


def test_of_one_draw_the_widest_exclusion_counts() -> None:
    kept = do(do(AT_HALF, "rollback"), "restart", keep_assignment=True)
    narrow = do(do(kept, "rollback"), "restart", exclude_previous=True)
    assert narrow.excluded == ((1, 5_000),)
    wide = do(replace(kept, excluded=((1, 50_000),)), "rollback")
    assert do(wide, "restart", exclude_previous=True).excluded == ((1, 50_000),)


def test_a_run_that_gave_nobody_to_the_candidate_excludes_nobody() -> None:
    unseen = do(replace(CANARY, weight=0, widest=0), "rollback")
    assert do(unseen, "restart", exclude_previous=True).excluded == ()


def test_a_run_that_gave_everybody_to_the_candidate_cannot_be_excluded() -> None:
    before = do(do(AT_HALF, "set-weight", percent=100.0), "rollback")
    with pytest.raises(Conflict, match="run 1 of migration 'm' gave everybody to the candidate"):
        do(before, "restart", exclude_previous=True)
    assert do(before, "restart").excluded == ()


def test_people_can_be_neither_kept_nor_excluded_where_there_were_none_nor_both_at_once() -> None:
    never = do(MigrationState("m"), "rollback")
    with pytest.raises(Conflict, match="has had no run"):
        do(never, "restart", keep_assignment=True)
    with pytest.raises(Conflict, match="has had no run"):
        do(never, "restart", exclude_previous=True)
    with pytest.raises(BadRequest, match="contradict"):
        do(do(AT_HALF, "rollback"), "restart", keep_assignment=True, exclude_previous=True)
