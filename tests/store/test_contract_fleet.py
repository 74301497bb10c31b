"""What every store promises about replicas, the lease, counts and the secret."""

import asyncio
from dataclasses import replace

from gateway.core.types import Arm
from gateway.store.ports import Enrolment, ReplicaReport, Store
from tests.support.stores import Bench, state

REPORT = ReplicaReport(
    id="a",
    at=1_800_000_000.5,
    versions={"m": (3, 14), "other": (0, 1)},
    started_at=1_799_999_000.0,
    leader=True,
    in_flight=7,
    gateway_version="1.2.3",
    snapshot_age_s=0.25,
    candidate_sent_at={"m": 1_799_999_999.75},
)


async def ids(store: Store) -> list[str]:
    return [report.id for report in await store.replicas()]


# --- replicas -----------------------------------------------------------------------------------------------


async def test_a_heartbeat_comes_back_as_it_was_reported(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    await writer.report(REPORT)
    assert await reader.replicas() == [REPORT]


async def test_the_last_heartbeat_of_a_process_counts(bench: Bench) -> None:
    store = await bench.open()
    await store.report(REPORT)
    later = replace(REPORT, at=REPORT.at + 1, versions={"m": (4, 15)}, leader=False)
    await store.report(later)
    assert await store.replicas() == [later]


async def test_a_heartbeat_counts_for_a_minute(bench: Bench) -> None:
    store = await bench.open()
    await store.report(REPORT)
    bench.pass_time(30)
    await store.report(replace(REPORT, id="b"))
    bench.pass_time(29)
    assert await ids(store) == ["a", "b"]
    bench.pass_time(2)
    assert await ids(store) == ["b"]


async def test_a_silent_process_that_reports_again_is_back(bench: Bench) -> None:
    store = await bench.open()
    await store.report(REPORT)
    bench.pass_time(3600)
    assert await ids(store) == []
    await store.report(REPORT)
    assert await ids(store) == ["a"]


async def test_a_deregistered_process_is_forgotten_at_once(bench: Bench) -> None:
    store = await bench.open()
    await store.report(REPORT)
    await store.report(replace(REPORT, id="b"))
    await store.deregister("a")
    await store.deregister("never seen")
    assert await ids(store) == ["b"]


# --- the lease ----------------------------------------------------------------------------------------------


async def test_one_holder_has_the_lease(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    assert await store.acquire_lease("a", 15) is not None
    assert await other.acquire_lease("b", 15) is None


async def test_of_many_who_want_the_lease_one_gets_it(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    epochs = await asyncio.gather(*(store.acquire_lease(f"h{n}", 15) for n, store in enumerate(stores)))
    assert sorted(epoch is None for epoch in epochs) == [False, True, True, True]


async def test_each_holder_gets_a_greater_epoch(bench: Bench) -> None:
    store = await bench.open()
    epochs = []
    for holder in "abc":
        epochs.append(await store.acquire_lease(holder, 15))
        epochs.append(await store.next_epoch())
        await store.release_lease(holder)
    assert None not in epochs
    assert epochs == sorted({epoch for epoch in epochs if epoch is not None})
    assert len(set(epochs)) == 6


async def test_a_lease_that_is_renewed_stays(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.acquire_lease("a", 15)
    for _ in range(4):
        bench.pass_time(10)
        assert await store.renew_lease("a", 15) is True
    assert await other.acquire_lease("b", 15) is None


async def test_a_lease_that_is_not_renewed_becomes_free(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.acquire_lease("a", 15)
    bench.pass_time(16)
    assert await store.renew_lease("a", 15) is False
    assert await other.acquire_lease("b", 15) is not None
    assert await store.renew_lease("a", 15) is False
    assert await other.renew_lease("b", 15) is True


async def test_a_stranger_can_neither_renew_nor_release_a_lease(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.acquire_lease("a", 15)
    assert await other.renew_lease("b", 15) is False
    await other.release_lease("b")
    assert await other.acquire_lease("b", 15) is None
    assert await store.renew_lease("a", 15) is True


async def test_nobody_renews_a_lease_that_nobody_has(bench: Bench) -> None:
    store = await bench.open()
    assert await store.renew_lease("a", 15) is False
    await store.release_lease("a")
    assert await store.acquire_lease("a", 15) is not None


async def test_a_released_lease_is_free_at_once(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.acquire_lease("a", 15)
    await store.release_lease("a")
    assert await other.acquire_lease("b", 15) is not None


# --- counts -------------------------------------------------------------------------------------------------


async def test_counts_come_back_by_process(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.put_counts("m", "a", {"ok": 3, "cost": 1.5, "stages": {"0": [1, 2]}}, 30)
    await other.put_counts("m", "b", {"ok": 4}, 30)
    await other.put_counts("other", "b", {"ok": 5}, 30)
    assert await store.counts("m") == {"a": {"ok": 3, "cost": 1.5, "stages": {"0": [1, 2]}}, "b": {"ok": 4}}


async def test_counts_are_replaced_and_not_added(bench: Bench) -> None:
    store = await bench.open()
    await store.put_counts("m", "a", {"ok": 3, "gone": 1}, 30)
    await store.put_counts("m", "a", {"ok": 4}, 30)
    await store.put_counts("m", "a", {"ok": 4}, 30)
    assert await store.counts("m") == {"a": {"ok": 4}}


async def test_counts_end_with_their_ttl(bench: Bench) -> None:
    store = await bench.open()
    await store.put_counts("m", "a", {"ok": 3}, 30)
    bench.pass_time(20)
    await store.put_counts("m", "b", {"ok": 4}, 30)
    assert sorted(await store.counts("m")) == ["a", "b"]
    bench.pass_time(11)
    assert await store.counts("m") == {"b": {"ok": 4}}
    bench.pass_time(20)
    assert await store.counts("m") == {}


async def test_nothing_was_counted_for_an_unknown_migration(bench: Bench) -> None:
    store = await bench.open()
    assert await store.counts("unknown") == {}


# --- the secret ---------------------------------------------------------------------------------------------


async def test_the_secret_is_made_once_and_the_same_for_all(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    made = await asyncio.gather(*(store.secret() for store in stores))
    assert len(set(made)) == 1
    assert len(made[0]) == 32
    assert await (await bench.open()).secret() == made[0]


async def test_another_fleet_has_another_secret(bench: Bench) -> None:
    first = await (await bench.open()).secret()
    bench.empty()
    assert await (await bench.open()).secret() != first


async def test_the_secret_comes_back_with_the_first_state_that_is_put_back(bench: Bench) -> None:
    store = await bench.open()
    known = await store.secret()
    bench.empty()
    await store.restore(state(epoch=1, version=1))
    assert await (await bench.open()).secret() == known


# --- a store that was emptied -------------------------------------------------------------------------------


async def test_an_emptied_store_is_used_as_a_new_one(bench: Bench) -> None:
    store = await bench.open()
    await store.report(REPORT)
    await store.acquire_lease("a", 15)
    await store.remember([Enrolment("m", 1, "ann", Arm.candidate)])
    bench.empty()
    assert await store.load() == {}
    assert await store.replicas() == []
    assert await store.renew_lease("a", 15) is False
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 0}
    await store.report(REPORT)
    assert await ids(store) == ["a"]
