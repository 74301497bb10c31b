"""The tick of whoever leads: judge the fleet's numbers, and do what follows.

A tick decides from what is stored and from nothing else, so that ticks may be repeated, late or doubled: a
rollback is a compare-and-set on the very state that was judged, so it happens once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from gateway.control.autopilot.lease import Lease
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.types import MigrationState
from gateway.errors import StaleWrite, StoreUnavailable
from gateway.store.ports import Fleet
from gateway.tasks import Clock

logger = logging.getLogger(__name__)


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
