"""The last paper of a migration: what the new model costs and how well it does, and what may be deleted now.

It compares what was counted over the whole run: all requests of both arms, listed ones included. The
comparison that decided anything was made on enrolled units while both arms were matched; here the numbers
are the plain ones that people will ask for.
"""

from collections.abc import Callable, Iterator, Mapping

from gateway.control.papers.facts import Facts, error_rate, mean_cost
from gateway.control.papers.history import name_of, spec_of, visits
from gateway.control.papers.text import (
    UNKNOWN,
    bullets,
    code,
    days_until,
    iso,
    later,
    listed,
    number,
    page,
    said,
    section,
    share,
    span,
    table,
    times,
    usd,
)
from gateway.control.status import incidents_of
from gateway.core.spec import MigrationSpec
from gateway.core.stats.histogram import quantile
from gateway.core.tally import ArmTotals, CheckCount
from gateway.core.types import Arm, Phase

CASES_TOLD = 20
"""Failing requests that are listed, at most, for each kind of failure."""


def write(facts: Facts) -> str:
    """Return the final report of the present run."""
    run, arms = facts.state.run, facts.tally.arms
    events = facts.events_of(run)
    incidents = incidents_of(facts.name, events)
    told = [f"{iso(each.at)}: {each.cause}, {said(each.reason) or 'no reason given'}" for each in incidents]
    return page(
        f"Final report of {facts.name}",
        _headline(facts),
        section("Cost and quality", comparison(arms), _checks(facts.tally.arms), bullets(_verdict(arms))),
        section("Stages", stage_history(facts, run)),
        section("Incidents in this run", bullets(told or ["none"])),
        section("Failing cases worth keeping", _MEANING_OF_CASES, cases(facts)),
        section("What may be deleted", bullets(_leftovers(facts.state.phase, facts.spec))),
    )


_MEANING_OF_CASES = (
    "The newest failing requests of the candidate, by the ids that the gateway gave them: look them up in "
    "your own logs and put into a golden set what should not fail again. What they said is not stored here."
)


def _headline(facts: Facts) -> str:
    spec, run = facts.spec, facts.state.run
    started = facts.started_at(run)
    began = f"began at {iso(started)}" if started is not None else "has begun"
    took = f", {span(facts.now - started)} before this was written" if started is not None else ""
    state = f"it is {facts.state.phase.value.replace('_', ' ')}"
    retires = facts.control.lifecycle.retires_on if facts.control else None
    end = f" The old model retires on {retires}, in {days_until(retires, facts.now)} days." if retires else ""
    return f"From `{spec.control}` to `{spec.candidate}`. Run {run} {began}{took}; {state}.{end}"


# --- both arms --------------------------------------------------------------------------------------------

Row = tuple[str, Callable[[ArmTotals], float | None], Callable[[float], str]]


def _rate(outcome: str) -> Callable[[ArmTotals], float | None]:
    return lambda arm: arm.outcomes.get(outcome, 0) / arm.requests if arm.requests else None


def _seconds(value: float) -> str:
    return f"{value:.3g} s"


_ROWS: tuple[Row, ...] = (
    ("requests", lambda arm: float(arm.requests), number),
    ("errors", error_rate, share),
    (
        "answered by control instead",
        lambda arm: arm.fallbacks / arm.requests if arm.requests else None,
        share,
    ),
    ("refused", _rate("refused"), share),
    ("truncated", _rate("truncated"), share),
    ("cost of a request", mean_cost, usd),
    ("cost altogether", lambda arm: float(arm.cost_microusd) if arm.priced else None, usd),
    ("prompt tokens", lambda arm: arm.prompt_tokens / arm.measured if arm.measured else None, number),
    ("output tokens", lambda arm: arm.output_tokens / arm.measured if arm.measured else None, number),
    ("median duration", lambda arm: quantile(arm.durations, 0.5), _seconds),
    ("95th percentile", lambda arm: quantile(arm.durations, 0.95), _seconds),
    ("median time to the first token", lambda arm: quantile(arm.first_tokens, 0.5), _seconds),
    ("units that complained", lambda arm: float(arm.issues), number),
    ("mean rating", lambda arm: arm.rating_total / arm.ratings if arm.ratings else None, "{:.2f}".format),
)
_NO_RATIO = frozenset({"requests", "cost altogether", "units that complained"})
"""They depend on how many requests an arm got."""


def comparison(arms: Mapping[Arm, ArmTotals]) -> str:
    """Return both arms side by side."""
    control, candidate = arms.get(Arm.control, ArmTotals()), arms.get(Arm.candidate, ArmTotals())
    return table(("", "control", "candidate", "ratio"), (_row(row, control, candidate) for row in _ROWS))


def _row(row: Row, control: ArmTotals, candidate: ArmTotals) -> tuple[str, ...]:
    name, read, write_out = row
    before, after = read(control), read(candidate)
    shown = [UNKNOWN if value is None else write_out(value) for value in (before, after)]
    ratio = after / before if before and after is not None and name not in _NO_RATIO else None
    return name, *shown, "-" if ratio is None else times(ratio)


def _checks(arms: Mapping[Arm, ArmTotals]) -> str:
    control, candidate = (arms.get(arm, ArmTotals()).checks for arm in (Arm.control, Arm.candidate))
    rows = (
        (f"`{name}`", _passes(control.get(name)), _passes(candidate.get(name)))
        for name in sorted({*control, *candidate})
    )
    return table(("check: answers that pass", "control", "candidate"), rows)


def _passes(count: CheckCount | None) -> str:
    total = count.passed + count.failed if count else 0
    return f"{share(count.passed / total)} of {number(total)}" if count and total else UNKNOWN


def _verdict(arms: Mapping[Arm, ArmTotals]) -> Iterator[str]:
    control, candidate = arms.get(Arm.control, ArmTotals()), arms.get(Arm.candidate, ArmTotals())
    costs = mean_cost(control), mean_cost(candidate)
    if costs[0] and costs[1] is not None:
        more = costs[1] / costs[0] - 1
        yield f"a request costs {share(abs(more))} {'more' if more >= 0 else 'less'} than before"
    rates = error_rate(control), error_rate(candidate)
    if rates[0] is not None and rates[1] is not None:
        yield f"{share(rates[1])} of the candidate's requests were an error, {share(rates[0])} of control's"
    if control.requests < candidate.requests / 100:
        yield "control got few requests: what stands beside the candidate says little"


# --- what happened ----------------------------------------------------------------------------------------


def stage_history(facts: Facts, run: int) -> str:
    """Return every weight that a run served."""
    walked, spec = visits(facts.events_of(run)), spec_of(facts, run)
    began = walked[0].since if walked else 0.0
    rows = (
        (
            name_of(visit, spec),
            f"{visit.percent:g} %",
            iso(visit.since),
            later(visit.since, began, "the start") if visit.since > began else "the start",
            span(visit.lasted_s(facts.now)),
            _or_dash(visit.lasted_s(facts.now) - visit.ran_s(facts.now)),
            f"{visit.verb} by {said(visit.by)}",
        )
        for visit in walked
    )
    return table(("stage", "share", "since", "", "lasted", "of it paused", "entered by"), rows)


def _or_dash(seconds: float) -> str:
    return span(seconds) if seconds >= 1 else "-"


def cases(facts: Facts) -> str:
    """Return the candidate's failing requests."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for case in reversed(facts.tally.cases):
        rows = found.setdefault(case.failure, [])
        if case.arm == Arm.candidate and len(rows) < CASES_TOLD:
            rows.append((f"`{case.failure}`", code(case.request_id), said(case.task) or "-", iso(case.at)))
    rows = [row for failure in sorted(found) for row in found[failure]]
    return table(("failure", "request", "task", "at"), rows) or "None were counted."


def _leftovers(phase: Phase, spec: MigrationSpec) -> Iterator[str]:
    if phase != Phase.completed:
        yield "nothing before it is completed: a run that goes on or is to come needs all of it"
        return
    yield (
        f"once nobody asks for {listed(spec.models)} any more: the migration's file; until then it is what "
        "sends those requests to the new model"
    )
    yield f"variants of prompts that were written for `{spec.control}` alone"
    lists = spec.lists
    if lists.allow_users or lists.allow_tasks or lists.deny_users:
        yield "its lists: they have no effect on a migration that is completed"
    if spec.holdback.percent:
        yield "its holdback: nobody is held back any more"
    if spec.checks:
        yield f"not its checks ({listed(check.name for check in spec.checks)}): the next migration needs them"
    yield "nothing in the store: counts go after 90 days, enrolments 30 days after the next run begins"
