"""A crowd that holds streams open and asks short questions at a steady rate, and what went wrong for it.

The upstream of both is here too: a stream says something every few seconds for as long as its number says, so
that at any moment some are young and some are about to end.
"""

import asyncio
import itertools
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.core.types import to_json
from gateway.proxy.transport.wire import Exchange, Origin, Wire
from tests.support.long_stream import ASKED, BEGINNING, END, HEADERS, MESSAGE, STREAM_HEAD, events
from tests.support.scripted import Request, answer

EVENT_EVERY_S = 4.0
SHORTEST_S, LONGEST_S = 12, 24
WITHIN_S = 30.0
WORD = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "and "}}


class Upstream:
    """What the gateways ask; a `Script`."""

    def __init__(self) -> None:
        self.asked = 0
        self._numbers = itertools.count()

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        if b'"stream":true' not in request.body:
            writer.write(answer(to_json(MESSAGE)))
            return
        lasts_s = SHORTEST_S + next(self._numbers) % (LONGEST_S - SHORTEST_S)
        writer.write(STREAM_HEAD + events(*BEGINNING))
        for _ in range(int(lasts_s / EVENT_EVERY_S)):
            await pause(asyncio.Event(), EVENT_EVERY_S)
            writer.write(events(WORD))
        writer.write(events(*END) + b"0\r\n\r\n")


@dataclass
class Crowd:
    """Everybody who talks to `url`."""

    url: str
    problems: list[str] = field(default_factory=list)
    asked: int = 0
    """Short questions."""
    streamed: int = 0
    """Streams that came to their end."""
    open: int = 0
    """Streams that have begun and not ended."""
    attempts: int = 0
    """How often something was sent, over the wire's own retries."""
    lasted_s: float = 0.0
    """How long questions were asked."""

    def __post_init__(self) -> None:
        self._wire = Wire(Origin.parse(self.url), connect_timeout_s=5, first_byte_timeout_s=WITHIN_S)
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def gather(self, *, streams: int, per_second: float) -> None:
        """Begin, and return when that many streams are open."""
        for _ in range(streams):
            self._spawn(self._hold())
        self._spawn(self._keep_asking(per_second))
        async with asyncio.timeout(WITHIN_S):
            while self.open < streams and not self.problems:
                await pause(asyncio.Event(), 0.1)

    async def disperse(self) -> None:
        """Begin nothing new and return when everybody has his answer."""
        self._stop.set()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._wire.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hold(self) -> None:
        """Listen to one stream after the other."""
        while not self._stop.is_set():
            try:
                await self._listen()
            except Exception as error:
                self.problems.append(f"stream: {error!r}")
                return

    async def _listen(self) -> None:
        exchange = await self._send(to_json({**ASKED, "stream": True}))
        self.open += 1
        try:
            said = await exchange.read_all(1 << 20)
        finally:
            self.open -= 1
        if exchange.status == 200 and b'"message_stop"' in said and b"event: error" not in said:
            self.streamed += 1
        else:
            self.problems.append(f"stream: {exchange.status} {said[-200:]!r}")

    async def _keep_asking(self, per_second: float) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for number in itertools.count(1):
            self._spawn(self._ask())
            await pause(self._stop, began + number / per_second - clock())
            if self._stop.is_set():
                self.lasted_s = clock() - began
                return

    async def _ask(self) -> None:
        self.asked += 1
        try:
            exchange = await self._send(to_json(ASKED))
            said = await exchange.read_all(1 << 20)
        except Exception as error:
            self.problems.append(f"question: {error!r}")
            return
        if exchange.status != 200 or b"Hello" not in said:
            self.problems.append(f"question: {exchange.status} {said[:200]!r}")

    async def _send(self, body: bytes) -> Exchange:
        return await self._wire.send(b"POST", b"/v1/messages", HEADERS, body, before_send=self._count)

    def _count(self) -> None:
        self.attempts += 1


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Let that much time pass, or less if `stop` is set meanwhile."""
    if seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
    else:
        await asyncio.sleep(0)
