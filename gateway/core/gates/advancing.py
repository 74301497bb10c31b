"""What a stage must have behind it before the next one is entered, and what may end it before.

- `duration` - a stage that cannot advance (which only `judge` can tell) is given up after `max_duration`: it
  rolls back, or it pauses, or it goes past what stayed inconclusive, as the stage says. Only the first is a
  `fail`.
- `hold`, `min_units` - watched time, and enrolled units of each arm; the latter up to 50 %.
- `freeze` - a window in which nothing advances. One that cannot be read holds as well.
- `approval` - last: somebody has approved this very entry. Where it waits too long and the stage says so, it
  fails, which rolls back.

Time is watched time of the present entry; evidence of another entry counts as none.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.core.gates.freeze import frozen, zone
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.gates.words import progress, spoken
from gateway.core.types import LINE, Arm, Phase


def judge_duration(picture: Picture) -> Iterator[GateResult]:
    """Yield `duration` where the stage has one."""
    limit_s, then = picture.current_stage.max_duration_s, picture.current_stage.on_max_duration
    if limit_s is None:
        return
    watched_s = _watched_s(picture)
    evidence = {"watched_s": watched_s, "max_s": limit_s}
    verdict, reason = Verdict.passed, progress(watched_s, limit_s)
    if watched_s >= limit_s:
        verdict = Verdict.passed if then == "advance" else Verdict.inconclusive
        if then == "rollback" and picture.state.phase is Phase.running:  # Nobody loses a run by pausing it.
            verdict = Verdict.failed
        reason = f"the stage has not advanced within {spoken(limit_s)}"
    yield GateResult("duration", verdict, reason, evidence)


def overdue(picture: Picture) -> bool:
    """Whether the stage's `max_duration` is over."""
    limit_s = picture.current_stage.max_duration_s
    return limit_s is not None and _watched_s(picture) >= limit_s


def judge_minimum(picture: Picture) -> Iterator[GateResult]:
    """Yield `hold` and `min_units` where they apply."""
    stage, watched_s = picture.current_stage, _watched_s(picture)
    if stage.hold_s > 0:
        verdict = Verdict.passed if watched_s >= stage.hold_s else Verdict.inconclusive
        evidence = {"watched_s": watched_s, "hold_s": stage.hold_s}
        yield GateResult("hold", verdict, progress(watched_s, stage.hold_s), evidence)
    if stage.min_units > 0 and 0 < picture.state.weight <= LINE // 2:
        candidate, control = (picture.enrolled.get(arm, 0) for arm in (Arm.candidate, Arm.control))
        fewest = min(candidate, control)
        evidence = {"candidate": candidate, "control": control, "min_units": stage.min_units}
        verdict = Verdict.passed if fewest >= stage.min_units else Verdict.inconclusive
        yield GateResult("min_units", verdict, f"{fewest} of {stage.min_units} units", evidence)


def judge_freeze(picture: Picture) -> Iterator[GateResult]:
    """Yield `freeze` where any is configured."""
    freezes = picture.spec.freeze
    if not freezes:
        return
    try:
        now = frozen(freezes, picture.now)
    except ValueError as error:
        yield GateResult("freeze", Verdict.error, f"a freeze cannot be read: {error}")
        return
    if now is None:
        yield GateResult("freeze", Verdict.passed, "no freeze is in force", {"frozen": 0})
        return
    timezone = next(each.timezone for each in freezes if each.name == now.name)
    evidence = {"frozen": 1.0, **({} if now.until is None else {"until": now.until})}
    ends = "somebody lifts it"
    if now.until is not None:
        ends = f"{datetime.fromtimestamp(now.until, zone(timezone)):%Y-%m-%d %H:%M} {timezone}"
    yield GateResult("freeze", Verdict.inconclusive, f"frozen by {now.name!r} until {ends}", evidence)


def judge_approval(picture: Picture) -> Iterator[GateResult]:
    """Yield `approval` where the stage asks for one."""
    stage, state = picture.current_stage, picture.state
    if not stage.approval:
        return
    waiting = state.phase is Phase.paused and state.reason == "approval"
    waited_s = picture.evidence.paused_s if waiting else 0.0
    deadline_s = stage.approval_deadline_s
    evidence = {"waited_s": waited_s, **({} if deadline_s is None else {"deadline_s": deadline_s})}
    verdict, reason = Verdict.inconclusive, "nobody has approved yet"
    if state.approved_by and stage.approval_by_another and state.approved_by == state.started_by:
        reason = f"{state.approved_by} started this run, so somebody else must approve"
    elif state.approved_by:
        when = f"{datetime.fromtimestamp(state.approved_at, UTC):%Y-%m-%d %H:%M} UTC"
        verdict, reason = Verdict.passed, f"approved by {state.approved_by} at {when}"
    elif deadline_s is not None and waited_s >= deadline_s:
        verdict = Verdict.failed if stage.on_deadline == "rollback" else Verdict.inconclusive
        reason = f"nobody has approved within {spoken(deadline_s)}"
    elif deadline_s is not None and waiting:
        reason = f"nobody has approved yet: {progress(waited_s, deadline_s)}"
    yield GateResult("approval", verdict, reason, evidence)


def _watched_s(picture: Picture) -> float:
    evidence, state = picture.evidence, picture.state
    return evidence.watched_s if (evidence.run, evidence.entry) == (state.run, state.entry) else 0.0
