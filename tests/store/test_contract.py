"""What every store promises about states, audit events, epochs and publications."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.spec import Lists, MigrationSpec, Stage
from gateway.core.types import MigrationState, Phase
from gateway.errors import StaleWrite
from gateway.store.ports import Store
from tests.support.stores import Bench, event, state

DEADLINE_S = 5.0
LONG_S = 60.0

SPEC = MigrationSpec(
    name="m",
    control="claude-opus-4-5-20251101",
    candidate="claude-opus-5-5",
    models=("claude-opus-4-5",),
    stages=(Stage("canary", 5.5, hold_s=60, min_units=7, max_regression=0.03), Stage("full", 100)),
    lists=Lists(allow_users=("ann",)),
)
RICH = MigrationState(
    "m",
    phase=Phase.paused,
    reason="user",
    stage_index=1,
    weight=5_500,
    run=3,
    epoch=0,
    spec=SPEC,
    lists=Lists(deny_users=("bob", "käthe")),
    stage_entered_at=1_800_000_000.25,
    updated_at=1_800_000_001.5,
    updated_by="ann",
    evicted_run=2,
    draining=True,
)


async def first_commit(store: Store, **changes: Any) -> MigrationState:
    return await store.commit(state(**changes), event(), expected=(0, 0))


async def woken(waiting: Awaitable[None]) -> bool:
    """Whether `changed` returned because of news and long before its own timeout."""
    async with asyncio.timeout(DEADLINE_S):
        await waiting
    return True


# --- compare and set ----------------------------------------------------------------------------------------


async def test_an_empty_store_knows_no_migrations_and_no_events(bench: Bench) -> None:
    store = await bench.open()
    assert await store.load() == {}
    assert await store.events("m") == []


async def test_a_state_comes_back_as_it_was_written_with_its_version(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    stored = await writer.commit(RICH, event(), expected=(0, 0))
    assert stored == replace(RICH, version=1)
    assert await reader.load() == {"m": stored}


async def test_migrations_are_kept_apart_and_loaded_together(bench: Bench) -> None:
    store = await bench.open()
    one, two = await first_commit(store, name="one"), await first_commit(store, name="two")
    one = await store.commit(one, event("pause"), expected=one.order)
    assert await store.load() == {"one": one, "two": two}
    assert [e.verb for e in await store.events("one")] == ["start", "pause"]
    assert [e.verb for e in await store.events("two")] == ["start"]


async def test_versions_count_writes(bench: Bench) -> None:
    store = await bench.open()
    first = await first_commit(store)
    second = await store.commit(replace(first, weight=20_000), event(), expected=first.order)
    third = await store.commit(replace(second, epoch=9), event(), expected=second.order)
    assert [s.order for s in (first, second, third)] == [(0, 1), (0, 2), (9, 3)]


async def test_a_write_that_read_an_older_version_is_refused_and_leaves_no_trace(bench: Bench) -> None:
    store = await bench.open()
    first = await first_commit(store)
    second = await store.commit(replace(first, weight=20_000), event(), expected=first.order)
    with pytest.raises(StaleWrite, match="version 2"):
        await store.commit(replace(first, weight=99_000), event("late"), expected=first.order)
    assert await store.load() == {"m": second}
    assert "late" not in [e.verb for e in await store.events("m")]


async def test_a_first_write_is_refused_where_something_is_stored(bench: Bench) -> None:
    store = await bench.open()
    first = await first_commit(store)
    with pytest.raises(StaleWrite):
        await store.commit(state(weight=1), event(), expected=(0, 0))
    assert await store.load() == {"m": first}


async def test_a_later_write_is_refused_where_nothing_is_stored(bench: Bench) -> None:
    store = await bench.open()
    with pytest.raises(StaleWrite):
        await store.commit(state(version=4, epoch=2), event(), expected=(2, 4))
    assert await store.load() == {}


async def test_a_writer_of_an_older_epoch_is_refused_even_if_it_read_the_latest_version(bench: Bench) -> None:
    store = await bench.open()
    first = await first_commit(store, epoch=5)
    with pytest.raises(StaleWrite, match="epoch 5"):
        await store.commit(replace(first, epoch=4), event(), expected=first.order)
    assert await store.load() == {"m": first}


async def test_of_many_writers_at_once_exactly_one_wins_each_round(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    last = await first_commit(stores[0])
    for _ in range(5):
        attempts = [
            stores[n % 4].commit(replace(last, weight=n), event(f"writer {n}"), expected=last.order)
            for n in range(12)
        ]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        (winner,) = [result for result in results if isinstance(result, MigrationState)]
        assert all(isinstance(result, StaleWrite) for result in results if result is not winner)
        assert await stores[0].load() == {"m": winner}
        assert (await stores[1].events("m"))[-1].verb == f"writer {winner.weight}"
        last = winner
    assert last.version == 6
    assert len(await stores[2].events("m")) == 6


async def test_of_many_first_writers_exactly_one_wins(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    attempts = [store.commit(state(weight=n), event(), expected=(0, 0)) for n, store in enumerate(stores)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, MigrationState)]
    assert await stores[0].load() == {"m": winner}
    assert len(await stores[0].events("m")) == 1


# --- restore ------------------------------------------------------------------------------------------------


async def test_a_lost_state_is_put_back_as_it_was_without_an_event(bench: Bench) -> None:
    store = await bench.open()
    known = replace(RICH, epoch=7, version=12)
    assert await store.restore(known) is True
    assert await store.load() == {"m": known}
    assert await store.events("m") == []


@pytest.mark.parametrize(("epoch", "version"), [(7, 12), (7, 11), (6, 99)])
async def test_a_state_that_is_not_newer_is_not_put_back(bench: Bench, epoch: int, version: int) -> None:
    store = await bench.open()
    known = replace(RICH, epoch=7, version=12)
    await store.restore(known)
    assert await store.restore(replace(RICH, epoch=epoch, version=version, weight=1)) is False
    assert await store.load() == {"m": known}


@pytest.mark.parametrize(("epoch", "version"), [(7, 13), (8, 1)])
async def test_a_newer_state_is_put_back_over_an_older_one(bench: Bench, epoch: int, version: int) -> None:
    store = await bench.open()
    await store.restore(replace(RICH, epoch=7, version=12))
    newer = replace(RICH, epoch=epoch, version=version)
    assert await store.restore(newer) is True
    assert await store.load() == {"m": newer}


async def test_writes_go_on_from_a_state_that_was_put_back(bench: Bench) -> None:
    store = await bench.open()
    known = replace(RICH, epoch=7, version=12)
    await store.restore(known)
    assert (await store.commit(known, event(), expected=(7, 12))).order == (7, 13)


async def test_of_many_who_put_the_same_state_back_one_does(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    known = replace(RICH, epoch=7, version=12)
    assert sorted(await asyncio.gather(*(store.restore(known) for store in stores))) == [
        False,
        False,
        False,
        True,
    ]


# --- audit --------------------------------------------------------------------------------------------------


async def test_events_come_back_whole_in_order_and_numbered(bench: Bench) -> None:
    store = await bench.open()
    full = event(
        "advance", evidence={"ratio": 1.25, "n": [1, 2], "note": "ünï"}, before={}, after={"a": {"b": None}}
    )
    first = await store.commit(state(), event(), expected=(0, 0))
    await store.append("m", full)
    await store.commit(first, event("pause"), expected=first.order)
    assert await store.events("m") == [event(seq=1), replace(full, seq=2), event("pause", seq=3)]


async def test_events_are_read_from_where_a_reader_stopped(bench: Bench) -> None:
    store = await bench.open()
    for n in range(5):
        await store.append("m", event(f"v{n}"))
    assert [(e.seq, e.verb) for e in await store.events("m", since=3)] == [(4, "v3"), (5, "v4")]
    assert await store.events("m", since=5) == []
    assert await store.events("m", since=50) == []
    assert len(await store.events("m", since=-1)) == 5


async def test_concurrent_appends_lose_nothing_and_share_no_number(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(3)]
    await asyncio.gather(*(stores[n % 3].append("m", event(f"v{n}")) for n in range(30)))
    events = await stores[0].events("m")
    assert [e.seq for e in events] == list(range(1, 31))
    assert {e.verb for e in events} == {f"v{n}" for n in range(30)}


async def test_an_appended_event_makes_no_migration(bench: Bench) -> None:
    store = await bench.open()
    await store.append("m", event())
    assert await store.load() == {}


# --- epochs -------------------------------------------------------------------------------------------------


async def test_epochs_rise_whoever_asks(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(3)]
    taken = await asyncio.gather(*(stores[n % 3].next_epoch() for n in range(30)))
    assert len(set(taken)) == 30
    assert min(taken) >= 1
    assert await stores[0].next_epoch() > max(taken)


async def test_a_raised_epoch_is_never_undercut_and_never_lowered(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.raise_epoch(40)
    assert await other.next_epoch() == 41
    await store.raise_epoch(10)
    assert await other.next_epoch() == 42


async def test_no_epoch_is_given_twice_after_a_state_was_put_back(bench: Bench) -> None:
    store = await bench.open()
    await store.restore(state(epoch=7, version=12))
    assert await store.next_epoch() > 7


# --- publication --------------------------------------------------------------------------------------------


async def test_a_commit_wakes_those_who_wait_on_another_store(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    waiting = asyncio.create_task(reader.changed(LONG_S))
    await asyncio.sleep(0)
    await first_commit(writer)
    assert await woken(waiting)


async def test_a_state_that_is_put_back_wakes_them_too(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    await writer.restore(state(epoch=1, version=1))
    assert await woken(reader.changed(LONG_S))


async def test_what_is_published_between_two_waits_is_not_missed(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    first = await first_commit(writer)
    assert await woken(reader.changed(LONG_S))
    await writer.commit(first, event(), expected=first.order)
    assert await woken(reader.changed(LONG_S))


async def test_all_who_wait_on_one_store_are_woken(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    waiting = [asyncio.create_task(reader.changed(LONG_S)) for _ in range(3)]
    await asyncio.sleep(0)
    await first_commit(writer)
    for one in waiting:
        assert await woken(one)


async def test_waiting_ends_by_itself_where_no_state_is_written(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = asyncio.create_task(reader.changed(0.3))
    await writer.append("m", event())
    await writer.put_counts("m", "a", {"n": 1}, 30)
    await asyncio.wait_for(waiting, DEADLINE_S)
    assert loop.time() - began >= 0.29


async def test_waiting_can_be_cancelled_at_once(bench: Bench) -> None:
    reader = await bench.open()
    waiting = asyncio.create_task(reader.changed(LONG_S))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await first_commit(reader)
    assert await woken(reader.changed(LONG_S))
