"""The first verb: who is asking, which migration governs the request, which arm it gets and why.

The store is never waited for where memory or the hash can answer. A conversation that continues on a replica
that has not seen it is looked up within `RECALL_S`; where the store is away the hash answers, which every
replica computes alike. What is learnt (pin, enrolment) is written behind the request; the first request of a
conversation waits for that at most `NOTE_S` and goes on without it.
"""

from dataclasses import dataclass

from gateway.compat.envelope import Envelope
from gateway.compat.prompts import number_of
from gateway.compat.request import RULESET, obstacle
from gateway.compat.thread import continued
from gateway.core import assign
from gateway.core.assign import Assignment, Facts
from gateway.core.types import Arm, Change, Pin, Reason, Unit
from gateway.core.units import Identity, find_unit
from gateway.errors import BadRequest
from gateway.proxy.call import Call, Plane
from gateway.proxy.table import Governed
from gateway.store.ledger import Ledger
from gateway.store.ports import Enrolment, PinWrite, Recall, Recollection

RECALL_S = 0.25
NOTE_S = 0.005

UNGOVERNED = Assignment(Arm.control, Reason.ungoverned)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where a request goes."""

    governed: Governed | None
    assignment: Assignment
    unit: Unit | None = None
    unit_key: str = ""
    """The unit as the store and the breaker know it: keyed, never in clear."""
    obstacle: Change | None = None
    ruleset: str = RULESET
    """The one that the conversation keeps to its end."""


async def resolve(call: Call, plane: Plane) -> Resolved:
    """Assign a parsed request; raises BadRequest where policy refuses what the candidate cannot serve."""
    envelope = call.envelope
    governed = plane.table.governing(envelope)
    if governed is None:
        return Resolved(None, UNGOVERNED)
    unit = find_unit(call.identity, governed.spec.unit)
    policy = governed.spec.compat.for_task(call.task)
    hindrance = obstacle(envelope, governed.control, governed.candidate, policy)
    if hindrance is not None and hindrance.reject:
        raise BadRequest(hindrance.change.sentence)
    facts = Facts(
        unit=unit.value if unit else None,
        names=tuple(name for name in (call.identity.header, call.identity.user) if name),
        task=call.task or None,
        unservable=hindrance is not None,
        forced=call.forced,
        continues=envelope.continues or continued(envelope) is not None,
    )
    ask = _question(governed, call.identity, envelope, unit, plane.ledger)
    assignment, pin = await _assign(governed, facts, ask, plane.ledger, held=continued(envelope) is not None)
    ruleset = _ruleset(governed, assignment.arm, pin, call)
    if not call.counting:
        await _note(governed, assignment, ask, call, plane, ruleset=ruleset)
    change = hindrance.change if hindrance is not None and assignment.reason is Reason.unservable else None
    return Resolved(governed, assignment, unit, ask.unit_key or "", change, ruleset)


async def _assign(
    governed: Governed, facts: Facts, ask: Recall, ledger: Ledger, *, held: bool
) -> tuple[Assignment, Pin | None]:
    """Return the assignment, and what the conversation was pinned to before."""
    state = governed.state
    settled = assign.settle(state, facts, governed.lists, governed.spec.holdback.percent)
    if settled is not None and not (facts.continues and governed.varies(settled.arm)):
        return settled, None
    known: Recollection | None
    if facts.continues:
        known = ledger.known(ask) or await ledger.recall(ask, RECALL_S)
        if held and (known is None or known.pin is None):
            known = Recollection()  # whoever holds it is not its unit's arm to guess
    else:
        known = Recollection(record=ledger.record(governed.name, state.run, ask.unit_key))
    pin = known.pin if known is not None else None
    if settled is not None:
        return settled, pin
    if known is None:
        return assign.without_memory(state, facts), None
    return assign.remember(state, facts, pin, known.record), pin


def _ruleset(governed: Governed, arm: Arm, pin: Pin | None, call: Call) -> str:
    """Return the ruleset that the conversation began with on this arm, or the one of a new conversation.

    A pin whose ruleset nobody can read says no more than which arm it is.
    """
    if pin is not None and pin.arm is arm and number_of(pin.ruleset):
        return pin.ruleset
    return governed.ruleset(arm, call.envelope, call.task)


def _question(
    governed: Governed, identity: Identity, envelope: Envelope, unit: Unit | None, ledger: Ledger
) -> Recall:
    unit_key = ledger.key(unit.value) if unit else None
    return Recall(governed.name, governed.state.run, _pin_keys(identity, envelope, unit, ledger), unit_key)


def _pin_keys(identity: Identity, envelope: Envelope, unit: Unit | None, ledger: Ledger) -> tuple[str, ...]:
    """Return the conversation's keys, the exact one first.

    A session may hold several conversations (a coding agent's side questions and sub-agents), so its
    conversations are told apart by their first user turn; the session itself stands second, for a history
    that was cut at the front. It keeps the arm of its first conversation, which is the main one. A thread is
    known by the answer that it goes on from.
    """
    previous = continued(envelope)
    if previous is not None:
        return (ledger.key(f"t:{previous}"),)
    if envelope.opening is None:
        return ()
    if identity.session:
        return ledger.key(f"s:{identity.session}:{envelope.opening}"), ledger.key(f"s:{identity.session}")
    return (ledger.key(f"c:{unit.value if unit else ''}:{envelope.fingerprint}"),)


async def _note(
    governed: Governed, assignment: Assignment, ask: Recall, call: Call, plane: Plane, *, ruleset: str
) -> None:
    writes: list[PinWrite | Enrolment] = []
    if assignment.pins and continued(call.envelope) is None:  # of a thread, each answer is pinned anew
        pin = Pin(assignment.arm, governed.state.run, ruleset)
        session = [key for key in ask.pin_keys[1:] if _is_free(governed, key, pin, plane.ledger)]
        keys = [*ask.pin_keys[:1], *session]
        writes += [PinWrite(governed.name, key, pin, plane.pin_ttl_s) for key in keys]
    if assignment.enrolled and ask.unit_key is not None and not call.batched:
        writes.append(Enrolment(governed.name, governed.state.run, ask.unit_key, assignment.arm))
    if writes:
        await plane.ledger.note(writes, 0 if call.batched else NOTE_S)


def _is_free(governed: Governed, session_key: str, pin: Pin, ledger: Ledger) -> bool:
    """Tell whether the session is not known to be on the other arm."""
    known = ledger.known(Recall(governed.name, governed.state.run, (session_key,), None))
    return known is None or known.pin is None or known.pin.arm is pin.arm
