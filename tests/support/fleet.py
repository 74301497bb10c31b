"""Serving processes on one store in memory, each with a disk of its own or sharing one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import Event, MigrationState, Phase
from gateway.store import snapshot as disk
from gateway.store.replica import Replica
from gateway.store.snapshot import Snapshot
from tests.support.clock import ManualClock
from tests.support.memory_store import MemoryServer, MemoryStore

BOOT_S = 5.0
SPEC = MigrationSpec("m", "old", "new", ("old",), (Stage("canary", 5.0), Stage("full", 100.0)))
RUNNING = MigrationState("m", Phase.running, weight=5_000, run=1, version=1, epoch=1, spec=SPEC)
EVENT = Event(1.0, "ann", "start", "", {}, {})


class Member:
    """One process of the fleet."""

    def __init__(self, fleet: "Fleet", name: str, data_dir: Path, store: MemoryStore) -> None:
        self.store, self.data_dir = store, data_dir
        self.served: list[Snapshot] = []
        self.failed: list[str] = []
        self.losses: list[bytes] = []
        self.candidate_sent_at: dict[str, float] = {}
        self.replica = Replica(
            store,
            id=name,
            data_dir=data_dir,
            clock=fleet.clock,
            on_change=self.served.append,
            in_flight=lambda: 7,
            leader=lambda: name == "a",
            candidate_sent_at=lambda: self.candidate_sent_at,
            on_loss=self.losses.append,
            on_error=self.failed.append,
            poll_s=0.02,
            kill_poll_s=0.01,
            heartbeat_s=0.02,
            call_s=0.5,
        )

    @property
    def state(self) -> MigrationState:
        return self.replica.snapshot.state("m")

    def saved(self) -> Snapshot:
        return disk.load(self.data_dir / disk.FILE) or Snapshot()


class Fleet:
    """The processes and their server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.store = MemoryStore(self.server)
        self.members: list[Member] = []

    def member(self, name: str, disk_of: str = "") -> Member:
        member = Member(self, name, self.path / (disk_of or name), MemoryStore(self.server))
        self.members.append(member)
        return member

    async def join(self, name: str, disk_of: str = "") -> Member:
        member = self.member(name, disk_of)
        await member.replica.boot(BOOT_S)
        member.replica.start()
        return member

    async def write(self, state: MigrationState) -> MigrationState:
        """Commit `state` over whatever is stored."""
        stored = (await self.store.load()).get(state.name)
        self.server.data.epoch = max(self.server.data.epoch, state.epoch)
        return await self.store.commit(state, EVENT, expected=stored.order if stored else (0, 0))

    @property
    def stored(self) -> MigrationState:
        return self.server.data.states.get("m", MigrationState("m"))

    @property
    def verbs(self) -> list[str]:
        return [event.verb for event in self.server.data.events.get("m", [])]


@asynccontextmanager
async def fleet_on(path: Path) -> AsyncIterator[Fleet]:
    """A fleet whose disks are below `path`; at the end everybody leaves."""
    made = Fleet(path)
    yield made
    for member in made.members:
        member.store.resume()
        await member.replica.aclose(1)
