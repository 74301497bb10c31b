"""The report that whoever owns a migration reads once a week: what happened, where it stands, what to do.

Counts only ever grow, so a report keeps those that it was written from, and the next one tells the
difference. The first of a run tells everything since the run began.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from gateway.control.papers import checklist
from gateway.control.papers.facts import SERVING, Facts, mean_cost
from gateway.control.papers.final import comparison
from gateway.control.papers.text import (
    DAY_S,
    UNKNOWN,
    beside,
    bullets,
    day,
    days_until,
    iso,
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
from gateway.core.evidence import Baseline, drift_limit, failures_of
from gateway.core.spec import MigrationSpec
from gateway.core.stats.histogram import Histogram, quantile
from gateway.core.tally import ArmTotals, CheckCount
from gateway.core.types import Arm, Phase

WEEK_S = 7 * DAY_S
NOTICE_DAYS = 60
"""So many days before a retirement a report begins to ask what becomes of the old model."""


@dataclass(frozen=True, slots=True)
class Weekly:
    """One report, and the counts that it was written from; stored as it is."""

    migration: str
    at: float
    run: int
    markdown: str
    arms: dict[Arm, ArmTotals] = field(default_factory=dict)
    """Of the whole run, up to then."""


def write(facts: Facts, previous: Weekly | None = None) -> Weekly:
    """Return the report; `previous` is the one before, whose counts are taken off if it is of this run."""
    same_run = previous is not None and previous.run == facts.state.run
    before = previous.arms if previous is not None and same_run else {}
    since = previous.at if previous is not None else facts.now - WEEK_S
    arms = {arm: since_then(totals, before.get(arm, ArmTotals())) for arm, totals in facts.tally.arms.items()}
    counted = f"since the last report, {span(facts.now - since)} ago" if same_run else "since the run began"
    text = page(
        f"Weekly report of {facts.name}, {day(facts.now)}",
        _where(facts),
        section("What happened", _happened(facts, since)),
        section("Both arms", f"Requests {counted}." if facts.state.run else "", comparison(arms)),
        section("Against the promotion", *_drift(facts, arms[Arm.candidate])),
        section("Cost", bullets(_cost(arms))),
        section("What to do", bullets(_to_do(facts)) or "Nothing."),
    )
    return Weekly(facts.name, facts.now, facts.state.run, text, dict(facts.tally.arms))


def document(paper: Weekly) -> str:
    """Return the name that a report is kept under."""
    return f"report:{day(paper.at)}"


def since_then(now: ArmTotals, before: ArmTotals) -> ArmTotals:
    """Return what was counted between; a count that went back (the store lost it) starts anew."""
    if now.requests < before.requests:
        return now
    return ArmTotals(
        requests=now.requests - before.requests,
        outcomes={name: n - before.outcomes.get(name, 0) for name, n in now.outcomes.items()},
        fallbacks=now.fallbacks - before.fallbacks,
        issues=now.issues - before.issues,
        ratings=now.ratings - before.ratings,
        rating_total=now.rating_total - before.rating_total,
        priced=now.priced - before.priced,
        cost_microusd=now.cost_microusd - before.cost_microusd,
        measured=now.measured - before.measured,
        prompt_tokens=now.prompt_tokens - before.prompt_tokens,
        output_tokens=now.output_tokens - before.output_tokens,
        checks={name: _less(count, before.checks.get(name)) for name, count in now.checks.items()},
        durations=_taken_off(now.durations, before.durations),
        first_tokens=_taken_off(now.first_tokens, before.first_tokens),
    )


def _less(now: CheckCount, before: CheckCount | None) -> CheckCount:
    return now if before is None else CheckCount(now.passed - before.passed, now.failed - before.failed)


def _taken_off(now: Histogram, before: Histogram) -> Histogram:
    return {index: n - before.get(index, 0) for index, n in now.items() if n > before.get(index, 0)}


def _where(facts: Facts) -> str:
    state, spec = facts.state, facts.spec
    since = f" since {iso(state.stage_entered_at)}" if state.stage_entered_at else ""
    reason = f" ({state.reason})" if state.reason else ""
    where = f"`{spec.control}` to `{spec.candidate}`: {state.phase.value.replace('_', ' ')}{reason}{since}"
    units = facts.enrolled.get(Arm.candidate, 0), facts.enrolled.get(Arm.control, 0)
    enrolled = f", {number(units[0])} units on the candidate and {number(units[1])} on control"
    moved = state.phase is Phase.soaking and not units[1]
    enrolled += " (all have moved up; who is held back is not among them)" if moved else ""
    return f"{where}, run {state.run}{enrolled if state.run else ''}."


def _happened(facts: Facts, since: float) -> str:
    rows = (
        (iso(event.at), said(event.by), event.verb, said(event.reason))
        for event in facts.events
        if event.at >= since and event.verb != "freeze-baseline"
    )
    return table(("when", "by", "what", "why"), rows) or "Nothing was changed."


# --- drift ------------------------------------------------------------------------------------------------


def _drift(facts: Facts, candidate: ArmTotals) -> tuple[str, ...]:
    promoted = facts.evidence.promoted
    if promoted is None or facts.evidence.run != facts.state.run:
        return ()
    spec = facts.spec
    rows = list(_drifts(promoted, candidate, spec))
    worse = [
        f"**{row.name}** has risen above {row.limit}; whether by chance, the gate `drift` says"
        for row in rows
        if row.beyond
    ]
    lines = ((row.name, row.then, row.now, times(row.ratio) if row.ratio else "-", row.limit) for row in rows)
    told = f"When it was promoted ({iso(promoted.at)}, {number(promoted.requests)} requests), and lately."
    header = ("candidate", "at the promotion", "lately", "ratio", "limit")
    return told, table(header, lines), bullets(worse or ["nothing has risen above its limit"])


@dataclass(frozen=True, slots=True)
class _Drift:
    """One line of what has become of the candidate."""

    name: str
    then: str
    now: str
    ratio: float
    """0: not known, or there was nothing before."""
    limit: str
    """The highest rate, or the highest ratio."""
    beyond: bool


def _drifts(promoted: Baseline, candidate: ArmTotals, spec: MigrationSpec) -> Iterator[_Drift]:
    lately = {name: failed / of for name, (failed, of) in failures_of(candidate).items() if of}
    for name, rate in promoted.rates.items():
        if name in lately:
            now, limit = lately[name], drift_limit(spec, promoted, name)
            ratio = now / rate if rate else 0.0
            yield _Drift(name, share(rate), share(now), ratio, share(limit), now > limit)
    tokens = candidate.output_tokens / candidate.measured if candidate.measured else None
    means = (
        ("cost of a request", promoted.cost_microusd, mean_cost(candidate), "cost", usd),
        ("output tokens", promoted.output_tokens, tokens, "output_tokens", number),
        ("95th percentile", promoted.duration_p95_s, quantile(candidate.durations, 0.95), "slow_share", _s),
    )
    for name, then, mean, gate, shown in means:
        if then is not None:
            most = spec.gates.hold.get(gate, 1.25)
            told = UNKNOWN if mean is None else shown(mean)
            ratio = mean / then if mean is not None and then else 0.0
            yield _Drift(name, shown(then), told, ratio, times(most), ratio > most)


def _s(seconds: float) -> str:
    return f"{seconds:.3g} s"


# --- cost, and what to do ---------------------------------------------------------------------------------


def _cost(arms: Mapping[Arm, ArmTotals]) -> Iterator[str]:
    control, candidate = arms[Arm.control], arms[Arm.candidate]
    costs = mean_cost(control), mean_cost(candidate)
    if not control.priced and not candidate.priced:
        yield "nothing was priced"
        return
    yield f"{usd(control.cost_microusd)} on control, {usd(candidate.cost_microusd)} on the candidate"
    if costs[0] is not None and costs[1] is not None:
        extra = (costs[1] - costs[0]) * candidate.priced
        yield f"the candidate's requests cost {beside(extra, 'control would have')}"


def _to_do(facts: Facts) -> Iterator[str]:
    state, spec = facts.state, facts.spec
    if state.phase is Phase.paused:
        yield f"it is paused ({state.reason}) since {iso(state.updated_at)}: see `gateway migration status`"
    if state.phase is Phase.rolled_back:
        yield "it is rolled back: read the incident, and begin a new run or remove the migration"
    if state.phase in SERVING and state.spec is not None and state.spec != facts.file_spec:
        yield "its file differs from what the run goes by; the next run will take the file"
    if state.phase is Phase.soaking:
        yield from _soaking(facts, spec)
    yield from _retiring(facts, spec)
    part = "post" if state.phase is Phase.completed else "pre" if state.phase is Phase.draft else ""
    for item in checklist.make(facts).items if part else ():
        if item.part == part and item.state == "open":
            yield f"{item.title} (`{item.id}`): {item.evidence}"


def _soaking(facts: Facts, spec: MigrationSpec) -> Iterator[str]:
    until = spec.holdback.until
    if not spec.holdback.percent or (until is not None and until <= day(facts.now)):
        yield f"nothing is left to wait for: `gateway migration complete {facts.name}`"
    else:
        end = f"until {until}" if until else "without an end: give it one"
        yield f"{spec.holdback.percent:g} % are held back on control {end}: until then, only watch"


def _retiring(facts: Facts, spec: MigrationSpec) -> Iterator[str]:
    arms = (("old", spec.control, facts.control), ("new", spec.candidate, facts.candidate))
    for which, model_id, row in arms:
        retires: date | None = row.lifecycle.retires_on if row else None
        if retires is None:
            continue
        left = days_until(retires, facts.now)
        if left <= 0:
            yield f"the {which} model `{model_id}` is retired since {retires}: requests to it fail"
        elif which == "old" or left <= NOTICE_DAYS:
            urgent = "**be done by then** - " if left <= NOTICE_DAYS else ""
            yield f"{urgent}the {which} model `{model_id}` retires on {retires}, in {left} days"
