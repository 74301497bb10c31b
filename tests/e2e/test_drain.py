"""A gateway that is told to end leaves nobody without an answer: not who waits, not who comes late."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.core.types import to_json
from gateway.proxy.transport.wire import Exchange, Origin, Wire
from tests.support.deploy import Deployed, deployed, write_config
from tests.support.scripted import Request, Scripted, answer, scripted_upstream

GRACE_S = 2.0
SOON_S = 30.0
HEADERS = [(b"x-api-key", b"sk-test"), (b"content-type", b"application/json")]
ASKED = {"model": "claude-opus-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class Slow:
    """An upstream whose streams end when the test says so; all other answers come at once."""

    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if b'"stream":true' not in request.body:
            writer.write(answer(b"{}"))
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        writer.write(_chunk(b'event: ping\ndata: {"type":"ping"}\n\n'))
        await self.released.wait()
        writer.write(_chunk(b'event: message_stop\ndata: {"type":"message_stop"}\n\n') + b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Caller:
    """Asks one gateway; `wire` keeps its connections, as applications do."""

    gateway: Deployed
    wire: Wire

    async def ask(self, *, stream: bool = False) -> Exchange:
        body = to_json({**ASKED, "stream": stream})
        return await self.wire.send(b"POST", b"/v1/messages", HEADERS, body)

    async def readiness(self) -> int:
        fresh = Wire(self.wire.origin, connect_timeout_s=5, first_byte_timeout_s=SOON_S)
        exchange = await fresh.send(b"GET", b"/readyz", [], b"")
        await exchange.read_all(100)
        fresh.close()
        return exchange.status

    async def until_last(self) -> None:
        """Ask until an answer is the last on its connection; all of them are served."""
        async with asyncio.timeout(SOON_S):
            while True:
                exchange = await self.ask()
                assert (exchange.status, await exchange.read_all(100)) == (200, b"{}")
                if connection_of(exchange) == b"close":
                    return

    async def until_not_ready(self) -> None:
        async with asyncio.timeout(SOON_S):
            while await self.readiness() == 200:
                pass

    async def ended(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.gateway.process.wait), SOON_S)


@asynccontextmanager
async def serving(
    directory: Path, upstream: Scripted, *, workers: int = 1, grace_s: float = GRACE_S
) -> AsyncIterator[Caller]:
    config = write_config(directory, upstream.url)
    running = deployed(config, directory, workers=workers, env={"GATEWAY_DRAIN_GRACE_S": str(grace_s)})
    gateway = await asyncio.to_thread(running.__enter__)
    wire = Wire(Origin.parse(gateway.url), connect_timeout_s=5, first_byte_timeout_s=SOON_S)
    try:
        yield Caller(gateway, wire)
    finally:
        wire.close()
        await asyncio.to_thread(running.__exit__, None, None, None)


def connection_of(exchange: Exchange) -> bytes:
    return dict(exchange.headers).get(b"connection", b"keep-alive")


@pytest.mark.parametrize("workers", [1, 2])
async def test_late_requests_are_served_and_running_streams_finish(tmp_path: Path, workers: int) -> None:
    slow = Slow()
    async with scripted_upstream(slow) as upstream, serving(tmp_path, upstream, workers=workers) as caller:
        stream = await caller.ask(stream=True)
        assert b"ping" in (await stream.read() or b"")
        before = await caller.ask()
        assert (await before.read_all(100), connection_of(before)) == (b"{}", b"keep-alive")

        caller.gateway.process.terminate()
        await caller.until_not_ready()
        await caller.until_last()  # on the connection of the one before
        await caller.until_last()  # on one of its own
        assert caller.gateway.process.poll() is None

        slow.released.set()
        assert b"message_stop" in await stream.read_all(1000)
        assert await caller.ended() == 0


async def test_the_gateway_stops_listening_when_the_grace_is_over_and_waits_for_the_stream(
    tmp_path: Path,
) -> None:
    slow = Slow()
    async with scripted_upstream(slow) as upstream, serving(tmp_path, upstream) as caller:
        stream = await caller.ask(stream=True)
        caller.gateway.process.terminate()
        await asyncio.to_thread(caller.gateway.until_deaf)
        assert caller.gateway.process.poll() is None
        slow.released.set()
        assert b"message_stop" in await stream.read_all(1000)
        assert await caller.ended() == 0


async def test_a_second_signal_and_ctrl_c_do_not_wait(tmp_path: Path) -> None:
    async with scripted_upstream(Slow()) as upstream:
        async with serving(tmp_path / "terminated", upstream, grace_s=600) as caller:
            caller.gateway.process.terminate()
            await caller.until_not_ready()
            caller.gateway.process.terminate()
            assert await caller.ended() == 0
        async with serving(tmp_path / "interrupted", upstream, grace_s=600) as caller:
            caller.gateway.process.send_signal(signal.SIGINT)
            assert await caller.ended() == 0
