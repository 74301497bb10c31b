"""Prefill (R4): the beginning of the answer, given as a last assistant turn, on models that take none.

The turn is taken away and the same is said in words, in a text block at the end of the last user turn.
Nothing else of the conversation changes, and the next turns repeat that block. What comes back is put into
the shape of a continuation by `answer.response` and `answer.stream`.

As a rule the model is told to begin its reply with exactly the characters of the prefill, which the gateway
then removes. It is told to write only what comes after them where repeating would do harm: a stop sequence
stands in them, they would use up much of `max_tokens`, or they are long (then they are an answer that was
cut, to be continued). Both replies are understood, whichever was asked for.

A native prefill makes the answer begin with text. A model that only reads about it might call a tool instead,
so an answer that has begun as JSON is asked for with `tool_choice: none`; after other beginnings ("Let me
look that up:") a call is what may be wanted, and the choice stays.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from msgspec import Raw

from gateway.compat.address import raw_blocks
from gateway.compat.answer.plan import Intent
from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, encode, read
from gateway.compat.replay import After, Append, Edit
from gateway.core.types import Change, RewriteClass

LONG = 400
"""Characters from which a prefill is an answer to be continued rather than a beginning."""
MIN_CAPS = 4
"""How many times `max_tokens` must hold the prefill (three characters a token) before it may be repeated."""

_JSON = re.compile(
    r'\s*(?:```json\s*(?:[{\[]|$)|```\s*[{\[]|\{\s*(?:["}]|$)|\[\s*(?:["{\[\]\d-]|true|false|null|$))'
)
_LABEL = re.compile(r"""[^\n]{0,80}[:"'(\[<>=]\s*$""")


def intent_of(text: str) -> Intent:
    """Return what a prefill is for: a JSON shape, a short answer after a label, or any other text."""
    if _JSON.match(text):
        return "json"
    return "label" if _LABEL.fullmatch(text) else "text"


def is_foreign(envelope: Envelope, source: Model, target: Model) -> bool:
    """Tell whether the request holds a prefill that the source takes and the target does not."""
    return envelope.prefill is not None and source.prefill and not target.prefill


def unsayable(draft: Draft) -> str:
    """Say why a prefill cannot be said to the target in words."""
    prefill = draft.envelope.prefill
    if prefill is None or not is_foreign(draft.envelope, draft.source, draft.target):
        return ""
    sentence = f"the last turn begins the answer (prefill), which {draft.target.id} does not take"
    if draft.policy.prefill != "emulate":
        return sentence
    if not prefill.removable:
        return f"{sentence}; it holds results of server tools, which cannot be said in words"
    return ""


def apply(draft: Draft) -> Draft:
    """Say a prefill in words, and plan how to put the answer back."""
    prefill = draft.envelope.prefill
    if prefill is None or not prefill.removable or not is_foreign(draft.envelope, draft.source, draft.target):
        return draft
    if not prefill.text:
        sentence = "The empty assistant turn at the end is left out."
        return replace(draft, cut=prefill.start).note("prefill", RewriteClass.lossless, sentence)
    intent = intent_of(prefill.text)
    if draft.plan.forced is not None:
        plan = replace(draft.plan, prefill=prefill.text, intent=intent)
        sentence = "The beginning of the answer is left out: the answer is a call."
        return replace(draft, cut=prefill.start, plan=plan).note("prefill", RewriteClass.emulated, sentence)
    words = instruction(prefill.text, intent, repeat=_may_repeat(draft, prefill.text))
    told = tell(draft.envelope, words, upto=prefill.start)
    if told is None:
        return draft
    plan = replace(draft.plan, prefill=prefill.text, intent=intent)
    draft = replace(draft, cut=prefill.start, plan=plan).edit(told)
    sentence = f"The beginning of the answer is asked for in words: {draft.target.id} takes no prefill."
    if intent == "json" and _may_call(draft):
        draft = draft.put("tool_choice", {"type": "none"})
        sentence += " Tools are off for this answer, because it has begun as JSON."
    long = len(prefill.text) > LONG
    return draft.note("prefill", RewriteClass.prompt if long else RewriteClass.emulated, sentence)


def instruction(text: str, intent: Intent, *, repeat: bool) -> str:
    """Return the words for a prefill; `repeat` asks for an answer that begins with it."""
    fenced = "```" in text
    begun = f"<reply_start>{text}</reply_start>"
    if not repeat:
        shape = " Both together must be one JSON value and nothing else." if intent == "json" else ""
        fence = "" if fenced else ", no code fence"
        return (
            "Your reply has already begun with the characters between the tags. Write only what comes after "
            f"them: do not repeat them, no preamble{fence}.{shape}\n{begun}"
        )
    if intent == "json":
        shape = "Reply with JSON only: no preamble, no explanation" + ("." if fenced else ", no code fence.")
    else:
        shape = "Answer directly: no preamble" + ("." if fenced else ", no code fence.")
    return (
        f"{shape} Begin your reply with exactly the characters between the tags and continue from "
        f"there.\n{begun}"
    )


def _may_call(draft: Draft) -> bool:
    """Tell whether the model could call a tool where the text has to begin."""
    choice = draft.options("tool_choice")
    free = choice is not None and (not choice or read(choice.get("type"), str) == "auto")
    return free and bool(read(draft.fields.get("tools"), list[Raw]))


def _may_repeat(draft: Draft, text: str) -> bool:
    """Tell whether beginning the reply with the prefill does no harm."""
    stops = read(draft.fields.get("stop_sequences"), list[str]) or []
    if len(text) > LONG or any(stop in text for stop in stops):
        return False
    most = draft.envelope.max_tokens
    return most is None or most >= MIN_CAPS * (1 + len(text) // 3)


def tell(envelope: Envelope, words: str, *, upto: int | None = None) -> Edit | None:
    """Return the edit that says `words` at the end of the last user turn, or in one of their own.

    Only the messages before `upto` are there. None where that turn is malformed and the upstream has to say
    so.
    """
    turns = envelope.turns[:upto]
    block = encode({"type": "text", "text": words})
    if not turns or turns[-1].role != "user":
        return After(len(turns) - 1, encode({"role": "user", "content": [block]}))
    return Append(len(turns) - 1, block) if raw_blocks(turns[-1].content) is not None else None


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    if envelope.prefill is not None and not model.prefill:
        yield Change("prefill", RewriteClass.unservable, f"{model.id} takes no prefill")
