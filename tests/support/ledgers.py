"""Ledgers of several processes on one store in memory, and the notes and questions that tests give them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.core.types import Arm, Pin
from gateway.store.ledger import Ledger
from gateway.store.ports import Enrolment, PinWrite, Recall
from tests.support.clock import ManualClock
from tests.support.memory_store import MemoryServer, MemoryStore

TTL_S = 3600
WAIT_S = 5.0
CONTROL, CANDIDATE = Pin(Arm.control, 1, "r1"), Pin(Arm.candidate, 1, "r1")


def ask(*keys: str, unit: str | None = "u", run: int = 1) -> Recall:
    return Recall("m", run, keys, unit)


def pinned(key: str, pin: Pin = CONTROL) -> PinWrite:
    return PinWrite("m", key, pin, TTL_S)


def enrolled(unit: str = "u", arm: Arm = Arm.control, run: int = 1) -> Enrolment:
    return Enrolment("m", run, unit, arm)


class Ledgers:
    """One server, and a ledger for each process."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.failed: list[str] = []
        self.ledgers: list[Ledger] = []

    def join(
        self, *, capacity: int = 1000, secret: bytes = b"fleet", watch_s: float = 3600
    ) -> tuple[Ledger, MemoryStore]:
        store = MemoryStore(self.server)
        ledger = Ledger(
            store,
            secret=secret,
            clock=self.clock,
            on_error=self.failed.append,
            pin_ttl_s=TTL_S,
            capacity=capacity,
            call_s=0.2,
            watch_s=watch_s,
            probe_pauses_s=(0.001, 0.002),
        )
        ledger.start()
        self.ledgers.append(ledger)
        return ledger, store


@asynccontextmanager
async def ledgers_of_a_fleet() -> AsyncIterator[Ledgers]:
    """One server; at the end every ledger is closed."""
    made = Ledgers()
    yield made
    for ledger in made.ledgers:
        await ledger.aclose(0.1)
