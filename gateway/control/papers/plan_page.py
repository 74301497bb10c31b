"""The plan as a page: what it is made with, the stages in a table, what it costs, and what to mind."""

from gateway.control.papers.plan import Limit, Plan, StagePlan
from gateway.control.papers.text import (
    UNKNOWN,
    beside,
    bullets,
    number,
    page,
    section,
    span,
    table,
    times,
    usd,
)
from gateway.control.papers.traffic import describe

_LIMITS: dict[Limit, str] = {
    "hold": "its hold",
    "min_units": "its minimum of units",
    "person": "somebody who advances it",
    "none": "nothing",
}


def markdown(plan: Plan) -> str:
    """Return the plan as a page."""
    ends = f"At the earliest it is over {span(plan.takes_s)} after the start" if plan.takes_s else ""
    if plan.takes_s is None:
        ends = "How long it takes is not known: somebody must advance it, or the traffic is not known"
    return page(
        f"Plan of {plan.migration}",
        f"From `{plan.control}` to `{plan.candidate}`. {ends}; approvals, freezes and pauses come on top.",
        section("What it is planned with", table(("", "value", "from"), describe(plan.traffic))),
        section("Stages", stages_table(plan), _READING),
        section("Cost", bullets(cost_lines(plan))),
        section("Warnings", bullets(_warning_lines(plan))),
    )


_READING = (
    "*Sees*: the smallest ratio of error rates, candidate to control, that is expected to stop the run by "
    "the end of the stage; what was compared in earlier stages counts. *Doubling*: how long twice control's "
    "error rate takes to show with the traffic of this stage alone. Both overstate by about a fifth, and "
    "breakers come on top."
)


def stages_table(plan: Plan) -> str:
    """Return the stages, a row each."""
    header = (
        "stage",
        "share",
        "lasts",
        "waits for",
        "candidate's requests",
        "units",
        "sees",
        "doubling",
        "extra cost",
    )
    return table(header, (_row(stage) for stage in plan.stages))


def _row(stage: StagePlan) -> tuple[str, ...]:
    approval = " and an approval" if stage.approval else ""
    return (
        stage.name,
        f"{stage.percent:g} %",
        "open" if stage.lasts_s is None else span(stage.lasts_s) if stage.lasts_s else "a moment",
        _LIMITS[stage.limit] + approval,
        UNKNOWN if stage.requests is None else number(stage.requests),
        UNKNOWN if stage.units is None else number(stage.units),
        _sees(stage),
        _doubling(stage),
        UNKNOWN if stage.extra_cost_microusd is None else usd(stage.extra_cost_microusd),
    )


def _doubling(stage: StagePlan) -> str:
    if not stage.compared:
        return "not compared"
    return UNKNOWN if stage.doubling_s is None else span(stage.doubling_s)


def _sees(stage: StagePlan) -> str:
    if not stage.compared:
        return "not compared"
    if stage.requests is None:
        return UNKNOWN
    return "nothing" if stage.smallest_ratio is None else times(stage.smallest_ratio)


def cost_lines(plan: Plan) -> list[str]:
    """Return what the ramp costs, in sentences."""
    traffic, sources = plan.traffic, plan.traffic.sources
    if traffic.control_cost_microusd is None:
        return ["not known: no priced request of control's has been counted yet"]
    lines = [
        f"a request costs {usd(traffic.control_cost_microusd)} on control "
        f"({sources.get('control_cost_microusd', '')})"
    ]
    if traffic.candidate_cost_microusd is None:
        return [*lines, "on the candidate: not known, a price or the tokens are missing"]
    ratio = traffic.candidate_cost_microusd / (traffic.control_cost_microusd or 1)
    lines.append(
        f"on the candidate {usd(traffic.candidate_cost_microusd)}, {times(ratio)} as much "
        f"({sources.get('candidate_cost_microusd', '')})"
    )
    if plan.extra_cost_microusd is not None:
        lines.append(
            f"the ramp costs {beside(plan.extra_cost_microusd, 'control alone')}, open stages left out"
        )
    if plan.extra_cost_per_month_microusd is not None:
        at_the_top = beside(plan.extra_cost_per_month_microusd, "control alone")
        lines.append(f"at the top it costs {at_the_top} in 30 days")
    return lines


def _warning_lines(plan: Plan) -> list[str]:
    each = [f"**{stage.name}**: {warning}" for stage in plan.stages for warning in stage.warnings]
    return [*plan.warnings, *each]
