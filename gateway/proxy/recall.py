"""The second verb: what earlier answers left to be repeated in a request; and what this one leaves.

Only candidates see what the gateway wrote into a conversation; control sees the application's own. So only a
continuing conversation on the candidate is looked up, and only where the two models and the policy can leave
anything to be repeated. The store is waited for no longer than `READ_S`; where it does not answer, thinking
that may be bound to what cannot be repeated is left out, named `replay`.

An answer's note is written before its last bytes go out, and they wait for the store no longer than
`WRITE_S`, so that the next turn finds it on any replica. An answer that control gave in the candidate's place
leaves a note as well: it says that nothing is to be repeated for it. So do answers that a conversation
brings along when it is seen for the first time, such as examples: missing them later would be no loss.

Where the candidate turned a request away and there was thinking in its history, that may have been bound to
another history: the application changed it, or lost part of it. Control answers then, and the note of its
answer leaves that thinking out for good, so that the candidate can go on and is not asked in vain on every
later turn.

Each unit's notes are its own. Many conversations begin alike ("hi", and the same greeting back), and what a
model thought for one user is nobody else's. Where one unit says the same twice, the first note stays.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.compat import replay
from gateway.compat.address import Address, addresses, answer_digests
from gateway.compat.answer.kept import Kept, note_of
from gateway.compat.catalog import Model
from gateway.compat.envelope import THINKING_BLOCKS, Envelope, Turn, blocks_of, present
from gateway.compat.replay import FOREIGN, NOTHING, UNBOUND, Insert, Note, Replay
from gateway.compat.request import Rewrite
from gateway.compat.rules.thinking import wish
from gateway.compat.rules.tools import never_forces
from gateway.core.spec import CompatPolicy
from gateway.core.types import Arm, FallbackCause, Reason
from gateway.proxy.call import Call, Plane
from gateway.proxy.resolve import Resolved
from gateway.store.notebook import Found, Notebook

logger = logging.getLogger(__name__)

READ_S = 0.25
WRITE_S = 0.005
LOOKS, LOOK_S = 4, 0.02
"""How often, and after how long, to look again for a note that may be on its way."""

Keep = Callable[[Kept], Awaitable[None]]
"""Takes what must be repeated of an answer, before its last bytes go out."""


async def recollect(call: Call, resolved: Resolved, plane: Plane) -> Replay:
    """Return what is to be repeated in a request."""
    governed = resolved.governed
    if governed is None or resolved.assignment.arm is not Arm.candidate or not call.envelope.continues:
        return NOTHING
    source, target = governed.control, governed.candidate
    policy = governed.spec.compat.for_task(call.task)
    if not (leaves_notes(source, target, policy) or _may_break(call.envelope, target)):
        return NOTHING
    answers = addresses(call.envelope)
    # A conversation that this gateway has seen, so that it must have noted what was hidden in it.
    pinned = resolved.assignment.reason is Reason.pinned
    hidden = _expected(call.envelope, answers) if _hides(call, source, target, policy) else set()
    expected = hidden if pinned else set()
    shelf = _Shelf(plane.notebook, governed.name, resolved.unit_key)
    found = await _read([answer.digest for answer in answers], expected, shelf)
    read = {digest: replay.unpack(data) for digest, data in found.notes.items()}
    readable = {digest: note for digest, note in read.items() if note is not None}
    notes = _own(readable, call.envelope, [each for each in answers if each.digest not in hidden])
    if target.checks_prefix == "never":
        return replace(replay.recollect(answers, notes), broken_at=None)
    if resolved.assignment.pins and not pinned and not call.counting:
        await shelf.write(hidden - notes.keys() - found.unknown, replay.pack(FOREIGN), wait_s=0)
    return replay.recollect(answers, notes, found.unknown | (read.keys() - readable.keys()), expected)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The notes of one unit in one migration."""

    notebook: Notebook
    migration: str
    unit_key: str

    async def read(self, digests: Sequence[str]) -> Found:
        names = {self._name(digest): digest for digest in digests}
        found = await self.notebook.read(self.migration, names, READ_S)
        notes = {names[name]: data for name, data in found.notes.items()}
        return Found(notes, frozenset(names[name] for name in found.unknown))

    async def write(self, digests: Iterable[str], data: bytes, wait_s: float = WRITE_S) -> None:
        names = [self._name(digest) for digest in digests]
        await self.notebook.write(self.migration, names, data, wait_s=wait_s, once=True)

    def mark(self, digests: Iterable[str]) -> None:
        self.notebook.mark(self.migration, [self._name(digest) for digest in digests])

    def _name(self, digest: str) -> str:
        return f"{self.unit_key}:{digest}"


async def _read(digests: Sequence[str], expected: set[str], shelf: _Shelf) -> Found:
    """Read notes; where but the newest is missing, which another replica may just be writing, look again."""
    found = await shelf.read(digests)
    for _ in range(LOOKS):
        if expected - found.notes.keys() != {digests[-1]} or found.unknown:
            break
        await asyncio.sleep(LOOK_S)
        newest = await shelf.read(digests[-1:])
        found = Found({**found.notes, **newest.notes}, newest.unknown)
    # What was once taken for nothing stays nothing here, also where its note turns up late.
    shelf.mark(set(digests) - found.notes.keys() - found.unknown)
    return found


def leaves_notes(source: Model, target: Model, policy: CompatPolicy) -> bool:
    """Tell whether anything can have to be repeated in conversations that are moved between two models."""
    if target.id in (source.id, *source.aliases):
        return False
    hides = "disabled" not in target.thinking.types or "unthinking_calls" in source.features
    return bool(
        (policy.unasked_thinking == "hide" and hides)
        or (policy.prefill == "emulate" and source.prefill and not target.prefill)
        or (policy.forced_tool == "emulate" and never_forces(target) and not never_forces(source))
        or policy.progress_notes == "text"
    )


def keeping(rewritten: Rewrite) -> Rewrite:
    """Return a rewrite whose answer leaves a note even if nothing is to be repeated for it.

    Where thinking is hidden, an answer without a note is one whose note was lost; and where something was
    left out, the next turn must leave out the same.
    """
    if not rewritten.plan.hides_thinking and rewritten.past.broken_at is None:
        return rewritten
    return replace(rewritten, plan=replace(rewritten.plan, repeats=True))


async def note(call: Call, resolved: Resolved, sent: Rewrite, kept: Kept, plane: Plane) -> None:
    """Write down what must be repeated of the candidate's answer to a request."""
    digests, noted = note_of(call.envelope, sent.edits, kept, sent.past)
    await _write(call, resolved, digests, noted, plane)


async def note_rescue(
    call: Call, resolved: Resolved, kept: Kept, plane: Plane, *, cause: FallbackCause | None
) -> None:
    """Write down that nothing is to be repeated of an answer that control gave in the candidate's place."""
    begun = call.envelope.prefill.text if call.envelope.prefill else ""
    echoes = replace(kept, prefill=begun).echoes
    noted = FOREIGN
    if resolved.governed is not None and unbinds(call, resolved.governed.candidate, cause):
        logger.info("thinking is left out from here on", extra={"migration": resolved.governed.name})
        noted = UNBOUND
    await _write(call, resolved, answer_digests(call.envelope, echoes), noted, plane)


def unbinds(call: Call, candidate: Model, cause: FallbackCause | None) -> bool:
    """Tell whether the candidate may have turned a request away because of thinking in its history."""
    checks = candidate.checks_prefix != "never" and call.envelope.continues
    return checks and cause is FallbackCause.rejected_by_model


def _may_break(envelope: Envelope, target: Model) -> bool:
    """Tell whether the application brings thinking that the target holds to the conversation before it."""
    if target.checks_prefix == "never" or b'thinking"' not in envelope.body:
        return False
    return any(_shows_thinking(turn) for turn in envelope.turns if turn.role == "assistant")


def _shows_thinking(turn: Turn) -> bool:
    return any(block.type in THINKING_BLOCKS for block in blocks_of(turn.content) or ())


async def _write(call: Call, resolved: Resolved, digests: Sequence[str], noted: Note, plane: Plane) -> None:
    governed = resolved.governed
    if governed is not None and resolved.assignment.arm is Arm.candidate and not call.counting:
        shelf = _Shelf(plane.notebook, governed.name, resolved.unit_key)
        await shelf.write(digests, replay.pack(noted))


def _hides(call: Call, source: Model, target: Model, policy: CompatPolicy) -> bool:
    """Tell whether the target is sure to think in this conversation although nobody wants to see it."""
    meant, types = wish(call.envelope.fields, source), target.thinking.types
    if policy.unasked_thinking != "hide" or "disabled" in types or meant is None or meant.on:
        return False
    return "between_tools" not in types or (
        policy.progress_notes == "pass" and present(call.envelope.fields.get("tools"))
    )


def _own(notes: dict[str, Note], envelope: Envelope, answers: Sequence[Address]) -> dict[str, Note]:
    """Return the notes without those of other answers in the same words: where one of `answers` shows its
    thinking, none was hidden.
    """
    hiding = {
        digest for digest, note in notes.items() if any(isinstance(edit, Insert) for edit in note.edits)
    }
    asked = [answer for answer in answers if answer.digest in hiding]
    others = {answer.digest for answer in asked} - _expected(envelope, asked)
    return {digest: note for digest, note in notes.items() if digest not in others}


def _expected(envelope: Envelope, answers: Sequence[Address]) -> set[str]:
    """Return the digests of answers that show no thinking: theirs was hidden."""
    return {answer.digest for answer in answers if not _shows_thinking(envelope.turns[answer.place])}
