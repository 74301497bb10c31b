"""Background work that is named, held and drained, and the clock that work is timed by.

asyncio keeps only a weak reference to a task, and an exception in one that nobody awaits is reported at
garbage collection, if at all. So nothing in the gateway calls `asyncio.create_task`: a `Tasks` is handed in,
holds what it spawned until it ends, logs what failed under the task's name, and at shutdown gives finite work
a deadline to finish.

Likewise nothing reads the time by itself: a `Clock` is handed in, and tests hand in one that they move by
hand.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Epoch seconds, for what is stored or shown."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back, for durations and deadlines."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Tasks:
    """The background tasks of one gateway. Several may live in one process; each drains only its own."""

    CANCEL_GRACE_S = 1.0
    """How long a cancelled task may take to clean up before it is abandoned."""

    def __init__(self) -> None:
        self._finite: set[asyncio.Task[Any]] = set()
        self._endless: set[asyncio.Task[Any]] = set()

    @property
    def names(self) -> list[str]:
        """What is running now."""
        return sorted(task.get_name() for task in self._finite | self._endless)

    def spawn(self, name: str, work: Coroutine[Any, Any, T], *, endless: bool = False) -> asyncio.Task[T]:
        """Start `work` in the background. `endless` work is a loop: `drain` cancels it instead of waiting."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        held = self._endless if endless else self._finite
        held.add(task)
        task.add_done_callback(held.discard)
        task.add_done_callback(_log_failure)
        return task

    async def drain(self, deadline_s: float) -> list[str]:
        """Stop the loops, let the rest finish for `deadline_s`, cancel what is left and return its names.

        Work that running work spawns meanwhile is waited for as well, within the same deadline.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + deadline_s
        await _cancel(self._endless, self.CANCEL_GRACE_S)
        while self._finite and (left_s := give_up_at - loop.time()) > 0:
            await asyncio.wait(self._finite, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        late = sorted(task.get_name() for task in self._finite)
        if late:
            logger.warning("background work cancelled at shutdown", extra={"tasks": late})
        await _cancel(self._finite | self._endless, self.CANCEL_GRACE_S)
        return late


async def _cancel(tasks: set[asyncio.Task[Any]], grace_s: float) -> None:
    # Twice: before Python 3.12, `asyncio.wait_for` swallows a cancellation that comes together with its
    # result, and the Redis client waits with it.
    for _ in range(2):
        pending = {task for task in tasks if not task.done()}
        if not pending:
            return
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=grace_s)


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("background task failed", extra={"task": task.get_name()}, exc_info=error)


async def run_every(
    interval_s: float,
    tick: Callable[[], Awaitable[None]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tick for ever. One that fails is logged, and the next one comes."""
    while True:
        try:
            await tick()
        except Exception:
            logger.exception("a tick failed")
        await sleep(interval_s)
