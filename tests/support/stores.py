"""What a test needs of a store besides its ports: to open it again, let time pass, break it and mend it."""

import os
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

from gateway.core.types import Event, MigrationState, Phase
from gateway.store.backends.factory import make_store
from gateway.store.ports import Store
from tests.support.clock import ManualClock
from tests.support.memory_store import MemoryServer, MemoryStore
from tests.support.redis_server import RedisServer


class Bench(Protocol):
    """One place where data is kept, and any number of stores open on it."""

    async def open(self) -> Store:
        """Open one more store, as another process would; it is closed at the end of the test."""

    def empty(self) -> None:
        """Remove all data, as a server does that comes back without any."""

    def pass_time(self, seconds: float) -> None:
        """Let everything that ends by time come that much closer to its end."""


class RealBench(Bench, Protocol):
    """One that other processes can share, and that can be away."""

    url: str

    def break_down(self) -> None:
        """Make the place unusable."""

    def mend(self) -> None:
        """Make it usable again; what was kept may be lost."""


class _Opened:
    """The stores that a test has open."""

    url: str

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._stack = AsyncExitStack()

    async def open(self) -> Store:
        store = self._make()
        self._stack.push_async_callback(store.close)
        await store.open()
        return store

    def _make(self) -> Store:
        return make_store(self.url, clock=self.clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


class MemoryBench(_Opened):
    """The stand-in that other tests use for a store, held to the same promises."""

    def __init__(self) -> None:
        super().__init__()
        self.server = MemoryServer(self.clock)

    def empty(self) -> None:
        self.server.lose()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def _make(self) -> Store:
        return MemoryStore(self.server)


class SqliteBench(_Opened):
    """A file in a directory of its own, which breaks by a file taking the directory's place."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory / "data"
        self.path = self.directory / "gateway.db"
        self.url = f"sqlite:///{self.path}"
        self._aside = directory / "aside"

    def empty(self) -> None:
        for file in self.directory.glob("gateway.db*"):
            file.unlink()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def break_down(self) -> None:
        self.directory.rename(self._aside)
        self._unless_a_store_is_quicker(lambda: self.directory.write_text("in the way"))

    def mend(self) -> None:
        self.directory.unlink()
        self._unless_a_store_is_quicker(lambda: os.replace(self._aside, self.directory))

    def _unless_a_store_is_quicker(self, change: Callable[[], object]) -> None:
        """Change what stands in the directory's place; a store that tries to open makes one there, too."""
        for _ in range(100):
            try:
                change()
            except OSError:
                shutil.rmtree(self.directory)
            else:
                return
        raise AssertionError("a store kept making its directory")


class RedisBench(_Opened):
    """A server, where time passes by cutting every ttl."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.server = server
        self.url = server.url

    def empty(self) -> None:
        self.server.empty()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        with self.server.client() as client:
            for key in client.scan_iter("*"):
                left_ms = client.pttl(key)
                if left_ms > 0:
                    client.pexpire(key, max(0, left_ms - round(seconds * 1000)))

    def break_down(self) -> None:
        self.server.kill()

    def mend(self) -> None:
        self.server.start()


def state(name: str = "m", **changes: Any) -> MigrationState:
    """A running migration."""
    return replace(MigrationState(name, phase=Phase.running, run=1), **changes)


def event(verb: str = "start", **changes: Any) -> Event:
    """An audit event."""
    return replace(Event(1.5, "ann", verb, "because", {"run": 0}, {"run": 1}), **changes)
