import asyncio
import logging
import weakref

import pytest

from gateway.tasks import Clock, SystemClock, Tasks
from tests.support.clock import ManualClock


async def test_a_task_runs_under_its_name_and_is_forgotten_when_done() -> None:
    tasks = Tasks()
    release = asyncio.Event()
    task = tasks.spawn("poll", release.wait())
    assert (task.get_name(), tasks.names) == ("poll", ["poll"])
    release.set()
    assert await task is True
    await asyncio.sleep(0)
    assert tasks.names == []


async def test_a_task_is_held_although_the_caller_drops_it() -> None:
    tasks = Tasks()
    release = asyncio.Event()
    reference = weakref.ref(tasks.spawn("held", release.wait()))
    await asyncio.sleep(0)
    assert reference() is not None
    release.set()
    assert await tasks.drain(1) == []


async def test_a_failure_is_logged_with_the_tasks_name(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("no such model")

    tasks = Tasks()
    tasks.spawn("sync-models", fail())
    assert await tasks.drain(1) == []
    (record,) = caplog.records
    assert (record.levelno, vars(record)["task"]) == (logging.ERROR, "sync-models")
    assert "no such model" in caplog.text


async def test_drain_waits_for_finite_work_and_for_what_it_spawns() -> None:
    tasks = Tasks()
    done: list[str] = []

    async def child() -> None:
        await asyncio.sleep(0)
        done.append("child")

    async def parent() -> None:
        await asyncio.sleep(0)
        tasks.spawn("child", child())
        done.append("parent")

    tasks.spawn("parent", parent())
    assert await tasks.drain(1) == []
    assert done == ["parent", "child"]


async def test_drain_cancels_what_misses_the_deadline_and_names_it(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    stuck = tasks.spawn("stuck", asyncio.Event().wait())
    assert await tasks.drain(0) == ["stuck"]
    assert stuck.cancelled()
    assert [record.getMessage() for record in caplog.records] == ["background work cancelled at shutdown"]


async def test_drain_stops_loops_without_waiting_or_complaint(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    loop = tasks.spawn("tick", asyncio.Event().wait(), endless=True)
    assert await tasks.drain(3600) == []
    assert loop.cancelled()
    assert caplog.records == []


async def test_a_loop_that_swallows_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tasks, "CANCEL_GRACE_S", 0.01)
    tasks = Tasks()
    swallowed = 0

    async def swallow_one() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    loop = tasks.spawn("tick", swallow_one(), endless=True)
    await asyncio.sleep(0)
    await tasks.drain(0)
    assert (loop.cancelled(), swallowed) == (True, 2)


async def test_one_gateway_does_not_drain_another() -> None:
    ours, theirs = Tasks(), Tasks()
    other = theirs.spawn("theirs", asyncio.Event().wait())
    await ours.drain(0)
    assert not other.done()
    await theirs.drain(0)


async def test_draining_nothing_returns_at_once() -> None:
    assert await Tasks().drain(3600) == []


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()], ids=["system", "manual"])
def test_a_monotonic_reading_never_goes_back(clock: Clock) -> None:
    assert clock.monotonic() <= clock.monotonic()
    assert clock.now() > 1_700_000_000


def test_the_manual_clock_moves_only_by_hand() -> None:
    clock = ManualClock(now=100.0)
    clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (102.5, 2.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
