"""The sixth verb: one request, booked once.

Everything is booked to the **assigned** arm, whoever served; a rescue that control answered is outcome `ok`
and the candidate's fallback. Requests that only count tokens are never booked, and those that no migration
governs are only counted. No prompt, answer, unit or credential is in any of it: the log line names the
migration, the arms, the outcome and numbers.
"""

import logging
from dataclasses import dataclass

from gateway.compat.request import Rewrite
from gateway.core.booking import Booking, Place
from gateway.core.types import Arm, FallbackCause, Outcome, Reason
from gateway.core.usage import Answer, cost_microusd
from gateway.errors import GatewayError, UpstreamTimeout
from gateway.proxy.call import Call, Plane
from gateway.proxy.forward import RescueFailed, Sent
from gateway.proxy.relay import Seen
from gateway.proxy.resolve import Resolved
from gateway.proxy.table import Governed

logger = logging.getLogger("gateway.requests")


@dataclass(slots=True)
class Record:
    """What is known of a request when it ends; filled as it goes through the pipeline."""

    call: Call
    resolved: Resolved | None = None
    rewritten: Rewrite | None = None
    sent: Sent | None = None
    seen: Seen | None = None
    error: GatewayError | None = None
    gone: bool = False

    @property
    def fallback(self) -> FallbackCause | None:
        """Why control was asked in the candidate's place."""
        if self.sent is not None:
            return self.sent.fallback
        return self.error.cause if isinstance(self.error, RescueFailed) else None

    @property
    def booked_fallback(self) -> FallbackCause | None:
        """The same, where it counts against the candidate."""
        return self.fallback if self.sent is None or self.sent.booked else None

    @property
    def served(self) -> Arm:
        """Who answered, or was the last to be asked."""
        if self.sent is not None:
            return self.sent.served
        assigned = self.resolved.assignment.arm if self.resolved is not None else Arm.control
        return Arm.control if self.fallback is not None else assigned


def account(record: Record, plane: Plane) -> None:
    """Book a request that has ended, however it ended."""
    resolved = record.resolved
    if resolved is None or record.call.counting:
        return
    governed, outcome = resolved.governed, _outcome(record)
    if governed is None:
        plane.metrics.passthrough(outcome)
        logger.info("request", extra={"reason": Reason.ungoverned.value, "outcome": outcome.value})
        return
    _count(record, governed, outcome, plane)
    counts, place = plane.counts.get(governed.name), place_of(record)
    if counts is not None and place is not None:
        duration_s = plane.clock.monotonic() - record.call.started
        counts.ended(_booking(record, place, governed, outcome, duration_s=duration_s), plane.clock.now())
    logger.info("request", extra=_line(record, governed, outcome, plane))


def place_of(record: Record) -> Place | None:
    """Return where what comes of a request is booked; None where nothing is: ungoverned, or forced."""
    resolved = record.resolved
    if resolved is None or resolved.governed is None or resolved.assignment.reason in _UNMEASURED:
        return None
    state, assignment = resolved.governed.state, resolved.assignment
    return Place(assignment.arm, state.run, state.entry, resolved.unit_key or None, assignment.enrolled)


_UNMEASURED = frozenset({Reason.forced})
"""Sent there by an operator's hand: says nothing of what callers meet. All else tells how an arm is, and how
control is decides whether a failure is the provider's."""


def _outcome(record: Record) -> Outcome:
    seen = record.seen
    if record.gone and not (seen is not None and seen.answer is not None and seen.answer.finished):
        return Outcome.disconnected
    if record.error is None and seen is not None:
        warms_cache = record.call.envelope.max_tokens == 0  # asks for no content, and none is what it gets
        return Outcome.ok if seen.outcome is Outcome.empty and warms_cache else seen.outcome
    return outcome_of_error(record.error)


def outcome_of_error(error: GatewayError | None) -> Outcome:
    """Return how a request ended that got no answer of the upstream's."""
    if error is not None and error.kind == UpstreamTimeout.kind:
        return Outcome.timeout
    return Outcome.client_error if error is not None and error.status < 500 else Outcome.upstream_error


def _count(record: Record, governed: Governed, outcome: Outcome, plane: Plane) -> None:
    metrics, resolved, sent = plane.metrics, record.resolved, record.sent
    if resolved is None:
        return
    name, arm, served = governed.name, resolved.assignment.arm, record.served
    now = plane.clock.monotonic()
    metrics.assignment(name, resolved.assignment.reason)
    metrics.request(name, arm, served, outcome, duration_s=now - record.call.started)
    if resolved.obstacle is not None:
        metrics.unservable(name, resolved.obstacle.rule)
    for change in record.rewritten.changes if record.rewritten is not None else ():
        metrics.rewrite(name, change)
    if record.booked_fallback is not None:
        metrics.fallback(name, record.booked_fallback)
    if sent is not None:
        metrics.overhead(name, arm, sent.sent_at - record.call.started)
        for answer in sent.discarded:  # nobody was given them, and they are paid for all the same
            candidate = Arm.candidate
            metrics.usage(name, arm, candidate, answer.usage, _cost(governed, candidate, answer))
    seen = record.seen
    if seen is not None and seen.first_byte_at is not None:
        metrics.first_token(name, arm, seen.first_byte_at - record.call.started)
    if seen is not None and seen.answer is not None:
        metrics.usage(name, arm, served, seen.answer.usage, _cost(governed, served, seen.answer))


def _booking(
    record: Record, place: Place, governed: Governed, outcome: Outcome, *, duration_s: float
) -> Booking:
    call, seen, sent = record.call, record.seen, record.sent
    slow_after_s = governed.state.slow_after_s
    streamed = sent is not None and sent.opening is not None and seen is not None
    first_byte_at = seen.first_byte_at if streamed and seen is not None else None
    answer = seen.answer if seen is not None else None
    usage = answer.usage if answer is not None and _is_measured(answer) else None
    return Booking(
        place,
        call.request_id,
        call.task,
        outcome,
        record.booked_fallback is not None,
        duration_s,
        first_token_s=first_byte_at - call.started if first_byte_at is not None else None,
        slow=duration_s > slow_after_s if slow_after_s > 0 else None,
        prompt_tokens=usage.prompt_tokens if usage is not None else None,
        output_tokens=usage.output_tokens if usage is not None else None,
        cost_microusd=_cost_of_all(record, governed, answer)
        if answer is not None and usage is not None
        else None,
    )


def _is_measured(answer: Answer) -> bool:
    """Tell whether an answer says all that it used; one that was cut had only begun to."""
    return answer.finished and bool(answer.usage.output_tokens or answer.usage.prompt_tokens)


def _cost_of_all(record: Record, governed: Governed, answer: Answer) -> int | None:
    """Return what the answer cost, and those that nobody was given; None where a price is missing."""
    discarded = record.sent.discarded if record.sent is not None else ()
    cost = _cost(governed, record.served, answer)
    for each in discarded:
        more = _cost(governed, Arm.candidate, each)
        cost = cost + more if cost is not None and more is not None else None
    return cost


def _cost(governed: Governed, served: Arm, answer: Answer) -> int | None:
    model = governed.model(served)
    return cost_microusd(answer.usage, model.prices, model.long_prices)


def _line(record: Record, governed: Governed, outcome: Outcome, plane: Plane) -> dict[str, object]:
    resolved, sent, seen = record.resolved, record.sent, record.seen
    line: dict[str, object] = {
        "migration": governed.name,
        "outcome": outcome.value,
        "duration_ms": round((plane.clock.monotonic() - record.call.started) * 1000, 1),
    }
    if resolved is not None:
        line |= {"arm": resolved.assignment.arm.value, "reason": resolved.assignment.reason.value}
        line["unit_kind"] = resolved.unit.kind if resolved.unit is not None else "none"
    if record.rewritten is not None and record.rewritten.changes:
        line["rewrites"] = [f"{change.rule}={change.rewrite_class}" for change in record.rewritten.changes]
    if sent is not None:
        line |= {"served": sent.served.value, "status": sent.exchange.status, "model": sent.served_model}
    if record.fallback is not None:
        line["fallback"] = record.fallback.value
    if seen is not None and seen.answer is not None:
        usage = seen.answer.usage
        line |= {"stop_reason": seen.answer.stop_reason, "input_tokens": usage.input_tokens}
        line |= {
            "output_tokens": usage.output_tokens,
            "cost_microusd": _cost(governed, record.served, seen.answer),
        }
    return line
