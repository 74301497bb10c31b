"""How much traffic there is, how often control fails and what a request costs: what a plan is made of.

Everything is measured where it can be, and each number says where it comes from. What the caller of a plan
says themselves wins over what was measured; what nobody knows stays unknown, but for the error rate, where
an assumption that is named is of more use than nothing.
"""

from dataclasses import dataclass, field, replace

from gateway.compat.catalog import Model, Prices
from gateway.control.papers.facts import Facts, error_rate, errors, mean_cost
from gateway.control.papers.text import DAY_S, number, share, span
from gateway.core.gates.window import Tally, Totals
from gateway.core.tally import ArmTotals
from gateway.core.types import Arm

ENOUGH = 100
"""So many requests say something of an arm."""
ASSUMED_ERROR_RATE = 0.01
MIN_SPAN_S = 60.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes, and what it costs; None: not known."""

    requests_per_min: float | None = None
    units_per_day: float | None = None
    base_error_rate: float = ASSUMED_ERROR_RATE
    """Control's, by requests."""
    control_cost_microusd: float | None = None
    candidate_cost_microusd: float | None = None
    """Mean of a request."""
    sources: dict[str, str] = field(default_factory=dict)
    """Number → where it comes from, in words."""


def observe(facts: Facts) -> Traffic:
    """Return what was measured."""
    control = control_arm(facts)
    sources: dict[str, str] = {}
    rate, rate_source = _error_rate(control)
    sources["base_error_rate"] = rate_source
    per_min = units = None
    if (seen := _longest(facts)) is not None:
        length_s, tally = seen
        per_min = tally.requests / (length_s / 60)
        units = len(tally.units) / (length_s / DAY_S)
        measured = f"{number(tally.requests)} requests in the last {span(length_s)}"
        sources["requests_per_min"] = measured
        sources["units_per_day"] = (
            f"at least {number(len(tally.units))} units in the last {span(length_s)}, as if none came back"
        )
    costs = _costs(facts, control, sources)
    return Traffic(per_min, units or None, rate, *costs, sources=sources)


def told(
    traffic: Traffic,
    *,
    requests_per_min: float | None = None,
    units_per_day: float | None = None,
    base_error_rate: float | None = None,
) -> Traffic:
    """Return the same with what somebody says themselves in its place."""
    given = {
        "requests_per_min": requests_per_min,
        "units_per_day": units_per_day,
        "base_error_rate": base_error_rate,
    }
    said = {name: value for name, value in given.items() if value is not None}
    sources = traffic.sources | dict.fromkeys(said, "as given")
    return replace(traffic, **said, sources=sources)


def control_arm(facts: Facts) -> ArmTotals:
    """Return what is known of control: from this run if it has seen enough, else from where there is most."""
    present = facts.tally.arms[Arm.control]
    if present.requests >= ENOUGH:
        return present
    arms = [run.arms[Arm.control] for run in facts.runs.values()]
    return max([present, *arms], key=lambda arm: arm.requests)


def _error_rate(control: ArmTotals) -> tuple[float, str]:
    rate = error_rate(control)
    if rate is None or control.requests < ENOUGH:
        return ASSUMED_ERROR_RATE, f"assumed: control has been seen {number(control.requests)} times only"
    failed = errors(control)
    if not failed:
        # None in n requests: the rate is below 3/n with 95 % confidence, and about 1/n is a fair guess.
        return 1 / control.requests, f"none in {number(control.requests)} requests; taken as one"
    return rate, f"{number(failed)} of control's {number(control.requests)} requests"


def _longest(facts: Facts) -> tuple[float, Tally] | None:
    """Return the longest time that was counted in full, and everybody within it."""
    known = [(length, _everybody(totals)) for length, totals in facts.windows.items()]
    known = [(length, tally) for length, tally in known if tally.requests]
    if not known:
        return None
    length, tally = max(known, key=lambda each: each[0])
    # A process counts since it began, and a run's windows begin with the run.
    began = facts.started_at(facts.state.run) if facts.state.run else None
    spans = (length, facts.counting_s or length, facts.now - began if began is not None else length)
    return max(min(spans), MIN_SPAN_S), tally


def _everybody(totals: Totals) -> Tally:
    return sum(totals.values(), Tally())


def _costs(facts: Facts, control: ArmTotals, sources: dict[str, str]) -> tuple[float | None, float | None]:
    control_cost = mean_cost(control)
    if control_cost is None:
        return None, None
    sources["control_cost_microusd"] = f"mean of {number(control.priced)} priced requests"
    candidate = facts.tally.arms[Arm.candidate]
    seen = mean_cost(candidate)
    if seen is not None and candidate.priced >= ENOUGH:
        sources["candidate_cost_microusd"] = f"mean of {number(candidate.priced)} priced requests"
        return control_cost, seen
    factor = price_factor(facts.control, facts.candidate, control)
    if factor is None:
        return control_cost, None
    sources["candidate_cost_microusd"] = (
        f"control's mean times {factor:.2f}, the candidate's list prices for control's tokens"
    )
    return control_cost, control_cost * factor


def price_factor(control: Model | None, candidate: Model | None, seen: ArmTotals) -> float | None:
    """Return how many times control's price the candidate asks for the tokens that control used."""
    if (
        control is None
        or candidate is None
        or not control.prices
        or not candidate.prices
        or not seen.measured
    ):
        return None
    before = _price(control.prices, seen)
    return _price(candidate.prices, seen) / before if before else None


def _price(prices: Prices, seen: ArmTotals) -> float:
    return prices.input * seen.prompt_tokens + prices.output * seen.output_tokens


def describe(traffic: Traffic) -> list[tuple[str, str, str]]:
    """Return each number with its unit and where it comes from, for a table."""
    sources = traffic.sources
    per_min, units = traffic.requests_per_min, traffic.units_per_day
    rows = [
        (
            "traffic",
            f"{per_min:.3g} requests/min" if per_min is not None else "not known",
            "requests_per_min",
        ),
        ("units", f"{number(units)} a day" if units is not None else "not known", "units_per_day"),
        ("control's error rate", share(traffic.base_error_rate), "base_error_rate"),
    ]
    return [(what, value, sources.get(key, "nothing was counted yet")) for what, value, key in rows]
