"""What a load balancer takes for a gateway: it says whether it is ready, and does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.support.scripted import answer

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What follows a request's head. The body is still to be read; the connection ends where it closes it."""


@dataclass
class Standin:
    """One stand-in for a gateway."""

    name: str
    ready: bool = True
    behave: Behaviour | None = None
    """None: it answers with its name."""
    asked: list[bytes] = field(default_factory=list)
    """The first lines of the requests that were no health check."""
    port: int = 0
    _server: asyncio.Server | None = None
    _serving: set["asyncio.Task[None] | None"] = field(default_factory=set)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more and end every connection."""
        if self._server is not None:
            self._server.close()
        serving = [task for task in self._serving if task is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head.partition(b"\r\n")[0], reader, writer)
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line == b"GET /readyz HTTP/1.1":
            writer.write(answer(b"", status="200 OK" if self.ready else "503 Service Unavailable"))
            return
        self.asked.append(line)
        if self.behave is None:
            writer.write(answer(self.name.encode()))
        else:
            await self.behave(reader, writer)


@asynccontextmanager
async def standin(name: str) -> AsyncIterator[Standin]:
    """Run a stand-in until the block ends."""
    gateway = Standin(name)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@dataclass
class Stream:
    """A stream in three parts: the second and the last come when the test says so."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for part, wait in ((b"first", self.go_on), (b"second", self.end)):
            writer.write(chunk(part))
            await wait.wait()
        writer.write(chunk(b"last") + chunk(b""))


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)
