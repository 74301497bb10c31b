"""Writes that follow behind the requests, and the knowledge whether waiting for the store makes sense at all.

`Outbox` keeps what is to be remembered until the store has it: one flusher sends everything queued in one
call, as often as the last call allows. While the store is away nothing is lost; beyond its bound the oldest
entry is dropped and counted. Of several writes to one key only the last is sent. What is queued is bounded by
weight, which is one each unless told otherwise.

`Health` knows one thing: after a failure nobody waits any more, until a probe in the background (after 0.2 s,
then with pauses growing to 2 s) has succeeded. A call that merely overran somebody's patience is no failure:
those who come meanwhile do not wait either, but as soon as it ends well, all is well.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from gateway.errors import StoreUnavailable
from gateway.store.ports import Enrolment, PinWrite
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
W = TypeVar("W")

Write = PinWrite | Enrolment
Key = tuple[str, int, str]
"""What one entry is about: migration, run (`PIN_RUN` for pins), hashed conversation or unit."""

PIN_RUN = -1
"""Stands for the run in the keys of pins, which outlive runs."""

BATCH = 500
"""Most weight of one call: a backlog must not need more time than one call has."""


class Patience:
    """Waiting for one kind of work. While something overran its waiter, nobody else begins to wait."""

    def __init__(self) -> None:
        self._overdue: set[asyncio.Future[Any]] = set()

    @property
    def exhausted(self) -> bool:
        """Something is overdue now."""
        return any(not work.done() for work in self._overdue)

    async def wait(self, work: asyncio.Future[Any], timeout_s: float) -> bool:
        """Wait for `work`, which goes on either way; False if it took longer."""
        done, _ = await asyncio.wait({work}, timeout=timeout_s)
        if not done:
            self._overdue.add(work)
            work.add_done_callback(self._overdue.discard)
        return bool(done)


class Health:
    """Whether the store answers, as far as this process knows."""

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]],
        *,
        tasks: Tasks,
        on_error: Callable[[str], None],
        call_s: float,
        pauses_s: tuple[float, float],
        probing: str = "recall",
    ) -> None:
        self._probe, self._probing = probe, probing
        self._tasks = tasks
        self._on_error = on_error
        self._call_s = call_s
        self._pauses_s = pauses_s
        self._back = asyncio.Event()
        self._back.set()
        self.errors = 0

    @property
    def away(self) -> bool:
        """The last call failed, and no probe has succeeded since."""
        return not self._back.is_set()

    async def returned(self) -> None:
        """Wait until the store is not away."""
        await self._back.wait()

    async def call(self, operation: str, work: Awaitable[T]) -> T:
        """Return what the store answers; raises StoreUnavailable after having taken note of it."""
        try:
            async with asyncio.timeout(self._call_s):
                return await work
        except Exception as error:
            self._failed(operation, error)
            raise StoreUnavailable(f"the store did not {operation}") from error

    def _failed(self, operation: str, error: Exception) -> None:
        self.errors += 1
        self._on_error(operation)
        if not isinstance(error, StoreUnavailable | TimeoutError):
            logger.error("the store failed in an unknown way", extra={"operation": operation}, exc_info=error)
        if not self.away:
            self._back.clear()
            self._tasks.spawn("store-probe", self._probe_until_back(), endless=True)

    async def _probe_until_back(self) -> None:
        pause_s, longest_s = self._pauses_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, longest_s)
            try:
                await self.call(self._probing, self._probe())
            except StoreUnavailable:
                continue
            self._back.set()
            return


class Outbox(Generic[K, W]):
    """The queue of writes, oldest first; the key says what a write is about."""

    def __init__(
        self,
        remember: Callable[[Sequence[W]], Awaitable[None]],
        *,
        health: Health,
        capacity: int,
        on_drop: Callable[[W], None],
        operation: str = "remember",
        weigh: Callable[[W], int] = lambda write: 1,
        batch: int = BATCH,
    ) -> None:
        """`capacity` and `batch` are weights: of all that is queued, and of what one call takes."""
        self._remember, self._operation = remember, operation
        self._weigh, self._batch = weigh, batch
        self._health = health
        self._capacity = capacity
        self._on_drop = on_drop
        # Not a dict: taking from the front of one leaves gaps that every later look at the front must cross.
        self._queue: OrderedDict[K, tuple[int, W]] = OrderedDict()
        self._weight = 0
        self._filled = asyncio.Event()
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._patience = Patience()
        self._count = 0
        self.written = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._queue)

    def __contains__(self, key: K) -> bool:
        return key in self._queue

    def put(self, key: K, write: W) -> None:
        """Queue a write; an older one to the same key is no longer needed."""
        self._take(key)
        self._count += 1
        self._queue[key] = (self._count, write)
        self._weight += self._weigh(write)
        self._filled.set()
        while self._weight > self._capacity and len(self._queue) > 1:
            dropped = self._take(next(iter(self._queue)))
            self.dropped += 1
            if dropped is not None:
                self._on_drop(dropped)

    async def wait(self, timeout_s: float) -> None:
        """Wait until what is queued now was sent, `timeout_s` at most, and not at all if that is in vain."""
        if timeout_s > 0 and not self._health.away and not self._patience.exhausted:
            await self._patience.wait(self.sent(), timeout_s)

    def sent(self) -> asyncio.Future[None]:
        """Return a future that is done when all that is queued now was sent, or sending failed."""
        future = asyncio.get_running_loop().create_future()
        if self._queue:
            self._waiters.append((self._count, future))
        else:
            future.set_result(None)
        return future

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await self._filled.wait()
            await self._health.returned()
            await self._send()

    async def drain(self, deadline_s: float) -> int:
        """Send what is left, as far as the store and the deadline allow; return how much is lost."""
        try:
            async with asyncio.timeout(deadline_s):
                while self._queue and await self._send():
                    pass
        except TimeoutError:
            pass
        self._release(self._count)
        return len(self._queue)

    def clear(self) -> None:
        """Forget what was not sent."""
        self._queue.clear()
        self._weight = 0
        self._filled.clear()
        self._release(self._count)

    async def _send(self) -> bool:
        batch = self._next()
        if not batch:
            return True
        try:
            await self._health.call(self._operation, self._remember([write for _, (_, write) in batch]))
        except StoreUnavailable:
            self._release(self._count)
            return False
        for key, entry in batch:
            if self._queue.get(key) is entry:
                self._take(key)
        if not self._queue:
            self._filled.clear()
        self.written += len(batch)
        self._release(batch[-1][1][0])
        return True

    def _next(self) -> list[tuple[K, tuple[int, W]]]:
        """Return the oldest entries, as many as one call takes and at least one."""
        batch: list[tuple[K, tuple[int, W]]] = []
        weight = 0
        for key, entry in self._queue.items():
            weight += self._weigh(entry[1])
            if batch and weight > self._batch:
                break
            batch.append((key, entry))
        return batch

    def _take(self, key: K) -> W | None:
        """Remove an entry, if it is there, and return its write."""
        entry = self._queue.pop(key, None)
        if entry is None:
            return None
        self._weight -= self._weigh(entry[1])
        return entry[1]

    def _release(self, last: int) -> None:
        while self._waiters and self._waiters[0][0] <= last:
            _, future = self._waiters.popleft()
            if not future.done():
                future.set_result(None)
