"""What both arms are compared by while they are matched: failures, which roll back, and means, which hold.

Failures are judged by the e-process of the run (`core.evidence`), which may stop at any look and before any
minimum of data: α is shared by all comparisons that can roll back, so each stops at ln E = ln(M / α).

Means are judged by one-sided bounds of the entry (`stats.sequence`), each at α / number of stages. Without
harm shown, that is the lower bound within the margin, a stage may go on; `require: non_inferior` asks for the
upper bound to be within it as well. Times, costs and tokens are compared on logarithms, so that their ratio
is one of geometric means; the share of slow requests by the contrast p_T - r₀ p_C.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp

from gateway.core.evidence import SequentialTest, stop_at
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import FAILURES, MEANS, GateResult, MetricRow, Verdict
from gateway.core.stats.eprocess import log_e
from gateway.core.stats.odds import ratio_bounds
from gateway.core.stats.sequence import MIN_VALUES, difference, mean_of
from gateway.core.tally import Buckets
from gateway.core.types import Arm

PLANNED = 1000
"""N* of a stage that asks for fewer units: where its bounds are tightest."""
RATES = frozenset({"slow_share"})
ONE_MORE = frozenset({"output_tokens"})
"""Compared as ln(1 + value), since there may be none at all."""
_LN_MOST = 100.0
_WIDEST_ALPHA = 0.25

Compared = tuple[GateResult, MetricRow]


def judge_failures(picture: Picture) -> Iterator[Compared]:
    """Yield each failure that is compared, while the arms are."""
    for name in FAILURES:
        margin = picture.spec.gates.rollback.get(name)
        if margin is not None and picture.compared:
            test = picture.evidence.tests.get(name, SequentialTest())
            yield judge_test(picture, name, test, margin)


def judge_test(picture: Picture, name: str, test: SequentialTest, margin: float) -> Compared:
    """Return the verdict of one first-failure test against control, and its row."""
    limit = stop_at(picture.spec)
    row = row_of(name, test, margin, limit)
    evidence = {
        "log_e": log_e(test.log_m),
        "stop_at": limit,
        "margin": margin,
        "failed": test.failed[1],
        "at_risk": test.at_risk[1],
        "control_failed": test.failed[0],
        "control_at_risk": test.at_risk[0],
    }
    theirs, ours = (f"{failed} in {of}" for failed, of in zip(test.failed, test.at_risk, strict=True))
    arms = f"first failures: candidate {ours}, control {theirs}"
    said = {
        Verdict.inconclusive: "too little data: no units at risk in both arms yet",
        Verdict.failed: f"{arms}; beyond chance more than {margin:g} times as often",
        Verdict.passed: f"{arms}; not shown to be more than {margin:g} times as often",
    }
    return GateResult(name, row.verdict, said[row.verdict], evidence), row


def row_of(name: str, test: SequentialTest, margin: float, limit: float) -> MetricRow:
    """Return a first-failure test as a row; its verdict is that of the test alone."""
    (control_of, of), (control_failed, failed) = test.at_risk, test.failed
    control = control_failed / control_of if control_of else None
    candidate = failed / of if of else None
    lower, upper = ratio_bounds(test.at_risk, test.failed, exp(-limit))
    verdict = Verdict.passed if min(test.at_risk) > 0 else Verdict.inconclusive
    return MetricRow(
        name=name,
        control=control,
        candidate=candidate,
        ratio=candidate / control if candidate is not None and control else None,
        lower=lower,
        upper=upper,
        margin=margin,
        evidence=_share(log_e(test.log_m), limit),
        n_control=control_of,
        n_candidate=of,
        verdict=Verdict.failed if test.peak >= limit else verdict,
    )


# --- means --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A ratio of means with its bounds."""

    estimate: float
    lower: float
    upper: float


def judge_means(picture: Picture) -> Iterator[Compared]:
    """Yield each mean that is compared, while the arms are."""
    for name in MEANS:
        margin = picture.spec.gates.hold.get(name)
        if margin is not None and picture.compared:
            yield _judge_mean(picture, name, margin)


def _judge_mean(picture: Picture, name: str, margin: float) -> Compared:
    control, candidate = (
        picture.stage.arms[arm].means.get(name, Buckets()) for arm in (Arm.control, Arm.candidate)
    )
    bounds = _bounds(picture, (control, candidate), margin, rates=name in RATES)
    verdict, reason = _weigh(picture, bounds, margin, (sum(control.n), sum(candidate.n)))
    theirs, ours = _plain(name, control), _plain(name, candidate)
    row = MetricRow(
        name=name,
        control=theirs,
        candidate=ours,
        ratio=bounds.estimate if bounds else _quotient(ours, theirs),
        lower=bounds.lower if bounds else None,
        upper=bounds.upper if bounds else None,
        margin=margin,
        evidence=_share(bounds.lower, margin) if bounds else 0.0,
        n_control=sum(control.n),
        n_candidate=sum(candidate.n),
        verdict=verdict,
    )
    known = {"ratio": row.ratio, "lower": row.lower, "upper": row.upper}
    numbers = {key: value for key, value in known.items() if value is not None}
    evidence = {"margin": margin, "n_control": row.n_control, "n_candidate": row.n_candidate, **numbers}
    return GateResult(name, verdict, reason, evidence), row


def _bounds(picture: Picture, arms: tuple[Buckets, Buckets], margin: float, *, rates: bool) -> _Ratio | None:
    control, candidate = (mean_of(each.n, each.total) for each in arms)
    if control is None or candidate is None or (rates and control.value <= 0):
        return None
    alpha = min(picture.spec.gates.alpha / len(picture.spec.stages), _WIDEST_ALPHA)
    planned = max(picture.current_stage.min_units, PLANNED)
    if not rates:
        found = difference(control, candidate, alpha=alpha, planned=planned)
        return _Ratio(*(exp(min(each, _LN_MOST)) for each in (found.estimate, found.lower, found.upper)))
    found = difference(control, candidate, alpha=alpha, planned=planned, factor=margin)
    # Said as a ratio that is beyond the margin exactly where the contrast is beyond zero.
    lower, upper = (max(margin + each / control.value, 0.0) for each in (found.lower, found.upper))
    return _Ratio(candidate.value / control.value, lower, upper)


def _weigh(picture: Picture, bounds: _Ratio | None, margin: float, n: tuple[int, int]) -> tuple[Verdict, str]:
    if bounds is None:
        reason = "too little data: too few units, or nothing varies"
        if min(n) < MIN_VALUES:
            reason = f"too little data: {min(n)} of {MIN_VALUES} requests"
        return Verdict.inconclusive, reason
    said = f"{bounds.estimate:.2f} times control's"
    if bounds.lower > margin:
        return Verdict.failed, f"{said}, at least {bounds.lower:.2f}: above {margin:g}"
    if picture.current_stage.require == "non_inferior" and bounds.upper >= margin:
        reason = f"{said}, perhaps {bounds.upper:.2f}: not shown to be within {margin:g}"
        return Verdict.inconclusive, reason
    beyond = f"not shown to be above {margin:g}" if bounds.estimate > margin else f"within {margin:g}"
    return Verdict.passed, f"{said}, {beyond}"


def _plain(name: str, buckets: Buckets) -> float | None:
    """Return a mean in the metric's own unit, of however little."""
    n = sum(buckets.n)
    if not n:
        return None
    value = sum(buckets.total) / n
    return value if name in RATES else exp(min(value, _LN_MOST)) - (name in ONE_MORE)


def _quotient(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def _share(value: float, whole: float) -> float:
    return min(max(value / whole, 0.0), 1.0) if whole > 0 else 0.0
