"""Conversations that the upstream holds between turns, followed from answer to answer.

Each answer is pinned by its own id to the arm that gave it, before the client learns that id; the next turn
names it and goes where the pin says (`resolve`). Only that arm can go on from it, so nobody else is asked in
its place.

Where an arm was withdrawn meanwhile, or the pin is gone, the turn goes to an arm that does not hold the
thread, and the upstream says that its model or options are others than those it began with. It says so too
where the rules made other options of the same ones: some look at the messages (no room for a budget, a tool
round that does not begin with thinking). Neither is the client's doing, and clients do not recover from it.
They do where a thread is not known: then they send the whole conversation as a new one. So this is what they
are told. Where control holds the thread the upstream's own words stand: the client did change its options.
"""

from gateway.compat.thread import continued, id_in, id_of, is_anothers, leaves_thread
from gateway.core.sse import SseScanner
from gateway.core.types import Arm, Pin, Reason
from gateway.errors import ThreadMoved
from gateway.proxy.call import Call, Plane
from gateway.proxy.forward import Sent
from gateway.proxy.resolve import NOTE_S, Resolved
from gateway.store.ports import PinWrite


async def follow(call: Call, resolved: Resolved | None, sent: Sent, plane: Plane) -> None:
    """Remember who holds the conversation now; raises ThreadMoved where it was not the arm that was asked."""
    governed = resolved.governed if resolved is not None else None
    if resolved is None or governed is None or call.counting or not leaves_thread(call.envelope):
        return
    if sent.exchange.status >= 300:
        _refuse_for_the_gateway(call, resolved, sent)
        return
    message_id = _id_of(sent)
    if not message_id:
        return
    ours = sent.served is resolved.assignment.arm
    ruleset = resolved.ruleset if ours else governed.ruleset(Arm(sent.served), call.envelope, call.task)
    pin = Pin(sent.served, governed.state.run, ruleset)
    key = plane.ledger.key(f"t:{message_id}")
    await plane.ledger.note([PinWrite(governed.name, key, pin, plane.pin_ttl_s)], NOTE_S)


def _refuse_for_the_gateway(call: Call, resolved: Resolved, sent: Sent) -> None:
    is_the_client_s = resolved.assignment.reason is Reason.pinned and sent.served is Arm.control
    if continued(call.envelope) is not None and not is_the_client_s and is_anothers(sent.body or b""):
        raise ThreadMoved(
            "thread: the model that serves this conversation now does not hold it; "
            "send the whole conversation with thread.type 'create'"
        )


def _id_of(sent: Sent) -> str:
    names = [id_in(event) for event in SseScanner().feed(sent.opening or b"")]
    return next(filter(None, names), "") or id_of(sent.body or b"")
