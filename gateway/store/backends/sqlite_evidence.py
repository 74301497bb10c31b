"""What a SQLite store keeps of a migration's evidence: counts, tallies, first failures, documents.

Half of `SqliteStore`, which is made of this. A tally outlives the process that wrote it: it is removed with
its whole scope, once nobody has written in the scope for `TALLY_KEPT_S`. Claims go with their run.
"""

from collections.abc import Sequence
from typing import Any

from gateway.core.types import parse_json, to_json
from gateway.store.backends import sqlite_rows
from gateway.store.backends.sqlite_file import Database, Lane
from gateway.store.ports import TALLY_KEPT_S, admit
from gateway.tasks import Clock

PRUNE_EVERY_S = 10.0


class SqliteEvidence:
    """The evidence of `gateway.store.ports.Fleet`, over a lane that writes and one that reads."""

    def __init__(self, writes: Lane, reads: Lane, clock: Clock) -> None:
        self._writes, self._reads, self._clock = writes, reads, clock
        self._pruned_at = 0.0

    async def put_counts(self, migration: str, replica_id: str, counts: dict[str, Any], ttl_s: float) -> None:
        """Replace this process's counts."""
        now = self._clock.now()

        def write(database: Database) -> None:
            row = (migration, replica_id, now + ttl_s, to_json(counts))
            database.execute("INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?)", row)
            self._prune(database, now)

        await self._writes.run(write)

    async def counts(self, migration: str) -> dict[str, dict[str, Any]]:
        """Return every process's counts that have not outlived their ttl."""
        now = self._clock.now()

        def read(database: Database) -> list[tuple[str, bytes]]:
            return database.execute(
                "SELECT replica, doc FROM counts WHERE migration = ? AND expires_at > ?", (migration, now)
            ).fetchall()

        return {replica: parse_json(doc) for replica, doc in await self._reads.run(read)}

    async def put_tally(self, migration: str, scope: str, replica_id: str, tally: dict[str, Any]) -> None:
        """Replace what this process has counted in one scope, and keep the scope that much longer."""
        now, doc = self._clock.now(), to_json(tally)

        def write(database: Database) -> None:
            # First: what has expired here must not come back because somebody counts here again.
            self._prune(database, now)
            scoped = (migration, scope, now + TALLY_KEPT_S)
            database.execute("INSERT OR REPLACE INTO scopes VALUES (?, ?, ?)", scoped)
            row = (migration, scope, replica_id, doc)
            database.execute("INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?)", row)

        await self._writes.run(write)

    async def tallies(self, migration: str, scope: str) -> dict[str, dict[str, Any]]:
        """Return what every process has counted in a scope, those that are gone included."""
        now = self._clock.now()

        def read(database: Database) -> dict[str, Any]:
            rows = database.execute(
                """SELECT replica, doc FROM tallies JOIN scopes USING (migration, scope)
                    WHERE migration = ? AND scope = ? AND expires_at > ?""",
                (migration, scope, now),
            )
            return {replica: parse_json(doc) for replica, doc in rows}

        return await self._reads.run(read)

    async def claim(
        self, migration: str, run: int, replica_id: str, claims: Sequence[tuple[str, str]]
    ) -> list[bool]:
        """Claim first failures, in one transaction."""
        if not claims:
            return []

        def write(database: Database) -> list[bool]:
            rows = [(migration, run, failure, unit, replica_id) for failure, unit in claims]
            database.executemany("INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?, ?)", rows)
            return [_claimant(database, row[:4]) == replica_id for row in rows]

        return await self._writes.run(write)

    async def put_document(self, migration: str, name: str, body: bytes, *, epoch: int) -> None:
        """Replace one document unless one of a greater epoch is there."""

        def write(database: Database) -> None:
            admit_to(database, migration, name, epoch)
            replacement = (migration, name, epoch, body)
            database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", replacement)

        await self._writes.run(write)

    async def document(self, migration: str, name: str) -> bytes | None:
        """Return one document, or None."""

        def read(database: Database) -> bytes | None:
            row = database.execute(
                "SELECT body FROM documents WHERE migration = ? AND name = ?", (migration, name)
            ).fetchone()
            return None if row is None else bytes(row[0])

        return await self._reads.run(read)

    async def documents(self, migration: str, prefix: str) -> dict[str, bytes]:
        """Return the documents whose names begin with `prefix`, by name."""

        def read(database: Database) -> dict[str, bytes]:
            rows = database.execute(
                """SELECT name, body FROM documents WHERE migration = ? AND substr(name, 1, ?) = ?
                    ORDER BY name""",
                (migration, len(prefix), prefix),
            )
            return {name: bytes(body) for name, body in rows}

        return await self._reads.run(read)

    def _prune(self, database: Database, now: float) -> None:
        """Remove what has expired, now and then."""
        if abs(now - self._pruned_at) >= PRUNE_EVERY_S:
            self._pruned_at = now
            sqlite_rows.prune(database, now)


def _claimant(database: Database, claim: tuple[str, int, str, str]) -> str:
    rows = database.execute(
        "SELECT replica FROM claims WHERE migration = ? AND run = ? AND failure = ? AND unit = ?", claim
    )
    return str(rows.fetchone()[0])


def admit_to(database: Database, migration: str, name: str, epoch: int) -> None:
    """Raise StaleWrite if a document of a greater epoch is stored."""
    row = database.execute(
        "SELECT epoch FROM documents WHERE migration = ? AND name = ?", (migration, name)
    ).fetchone()
    admit(migration, name, epoch, stored=row[0] if row else 0)
