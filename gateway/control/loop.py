"""What runs by itself: one controller per fleet; in each process the counts, and a way out without a store.

Each second every process writes down what its windows hold. The one that has the lease judges the sum and
rolls back by itself; advancing is by hand. A tick decides from what is stored and from nothing else, so
that ticks may be repeated, late or doubled: a rollback is a compare-and-set on the very state that was
judged, so it happens once.

Who leads must know when they no longer do. The lease ends after 15 s and is renewed every 5; whoever could
not renew it for 10 s since asking steps down, before anybody else can have it. It is renewed once more
right before a rollback is written, because a process that was stopped in between would not know; and the
write carries the lease's fencing epoch.

While the store is away nobody leads. Then each process judges its own window, and drops the candidate where
it fails.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from gateway.control.reader import ReplicaLike
from gateway.control.status import WATCHED
from gateway.core.gates import GateResult, Verdict, Window, judge_breakers, merge
from gateway.core.spec import MigrationSpec
from gateway.core.types import MigrationState
from gateway.errors import StaleWrite, StoreUnavailable
from gateway.store.ports import Fleet
from gateway.tasks import Clock

logger = logging.getLogger(__name__)

LEASE_TTL_S = 15.0
RENEW_EVERY_S = 5.0
STEP_DOWN_S = 10.0
COUNTS_TTL_S = 15.0
"""How long a process's counts outlive it."""
AWAY_S = 3.0
"""How long the store must have been away before processes decide alone."""


class Verdicts(Protocol):
    """Where the controller reads what is to be judged."""

    async def watched(self) -> list[tuple[MigrationState, list[GateResult]]]:
        """Return every migration whose breakers are armed, with their verdicts; raises StoreUnavailable."""
        ...


class Orders(Protocol):
    """What the controller may do; `ControlService` is one."""

    @property
    def read(self) -> Verdicts: ...

    async def roll_back_automatically(
        self, judged: MigrationState, failed: Sequence[GateResult], *, by: str, epoch: int
    ) -> None:
        """Roll back the state that was judged; raises StaleWrite if that is no longer what is stored."""
        ...


class Lease:
    """The right to lead, as one process believes to have it."""

    def __init__(self, fleet: Fleet, *, holder: str, clock: Clock) -> None:
        self._fleet = fleet
        self._holder = holder
        self._clock = clock
        self._epoch: int | None = None
        self._confirmed_at = 0.0
        """When the last confirmation was asked for: the store counts from no earlier moment."""
        self._asked_at = 0.0

    @property
    def epoch(self) -> int | None:
        """The fencing epoch while this process leads, else None."""
        fresh = self._clock.monotonic() - self._confirmed_at < STEP_DOWN_S
        return self._epoch if fresh else None

    async def keep(self) -> int | None:
        """Take the lease if it is free, renew it when that is due; return the epoch as `epoch` does."""
        now = self._clock.monotonic()
        if self.epoch is None:
            self._epoch = None
            self._epoch = await self._fleet.acquire_lease(self._holder, LEASE_TTL_S)
            self._confirmed_at = self._asked_at = now
        elif now - self._asked_at >= RENEW_EVERY_S:
            await self.confirm()
        return self.epoch

    async def confirm(self) -> int | None:
        """Renew the lease now; return the epoch as `epoch` does."""
        now = self._clock.monotonic()
        if self._epoch is not None and await self._fleet.renew_lease(self._holder, LEASE_TTL_S):
            self._confirmed_at = self._asked_at = now
        else:
            self._epoch = None
        return self.epoch

    async def release(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        if self._epoch is not None:
            self._epoch = None
            await self._fleet.release_lease(self._holder)


class Controller:
    """Judges the fleet's breakers while it leads. `tick` it about once a second."""

    def __init__(
        self, fleet: Fleet, orders: Orders, *, holder: str, clock: Clock, on_error: Callable[[str], None]
    ) -> None:
        """`holder` names this process; `on_error` is told which operation of the store failed."""
        self._lease = Lease(fleet, holder=holder, clock=clock)
        self._orders = orders
        self._on_error = on_error
        self.verdicts: Mapping[str, Sequence[GateResult]] = {}
        """Of the last tick in which this process led, by migration."""

    @property
    def leader(self) -> bool:
        """Whether this process leads now."""
        return self._lease.epoch is not None

    async def tick(self) -> None:
        """Keep or seek the lease; judge and act if there is one. Never raises for a store that is away."""
        operation = "renew_lease" if self.leader else "acquire_lease"
        try:
            led = await self._lease.keep() is not None
            operation = "load"
            watched = await self._orders.read.watched() if led else []
            self.verdicts = {state.name: results for state, results in watched}
            operation = "commit"
            for state, results in watched:
                failed = [result for result in results if result.verdict is Verdict.failed]
                if failed:
                    await self._roll_back(state, failed)
        except StoreUnavailable:
            self._on_error(operation)
            self.verdicts = self.verdicts if self.leader else {}

    async def close(self) -> None:
        """Step down."""
        try:
            await self._lease.release()
        except StoreUnavailable:
            self._on_error("release_lease")

    async def _roll_back(self, state: MigrationState, failed: Sequence[GateResult]) -> None:
        epoch = await self._lease.confirm()
        if epoch is None:
            logger.warning("the controller's lease was lost; another process leads")
            return
        try:
            await self._orders.roll_back_automatically(state, failed, by="controller", epoch=epoch)
        except StaleWrite:
            # Somebody wrote after the state was judged: the next tick judges what is stored then.
            logger.info("an automatic rollback was overtaken", extra={"migration": state.name})
        else:
            gates = [f"{gate.name}: {gate.reason}" for gate in failed]
            logger.warning("rolled back automatically", extra={"migration": state.name, "gates": gates})


class CountsFlusher:
    """Writes down what this process's windows hold, about once a second."""

    def __init__(
        self,
        fleet: Fleet,
        replica: ReplicaLike,
        windows: Mapping[str, Window],
        *,
        replica_id: str,
        specs: Callable[[], Mapping[str, MigrationSpec]],
        clock: Clock,
        on_error: Callable[[str], None],
    ) -> None:
        """`windows` are the data path's, by migration; they are timed by `clock.now`."""
        self._fleet = fleet
        self._replica = replica
        self._windows = windows
        self._replica_id = replica_id
        self._specs = specs
        self._clock = clock
        self._on_error = on_error
        self._failing_since: float | None = None

    @property
    def away_s(self) -> float:
        """How long the store has been away; 0 if it is not, as far as this process knows."""
        return 0.0 if self._failing_since is None else self._clock.monotonic() - self._failing_since

    async def tick(self) -> None:
        """Write the counts of every migration whose breakers are armed; what fails is written next time."""
        for name, window in list(self._windows.items()):
            state = self._replica.snapshot.state(name)
            spec = state.spec or self._specs().get(name)
            if state.phase not in WATCHED or spec is None:
                continue
            doc = window.to_doc(self._clock.now(), spec.gates.breaker)
            try:
                await self._fleet.put_counts(name, self._replica_id, doc, COUNTS_TTL_S)
            except StoreUnavailable:
                self._on_error("put_counts")
                if self._failing_since is None:
                    self._failing_since = self._clock.monotonic()
                return
            self._failing_since = None


class LocalBreaker:
    """Drops the candidate in this process, and wherever its disk is shared, while nobody can lead."""

    def __init__(
        self,
        replica: ReplicaLike,
        windows: Mapping[str, Window],
        *,
        away_s: Callable[[], float],
        specs: Callable[[], Mapping[str, MigrationSpec]],
        clock: Clock,
    ) -> None:
        """`away_s` tells how long the store has been away."""
        self._replica = replica
        self._windows = windows
        self._away_s = away_s
        self._specs = specs
        self._clock = clock

    async def tick(self) -> None:
        """Judge this process's own windows, if the store has been away for long enough."""
        if self._away_s() < AWAY_S:
            return
        for name, window in list(self._windows.items()):
            state = self._replica.snapshot.state(name)
            spec = state.spec or self._specs().get(name)
            if state.phase not in WATCHED or spec is None:
                continue
            rules = spec.gates.breaker
            own = merge([window.to_doc(self._clock.now(), rules)], state.run)
            for result in judge_breakers(rules, own):
                if result.verdict is Verdict.failed:
                    reason = f"{result.name}: {result.reason}"
                    logger.warning(
                        "killed locally, the store is away", extra={"migration": name, "gate": reason}
                    )
                    await self._replica.kill_locally(name, "local breaker", reason)
                    break


async def run_every(
    interval_s: float,
    tick: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tick for ever. One that fails is logged, and the next one comes."""
    while True:
        try:
            await tick()
        except Exception:
            logger.exception("a tick failed")
        await sleep(interval_s)
