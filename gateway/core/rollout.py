"""The state machine of a migration: which verb is legal in which phase, and what it makes of the state.

            start          advance (past the last stage)        complete
    draft ─────────▶ running ───────────────────────▶ soaking ───────────▶ completed
                      ▲   │ pause, set-weight            │
               resume │   ▼                              │
                      paused ◀──────────────────────────┘ set-weight, pause
    draft, running, paused, soaking ── rollback, emergency-rollback, the gates ──▶ rolled_back
    rolled_back (draining) ── rollback with mode evict ──▶ rolled_back
    rolled_back, completed ── restart ──▶ running

Rules: `TABLE` is the whole machine - a pair that is not in it is refused, changes nothing and says why.
Every handler is pure; version and epoch belong to the store. A pause never changes the weight that is
served. Nothing restarts by itself. A new run draws new people, because the run is part of the hash - unless
it is told to keep those of the run before (a false alarm), or to keep whoever saw the candidate then off it.

The `automatic-` verbs and `freeze-baseline` are the controller's. What it has paused it takes up again
without beginning the stage anew; what a person has paused it leaves alone. An approval holds for the entry
of the stage in which it was given and for no other, and nothing automatic leaves a stage without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from gateway.core.assign import served_weight
from gateway.core.gates.verdict import PauseReason
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import LINE, MigrationState, Phase
from gateway.errors import BadRequest, Conflict

Verb = Literal[
    "start", "advance", "set-weight", "pause", "resume", "approve", "step-back",
    "rollback", "emergency-rollback", "restart", "complete", "automatic-rollback", "automatic-advance",
    "automatic-pause", "automatic-resume", "freeze-baseline",
]  # fmt: skip

TAKES_EPOCH = frozenset({"start", "restart", "emergency-rollback"})
"""Verbs after which an older kill or snapshot must lose: they are written with a new fencing epoch."""


@dataclass(frozen=True, slots=True)
class Order:
    """One verb with its arguments, as somebody (or the controller) asked for it."""

    verb: Verb
    by: str
    at: float
    reason: str = ""
    percent: float | None = None
    """For set-weight: 0-100, three decimals count."""
    mode: Literal["evict", "drain"] | None = None
    """For rollback: how running conversations leave; None means what the run's spec says."""
    force: bool = False
    """For start, restart and advance: past what would keep somebody from it."""
    pause_reason: PauseReason | None = None
    """For automatic-pause."""
    slow_after_s: float = 0.0
    """For freeze-baseline: control's p95 of the whole answer."""
    keep_assignment: bool = False
    """For restart: everybody keeps the arm of the run before."""
    exclude_previous: bool = False
    """For restart: whoever the run before gave to the candidate stays on control, in all runs to come."""


Handler = Callable[[MigrationState, Order, MigrationSpec], MigrationState]


def carry_out(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    """Return the state after `order`, or raise Conflict (not legal here) or BadRequest (bad arguments).

    `file_spec` is the configuration as it stands now; only a new run copies it.
    """
    handler = TABLE.get((state.phase, order.verb))
    if handler is None:
        raise Conflict(_refusal(state, order.verb, file_spec))
    after = handler(state, order, file_spec)
    widest = after.weight if after.run != state.run else max(after.weight, state.weight, state.widest)
    return replace(after, widest=widest, updated_at=order.at, updated_by=order.by)


def emergency(state: MigrationState, *, by: str, at: float, cause: str = "") -> MigrationState:
    """Return `state` as an emergency rollback leaves it; it always evicts, so no configuration is asked.

    For a process that must stop without the store as well: whether the verb is legal, `TABLE` knows.
    """
    return replace(
        state,
        phase=Phase.rolled_back,
        reason="emergency",
        cause=cause,
        weight=0,
        draining=False,
        evicted_run=state.run,
        stage_entered_at=at,
        updated_at=at,
        updated_by=by,
    )


def spec_in_force(state: MigrationState, file_spec: MigrationSpec) -> MigrationSpec:
    """Return the run's own copy, or the file's before the first run."""
    return state.spec or file_spec


def summary(state: MigrationState) -> dict[str, Any]:
    """Return what an audit event shows of a state."""
    return {
        "phase": state.phase.value,
        "reason": state.reason,
        "stage": state.stage_index,
        "weight_percent": served_percent(state),
        "run": state.run,
        "version": state.version,
    }


def percent(points: int) -> float:
    """Return points of the line as a percentage."""
    return points * 100 / LINE


def served_percent(state: MigrationState) -> float:
    """Return the candidate's share that the phase serves.

    Soaking is everybody less the run's holdback and whoever is excluded from it.
    """
    if state.phase is not Phase.soaking:
        return percent(served_weight(state))
    served = 100.0 - (state.spec.holdback.percent if state.spec else 0.0)
    for _, widest in state.excluded:
        served *= 1 - widest / LINE
    return round(served, 3)


def paused_by_automation(state: MigrationState) -> bool:
    """Tell whether the migration is paused, and by the controller."""
    return state.phase is Phase.paused and state.reason in get_args(PauseReason)


def points(value: float) -> int:
    """Return a percentage as points of the line; raises BadRequest outside 0-100."""
    if not 0 <= value <= 100:
        raise BadRequest(f"percent must be between 0 and 100, not {value}")
    return round(value * LINE / 100)


def _anew(state: MigrationState) -> MigrationState:
    """Begin another entry: what was gathered and approved in the one before belongs to that one."""
    return replace(state, entry=state.entry + 1, approved_by="", approved_at=0.0)


def _enter_stage(state: MigrationState, index: int, order: Order, spec: MigrationSpec) -> MigrationState:
    return replace(
        _anew(state),
        phase=Phase.running,
        reason="",
        stage_index=index,
        weight=points(spec.stages[index].percent),
        stage_entered_at=order.at,
    )


def _new_run(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    fresh = replace(
        state,
        run=state.run + 1,
        seed=0,
        spec=file_spec,
        draining=False,
        entry=0,
        slow_after_s=0.0,
        started_by=order.by,
        cause="",
    )
    return _enter_stage(fresh, 0, order, file_spec)


def _restart(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    if order.keep_assignment and order.exclude_previous:
        raise BadRequest("keep_assignment and exclude_previous contradict each other: give one of them")
    if (order.keep_assignment or order.exclude_previous) and not state.run:
        raise Conflict(f"migration {state.name!r} has had no run whose people could be kept or excluded")
    fresh = _new_run(state, order, file_spec)
    if order.keep_assignment:
        return replace(fresh, seed=state.hash_run)
    if order.exclude_previous and state.widest == LINE:
        raise Conflict(
            f"run {state.run} of migration {state.name!r} gave everybody to the candidate: none would be left"
        )
    if order.exclude_previous and state.widest:
        seen = dict(state.excluded)
        seen[state.hash_run] = max(state.widest, seen.get(state.hash_run, 0))
        return replace(fresh, excluded=tuple(sorted(seen.items())))
    return fresh


def _climb(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    spec = spec_in_force(state, file_spec)
    for index, stage in enumerate(spec.stages):
        if points(stage.percent) > state.weight:
            return _enter_stage(state, index, order, spec)
    if state.stage_index < len(spec.stages) - 1:
        return _enter_stage(state, len(spec.stages) - 1, order, spec)
    return replace(_anew(state), phase=Phase.soaking, reason="", weight=LINE, stage_entered_at=order.at)


def _advance(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    stage = _stage(state, file_spec)
    if stage.approval and not state.approved_by and not order.force:
        _check_approver(state, order, stage)
    return _climb(state, order, file_spec)


def _climb_by_itself(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    _leave_to_people(state, order)
    stage = _stage(state, file_spec)
    if stage.approval and not state.approved_by:
        raise Conflict(f"stage {stage.name!r} of migration {state.name!r} has not been approved")
    return _climb(state, order, file_spec)


def _set_weight(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    if order.percent is None:
        raise BadRequest("percent is missing: say the candidate's share, 0 to 100")
    return replace(_anew(state), phase=Phase.paused, reason="user", weight=points(order.percent))


def _pause(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    if state.phase is Phase.paused and state.reason == "user":
        raise Conflict(f"migration {state.name!r} is paused by hand already")
    return replace(state, phase=Phase.paused, reason="user")


def _pause_by_itself(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    _leave_to_people(state, order)
    if order.pause_reason is None:
        raise BadRequest(f"pause_reason is missing: one of {', '.join(get_args(PauseReason))}")
    if state.reason == order.pause_reason:
        raise Conflict(f"migration {state.name!r} is paused for that reason already: {state.reason}")
    return replace(state, phase=Phase.paused, reason=order.pause_reason)


def _resume(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    return replace(_anew(state), phase=Phase.running, reason="", stage_entered_at=order.at)


def _resume_by_itself(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    _leave_to_people(state, order)
    return replace(state, phase=Phase.running, reason="")


def _freeze_baseline(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    if order.slow_after_s <= 0:
        raise BadRequest(f"slow_after_s must be above 0, not {order.slow_after_s}")
    if state.slow_after_s:
        raise Conflict(f"migration {state.name!r} has its baseline already: slow is {state.slow_after_s:g} s")
    return replace(state, slow_after_s=order.slow_after_s)


def _approve(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    stage = _stage(state, file_spec)
    if not stage.approval:
        raise Conflict(
            f"migration {state.name!r} is not waiting for an approval: its stage {stage.name!r} asks for none"
        )
    if state.approved_by:
        raise Conflict(
            f"stage {stage.name!r} of migration {state.name!r} is approved already, by {state.approved_by}"
        )
    _check_approver(state, order, stage)
    approved = replace(state, approved_by=order.by, approved_at=order.at)
    if state.phase is Phase.paused and state.reason == "approval":
        return replace(approved, phase=Phase.running, reason="")
    return approved


def _stage(state: MigrationState, file_spec: MigrationSpec) -> Stage:
    return spec_in_force(state, file_spec).stages[state.stage_index]


def _check_approver(state: MigrationState, order: Order, stage: Stage) -> None:
    if stage.approval_by_another and state.started_by and order.by == state.started_by:
        raise Conflict(
            f"stage {stage.name!r} of migration {state.name!r} must be approved by somebody other than "
            f"{order.by}, who started this run"
        )


def _leave_to_people(state: MigrationState, order: Order) -> None:
    if state.phase is Phase.paused and not paused_by_automation(state):
        raise Conflict(f"{order.verb} is not possible: migration {state.name!r} was paused by a person")


def _step_back(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    if state.stage_index == 0:
        raise Conflict(
            f"migration {state.name!r} is at its first stage: there is none before it, use rollback"
        )
    return _enter_stage(state, state.stage_index - 1, order, spec_in_force(state, file_spec))


def _rolled_back(cause: str) -> Handler:
    def handler(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
        mode = order.mode or spec_in_force(state, file_spec).on_rollback.mode
        drains = mode == "drain" and state.phase is not Phase.draft
        return replace(
            state,
            phase=Phase.rolled_back,
            reason=cause,
            cause=order.reason,
            weight=0,
            draining=drains,
            evicted_run=state.evicted_run if drains else state.run,
            stage_entered_at=order.at,
        )

    return handler


def _emergency(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    return emergency(state, by=order.by, at=order.at, cause=order.reason)


def _stop_draining(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    if not state.draining or order.mode == "drain":
        raise Conflict(f"migration {state.name!r} is rolled back already; restart begins a new run")
    return replace(state, draining=False, evicted_run=state.run)


def _complete(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    return replace(state, phase=Phase.completed, reason="", weight=LINE, stage_entered_at=order.at)


def _refusal(state: MigrationState, verb: str, file_spec: MigrationSpec) -> str:
    possible = sorted(each for phase, each in TABLE if phase is state.phase and each not in _INTERNAL)
    accepted = ", ".join(each for each in possible if _accepts(state, each, file_spec))
    where = f"while migration {state.name!r} is {state.phase.value}"
    if state.phase is Phase.completed and verb in ("rollback", "emergency-rollback"):
        where += " (control has ended; a new run begins at the first stage and can be rolled back again)"
    return f"{verb} is not possible {where}; possible: {accepted}"


def _accepts(state: MigrationState, verb: Verb, file_spec: MigrationSpec) -> bool:
    try:
        TABLE[state.phase, verb](state, Order(verb, by="", at=0.0, percent=0.0), file_spec)
    except Conflict:
        return False
    return True


_INTERNAL = frozenset(
    {"automatic-rollback", "automatic-advance", "automatic-pause", "automatic-resume", "freeze-baseline"}
)
_user, _automatic = _rolled_back("user"), _rolled_back("automatic")

TABLE: Mapping[tuple[Phase, Verb], Handler] = {
    (Phase.draft, "start"): _new_run,
    (Phase.draft, "rollback"): _user,
    (Phase.draft, "emergency-rollback"): _emergency,
    (Phase.running, "advance"): _advance,
    (Phase.running, "set-weight"): _set_weight,
    (Phase.running, "pause"): _pause,
    (Phase.running, "approve"): _approve,
    (Phase.running, "step-back"): _step_back,
    (Phase.running, "rollback"): _user,
    (Phase.running, "automatic-rollback"): _automatic,
    (Phase.running, "automatic-advance"): _climb_by_itself,
    (Phase.running, "automatic-pause"): _pause_by_itself,
    (Phase.running, "freeze-baseline"): _freeze_baseline,
    (Phase.running, "emergency-rollback"): _emergency,
    (Phase.paused, "advance"): _advance,
    (Phase.paused, "set-weight"): _set_weight,
    (Phase.paused, "pause"): _pause,
    (Phase.paused, "resume"): _resume,
    (Phase.paused, "approve"): _approve,
    (Phase.paused, "step-back"): _step_back,
    (Phase.paused, "rollback"): _user,
    (Phase.paused, "automatic-rollback"): _automatic,
    (Phase.paused, "automatic-advance"): _climb_by_itself,
    (Phase.paused, "automatic-pause"): _pause_by_itself,
    (Phase.paused, "automatic-resume"): _resume_by_itself,
    (Phase.paused, "freeze-baseline"): _freeze_baseline,
    (Phase.paused, "emergency-rollback"): _emergency,
    (Phase.soaking, "set-weight"): _set_weight,
    (Phase.soaking, "pause"): _pause,
    (Phase.soaking, "rollback"): _user,
    (Phase.soaking, "automatic-rollback"): _automatic,
    (Phase.soaking, "freeze-baseline"): _freeze_baseline,
    (Phase.soaking, "emergency-rollback"): _emergency,
    (Phase.soaking, "complete"): _complete,
    (Phase.rolled_back, "rollback"): _stop_draining,
    (Phase.rolled_back, "emergency-rollback"): _emergency,
    (Phase.rolled_back, "restart"): _restart,
    (Phase.completed, "restart"): _restart,
}
