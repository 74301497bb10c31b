"""Notebooks of several processes on one store in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.store.notebook import Notebook
from tests.support.clock import ManualClock
from tests.support.memory_store import MemoryServer, MemoryStore


class Notebooks:
    """One server, and a notebook for each process."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.failed: list[str] = []
        self.notebooks: list[Notebook] = []

    def join(
        self, *, secret: bytes = b"fleet", capacity_bytes: int = 1 << 20
    ) -> tuple[Notebook, MemoryStore]:
        store = MemoryStore(self.server)
        notebook = Notebook(
            store,
            secret=secret,
            on_error=self.failed.append,
            capacity_bytes=capacity_bytes,
            call_s=0.2,
            probe_pauses_s=(0.001, 0.002),
        )
        notebook.start()
        self.notebooks.append(notebook)
        return notebook, store


@asynccontextmanager
async def notebooks_of_a_fleet() -> AsyncIterator[Notebooks]:
    """One server; at the end every notebook is closed."""
    made = Notebooks()
    yield made
    for notebook in made.notebooks:
        await notebook.aclose(0.1)
