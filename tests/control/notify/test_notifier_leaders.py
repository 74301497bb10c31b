"""The news goes on where it stopped, whoever leads and whatever the store remembers."""

import asyncio

import pytest

from gateway.control.notify.notifier import Notifier
from tests.support.eventually import eventually
from tests.support.memory_store import MemoryStore
from tests.support.news import ROLLED_BACK, World


async def test_a_process_that_follows_goes_on_where_the_last_one_stopped(world: World) -> None:
    first = await world.begin()
    await world.happen("start")
    await world.tick(first)
    await world.happen("advance")
    second = world.process()
    await world.tick(second, epoch=2)
    assert world.receiver.seqs() == [1, 2]


async def test_what_was_being_told_when_the_process_died_is_told_again_under_the_same_id(
    world: World,
) -> None:
    dying = await world.begin()
    world.receiver.holds["/all"] = asyncio.Event()
    await world.happen("start")
    dying.tick(1)
    await eventually(lambda: world.receiver.seqs() == [1])
    await world.tasks.drain(0)
    world.receiver.holds.pop("/all").set()
    await world.tick(world.process(), epoch=2)
    assert world.receiver.seqs() == [1, 1]
    assert len({message["id"] for message in world.receiver.told()}) == 1


async def test_who_does_not_lead_any_more_says_nothing(world: World) -> None:
    deposed = await world.begin()
    leader = world.process()
    await world.happen("start")
    await world.tick(leader, epoch=2)
    assert world.receiver.seqs() == [1]
    await world.happen("advance")
    await world.tick(deposed, epoch=1)
    assert world.receiver.seqs() == [1]
    await world.tick(leader, epoch=2)
    assert world.receiver.seqs() == [1, 2]


async def test_of_two_who_believe_to_lead_the_later_one_tells(world: World) -> None:
    deposed = await world.begin()
    leader = world.process()
    world.receiver.holds["/all"] = asyncio.Event()
    await world.happen("start")
    leader.tick(2)
    await eventually(lambda: world.receiver.seqs() == [1])
    deposed.tick(1)
    await eventually(lambda: world.tasks.names == ["notify-all"])
    world.receiver.holds.pop("/all").set()
    await eventually(lambda: not world.tasks.names)
    assert world.receiver.seqs() == [1]


async def test_while_the_store_is_away_nothing_is_told_and_afterwards_everything(world: World) -> None:
    store = MemoryStore(world.server)
    notifier = Notifier(
        store,
        sinks=lambda: world.sinks,
        specs=lambda: world.specs,
        tasks=world.tasks,
        clock=world.clock,
        on_error=world.failed.append,
    )
    await world.tick(notifier)
    await world.happen("start")
    store.away = True
    await world.tick(notifier)
    assert (world.receiver.told(), world.failed) == ([], ["notify", "notify"])
    store.away = False
    await world.tick(notifier)
    assert world.receiver.seqs() == [1]


async def test_a_store_that_lost_everything_is_a_new_log_whose_changes_are_told(world: World) -> None:
    notifier = await world.begin()
    for verb in ("start", "advance", "pause"):
        await world.happen(verb)
    await world.tick(notifier)
    world.server.lose()
    await world.tick(notifier, epoch=2)
    world.clock.advance(1)
    await world.happen("rollback", ROLLED_BACK)
    await world.tick(notifier, epoch=2)
    assert [message["verb"] for message in world.receiver.told()][3:] == ["rollback"]
    assert len({message["id"] for message in world.receiver.told()}) == 4


async def test_a_cursor_that_cannot_be_read_begins_anew(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = await world.begin()
    await world.happen("start")
    await world.store.put_document("m", "notified:all", b"[1", epoch=1)
    await world.tick(notifier)
    await world.happen("advance")
    await world.tick(notifier)
    assert world.receiver.seqs() == [2]
    assert [record.message for record in caplog.records] == ["a cursor cannot be read: its sink begins anew"]
