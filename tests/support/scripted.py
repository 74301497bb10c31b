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


@dataclass
class Scripted:
    """What arrived, and where to send more."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """A client closed its connection."""


@asynccontextmanager
async def scripted_upstream(script: Script) -> AsyncIterator[Scripted]:
    """Serve every request with `script(request, writer)`; the connection stays open unless the script closes
    it.
    """
    upstream = Scripted()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
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


async def _read_request(reader: asyncio.StreamReader, number: int) -> Request | None:
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
    return Request(line.rstrip(b"\r\n"), headers, body, number)


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
