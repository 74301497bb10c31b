"""Whether the numbers can be trusted at all: all replicas count, there is traffic, the arms enrol alike.

None of these rolls back. Each keeps the stage from being advanced, because what else is judged would be
judged from half of what happens, from nothing, or from arms that are not alike.

`traffic` waits for the first request of the candidate's in an entry, and for the next one at most
`gates.no_traffic_s`. At 0 % only people and tasks on a list can send one, so without them it is left out.
"""

from collections.abc import Iterator

from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.gates.words import counted, joined, progress, spoken
from gateway.core.stats.histogram import count
from gateway.core.stats.ratio import ALARM, log_bayes_factor
from gateway.core.types import Arm, Phase

SHARE = 0.5
"""The candidate's intended share of the enrolled units: the arms are matched."""


def judge_integrity(picture: Picture) -> Iterator[GateResult]:
    """Yield the gates of the counts themselves that apply."""
    yield _freshness(picture)
    if _expects_traffic(picture):
        yield _traffic(picture)
    if picture.compared:
        yield _sample_ratio(picture)


def gone_quiet(picture: Picture) -> bool:
    """Whether the candidate has had no request for so long that the stage pauses."""
    quiet = picture.evidence.quiet_s >= picture.spec.gates.no_traffic_s
    return _expects_traffic(picture) and quiet


def _freshness(picture: Picture) -> GateResult:
    fresh_s = picture.spec.gates.fresh_s
    evidence = {"stale": len(picture.stale), "fresh_s": fresh_s}
    if picture.stale:
        reason = f"no counts within {spoken(fresh_s)} from {joined(picture.stale)}"
        return GateResult("freshness", Verdict.inconclusive, reason, evidence)
    reason = f"every expected replica has counted within {spoken(fresh_s)}"
    return GateResult("freshness", Verdict.passed, reason, evidence)


def _expects_traffic(picture: Picture) -> bool:
    state = picture.state
    if state.phase not in (Phase.running, Phase.paused):
        return False
    lists = state.lists if state.lists is not None else picture.spec.lists
    return state.weight > 0 or bool(lists.allow_users or lists.allow_tasks)


def _traffic(picture: Picture) -> GateResult:
    quiet_s, limit_s = picture.evidence.quiet_s, picture.spec.gates.no_traffic_s
    arm = picture.stage.arms[Arm.candidate]
    requests = max(arm.requests, count(arm.durations))
    evidence = {"quiet_s": quiet_s, "limit_s": limit_s, "requests": requests}
    verdict = Verdict.inconclusive
    if quiet_s >= limit_s:
        reason = f"the candidate has had no request for {spoken(quiet_s)}"
    elif not requests:
        reason = f"no request of the candidate's yet: {progress(quiet_s, limit_s)}"
    else:
        verdict, reason = Verdict.passed, f"the candidate has had {counted(requests, 'request')}"
    return GateResult("traffic", verdict, reason, evidence)


def _sample_ratio(picture: Picture) -> GateResult:
    candidate, control = (picture.enrolled.get(arm, 0) for arm in (Arm.candidate, Arm.control))
    value = log_bayes_factor(candidate, control, SHARE)
    numbers = {"candidate": candidate, "control": control, "log_bayes_factor": value, "alarm": ALARM}
    arms = f"{counted(candidate, 'unit')} on the candidate, {control} on control"
    if not candidate + control:
        return GateResult("sample_ratio", Verdict.inconclusive, "no unit has been enrolled yet", numbers)
    if value >= ALARM:
        reason = f"{arms}: such unequal arms of equal width are no accident"
        return GateResult("sample_ratio", Verdict.failed, reason, numbers)
    return GateResult("sample_ratio", Verdict.passed, f"{arms}: as even as chance has it", numbers)
