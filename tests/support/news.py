"""A store, sinks on a real socket, and any number of processes that tell the news of a migration."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.control.notify.notifier import Notifier
from gateway.control.notify.sinks import Sink
from gateway.core.spec import MigrationSpec, OnRollback, Stage
from gateway.core.types import Event
from gateway.tasks import Tasks
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.memory_store import MemoryServer, MemoryStore
from tests.support.scripted import Request, Scripted, answer, scripted_upstream

SPEC = MigrationSpec(
    "m",
    "old",
    "new",
    ("old",),
    (Stage("canary", 5.0, 60), Stage("full", 100.0)),
    notify=("all",),
    on_rollback=OnRollback(notify=("pager",)),
)
RUNNING = {"phase": "running", "reason": "", "stage": 0, "weight_percent": 5.0, "run": 1, "version": 1}
ROLLED_BACK = RUNNING | {"phase": "rolled_back", "reason": "automatic", "weight_percent": 0.0}


@dataclass
class Receiver:
    """A little server that answers as it is told, by path."""

    server: Scripted
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """Path → what it answers next; afterwards 200."""
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    """Path → answers nothing before this."""

    def told(self, path: str = "/all") -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.server.requests if _path(request) == path]

    def seqs(self, path: str = "/all") -> list[int]:
        return [int(message["id"].split(":")[1]) for message in self.told(path)]


class World:
    """A store, a receiver, and any number of processes that tell the news."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.store = MemoryStore(self.server)
        self.tasks = Tasks()
        self.specs = {"m": SPEC}
        self.sinks = {name: self.sink(name) for name in ("all", "pager")}
        self.failed: list[str] = []
        self.results: list[str] = []

    def sink(self, name: str) -> Sink:
        return Sink(name, "webhook", f"{self.receiver.server.url}/{name}")

    def process(self) -> Notifier:
        return Notifier(
            MemoryStore(self.server),
            sinks=lambda: self.sinks,
            specs=lambda: self.specs,
            tasks=self.tasks,
            clock=self.clock,
            on_result=self.results.append,
            on_error=self.failed.append,
        )

    async def happen(self, verb: str, after: Mapping[str, Any] = RUNNING, *, name: str = "m") -> None:
        await self.store.append(name, Event(self.clock.now(), "ada", verb, "because", {}, dict(after)))

    async def tick(self, notifier: Notifier, epoch: int = 1) -> None:
        """Tick, and wait for what that began."""
        notifier.tick(epoch)
        await eventually(lambda: not self.tasks.names)

    async def begin(self) -> Notifier:
        """A process whose sinks have begun with the present end of the log."""
        notifier = self.process()
        await self.tick(notifier)
        return notifier

    async def cursor(self, sink: str) -> bytes | None:
        return await self.store.document("m", f"notified:{sink}")


def _path(request: Request) -> str:
    return request.line.split()[1].decode()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        path = _path(request)
        if path in receiver.holds:
            await receiver.holds[path].wait()
        status = receiver.statuses.get(path, []).pop(0) if receiver.statuses.get(path) else 200
        writer.write(answer(b"", status=f"{status} Told"))
        await writer.drain()

    async with scripted_upstream(script) as server:
        receiver = Receiver(server)
        yield receiver
