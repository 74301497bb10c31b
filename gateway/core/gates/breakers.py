"""The absolute limits on what the candidate's callers met lately.

While control is over the same limit the trouble is the provider's, and moving callers there would not help
them: the verdict is inconclusive and says so. Too little data is inconclusive too.
"""

from collections.abc import Mapping

from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.gates.window import NOTHING, Totals, judged
from gateway.core.spec import BreakerRule
from gateway.core.types import Arm


def judge_breakers(
    rules: Mapping[str, BreakerRule], totals_by_window: Mapping[float, Totals]
) -> list[GateResult]:
    """Return the verdict of each breaker that has a rule and that this judge knows, in a fixed order."""
    return [
        _judge(name, rule, totals_by_window.get(rule.window_s, NOTHING))
        for name, rule in judged(rules).items()
    ]


def unmeasured(rules: Mapping[str, BreakerRule], reason: str) -> list[GateResult]:
    """Return the same gates where the numbers could not be had."""
    return [GateResult(name, Verdict.error, reason) for name in judged(rules)]


def _judge(name: str, rule: BreakerRule, totals: Totals) -> GateResult:
    candidate, control = totals[Arm.candidate], totals[Arm.control]
    failures = candidate.errors if name == "error_rate" else candidate.fallbacks
    # Nothing rescues control: what the candidate shows as a fallback, control shows as an error.
    value, control_value = _rate(failures, candidate.requests), _rate(control.errors, control.requests)
    evidence = {
        "value": value,
        "max": rule.max,
        "failures": failures,
        "requests": candidate.requests,
        "min_requests": rule.min_requests,
        "units": len(candidate.units),
        "min_units": rule.min_units,
        "control_value": control_value,
        "control_requests": control.requests,
        "window_s": rule.window_s,
    }
    verdict, reason = Verdict.passed, f"{value:.1%} is within {rule.max:.1%}"
    if candidate.requests < max(rule.min_requests, 1):
        verdict = Verdict.inconclusive
        reason = f"too little data: {candidate.requests} of {rule.min_requests} requests"
    elif len(candidate.units) < rule.min_units:
        verdict = Verdict.inconclusive
        reason = f"too little data: requests from {len(candidate.units)} of {rule.min_units} units"
    elif value > rule.max and control.requests >= max(rule.min_requests, 1) and control_value > rule.max:
        verdict = Verdict.inconclusive
        reason = (
            f"provider: candidate {value:.1%} and control {control_value:.1%} are both above {rule.max:.1%}"
        )
    elif value > rule.max:
        verdict = Verdict.failed
        reason = f"{value:.1%} of {candidate.requests} requests, above {rule.max:.1%}"
    return GateResult(name, verdict, reason, evidence)


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
