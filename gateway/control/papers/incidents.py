"""One rollback as a paper: what stopped the run, on what evidence, who was hit, what it cost, what to do now.

Everything about time comes from the audit log, everything about numbers from what the run counted, which is
kept for 90 days. When a replica last began a request to the candidate is told by its heartbeat, so that is
known of those that live when the paper is written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

from gateway.control.papers.facts import STARTS, Facts, mean_cost
from gateway.control.papers.history import name_of, spec_of, visits
from gateway.control.papers.text import (
    UNKNOWN,
    beside,
    bullets,
    code,
    iso,
    later,
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
from gateway.control.status import Incident
from gateway.core.evidence import stop_at
from gateway.core.tally import ArmTotals, Exposure, RunTally
from gateway.core.types import ERRORS, Arm, Event, Outcome, Phase

EXCUSED = 10
"""Failing requests whose ids are listed, at most, for each kind of failure."""

_FAILING = frozenset(outcome.value for outcome in ERRORS | {Outcome.refused})

CAUSES = {
    "automatic": "the gateway itself",
    "user": "a person",
    "emergency": "a person, by emergency rollback",
}


@dataclass(frozen=True, slots=True)
class Affected:
    """Whom the candidate served, and how badly, over the whole run."""

    units: int
    """Enrolled in the candidate's arm."""
    requests: int
    """Of the candidate's, listed ones included."""
    failing: dict[str, int]
    """Outcome → the candidate's requests that ended so; what callers spoilt or left is not in it."""
    rescued: int
    """Requests that control answered in the candidate's place: their callers saw no error."""
    cost_microusd: int
    extra_cost_microusd: float | None
    """Beyond what control would have cost; None: not known."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One failure in both arms, by enrolled units; ratio None where nothing can be divided."""

    name: str
    control_failed: int
    candidate_failed: int
    control_rate: float | None
    candidate_rate: float | None
    ratio: float | None
    margin: float | None
    """Highest tolerated ratio."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    at: float
    what: str
    by: str


@dataclass(frozen=True, slots=True)
class IncidentPaper:
    """The incident as the admin API tells it, and the page."""

    id: int
    migration: str
    at: float
    by: str
    cause: str
    reason: str
    run: int
    evidence: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    affected: Affected
    comparisons: tuple[Comparison, ...]
    timeline: tuple[Moment, ...]
    last_candidate_request: dict[str, float]
    """Replica → when it last began a request to the candidate."""
    markdown: str
    written_at: float


def write(incident: Incident, facts: Facts) -> IncidentPaper:
    """Return the paper; `facts.enrolled` are those of the incident's run."""
    tally = facts.runs.get(incident.run, RunTally())
    affected = _affected(facts, tally)
    compared = tuple(_compared(incident, facts, tally))
    timeline = tuple(_timeline(incident, facts))
    sent = _last_sent(incident, facts)
    blocks = (
        _headline(incident, facts),
        section("What stopped it", _cause(incident), bullets(_gates(incident.evidence))),
        section("Both arms", _rows(incident.evidence), _table(compared), _tests(incident, facts)),
        section("Who was hit", bullets(_hit(incident, affected, facts)), _cases(tally)),
        section("What happened", _timeline_table(incident, timeline)),
        section("Is it over", bullets(_over(incident, facts, sent))),
        section("What now", bullets(_now(incident, facts))),
    )
    return IncidentPaper(
        **{key: getattr(incident, key) for key in Incident.__slots__ if key in IncidentPaper.__slots__},
        affected=affected,
        comparisons=compared,
        timeline=timeline,
        last_candidate_request=sent,
        markdown=page(f"Incident {incident.id} of {incident.migration}", *blocks),
        written_at=facts.now,
    )


def _headline(incident: Incident, facts: Facts) -> str:
    spec = spec_of(facts, incident.run)
    models = f"from `{spec.control}` to `{spec.candidate}` " if spec else ""
    percent = float(incident.before.get("weight_percent", 0.0))
    started = facts.started_at(incident.run)
    when = f", {later(incident.at, started, f'run {incident.run} began')}" if started is not None else ""
    walked = [each for each in visits(facts.events_of(incident.run)) if each.since < incident.at]
    if walked:
        began = f"`{name_of(walked[-1], spec)}` began"
        when += f" and {later(incident.at, walked[-1].since, began)}"
    mode = incident.evidence.get("mode")
    leaving = {
        "evict": "everybody left at once",
        "drain": "running conversations were let finish on the candidate",
    }.get(str(mode), "everybody went back to control")
    return (
        f"The migration {models}was rolled back at {iso(incident.at)}{when}, while the candidate had "
        f"{percent:g} %. It was stopped by {CAUSES.get(incident.cause, incident.cause)} "
        f"({said(incident.by) or UNKNOWN}); {leaving}."
    )


# --- evidence ---------------------------------------------------------------------------------------------


def _cause(incident: Incident) -> str:
    if incident.evidence.get("gates"):
        return ""  # Their reasons are its reason.
    return said(incident.reason) or "No reason was given."


def _gates(evidence: Mapping[str, Any]) -> Iterator[str]:
    for gate in evidence.get("gates", ()):
        numbers = ", ".join(f"{key} {value:.6g}" for key, value in gate.get("evidence", {}).items())
        line = f"`{gate.get('name')}`: {gate.get('verdict')}, {said(str(gate.get('reason', '')))}"
        yield f"{line} ({numbers})" if numbers else line


def _rows(evidence: Mapping[str, Any]) -> str:
    """Return the comparisons as they were judged, where the event kept them."""
    header = ("metric", "control", "candidate", "ratio", "at least", "margin", "n control", "n candidate")
    rows = (
        (
            f"`{row['name']}`",
            _value(row.get("control")),
            _value(row.get("candidate")),
            _ratio(row.get("ratio")),
            _ratio(row.get("lower")),
            _ratio(row.get("margin")),
            number(row.get("n_control") or 0),
            number(row.get("n_candidate") or 0),
        )
        for row in evidence.get("metrics", ())
    )
    told = table(header, rows)
    return f"{told}\n\n{_AS_JUDGED}" if told else ""


_AS_JUDGED = (
    "As it was judged: failures are the first ones of units, by the second in which a unit was active; "
    "*at least* is what the ratio is not below, whenever one looks; it lags behind the test of a margin."
)


def _compared(incident: Incident, facts: Facts, tally: RunTally) -> Iterator[Comparison]:
    control, candidate = tally.arms[Arm.control], tally.arms[Arm.candidate]
    spec = spec_of(facts, incident.run)
    margins: dict[str, float | None] = dict(spec.gates.rollback) if spec else {}
    margins |= {f"check:{check.name}": check.max_ratio for check in spec.checks} if spec else {}
    for name in dict.fromkeys((*control.exposure, *candidate.exposure)):
        failed = [arm.exposure.get(name, Exposure()).failed for arm in (control, candidate)]
        units = [facts.enrolled.get(arm, 0) for arm in (Arm.control, Arm.candidate)]
        rates = [each / n if n else None for each, n in zip(failed, units, strict=True)]
        ratio = rates[1] / rates[0] if rates[0] and rates[1] is not None else None
        yield Comparison(name, failed[0], failed[1], rates[0], rates[1], ratio, margins.get(name))


def _table(compared: tuple[Comparison, ...]) -> str:
    header = ("units that failed", "control", "candidate", "ratio", "margin")
    rows = (
        (
            f"`{each.name}`",
            _part(each.control_failed, each.control_rate),
            _part(each.candidate_failed, each.candidate_rate),
            _ratio(each.ratio),
            _ratio(each.margin),
        )
        for each in compared
    )
    return table(header, rows)


def _part(failed: int, rate: float | None) -> str:
    return number(failed) if rate is None else f"{number(failed)} ({share(rate)})"


def _value(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4g}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else times(value)


def _tests(incident: Incident, facts: Facts) -> str:
    """Return how strong the sequential evidence was, while it is still that of the incident's run."""
    spec, evidence = spec_of(facts, incident.run), facts.evidence
    if spec is None or evidence.run != incident.run or not evidence.tests:
        return ""
    limit = stop_at(spec)
    told = (
        f"`{name}` {test.peak:.2f} of {limit:.2f} (p {min(1.0, exp(-test.peak)):.2g})"
        for name, test in evidence.tests.items()
        if test.peak > 0
    )
    lines = ", ".join(told)
    return (
        f"Evidence that the candidate is worse than its margins (ln E, and its limit): {lines}."
        if lines
        else ""
    )


# --- who was hit ------------------------------------------------------------------------------------------


def _affected(facts: Facts, tally: RunTally) -> Affected:
    control, candidate = tally.arms[Arm.control], tally.arms[Arm.candidate]
    return Affected(
        units=facts.enrolled.get(Arm.candidate, 0),
        requests=candidate.requests,
        failing={name: n for name, n in sorted(candidate.outcomes.items()) if n and name in _FAILING},
        rescued=candidate.fallbacks,
        cost_microusd=candidate.cost_microusd,
        extra_cost_microusd=extra_cost(control, candidate),
    )


def extra_cost(control: ArmTotals, candidate: ArmTotals) -> float | None:
    """Return what the candidate's requests cost beyond what as many of control's would have."""
    each = mean_cost(control), mean_cost(candidate)
    if each[0] is None or each[1] is None:
        return None
    return (each[1] - each[0]) * candidate.priced


def _hit(incident: Incident, affected: Affected, facts: Facts) -> Iterator[str]:
    yield f"{number(affected.units)} units were enrolled on the candidate in run {incident.run}"
    yield f"they, and those that were listed, began {number(affected.requests)} requests there"
    kinds = ", ".join(f"{number(n)} `{name}`" for name, n in affected.failing.items())
    yield f"failing as callers saw them: {kinds}" if kinds else "no caller saw a failing answer"
    if affected.rescued:
        yield (
            f"{number(affected.rescued)} more failed on the candidate and were answered by control: their "
            "callers saw no error"
        )
    cost = f"the candidate's requests cost {usd(affected.cost_microusd)}"
    extra = affected.extra_cost_microusd
    yield cost if extra is None else f"{cost}: {beside(extra, 'control would have cost')}"


def _cases(tally: RunTally) -> str:
    by_failure: dict[str, list[str]] = {}
    for case in tally.cases:
        if case.arm == Arm.candidate:
            by_failure.setdefault(case.failure, []).append(case.request_id)
    rows = (
        (f"`{failure}`", ", ".join(code(each) for each in ids[-EXCUSED:]))
        for failure, ids in sorted(by_failure.items())
    )
    return table(("failure", "newest request ids, for your logs"), rows)


# --- what happened ----------------------------------------------------------------------------------------


def _timeline(incident: Incident, facts: Facts) -> Iterator[Moment]:
    spec = spec_of(facts, incident.run)
    seen: dict[str, Any] = {}
    since = facts.started_at(incident.run) or 0.0
    for event in facts.events:
        if event.seq > incident.id and event.verb in STARTS:
            return
        # Ticks and proofs name no run: they are told where they happened during this one.
        run = event.after.get("run", incident.run if event.at >= since else None)
        if run != incident.run or event.verb == "freeze-baseline":
            continue
        yield Moment(event.at, _what(event, seen, spec), event.by)
        seen = event.after or seen


def _what(event: Event, before: Mapping[str, Any], spec: Any) -> str:
    reason = f": {said(event.reason)}" if event.reason else ""
    for visit in visits([event]):
        moved = (before.get("stage"), before.get("weight_percent")) != (visit.stage, visit.percent)
        if event.verb != "approve" and (moved or before.get("phase") == Phase.draft):
            return f"{event.verb} → {name_of(visit, spec)} at {visit.percent:g} %{reason}"
    return f"{event.verb}{reason}"


def _timeline_table(incident: Incident, timeline: tuple[Moment, ...]) -> str:
    rows = (
        (
            iso(moment.at),
            "the rollback" if moment.at == incident.at else later(moment.at, incident.at, "the rollback"),
            said(moment.by),
            moment.what,
        )
        for moment in timeline
    )
    return table(("when", "", "by", "what"), rows)


def _last_sent(incident: Incident, facts: Facts) -> dict[str, float]:
    return {
        report.id: report.candidate_sent_at[facts.name]
        for report in facts.replicas
        if facts.name in report.candidate_sent_at
    }


def _over(incident: Incident, facts: Facts, sent: Mapping[str, float]) -> Iterator[str]:
    state = facts.state
    if not facts.rests(incident.run):
        yield f"the migration has moved on since: it is {state.phase.value} in run {state.run}"
        return
    for report in facts.replicas:
        obeys = report.versions.get(facts.name, (0, 0)) >= state.order
        line = f"{code(report.id)} {'obeys' if obeys else '**has not acknowledged**'}"
        at = sent.get(report.id)
        if at is None:
            yield f"{line}; it has sent the candidate nothing since it began"
            continue
        when = later(at, incident.at, "the rollback")
        yield f"{line}; its last request to the candidate began at {iso(at)}, {when}"
    if not facts.replicas:
        yield "no replica was alive when this was written"
    if state.draining:
        yield "it drains: conversations that began on the candidate may go on there until they end"


def _now(incident: Incident, facts: Facts) -> Iterator[str]:
    name, rests = facts.name, facts.rests(incident.run)
    here = "everybody is on control, and nothing restarts by itself"
    yield here if rests else f"another run has begun since: `gateway migration status {name}`"
    if incident.cause == "automatic":
        yield "look the failing requests up in your own logs, and that time on the vendor's status page"
    if any("provider" in str(gate.get("reason", "")) for gate in incident.evidence.get("gates", ())):
        yield "control was as sick: that speaks for the provider, not for the candidate"
    if not rests:
        return
    yield (
        f'a new run draws new people: `gateway migration restart {name} --reason "…"`; with '
        "`--exclude-previous` the people of this run stay on control, with `--keep-assignment` (a false "
        "alarm) they keep their arms"
    )
    if facts.state.draining:
        yield f"to end what still drains on the candidate: `gateway migration rollback {name} --mode evict`"
    yield f"before that, rehearse the failure that happened: `gateway migration rehearse {name}`"
    if facts.started_at(incident.run) is not None:
        lasted = span(incident.at - (facts.started_at(incident.run) or 0.0))
        yield f"run {incident.run} lasted {lasted}; its counts are kept for 90 days"
