"""What one process runs by itself, put together, and the loops that tick it.

Every process counts, writes its counts down, and can stop alone; all of them stand ready to lead, and one
does. What only a leader does (the papers, the news, the vendor's list) asks each time whether it is one.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date

from gateway.compat.catalog import Catalogue
from gateway.control.autopilot.after import After, Keeps
from gateway.control.autopilot.controller import Controller, Orders
from gateway.control.autopilot.flusher import CountsFlusher
from gateway.control.autopilot.gather import Gatherer
from gateway.control.autopilot.local import LocalBreaker
from gateway.control.catalogue import CatalogueCheck, Live, Show
from gateway.control.notify.notifier import Notifier, Result
from gateway.control.notify.sinks import Sink
from gateway.control.reader import ReplicaLike
from gateway.core.counts import Counts
from gateway.core.gates.verdict import Judgement
from gateway.core.spec import MigrationSpec
from gateway.store.ports import Store
from gateway.tasks import Clock, Tasks, run_every

TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What the autopilot is made of. What is called is asked each time: files may change."""

    store: Store
    replica: ReplicaLike
    replica_id: str
    orders: Orders
    desk: Keeps
    gatherer: Gatherer
    counts: Mapping[str, Counts]
    """What this process has counted, by migration."""
    specs: Callable[[], Mapping[str, MigrationSpec]]
    catalogue: Callable[[], Catalogue]
    sinks: Callable[[], Mapping[str, Sink]]
    models: Callable[[], Awaitable[Live]] | None
    """Reads the vendor's list; None: it is not asked."""
    show_models: Show
    url: str
    """Where the command line finds this gateway; empty: at its own default."""
    jitter: Callable[[float], float]
    clock: Clock
    on_result: Callable[[Result], None]
    """Told what became of each attempt to tell somebody."""
    on_error: Callable[[str], None]
    """Told which operation of the store failed."""


class Autopilot:
    """One process's: `start` it, `step_down` once its loops have ended, `close` it after the last request."""

    def __init__(self, parts: Parts, tasks: Tasks) -> None:
        """`tasks` holds the loops, and what they spawn."""
        self._parts, self._tasks = parts, tasks
        after = After(parts.store, parts.desk, retires_on=self._retires_on, clock=parts.clock)
        self._controller = Controller(
            parts.store,
            parts.orders,
            gatherer=parts.gatherer,
            specs=parts.specs,
            holder=parts.replica_id,
            clock=parts.clock,
            on_error=parts.on_error,
            aftercare=after,
        )
        self._notifier = Notifier(
            parts.store,
            sinks=parts.sinks,
            specs=self._told,
            tasks=tasks,
            clock=parts.clock,
            jitter=parts.jitter,
            url=parts.url,
            on_result=parts.on_result,
            on_error=parts.on_error,
        )
        self._flusher = CountsFlusher(
            parts.store,
            parts.replica,
            parts.counts,
            replica_id=parts.replica_id,
            specs=parts.specs,
            clock=parts.clock,
            on_error=parts.on_error,
        )
        self._breaker = LocalBreaker(
            parts.replica,
            parts.counts,
            away_s=lambda: self._flusher.away_s,
            specs=parts.specs,
            clock=parts.clock,
        )

    @property
    def leader(self) -> bool:
        """Whether this process leads now."""
        return self._controller.leader

    @property
    def judgements(self) -> dict[str, Judgement]:
        """What the gates said in the last tick, by migration; empty where another process leads."""
        return {name: judged.judgement for name, judged in self._controller.judged.items()}

    @property
    def watched_s(self) -> dict[str, float]:
        """How long the last tick had watched each stage; empty where another process leads."""
        return {name: judged.picture.evidence.watched_s for name, judged in self._controller.judged.items()}

    def start(self) -> None:
        """Begin every loop."""
        loops = {
            "controller": self._controller.tick,
            "counts": self._flusher.tick,
            "local-breaker": self._breaker.tick,
            "news": self.tell,
        }
        if self._parts.models is not None:
            loops["catalogue"] = self._catalogue_check(self._parts.models).tick
        for name, tick in loops.items():
            self._tasks.spawn(name, run_every(TICK_S, tick), endless=True)

    async def tell(self) -> None:
        """Send the news, if this process leads."""
        if (epoch := self._controller.epoch) is not None:
            self._notifier.tick(epoch)

    async def step_down(self) -> None:
        """Let another process lead."""
        await self._controller.close()

    async def close(self) -> None:
        """Write down the last that was counted."""
        await self._flusher.close()

    def _catalogue_check(self, models: Callable[[], Awaitable[Live]]) -> CatalogueCheck:
        return CatalogueCheck(
            models,
            catalogue=self._parts.catalogue,
            leads=lambda: self.leader,
            show=self._parts.show_models,
            clock=self._parts.clock,
        )

    def _told(self) -> Mapping[str, MigrationSpec]:
        """Return the migrations that people hear of: of one whose file has gone, as its run has it."""
        obeyed = self._parts.replica.snapshot.states
        return {name: state.spec for name, state in obeyed.items() if state.spec} | dict(self._parts.specs())

    def _retires_on(self, model_id: str) -> date | None:
        model = self._parts.catalogue().find(model_id)
        return model.lifecycle.retires_on if model is not None else None
