"""A stream as long as the longest that are promised, and an answer as long in coming, beside other tests.

Both go from a client through the load balancer and a gateway to an upstream that says next to nothing, in a
thread of their own from `start` on; `result` waits for them.
"""

import asyncio
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.core.types import to_json
from gateway.proxy.transport.wire import Origin, Wire
from tests.support.scripted import Request, answer, scripted_upstream
from tests.support.stack import Stack, stack

TEN_MINUTES_S = 600.0
MARGIN_S = 120.0
HEADERS = [(b"x-api-key", b"sk-test"), (b"content-type", b"application/json")]
ASKED = {"model": "claude-opus-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
BEGINNING: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-5-20251101",
            "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
]  # fmt: skip
WORD: dict[str, Any] = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "Hello"},
}
END: list[dict[str, Any]] = [
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]
MESSAGE = {
    **BEGINNING[0]["message"],
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def events(*documents: dict[str, Any]) -> bytes:
    """Return events as one chunk of a chunked body."""
    data = b"".join(b"event: %b\ndata: %b\n\n" % (each["type"].encode(), to_json(each)) for each in documents)
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True)
class Lived:
    """What the client of both saw."""

    asked_for_s: float
    lasted_s: float
    first_event_after_s: float
    longest_silence_s: float
    pings: int
    whole: bool
    silent_status: int
    silent_took_s: float


class LongStream:
    """The stream, from `start` to `result`."""

    def __init__(self, tree: Path, directory: Path) -> None:
        self.seconds = float(os.environ.get("LONG_STREAM_S", TEN_MINUTES_S))
        self._tree = tree
        self._directory = directory
        self._lived: Lived | BaseException | None = None
        self._deployed: Stack | None = None
        self._thread = threading.Thread(target=self._run, name="long-stream", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def result(self) -> Lived:
        """Wait for the end and return what was seen; raises what went wrong."""
        self._thread.join(self.seconds + MARGIN_S)
        assert not isinstance(self._lived, BaseException), repr(self._lived)
        assert self._lived is not None, f"the stream still runs after {self.seconds + MARGIN_S:g} s"
        return self._lived

    def end(self) -> None:
        """Leave nothing running, although nobody has waited for the result."""
        if self._deployed is not None:
            self._deployed.end()
        self._thread.join(MARGIN_S)

    def _run(self) -> None:
        try:
            self._lived = asyncio.run(self._live())
        except BaseException as error:
            self._lived = error

    async def _live(self) -> Lived:
        async with scripted_upstream(self._say) as upstream:
            services = ("redis", "gateway-1", "gateway-2", "loadbalancer")
            running = stack(self._tree, self._directory, *services, GATEWAY_UPSTREAM_URL=upstream.url)
            self._deployed = await asyncio.to_thread(running.__enter__)
            try:
                return await self._listen(self._deployed)
            finally:
                await asyncio.to_thread(running.__exit__, None, None, None)

    async def _say(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if b'"stream":true' not in request.body:
            await _after(self.seconds - 10)
            writer.write(answer(to_json(MESSAGE)))
            return
        # One word half-way: an upstream that says nothing at all for ten minutes is given up, and rightly.
        writer.write(STREAM_HEAD + events(*BEGINNING))
        await _after(self.seconds / 2)
        writer.write(events(WORD))
        await _after(self.seconds / 2)
        writer.write(events(*END) + b"0\r\n\r\n")

    async def _listen(self, deployed: Stack) -> Lived:
        origin = Origin.parse(deployed.url("loadbalancer:8080"))
        wire = Wire(origin, connect_timeout_s=5, first_byte_timeout_s=self.seconds + MARGIN_S)
        silent = asyncio.get_running_loop().create_task(_ask(wire), name="silent")
        clock = asyncio.get_running_loop().time
        began = heard = clock()
        said, first_s, silence_s = b"", 0.0, 0.0
        try:
            body = to_json({**ASKED, "stream": True})
            exchange = await wire.send(b"POST", b"/v1/messages", HEADERS, body)
            while part := await exchange.read():
                first_s = first_s or clock() - began
                silence_s, heard = max(silence_s, clock() - heard), clock()
                said += part
            lasted_s = clock() - began
            status, took_s = await silent
        finally:
            silent.cancel()
            wire.close()
        return Lived(
            asked_for_s=self.seconds,
            lasted_s=lasted_s,
            first_event_after_s=first_s,
            longest_silence_s=silence_s,
            pings=said.count(b"event: ping"),
            whole=b'"message_stop"' in said,
            silent_status=status,
            silent_took_s=took_s,
        )


async def _ask(wire: Wire) -> tuple[int, float]:
    clock = asyncio.get_running_loop().time
    began = clock()
    exchange = await wire.send(b"POST", b"/v1/messages", HEADERS, to_json(ASKED))
    assert b"Hello" in await exchange.read_all(1 << 20)
    return exchange.status, clock() - began


async def _after(seconds: float) -> None:
    """Return when that much time has passed."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    await passed.wait()
