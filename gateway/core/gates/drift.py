"""Whether the candidate is still what it was when it was promoted; judged while soaking, alone.

Each failure, and the share of answers slower than its p95 was then, is an e-process against the rate of the
baseline (`evidence.drift_limit`). Means - time to the first token, cost, tokens - are bounded against those
of the newest stage that had enough of them. The margins are those that were given against control; α is
shared by all.

It only raises an alarm: by then hardly anybody is left to compare with, most callers depend on the candidate,
and the tests of failures count requests, which a busy caller can move.
"""

from collections.abc import Iterator
from math import exp, log

from gateway.core.evidence import DRIFT, SLOW, candidate_means, drift_limit
from gateway.core.gates.comparisons import PLANNED
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.stats.sequence import difference
from gateway.core.types import Phase


def judge_drift(picture: Picture) -> Iterator[GateResult]:
    """Yield `drift` while soaking."""
    if picture.state.phase is not Phase.soaking:
        return
    tests = [name for name in picture.evidence.tests if name.startswith(DRIFT)]
    means = candidate_means(picture)
    compared = [name for name in picture.spec.gates.hold if name in picture.evidence.means and name != SLOW]
    if picture.evidence.promoted is None or not tests:
        reason = "too little data: no baseline has been frozen at the promotion yet"
        yield GateResult("drift", Verdict.inconclusive, reason)
        return
    alpha = picture.spec.gates.alpha / (len(tests) + len(compared))
    found = [
        *_failures(picture, tests, log(1 / alpha)),
        *_means(picture, [name for name in compared if name in means], alpha),
    ]
    peak = max(picture.evidence.tests[name].peak for name in tests)
    evidence = {"log_e": peak, "stop_at": log(1 / alpha), "compared": len(tests) + len(compared)}
    if found:
        yield GateResult("drift", Verdict.failed, "; ".join(found), evidence)
    else:
        yield GateResult("drift", Verdict.passed, "nothing has left what it was at the promotion", evidence)


def _failures(picture: Picture, tests: list[str], limit: float) -> Iterator[str]:
    baseline = picture.evidence.promoted
    for test in tests:
        if baseline is not None and picture.evidence.tests[test].peak >= limit:
            name = test.removeprefix(DRIFT)
            yield f"{name} is beyond chance above {drift_limit(picture.spec, baseline, name):.2%} of requests"


def _means(picture: Picture, names: list[str], alpha: float) -> Iterator[str]:
    means = candidate_means(picture)
    for name in names:
        margin = picture.spec.gates.hold[name]
        bounds = difference(picture.evidence.means[name], means[name], alpha=alpha, planned=PLANNED)
        if bounds.lower > log(margin):
            times = f"{exp(min(bounds.estimate, 50.0)):.2f} times"
            yield f"{name} is {times} what it was at the promotion, beyond chance above {margin:g}"
