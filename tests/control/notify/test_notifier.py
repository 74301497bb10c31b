"""What is told once, in order, and to whom - also where sinks fail."""

import asyncio
import logging
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.control.notify.notifier import AT_ONCE, LONGEST_RETRY_S, NEWS_S, REFUSED_AT_MOST
from gateway.control.notify.sinks import Sink
from gateway.core.spec import OnRollback
from tests.support.eventually import eventually, others
from tests.support.news import ROLLED_BACK, SPEC, World

# --- who hears what -----------------------------------------------------------------------------------------


async def test_each_change_is_told_once_and_in_order(world: World) -> None:
    notifier = await world.begin()
    for verb in ("start", "advance", "pause"):
        await world.happen(verb)
    for _ in range(3):
        await world.tick(notifier)
    assert [message["verb"] for message in world.receiver.told()] == ["start", "advance", "pause"]
    assert len({message["id"] for message in world.receiver.told()}) == 3
    assert await world.cursor("all") == b"3"


async def test_sinks_of_rollbacks_hear_of_rollbacks_alone(world: World) -> None:
    notifier = await world.begin()
    await world.happen("start")
    await world.happen("automatic-rollback", ROLLED_BACK)
    await world.tick(notifier)
    assert [message["type"] for message in world.receiver.told("/all")] == ["started", "rolled_back"]
    assert [message["type"] for message in world.receiver.told("/pager")] == ["rolled_back"]


async def test_what_is_no_change_is_passed_over(world: World) -> None:
    notifier = await world.begin()
    for verb in ("freeze-baseline", "proof", "something-new", "start", "freeze-baseline"):
        await world.happen(verb)
    await world.tick(notifier)
    assert world.receiver.seqs() == [4]
    assert await world.cursor("all") == b"5"


async def test_a_new_sink_begins_with_the_present_end_of_the_log(world: World) -> None:
    for verb in ("start", "advance"):
        await world.happen(verb)
    notifier = await world.begin()
    assert world.receiver.told() == []
    await world.happen("pause")
    await world.tick(notifier)
    assert world.receiver.seqs() == [3]


async def test_a_sink_that_comes_later_does_not_move_the_others(world: World) -> None:
    notifier = await world.begin()
    await world.happen("start")
    world.specs = {"m": replace(SPEC, notify=("all", "late"))}
    world.sinks["late"] = world.sink("late")
    await world.tick(notifier)
    await world.happen("advance")
    await world.tick(notifier)
    assert (world.receiver.seqs("/all"), world.receiver.seqs("/late")) == ([1, 2], [2])


async def test_every_migration_has_a_cursor_of_its_own(world: World) -> None:
    world.specs["n"] = replace(SPEC, name="n")
    notifier = await world.begin()
    await world.happen("start")
    await world.happen("start", name="n")
    await world.happen("advance", name="n")
    await world.tick(notifier)
    told = [(message["migration"], message["verb"]) for message in world.receiver.told()]
    assert sorted(told) == [("m", "start"), ("n", "advance"), ("n", "start")]


async def test_a_sink_that_nobody_names_costs_the_store_nothing(world: World) -> None:
    world.specs = {"m": replace(SPEC, notify=(), on_rollback=OnRollback())}
    await world.happen("start")
    await world.begin()
    assert world.server.data.documents == {}
    assert world.receiver.server.requests == []


# --- sinks that fail ----------------------------------------------------------------------------------------


async def test_a_sink_that_fails_is_told_later_and_nothing_is_skipped_or_told_twice(world: World) -> None:
    notifier = await world.begin()
    world.receiver.statuses["/all"] = [500, 503]
    await world.happen("start")
    await world.happen("advance")
    await world.tick(notifier)
    await world.tick(notifier)
    assert world.receiver.seqs() == [1]
    world.clock.advance(2)
    await world.tick(notifier)
    world.clock.advance(3)
    await world.tick(notifier)
    assert world.receiver.seqs() == [1, 1]
    world.clock.advance(1)
    await world.tick(notifier)
    assert world.receiver.seqs() == [1, 1, 1, 2]
    assert len({message["id"] for message in world.receiver.told()[:3]}) == 1


async def test_it_is_left_alone_longer_each_time_but_never_for_ever(world: World) -> None:
    notifier = await world.begin()
    world.receiver.statuses["/all"] = [500] * 1000
    await world.happen("start")
    tries: list[float] = []
    for _ in range(4000):
        before = len(world.receiver.told())
        await world.tick(notifier)
        if len(world.receiver.told()) > before:
            tries.append(world.clock.monotonic())
        world.clock.advance(1)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[:8] == [2, 4, 8, 16, 32, 64, 128, 256]
    assert set(gaps[9:]) == {LONGEST_RETRY_S}


async def test_after_a_success_the_next_failure_is_a_first_one(world: World) -> None:
    notifier = await world.begin()
    world.receiver.statuses["/all"] = [500, 500, 200, 500]
    await world.happen("start")
    await world.happen("advance")
    for pause_s in (0, 2, 4, 2):
        world.clock.advance(pause_s)
        await world.tick(notifier)
    assert world.receiver.seqs() == [1, 1, 1, 2, 2]
    assert world.results == ["failed", "failed", "delivered", "failed", "delivered"]


async def test_a_slow_sink_keeps_nobody_waiting_but_itself(world: World) -> None:
    notifier = await world.begin()
    world.receiver.holds["/all"] = asyncio.Event()
    await world.happen("rollback", ROLLED_BACK)
    notifier.tick(1)
    await eventually(lambda: world.receiver.seqs("/pager") == [1] and world.receiver.seqs("/all") == [1])
    await world.happen("restart")
    await world.happen("rollback", ROLLED_BACK)
    await eventually(lambda: world.tasks.names == ["notify-all"])
    notifier.tick(1)
    await eventually(lambda: world.receiver.seqs("/pager") == [1, 3])
    for _ in range(50):
        notifier.tick(1)
        await others()
    assert world.receiver.seqs("/all") == [1]
    world.receiver.holds.pop("/all").set()
    await eventually(lambda: not world.tasks.names)
    await world.tick(notifier)
    assert world.receiver.seqs("/all") == [1, 2, 3]


async def test_many_changes_are_told_in_several_rounds(world: World) -> None:
    notifier = await world.begin()
    for _ in range(AT_ONCE + 5):
        await world.happen("advance")
    await world.tick(notifier)
    assert world.receiver.seqs() == list(range(1, AT_ONCE + 1))
    await world.tick(notifier)
    assert world.receiver.seqs() == list(range(1, AT_ONCE + 6))


async def test_a_message_that_is_refused_as_such_does_not_block_the_next(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = await world.begin()
    world.receiver.statuses["/all"] = [400] * REFUSED_AT_MOST
    await world.happen("start")
    await world.happen("advance")
    for _ in range(REFUSED_AT_MOST):
        await world.tick(notifier)
        world.clock.advance(60)
    assert world.receiver.seqs() == [1] * REFUSED_AT_MOST + [2]
    given_up = [record for record in caplog.records if "given up" in record.message]
    assert [(record.levelno, vars(record)["event"]) for record in given_up] == [(logging.ERROR, 1)]
    assert world.results == ["failed"] * (REFUSED_AT_MOST - 1) + ["given_up", "delivered"]


async def test_what_is_a_day_old_is_not_news_any_more_and_the_next_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = await world.begin()
    world.receiver.statuses["/all"] = [500] * 1000
    await world.happen("start")
    await world.tick(notifier)
    world.clock.advance(NEWS_S - 60)
    await world.tick(notifier)
    assert world.receiver.seqs() == [1, 1]
    await world.happen("advance")
    world.receiver.statuses["/all"] = []
    world.clock.advance(61)
    await world.tick(notifier)
    assert world.receiver.seqs() == [1, 1, 2]
    assert [vars(r)["event"] for r in caplog.records if "given up" in r.message] == [1]
    assert world.results == ["failed", "failed", "given_up", "delivered"]


async def test_logs_never_hold_the_address(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")
    world.sinks["all"] = Sink("all", "slack", f"{world.receiver.server.url}/all/T0/secret-path")
    notifier = await world.begin()
    world.receiver.statuses["/all/T0/secret-path"] = [500]
    await world.happen("start")
    await world.tick(notifier)
    told = [record for record in caplog.records if record.name.startswith("gateway")]
    assert [record.message for record in told] == ["a notification failed"]
    assert "secret-path" not in "".join(str(vars(record)) for record in told)
