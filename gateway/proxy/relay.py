"""The fifth verb: bytes out as they arrive, a parsed copy on the side, and what was seen.

A stream is relayed as its events arrive, byte for byte; only where the plan asks for it (a prefill to be put
back into the shape of a continuation) are single events edited. Half an event waits for its other half, so
that a `ping` after 15 s of silence, or the `error` event that ends a stream which the upstream cut, always
stands between two events. Once the first byte has gone there is no error response any more.

What the next turn must repeat of an answer is handed over before the answer's last bytes go out: a body, or
the `message_stop` of a stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.compat.answer.response import restore
from gateway.compat.answer.stream import StreamRestorer
from gateway.core.sse import SseEvent, SseScanner
from gateway.core.types import Outcome, to_json
from gateway.core.usage import Answer, AnswerReader
from gateway.errors import GatewayError, UpstreamBroken
from gateway.proxy.call import Plane
from gateway.proxy.copy import Copier
from gateway.proxy.forward import Sent
from gateway.proxy.recall import Keep
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.hangup import Send
from gateway.proxy.transport.headers import RawHeaders
from gateway.proxy.transport.wire import Exchange

_BODYLESS = frozenset({204, 304})
"""Their content-length, if any, is that of a body which does not come."""
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


@dataclass(slots=True)
class Seen:
    """What the relay saw of one answer."""

    answer: Answer | None = None
    outcome: Outcome = Outcome.upstream_error
    """What it is until something better is known."""
    first_byte_at: float | None = None
    """Monotonic time at which the first byte of the body went to the client."""
    copier: Copier | None = None
    """Who is shown what the client gets; None: nobody wants to know."""


async def relay(
    sent: Sent, send: Send, ours: RawHeaders, plane: Plane, *, seen: Seen, keep: Keep | None = None
) -> None:
    """Send the answer to the client and close the exchange; `seen` holds what was seen, however it ends."""
    try:
        if sent.body is not None:
            await _relay_whole(sent, send, ours, plane, seen=seen, keep=keep)
        elif sent.opening is not None:
            with plane.metrics.streaming():
                await _relay_events(sent, send, ours, plane, seen=seen, keep=keep)
        else:
            seen.outcome = outcome_of(sent.exchange.status, None)
            await relay_raw(sent.exchange, send, ours)
    finally:
        sent.exchange.close()


async def relay_raw(exchange: Exchange, send: Send, ours: RawHeaders) -> None:
    """Relay an answer that nobody looks into; a cut upstream cuts the client's connection too."""
    length = hop.get(exchange.headers, b"content-length") if exchange.status not in _BODYLESS else ""
    headers = hop.to_client(exchange.headers, length=int(length) if length.isdigit() else None)
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers + ours})
    while chunk := await exchange.read():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def refuse(error: GatewayError, send: Send, ours: RawHeaders, request_id: str) -> None:
    """Answer with an error of the gateway's own, in the API's envelope."""
    details = {"details": {"error_code": error.code}} if error.code else {}
    envelope = {
        "type": "error",
        "error": {"type": error.kind, "message": error.message, **details},
        "request_id": request_id,
    }
    body = to_json(envelope)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"request-id", request_id.encode()),
        *ours,
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _relay_whole(
    sent: Sent, send: Send, ours: RawHeaders, plane: Plane, *, seen: Seen, keep: Keep | None
) -> None:
    body, exchange = sent.body or b"", sent.exchange
    if exchange.status < 300:
        seen.answer = AnswerReader().read_json(body)
        if sent.rewrite.plan:
            restored = restore(body, sent.rewrite.plan)
            body = restored.body
            if keep is not None and restored.kept is not None:
                await keep(restored.kept)
    headers = hop.to_client(exchange.headers, length=len(body)) + ours
    seen.first_byte_at = plane.clock.monotonic()
    seen.outcome = outcome_of(exchange.status, seen.answer)
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
    if seen.copier is not None and exchange.status < 300:
        seen.copier.body(body)


async def _relay_events(
    sent: Sent, send: Send, ours: RawHeaders, plane: Plane, *, seen: Seen, keep: Keep | None
) -> None:
    headers = hop.to_client(sent.exchange.headers, length=None) + ours
    await send({"type": "http.response.start", "status": sent.exchange.status, "headers": headers})
    out = _EventsOut(sent, send, keep, plane, copier=seen.copier)
    try:
        chunk: bytes | None = sent.opening or None  # a stream that has been silent so far begins with a ping
        while chunk != b"":
            if chunk is None:
                await out.ping()
            else:
                if seen.first_byte_at is None:
                    seen.first_byte_at = plane.clock.monotonic()
                await out.take(chunk)
            chunk = await sent.exchange.read(plane.limits.ping_after_s)
        await out.end("The upstream ended its stream before the answer was complete.")
    except UpstreamBroken as error:
        await out.end(f"The answer could not be completed: {error.message}.")
    finally:
        seen.answer = out.answer
        seen.outcome = outcome_of(sent.exchange.status, out.answer)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _EventsOut:
    """One stream on its way to the client: bytes out, a parsed copy on the side."""

    def __init__(
        self, sent: Sent, send: Send, keep: Keep | None, plane: Plane, *, copier: Copier | None
    ) -> None:
        self._send, self._keep, self._plane, self._copier = send, keep, plane, copier
        self._wrote_at = plane.clock.monotonic()
        self._scanner = SseScanner()
        self._reader = AnswerReader()
        plan = sent.rewrite.plan
        self._restorer = StreamRestorer(plan) if plan else None

    @property
    def answer(self) -> Answer:
        return self._reader.answer

    async def take(self, chunk: bytes) -> None:
        """Pass on what can go out of these bytes; a ping where so much is held that nothing went for long."""
        await self._take(chunk)
        if self._plane.clock.monotonic() - self._wrote_at >= self._plane.limits.ping_after_s:
            await self.ping()

    async def _take(self, chunk: bytes) -> None:
        events = self._scanner.feed(chunk)
        for event in events:
            self._reader.event(event.name, event.data)
        if self._restorer is None:
            await self._write(_raw(events), events)
            return
        end = next((at for at, event in enumerate(events) if event.name == "message_stop"), None)
        await self._write(self._restorer.feed(_raw(events[:end])))
        if end is not None:
            if self._keep is not None and (kept := self._restorer.kept) is not None:
                await self._keep(kept)
            await self._write(self._restorer.feed(_raw(events[end:])))

    async def ping(self) -> None:
        await self._write(PING)

    async def end(self, complaint: str) -> None:
        """Say what is still held. Where no end was announced, half an event is dropped, and an `error` event
        with this complaint takes its place.
        """
        if self._restorer is not None:
            await self._write(self._restorer.close())
        answer = self.answer
        if answer.finished or answer.error_type is not None:
            await self._write(self._scanner.pending)
            return
        doc = to_json({"type": "error", "error": {"type": "api_error", "message": complaint}})
        await self._write(b"event: error\ndata: " + doc + b"\n\n")

    async def _write(self, data: bytes, events: Sequence[SseEvent] | None = None) -> None:
        """Send bytes to the client; `events` are what they say, where somebody has read them already."""
        if data:
            self._wrote_at = self._plane.clock.monotonic()
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            if self._copier is not None:
                self._copier.take(self._copier.cut(data) if events is None else events)


def _raw(events: Sequence[SseEvent]) -> bytes:
    return b"".join([event.raw for event in events])


def outcome_of(status: int, answer: Answer | None) -> Outcome:
    """Return how an answer ended, from its status and what was read of it."""
    if status == 504:
        return Outcome.timeout
    if status >= 500 or status == 429:
        return Outcome.upstream_error
    if status >= 400:
        return Outcome.client_error
    if answer is None:
        return Outcome.ok
    if answer.error_type is not None:
        return Outcome.stream_error
    if not answer.finished:
        return Outcome.truncated
    if answer.refused:
        return Outcome.refused
    # A caller's own stop sequence may well come first: that is no fault of the model's.
    said = answer.has_content or answer.stop_reason == "stop_sequence"
    return Outcome.ok if said else Outcome.empty
