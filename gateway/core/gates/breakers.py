"""The absolute limits on what the candidate's callers met lately.

While control is as sick the trouble is the provider's, and moving callers there would not help them: the
verdict is inconclusive and says so. Too little data is inconclusive too, and so is a value that control's
own rate comes to by chance: where it has one error in a hundred, two in twenty are no reason. Nor are those
of one unit alone, as long as several are asked for: whoever asks most may fail for reasons of their own.

| breaker | the candidate's value | control is as sick |
|---|---|---|
| error_rate | requests that ended in an error | its own errors are above the limit (*) |
| fallback_rate | requests that control had to answer | its errors are: nothing rescues control (*) |
| latency_p95_s | p95 of whole answers | its own p95 is above the limit (*) |
| quality_issues | units that complained | it has as many complaints for its requests |
| cost_ratio | mean cost, as a multiple of control's | never: it is what the value is measured by |

(*) Or on its way there. What strikes both arms lifts their rates side by side, so one of them is over the
limit a moment before the other, and every second time that is the candidate. So control is as sick from half
of the limit on, seen by half as many requests, as long as the candidate fails at most twice as often.

Control over the limit is no excuse for a candidate that fails more than twice as often, beyond what chance
does, where most requests are the candidate's: comparisons have left there, and control would help. Where they
are not, the window may hold less of the past of the candidate than of control, which an outage strikes alike.

Where the window holds too little of control, its errors and its mean cost over the run stand in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log

from gateway.core.gates.verdict import BREAKERS, SHARED, GateResult, Verdict
from gateway.core.gates.window import NOTHING, Tally, Totals
from gateway.core.spec import BreakerRule
from gateway.core.stats.histogram import count, quantile, share_above
from gateway.core.types import ERRORS, Arm

SLOWEST = 0.05
"""The share of answers beyond a p95."""
SURE = log(10_000)
"""-ln of the chance below which it was none: windows are looked at all day long."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a breaker looks at."""

    rule: BreakerRule
    candidate: Tally
    control: Tally
    control_cost: float | None
    """Control's mean micro-dollars per request, as known from outside of the window."""
    control_errors: tuple[float, float]
    """Control's errors, and of how many requests, as known from there."""

    @property
    def least(self) -> int:
        """Requests without which nothing is said of an arm."""
        return max(self.rule.min_requests, 1)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a breaker sees there."""

    requests: int
    """Of the candidate's, as far as they can be looked at."""
    control_requests: int
    control_value: float
    value: float | None
    """None: there is nothing to measure it by."""
    said: str
    """The value, as the beginning of a sentence."""
    limit: str
    above: str = ""
    """What it is the value of; ends the sentence if it is above the limit."""
    shared: str = ""
    """Said instead where control is as sick; empty: it is not."""
    doubt: str = ""
    """Said instead where it is one unit's alone, or control's own rate may come to it by chance."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """More of what the verdict is made of."""


def judge_breakers(
    rules: Mapping[str, BreakerRule],
    totals_by_window: Mapping[float, Totals],
    *,
    control_cost_microusd: float | None = None,
    control_errors: tuple[float, float] = (0.0, 0.0),
) -> list[GateResult]:
    """Return the verdict of each breaker that has a rule, in a fixed order.

    For when the window holds too little of control: `control_cost_microusd` is its mean cost over the run,
    `control_errors` are its errors there, and of how many requests.
    """
    results = []
    for name in BREAKERS:
        if name in rules:
            totals = totals_by_window.get(rules[name].window_s, NOTHING)
            ours, theirs = totals[Arm.candidate], totals[Arm.control]
            asked = _Asked(rules[name], ours, theirs, control_cost_microusd, control_errors)
            results.append(_judge(name, asked, _LOOK[name](asked)))
    return results


def _judge(name: str, asked: _Asked, seen: _Seen) -> GateResult:
    rule, units = asked.rule, len(asked.candidate.units)
    evidence = {
        "value": seen.value or 0.0,
        "max": rule.max,
        **seen.numbers,
        "requests": seen.requests,
        "min_requests": rule.min_requests,
        "units": units,
        "min_units": rule.min_units,
        "control_value": seen.control_value,
        "control_requests": seen.control_requests,
        "window_s": rule.window_s,
    }
    verdict = Verdict.inconclusive
    if seen.requests < asked.least:
        reason = f"too little data: {seen.requests} of {asked.least} requests"
    elif units < rule.min_units:
        reason = f"too little data: requests from {units} of {rule.min_units} units"
    elif seen.value is None:
        reason = "too little data: nothing is known of control"
    elif seen.value <= rule.max:
        verdict, reason = Verdict.passed, f"{seen.said} is within {seen.limit}"
    elif seen.shared:
        reason = f"provider: {seen.shared}"
        evidence[SHARED] = 1
    elif seen.doubt:
        reason = f"too little data: {seen.doubt}"
    else:
        verdict, reason = Verdict.failed, f"{seen.said} {seen.above}"
    return GateResult(name, verdict, reason, evidence)


# --- what each of them sees ---------------------------------------------------------------------------------


def _errors(asked: _Asked) -> _Seen:
    bad = {outcome.value: asked.candidate.outcomes.get(outcome.value, 0) for outcome in ERRORS}
    return _rate(asked, asked.candidate.errors, _most_frequent(bad))


def _fallbacks(asked: _Asked) -> _Seen:
    return _rate(asked, asked.candidate.fallbacks, "")


def _rate(asked: _Asked, failures: int, causes: str) -> _Seen:
    ours, theirs = asked.candidate, asked.control
    # Nothing rescues control: what the candidate shows as a fallback, control shows as an error.
    value, control_value = _ratio(failures, ours.requests), _ratio(theirs.errors, theirs.requests)
    said, control_said, limit = f"{value:.1%}", f"{control_value:.1%}", f"{asked.rule.max:.1%}"
    both, shared = _Both(failures, ours.requests, theirs.errors, theirs.requests, asked.least), ""
    if both.sick(asked.rule.max):
        shared = f"candidate {said} is above {limit}, and control with {control_said} on its way there"
        if control_value > asked.rule.max:
            shared = f"candidate {said} and control {control_said} are both above {limit}"
    known, doubt = both, ""
    if theirs.requests * 2 < asked.least:  # nearly everybody is on the candidate, or it has just begun
        known = _Both(failures, ours.requests, *asked.control_errors, asked.least)
    if known.by_chance:
        own = _ratio(known.control_failures, known.control_of)
        doubt = f"{said} of {ours.requests} requests may be chance: control has {own:.1%} of its own"
    if asked.rule.min_units > 1 and len(ours.failing) == 1:
        doubt = f"{said} of {ours.requests} requests failed, and all of them are one unit's"
    return _Seen(
        requests=ours.requests,
        control_requests=theirs.requests,
        control_value=control_value,
        value=value,
        said=said,
        limit=limit,
        above=f"of {ours.requests} requests, above {limit}{causes}",
        shared=shared,
        doubt=doubt,
        numbers={"failures": failures},
    )


def _latency(asked: _Asked) -> _Seen:
    timed, control_timed = count(asked.candidate.durations), count(asked.control.durations)
    value = quantile(asked.candidate.durations, 0.95)
    control_value = quantile(asked.control.durations, 0.95) or 0.0
    said, limit = f"a p95 of {value or 0.0:.3g} s", f"{asked.rule.max:g} s"
    slow, control_slow = (
        share_above(arm.durations, asked.rule.max) or 0.0 for arm in (asked.candidate, asked.control)
    )
    both, shared = _Both(slow * timed, timed, control_slow * control_timed, control_timed, asked.least), ""
    if both.sick(SLOWEST):
        shared = f"candidate with {said} is above {limit}, and so are {control_slow:.1%} of control's answers"
        if control_value > asked.rule.max:
            shared = f"candidate with {said} and control with {control_value:.3g} s are both above {limit}"
    doubt = f"{said} over {timed} requests may be chance: so slow are {control_slow:.1%} of control's"
    return _Seen(
        requests=timed,
        control_requests=control_timed,
        control_value=control_value,
        value=value,
        said=said,
        limit=limit,
        above=f"over {timed} requests, above {limit}",
        shared=shared,
        doubt=doubt if both.by_chance else "",
    )


def _issues(asked: _Asked) -> _Seen:
    ours, theirs = asked.candidate, asked.control
    # A complaint comes later than the answer, which may have left the window by then.
    requests, control_requests = max(ours.requests, ours.issues), max(theirs.requests, theirs.issues)
    sick = theirs.issues > 0 and theirs.issues * requests >= ours.issues * control_requests
    said = f"{ours.issues} complaining unit{'' if ours.issues == 1 else 's'}"
    return _Seen(
        requests=requests,
        control_requests=control_requests,
        control_value=theirs.issues,
        value=ours.issues,
        said=said,
        limit=f"{asked.rule.max:g}",
        above=f"among {requests} requests, above {asked.rule.max:g}",
        shared=f"{said}, but {theirs.issues} among control's {control_requests} requests" if sick else "",
    )


def _cost(asked: _Asked) -> _Seen:
    ours, theirs = asked.candidate, asked.control
    mean = _ratio(ours.cost_microusd, ours.priced)
    in_window = theirs.priced >= asked.least
    control = _ratio(theirs.cost_microusd, theirs.priced) if in_window else asked.control_cost or 0.0
    value = mean / control if control > 0 else None
    means = f"{mean:.0f} to {control:.0f} micro-dollars"
    return _Seen(
        requests=ours.priced,
        control_requests=theirs.priced,
        control_value=1.0,
        value=value,
        said=f"{value or 0.0:.3g} times control's cost",
        limit=f"{asked.rule.max:g}",
        above=f"over {ours.priced} requests ({means}), above {asked.rule.max:g}",
        numbers={"cost_microusd": mean, "control_cost_microusd": control},
    )


_LOOK: Mapping[str, Callable[[_Asked], _Seen]] = {
    "error_rate": _errors,
    "fallback_rate": _fallbacks,
    "latency_p95_s": _latency,
    "quality_issues": _issues,
    "cost_ratio": _cost,
}


@dataclass(frozen=True, slots=True)
class _Both:
    """What befell requests of the candidate's, and of control's."""

    failures: float
    of: int
    control_failures: float
    control_of: float
    least: int
    """Requests without which nothing is said of an arm."""

    def sick(self, limit: float) -> bool:
        """Tell whether control is over the limit or on its way there, and so is no help."""
        ours, theirs = _ratio(self.failures, self.of), _ratio(self.control_failures, self.control_of)
        if theirs > limit and self.control_of >= self.least:
            return self.of <= self.control_of or self._explained(2 * theirs)
        return theirs > limit / 2 and self.control_of * 2 >= self.least and ours <= 2 * theirs

    @property
    def by_chance(self) -> bool:
        """Tell whether control's rate, as far as it is known, may well come to the candidate's failures."""
        return self.control_of * 2 >= self.least and self._explained(
            (self.control_failures + 0.5) / (self.control_of + 1)
        )

    def _explained(self, rate: float) -> bool:
        """Tell whether so many failures may be chance at this rate, by Chernoff's bound."""
        seen = _ratio(self.failures, self.of)
        if seen <= rate:
            return True
        spared = (1 - seen) * log((1 - seen) / (1 - rate)) if seen < 1 else 0.0
        return self.of * (seen * log(seen / rate) + spared) < SURE


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _most_frequent(causes: Mapping[str, int], most: int = 3) -> str:
    named = sorted(((n, name) for name, n in causes.items() if n), key=lambda one: (-one[0], one[1]))
    return ": " + ", ".join(f"{n} {name}" for n, name in named[:most]) if named else ""
