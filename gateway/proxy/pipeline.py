"""One request in six verbs: resolve, recollect, adapt (compat), forward, relay, account.

`handle` is the whole story; an `if` that wants in here belongs in one of the verbs.
"""

from contextlib import suppress

from gateway.compat.answer.kept import Kept
from gateway.compat.request import header
from gateway.core.types import Arm, Reason
from gateway.errors import GatewayError
from gateway.proxy.account import Record, account, place_of
from gateway.proxy.call import Call, Plane
from gateway.proxy.copy import copier_for
from gateway.proxy.forward import Sent, Withdrawn, adapt, forward
from gateway.proxy.recall import Keep, note, note_rescue, recollect
from gateway.proxy.relay import Seen, refuse, relay
from gateway.proxy.resolve import Resolved, resolve
from gateway.proxy.threads import follow
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.hangup import HangupGuard
from gateway.proxy.transport.headers import RawHeaders

_ATTEMPTS = 3
"""A request is assigned anew when its arm is withdrawn before it was sent; control is never withdrawn."""


async def handle(call: Call, guard: HangupGuard, plane: Plane) -> None:
    """Answer one request and book it."""
    record = Record(call)
    plane.entered()
    try:
        async with guard:
            guard.listen()
            sent = await _ask(record, plane)
            await follow(record.call, record.resolved, sent, plane)
            record.seen = Seen(copier=copier_for(call, record.resolved, plane))
            ours = disclose(record, _told_id(record, plane))
            await relay(sent, guard.send, ours, plane, seen=record.seen, keep=_keep(record, plane))
    except GatewayError as error:
        record.error = error
        if not guard.begun:
            told = _told_id(record, plane)
            await refuse(error, guard.send, disclose(record, told), told)
    finally:
        plane.left()
        record.gone = guard.gone
        account(record, plane)
        _hand_over(record, plane)


async def _ask(record: Record, plane: Plane) -> Sent:
    """Resolve, adapt and forward; anew where the arm was withdrawn in between."""
    for _ in range(_ATTEMPTS):
        resolved = record.resolved = await resolve(record.call, plane)
        past = await recollect(record.call, resolved, plane)
        rewritten = record.rewritten = adapt(
            record.call, resolved.governed, resolved.assignment.arm, resolved.ruleset, past=past
        )
        with suppress(Withdrawn):
            sent = record.sent = await forward(record.call, resolved, rewritten, plane)
            record.rewritten = sent.rewrite
            return sent
    raise GatewayError("the migration kept changing while this request was assigned; try again")


def _keep(record: Record, plane: Plane) -> Keep:
    """Return who takes what the next turn must repeat of the answer."""

    async def keep(kept: Kept) -> None:
        call, resolved, sent = record.call, record.resolved, record.sent
        if resolved is None or sent is None:
            return
        if sent.served is resolved.assignment.arm:
            await note(call, resolved, sent.rewrite, kept, plane)
        else:
            await note_rescue(call, resolved, kept, plane, cause=sent.fallback)

    return keep


def _hand_over(record: Record, plane: Plane) -> None:
    """Give away the copy of an answer that ended as it should, if somebody wants one."""
    seen, resolved, place = record.seen, record.resolved, place_of(record)
    if seen is None or seen.copier is None or place is None or resolved is None or resolved.governed is None:
        return
    if seen.answer is None or not seen.answer.finished or seen.answer.error_type is not None:
        return
    copy = seen.copier.copy(record.call, resolved.governed.name, place)
    if copy is not None:
        plane.tap.take(copy)
    else:
        plane.metrics.check(resolved.governed.name, place.arm, "dropped")


def _told_id(record: Record, plane: Plane) -> str:
    """Return the id that the caller is told: once it is known where the request is booked, the id says so."""
    call, resolved, place = record.call, record.resolved, place_of(record)
    if call.counting or place is None or resolved is None or resolved.governed is None:
        return call.request_id
    counted = resolved.assignment.reason is not Reason.forced
    name, now = resolved.governed.name, plane.clock.now()
    return plane.receipts.seal(call.request_id, name, place, counted=counted, at=now)


def disclose(record: Record, told_id: str) -> RawHeaders:
    """Return our response headers: who was assigned, who served, and what was done to the request."""
    values = {"request-id": told_id}
    resolved, sent = record.resolved, record.sent
    if resolved is not None:
        values |= _assignment(resolved)
    if resolved is not None and resolved.governed is not None and sent is not None:
        values["served-model"] = sent.served_model
        kept_back = (resolved.obstacle,) if resolved.obstacle is not None else ()
        values["rewrites"] = header((*sent.rewrite.changes, *kept_back))
    if record.fallback is not None:
        values["fallback"] = record.fallback.value
    return hop.ours(values)


def _assignment(resolved: Resolved) -> dict[str, str]:
    values = {"reason": resolved.assignment.reason.value}
    if resolved.governed is not None:
        values["migration"] = resolved.governed.name
        values["arm"] = Arm(resolved.assignment.arm).value
    return values
