"""One request and its answer over raw ASGI, with what went on kept in a journal entry.

Raw, because the simulator carries load tests and because faults need what frameworks hide: answers that
stop half-way, and connections that close without one. ASGI has no word for the latter. Under uvicorn the
bound `send` leads to the connection's transport, and `hang_up` closes that; a server without one gets an
incomplete answer or an exception and does with them what it does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NoReturn

from gateway.core.types import to_json
from gateway.simulator.journal import Entry
from gateway.simulator.rules.case import ApiError, Json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[str, str]]

SHORTEST_PAUSE_S = 0.0005
"""A shorter pause than this is none: waking up would take longer."""


class Disconnected(Exception):
    """The connection is closed, by the client or by a fault; there is nothing more to do."""


class NoAnswer(Exception):
    """The connection was to be closed without an answer, and this server offers no way to do it."""


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, entry: Entry) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.scheme: str = scope.get("scheme", "http")
        self.peer: str | None = scope["client"][0] if scope.get("client") else None
        self.header = dict(reversed(entry.headers))
        """The first value of each header, by lower-case name."""
        self.entry = entry
        self.standard: list[tuple[bytes, bytes]] = []
        """Headers of every answer."""
        self.request_id = ""
        self.null_details = False
        """Whether errors without details say so."""
        self._receive = receive
        self._send = send
        self._server = getattr(send, "__self__", None)
        self._started = False
        self._owed_s = 0.0

    async def body(self, limit: int) -> bytes:
        """The request's body, kept in the journal; 413 over the limit."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left()
            if part := message.get("body", b""):
                parts.append(part)
                size += len(part)
            if size > limit:
                self.entry.keep(b"".join(parts))
                raise ApiError(413, "Request exceeds the maximum size")
            if not message.get("more_body"):
                break
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.entry.keep(body)
        return body

    async def answer(self, status: int, body: bytes, content_type: str, headers: Headers = ()) -> None:
        """Answer at once."""
        await self.start(status, content_type, headers, length=len(body))
        await self.write(body, last=True)

    async def answer_json(self, value: object, status: int = 200, headers: Headers = ()) -> None:
        await self.answer(status, to_json(value), "application/json", headers)

    async def fail(self, error: ApiError) -> None:
        """Answer with an error, unless an answer has begun."""
        if not self._started:
            await self.answer_json(self.envelope(error), error.status, error.headers)

    def envelope(self, error: ApiError) -> Json:
        told = {"details": None, **error.error} if self.null_details else error.error
        return {"type": "error", "error": told, "request_id": self.request_id}

    async def start(
        self, status: int, content_type: str, headers: Headers = (), *, length: int | None = None
    ) -> None:
        """Begin an answer; without a length it is chunked."""
        own = [(b"content-type", content_type.encode())]
        own += [(name.encode(), value.encode()) for name, value in headers]
        if length is not None:
            own.append((b"content-length", str(length).encode()))
        self._started = True
        self.entry.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": [*self.standard, *own]})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the answer; raises Disconnected when nobody takes it."""
        if getattr(self._server, "disconnected", False):
            self._left()
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        if not last:
            # Sending never waits: without this nobody would notice that the client left, or get a turn.
            await asyncio.sleep(0)

    async def pause(self, seconds: float) -> None:
        """Let time pass; raises Disconnected as soon as the client hangs up.

        Pauses too short to be worth it are saved up.
        """
        self._owed_s += seconds
        if self._owed_s < SHORTEST_PAUSE_S:
            return
        seconds, self._owed_s = self._owed_s, 0.0
        try:
            async with asyncio.timeout(seconds):
                await self.until_left()
        except TimeoutError:
            return

    async def until_left(self) -> NoReturn:
        """Wait until the client hangs up, and raise Disconnected."""
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._left()

    async def hang_up(self) -> NoReturn:
        """Close the connection after what has been sent, whatever was promised, and raise Disconnected."""
        transport = getattr(self._server, "transport", None)
        if transport is None:
            raise NoAnswer
        transport.close()
        # The server learns of it from the event loop; only then does it know that nothing is missing.
        while (await self._receive())["type"] != "http.disconnect":
            continue
        raise Disconnected

    def _left(self) -> NoReturn:
        self.entry.hung_up = True
        raise Disconnected
