"""The HTTP/1.1 client of the data path: a keep-alive pool over asyncio and httptools, and nothing more.

Why not a ready-made client: the data path spends its time here, and a general client costs 12 to 30 times as
much CPU per request (docs/decisions). The seam is `Wire.send`, which gives an `Exchange`: status, headers and
a body that is read as it arrives, with backpressure down to the socket. Foreign exceptions end here: what
leaves this module is ConnectFailed (nothing was sent), UpstreamTimeout (no first byte in time), Unanswered
(the connection ended before an answer), UpstreamBroken (inside one) or what `before_send` raised.

A connection that the upstream closed while it was idle is found when it is used again: if not one byte of an
answer came back, the request goes out once more on a new connection. Nothing else is ever retried here. A
body that streams in cannot be sent twice, so it goes out on a connection of its own; where the answer comes
before the body's end, the rest of the body is not sent.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from gateway.errors import ConfigError, ConnectFailed, Unanswered, UpstreamBroken, UpstreamTimeout

Headers = list[tuple[bytes, bytes]]
Body = bytes | AsyncIterator[bytes]

_STALL_S = 60.0
"""How long an upstream may read nothing of a body that is being sent."""
_HIGH_WATER = 256 * 1024
_BODYLESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go: the parsed base URL of an upstream."""

    host: str
    port: int
    authority: bytes
    prefix: bytes
    tls: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str) -> "Origin":
        """Parse an http or https base URL; raises ConfigError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"upstream url {parts.scheme}://… is not an http or https url with a host")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        authority = f"{shown}:{parts.port}" if parts.port else shown
        return cls(parts.hostname, port, authority.encode(), parts.path.rstrip("/").encode(), tls)


class Exchange:
    """One answer that is still arriving. Read it to its end or close it; both are safe to repeat."""

    __slots__ = ("_connection", "_patience_s", "_quiet_s", "headers", "status")

    def __init__(self, connection: "_Connection", patience_s: float) -> None:
        self._connection: _Connection | None = connection
        self._patience_s, self._quiet_s = patience_s, 0.0
        self.status = connection.status
        self.headers: Headers = connection.headers

    async def read(self, silence_s: float | None = None) -> bytes | None:
        """Return the next bytes of the body, b"" at its end, None after `silence_s` without any.

        Raises UpstreamBroken when the connection ended first, or is silent for too long altogether.
        """
        if self._connection is None:
            return b""
        wait_s = self._patience_s if silence_s is None else silence_s
        data = await self._connection.read(wait_s)
        self._quiet_s = self._quiet_s + wait_s if data is None else 0.0
        if self._quiet_s >= self._patience_s:
            raise UpstreamBroken(f"the upstream has said nothing for {self._patience_s:g} s")
        if data == b"":
            self.close()
        return data

    async def read_all(self, limit: int) -> bytes:
        """Return the whole body; raises UpstreamBroken where it is cut or longer than `limit` bytes."""
        chunks: list[bytes] = []
        size = 0
        while chunk := await self.read():
            size += len(chunk)
            if size > limit:
                self.close()
                raise UpstreamBroken(f"the upstream's answer is longer than {limit} bytes")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def close(self) -> None:
        """Stop; where the answer is not complete the connection is dropped, so that the upstream stops."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


class Wire:
    """A pool of connections to one origin."""

    def __init__(
        self, origin: Origin, *, connect_timeout_s: float, first_byte_timeout_s: float,
        patience_s: float = 600.0, idle_s: float = 30.0,
    ) -> None:  # fmt: skip
        """`patience_s` is how long an answer that has begun may go without a single byte."""
        self.origin = origin
        self._connect_s = connect_timeout_s
        self._first_byte_s = first_byte_timeout_s
        self._patience_s, self._idle_s = patience_s, idle_s
        self._idle: deque[_Connection] = deque()
        self.opened = 0
        """Connections opened so far; shows whether they are reused."""

    async def send(
        self, method: bytes, target: bytes, headers: Headers, body: Body, *,
        length: int | None = None, before_send: Callable[[], None] | None = None,
    ) -> Exchange:  # fmt: skip
        """Send one request and return when the head of its answer is there.

        `headers` hold neither host nor framing; `length` is that of a streamed body, where it is known.
        `before_send` is called with a connection in hand, right before the first byte goes out; what it
        raises stops the request and is raised here.
        """
        head = self._head(method, target, headers, _framing(method, body, length))
        while True:
            idle = self._usable() if isinstance(body, bytes) else None
            connection = idle or await self._open()
            try:
                if before_send is not None:
                    before_send()
                return await self._exchange(connection, method, head, body, chunked=length is None)
            except Unanswered:
                if idle is None:
                    raise
            except BaseException:
                connection.release()
                raise

    def close(self) -> None:
        """Drop the idle connections; those in use end with their exchange."""
        while self._idle:
            self._idle.pop().drop()

    def _head(self, method: bytes, target: bytes, headers: Headers, framing: bytes) -> bytes:
        origin = self.origin
        line = b"%b %b%b HTTP/1.1\r\nhost: %b\r\n" % (method, origin.prefix, target, origin.authority)
        return b"".join([line, *[b"%b: %b\r\n" % pair for pair in headers], framing, b"\r\n"])

    def _usable(self) -> "_Connection | None":
        """Take the idle connection that was used last; those nobody needed for a while are dropped."""
        oldest = asyncio.get_running_loop().time() - self._idle_s
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().drop()
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.drop()
        return None

    async def _open(self) -> "_Connection":
        host, port, tls = self.origin.host, self.origin.port, self.origin.tls
        opening = asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._idle), host, port, ssl=tls, server_hostname=host if tls else None
        )
        try:
            async with asyncio.timeout(self._connect_s):
                _, protocol = await opening
        except TimeoutError:
            raise ConnectFailed(f"no connection to the upstream within {self._connect_s:g} s") from None
        except OSError as error:
            raise ConnectFailed("the upstream cannot be reached") from error
        self.opened += 1
        return protocol

    async def _exchange(
        self, connection: "_Connection", method: bytes, head: bytes, body: Body, *, chunked: bool
    ) -> Exchange:
        connection.begin(method)
        if not isinstance(body, bytes):
            await connection.stream(head, body, chunked=chunked)
        elif len(body) < 65_536:
            connection.write(head + body)
        else:
            connection.write(head)
            connection.write(body)
        try:
            async with asyncio.timeout(self._first_byte_s):
                await connection.head()
        except TimeoutError:
            raise UpstreamTimeout(
                f"the upstream sent no first byte within {self._first_byte_s:g} s"
            ) from None
        return Exchange(connection, self._patience_s)


def _framing(method: bytes, body: Body, length: int | None) -> bytes:
    if not isinstance(body, bytes):
        return b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
    if body or method not in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
        return b"content-length: %d\r\n" % len(body)
    return b""


class _Connection(asyncio.Protocol):
    """One connection with at most one exchange at a time; back in the pool after a whole answer."""

    def __init__(self, pool: "deque[_Connection]") -> None:
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.idle_since = 0.0
        self.begin(b"")
        self.complete = self._keep_alive = True

    def begin(self, method: bytes) -> None:
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._head_done = self._answered = self._keep_alive = False
        self._cut_short = self._surplus = self.complete = False
        self.status = 0
        self.headers: Headers = []

    # --- what an exchange asks of it

    @property
    def usable(self) -> bool:
        transport = self._transport
        return self.complete and not self._lost and transport is not None and not transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._lost:
            self._transport.write(data)

    async def stream(self, head: bytes, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        """Send a body as it comes; stops early where the upstream has already answered or gone."""
        self.write(head)
        upload = asyncio.get_running_loop().create_task(self._upload(body, chunked=chunked), name="upload")
        upload.add_done_callback(lambda _: self._wake())
        try:
            while not (upload.done() or self._lost or self._head_done):
                await self._wait()
            self._cut_short = not upload.done()
        finally:
            upload.cancel()
            await asyncio.wait({upload})
        failure = None if upload.cancelled() else upload.exception()
        if failure is not None and not self._cut_short:
            raise failure

    async def _upload(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        async for chunk in body:
            if chunk:
                self.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                try:
                    async with asyncio.timeout(_STALL_S):
                        await self._writable.wait()
                except TimeoutError:
                    raise UpstreamTimeout(f"the upstream has read nothing for {_STALL_S:g} s") from None
        if chunked:
            self.write(b"0\r\n\r\n")

    async def head(self) -> None:
        while not self._head_done:
            if self._lost:
                if self._answered:
                    raise UpstreamBroken("the upstream's connection ended inside the head of an answer")
                raise Unanswered("the upstream closed the connection without an answer")
            await self._wait()

    async def read(self, silence_s: float) -> bytes | None:
        now = asyncio.get_running_loop().time
        until = 0.0 if self._chunks else now() + silence_s
        while not self._chunks:
            if self.complete:
                return b""
            if self._lost:
                raise UpstreamBroken("the upstream's connection ended inside an answer")
            if now() >= until:
                return None
            await self._wait(until)
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def release(self) -> None:
        """Back to the pool when nothing is owed on it, else away."""
        if self.usable and self._keep_alive and not (self._cut_short or self._surplus or self._chunks):
            self.idle_since = asyncio.get_running_loop().time()
            self._pool.append(self)
        else:
            self.drop()

    def drop(self) -> None:
        self._lost = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    async def _wait(self, until: float | None = None) -> None:
        """Wait until anything happens, be it only framing, or the loop's clock shows `until`."""
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_at(until, self._wake) if until is not None else None
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._answered = True
        if self.complete:  # bytes that nobody asked for
            self.drop()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError):
            self.drop()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
        if exc is None and self._head_done and not framed:  # the end of the connection is the answer's
            self.complete = True
        self._lost = True
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- httptools callbacks

    def on_message_begin(self) -> None:
        self._surplus = self.complete  # an answer that nobody asked for, in the same bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # trailers are dropped
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._head_done = True
        if self._method == b"HEAD" or self.status in _BODYLESS:
            self.complete = True

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self._surplus = True
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._surplus:
            return
        if self.status < 200:  # 100 Continue and friends: the answer is still to come
            self.status = 0
            self.headers = []
            return
        self._keep_alive = self._parser.should_keep_alive()
        self.complete = True
