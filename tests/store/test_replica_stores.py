"""Replicas and ledgers on the real stores: the same promises as on the one in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import Arm, MigrationState, Phase, Pin
from gateway.store.kill import KillSwitch
from gateway.store.ledger import DOUBT_S, Ledger
from gateway.store.ports import Enrolment, PinWrite, Recall, Recollection, Store
from gateway.store.replica import Replica
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.stores import RealBench, event, state

DEADLINE_S = 15.0
NEVER_S = 3600.0
PIN = Pin(Arm.candidate, 1, "r1")


class Process:
    """One serving process: a store of its own, a replica and a ledger."""

    def __init__(self, store: Store, name: str, path: Path, *, poll_s: float) -> None:
        clock = ManualClock()
        self.store, self.clock, self.data_dir = store, clock, path / f"disk-{name}"
        self.replica = Replica(
            store,
            id=name,
            data_dir=self.data_dir,
            clock=clock,
            on_change=lambda snapshot: None,
            on_loss=self.renew,
            poll_s=poll_s,
            heartbeat_s=0.2,
        )
        self.ledger = Ledger(
            store,
            secret=b"until the store is reached",
            clock=clock,
            on_error=lambda operation: None,
            watch_s=0.1,
            probe_pauses_s=(0.05, 0.1),
        )

    @property
    def state(self) -> MigrationState:
        return self.replica.snapshot.state("m")

    def renew(self, secret: bytes) -> None:
        self.ledger.renew(secret)

    async def start(self) -> None:
        await self.replica.boot(5)
        self.ledger.renew(self.replica.secret)
        self.replica.start()
        self.ledger.start()

    async def aclose(self) -> None:
        await self.ledger.aclose(1)
        await self.replica.aclose(1)


Join = Callable[[RealBench, str, float], Awaitable[Process]]


@pytest.fixture
async def join(tmp_path: Path) -> AsyncIterator[Join]:
    async with AsyncExitStack() as leaving:

        async def join(place: RealBench, name: str, poll_s: float) -> Process:
            process = Process(await place.open(), name, tmp_path, poll_s=poll_s)
            await process.start()
            leaving.push_async_callback(process.aclose)
            return process

        yield join


async def begin(store: Store) -> MigrationState:
    """Start a run."""
    epoch = await store.next_epoch()
    return await store.commit(state(weight=20_000, epoch=epoch), event(), expected=(0, 0))


async def until(question: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes; fails after `DEADLINE_S`."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + DEADLINE_S
    while not await question():
        assert loop.time() < give_up_at, "it did not happen in time"


async def in_agreement(*processes: Process) -> bool:
    """Tell whether all obey what the store has."""
    stored = await processes[0].store.load()
    return all(process.state == stored.get("m") for process in processes)


async def test_a_publication_reaches_every_replica_which_acknowledges_it(
    shared: RealBench, join: Join
) -> None:
    here, there = await join(shared, "a", NEVER_S), await join(shared, "b", NEVER_S)
    await eventually(lambda: here.replica.known_replicas() == ("a", "b"), DEADLINE_S)
    written = await begin(here.store)
    await here.replica.refresh()
    acks = await here.replica.await_acknowledgements("m", written.order, DEADLINE_S)
    assert (acks.acknowledged, acks.missing) == (("a", "b"), ())
    assert there.state == written


async def test_a_replica_that_leaves_is_not_waited_for(shared: RealBench, join: Join) -> None:
    here, there = await join(shared, "a", NEVER_S), await join(shared, "b", NEVER_S)
    await there.replica.aclose()
    acks = await here.replica.await_acknowledgements("m", (0, 0), DEADLINE_S)
    assert acks.expected == ("a",)


async def test_a_kill_during_an_outage_is_everybodys_once_the_store_is_back(
    fragile: RealBench, join: Join
) -> None:
    here, there = await join(fragile, "a", 0.1), await join(fragile, "b", 0.1)
    written = await begin(here.store)
    await eventually(lambda: here.state == there.state == written, DEADLINE_S)
    fragile.break_down()
    await here.replica.kill_locally("m", "ann", "bad answers")
    assert (here.state.killed, there.state) == (True, written)
    fragile.mend()
    await eventually(lambda: there.state.killed, DEADLINE_S)
    await until(lambda: in_agreement(here, there))
    assert there.state.epoch > written.epoch
    await eventually(lambda: KillSwitch(here.data_dir).read() == {}, DEADLINE_S)
    assert [each.verb for each in await there.store.events("m")][-1] == "emergency-rollback"


async def test_a_store_that_comes_back_empty_is_filled_again_by_whoever_is_there(
    shared: RealBench, join: Join
) -> None:
    here, there = await join(shared, "a", 0.1), await join(shared, "b", 0.1)
    written = await begin(here.store)
    await eventually(lambda: here.state == there.state == written, DEADLINE_S)
    key = here.ledger.key("session")
    await here.ledger.note([PinWrite("m", key, PIN, 3600), Enrolment("m", 1, key, Arm.candidate)], DEADLINE_S)
    await eventually(lambda: here.ledger.written == 3 and there.ledger.written == 1, DEADLINE_S)
    shared.empty()

    async def filled() -> bool:
        found = await there.store.recall(Recall("m", 1, (key,), key))
        return found == Recollection(PIN, Arm.candidate) and await in_agreement(here, there)

    await until(filled)
    assert here.state == written
    assert there.ledger.key("session") == key
    assert await there.ledger.recall(Recall("m", 1, (key,), key), DEADLINE_S) == Recollection(
        PIN, Arm.candidate
    )
    assert await here.store.next_epoch() > written.epoch


async def test_what_is_noted_during_an_outage_reaches_the_others(fragile: RealBench, join: Join) -> None:
    here, there = await join(fragile, "a", 0.1), await join(fragile, "b", 0.1)
    key = here.ledger.key("session")
    fragile.break_down()
    await here.ledger.note([PinWrite("m", key, PIN, 3600)], DEADLINE_S)
    assert here.ledger.known(Recall("m", 1, (key,), None)) == Recollection(PIN)
    fragile.mend()
    await eventually(lambda: here.ledger.queued == 0, DEADLINE_S)
    there.clock.advance(DOUBT_S)
    assert await there.ledger.recall(Recall("m", 1, (key,), None), DEADLINE_S) == Recollection(PIN)


async def test_a_process_that_starts_in_an_outage_serves_what_it_served_before(
    fragile: RealBench, join: Join
) -> None:
    first = await join(fragile, "a", 0.1)
    written = await begin(first.store)
    await eventually(lambda: first.state == written, DEADLINE_S)
    await first.aclose()
    fragile.break_down()
    again = await join(fragile, "a", 0.1)
    assert (again.replica.snapshot.origin, again.state) == ("disk", written)
    assert again.ledger.key("alice") == first.ledger.key("alice")
    fragile.mend()
    await until(lambda: in_agreement(again))
    assert again.state == written
    paused = await again.store.commit(
        replace(written, phase=Phase.paused), event("pause"), expected=written.order
    )
    await eventually(lambda: again.state == paused, DEADLINE_S)
