"""A store that is away: every call says so in time, nothing else escapes, and all is well when it is back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import pytest

from gateway.core.types import Arm, Pin
from gateway.errors import StoreUnavailable
from gateway.store.ports import Enrolment, PinWrite, Recall, Recollection, ReplicaReport, Store
from tests.support.redis_server import RedisServer
from tests.support.stores import RealBench, RedisBench, event, state

BOUND_S = 2.0
DEADLINE_S = 10.0

PIN = Pin(Arm.candidate, 1, "v1")
PINNED = PinWrite("m", "session", PIN, 60)
QUERY = Recall("m", 1, ("session",), "ann")

CALLS: Mapping[str, Callable[[Store], Awaitable[object]]] = {
    "load": lambda store: store.load(),
    "commit": lambda store: store.commit(state("new"), event(), expected=(0, 0)),
    "restore": lambda store: store.restore(state("lost", epoch=1, version=1)),
    "events": lambda store: store.events("m"),
    "append": lambda store: store.append("m", event()),
    "next_epoch": lambda store: store.next_epoch(),
    "raise_epoch": lambda store: store.raise_epoch(100),
    "recall": lambda store: store.recall(QUERY),
    "remember": lambda store: store.remember([PINNED, Enrolment("m", 1, "ann", Arm.candidate)]),
    "enrolled": lambda store: store.enrolled("m", 1),
    "read_notes": lambda store: store.read_notes("m", ["a"]),
    "write_notes": lambda store: store.write_notes("m", {"a": b"sealed"}, 60),
    "report": lambda store: store.report(ReplicaReport("a", 1.0)),
    "replicas": lambda store: store.replicas(),
    "deregister": lambda store: store.deregister("a"),
    "acquire_lease": lambda store: store.acquire_lease("a", 15),
    "renew_lease": lambda store: store.renew_lease("a", 15),
    "release_lease": lambda store: store.release_lease("a"),
    "put_counts": lambda store: store.put_counts("m", "a", {"ok": 1}, 30),
    "counts": lambda store: store.counts("m"),
    "put_tally": lambda store: store.put_tally("m", "1", "a", {"ok": 1}),
    "tallies": lambda store: store.tallies("m", "1"),
    "claim": lambda store: store.claim("m", 1, "a", [("error", "ann")]),
    "put_document": lambda store: store.put_document("m", "evidence", b"{}", epoch=1),
    "document": lambda store: store.document("m", "evidence"),
    "documents": lambda store: store.documents("m", "e"),
    "secret": lambda store: store.secret(),
}  # fmt: skip


def test_every_method_of_the_ports_is_called_here() -> None:
    methods = {name for name in dir(Store) if not name.startswith("_")}
    assert methods - set(CALLS) == {"open", "close", "changed"}


async def refusals(store: Store) -> dict[str, str]:
    """Call everything at once; return who was refused, and how, and fail if anybody had to wait too long."""
    async with asyncio.timeout(BOUND_S):
        results = await asyncio.gather(*(call(store) for call in CALLS.values()), return_exceptions=True)
    refused = dict(zip(CALLS, results, strict=True))
    assert {name: type(result) for name, result in refused.items()} == dict.fromkeys(CALLS, StoreUnavailable)
    return {name: str(result) for name, result in refused.items()}


async def _answers(store: Store) -> bool:
    try:
        return await store.recall(QUERY) == Recollection()
    except StoreUnavailable:
        return False


async def works(store: Store) -> None:
    """Show that a store is of use."""
    stored = await store.load()
    before = stored.get("back")
    after = await store.commit(before or state("back"), event(), expected=before.order if before else (0, 0))
    assert (await store.load())["back"] == after
    await store.remember([PinWrite("back", "session", PIN, 60), Enrolment("back", 1, "ann", Arm.candidate)])
    assert await store.recall(Recall("back", 1, ("session",), "ann")) == Recollection(PIN, Arm.candidate)
    await store.report(ReplicaReport("a", 1.0))
    assert "a" in [report.id for report in await store.replicas()]
    assert len(await store.secret()) == 32


async def test_every_call_is_refused_in_time_and_works_again_later(fragile: RealBench) -> None:
    store = await fragile.open()
    await works(store)
    for _ in range(2):
        fragile.break_down()
        for _ in range(2):
            await refusals(store)
        fragile.mend()
        await works(store)


async def test_a_store_that_was_used_by_nobody_is_refused_alike(fragile: RealBench) -> None:
    store = await fragile.open()
    fragile.break_down()
    await refusals(store)
    fragile.mend()
    await works(store)


async def test_a_start_without_the_store_succeeds_and_says_so(
    fragile: RealBench, caplog: pytest.LogCaptureFixture
) -> None:
    await works(await fragile.open())
    fragile.break_down()
    with caplog.at_level(logging.WARNING):
        store = await fragile.open()
    assert [record.getMessage() for record in caplog.records] == ["the store is away at start"]
    await refusals(store)
    fragile.mend()
    await works(store)


async def test_a_refusal_says_where_the_store_is_and_what_to_do(fragile: RealBench) -> None:
    store = await fragile.open()
    fragile.break_down()
    where = fragile.url.removeprefix("sqlite:///")
    for message in (await refusals(store)).values():
        assert where in message
        assert "check" in message
    fragile.mend()


async def test_waiting_for_changes_outlives_an_outage_and_wakes_when_the_store_is_back(
    fragile: RealBench,
) -> None:
    store = await fragile.open()
    fragile.break_down()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await store.changed(0.3)
    assert 0.29 <= loop.time() - began < BOUND_S
    waiting = asyncio.create_task(store.changed(60))
    await asyncio.sleep(0)
    fragile.mend()
    async with asyncio.timeout(DEADLINE_S):
        await waiting


async def test_publications_arrive_again_after_an_outage(fragile: RealBench) -> None:
    reader, writer = await fragile.open(), await fragile.open()
    fragile.break_down()
    await reader.changed(0.2)
    fragile.mend()
    async with asyncio.timeout(DEADLINE_S):
        await reader.changed(60)
        await writer.commit(state(), event(), expected=(0, 0))
        await reader.changed(60)


async def test_a_closed_store_refuses_at_once(fragile: RealBench) -> None:
    store = await fragile.open()
    await store.close()
    assert all("closed" in message for message in (await refusals(store)).values())
    await store.changed(0.2)
    await store.close()


async def test_a_frozen_server_is_refused_in_time_and_forgiven(redis: RedisServer) -> None:
    async with RedisBench(redis) as bench:
        store = await bench.open()
        await works(store)
        redis.freeze()
        await refusals(store)
        began = asyncio.get_running_loop().time()
        await store.changed(0.2)
        assert asyncio.get_running_loop().time() - began < BOUND_S
        redis.thaw()
        await works(store)


async def test_a_frozen_server_does_not_hold_up_a_start_or_an_end(redis: RedisServer) -> None:
    async with RedisBench(redis) as bench:
        redis.freeze()
        async with asyncio.timeout(BOUND_S):
            store = await bench.open()
        async with asyncio.timeout(BOUND_S):
            await store.close()
        redis.thaw()


async def test_more_callers_than_connections_are_all_refused_in_time(redis: RedisServer) -> None:
    async with RedisBench(redis) as bench:
        store = await bench.open()
        redis.freeze()
        async with asyncio.timeout(BOUND_S):
            results = await asyncio.gather(*(store.recall(QUERY) for _ in range(200)), return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        redis.thaw()
        async with asyncio.timeout(BOUND_S):  # what was asked in vain still lies in the server's queue
            while not await _answers(store):
                pass
        assert await asyncio.gather(*(store.recall(QUERY) for _ in range(200))) == [Recollection()] * 200


async def test_a_caller_who_gives_up_leaves_the_store_usable(redis: RedisServer) -> None:
    async with RedisBench(redis) as bench:
        store = await bench.open()
        redis.freeze()
        for _ in range(3):
            waiting = [asyncio.ensure_future(call(store)) for call in (*CALLS.values(), *CALLS.values())]
            await asyncio.wait(waiting, timeout=0.02)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        redis.thaw()
        await works(store)
