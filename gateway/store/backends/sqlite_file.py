"""One SQLite file: its schema, how it is opened, and the threads that use it.

A lane is one thread with one connection, so that SQLite never blocks the event loop and calls keep their
order. The file may be moved away or lost while the gateway runs, as a server may come back empty: before each
use a lane checks that the path still leads to the file it has open, and opens what is there now if not.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TypeVar

from gateway.errors import StoreUnavailable

T = TypeVar("T")

Database = sqlite3.Connection

BUSY_S = 1.0
"""How long a statement waits for another process's lock."""
OPERATION_S = 1.5
"""How long a caller waits, behind others in the lane as well."""

SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    # Begins anywhere, so that a file which took another's place looks different to those who wait.
    "INSERT INTO meta VALUES ('epoch', 0), ('publications', abs(random() % 1000000000))",
    """CREATE TABLE migrations (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, version INTEGER NOT NULL,
        run INTEGER NOT NULL, doc BLOB NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE events (migration TEXT NOT NULL, seq INTEGER NOT NULL, doc BLOB NOT NULL,
        PRIMARY KEY (migration, seq)) WITHOUT ROWID""",
    """CREATE TABLE pins (migration TEXT NOT NULL, key TEXT NOT NULL, arm TEXT NOT NULL, run INTEGER NOT NULL,
        ruleset TEXT NOT NULL, expires_at REAL NOT NULL, PRIMARY KEY (migration, key)) WITHOUT ROWID""",
    "CREATE INDEX pins_by_end ON pins (expires_at)",
    """CREATE TABLE enrolments (migration TEXT NOT NULL, run INTEGER NOT NULL, unit TEXT NOT NULL,
        arm TEXT NOT NULL, PRIMARY KEY (migration, run, unit)) WITHOUT ROWID""",
    """CREATE TABLE ended_runs (migration TEXT NOT NULL, run INTEGER NOT NULL, expires_at REAL NOT NULL,
        PRIMARY KEY (migration, run)) WITHOUT ROWID""",
    "CREATE TABLE replicas (id TEXT PRIMARY KEY, expires_at REAL NOT NULL, doc BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE counts (migration TEXT NOT NULL, replica TEXT NOT NULL, expires_at REAL NOT NULL,
        doc BLOB NOT NULL, PRIMARY KEY (migration, replica)) WITHOUT ROWID""",
    """CREATE TABLE lease (only INTEGER PRIMARY KEY CHECK (only = 1), holder TEXT NOT NULL,
        expires_at REAL NOT NULL)""",
)
NOTES = (
    """CREATE TABLE notes (migration TEXT NOT NULL, key TEXT NOT NULL, expires_at REAL NOT NULL,
        data BLOB NOT NULL, PRIMARY KEY (migration, key))""",
    "CREATE INDEX notes_by_end ON notes (expires_at)",
)
EVIDENCE = (
    """CREATE TABLE scopes (migration TEXT NOT NULL, scope TEXT NOT NULL, expires_at REAL NOT NULL,
        PRIMARY KEY (migration, scope)) WITHOUT ROWID""",
    """CREATE TABLE tallies (migration TEXT NOT NULL, scope TEXT NOT NULL, replica TEXT NOT NULL,
        doc BLOB NOT NULL, PRIMARY KEY (migration, scope, replica))""",
    """CREATE TABLE claims (migration TEXT NOT NULL, run INTEGER NOT NULL, failure TEXT NOT NULL,
        unit TEXT NOT NULL, replica TEXT NOT NULL,
        PRIMARY KEY (migration, run, failure, unit)) WITHOUT ROWID""",
    """CREATE TABLE documents (migration TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL,
        body BLOB NOT NULL, PRIMARY KEY (migration, name))""",
    # How many are enrolled is asked every few seconds, and a run may have a million of them: it is counted as
    # they come and go. A row that is replaced goes without a DELETE, so what was there is looked at before.
    """CREATE TABLE enrolled (migration TEXT NOT NULL, run INTEGER NOT NULL, arm TEXT NOT NULL,
        units INTEGER NOT NULL, PRIMARY KEY (migration, run, arm)) WITHOUT ROWID""",
    "INSERT INTO enrolled SELECT migration, run, arm, count(*) FROM enrolments GROUP BY migration, run, arm",
    """CREATE TRIGGER unit_replaced BEFORE INSERT ON enrolments BEGIN
        UPDATE enrolled SET units = units - 1 WHERE (migration, run, arm) IN (SELECT migration, run, arm
            FROM enrolments WHERE migration = NEW.migration AND run = NEW.run AND unit = NEW.unit);
        END""",
    """CREATE TRIGGER unit_enrolled AFTER INSERT ON enrolments BEGIN
        INSERT INTO enrolled VALUES (NEW.migration, NEW.run, NEW.arm, 1)
            ON CONFLICT (migration, run, arm) DO UPDATE SET units = units + 1;
        END""",
    """CREATE TRIGGER unit_forgotten AFTER DELETE ON enrolments BEGIN
        UPDATE enrolled SET units = units - 1
            WHERE migration = OLD.migration AND run = OLD.run AND arm = OLD.arm;
        END""",
)
STEPS = (SCHEMA, NOTES, EVIDENCE)
"""What makes each version of the schema from the one before."""
SCHEMA_VERSION = len(STEPS)

_opening = threading.Lock()
"""Held while a file is created and opened: closing a descriptor of it drops all the process's locks on it."""


class Lane:
    """A thread that runs one piece of work after the other, each in a transaction."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        self._path = path
        self._begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writes" if writes else "store-reads")
        self._database: Database | None = None
        self._identity: tuple[int, int] | None = None
        self._closed = False

    async def run(self, work: Callable[[Database], T]) -> T:
        """Return what `work` returns; what it raises undoes what it wrote."""
        if self._closed:
            raise StoreUnavailable(f"the store {self._path} is closed: this process is shutting down")
        given_up = threading.Event()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(OPERATION_S):
                return await loop.run_in_executor(self._thread, self._transact, work, given_up)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreUnavailable(_complaint(self._path, error)) from error
        finally:
            given_up.set()

    async def close(self) -> None:
        """Close the connection after the work that is under way, and end the thread."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError, sqlite3.Error):
            async with asyncio.timeout(OPERATION_S):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    def _transact(self, work: Callable[[Database], T], given_up: threading.Event) -> T:
        try:
            database = self._connected()
            database.execute(self._begin)
            try:
                if given_up.is_set():
                    raise TimeoutError("its caller was told that it failed")
                result = work(database)
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            if not _is_busy(error):
                self._disconnect()
            raise
        return result

    def _connected(self) -> Database:
        if self._database is None or self._identity != _identity(self._path):
            self._disconnect()
            self._database = _open(self._path)
            self._identity = _identity(self._path)
        return self._database

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _open(path: Path) -> Database:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opening:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        _use_write_ahead_log(database)
        database.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")
        database.execute("PRAGMA synchronous = NORMAL")
        _make_tables(database)
    except BaseException:
        database.close()
        raise
    return database


def _use_write_ahead_log(database: Database) -> None:
    """Switch the file's mode, once for all. SQLite waits for some who are in the way and not for others."""
    pause_s = 0.02
    for _ in range(round(BUSY_S / pause_s)):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            time.sleep(pause_s)
    database.execute("PRAGMA journal_mode = WAL")


def _make_tables(database: Database) -> None:
    if _version(database) == SCHEMA_VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    version = _version(database)
    if version < SCHEMA_VERSION:
        for statement in chain.from_iterable(STEPS[version:]):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute("COMMIT")
    if version > SCHEMA_VERSION:
        raise ValueError(f"its schema has version {version}, this gateway knows {SCHEMA_VERSION}: upgrade it")


def _version(database: Database) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_busy(error: sqlite3.Error) -> bool:
    return _name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _name(error: BaseException) -> str:
    return getattr(error, "sqlite_errorname", "")


def _complaint(path: Path, error: BaseException) -> str:
    """Say which file, what is wrong with it, and what to do."""
    if isinstance(error, TimeoutError):
        return (
            f"the store {path} did not answer within {OPERATION_S} s; its disk or this machine is overloaded"
        )
    if isinstance(error, sqlite3.Error) and _is_busy(error):
        return f"the store {path} is locked by another process; if that lasts, find it with `fuser {path}`"
    if _name(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"the store {path} is damaged ({error}); move it away, and a new one takes its place"
    return f"the store {path} cannot be used ({error}); check that the path is writable and its disk not full"
