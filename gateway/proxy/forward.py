"""The third verb: send the rewritten request, and ask control once where the candidate fails.

Control is asked only while not one byte has gone to the client: the candidate could not be reached or timed
out, said 404, 408, 429 or 5xx, rejected (400, 403, 413, 422) a body that we rewrote, opened its stream with
an `error` event, or cut its answer before anything could be relayed. What goes to control is control's own
rewrite of the caller's original request. Control answers 2xx: that is the answer, and the candidate is booked
with the fallback. Control answers 4xx too: the caller's fault, nobody's failure. Control fails as well: its
answer is relayed, or `RescueFailed` where it gave none. Nothing else is retried. A candidate that is silent
before its first event for as long as silence may last is not rescued any more: the client must hear
something.

The kill flag is read again right before the first byte goes out (`Withdrawn`), because a rollback may have
come between assignment and sending.
"""

from dataclasses import dataclass, replace

from gateway.compat.prompts import pinned_variant
from gateway.compat.request import Context, Rewrite, rewrite
from gateway.compat.thread import continued
from gateway.core.sse import SseScanner
from gateway.core.types import Arm, FallbackCause, Phase, parse_json
from gateway.errors import ConnectFailed, Unanswered, UpstreamBroken, UpstreamError, UpstreamTimeout
from gateway.proxy.call import Call, Plane
from gateway.proxy.resolve import Resolved
from gateway.proxy.table import Governed
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.headers import RawHeaders
from gateway.proxy.transport.wire import Exchange


class Withdrawn(Exception):
    """The arm was taken back after the request had been assigned to it."""


class RescueFailed(UpstreamError):
    """Control was asked in the candidate's place, and gave no answer either."""

    def __init__(self, cause: FallbackCause, error: UpstreamError) -> None:
        super().__init__(error.message)
        self.cause = cause
        self.status, self.kind = error.status, error.kind


@dataclass(slots=True)
class Sent:
    """An answer whose head is there."""

    exchange: Exchange
    rewrite: Rewrite
    served: Arm
    served_model: str
    """The id that was sent."""
    body: bytes | None = None
    """The whole body; None: it is relayed as it arrives."""
    opening: bytes | None = None
    """The first bytes of a stream of events, read to see how it begins; None: nobody looks into it."""
    fallback: FallbackCause | None = None
    """Why control served in the candidate's place."""
    booked: bool = False
    """The fallback counts against the candidate."""
    sent_at: float = 0.0
    """Monotonic time at which the first attempt went out."""


def adapt(call: Call, governed: Governed | None, arm: Arm, ruleset: str) -> Rewrite:
    """Say the caller's request to the model of `arm`; what no migration governs stays as it is."""
    if governed is None:
        return Rewrite(call.body)
    target = replace(governed.model(arm), id=governed.model_id(arm))
    context = Context(
        ruleset=ruleset, variant=pinned_variant(governed.prompts, ruleset), counting=call.counting
    )
    policy = governed.spec.compat.for_task(call.task)
    return rewrite(call.envelope, governed.control, target, policy, context)


async def forward(call: Call, resolved: Resolved, rewritten: Rewrite, plane: Plane) -> Sent:
    """Send to the assigned arm and rescue by control; raises UpstreamError where nobody answered."""
    governed, arm = resolved.governed, resolved.assignment.arm
    if governed is None or arm is Arm.control:
        return await _ask(call, governed, Arm.control, rewritten, plane)
    sent_at = plane.clock.monotonic()
    try:
        sent = await _ask(call, governed, Arm.candidate, rewritten, plane)
    except UpstreamError as error:
        if not _rescues(call, governed):
            raise
        cause = _cause_of(error)
    else:
        failed = _cause(sent, rewritten=rewritten.body is not call.envelope.body)
        if failed is None or not _rescues(call, governed):
            return sent
        sent.exchange.close()
        cause = failed
    return await _rescue(call, governed, cause, plane, sent_at=sent_at)


def _rescues(call: Call, governed: Governed) -> bool:
    return governed.rescues and continued(call.envelope) is None


async def _rescue(
    call: Call, governed: Governed, cause: FallbackCause, plane: Plane, *, sent_at: float
) -> Sent:
    """Ask control in the candidate's place; raises RescueFailed where it gives no answer."""
    ruleset = governed.ruleset(Arm.control, call.envelope, call.task)
    again = adapt(call, governed, Arm.control, ruleset)
    try:
        sent = await _ask(call, governed, Arm.control, again, plane)
    except UpstreamError as error:
        raise RescueFailed(cause, error) from error
    sent.fallback, sent.sent_at = cause, sent_at
    sent.booked = not 400 <= sent.exchange.status < 500 or sent.exchange.status == 429
    return sent


async def _ask(call: Call, governed: Governed | None, arm: Arm, rewritten: Rewrite, plane: Plane) -> Sent:
    """Send one request and read as much of the answer as shows whether it is one."""

    def still_allowed() -> None:
        if arm is Arm.candidate and governed is not None and withdrawn(governed, plane):
            raise Withdrawn

    headers = hop.to_upstream(call.headers, api_key=plane.upstream_api_key)
    if governed is not None:
        headers = hop.decoded(headers)
    sent_at = plane.clock.monotonic()
    exchange = await plane.wire.send(
        call.method, call.target, headers, rewritten.body, before_send=still_allowed
    )
    model = governed.model_id(arm) if governed is not None else call.envelope.model
    sent = Sent(exchange, rewritten, arm, model, sent_at=sent_at)
    if governed is None:
        return sent
    try:
        if _streams(exchange.headers) and exchange.status < 300:
            sent.opening = await _opening(exchange, plane.limits.ping_after_s)
        else:
            sent.body = await exchange.read_all(plane.limits.answer_bytes)
    except BaseException:
        exchange.close()
        raise
    return sent


def withdrawn(governed: Governed, plane: Plane) -> bool:
    """Tell whether the candidate may not be served any more, or not in this run."""
    now = plane.table.by_name.get(governed.name)
    if now is None:
        return False
    state = now.state
    return state.order > governed.state.order and (
        state.run != governed.state.run or (state.phase is Phase.rolled_back and not state.draining)
    )


def _streams(headers: RawHeaders) -> bool:
    return hop.get(headers, b"content-type").startswith("text/event-stream")


async def _opening(exchange: Exchange, silence_s: float) -> bytes:
    """Read up to the end of the first event: it shows whether the stream is an answer at all.

    After `silence_s` without a byte the stream is relayed as it is, for the client must not wait in silence.
    """
    scanner, seen = SseScanner(), b""
    while (chunk := await exchange.read(silence_s)) is not None:
        if not chunk:
            raise UpstreamBroken("the upstream ended its stream before the first event")
        seen += chunk
        if scanner.feed(chunk):
            break
    return seen


_BY_STATUS = {
    404: FallbackCause.not_found,
    408: FallbackCause.timeout,
    429: FallbackCause.rate_limited,
    504: FallbackCause.timeout,
    529: FallbackCause.overloaded,
}
_REJECTIONS = frozenset({400, 403, 413, 422})
_BY_ERROR_TYPE = {
    "overloaded_error": FallbackCause.overloaded,
    "rate_limit_error": FallbackCause.rate_limited,
    "timeout_error": FallbackCause.timeout,
    "not_found_error": FallbackCause.not_found,
    "invalid_request_error": FallbackCause.rejected_by_model,
}


def _cause(sent: Sent, *, rewritten: bool) -> FallbackCause | None:
    """Return why this answer of the candidate is none; None means that it is one."""
    status = sent.exchange.status
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return FallbackCause.server_error
    if status in _REJECTIONS:
        return FallbackCause.rejected_by_model if rewritten else None
    return _opening_error(sent.opening or b"")


def _cause_of(error: UpstreamError) -> FallbackCause:
    if isinstance(error, ConnectFailed | Unanswered):
        return FallbackCause.connect
    if isinstance(error, UpstreamTimeout):
        return FallbackCause.timeout
    return FallbackCause.server_error


def _opening_error(opening: bytes) -> FallbackCause | None:
    for event in SseScanner().feed(opening):
        if event.name == "error":
            try:
                kind = parse_json(event.data)["error"]["type"]
            except (ValueError, KeyError, TypeError):
                kind = ""
            return _BY_ERROR_TYPE.get(str(kind), FallbackCause.server_error)
        if event.name:
            return None
    return None
