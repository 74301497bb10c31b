"""The edge: what a connection must keep to before anything behind it hears of its requests.

uvicorn parses HTTP/1.1 and runs the application; this is its protocol with the manners that a server needs
which strangers can reach. Nothing here looks at a credential or a body.

- `Upgrade` is ignored, as RFC 9110 §7.8 allows: a request that offers another protocol (Java's HttpClient
  offers h2c with every one) is answered as if it had not. The parser knows no such thing; it stops at the end
  of the head and drops the body. So the head is then parsed a second time, without the offer.
- A head (request line and headers) has at most 64 KiB and 200 headers, else 431. So has everything else that
  is no body: trailers, which are read and dropped, and what may stand between chunks.
- A head is complete 30 s after its first byte, and a body never pauses for 60 s, else 408. Time in which the
  gateway itself does not read is not the client's. A connection that says nothing is closed silently.
- What is no HTTP is 400. All of these are in the API's envelope, and end the connection. Answers that were
  asked for before on the same connection are given first.

A request that arrives in one piece arms no timer.
"""

import asyncio
import logging
import secrets
from itertools import chain
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.core.types import to_json
from gateway.errors import BadRequest, GatewayError, HeadTooLarge, TooSlow

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
MAX_WAITING = 32
"""Requests that wait on one connection for the answers before theirs."""

_MALFORMED = "the request is not valid HTTP/1.1: check its request line, header lines and chunk sizes"
_TOO_LARGE = (
    f"the request's head is larger than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers: send fewer or less"
)
_LATE_HEAD = "the request's head was not complete in time: send it without pauses"
_STALLED = "the request's body stopped arriving: send it without long pauses"
_STALL_CHECKS = 4
_LINGER_S = 2.0


class Edge(HttpToolsProtocol):
    """One connection."""

    head_s = 30.0
    stall_s = 60.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = self._in_body = False  # neither: between requests
        self._size = 0  # of the last piece
        self._head_bytes = 0  # at most, of the present head
        self._idle_bytes = 0  # that brought neither the end of a head nor of a request, nor a body's byte
        self._heard = False  # since the last check of a body
        self._silent_checks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._deaf = False  # the connection is about to end: what still arrives is dropped

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a first byte."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._rest()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; the callbacks below start requests and give them their bodies."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        self._heard = True
        self._size = size = len(data)
        self._head_bytes += size
        self._idle_bytes += size
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                except httptools.HttpParserUpgrade as offer:
                    data = self._without_offer() + data[offer.args[0] :]
                else:
                    break
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, GatewayError) else BadRequest(_MALFORMED))
            return
        if self._idle_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(_TOO_LARGE))
        elif self._timer is None:
            self._watch()

    def _without_offer(self) -> bytes:
        """Return the head that has just been parsed, to be parsed again: it offers nothing any more."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"".join((*lines, b"\r\n"))

    # --- what the parser tells

    def on_message_begin(self) -> None:
        """Begin with a request."""
        self._in_head = True
        HttpToolsProtocol.on_message_begin(self)

    def on_headers_complete(self) -> None:
        """Start the request; what it still sends as headers is a trailer, and nobody's."""
        headers = self.headers
        if len(headers) > MAX_HEADERS or (self._head_bytes > MAX_HEAD_BYTES and self._is_large()):
            raise HeadTooLarge(_TOO_LARGE)
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise BadRequest("CONNECT is not answered here: this is no proxy")
            return  # until the head comes again, without the offer
        if len(self.pipeline) >= MAX_WAITING:
            raise BadRequest("too many requests wait on this connection: wait for answers, or open more")
        HttpToolsProtocol.on_headers_complete(self)
        self.headers = []
        self._in_head, self._in_body = False, True
        self._head_bytes = self._size
        self._idle_bytes = 0
        if self._timer is not None:
            self._rest()

    def _is_large(self) -> bool:
        """Whether this head is, and not only what came with it."""
        lines = sum(map(len, chain.from_iterable(self.headers))) + 4 * len(self.headers)
        return lines + len(self.url) > MAX_HEAD_BYTES

    def on_body(self, body: bytes) -> None:
        """Give the request a piece of its body."""
        self._idle_bytes = 0
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """End the request; its answer may take its time."""
        if self._in_body:  # else the request is yet to begin, without its offer
            HttpToolsProtocol.on_message_complete(self)
            self._in_body = False
            self._idle_bytes = 0
            if self._timer is not None:
                self._rest()

    @property
    def _answers(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    # --- time

    def _watch(self) -> None:
        """See to it that what has begun to arrive goes on."""
        if self._in_body:
            self._heard, self._silent_checks = False, 0
            self._timer = self.loop.call_later(self.stall_s / _STALL_CHECKS, self._check_body)
        elif self._in_head or not self._answers:
            self._timer = self.loop.call_later(self.head_s, self._head_is_late)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._timer = None
        if self.flow.read_paused:
            self._watch()
        elif self._in_head:
            self._refuse(TooSlow(_LATE_HEAD))
        else:  # bytes between requests, and no request
            self.transport.close()

    def _check_body(self) -> None:
        ours = self.flow.read_paused or self.cycle.waiting_for_100_continue
        answering = self.cycle.response_started and not self.cycle.response_complete
        self._silent_checks = 0 if self._heard or ours or answering else self._silent_checks + 1
        self._heard = False
        if self._silent_checks >= _STALL_CHECKS:
            self._refuse(TooSlow(_STALLED))
        else:
            self._timer = self.loop.call_later(self.stall_s / _STALL_CHECKS, self._check_body)

    # --- the end

    def _refuse(self, error: GatewayError) -> None:
        """Hear no more from this client, and say why once it is this request's turn."""
        self._deaf = True
        self._rest()
        logger.info("refused at the edge", extra={"status": error.status, "reason": error.message})
        cycle = self.cycle
        if not self._in_body:  # nobody works on it yet
            if self._answers:
                cycle.keep_alive = False  # the answer before it is the last
            else:
                self._say(error)
        elif cycle.response_started:
            self.transport.close()  # nothing but that tells a client inside an answer
        elif self.pipeline:
            cycle.keep_alive = False
            self.pipeline[0] = (cycle, _Refusal(error))
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._say(error)

    def _say(self, error: GatewayError) -> None:
        if self.transport.is_closing():
            return
        headers, body = _answer(error)
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join((STATUS_LINE[error.status], *lines, b"\r\n", body)))
        # Closed at once, with bytes unread, the connection would be reset, and the answer lost with it.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)


class _Refusal:
    """An application that refuses its one request."""

    def __init__(self, error: GatewayError) -> None:
        self._error = error

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        headers, body = _answer(self._error)
        await send({"type": "http.response.start", "status": self._error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _answer(error: GatewayError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return an error's headers and body, as the Messages API words them."""
    request_id = "gw_" + secrets.token_hex(12)
    said = {"type": error.kind, "message": error.message}
    body = to_json({"type": "error", "error": said, "request_id": request_id})
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"request-id", request_id.encode()),
        (b"x-gateway-request-id", request_id.encode()),
        (b"connection", b"close"),
    ], body
