"""The state machine of a migration: which verb is legal in which phase, and what it makes of the state.

            start          advance (past the last stage)        complete
    draft ─────────▶ running ───────────────────────▶ soaking ───────────▶ completed
                      ▲   │ pause, set-weight            │
               resume │   ▼                              │
                      paused ◀──────────────────────────┘ set-weight, pause
    draft, running, paused, soaking ── rollback, emergency-rollback, the breaker ──▶ rolled_back
    rolled_back (draining) ── rollback with mode evict ──▶ rolled_back
    rolled_back, completed ── restart ──▶ running

Rules: `TABLE` is the whole machine - a pair that is not in it is refused, changes nothing and says why.
Every handler is pure; version and epoch belong to the store. A pause never changes the weight that is
served. Nothing restarts by itself. A new run draws new people, because the run is part of the hash.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from gateway.core.assign import served_weight
from gateway.core.spec import MigrationSpec
from gateway.core.types import LINE, MigrationState, Phase
from gateway.errors import BadRequest, Conflict

Verb = Literal[
    "start", "advance", "set-weight", "pause", "resume", "approve", "step-back",
    "rollback", "emergency-rollback", "restart", "complete", "automatic-rollback",
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


Handler = Callable[[MigrationState, Order, MigrationSpec], MigrationState]


def carry_out(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    """Return the state after `order`, or raise Conflict (not legal here) or BadRequest (bad arguments).

    `file_spec` is the configuration as it stands now; only a new run copies it.
    """
    handler = TABLE.get((state.phase, order.verb))
    if handler is None:
        raise Conflict(_refusal(state, order.verb, file_spec))
    after = handler(state, order, file_spec)
    return replace(after, updated_at=order.at, updated_by=order.by)


def emergency(state: MigrationState, *, by: str, at: float) -> MigrationState:
    """Return `state` as an emergency rollback leaves it; it always evicts, so no configuration is asked.

    For a process that must stop without the store as well: whether the verb is legal, `TABLE` knows.
    """
    return replace(
        state,
        phase=Phase.rolled_back,
        reason="emergency",
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
    """Return the candidate's share that the phase serves; soaking is everybody less the run's holdback."""
    held_back = state.spec.holdback.percent if state.phase is Phase.soaking and state.spec else 0.0
    return percent(served_weight(state)) - held_back


def points(value: float) -> int:
    """Return a percentage as points of the line; raises BadRequest outside 0-100."""
    if not 0 <= value <= 100:
        raise BadRequest(f"percent must be between 0 and 100, not {value}")
    return round(value * LINE / 100)


def _enter_stage(state: MigrationState, index: int, order: Order, spec: MigrationSpec) -> MigrationState:
    return replace(
        state,
        phase=Phase.running,
        reason="",
        stage_index=index,
        weight=points(spec.stages[index].percent),
        stage_entered_at=order.at,
    )


def _new_run(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    fresh = replace(state, run=state.run + 1, spec=file_spec, draining=False)
    return _enter_stage(fresh, 0, order, file_spec)


def _advance(state: MigrationState, order: Order, file_spec: MigrationSpec) -> MigrationState:
    spec = spec_in_force(state, file_spec)
    for index, stage in enumerate(spec.stages):
        if points(stage.percent) > state.weight:
            return _enter_stage(state, index, order, spec)
    if state.stage_index < len(spec.stages) - 1:
        return _enter_stage(state, len(spec.stages) - 1, order, spec)
    return replace(state, phase=Phase.soaking, reason="", weight=LINE, stage_entered_at=order.at)


def _set_weight(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    if order.percent is None:
        raise BadRequest("percent is missing: say the candidate's share, 0 to 100")
    return replace(state, phase=Phase.paused, reason="user", weight=points(order.percent))


def _pause(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    return replace(state, phase=Phase.paused, reason="user")


def _resume(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    return replace(state, phase=Phase.running, reason="", stage_entered_at=order.at)


def _approve(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    raise Conflict(f"migration {state.name!r} is not waiting for an approval")


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
            weight=0,
            draining=drains,
            evicted_run=state.evicted_run if drains else state.run,
            stage_entered_at=order.at,
        )

    return handler


def _emergency(state: MigrationState, order: Order, _: MigrationSpec) -> MigrationState:
    return emergency(state, by=order.by, at=order.at)


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


_INTERNAL = frozenset({"automatic-rollback"})
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
    (Phase.running, "emergency-rollback"): _emergency,
    (Phase.paused, "advance"): _advance,
    (Phase.paused, "set-weight"): _set_weight,
    (Phase.paused, "resume"): _resume,
    (Phase.paused, "approve"): _approve,
    (Phase.paused, "step-back"): _step_back,
    (Phase.paused, "rollback"): _user,
    (Phase.paused, "automatic-rollback"): _automatic,
    (Phase.paused, "emergency-rollback"): _emergency,
    (Phase.soaking, "set-weight"): _set_weight,
    (Phase.soaking, "pause"): _pause,
    (Phase.soaking, "rollback"): _user,
    (Phase.soaking, "automatic-rollback"): _automatic,
    (Phase.soaking, "emergency-rollback"): _emergency,
    (Phase.soaking, "complete"): _complete,
    (Phase.rolled_back, "rollback"): _stop_draining,
    (Phase.rolled_back, "emergency-rollback"): _emergency,
    (Phase.rolled_back, "restart"): _new_run,
    (Phase.completed, "restart"): _new_run,
}
