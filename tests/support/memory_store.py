"""A store in memory that keeps the promises of `gateway.store.ports`, and breaks them when a test says so.

A `MemoryServer` is what everybody shares; each process under test gets a `MemoryStore`, its own connection to
it. A connection can be `away` (every call raises), or `hang()` (every call waits for `resume()`).
The server can lose its data: everything, or what was written since a `checkpoint`.
"""

import asyncio
import copy
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.types import Arm, Event, MigrationState, Pin
from gateway.errors import StoreUnavailable
from gateway.store.ports import (
    EVIDENCE,
    REPLICA_TTL_S,
    TALLY_KEPT_S,
    Enrolment,
    PinWrite,
    Recall,
    Recollection,
    ReplicaReport,
    admit,
    successor,
    supersedes,
)
from gateway.tasks import Clock


@dataclass
class Data:
    """Everything that a server can lose."""

    states: dict[str, MigrationState] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    pins: dict[tuple[str, str], tuple[Pin, float]] = field(default_factory=dict)
    """With the time at which it expires."""
    records: dict[tuple[str, int, str], Arm] = field(default_factory=dict)
    notes: dict[tuple[str, str], tuple[bytes, float]] = field(default_factory=dict)
    reports: dict[str, tuple[ReplicaReport, float]] = field(default_factory=dict)
    counts: dict[tuple[str, str], tuple[dict[str, Any], float]] = field(default_factory=dict)
    tallies: dict[tuple[str, str], dict[str, dict[str, Any]]] = field(default_factory=dict)
    scopes: dict[tuple[str, str], float] = field(default_factory=dict)
    """With the time at which all that was counted there expires."""
    claims: dict[tuple[str, int, str, str], str] = field(default_factory=dict)
    documents: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    """With the epoch of its writer."""
    lease: tuple[str, float] | None = None
    epoch: int = 0
    secret: bytes | None = None


class MemoryServer:
    """What all connections share."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.data = Data()
        self.publications = 0
        self._listeners: set[asyncio.Future[None]] = set()

    def publish(self) -> None:
        """Wake whoever waits for a change."""
        self.publications += 1
        for listener in self._listeners:
            if not listener.done():
                listener.set_result(None)
        self._listeners.clear()

    def listen(self) -> asyncio.Future[None]:
        listener = asyncio.get_running_loop().create_future()
        self._listeners.add(listener)
        return listener

    def checkpoint(self) -> Data:
        """Return what a secondary has at this moment."""
        return copy.deepcopy(self.data)

    def lose(self, *, down_to: Data | None = None) -> None:
        """Go on with nothing, or with what a secondary had."""
        self.data = down_to if down_to is not None else Data()


class MemoryStore:
    """One process's connection; a `gateway.store.ports.Store`."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.away = False
        self.calls: Counter[str] = Counter()
        self.batches: list[list[PinWrite | Enrolment]] = []
        """Every batch that was remembered."""
        self._secret: bytes | None = None
        self._heard = server.publications
        self._going = asyncio.Event()
        self._going.set()

    def hang(self) -> None:
        """Answer nothing until `resume`."""
        self._going.clear()

    def resume(self) -> None:
        """Answer what was asked meanwhile."""
        self._going.set()

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self.away = True

    # --- state --------------------------------------------------------------------------------------------

    async def load(self) -> dict[str, MigrationState]:
        data = await self._reach("load")
        return dict(data.states)

    async def commit(
        self, state: MigrationState, event: Event, *, expected: tuple[int, int], term: int | None = None
    ) -> MigrationState:
        data = await self._reach("commit")
        stored = data.states.get(state.name)
        after = successor(state, stored.order if stored else None, expected)
        if term is not None:
            present = data.documents.get((state.name, EVIDENCE), (0, b""))[0]
            admit(state.name, EVIDENCE, term, stored=present)
        data.states[state.name] = after
        _append(data, state.name, event)
        self.server.publish()
        return after

    async def restore(self, state: MigrationState) -> bool:
        data = await self._reach("restore")
        data.epoch = max(data.epoch, state.epoch)
        data.secret = data.secret or self._secret
        stored = data.states.get(state.name)
        if not supersedes(state, stored.order if stored else None):
            return False
        data.states[state.name] = state
        self.server.publish()
        return True

    async def events(self, migration: str, since: int = 0) -> list[Event]:
        data = await self._reach("events")
        return [event for event in data.events.get(migration, []) if event.seq > since]

    async def append(self, migration: str, event: Event) -> None:
        _append(await self._reach("append"), migration, event)

    async def next_epoch(self) -> int:
        data = await self._reach("next_epoch")
        data.epoch += 1
        return data.epoch

    async def raise_epoch(self, floor: int) -> None:
        data = await self._reach("raise_epoch")
        data.epoch = max(data.epoch, floor)

    async def changed(self, timeout_s: float) -> None:
        await self._reach("changed")
        if self._heard == self.server.publications:
            await asyncio.wait({self.server.listen()}, timeout=timeout_s)
        self._heard = self.server.publications

    # --- memory -------------------------------------------------------------------------------------------

    async def recall(self, query: Recall) -> Recollection:
        data = await self._reach("recall")
        now = self.server.clock.now()
        found = [data.pins.get((query.migration, key)) for key in query.pin_keys]
        live = [pin for pin, expires_at in filter(None, found) if expires_at > now]
        record = data.records.get((query.migration, query.run, query.unit_key or ""))
        return Recollection(live[0] if live else None, record)

    async def remember(self, writes: Sequence[PinWrite | Enrolment]) -> None:
        data = await self._reach("remember")
        self.batches.append(list(writes))
        for write in writes:
            match write:
                case PinWrite(migration, key, pin, ttl_s):
                    data.pins[migration, key] = pin, self.server.clock.now() + ttl_s
                case Enrolment(migration, run, unit_key, arm):
                    data.records[migration, run, unit_key] = arm

    async def enrolled(self, migration: str, run: int) -> dict[Arm, int]:
        data = await self._reach("enrolled")
        arms = Counter(arm for key, arm in data.records.items() if key[:2] == (migration, run))
        return {arm: arms[arm] for arm in Arm}

    async def read_notes(self, migration: str, names: Sequence[str]) -> dict[str, bytes]:
        data = await self._reach("read_notes")
        found = {key: data.notes.get((migration, key)) for key in names}
        now = self.server.clock.now()
        return {key: note[0] for key, note in found.items() if note is not None and note[1] > now}

    async def write_notes(self, migration: str, notes: Mapping[str, bytes], ttl_s: int) -> None:
        data = await self._reach("write_notes")
        until = self.server.clock.now() + ttl_s
        data.notes |= {(migration, key): (value, until) for key, value in notes.items()}

    # --- fleet --------------------------------------------------------------------------------------------

    async def report(self, report: ReplicaReport) -> None:
        data = await self._reach("report")
        data.reports[report.id] = report, self.server.clock.now()

    async def replicas(self) -> list[ReplicaReport]:
        data = await self._reach("replicas")
        oldest = self.server.clock.now() - REPLICA_TTL_S
        return [report for _, (report, at) in sorted(data.reports.items()) if at >= oldest]

    async def deregister(self, replica_id: str) -> None:
        (await self._reach("deregister")).reports.pop(replica_id, None)

    async def acquire_lease(self, holder: str, ttl_s: float) -> int | None:
        data = await self._reach("acquire_lease")
        now = self.server.clock.now()
        if data.lease is not None and data.lease[1] > now:
            return None
        data.lease = holder, now + ttl_s
        data.epoch += 1
        return data.epoch

    async def renew_lease(self, holder: str, ttl_s: float) -> bool:
        data = await self._reach("renew_lease")
        now = self.server.clock.now()
        if data.lease is None or data.lease[0] != holder or data.lease[1] <= now:
            return False
        data.lease = holder, now + ttl_s
        return True

    async def release_lease(self, holder: str) -> None:
        data = await self._reach("release_lease")
        if data.lease is not None and data.lease[0] == holder:
            data.lease = None

    async def put_counts(self, migration: str, replica_id: str, counts: dict[str, Any], ttl_s: float) -> None:
        data = await self._reach("put_counts")
        data.counts[migration, replica_id] = counts, self.server.clock.now() + ttl_s

    async def counts(self, migration: str) -> dict[str, dict[str, Any]]:
        data = await self._reach("counts")
        now = self.server.clock.now()
        return {
            replica: counts
            for (name, replica), (counts, until) in data.counts.items()
            if name == migration and until > now
        }

    async def put_tally(self, migration: str, scope: str, replica_id: str, tally: dict[str, Any]) -> None:
        data = await self._reach("put_tally")
        if data.scopes.get((migration, scope), 0.0) <= self.server.clock.now():
            data.tallies.pop((migration, scope), None)
        data.tallies.setdefault((migration, scope), {})[replica_id] = copy.deepcopy(tally)
        data.scopes[migration, scope] = self.server.clock.now() + TALLY_KEPT_S

    async def tallies(self, migration: str, scope: str) -> dict[str, dict[str, Any]]:
        data = await self._reach("tallies")
        if data.scopes.get((migration, scope), 0.0) <= self.server.clock.now():
            return {}
        return copy.deepcopy(data.tallies[migration, scope])

    async def claim(
        self, migration: str, run: int, replica_id: str, claims: Sequence[tuple[str, str]]
    ) -> list[bool]:
        data = await self._reach("claim")
        return [data.claims.setdefault((migration, run, *pair), replica_id) == replica_id for pair in claims]

    async def put_document(self, migration: str, name: str, body: bytes, *, epoch: int) -> None:
        data = await self._reach("put_document")
        admit(migration, name, epoch, stored=data.documents.get((migration, name), (0, b""))[0])
        data.documents[migration, name] = epoch, body

    async def document(self, migration: str, name: str) -> bytes | None:
        data = await self._reach("document")
        return data.documents.get((migration, name), (0, None))[1]

    async def documents(self, migration: str, prefix: str) -> dict[str, bytes]:
        data = await self._reach("documents")
        found = sorted((key[1], body) for key, (_, body) in data.documents.items() if key[0] == migration)
        return {name: body for name, body in found if name.startswith(prefix)}

    async def secret(self) -> bytes:
        data = await self._reach("secret")
        data.secret = data.secret or self._secret or secrets.token_bytes(32)
        self._secret = data.secret
        return data.secret

    async def _reach(self, operation: str) -> Data:
        self.calls[operation] += 1
        await self._going.wait()
        await asyncio.sleep(0)
        if self.away:
            raise StoreUnavailable("the store is away, says the test")
        return self.server.data


def _append(data: Data, migration: str, event: Event) -> None:
    log = data.events.setdefault(migration, [])
    log.append(replace(event, seq=len(log) + 1))
