"""What each stage of a ramp can see at the present traffic, how long it takes and what it costs.

Expected numbers only. The comparison that is planned for is the first-failure test of `error`, among as many
as the configuration has; its evidence carries over, so a stage is told with all that was compared before it.
A stage lasts until its hold is over and its minimum of units is reached, whichever is later; approvals,
freezes and pauses come on top.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from gateway.control.papers.facts import Facts
from gateway.control.papers.text import DAY_S, number, share, span, times
from gateway.control.papers.traffic import Traffic
from gateway.core.evidence import comparisons
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.stats.power import Design, Exposure, seconds_needed, smallest_ratio

HALF = 50.0
"""Above this share the arms are not matched, and nothing is compared."""
USEFUL = 3.0
"""A stage that can only see a candidate worse than this sees little."""
DOUBLING = 2.0

Limit = Literal["hold", "min_units", "person", "none"]


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage, as it is expected to go. None: not known, or not without a person."""

    name: str
    percent: float
    hold_s: float
    min_units: int
    approval: bool
    compared: bool
    begins_s: float | None
    """At the earliest, after the start."""
    lasts_s: float | None
    """At least."""
    limit: Limit
    """What it waits for longest."""
    requests: float | None
    """Of the candidate's; control's matched arm gets as many."""
    units: float | None
    smallest_ratio: float | None
    """Of error rates, by its end."""
    doubling_s: float | None
    """How long twice control's error rate takes to show at this stage's traffic alone."""
    extra_cost_microusd: float | None
    """What the candidate's requests cost beyond what control would have cost."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole ramp."""

    migration: str
    control: str
    candidate: str
    traffic: Traffic
    stages: tuple[StagePlan, ...]
    takes_s: float | None
    """From the start to the end of the last stage, at least; None: a person must advance somewhere."""
    extra_cost_microusd: float | None
    """Of the whole ramp; of what is known of it."""
    extra_cost_per_month_microusd: float | None
    """With everything on the candidate."""
    warnings: tuple[str, ...] = ()


def make(facts: Facts, traffic: Traffic) -> Plan:
    """Return the plan of the next run, or of the one that goes on."""
    spec = facts.spec
    design = design_of(spec)
    stages: list[StagePlan] = []
    seen, begins = Exposure(0, 0), 0.0
    known: float | None = begins
    for index, stage in enumerate(spec.stages):
        lasts, limit = _lasts(spec, index, traffic, seen.units)
        met = _exposure(stage, traffic, lasts)
        if _compared(stage) and met is not None:
            seen += met
        stages.append(_stage(spec, stage, traffic, design, _Course(known, lasts, limit, met, seen)))
        known = known + lasts if known is not None and lasts is not None and lasts < inf else None
    extra = [each.extra_cost_microusd for each in stages if each.extra_cost_microusd is not None]
    return Plan(
        migration=spec.name,
        control=spec.control,
        candidate=spec.candidate,
        traffic=traffic,
        stages=tuple(stages),
        takes_s=known,
        extra_cost_microusd=sum(extra) if extra else None,
        extra_cost_per_month_microusd=_extra(traffic, 100 - spec.holdback.percent, 30 * DAY_S),
        warnings=tuple(_overall(spec, traffic, stages)),
    )


def design_of(spec: MigrationSpec) -> Design:
    """Return the test of `error`, as one among all that roll back."""
    return Design(spec.gates.alpha, max(1, len(comparisons(spec))), spec.gates.rollback.get("error", 1.25))


@dataclass(frozen=True, slots=True)
class _Course:
    """How one stage goes."""

    begins_s: float | None
    lasts_s: float | None
    limit: Limit
    met: Exposure | None
    """What the candidate meets in it."""
    seen: Exposure
    """What was compared by its end."""


def _stage(spec: MigrationSpec, stage: Stage, traffic: Traffic, design: Design, course: _Course) -> StagePlan:
    compared = _compared(stage) and "error" in spec.gates.rollback
    smallest = doubling = None
    if compared and course.met is not None:
        smallest = smallest_ratio(traffic.base_error_rate, design, course.seen)
        a_day = _exposure(stage, traffic, DAY_S)
        if a_day is not None:
            per_second = Exposure(a_day.units / DAY_S, a_day.requests / DAY_S)
            doubling = _finite(seconds_needed(DOUBLING, traffic.base_error_rate, design, per_second))
    plan = StagePlan(
        name=stage.name,
        percent=stage.percent,
        hold_s=stage.hold_s,
        min_units=stage.min_units,
        approval=stage.approval,
        compared=compared,
        begins_s=course.begins_s,
        lasts_s=_finite(course.lasts_s),
        limit=course.limit,
        requests=course.met.requests if course.met else None,
        units=course.met.units if course.met and traffic.units_per_day else None,
        smallest_ratio=smallest,
        doubling_s=doubling,
        extra_cost_microusd=_extra(traffic, stage.percent, _finite(course.lasts_s)),
    )
    return _warned(spec, stage, traffic, plan, course)


def _lasts(
    spec: MigrationSpec, index: int, traffic: Traffic, units_before: float
) -> tuple[float | None, Limit]:
    """Return how long a stage lasts at least, and what for; None: until a person comes, or unknown."""
    stage = spec.stages[index]
    last = index == len(spec.stages) - 1
    if not stage.advances:
        return (0.0, "none") if last and spec.automatic else (None, "person")
    if not stage.min_units or not _compared(stage):
        return stage.hold_s, "hold"
    if traffic.units_per_day is None:
        return (stage.hold_s, "hold") if stage.hold_s else (None, "min_units")
    per_second = traffic.units_per_day / DAY_S * stage.percent / 100
    missing = max(0.0, stage.min_units - units_before)
    filling = missing / per_second if per_second > 0 else inf
    return (stage.hold_s, "hold") if filling <= stage.hold_s else (filling, "min_units")


def _exposure(stage: Stage, traffic: Traffic, lasts_s: float | None) -> Exposure | None:
    """Return what a stage's candidate meets in a time; None where the traffic or the time is not known."""
    if traffic.requests_per_min is None or lasts_s is None or lasts_s == inf:
        return None
    part = stage.percent / 100
    units = (traffic.units_per_day or 0.0) * lasts_s / DAY_S * part
    return Exposure(units, traffic.requests_per_min * lasts_s / 60 * part)


def _compared(stage: Stage) -> bool:
    return 0 < stage.percent <= HALF


def _extra(traffic: Traffic, percent: float, lasts_s: float | None) -> float | None:
    costs = traffic.control_cost_microusd, traffic.candidate_cost_microusd
    if costs[0] is None or costs[1] is None or traffic.requests_per_min is None or lasts_s is None:
        return None
    return (costs[1] - costs[0]) * traffic.requests_per_min * lasts_s / 60 * percent / 100


def _finite(value: float | None) -> float | None:
    return value if value is not None and value < inf else None


# --- warnings ---------------------------------------------------------------------------------------------


def _warned(
    spec: MigrationSpec, stage: Stage, traffic: Traffic, plan: StagePlan, course: _Course
) -> StagePlan:
    warnings = (*_blind(plan, traffic), *_endless(stage, course), *_deaf(spec, stage, traffic))
    return replace(plan, warnings=warnings)


def _blind(plan: StagePlan, traffic: Traffic) -> Iterator[str]:
    if not plan.compared or plan.requests is None or traffic.requests_per_min is None:
        return
    if plan.smallest_ratio is None:
        yield (
            f"by its end no comparison of errors can have said anything: {number(plan.requests)} requests "
            f"are too few at an error rate of {share(traffic.base_error_rate)}; only breakers protect"
        )
    elif plan.smallest_ratio > USEFUL:
        yield (
            f"by its end it sees only a candidate that fails {times(plan.smallest_ratio)} as often as "
            "control, or worse; hold it longer, or merge it with the next one"
        )


def _endless(stage: Stage, course: _Course) -> Iterator[str]:
    if course.lasts_s is None or course.limit != "min_units":
        return
    if course.lasts_s == inf:
        yield f"min_units {number(stage.min_units)} is never reached: no units come"
    elif stage.max_duration_s is not None and course.lasts_s > stage.max_duration_s:
        yield (
            f"min_units {number(stage.min_units)} takes {span(course.lasts_s)}, and the stage is given up "
            f"after {span(stage.max_duration_s)}"
        )
    elif course.lasts_s > 4 * max(stage.hold_s, DAY_S):
        yield (
            f"min_units {number(stage.min_units)} takes {span(course.lasts_s)}, while the hold asks for "
            f"{span(stage.hold_s)} only"
        )


def _deaf(spec: MigrationSpec, stage: Stage, traffic: Traffic) -> Iterator[str]:
    """Yield which breakers cannot trip, because their windows never hold enough."""
    if not stage.percent or traffic.requests_per_min is None:
        return
    deaf: dict[tuple[int, float], list[str]] = {}
    for name, rule in spec.gates.breaker.items():
        expected = traffic.requests_per_min * rule.window_s / 60 * stage.percent / 100
        if expected < rule.min_requests:
            deaf.setdefault((rule.min_requests, rule.window_s), []).append(f"`{name}`")
    for (needed, window_s), names in deaf.items():
        expected = traffic.requests_per_min * window_s / 60 * stage.percent / 100
        yield (
            f"breaker {', '.join(names)}: about {expected:.2g} requests come within {span(window_s)} and "
            f"{needed} are needed, so it will hardly ever be able to trip"
        )


def _overall(spec: MigrationSpec, traffic: Traffic, stages: list[StagePlan]) -> Iterator[str]:
    if traffic.requests_per_min is None:
        yield "no traffic was counted yet: say how much there is, or what stages can see stays unknown"
    if any(stage.min_units for stage in spec.stages) and traffic.units_per_day is None:
        yield "the number of units is not known, so min_units is left out of the times"
    compared = [each for each in stages if each.compared and each.requests is not None]
    if compared and all((each.smallest_ratio or inf) > DOUBLING for each in compared):
        yield "no stage up to 50 % can see a doubling of the error rate by its end"
    if not any(each.compared for each in stages):
        yield "no stage compares the arms: only breakers and checks protect this ramp"
    if not spec.automatic:
        yield "no stage has a hold or min_units: nothing advances by itself, people do"
