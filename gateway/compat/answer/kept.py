"""What the next turn must repeat of an answer, and the note that is made of it.

The application sends an answer back as it saw it. Where the model said something else, the conversation must
hold what the model said: thinking that was hidden is inserted again where it stood; an answer that was shown
in another shape is replaced by the one that was produced; a beginning that the model was given as a turn of
its own is one again. The result of a call that was made of a text goes back as text.

An application that gave the beginning of an answer may send both parts back or the second alone, so there
are two ways in which such an answer is recognised.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Raw

from gateway.compat.address import answer_digests, echo, raw_blocks
from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.shape import kind_of, note_text, text_of
from gateway.compat.envelope import THINKING_BLOCKS, Envelope, Fields, Turn, encode, read
from gateway.compat.replay import After, Edit, Insert, Note, Replace, Replay, Results

_ENDS_WITHOUT_USE = frozenset({"", "refusal"})
"""Stop reasons of answers that do not stay in a conversation: unfinished ones and refusals."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of one answer when it is over."""

    shown: tuple[Raw, ...]
    """The blocks that the application got."""
    stop_reason: str
    """The model's own."""
    prefill: str = ""
    """The beginning that the application has already, and puts in front."""
    continued: bool = False
    """That beginning is a turn of its own to the model."""
    hidden: tuple[tuple[int, Raw], ...] = ()
    """Thinking blocks, each with its index in the model's turn."""
    content: Raw | None = None
    """The model's turn, where it cannot be had from what was shown."""
    call: str = ""
    """The id of a call that the model did not make: its result goes back as text."""

    @property
    def echoes(self) -> tuple[bytes, ...]:
        """The ways in which the answer may come back."""
        alone = echo(self.shown)
        if not self.prefill:
            return (alone,)
        beginning = encode({"type": "text", "text": self.prefill})
        return (echo([beginning, *self.shown]), alone)


def keep(plan: AnswerPlan, said: Sequence[Raw], shown: Sequence[Raw], stop_reason: str) -> Kept | None:
    """Return what is to be kept of an answer: the blocks that the model `said`, and those that were `shown`.

    None where nothing must be repeated, and for refusals and unfinished answers, which no conversation
    holds.
    """
    shown = tuple(raw for raw in shown if not _is_blank(raw))
    if not plan.keeps or stop_reason in _ENDS_WITHOUT_USE or not (shown or plan.prefill):
        return None
    said = _as_repeated(said)
    hidden = tuple(_thinking(said)) if plan.hides_thinking else ()
    whole = plan.continued or not _comes_back(plan, said, shown, hidden)
    if not (plan.repeats or hidden or whole):
        return None
    return Kept(
        shown,
        stop_reason,
        plan.prefill,
        plan.continued,
        hidden=() if whole else hidden,
        content=encode(said) if whole else None,
        call=_made_up_call(plan, said, shown) if whole else "",
    )


def note_of(
    envelope: Envelope, edits: Sequence[Edit], kept: Kept, past: Replay
) -> tuple[tuple[str, ...], Note]:
    """Return the note of the answer to a request, and the digests under which it will be looked for.

    `edits` are those that were written into the request anew, `past` is what it repeated. The note may hold
    nothing, and says then that nothing is missing.
    """
    place = envelope.prefill.start if envelope.prefill else len(envelope.turns)
    beginning = envelope.turns[place:]
    mine = _edits(kept, beginning, place)
    echoes = kept.echoes
    if kept.continued and beginning:
        # It may hold more than its text.
        echoes = (echo([*(raw_blocks(beginning[0].content) or ()), *kept.shown]), *echoes)
    return answer_digests(envelope, echoes), past.note((*edits, *mine))


def _edits(kept: Kept, beginning: Sequence[Turn], place: int) -> list[Edit]:
    if kept.content is None:
        return [Insert(place, at, block) for at, block in kept.hidden]
    if kept.continued and beginning:
        turn = encode({"role": "assistant", "content": kept.content})
        return [Replace(place, beginning[0].content), After(place, turn)]
    whole: list[Edit] = [Replace(place, kept.content)]
    return [*whole, Results(place + 1, kept.call)] if kept.call else whole


def _as_repeated(said: Sequence[Raw]) -> list[Raw]:
    """Return the blocks that may be said again: no blank text, no thinking from before a change of models."""
    kinds = [kind_of(raw) for raw in said]
    switch = max((at for at, kind in enumerate(kinds) if kind == "fallback"), default=0)
    return [
        raw
        for at, (kind, raw) in enumerate(zip(kinds, said, strict=True))
        if not (at < switch and kind in THINKING_BLOCKS) and not _is_blank(raw)
    ]


def _thinking(said: Sequence[Raw]) -> list[tuple[int, Raw]]:
    return [(at, raw) for at, raw in enumerate(said) if kind_of(raw) in THINKING_BLOCKS]


def _comes_back(
    plan: AnswerPlan, said: Sequence[Raw], shown: Sequence[Raw], hidden: Sequence[tuple[int, Raw]]
) -> bool:
    """Tell whether the model's turn is what comes back, with the hidden thinking put in again.

    Only at its front there is a place for that, however the texts behind are split or joined.
    """
    ours = [raw for raw in said if kind_of(raw) not in THINKING_BLOCKS] if plan.hides_thinking else list(said)
    kinds = [kind_of(raw) for raw in ours]
    if len(ours) != len(shown) or (plan.shows_notes and any(note_text(raw) for raw in said)):
        return False
    if any(at != place for place, (at, _) in enumerate(hidden)):
        return False
    first = kinds.index("text") if plan.prefill and "text" in kinds else -1
    return all(
        text_of(mine).strip() == (plan.prefill + text_of(theirs)).strip()
        if at == first
        else _same(mine, theirs)
        for at, (mine, theirs) in enumerate(zip(ours, shown, strict=True))
    )


def _made_up_call(plan: AnswerPlan, said: Sequence[Raw], shown: Sequence[Raw]) -> str:
    """Return the id of the call that a text was shown as; empty where there is none."""
    if plan.forced is None or not plan.forced.wrapped:
        return ""
    known = {_id(raw) for raw in said}
    return next((_id(raw) for raw in shown if kind_of(raw) == "tool_use" and _id(raw) not in known), "")


def _same(ours: Raw, theirs: Raw) -> bool:
    """Tell whether two blocks are one; a call may be shown by another name."""
    return ours == theirs or (kind_of(ours) == kind_of(theirs) == "tool_use" and _id(ours) == _id(theirs))


def _is_blank(raw: Raw) -> bool:
    return kind_of(raw) == "text" and not text_of(raw).strip()


def _id(raw: Raw) -> str:
    return read((read(raw, Fields) or {}).get("id"), str) or ""
