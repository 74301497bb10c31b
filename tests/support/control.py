"""A control plane on a store in memory, beside a replica that a test can tell what the others do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.compat.catalog import Catalogue
from gateway.control.autopilot.controller import Controller
from gateway.control.autopilot.gather import Gatherer
from gateway.control.papers.desk import Desk
from gateway.control.reader import Reader
from gateway.control.service import Ask, ControlService
from gateway.core.booking import Booking, Place
from gateway.core.counts import Counts
from gateway.core.evidence import Evidence
from gateway.core.rollout import Verb, emergency
from gateway.core.spec import BreakerRule, Gates, MigrationSpec, Stage
from gateway.core.types import Arm, Event, MigrationState, Outcome, Phase
from gateway.store.ports import Enrolment, ReplicaReport
from gateway.store.snapshot import Snapshot
from tests.support.clock import ManualClock
from tests.support.memory_store import MemoryServer, MemoryStore

SPEC = MigrationSpec(
    name="m",
    control="claude-opus-4-5-20251101",
    candidate="claude-opus-5-5",
    models=("claude-opus-4-5",),
    stages=(Stage("internal", 0), Stage("canary", 20, hold_s=600), Stage("half", 50), Stage("full", 100)),
    gates=Gates(
        breaker={
            "error_rate": BreakerRule(max=0.1, window_s=60, min_requests=10, min_units=2),
            "fallback_rate": BreakerRule(max=0.1, window_s=60, min_requests=10, min_units=2),
        }
    ),
)


@dataclass(frozen=True, slots=True)
class Acks:
    """Who should obey, and who said so."""

    expected: tuple[str, ...]
    acknowledged: tuple[str, ...]
    missing: tuple[str, ...]
    candidate_sent_at: Mapping[str, float] = field(default_factory=dict)


@dataclass
class ScriptedReplica:
    """A `ReplicaLike` that obeys the store when it is refreshed, among others that may be `silent`."""

    store: MemoryStore
    clock: ManualClock
    id: str = "r1"
    others: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    """Those of the others that do not acknowledge."""
    snapshot: Snapshot = field(default_factory=Snapshot)
    kills: list[tuple[str, str, str]] = field(default_factory=list)
    waited: list[tuple[str, tuple[int, int], float]] = field(default_factory=list)
    sent_at: Mapping[str, float] = field(default_factory=dict)
    """When each replica last sent a request to the candidate."""
    cut_off: bool = False
    """The store goes away as soon as this process wants to read it."""
    gives_back: bool = False
    """A refresh gives the store what it lost."""

    async def refresh(self) -> None:
        self.store.away = self.store.away or self.cut_off
        if self.gives_back:
            for state in self.snapshot.states.values():
                await self.store.restore(state)
        self.snapshot = replace(self.snapshot, states=await self.store.load())

    async def kill_locally(self, name: str, by: str, reason: str) -> None:
        self.kills.append((name, by, reason))
        killed = emergency(self.snapshot.state(name), by=by, at=self.clock.now())
        self.snapshot = replace(self.snapshot, states={**self.snapshot.states, name: killed})

    async def await_acknowledgements(self, name: str, order: tuple[int, int], timeout_s: float) -> Acks:
        self.waited.append((name, order, timeout_s))
        everybody = (self.id, *self.others)
        heard = tuple(replica for replica in everybody if replica not in self.silent)
        return Acks(everybody, heard, self.silent, self.sent_at)

    def known_replicas(self) -> Sequence[str]:
        return (self.id, *self.others)


class ControlPlane:
    """A service with everything it needs, and short words for what tests do with it."""

    def __init__(
        self,
        specs: Mapping[str, MigrationSpec] | None = None,
        *,
        connect: Callable[[MemoryServer], MemoryStore] = MemoryStore,
        **options: Any,
    ) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.store = connect(self.server)
        self.replica = ScriptedReplica(self.store, self.clock)
        self.specs = dict(specs if specs is not None else {SPEC.name: SPEC})
        self.catalogue = Catalogue(())
        self.sinks = {"ops", "slack"}
        self.gatherer = Gatherer(self.store, clock=self.clock)
        self.desk = Desk(
            self.store,
            specs=lambda: self.specs,
            catalogue=lambda: self.catalogue,
            sinks=lambda: self.sinks,
            clock=self.clock,
        )
        reader = Reader(
            self.store,
            self.replica,
            replica_id=self.replica.id,
            specs=lambda: self.specs,
            catalogue=lambda: self.catalogue,
            prompts=tuple,
            unit_key=lambda unit: f"key of {unit}",
            pictures=self.gatherer,
            clock=self.clock,
        )
        self.service = ControlService(
            reader,
            self.store,
            self.replica,
            replica_id=self.replica.id,
            clock=self.clock,
            **{"landing_s": 0.0, **options},
        )

    async def act(self, *verbs: Verb, by: str = "ada", **arguments: Any) -> None:
        """Carry out verbs on `m`, one after the other."""
        for verb in verbs:
            await self.service.act("m", Ask(verb, by, **arguments))

    async def serving(self, phase: Phase = Phase.running) -> None:
        """Start `m` and bring it to its second stage, or from there to another phase, by hand."""
        await self.act("start", "advance")
        if phase is Phase.paused:
            await self.act("pause")
        if phase is Phase.soaking:
            await self.act("advance", "advance", "advance")
        assert self.state.phase is phase

    async def evidence(self) -> Evidence:
        """Return what the leader has written down of `m`."""
        written = await self.gatherer.evidence("m")
        assert written is not None
        return written

    @property
    def state(self) -> MigrationState:
        """What the store has of `m`."""
        return self.server.data.states.get("m") or MigrationState("m")

    @property
    def verbs(self) -> list[str]:
        """The verbs in the audit log of `m`."""
        return [event.verb for event in self.server.data.events.get("m", ())]

    async def report(
        self,
        replica_id: str,
        versions: Mapping[str, tuple[int, int]] | None = None,
        *,
        candidate_sent_at: float | None = None,
    ) -> None:
        """Let a replica that has been up for long send its heartbeat; it obeys what is stored of `m`."""
        obeyed = {"m": self.state.order} if versions is None else versions
        sent_at = {} if candidate_sent_at is None else {"m": candidate_sent_at}
        await self.store.report(
            ReplicaReport(replica_id, self.clock.now(), obeyed, candidate_sent_at=sent_at)
        )

    async def count(self, replica_id: str, counts: Counts) -> None:
        """Let a replica write down what breakers judge."""
        doc = counts.window.to_doc(self.clock.now(), SPEC.gates.breaker)
        await self.store.put_counts("m", replica_id, doc, 15.0)

    def counts(self, *outcomes: Outcome, arm: Arm = Arm.candidate, run: int = 1) -> Counts:
        """Return the counts of a process that has just seen `outcomes`, each of another unit."""
        counts = Counts()
        fill(counts, *outcomes, arm=arm, run=run, now=self.clock.now)
        return counts

    def controller(
        self, holder: str = "r1", *, errors: list[str] | None = None, **options: Any
    ) -> Controller:
        """Return another process's controller, which gathers for itself."""
        heard = errors if errors is not None else []
        return Controller(
            self.store,
            self.service,
            gatherer=Gatherer(self.store, clock=self.clock),
            specs=lambda: self.specs,
            holder=holder,
            clock=self.clock,
            on_error=heard.append,
            **options,
        )


class Traffic:
    """What one replica of a control plane has counted, written down as often as a test says so."""

    def __init__(self, plane: ControlPlane, replica_id: str = "r1") -> None:
        self.counts = Counts()
        self._plane, self._id = plane, replica_id
        self._flushed = 0

    def meet(self, arm: Arm, outcomes: Sequence[Outcome], **more: Any) -> None:
        """Book `outcomes` in the present run and entry, each of another unit of the arm's."""
        state, now = self._plane.state, self._plane.clock.now()
        known: dict[str, Any] = {"fallback": False, "duration_s": 1.0, "task": "", **more}
        for n, outcome in enumerate(outcomes):
            place = Place(arm, state.run, state.entry, f"{arm}-{n}", enrolled=True)
            self.counts.ended(Booking(place, f"{arm}-{n}-{now}", outcome=outcome, **known), now)

    def both(self, *outcomes: Outcome, **more: Any) -> None:
        """Book the same in both arms."""
        for arm in Arm:
            self.meet(arm, outcomes, **more)

    async def enrol(self, units: int) -> None:
        """Enrol so many units in each arm of the present run."""
        run = self._plane.state.run
        units_of = ((arm, f"{arm}-{n}") for arm in Arm for n in range(units))
        await self._plane.store.remember([Enrolment("m", run, unit, arm) for arm, unit in units_of])

    async def write(self) -> None:
        """Send a heartbeat, and write down everything as the flusher does."""
        store, state = self._plane.store, self._plane.state
        rules = (state.spec or SPEC).gates.breaker
        self._flushed += 1
        await self._plane.report(self._id)
        claims, run = self.counts.due(self._plane.clock.now()), self.counts.run
        self.counts.settle(await store.claim("m", run, self._id, claims) if claims else [])
        doc = self.counts.window.to_doc(self._plane.clock.now(), rules) | {"flush": self._flushed}
        await store.put_counts("m", self._id, doc, 15.0)
        for scope, tally in self.counts.docs().items():
            await store.put_tally("m", scope, self._id, tally)


def fill(
    counts: Counts, *outcomes: Outcome, now: Callable[[], float], arm: Arm = Arm.candidate, run: int = 1
) -> None:
    """Book `outcomes`, each of another unit."""
    for n, outcome in enumerate(outcomes):
        place = Place(arm, run, 1, f"u{n}", enrolled=True)
        counts.ended(Booking(place, f"req_{n}", "", outcome, fallback=False, duration_s=1.0), now())


class Contended(MemoryStore):
    """A store where `rivals` others write in the moment before each commit."""

    rivals = 0

    async def commit(
        self, state: MigrationState, event: Event, *, expected: tuple[int, int], term: int | None = None
    ) -> MigrationState:
        if self.rivals:
            self.rivals -= 1
            stored = self.server.data.states.get(state.name) or MigrationState(state.name)
            rival = replace(stored, epoch=await self.next_epoch())
            await super().commit(rival, Event(0.0, "eve", "note", "", {}, {}), expected=stored.order)
        return await super().commit(state, event, expected=expected, term=term)


def contended(*, rivals: int) -> ControlPlane:
    """Return a control plane whose commits are overtaken that many times."""
    plane = ControlPlane(connect=Contended)
    assert isinstance(plane.store, Contended)
    plane.store.rivals = rivals
    return plane
