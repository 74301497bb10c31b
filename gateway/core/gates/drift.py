"""Whether the candidate is still what it was when it was promoted; judged while soaking, alone.

Each failure, and the share of answers slower than its p95 was then, is an e-process against the rate of the
baseline times the margin that control was given. It only raises an alarm: by then nobody is left to compare
with, most callers depend on the candidate, and its tests count requests, which a busy caller can move.
"""

from collections.abc import Iterator
from math import log

from gateway.core.evidence import DRIFT, drift_limit
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.types import Phase


def judge_drift(picture: Picture) -> Iterator[GateResult]:
    """Yield `drift` while soaking."""
    if picture.state.phase is not Phase.soaking:
        return
    baseline = picture.evidence.promoted
    tests = {
        name.removeprefix(DRIFT): test
        for name, test in picture.evidence.tests.items()
        if name.startswith(DRIFT)
    }
    if baseline is None or not tests:
        reason = "too little data: no baseline has been frozen at the promotion yet"
        yield GateResult("drift", Verdict.inconclusive, reason)
        return
    limit = log(len(tests) / picture.spec.gates.alpha)
    name, test = max(tests.items(), key=lambda one: (one[1].peak, one[0]))
    tolerated = drift_limit(picture.spec, baseline, name)
    evidence = {"log_e": test.peak, "stop_at": limit, "tolerated": tolerated}
    if test.peak >= limit:
        reason = f"{name} is beyond chance above {tolerated:.2%} of requests, which it was to stay within"
        yield GateResult("drift", Verdict.failed, reason, evidence)
        return
    reason = f"nothing has left what it was at the promotion; nearest is {name}"
    yield GateResult("drift", Verdict.passed, reason, evidence)
