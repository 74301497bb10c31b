"""An upstream that says exactly the bytes a test gives it, on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Script = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    """One request as its bytes arrived."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    connection: int
    left: asyncio.Event
    """The client closed this connection."""


@dataclass
class Scripted:
    """What arrived, and where to send more."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """A client closed its connection."""
    close: Callable[[], None] = lambda: None
    """Take no more connections."""


@asynccontextmanager
async def scripted_upstream(script: Script) -> AsyncIterator[Scripted]:
    """Serve every request with `script(request, writer)`; the connection stays open unless the script closes
    it.
    """
    upstream = Scripted()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        serving.add(asyncio.current_task())
        upstream.connections += 1
        number = upstream.connections
        try:
            while (request := await _read_request(reader, number)) is not None:
                upstream.requests.append(request)
                await script(request, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            upstream.hung_up.set()
            writer.close()

    def connection() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_Reader(upstream.hung_up), serve)

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    upstream.close = server.close
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        running = {task for task in serving if task is not None and not task.done()}
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


class _Reader(asyncio.StreamReader):
    """Tells that the client left even while nobody reads."""

    def __init__(self, hung_up: asyncio.Event) -> None:
        super().__init__()
        self.left = asyncio.Event()
        self._hung_up = hung_up

    def feed_eof(self) -> None:
        super().feed_eof()
        self.left.set()
        self._hung_up.set()


async def _read_request(reader: _Reader, number: int) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    headers: list[tuple[bytes, bytes]] = []
    while (raw := (await reader.readline()).rstrip(b"\r\n")) != b"":
        name, _, value = raw.partition(b":")
        headers.append((name.strip().lower(), value.strip()))
    framing = dict(headers)
    if framing.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(framing.get(b"content-length", b"0")))
    return Request(line.rstrip(b"\r\n"), headers, body, number, reader.left)


def answer(
    body: bytes, *, status: str = "200 OK", headers: tuple[bytes, ...] = (b"content-type: application/json",)
) -> bytes:
    """Return the bytes of a whole answer with a content-length."""
    head = [f"HTTP/1.1 {status}".encode(), *headers, b"content-length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def replying(raw: bytes) -> Script:
    """Return a script that says the same bytes to every request."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return script


async def silent(request: Request, _: asyncio.StreamWriter) -> None:
    """Say nothing until the client leaves."""
    await request.left.wait()
