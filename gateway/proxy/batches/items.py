"""One item of a batch: assigned and rewritten like the message that it is.

It goes by its own unit and conversation (a name in the batch's headers is every item's), and pins the
conversation. It enrols nobody and enters no gate: it is answered some time within a day, and when it is,
nobody can ask again. So what a message may try on the candidate and have rescued, an item may not: where the
contract depends on how the model answers, it stays on control.

`Terms` is what the items of one batch have to agree on, because they share one header. A beta that one model
does without may be what another item needs: then it stays, and an item that cannot live with it goes to
control.
"""

from dataclasses import dataclass

from gateway.compat.batch import Item
from gateway.compat.envelope import Envelope, parse
from gateway.compat.request import Rewrite
from gateway.core.types import Arm, Change, RewriteClass
from gateway.errors import BadRequest
from gateway.proxy.call import Call, Plane
from gateway.proxy.caller import Caller
from gateway.proxy.forward import adapt
from gateway.proxy.recall import recollect
from gateway.proxy.resolve import resolve
from gateway.proxy.table import Governed
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.headers import RawHeaders


@dataclass(frozen=True, slots=True)
class Head:
    """The request that brought a batch."""

    request_id: str
    target: bytes
    headers: RawHeaders
    caller: Caller
    started: float

    def call(self, item: Item, envelope: Envelope, *, governed: bool) -> Call:
        """Return an item as the message that it is."""
        return Call(
            request_id=self.request_id,
            method=b"POST",
            target=self.target,
            headers=self.headers,
            body=item.params,
            envelope=envelope,
            identity=self.caller.identity(envelope, governed=governed),
            task=self.caller.task,
            forced=self.caller.forced,
            counting=False,
            started=self.started,
            batched=True,
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What all items of a batch have to live with."""

    kept: frozenset[str] = frozenset()
    """Betas that stay, whoever would leave them out."""
    by_control: bool = False
    """The upstream has rejected the batch: control serves wherever it can."""


ANY = Terms()


@dataclass(frozen=True, slots=True)
class Settled:
    """An item that a migration governs, as it goes out."""

    governed: Governed
    arm: Arm
    rewritten: Rewrite
    obstacle: Change | None = None


async def settle(item: Item, head: Head, plane: Plane, terms: Terms) -> Settled | None:
    """Return what becomes of an item; None where no migration governs it.

    Raises BadRequest, naming the item, where policy refuses what the candidate cannot serve.
    """
    try:
        envelope = parse(item.params)
    except BadRequest:
        return None  # the upstream judges each item by itself
    governed = plane.table.governing(envelope)
    if governed is None:
        return None
    call = head.call(item, envelope, governed=True)
    try:
        resolved = await resolve(call, plane)
    except BadRequest as error:
        raise BadRequest(f"{item.custom_id[:64]}: {error.message}") from None
    arm = resolved.assignment.arm
    may_move = arm is Arm.candidate and governed.rescues
    if may_move and terms.by_control:
        return _by_control(call, governed, None)
    past = await recollect(call, resolved, plane)
    rewritten = adapt(call, governed, arm, resolved.ruleset, past=past)
    if may_move and (obstacle := _obstacle(rewritten, head, terms)) is not None:
        return _by_control(call, governed, obstacle)
    return Settled(governed, arm, rewritten, resolved.obstacle)


def _obstacle(rewritten: Rewrite, head: Head, terms: Terms) -> Change | None:
    """Return what keeps an item from going to the candidate though a message like it would go."""
    if rewritten.violations:
        return rewritten.violations[0]
    if terms.kept.intersection(left_out(head, rewritten)):
        return Change("betas", RewriteClass.unservable, "Another item needs what the model does not take.")
    forced = rewritten.plan.forced
    if forced is not None and not forced.wrapped:
        sentence = "The tool call can only be asked for in words, and nobody is there to ask again."
        return Change("forced_tool", RewriteClass.unservable, sentence)
    return None


def left_out(head: Head, rewritten: Rewrite) -> frozenset[str]:
    """Return the betas of the batch that the item would be sent without."""
    if rewritten.betas is None:
        return frozenset()
    return frozenset(hop.betas(head.headers)) - set(rewritten.betas)


def _by_control(call: Call, governed: Governed, obstacle: Change | None) -> Settled:
    ruleset = governed.ruleset(Arm.control, call.envelope, call.task)
    return Settled(governed, Arm.control, adapt(call, governed, Arm.control, ruleset), obstacle)
