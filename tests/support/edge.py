"""The edge in front of an application on a raw socket, with timers that a test moves by hand."""

import asyncio
import json
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from gateway.cli.edge import Edge
from tests.support.eventually import eventually

DEADLINE_S = 10


class Timers:
    """A loop whose timers stand still until a test moves them; everything else is the running loop's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = 0.0
        self._set: list[asyncio.TimerHandle] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self._now + delay, callback, args, self._loop)
        self._set.append(handle)
        return handle

    def left(self) -> list[float]:
        """In how many seconds each is due."""
        return [each.when() - self._now for each in self._set if not each.cancelled()]

    async def set_for(self, seconds: float) -> None:
        """Wait until one is due in so many seconds."""
        await eventually(lambda: seconds in self.left(), DEADLINE_S)

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        until = self._now + seconds
        while due := [each for each in self._set if not each.cancelled() and each.when() <= until]:
            first = min(due, key=asyncio.TimerHandle.when)
            self._set.remove(first)
            self._now = first.when()
            first._run()
        self._now = until


@dataclass
class App:
    """Answers with what it was asked, one request at a time, and may be told to wait."""

    scopes: list[dict[str, Any]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    read: asyncio.Event = field(default_factory=asyncio.Event)
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    timers: Timers = field(default_factory=Timers)
    received: int = 0

    def __post_init__(self) -> None:
        self.read.set()
        self.answer.set()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        self.scopes.append(scope)
        self.entered.set()
        if scope["path"] == "/early":
            await _answer(send, b"early")
            return
        await self.read.wait()
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            body += message["body"]
            self.received = len(body)
            more = message["more_body"]
        await self.answer.wait()
        await _answer(send, scope["method"].encode() + b" " + scope["raw_path"] + b" " + body)


async def _answer(send: Any, body: bytes) -> None:
    length = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Client:
    """A connection."""

    reader: StreamReader
    writer: StreamWriter
    timers: Timers

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await asyncio.wait_for(self.writer.drain(), DEADLINE_S)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer; a 100 is one."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        first, *lines = head.decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0))
        body = await asyncio.wait_for(self.reader.readexactly(size), DEADLINE_S)
        return int(first.split()[1]), headers, body

    async def refusal(self) -> tuple[int, str, str]:
        """The next answer, which is an error and the last: status, kind and message."""
        status, headers, body = await self.answer()
        said = json.loads(body)
        assert said["request_id"] == headers["request-id"] == headers["x-gateway-request-id"]
        assert (said["type"], headers["content-type"]) == ("error", "application/json")
        assert headers["connection"] == "close"
        assert await self.rest() == b""
        return status, said["error"]["type"], said["error"]["message"]

    async def rest(self) -> bytes:
        """What still comes until the other side is done."""
        return await asyncio.wait_for(self.reader.read(), DEADLINE_S)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[App, int]]:
    app = App()

    def timed(**options: Any) -> Edge:
        return Edge(**{**options, "_loop": app.timers})

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, ws="none", timeout_keep_alive=75
    )
    config.load()
    config.http_protocol_class = timed  # type: ignore[assignment]
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield app, listener.getsockname()[1]
    finally:
        for each in server.servers:
            each.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        app.read.set()
        app.answer.set()
        async with asyncio.timeout(DEADLINE_S):
            while tasks := set(server.server_state.tasks):
                await asyncio.wait(tasks)
        listener.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[App, Client]]:
    async with served() as (app, port):
        client = Client(*await asyncio.open_connection("127.0.0.1", port), app.timers)
        try:
            yield app, client
        finally:
            client.writer.transport.abort()
