"""The fourth verb: send the rewritten request, and ask control once where the candidate fails.

Control is asked only while not one byte has gone to the client: the candidate could not be reached or timed
out, said 404, 408, 429 or 5xx, rejected (400, 403, 413, 422) a body that we rewrote, opened its stream with
an `error` event, or failed or was cut before anything could be relayed. What goes to control is control's own
rewrite of the caller's original request. Control answers 2xx: that is the answer, and the candidate is booked
with the fallback. Control answers 4xx too: the caller's fault, nobody's failure. Control fails as well: its
answer is relayed, or `RescueFailed` where it gave none. A candidate that is silent before its first event for
as long as silence may last is not rescued any more: the client must hear something.

Two things are known without or before an answer. A rewritten request that the candidate would reject, and the
caller's own model would not, is a hole in the rules: it goes to control at once. And where the application
forces a tool call on a candidate that cannot be forced, its answer is held back until the call has begun: one
that ends without it is asked for once more, in firmer words, and then control is asked (`no_tool_call`).
Nothing else is retried.

The kill flag is read again right before the first byte goes out (`Withdrawn`), because a rollback may have
come between assignment and sending.
"""

import asyncio
import logging
from dataclasses import dataclass, replace

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.verify import CallWatch, Verdict, verdict
from gateway.compat.prompts import number_of, pinned_variant
from gateway.compat.replay import NOTHING, Replay
from gateway.compat.request import RULESET, Context, Rewrite, rewrite
from gateway.compat.thread import continued
from gateway.core.sse import SseScanner
from gateway.core.types import Arm, FallbackCause, Phase, parse_json
from gateway.core.usage import Answer, AnswerReader
from gateway.errors import ConnectFailed, Unanswered, UpstreamBroken, UpstreamError, UpstreamTimeout
from gateway.proxy.call import Call, Plane
from gateway.proxy.recall import keeping, unbinds
from gateway.proxy.resolve import Resolved
from gateway.proxy.table import Governed
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.headers import RawHeaders
from gateway.proxy.transport.wire import Exchange

logger = logging.getLogger(__name__)


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
    call: Verdict = "called"
    """Whether the answer holds the tool call that is forced; `open`: nobody could wait to see."""
    discarded: tuple[Answer, ...] = ()
    """The candidate's answers that nobody was given, because the call that is forced was missing."""


def adapt(
    call: Call,
    governed: Governed | None,
    arm: Arm,
    ruleset: str,
    *,
    past: Replay = NOTHING,
    insists: bool = False,
) -> Rewrite:
    """Say the caller's request to the model of `arm`; what no migration governs stays as it is."""
    if governed is None:
        return Rewrite(call.body)
    context = Context(
        betas=hop.betas(call.headers),
        version=hop.get(call.headers, b"anthropic-version"),
        ruleset=ruleset,
        variant=pinned_variant(governed.prompts, ruleset),
        past=past,
        counting=call.counting,
        insists=insists,
    )
    policy = governed.spec.compat.for_task(call.task)
    return keeping(rewrite(call.envelope, governed.control, governed.as_sent[arm], policy, context))


async def forward(call: Call, resolved: Resolved, rewritten: Rewrite, plane: Plane) -> Sent:
    """Send to the assigned arm and rescue by control; raises UpstreamError where nobody answered."""
    governed, arm = resolved.governed, resolved.assignment.arm
    if governed is None or arm is Arm.control:
        return await _ask(call, governed, Arm.control, rewritten, plane)
    rescues = governed.rescues and continued(call.envelope) is None
    sent_at = plane.clock.monotonic()
    if rewritten.violations and rescues:
        rules = sorted({change.rule for change in rewritten.violations})
        logger.warning("the candidate would reject what the rules made", extra={"rules": rules})
        rescued = await _rescue(
            call, governed, FallbackCause.rejected_by_model, plane, instead=rewritten, sent_at=sent_at
        )
        # What an older ruleset cannot say is no fault of the candidate's.
        rescued.booked = rescued.booked and number_of(resolved.ruleset) == number_of(RULESET)
        return rescued
    discarded: tuple[Answer, ...] = ()
    try:
        sent = await _ask(call, governed, Arm.candidate, rewritten, plane)
        if sent.call == "missing":
            sent.exchange.close()
            discarded = (_answer(sent),)
            plane.metrics.retry(governed.name)
            firmer = adapt(call, governed, arm, resolved.ruleset, past=rewritten.past, insists=True)
            again = await _ask(call, governed, arm, firmer, plane)
            sent = replace(again, sent_at=sent_at, discarded=discarded)
    except UpstreamError as error:
        if not rescues:
            raise
        cause = _cause_of(error)
    else:
        failed = _cause(sent, rewritten=rewritten.body is not call.envelope.body)
        if failed is None or not rescues:
            return sent
        sent.exchange.close()
        discarded = (*discarded, _answer(sent))
        cause = failed
    rescued = await _rescue(call, governed, cause, plane, instead=rewritten, sent_at=sent_at)
    rescued.discarded = discarded
    return rescued


async def _rescue(
    call: Call,
    governed: Governed,
    cause: FallbackCause,
    plane: Plane,
    *,
    instead: Rewrite,
    sent_at: float,
) -> Sent:
    """Ask control in the candidate's place; raises RescueFailed where it gives no answer."""
    ruleset = governed.ruleset(Arm.control, call.envelope, call.task)
    again = adapt(call, governed, Arm.control, ruleset)
    if instead.plan.keeps or unbinds(call, governed.candidate, cause):
        again = replace(again, plan=replace(again.plan, repeats=True))
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
        if arm is Arm.candidate and governed is not None:
            if withdrawn(governed, plane):
                raise Withdrawn
            plane.candidate_sent_at[governed.name] = plane.clock.now()

    headers = hop.to_upstream(call.headers, api_key=plane.upstream_api_key)
    if governed is not None:
        headers = hop.decoded(headers)
    if rewritten.betas is not None:
        headers = hop.with_betas(headers, rewritten.betas)
    sent_at = plane.clock.monotonic()
    exchange = await plane.wire.send(
        call.method, call.target, headers, rewritten.body, before_send=still_allowed
    )
    model = governed.model_id(arm) if governed is not None else call.envelope.model
    sent = Sent(exchange, rewritten, arm, model, sent_at=sent_at)
    if governed is None:
        return sent
    try:
        if arm is Arm.candidate and rewritten.plan and hop.is_encoded(exchange.headers):
            logger.warning("the upstream compresses answers although it is asked not to")
            raise UpstreamBroken("the upstream compressed an answer that has to be put back")
        if _streams(exchange.headers) and exchange.status < 300:
            opening = _Opening(exchange, rewritten.plan, plane.limits.ping_after_s)
            sent.opening = await opening.read()
            sent.call = opening.verdict
        else:
            sent.body = await exchange.read_all(plane.limits.answer_bytes)
            if exchange.status < 300:
                sent.call = verdict(sent.body, rewritten.plan)
    except BaseException:
        exchange.close()
        raise
    return sent


def _answer(sent: Sent) -> Answer:
    """Return what an answer says of itself, as far as it was read."""
    if sent.opening is None:
        return AnswerReader.read_json(sent.body or b"")
    reader = AnswerReader()
    for event in SseScanner().feed(sent.opening):
        reader.event(event.name, event.data)
    return reader.answer


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
    return hop.get(headers, b"content-type").lower().startswith("text/event-stream")


class _Opening:
    """The beginning of a stream, read up to where it shows whether it is the answer that is wanted.

    As a rule its first event shows that; where a tool call is forced, the call, or the end without it. After
    `silence_s`, pings or not, the stream is relayed as it is: the client must not wait in silence.
    """

    def __init__(self, exchange: Exchange, plan: AnswerPlan, silence_s: float) -> None:
        self._exchange, self._silence_s = exchange, silence_s
        self._watch = CallWatch(plan)
        self.verdict: Verdict = self._watch.feed(())

    async def read(self) -> bytes:
        """Return what was read; raises UpstreamBroken where the stream ended before."""
        now = asyncio.get_running_loop().time
        until = now() + self._silence_s
        scanner, seen, begun = SseScanner(), b"", False
        while (wait_s := until - now()) > 0:
            chunk = await self._exchange.read(wait_s)
            if chunk is None:
                break
            if not chunk:
                raise UpstreamBroken("the upstream ended its stream before the answer could begin")
            seen += chunk
            events = scanner.feed(chunk)
            begun = begun or bool(events)
            self.verdict = self._watch.feed(events)
            if begun and self.verdict != "open":
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
    if sent.call == "missing":
        return FallbackCause.no_tool_call
    return _opening_error(sent)


def _cause_of(error: UpstreamError) -> FallbackCause:
    if isinstance(error, ConnectFailed | Unanswered):
        return FallbackCause.connect
    if isinstance(error, UpstreamTimeout):
        return FallbackCause.timeout
    return FallbackCause.server_error


def _opening_error(sent: Sent) -> FallbackCause | None:
    """Return why a stream failed in what was read of it: with its first event, or while it was held back."""
    held_back = sent.rewrite.plan.forced is not None
    for event in SseScanner().feed(sent.opening or b""):
        if event.name == "error":
            try:
                kind = parse_json(event.data)["error"]["type"]
            except (ValueError, KeyError, TypeError):
                kind = ""
            return _BY_ERROR_TYPE.get(str(kind), FallbackCause.server_error)
        if event.name and not held_back:
            return None
    return None
