"""The lease: who has it knows it, and above all knows when they no longer do."""

import pytest

from gateway.control.autopilot.lease import LEASE_TTL_S, RENEW_EVERY_S, STEP_DOWN_S, Lease
from gateway.errors import StoreUnavailable
from tests.support.clock import ManualClock
from tests.support.memory_store import MemoryServer, MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(MemoryServer(clock))


def lease(store: MemoryStore, holder: str = "a") -> Lease:
    return Lease(store, holder=holder, clock=store.server.clock)


async def test_nobody_leads_before_asking(store: MemoryStore) -> None:
    mine = lease(store)
    assert mine.epoch is None
    assert await mine.confirm() is None
    assert store.calls["renew_lease"] == 0


async def test_a_free_lease_is_taken_with_an_epoch_of_its_own(store: MemoryStore) -> None:
    first, second = lease(store, "a"), lease(store, "b")
    taken = await first.keep()
    assert taken is not None
    assert await second.keep() is None
    await first.release()
    assert first.epoch is None
    assert await second.keep() == taken + 1


async def test_it_is_renewed_when_that_is_due_and_not_before(store: MemoryStore, clock: ManualClock) -> None:
    mine = lease(store)
    epoch = await mine.keep()
    clock.advance(RENEW_EVERY_S - 1)
    assert await mine.keep() == epoch
    assert store.calls["renew_lease"] == 0
    clock.advance(1)
    assert await mine.keep() == epoch
    assert store.calls["renew_lease"] == 1
    clock.advance(RENEW_EVERY_S - 1)
    assert await mine.keep() == epoch
    assert store.calls["renew_lease"] == 1


async def test_it_is_held_as_long_as_it_is_kept(store: MemoryStore, clock: ManualClock) -> None:
    mine, other = lease(store, "a"), lease(store, "b")
    epoch = await mine.keep()
    for _ in range(60):
        clock.advance(1)
        assert await mine.keep() == epoch
        assert await other.keep() is None


async def test_who_cannot_confirm_it_steps_down_before_anybody_else_can_have_it(
    store: MemoryStore, clock: ManualClock
) -> None:
    mine, other = lease(store, "a"), lease(MemoryStore(store.server), "b")
    await mine.keep()
    store.away = True
    clock.advance(STEP_DOWN_S - 1)
    assert mine.epoch is not None
    with pytest.raises(StoreUnavailable):
        await mine.keep()
    clock.advance(1)
    assert mine.epoch is None
    assert await other.keep() is None
    clock.advance(LEASE_TTL_S - STEP_DOWN_S)
    assert await other.keep() is not None


async def test_a_refused_renewal_ends_it_at_once(store: MemoryStore, clock: ManualClock) -> None:
    mine = lease(store)
    await mine.keep()
    store.server.data.lease = "b", clock.now() + LEASE_TTL_S
    assert await mine.confirm() is None
    assert mine.epoch is None
    assert await mine.keep() is None


async def test_who_slept_through_it_does_not_lead_when_they_wake(
    store: MemoryStore, clock: ManualClock
) -> None:
    sleeper, other = lease(store, "a"), lease(store, "b")
    await sleeper.keep()
    clock.advance(LEASE_TTL_S + 1)
    assert sleeper.epoch is None
    taken = await other.keep()
    assert taken is not None
    assert await sleeper.confirm() is None
    assert await sleeper.keep() is None
    assert other.epoch == taken


async def test_the_time_counts_from_when_the_renewal_was_asked_for(clock: ManualClock) -> None:
    class Slow(MemoryStore):
        async def renew_lease(self, holder: str, ttl_s: float) -> bool:
            renewed = await super().renew_lease(holder, ttl_s)
            clock.advance(STEP_DOWN_S)
            return renewed

    mine = lease(Slow(MemoryServer(clock)))
    await mine.keep()
    assert await mine.confirm() is None


async def test_a_lease_that_the_store_lost_is_taken_anew(store: MemoryStore, clock: ManualClock) -> None:
    mine = lease(store)
    await mine.keep()
    store.server.lose()
    assert await mine.confirm() is None
    assert await mine.keep() is not None


async def test_leaving_without_it_asks_nobody(store: MemoryStore) -> None:
    await lease(store).release()
    assert store.calls["release_lease"] == 0
