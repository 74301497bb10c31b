"""Where papers are asked for: what is stored of a migration is read once, and each is written from that.

Nothing here changes a migration. Two things are written: a tick of the checklist, which is an audit event,
and by whoever leads the papers that are kept (`keep_…`), which are documents under its fencing epoch:
`incident:<seq>`, `report:<date>` and `final`. A paper that is kept is told as it was written; one that is not
is written now.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from gateway.compat.catalog import Catalogue
from gateway.control.papers import checklist, final, incidents, plan_page, runbook, weekly
from gateway.control.papers.checklist import Checklist
from gateway.control.papers.facts import Facts
from gateway.control.papers.incidents import IncidentPaper
from gateway.control.papers.plan import Plan, make
from gateway.control.papers.text import day
from gateway.control.papers.traffic import observe, told
from gateway.control.papers.weekly import Weekly
from gateway.control.status import Incident, incidents_of
from gateway.core.counts import merge_run
from gateway.core.evidence import Evidence
from gateway.core.gates.window import Totals, merge
from gateway.core.spec import MigrationSpec
from gateway.core.tally import RunTally
from gateway.core.types import MigrationState, from_json, to_json
from gateway.errors import NotFound
from gateway.store.ports import EVIDENCE, Store
from gateway.tasks import Clock

T = TypeVar("T")

FINAL, INCIDENT, REPORT = "final", "incident:", "report:"
"""Names of documents, or how they begin."""
RUNS_READ = 4
"""Of how many of the last runs the counts are read, besides those from before the first."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the page."""

    plan: Plan
    markdown: str


@dataclass(frozen=True, slots=True)
class Text:
    """A page that is not kept."""

    migration: str
    written_at: float
    markdown: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A paper that is kept."""

    name: str
    kind: Literal["weekly", "final"]
    written_at: float
    markdown: str


class Desk:
    """Writes papers. `specs`, `catalogue` and `sinks`, all who can be told, are asked each time."""

    def __init__(
        self,
        store: Store,
        *,
        specs: Callable[[], Mapping[str, MigrationSpec]],
        catalogue: Callable[[], Catalogue],
        sinks: Callable[[], Iterable[str]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._specs = specs
        self._catalogue = catalogue
        self._sinks = sinks
        self._clock = clock

    # --- for whoever asks: each raises NotFound and StoreUnavailable

    async def plan(
        self,
        name: str,
        *,
        requests_per_min: float | None = None,
        units_per_day: float | None = None,
        base_error_rate: float | None = None,
    ) -> Planned:
        """Return what each stage can see at the present traffic, or at the one that is given."""
        facts = await self.facts(name)
        traffic = told(
            observe(facts),
            requests_per_min=requests_per_min,
            units_per_day=units_per_day,
            base_error_rate=base_error_rate,
        )
        planned = make(facts, traffic)
        return Planned(planned, plan_page.markdown(planned))

    async def runbook(self, name: str) -> Text:
        """Return the runbook, with the numbers of now."""
        facts = await self.facts(name)
        return Text(name, facts.now, runbook.write(facts, make(facts, observe(facts))))

    async def checklist(self, name: str) -> Checklist:
        """Return the checklist as it stands."""
        return checklist.make(await self.facts(name))

    async def tick(self, name: str, item: str, note: str, *, by: str) -> Checklist:
        """Let somebody answer for an item; raises BadRequest for one that there is not."""
        facts = await self.facts(name)
        await self._store.append(name, checklist.tick(facts, item, note, by=by))
        return await self.checklist(name)

    async def open_items(self, name: str) -> list[str]:
        """Return what the checklist still asks for before a run, in words."""
        return checklist.open_items(await self.facts(name))

    async def incidents(self, name: str) -> list[IncidentPaper]:
        """Return every incident, oldest first: as it was written down, or written now."""
        facts = await self.facts(name)
        kept = await self._store.documents(name, INCIDENT)
        papers = []
        for incident in incidents_of(name, facts.events):
            paper = _read(kept.get(f"{INCIDENT}{incident.id}"), IncidentPaper)
            papers.append(paper or await self._incident(incident, facts))
        return papers

    async def reports(self, name: str) -> list[Kept]:
        """Return the papers that are kept, oldest first."""
        await self._state(name)
        found = [
            Kept(each, "weekly", paper.at, paper.markdown)
            for each, body in (await self._store.documents(name, REPORT)).items()
            if (paper := _read(body, Weekly)) is not None
        ]
        last = _read(await self._store.document(name, FINAL), Text)
        if last is not None:
            found.append(Kept(FINAL, "final", last.written_at, last.markdown))
        return sorted(found, key=lambda each: each.written_at)

    async def report(self, name: str, kind: Literal["weekly", "final"] = "weekly") -> Text:
        """Return a report as it would be written now; it is not kept."""
        facts = await self.facts(name)
        if kind == "final":
            return Text(name, facts.now, final.write(facts))
        return Text(name, facts.now, weekly.write(facts, await self._previous(name)).markdown)

    # --- for whoever leads: each raises StoreUnavailable and StaleWrite, and writing twice changes nothing

    async def keep_incident(self, name: str, seq: int, *, epoch: int) -> IncidentPaper | None:
        """Write down an incident; None where that event is none."""
        facts = await self.facts(name)
        incident = next((each for each in incidents_of(name, facts.events) if each.id == seq), None)
        if incident is None:
            return None
        paper = await self._incident(incident, facts)
        await self._store.put_document(name, f"{INCIDENT}{seq}", to_json(paper), epoch=epoch)
        return paper

    async def keep_weekly(self, name: str, *, epoch: int) -> Weekly:
        """Write down the week's report, under the date of today."""
        facts = await self.facts(name)
        paper = weekly.write(facts, await self._previous(name))
        await self._store.put_document(name, weekly.document(paper), to_json(paper), epoch=epoch)
        return paper

    async def keep_final(self, name: str, *, epoch: int) -> Text:
        """Write down the final report."""
        paper = await self.report(name, "final")
        await self._store.put_document(name, FINAL, to_json(paper), epoch=epoch)
        return paper

    # --- reading

    async def facts(self, name: str) -> Facts:
        """Return everything that papers are written from."""
        state, file_spec = await self._state(name)
        find = self._catalogue().find
        events = tuple(await self._store.events(name))
        replicas = tuple(await self._store.replicas())
        now = self._clock.now()
        facts = Facts(
            now=now,
            state=state,
            file_spec=file_spec,
            sinks=frozenset(self._sinks()),
            events=events,
            runs={run: await self._tally(name, run) for run in _runs(state.run)},
            windows=_windows((await self._store.counts(name)).values(), state.run),
            counting_s=max((now - report.started_at for report in replicas), default=0.0),
            enrolled=await self._store.enrolled(name, state.run) if state.run else {},
            replicas=replicas,
            evidence=_read(await self._store.document(name, EVIDENCE), Evidence) or Evidence(),
        )
        spec = facts.spec
        return replace(facts, control=find(spec.control), candidate=find(spec.candidate))

    async def _state(self, name: str) -> tuple[MigrationState, MigrationSpec | None]:
        state = (await self._store.load()).get(name) or MigrationState(name)
        file_spec = self._specs().get(name)
        if file_spec is None and state.spec is None:
            known = ", ".join(sorted(self._specs())) or "none"
            raise NotFound(f"there is no migration {name!r}; known: {known}")
        return state, file_spec

    async def _tally(self, name: str, run: int) -> RunTally:
        try:
            return merge_run((await self._store.tallies(name, str(run))).values())
        except ValueError:
            return RunTally()

    async def _incident(self, incident: Incident, facts: Facts) -> IncidentPaper:
        if incident.run != facts.state.run and incident.run:
            enrolled = await self._store.enrolled(facts.name, incident.run)
            runs = {**facts.runs, incident.run: await self._tally(facts.name, incident.run)}
            facts = replace(facts, enrolled=enrolled, runs=runs)
        return incidents.write(incident, facts)

    async def _previous(self, name: str) -> Weekly | None:
        kept = await self._store.documents(name, REPORT)
        written = [paper for body in kept.values() if (paper := _read(body, Weekly)) is not None]
        today = day(self._clock.now())
        # Writing today's again must not tell the difference to itself.
        return max(
            (paper for paper in written if day(paper.at) < today), key=lambda each: each.at, default=None
        )


def _runs(run: int) -> list[int]:
    return sorted({0, *range(max(0, run - RUNS_READ + 1), run + 1)})


def _windows(docs: Iterable[Mapping[str, Any]], run: int) -> Mapping[float, Totals]:
    try:
        return merge(docs, run)
    except ValueError:
        return {}


def _read(body: bytes | None, kind: type[T]) -> T | None:
    """Return a document, if it is there and this version can read it."""
    if body is None:
        return None
    try:
        return from_json(body, kind)
    except ValueError:
        return None
