"""The rows of a SQLite store that end by time or with a run: pins, notes, enrolments, what was counted."""

from gateway.core.types import Arm, Pin
from gateway.store.backends.sqlite_file import Database
from gateway.store.ports import Enrolment, PinWrite, Recall

PRUNE_AT_MOST = 5_000
"""Rows of a table that one write may have to remove."""

_PRUNING = (
    """DELETE FROM pins WHERE (migration, key) IN
        (SELECT migration, key FROM pins WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)""",
    """DELETE FROM notes WHERE rowid IN
        (SELECT rowid FROM notes WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)""",
    """DELETE FROM enrolments WHERE (migration, run, unit) IN (SELECT migration, run, unit
        FROM enrolments JOIN ended_runs USING (migration, run) WHERE expires_at <= ? LIMIT ?)""",
    "DELETE FROM replicas WHERE id IN (SELECT id FROM replicas WHERE expires_at <= ? LIMIT ?)",
    """DELETE FROM counts WHERE (migration, replica) IN
        (SELECT migration, replica FROM counts WHERE expires_at <= ? LIMIT ?)""",
    """DELETE FROM claims WHERE (migration, run, failure, unit) IN (SELECT migration, run, failure, unit
        FROM claims JOIN ended_runs USING (migration, run) WHERE expires_at <= ? LIMIT ?)""",
    """DELETE FROM tallies WHERE rowid IN (SELECT tallies.rowid
        FROM tallies JOIN scopes USING (migration, scope) WHERE expires_at <= ? LIMIT ?)""",
    """DELETE FROM scopes WHERE (migration, scope) IN (SELECT migration, scope
        FROM scopes LEFT JOIN tallies USING (migration, scope)
        WHERE expires_at <= ? AND doc IS NULL LIMIT ?)""",
)


def prune(database: Database, now: float) -> None:
    """Remove what has expired, and not too much at once."""
    for statement in _PRUNING:
        database.execute(statement, (now, PRUNE_AT_MOST))


def read_pin(database: Database, migration: str, key: str, now: float) -> Pin | None:
    """Return the pin of one conversation, if it has not ended."""
    row = database.execute(
        "SELECT arm, run, ruleset FROM pins WHERE migration = ? AND key = ? AND expires_at > ?",
        (migration, key, now),
    ).fetchone()
    return None if row is None else Pin(Arm(row[0]), row[1], row[2])


def read_note(database: Database, migration: str, key: str, now: float) -> bytes | None:
    """Return one note, if it has not ended."""
    row = database.execute(
        "SELECT data FROM notes WHERE migration = ? AND key = ? AND expires_at > ?", (migration, key, now)
    ).fetchone()
    return None if row is None else bytes(row[0])


def read_record(database: Database, query: Recall) -> Arm | None:
    """Return the arm in which the unit is enrolled, if there is a unit and it is in one."""
    row = database.execute(
        "SELECT arm FROM enrolments WHERE migration = ? AND run = ? AND unit = ?",
        (query.migration, query.run, query.unit_key),
    ).fetchone()
    return None if row is None else Arm(row[0])


def remember(database: Database, item: PinWrite | Enrolment, now: float) -> None:
    """Write one pin or enrolment."""
    match item:
        case PinWrite(migration, key, pin, ttl_s):
            row = (migration, key, pin.arm.value, pin.run, pin.ruleset, now + ttl_s)
            database.execute("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, ?)", row)
        case Enrolment(migration, run, unit_key, arm):
            database.execute(
                "INSERT OR REPLACE INTO enrolments VALUES (?, ?, ?, ?)", (migration, run, unit_key, arm.value)
            )
