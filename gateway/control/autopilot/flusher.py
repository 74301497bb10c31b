"""Writes down, about once a second, what this process has counted.

Everything is absolute, so that writing twice changes nothing, and what failed is simply written next time:
the windows that breakers judge, with a number that grows with every write (it shows that the process is
alive), for as long as the process lives; first failures, once the store has said whose they are; and what the
run and its entries have gathered, for as long as the run is of interest.

A run that has just ended is written for a few seconds more: what was under way when it ended belongs to it.
Whatever else nobody watches is written seldom: how much traffic there is, for plans, and what control was
like before the first run.
"""

from collections.abc import Callable, Mapping

from gateway.control.reader import ReplicaLike
from gateway.control.status import WATCHED
from gateway.core.counts import Counts
from gateway.core.spec import BreakerRule, MigrationSpec
from gateway.errors import StoreUnavailable
from gateway.store.ports import Fleet
from gateway.tasks import Clock

COUNTS_TTL_S = 15.0
"""How long a process's counts outlive it."""
ENDED_S = 10.0
"""How long a run is written down after its end."""
IDLE_TICKS = 10
"""What nobody watches is written in every tenth tick."""


class CountsFlusher:
    """Writes down what this process has counted, about once a second."""

    def __init__(
        self,
        fleet: Fleet,
        replica: ReplicaLike,
        counts: Mapping[str, Counts],
        *,
        replica_id: str,
        specs: Callable[[], Mapping[str, MigrationSpec]],
        clock: Clock,
        on_error: Callable[[str], None],
    ) -> None:
        """`counts` are the data path's, by migration; they are timed by `clock.now`."""
        self._fleet = fleet
        self._replica = replica
        self._counts = counts
        self._replica_id = replica_id
        self._specs = specs
        self._clock = clock
        self._on_error = on_error
        self._flushes = 0
        self._watched_at: dict[str, float] = {}
        """Migration → when it was last watched."""
        self._failing_since: float | None = None

    @property
    def away_s(self) -> float:
        """How long the store has been away; 0 if it is not, as far as this process knows."""
        return 0.0 if self._failing_since is None else self._clock.monotonic() - self._failing_since

    async def tick(self) -> None:
        """Write what has been counted of every migration that is watched; what fails is written next time."""
        await self._write(self._clock.now())

    async def close(self) -> None:
        """Write what the last second brought, although it is not over: no request will come any more."""
        await self._write(self._clock.now() + 1.0, last=True)

    async def _write(self, now: float, *, last: bool = False) -> None:
        idle_too = last or self._flushes % IDLE_TICKS == 0
        self._flushes += 1
        for name, counts in list(self._counts.items()):
            watched, rules = self._watched(name), self._rules(name)
            if rules is None or not (watched or idle_too):
                continue
            if not await self._flush(name, counts, rules, now, whole=watched or not counts.run):
                return

    def _watched(self, name: str) -> bool:
        """Tell whether a run goes on, or has just ended."""
        now = self._clock.monotonic()
        if self._replica.snapshot.state(name).phase in WATCHED:
            self._watched_at[name] = now
        watched_at = self._watched_at.get(name)
        return watched_at is not None and now - watched_at <= ENDED_S

    def _rules(self, name: str) -> Mapping[str, BreakerRule] | None:
        """Return the breakers of a migration; None where nothing says what it is."""
        spec = self._replica.snapshot.state(name).spec or self._specs().get(name)
        return spec.gates.breaker if spec is not None else None

    async def _flush(
        self, name: str, counts: Counts, rules: Mapping[str, BreakerRule], now: float, *, whole: bool
    ) -> bool:
        """Write down one migration, its windows alone or the `whole`; tell whether the store was there."""
        operation, written = "put_counts", False
        try:
            doc = counts.window.to_doc(now, rules) | {"flush": self._flushes}
            await self._fleet.put_counts(name, self._replica_id, doc, COUNTS_TTL_S)
            if whole:
                operation = "claim"
                run, claims = counts.run, counts.due(now)  # of one moment: the next run may begin meanwhile
                counts.settle(await self._fleet.claim(name, run, self._replica_id, claims) if claims else [])
                operation = "put_tally"
                for scope, tally in counts.docs().items():
                    await self._fleet.put_tally(name, scope, self._replica_id, tally)
            written = True
        except StoreUnavailable:
            self._on_error(operation)
            if self._failing_since is None:
                self._failing_since = self._clock.monotonic()
            return False
        finally:
            if not written:  # A tick that was cancelled in between included: `close` comes after it.
                counts.unwritten()
        self._failing_since = None
        return True
