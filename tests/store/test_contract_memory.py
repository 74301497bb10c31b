"""What every store promises about pins, enrolments and notes."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import Arm, Pin
from gateway.store.ports import Enrolment, PinWrite, Recall, Recollection, Store
from tests.support.stores import Bench, RealBench, SqliteBench, event, state

CANDIDATE = Pin(Arm.candidate, 3, "2026-01|rules")
CONTROL = Pin(Arm.control, 0, "v1")

QUERY = Recall("m", 1, pin_keys=("session", "conversation"), unit_key="ann")


def pinned(key: str, pin: Pin = CANDIDATE, *, ttl_s: int = 3600, migration: str = "m") -> PinWrite:
    return PinWrite(migration, key, pin, ttl_s)


def enrolled(unit: str, arm: Arm, *, run: int = 1, migration: str = "m") -> Enrolment:
    return Enrolment(migration, run, unit, arm)


# --- pins ---------------------------------------------------------------------------------------------------


async def test_nothing_is_known_of_a_conversation_never_seen(bench: Bench) -> None:
    store = await bench.open()
    assert await store.recall(QUERY) == Recollection()


async def test_a_pin_is_known_to_every_store(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    await writer.remember([pinned("conversation")])
    assert await reader.recall(QUERY) == Recollection(pin=CANDIDATE)


async def test_the_first_pin_found_wins_in_the_order_asked(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([pinned("conversation", CANDIDATE), pinned("session", CONTROL)])
    assert (await store.recall(QUERY)).pin == CONTROL
    assert (await store.recall(replace(QUERY, pin_keys=("conversation", "session")))).pin == CANDIDATE
    assert (await store.recall(replace(QUERY, pin_keys=("unknown", "conversation")))).pin == CANDIDATE


async def test_pins_of_another_migration_do_not_bind(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([pinned("session", migration="other")])
    assert (await store.recall(QUERY)).pin is None


async def test_a_pin_ends_with_its_ttl_and_not_before(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([pinned("session", ttl_s=3600)])
    bench.pass_time(3500)
    assert (await store.recall(QUERY)).pin == CANDIDATE
    bench.pass_time(101)
    assert (await store.recall(QUERY)).pin is None


async def test_writing_a_pin_again_refreshes_it(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([pinned("session", ttl_s=3600)])
    bench.pass_time(3500)
    await store.remember([pinned("session", ttl_s=3600)])
    bench.pass_time(3500)
    assert (await store.recall(QUERY)).pin == CANDIDATE


async def test_an_ended_pin_gives_way_to_the_next_key(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([pinned("session", CONTROL, ttl_s=60), pinned("conversation", CANDIDATE)])
    bench.pass_time(61)
    assert (await store.recall(QUERY)).pin == CANDIDATE


async def test_later_pins_of_a_batch_win(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([pinned("session", CONTROL), pinned("session", CANDIDATE)])
    assert (await store.recall(QUERY)).pin == CANDIDATE


# --- enrolments ---------------------------------------------------------------------------------------------


async def test_a_unit_without_a_record_is_in_no_arm(bench: Bench) -> None:
    store = await bench.open()
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 0}


@pytest.mark.parametrize("arm", Arm)
async def test_a_record_is_known_to_every_store(bench: Bench, arm: Arm) -> None:
    writer, reader = await bench.open(), await bench.open()
    await writer.remember([enrolled("ann", arm)])
    assert await reader.recall(QUERY) == Recollection(record=arm)
    assert await reader.recall(replace(QUERY, unit_key="bob")) == Recollection()


async def test_a_pin_and_a_record_are_recalled_together(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([pinned("session"), enrolled("ann", Arm.control)])
    assert await store.recall(QUERY) == Recollection(CANDIDATE, Arm.control)
    assert await store.recall(replace(QUERY, unit_key=None)) == Recollection(CANDIDATE, None)
    assert await store.recall(replace(QUERY, pin_keys=())) == Recollection(None, Arm.control)
    assert await store.recall(Recall("m", 1, (), None)) == Recollection()


async def test_records_belong_to_one_run_of_one_migration(bench: Bench) -> None:
    store = await bench.open()
    await store.remember(
        [enrolled("ann", Arm.candidate, run=1), enrolled("ann", Arm.control, migration="other")]
    )
    assert (await store.recall(replace(QUERY, run=2))).record is None
    assert (await store.recall(QUERY)).record is Arm.candidate
    assert await store.enrolled("m", 2) == {Arm.control: 0, Arm.candidate: 0}


async def test_enrolling_again_changes_nothing(bench: Bench) -> None:
    store = await bench.open()
    for _ in range(3):
        await store.remember([enrolled("ann", Arm.candidate), enrolled("ann", Arm.candidate)])
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 1}


async def test_a_unit_that_moves_is_counted_once(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([enrolled("ann", Arm.control)])
    await store.remember([enrolled("ann", Arm.candidate)])
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 1}
    assert (await store.recall(QUERY)).record is Arm.candidate
    await store.remember([enrolled("ann", Arm.candidate), enrolled("ann", Arm.control)])
    assert await store.enrolled("m", 1) == {Arm.control: 1, Arm.candidate: 0}


async def test_enrolments_are_counted_exactly_however_they_arrive(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    units = [f"unit-{n}" for n in range(1000)]
    batches = [units[start : start + 50] for start in range(0, 1000, 50)]
    await asyncio.gather(
        *(
            stores[turn % 4].remember(
                [enrolled(unit, Arm.candidate if int(unit[5:]) % 4 == 0 else Arm.control)]
            )
            for turn, unit in enumerate(units[:100])
        ),
        *(
            stores[turn % 4].remember(
                [enrolled(unit, Arm.candidate if int(unit[5:]) % 4 == 0 else Arm.control) for unit in batch]
            )
            for turn, batch in enumerate(batches)
        ),
    )
    assert await stores[0].enrolled("m", 1) == {Arm.control: 750, Arm.candidate: 250}


async def test_a_unit_enrolled_in_both_arms_at_once_ends_up_in_one(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    await asyncio.gather(
        *(
            stores[n % 4].remember([enrolled(f"unit-{unit}", arm) for unit in range(50)])
            for n in range(8)
            for arm in Arm
        )
    )
    assert sum((await stores[0].enrolled("m", 1)).values()) == 50
    records = [(await stores[1].recall(replace(QUERY, unit_key=f"unit-{unit}"))).record for unit in range(50)]
    assert None not in records


async def test_an_old_run_is_still_counted_after_the_next_has_begun(bench: Bench) -> None:
    store = await bench.open()
    await begin_a_second_run(store)
    bench.pass_time(29 * 86_400)
    assert (await store.enrolled("m", 1))[Arm.candidate] == 1
    assert (await store.enrolled("m", 2))[Arm.candidate] == 1


async def test_an_old_run_is_removed_after_a_month(shared: RealBench) -> None:
    store = await shared.open()
    await begin_a_second_run(store)
    shared.pass_time(31 * 86_400)
    await store.remember([enrolled("cyd", Arm.candidate, run=2)])
    assert (await store.enrolled("m", 1))[Arm.candidate] == 0
    assert (await store.enrolled("m", 2))[Arm.candidate] == 2


async def begin_a_second_run(store: Store) -> None:
    first = await store.commit(state(run=1), event(), expected=(0, 0))
    await store.remember([enrolled("ann", Arm.candidate)])
    await store.commit(replace(first, run=2), event("restart"), expected=first.order)
    await store.remember([enrolled("bob", Arm.candidate, run=2)])


async def test_an_empty_batch_is_nothing(bench: Bench) -> None:
    store = await bench.open()
    await store.remember([])
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 0}


# --- notes --------------------------------------------------------------------------------------------------


async def test_notes_are_known_to_every_store_and_come_back_as_they_were(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    notes = {"a": b"\x00sealed\xff", "b": b"", "c": b"x" * 300_000}
    await writer.write_notes("m", notes, 60)
    assert await reader.read_notes("m", ["c", "nobody's", "a", "b"]) == notes
    assert await reader.read_notes("m", ["a"]) == {"a": notes["a"]}


async def test_of_no_keys_nothing_is_known_and_nothing_is_written(bench: Bench) -> None:
    store = await bench.open()
    await store.write_notes("m", {}, 60)
    assert await store.read_notes("m", []) == {}


async def test_notes_belong_to_one_migration(bench: Bench) -> None:
    store = await bench.open()
    await store.write_notes("m", {"a": b"one"}, 60)
    await store.write_notes("other", {"a": b"two"}, 60)
    assert await store.read_notes("m", ["a"]) == {"a": b"one"}
    assert await store.read_notes("other", ["a"]) == {"a": b"two"}


async def test_a_note_ends_with_its_ttl_and_a_new_one_takes_its_place_and_time(bench: Bench) -> None:
    store = await bench.open()
    await store.write_notes("m", {"a": b"first", "b": b"first"}, 3600)
    bench.pass_time(3500)
    await store.write_notes("m", {"a": b"second"}, 3600)
    bench.pass_time(101)
    assert await store.read_notes("m", ["a", "b"]) == {"a": b"second"}


async def test_as_many_notes_as_a_long_conversation_has_are_read_at_once(bench: Bench) -> None:
    store = await bench.open()
    notes = {f"key-{number}": b"%d" % number for number in range(1203)}
    await store.write_notes("m", notes, 60)
    assert await store.read_notes("m", [*notes, "nobody's"]) == notes


async def test_notes_that_have_ended_leave_the_file(tmp_path: Path) -> None:
    async with SqliteBench(tmp_path) as bench:
        store = await bench.open()
        await store.write_notes("m", {"a": b"old"}, 60)
        bench.pass_time(3600)
        await store.write_notes("m", {"b": b"new"}, 60)
        with closing(sqlite3.connect(bench.path)) as database:
            assert database.execute("SELECT key FROM notes").fetchall() == [("b",)]
