"""The file of the SQLite store: who may read it, and what happens when it is locked, damaged or gone."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import Arm, Pin
from gateway.errors import StoreUnavailable
from gateway.store.backends.sqlite_file import SCHEMA_VERSION, Lane
from gateway.store.ports import Enrolment, PinWrite, Recall
from tests.support.stores import SqliteBench, event, state

BOUND_S = 2.0


@pytest.fixture
async def bench(tmp_path: Path) -> SqliteBench:
    return SqliteBench(tmp_path)


@contextmanager
def by_hand(bench: SqliteBench) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as database:
        yield database


async def test_only_the_owner_can_read_what_is_stored(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        await store.commit(state(), event(), expected=(0, 0))
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in bench.directory.iterdir()}
    assert modes == dict.fromkeys(["gateway.db", "gateway.db-wal", "gateway.db-shm"], "0o600")


async def test_a_write_that_another_process_holds_up_is_refused_while_reads_go_on(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        first = await store.commit(state(), event(), expected=(0, 0))
        with by_hand(bench) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(BOUND_S):
                write = asyncio.create_task(store.commit(first, event("late"), expected=first.order))
                assert await store.load() == {"m": first}
                assert not write.done()
                with pytest.raises(StoreUnavailable, match=r"locked by another process.*fuser"):
                    await write
            other.execute("ROLLBACK")
        assert (await store.commit(first, event("again"), expected=first.order)).version == 2
        assert [e.verb for e in await store.events("m")] == ["start", "again"]


async def test_writers_that_queue_behind_a_lock_are_refused_in_time_together(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        with by_hand(bench) as other:
            other.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(BOUND_S):
                results = await asyncio.gather(
                    *(store.next_epoch() for _ in range(10)), return_exceptions=True
                )
            assert {type(result) for result in results} == {StoreUnavailable}
            other.execute("ROLLBACK")
        assert await store.next_epoch() == 1


async def test_a_damaged_file_is_named_and_a_new_one_takes_its_place_once_it_is_moved_away(
    bench: SqliteBench,
) -> None:
    async with bench:
        bench.directory.mkdir()
        bench.path.write_bytes(b"this was a database once" * 200)
        store = await bench.open()
        with pytest.raises(StoreUnavailable, match=r"gateway\.db is damaged .*move it away"):
            await store.load()
        bench.path.rename(bench.path.with_suffix(".damaged"))
        assert (await store.commit(state(), event(), expected=(0, 0))).version == 1


async def test_a_file_of_a_newer_gateway_is_left_alone(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        await store.commit(state(), event(), expected=(0, 0))
        await store.close()
        with by_hand(bench) as database:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with pytest.raises(StoreUnavailable, match="upgrade"):
            await (await bench.open()).load()
        with by_hand(bench) as database:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        assert (await (await bench.open()).load())["m"].version == 1


async def test_processes_meet_in_the_file_that_is_there_now(bench: SqliteBench) -> None:
    async with bench:
        one, two = await bench.open(), await bench.open()
        await one.commit(state("old"), event(), expected=(0, 0))
        bench.empty()
        await two.commit(state("new"), event(), expected=(0, 0))
        assert set(await one.load()) == {"new"}


async def test_a_file_that_took_the_place_of_another_is_news(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        bench.empty()
        async with asyncio.timeout(5):
            await store.changed(60)


async def test_fields_of_a_newer_gateway_are_passed_over(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        known = await store.commit(state(), event(), expected=(0, 0))
        with by_hand(bench) as database:
            database.execute("UPDATE migrations SET doc = CAST(json_set(doc, '$.novelty', 1) AS BLOB)")
            database.execute("UPDATE events SET doc = CAST(json_set(doc, '$.novelty', 1) AS BLOB)")
        assert await store.load() == {"m": known}
        assert await store.events("m") == [event(seq=1)]


async def test_a_state_that_cannot_be_read_is_a_failure_of_the_store(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        await store.commit(state(), event(), expected=(0, 0))
        with by_hand(bench) as database:
            database.execute("""UPDATE migrations SET doc = '{"name": 7}'""")
        with pytest.raises(StoreUnavailable):
            await store.load()


async def test_what_has_ended_is_removed_from_the_file_by_and_by(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        first = await store.commit(state(run=1), event(), expected=(0, 0))
        pin = Pin(Arm.control, 1, "v1")
        await store.remember([PinWrite("m", f"k{n}", pin, 60) for n in range(30)])
        await store.remember([Enrolment("m", 1, f"u{n}", Arm.control) for n in range(30)])
        await store.claim("m", 1, "a", [("error", f"u{n}") for n in range(30)])
        await store.put_counts("m", "a", {"ok": 1}, 30)
        await store.put_tally("m", "1", "a", {"ok": 1})
        await store.commit(replace(first, run=2), event(), expected=first.order)
        bench.pass_time(91 * 86_400)
        await store.remember([PinWrite("m", "fresh", pin, 60), Enrolment("m", 2, "ann", Arm.control)])
        with by_hand(bench) as database:
            left = dict(
                database.execute("""
                    SELECT 'pins', count(*) FROM pins
                    UNION SELECT 'enrolments', count(*) FROM enrolments
                    UNION SELECT 'claims', count(*) FROM claims
                    UNION SELECT 'counts', count(*) FROM counts
                    UNION SELECT 'tallies', count(*) FROM tallies
                    UNION SELECT 'scopes', count(*) FROM scopes""").fetchall()
            )
        assert left == {"pins": 1, "enrolments": 1, "claims": 0, "counts": 0, "tallies": 0, "scopes": 0}
        assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 0}


async def test_work_that_fails_undoes_what_it_wrote(bench: SqliteBench) -> None:
    lane = Lane(bench.path, writes=True)

    def work(database: sqlite3.Connection) -> None:
        database.execute("INSERT INTO meta VALUES ('half', 1)")
        raise LookupError("on the way")

    with pytest.raises(LookupError):
        await lane.run(work)
    rows = await lane.run(
        lambda database: database.execute("SELECT * FROM meta WHERE key = 'half'").fetchall()
    )
    await lane.close()
    assert rows == []


async def test_a_look_up_does_not_wait_for_a_long_write(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        await store.remember([Enrolment("m", 1, "ann", Arm.candidate)])
        batch = [Enrolment("m", 1, f"u{n}", Arm.control) for n in range(20_000)]
        writing = asyncio.create_task(store.remember(batch))
        await asyncio.sleep(0)
        assert (await store.recall(Recall("m", 1, (), "ann"))).record is Arm.candidate
        assert not writing.done()
        await writing


async def test_a_file_of_an_older_schema_is_brought_up_and_keeps_what_it_has(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        first = await store.commit(state(), event(), expected=(0, 0))
        await store.remember([Enrolment("m", 1, unit, Arm.control) for unit in ("ann", "bob")])
        with by_hand(bench) as database:
            for trigger in ("unit_replaced", "unit_enrolled", "unit_forgotten"):
                database.execute(f"DROP TRIGGER {trigger}")
            for table in ("notes", "scopes", "tallies", "claims", "documents", "enrolled"):
                database.execute(f"DROP TABLE {table}")
            database.execute("PRAGMA user_version = 1")
        newer = await bench.open()
        await newer.write_notes("m", {"a": b"sealed"}, 60)
        assert await newer.read_notes("m", ["a"]) == {"a": b"sealed"}
        assert await newer.load() == {"m": first}
        await newer.remember([Enrolment("m", 1, "cy", Arm.control), Enrolment("m", 1, "bob", Arm.candidate)])
        assert await newer.enrolled("m", 1) == {Arm.control: 2, Arm.candidate: 1}
        await newer.put_document("m", "evidence", b"{}", epoch=1)
        assert await newer.document("m", "evidence") == b"{}"


async def test_what_a_process_of_an_older_gateway_enrols_meanwhile_is_counted_too(bench: SqliteBench) -> None:
    async with bench:
        store = await bench.open()
        await store.remember([Enrolment("m", 1, "ann", Arm.control)])
        with by_hand(bench) as database:
            for arm in ("control", "candidate", "candidate"):
                database.execute("INSERT OR REPLACE INTO enrolments VALUES ('m', 1, 'ann', ?)", (arm,))
        assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 1}
