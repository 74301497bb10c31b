"""The store of one machine: a SQLite file that any number of worker processes share.

One lane writes and one reads, so that a request's look-up never queues behind another process's write lock.
Nobody publishes on a file. Writers of states count publications in the same transaction; waiting processes
notice by `PRAGMA data_version`, which costs next to nothing, that something was written, and only then look
at the count.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gateway.core.types import Arm, Event, MigrationState, from_json, to_json
from gateway.errors import StoreUnavailable
from gateway.store.backends import sqlite_rows
from gateway.store.backends.sqlite_evidence import SqliteEvidence, admit_to
from gateway.store.backends.sqlite_file import Database, Lane
from gateway.store.ports import (
    EVIDENCE,
    OLD_RUN_KEPT_S,
    REPLICA_TTL_S,
    Enrolment,
    Order,
    PinWrite,
    Recall,
    Recollection,
    ReplicaReport,
    successor,
    supersedes,
)
from gateway.tasks import Clock

logger = logging.getLogger(__name__)

POLL_S = 0.05
"""Between two looks at whether something was published."""


class SqliteStore(SqliteEvidence):
    """The ports of `gateway.store.ports` on a SQLite file."""

    def __init__(self, path: str, *, clock: Clock) -> None:
        super().__init__(Lane(Path(path), writes=True), Lane(Path(path), writes=False), clock)
        self._secret: bytes | None = None
        self._looked_at: tuple[Database, int] | None = None
        self._publications = 0
        self._seen: int | None = None
        self._heard = 0

    async def open(self) -> None:
        """Create the file where it is missing; where that is impossible, say so and go on."""
        try:
            await self._writes.run(lambda database: None)
            self._seen = await self._reads.run(self._count_publications)
        except StoreUnavailable as error:
            logger.warning("the store is away at start", extra={"reason": error.message})

    async def close(self) -> None:
        """Close the file."""
        await self._writes.close()
        await self._reads.close()

    # --- the fleet's agreement ------------------------------------------------------------------------------

    async def load(self) -> dict[str, MigrationState]:
        """Return every migration that was ever written."""

        def read(database: Database) -> dict[str, MigrationState]:
            rows = database.execute("SELECT name, doc FROM migrations ORDER BY name")
            return {name: from_json(doc, MigrationState) for name, doc in rows}

        return await self._reads.run(read)

    async def commit(
        self, state: MigrationState, event: Event, *, expected: Order, term: int | None = None
    ) -> MigrationState:
        """Write state, audit event and publication in one step if `expected` is what is stored."""
        ends_at = self._clock.now() + OLD_RUN_KEPT_S

        def write(database: Database) -> MigrationState:
            order, run = _stored(database, state.name)
            after = successor(state, order, expected)
            if term is not None:
                admit_to(database, after.name, EVIDENCE, term)
            _write_state(database, after)
            _write_event(database, after.name, event)
            if after.run > run:
                ended = (after.name, run, ends_at)
                database.execute("INSERT OR IGNORE INTO ended_runs VALUES (?, ?, ?)", ended)
            return after

        return await self._writes.run(write)

    async def restore(self, state: MigrationState) -> bool:
        """Put back a state that the store lost, and with it the epoch and the secret."""

        def write(database: Database) -> bool:
            _raise_epoch(database, state.epoch)
            if self._secret is not None:
                _keep_secret(database, self._secret)
            order, _ = _stored(database, state.name)
            if not supersedes(state, order):
                return False
            _write_state(database, state)
            return True

        return await self._writes.run(write)

    async def events(self, migration: str, since: int = 0) -> list[Event]:
        """Return the audit events with seq > since, oldest first."""

        def read(database: Database) -> list[Event]:
            rows = database.execute(
                "SELECT seq, doc FROM events WHERE migration = ? AND seq > ? ORDER BY seq", (migration, since)
            )
            return [replace(from_json(doc, Event), seq=seq) for seq, doc in rows]

        return await self._reads.run(read)

    async def append(self, migration: str, event: Event) -> None:
        """Append an audit event that changes no state."""
        await self._writes.run(lambda database: _write_event(database, migration, event))

    async def next_epoch(self) -> int:
        """Return a fencing epoch greater than any before it."""
        return await self._writes.run(_next_epoch)

    async def raise_epoch(self, floor: int) -> None:
        """Make every later `next_epoch` greater than `floor`."""
        await self._writes.run(lambda database: _raise_epoch(database, floor))

    async def changed(self, timeout_s: float) -> None:
        """Return soon after a publication or after the file came back, or after `timeout_s`."""
        heard = self._heard
        try:
            async with asyncio.timeout(timeout_s):
                while self._heard == heard:
                    await self._listen()
        except TimeoutError:
            return

    async def _listen(self) -> None:
        """Look once, and pause unless there was news."""
        try:
            count = await self._reads.run(self._count_publications)
        except StoreUnavailable:
            self._seen = None
        else:
            if count != self._seen:
                self._seen = count
                self._heard += 1
                return
        await asyncio.sleep(POLL_S)

    def _count_publications(self, database: Database) -> int:
        looked_at = (database, int(database.execute("PRAGMA data_version").fetchone()[0]))
        if looked_at != self._looked_at:
            rows = database.execute("SELECT value FROM meta WHERE key = 'publications'")
            self._publications = int(rows.fetchone()[0])
            self._looked_at = looked_at
        return self._publications

    # --- what conversations and units were given ------------------------------------------------------------

    async def recall(self, query: Recall) -> Recollection:
        """Return the first pin found and the unit's record."""
        now = self._clock.now()

        def read(database: Database) -> Recollection:
            pins = (sqlite_rows.read_pin(database, query.migration, key, now) for key in query.pin_keys)
            return Recollection(
                pin=next((pin for pin in pins if pin is not None), None),
                record=sqlite_rows.read_record(database, query),
            )

        return await self._reads.run(read)

    async def remember(self, writes: Sequence[PinWrite | Enrolment]) -> None:
        """Write a batch in one transaction."""
        if not writes:
            return
        now = self._clock.now()

        def write(database: Database) -> None:
            for item in writes:
                sqlite_rows.remember(database, item, now)
            self._prune(database, now)

        await self._writes.run(write)

    async def enrolled(self, migration: str, run: int) -> dict[Arm, int]:
        """Return the exact number of units enrolled in each arm of the run."""

        def read(database: Database) -> dict[Arm, int]:
            rows = database.execute(
                "SELECT arm, units FROM enrolled WHERE migration = ? AND run = ?", (migration, run)
            )
            return dict.fromkeys(Arm, 0) | {Arm(arm): count for arm, count in rows}

        return await self._reads.run(read)

    async def read_notes(self, migration: str, names: Sequence[str]) -> dict[str, bytes]:
        """Return those notes that are there."""
        now = self._clock.now()

        def read(database: Database) -> dict[str, bytes]:
            found = {key: sqlite_rows.read_note(database, migration, key, now) for key in names}
            return {key: data for key, data in found.items() if data is not None}

        return await self._reads.run(read) if names else {}

    async def write_notes(self, migration: str, notes: Mapping[str, bytes], ttl_s: int) -> None:
        """Keep notes for `ttl_s` seconds, in one transaction."""
        if not notes:
            return
        now = self._clock.now()

        def write(database: Database) -> None:
            rows = [(migration, key, now + ttl_s, data) for key, data in notes.items()]
            database.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)", rows)
            self._prune(database, now)

        await self._writes.run(write)

    # --- who serves, who leads ------------------------------------------------------------------------------

    async def report(self, report: ReplicaReport) -> None:
        """Write this process's heartbeat."""
        now = self._clock.now()

        def write(database: Database) -> None:
            row = (report.id, now + REPLICA_TTL_S, to_json(report))
            database.execute("INSERT OR REPLACE INTO replicas VALUES (?, ?, ?)", row)
            self._prune(database, now)

        await self._writes.run(write)

    async def replicas(self) -> list[ReplicaReport]:
        """Return the heartbeats that still count, by id."""
        now = self._clock.now()

        def read(database: Database) -> list[ReplicaReport]:
            rows = database.execute("SELECT doc FROM replicas WHERE expires_at > ? ORDER BY id", (now,))
            return [from_json(doc, ReplicaReport) for (doc,) in rows]

        return await self._reads.run(read)

    async def deregister(self, replica_id: str) -> None:
        """Forget a process that leaves in good order."""
        await self._writes.run(
            lambda database: database.execute("DELETE FROM replicas WHERE id = ?", (replica_id,))
        )

    async def acquire_lease(self, holder: str, ttl_s: float) -> int | None:
        """Take the lease if it is free, and its new epoch in the same step."""
        now = self._clock.now()

        def write(database: Database) -> int | None:
            if _holder(database, now) is not None:
                return None
            database.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?)", (holder, now + ttl_s))
            return _next_epoch(database)

        return await self._writes.run(write)

    async def renew_lease(self, holder: str, ttl_s: float) -> bool:
        """Extend the lease if `holder` still has it."""
        now = self._clock.now()

        def write(database: Database) -> bool:
            if _holder(database, now) != holder:
                return False
            database.execute("UPDATE lease SET expires_at = ?", (now + ttl_s,))
            return True

        return await self._writes.run(write)

    async def release_lease(self, holder: str) -> None:
        """Give the lease back if `holder` has it."""
        await self._writes.run(
            lambda database: database.execute("DELETE FROM lease WHERE holder = ?", (holder,))
        )

    async def secret(self) -> bytes:
        """Return the fleet's key for hashing units.

        If the file was lost, the key that this process has known becomes the fleet's again.
        """
        candidate = self._secret or secrets.token_bytes(32)
        self._secret = await self._writes.run(lambda database: _keep_secret(database, candidate))
        return self._secret


def _stored(database: Database, migration: str) -> tuple[Order | None, int]:
    """Return the stored state's order, if there is one, and its run."""
    row = database.execute(
        "SELECT epoch, version, run FROM migrations WHERE name = ?", (migration,)
    ).fetchone()
    return (None, 0) if row is None else ((row[0], row[1]), row[2])


def _write_state(database: Database, state: MigrationState) -> None:
    database.execute(
        "INSERT OR REPLACE INTO migrations VALUES (?, ?, ?, ?, ?)",
        (state.name, state.epoch, state.version, state.run, to_json(state)),
    )
    database.execute("UPDATE meta SET value = value + 1 WHERE key = 'publications'")


def _write_event(database: Database, migration: str, event: Event) -> None:
    database.execute(
        "INSERT INTO events SELECT ?1, coalesce(max(seq), 0) + 1, ?2 FROM events WHERE migration = ?1",
        (migration, to_json(event)),
    )


def _next_epoch(database: Database) -> int:
    database.execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'")
    return int(database.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])


def _raise_epoch(database: Database, floor: int) -> None:
    database.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'epoch'", (floor,))


def _keep_secret(database: Database, candidate: bytes) -> bytes:
    """Store the secret unless there is one, and return the one that is stored."""
    database.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (candidate,))
    return bytes(database.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()[0])


def _holder(database: Database, now: float) -> str | None:
    row = database.execute("SELECT holder FROM lease WHERE expires_at > ?", (now,)).fetchone()
    return None if row is None else str(row[0])
