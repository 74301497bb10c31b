"""A JSON answer, put back into the shape that the application expects.

Block by block, in the order in which `stream` does the same to events: the forced call, the text that goes
on from a prefill, thinking, names of tools. Then what the answer says of itself: why it ended, and which
model it comes from, where the plan says so. Usage and every other value stay as they are, and an answer to
which nothing is done stays the very bytes that came.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from gateway.compat.answer.kept import Kept, keep
from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.shape import (
    CALLS,
    OWN_ENDS,
    is_object,
    kind_of,
    made_up_call,
    note_text,
    renamed,
    text_of,
    told_as,
)
from gateway.compat.answer.text import TextRestorer
from gateway.compat.envelope import THINKING_BLOCKS, Fields, encode, read


@dataclass(frozen=True, slots=True)
class Restored:
    """An answer as the application gets it."""

    body: bytes
    kept: Kept | None = None
    """What the next turn must repeat."""


def restore(body: bytes, plan: AnswerPlan) -> Restored:
    """Put a JSON answer back; the body is `body` itself where nothing is to be done."""
    message = read(Raw(body), Fields)
    content = read(message.get("content"), list[Raw]) if message else None
    if message is None or content is None:
        return Restored(body)
    stop = read(message.get("stop_reason"), str) or ""
    shown, wrapped = _shown(content, plan, message, stop)
    told: Fields = {} if shown == content else {"content": encode(shown)}
    if (reason := told_as(stop, plan, wrapped=wrapped)) != stop:
        told["stop_reason"] = encode(reason)
    if plan.shown_model and "model" in message:
        told["model"] = encode(plan.shown_model)
    kept = keep(plan, content, shown, stop)
    return Restored(msgspec.json.encode(message | told) if told else body, kept)


def _shown(content: Sequence[Raw], plan: AnswerPlan, message: Fields, stop: str) -> tuple[list[Raw], bool]:
    """Return the blocks that the application gets, and whether one of them is a made-up call."""
    wrapped = False
    blocks = list(content)
    if plan.forced is not None and plan.forced.wrapped:
        blocks, wrapped = _wrapped(blocks, plan, message, stop)
    elif plan.forced is not None:
        call = next((at for at, raw in enumerate(blocks) if kind_of(raw) in CALLS), 0)
        blocks = [raw for raw in blocks[:call] if kind_of(raw) != "text"] + blocks[call:]
    if plan.prefill and (first := _first_text(blocks)) is not None:
        blocks[first] = _continuation(blocks[first], plan)
    shown = [_thought(raw, plan) for raw in blocks]
    return [renamed(raw, plan) for raw in shown if raw is not None], wrapped


def _first_text(blocks: Sequence[Raw]) -> int | None:
    return next((at for at, raw in enumerate(blocks) if kind_of(raw) == "text"), None)


def _wrapped(blocks: list[Raw], plan: AnswerPlan, message: Fields, stop: str) -> tuple[list[Raw], bool]:
    """Show the first text as the call whose input it is; a text that was cut as one without input.

    A text that came to its own end and is no JSON object stays what it is.
    """
    first = _first_text(blocks)
    text = text_of(blocks[first]) if first is not None else ""
    whole = is_object(text)
    if first is None or not text.lstrip().startswith("{") or (stop in OWN_ENDS and not whole):
        return blocks, False
    call = made_up_call(message, plan)
    if whole:
        call["input"] = Raw(text.strip().encode())
    blocks[first] = encode(call)
    return blocks, True


def _continuation(raw: Raw, plan: AnswerPlan) -> Raw:
    block = read(raw, Fields)
    text = read(block.get("text"), str) if block else None
    if block is None or text is None:
        return raw
    restorer = TextRestorer(plan)
    restored = restorer.feed(text) + restorer.finish()
    return raw if restored == text else encode(block | {"text": encode(restored)})


def _thought(raw: Raw, plan: AnswerPlan) -> Raw | None:
    """Return what is shown of a block that may be thinking; None: nothing."""
    if kind_of(raw) not in THINKING_BLOCKS:
        return raw
    if plan.shows_notes and (text := note_text(raw)):
        return encode({"type": "text", "text": text})
    return None if plan.hides_thinking else raw
