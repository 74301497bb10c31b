"""What is particular to the Redis store: its keys, its round trips, and answers that get lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.core.types import Arm, Pin
from gateway.errors import StaleWrite, StoreUnavailable
from gateway.store.backends import keys
from gateway.store.backends.factory import make_store
from gateway.store.ports import OLD_RUN_KEPT_S, Enrolment, PinWrite, Recall, ReplicaReport, Store
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay
from tests.support.stores import RedisBench, event, state

PIN = Pin(Arm.candidate, 1, "v1")


@pytest.fixture
async def relay(redis: RedisServer) -> AsyncIterator[Relay]:
    async with Relay(redis.port) as relay:
        yield relay


@pytest.fixture
async def store(redis: RedisServer, relay: Relay) -> AsyncIterator[Store]:
    """A store whose bytes pass through the relay."""
    store = make_store(f"redis://127.0.0.1:{relay.port}/0", clock=RedisBench(redis).clock)
    await store.open()
    yield store
    await store.close()


async def use_everything(store: Store) -> None:
    first = await store.commit(state(), event(), expected=(0, 0))
    await store.remember([PinWrite("m", "k", PIN, 60), Enrolment("m", 1, "ann", Arm.candidate)])
    await store.remember([Enrolment("m", 1, "bob", Arm.control)])
    await store.claim("m", 1, "a", [("error", "ann")])
    await store.put_tally("m", "1", "a", {"ok": 1})
    await store.put_document("m", "evidence", b"{}", epoch=1)
    await store.commit(replace(first, run=2), event(), expected=first.order)
    await store.restore(state("lost", epoch=1, version=1))
    await store.append("m", event())
    await store.recall(Recall("m", 1, ("k",), "ann"))
    await store.report(ReplicaReport("a", 1.0))
    await store.acquire_lease("a", 15)
    await store.renew_lease("a", 15)
    await store.put_counts("m", "a", {"ok": 1}, 30)
    await store.secret()
    for ask in (store.load, store.replicas, store.next_epoch):
        await ask()
    await store.raise_epoch(50)
    await store.events("m")
    await store.enrolled("m", 1)
    await store.counts("m")
    await store.tallies("m", "1")
    await store.document("m", "evidence")
    await store.documents("m", "e")


async def test_whatever_is_kept_for_a_while_has_an_end_on_the_server(
    store: Store, redis: RedisServer
) -> None:
    await use_everything(store)
    with redis.client() as client:
        ends = {key.decode() for key in client.scan_iter("*") if client.pttl(key) > 0}
    assert ends == {
        keys.pin("m", "k"),
        keys.enrolled("m", 1, Arm.candidate),
        keys.enrolled("m", 1, Arm.control),
        keys.replica("a"),
        keys.claims("m", 1),
        keys.tally("m", "1"),
        keys.counts("m", "a"),
        keys.LEASE,
    }


async def test_claims_end_with_their_run_and_not_before(store: Store, redis: RedisServer) -> None:
    first = await store.commit(state(run=1), event(), expected=(0, 0))
    await store.claim("m", 1, "a", [("error", "ann")])
    with redis.client() as client:
        assert client.ttl(keys.claims("m", 1)) > OLD_RUN_KEPT_S
        await store.commit(replace(first, run=2), event(), expected=first.order)
        assert 0 < client.ttl(keys.claims("m", 1)) <= OLD_RUN_KEPT_S


async def test_a_document_that_somebody_writes_meanwhile_is_compared_again(
    store: Store, redis: RedisServer
) -> None:
    async with RedisBench(redis) as bench:
        others = [store, *[await bench.open() for _ in range(3)]]
        writes = (one.put_document("m", "d", b"%d" % n, epoch=n) for n, one in enumerate(others, start=1))
        results = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(result) for result in results} <= {type(None), StaleWrite}
    assert await store.document("m", "d") == b"4"


async def test_claiming_takes_one_round_trip(store: Store, relay: Relay) -> None:
    await store.load()
    before = len(relay.received)
    await store.claim("m", 1, "a", [("error", "ann"), ("refused", "ann"), ("error", "bob")])
    assert len(relay.received) == before + 1


async def test_a_claim_whose_answer_was_lost_is_still_ones_own(store: Store, relay: Relay) -> None:
    relay.lose_answer_to = b"EXEC"
    with pytest.raises(StoreUnavailable):
        await store.claim("m", 1, "a", [("error", "ann")])
    assert await store.claim("m", 1, "b", [("error", "ann")]) == [False]
    assert await store.claim("m", 1, "a", [("error", "ann")]) == [True]


async def test_no_scripts_run_and_no_command_fails(store: Store, redis: RedisServer) -> None:
    await use_everything(store)
    with redis.client() as client:
        used = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        failed = client.info("errorstats")
    assert {"multi", "exec", "watch"} <= used
    assert not [name for name in used if name.startswith(("eval", "script", "fcall", "function"))]
    assert failed == {}


async def test_recalling_and_remembering_take_one_round_trip_each(store: Store, relay: Relay) -> None:
    await store.recall(Recall("m", 1, ("k",), "ann"))
    before = len(relay.received)
    await store.remember(
        [
            PinWrite("m", "k", PIN, 60),
            Enrolment("m", 1, "ann", Arm.candidate),
            Enrolment("other", 1, "ann", Arm.control),
        ]
    )
    assert len(relay.received) == before + 1
    known = await store.recall(Recall("m", 1, ("no", "k"), "ann"))
    assert len(relay.received) == before + 2
    assert (known.pin, known.record) == (PIN, Arm.candidate)


async def test_a_commit_whose_answer_was_lost_is_recognised_and_not_repeated(
    store: Store, relay: Relay
) -> None:
    first = await store.commit(state(), event(), expected=(0, 0))
    relay.lose_answer_to = b"EXEC"
    second = await store.commit(replace(first, weight=7), event("second"), expected=first.order)
    assert not relay.lose_answer_to
    assert second.version == 2
    assert await store.load() == {"m": second}
    assert [e.verb for e in await store.events("m")] == ["start", "second"]


async def test_two_who_write_the_same_do_not_take_each_others_write_for_their_own(
    store: Store, redis: RedisServer
) -> None:
    async with RedisBench(redis) as bench:
        stores = [store, await bench.open(), await bench.open()]
        results = await asyncio.gather(
            *(one.commit(state(), event(), expected=(0, 0)) for one in stores), return_exceptions=True
        )
    assert sum(isinstance(result, Exception) for result in results) == 2
    assert len(await store.events("m")) == 1


async def test_idle_connections_that_were_cut_cost_no_caller_an_error(redis: RedisServer) -> None:
    async with RedisBench(redis) as bench:
        store = await bench.open()
        await asyncio.gather(*(store.load() for _ in range(10)))
        with redis.client() as client:
            assert client.client_kill_filter(_type="normal", skipme=True) == 10
        for _ in range(5):
            await asyncio.sleep(0)
        assert await asyncio.gather(*(store.load() for _ in range(10))) == [{}] * 10


async def test_a_full_server_refuses_writes_and_goes_on_answering(store: Store, redis: RedisServer) -> None:
    first = await store.commit(state(), event(), expected=(0, 0))
    with redis.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await store.commit(first, event(), expected=first.order)
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await store.remember([Enrolment("m", 1, "ann", Arm.control)])
        assert await store.load() == {"m": first}
        client.config_set("maxmemory", "0")
    assert (await store.commit(first, event(), expected=first.order)).version == 2


async def test_a_key_of_another_kind_is_a_failure_of_the_store(store: Store, redis: RedisServer) -> None:
    with redis.client() as client:
        client.set(keys.enrolled("m", 1, Arm.control), "not a set")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.remember([Enrolment("m", 1, "ann", Arm.control)])


async def test_fields_of_a_newer_gateway_are_passed_over(store: Store, redis: RedisServer) -> None:
    known = await store.commit(state(), event(), expected=(0, 0))
    with redis.client() as client:
        docs = [client.hget(keys.state("m"), "doc"), client.lindex(keys.events("m"), 0)]
        newer = ['{"novelty":1,' + doc.decode()[1:] for doc in docs if isinstance(doc, bytes)]
        client.hset(keys.state("m"), "doc", newer[0])
        client.lset(keys.events("m"), 0, newer[1])
    assert await store.load() == {"m": known}
    assert await store.events("m") == [event(seq=1)]


async def test_a_state_that_cannot_be_read_is_a_failure_of_the_store(
    store: Store, redis: RedisServer
) -> None:
    await store.commit(state(), event(), expected=(0, 0))
    with redis.client() as client:
        client.hset(keys.state("m"), "doc", b'{"name":7}')
    with pytest.raises(StoreUnavailable):
        await store.load()


async def test_a_process_that_is_gone_leaves_the_index_after_a_day(store: Store, redis: RedisServer) -> None:
    bench = RedisBench(redis)
    await store.report(ReplicaReport("old", 1.0))
    with redis.client() as client:
        client.zadd(keys.REPLICAS, {"ancient": bench.clock.now() - 100_000})
        await store.report(ReplicaReport("new", 1.0))
        assert client.zrange(keys.REPLICAS, 0, -1) == [b"new", b"old"]
