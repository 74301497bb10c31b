import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.core.types import Arm
from gateway.store.ledger import DOUBT_S
from gateway.store.ports import Recollection
from tests.support.eventually import eventually
from tests.support.ledgers import (
    CANDIDATE,
    CONTROL,
    TTL_S,
    WAIT_S,
    Ledgers,
    ask,
    enrolled,
    ledgers_of_a_fleet,
    pinned,
)


@pytest.fixture
async def fleet() -> AsyncIterator[Ledgers]:
    async with ledgers_of_a_fleet() as made:
        yield made


async def test_a_note_is_in_the_store_when_its_wait_ends(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("c"), enrolled()], WAIT_S)
    assert await store.recall(ask("c")) == Recollection(CONTROL, Arm.control)
    assert (ledger.written, ledger.queued) == (2, 0)


async def test_returning_units_cost_no_store_command(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    for _ in range(100):
        await ledger.note([pinned("c"), enrolled()], WAIT_S)
    assert store.calls["remember"] == 1


async def test_a_unit_that_was_recalled_is_not_enrolled_again(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([enrolled()], WAIT_S)
    await there.recall(ask("c"), WAIT_S)
    await there.note([enrolled()], WAIT_S)
    assert store.calls["remember"] == 0


async def test_a_unit_that_moves_is_written_again(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    await ledger.note([enrolled()], WAIT_S)
    await ledger.note([enrolled(arm=Arm.candidate)], WAIT_S)
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 1}


async def test_a_pin_in_use_is_refreshed_once_a_quarter_of_its_life_and_never_expires_in_the_store(
    fleet: Ledgers,
) -> None:
    ledger, store = fleet.join()
    for _ in range(20):
        await ledger.note([pinned("c")], WAIT_S)
        fleet.clock.advance(TTL_S / 4 - 1)
    assert store.calls["remember"] == 10
    fleet.clock.advance(TTL_S * 3 / 4)
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_a_pin_that_was_recalled_is_refreshed_with_its_first_use_here(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S)
    await there.recall(ask("c"), WAIT_S)
    await there.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S)
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_notes_of_many_requests_share_a_call(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    await asyncio.gather(*(ledger.note([enrolled(f"u{n}")], WAIT_S) for n in range(100)))
    assert store.calls["remember"] == 1


async def test_a_note_does_not_wait_longer_than_it_may(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    store.hang()
    await asyncio.wait_for(ledger.note([pinned("c")], 0.001), 1)
    await asyncio.wait_for(ledger.note([pinned("d")], 3600), 1)
    assert await asyncio.wait_for(ledger.recall(ask("c", unit=None), 3600), 1) == Recollection(CONTROL)


async def test_a_slow_write_does_not_keep_a_question_from_being_asked(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c")], WAIT_S)
    store.hang()
    await there.note([pinned("d")], 0.001)
    asking = asyncio.ensure_future(there.recall(ask("c"), WAIT_S))
    await eventually(lambda: store.calls["recall"])
    store.resume()
    assert await asking == Recollection(CONTROL)


async def test_an_outage_loses_no_write(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    store.away = True
    for n in range(50):
        await ledger.note([pinned(f"c{n}"), enrolled(f"u{n}")], WAIT_S)
    assert ledger.queued == 100
    store.away = False
    await eventually(lambda: ledger.queued == 0)
    assert await store.enrolled("m", 1) == {Arm.control: 50, Arm.candidate: 0}
    assert (await store.recall(ask("c49"))).pin == CONTROL


async def test_what_was_dropped_in_a_long_outage_is_written_with_its_next_use(fleet: Ledgers) -> None:
    ledger, store = fleet.join(capacity=2)
    store.away = True
    await ledger.note([enrolled("a"), pinned("c"), enrolled("b"), pinned("d")], 0)
    assert (ledger.queued, ledger.dropped) == (2, 2)
    store.away = False
    await eventually(lambda: ledger.queued == 0)
    await ledger.note([enrolled("a"), pinned("c")], WAIT_S)
    assert await store.enrolled("m", 1) == {Arm.control: 2, Arm.candidate: 0}
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_closing_sends_what_is_left(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("c")], 0)
    await ledger.aclose(WAIT_S)
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_closing_without_the_store_ends_and_says_what_was_lost(
    fleet: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, store = fleet.join()
    store.hang()
    await ledger.note([pinned("c")], 0)
    await asyncio.wait_for(ledger.aclose(0.01), 5)
    assert "were not stored before the end" in caplog.text


# --- a store that lost its data -----------------------------------------------------------------------------


async def test_what_the_replicas_remember_is_put_back(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    for n in range(600):
        await here.note([pinned(f"c{n}", CANDIDATE)], 0)
    await there.note([enrolled(arm=Arm.candidate), pinned("gone")], WAIT_S)
    await eventually(lambda: here.queued == 0)
    fleet.clock.advance(TTL_S - 10)
    await here.note([pinned(f"c{n}", CANDIDATE) for n in range(599)], WAIT_S)
    fleet.clock.advance(20)
    fleet.server.lose()
    for ledger in (here, there):
        ledger.renew(b"fleet")
    await eventually(lambda: len(fleet.server.data.pins) == 599 and fleet.server.data.records)
    assert fleet.server.data.records == {("m", 1, "u"): Arm.candidate}
    assert set(fleet.server.data.pins) == {("m", f"c{n}") for n in range(599)}


async def test_putting_back_goes_on_after_another_outage(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("c"), enrolled()], WAIT_S)
    fleet.server.lose()
    store.away = True
    ledger.renew(b"fleet")
    await eventually(lambda: ledger.away)
    store.away = False
    await eventually(lambda: fleet.server.data.pins and fleet.server.data.records)
    assert await store.recall(ask("c")) == Recollection(CONTROL, Arm.control)


async def test_nothing_found_is_not_believed_while_others_are_still_putting_back(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    await here.note([pinned("c", CANDIDATE)], WAIT_S)
    fleet.server.lose()
    there.renew(b"fleet")
    assert await there.recall(ask("c"), WAIT_S) is None
    here.renew(b"fleet")
    await eventually(lambda: fleet.server.data.pins)
    assert await there.recall(ask("c"), WAIT_S) == Recollection(CANDIDATE)
    fleet.clock.advance(DOUBT_S)
    assert await there.recall(ask("new"), WAIT_S) == Recollection()


async def test_nothing_found_is_believed_right_after_an_outage_that_lost_nothing(fleet: Ledgers) -> None:
    ledger, store = fleet.join(watch_s=0.001)
    await eventually(lambda: ledger.written)
    store.away = True
    await eventually(lambda: ledger.away)
    store.away = False
    await eventually(lambda: not ledger.away)
    assert await ledger.recall(ask("c"), WAIT_S) == Recollection()


async def test_nothing_found_is_not_believed_right_after_an_outage_that_lost_everything(
    fleet: Ledgers,
) -> None:
    ledger, store = fleet.join(watch_s=0.001)
    await eventually(lambda: ledger.written)
    store.away = True
    await eventually(lambda: ledger.away)
    fleet.server.lose()
    store.away = False
    await eventually(lambda: not ledger.away)
    assert await ledger.recall(ask("c"), WAIT_S) is None


async def test_nothing_found_is_not_believed_after_an_outage_of_which_one_cannot_know(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    store.away = True
    await ledger.recall(ask("c"), WAIT_S)
    store.away = False
    await eventually(lambda: not ledger.away)
    assert await ledger.recall(ask("c"), WAIT_S) is None
    fleet.clock.advance(DOUBT_S)
    assert await ledger.recall(ask("c"), WAIT_S) == Recollection()


async def test_another_secret_makes_all_that_is_remembered_unfindable(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    old = ledger.key("alice")
    store.away = True
    await ledger.note([pinned(old), enrolled(old)], 0)
    ledger.renew(b"another")
    store.away = False
    assert ledger.key("alice") != old
    assert (ledger.queued, ledger.known(ask(old, unit=None))) == (0, None)
    await ledger.note([enrolled()], WAIT_S)
    assert set(fleet.server.data.records) <= {("m", 1, "u")}


async def test_a_ledger_that_learns_the_fleets_secret_at_its_start_believes_the_store_at_once(
    fleet: Ledgers,
) -> None:
    ledger, _ = fleet.join(secret=b"until the store is reached")
    ledger.renew(b"fleet")
    assert await ledger.recall(ask("c"), WAIT_S) == Recollection()


async def test_each_process_notices_by_itself_that_the_store_lost_its_data(fleet: Ledgers) -> None:
    here, _ = fleet.join(watch_s=0.001)
    there, _ = fleet.join(watch_s=0.001)
    await here.note([pinned("c", CANDIDATE)], WAIT_S)
    await there.note([enrolled("v", Arm.candidate)], WAIT_S)
    await eventually(lambda: len(fleet.server.data.pins) == 3)
    fleet.server.lose()
    await eventually(lambda: len(fleet.server.data.pins) == 3)
    assert (await here.recall(ask("c"), WAIT_S), await there.recall(ask("c"), WAIT_S)) == (
        Recollection(CANDIDATE),
        Recollection(CANDIDATE),
    )
    await eventually(lambda: fleet.server.data.records == {("m", 1, "v"): Arm.candidate})


async def test_nothing_is_written_again_while_nothing_is_lost(fleet: Ledgers) -> None:
    ledger, store = fleet.join(watch_s=0.001)
    await ledger.note([pinned("c")], WAIT_S)
    await eventually(lambda: store.calls["recall"] > 5)
    store.away = True
    await eventually(lambda: ledger.away)
    store.away = False
    recalls = store.calls["recall"]
    await eventually(lambda: store.calls["recall"] > recalls + 5)
    assert ledger.written == 2
