"""Prefill (R4): the beginning of the answer, given as a last assistant turn, on models that take none.

A beginning is taken away, and the same is said in words, in a text block at the end of the last user turn.
Nothing else of the conversation changes, and the next turns repeat that block. What comes back is put into
the shape of a continuation by `answer`. What the words are depends on what the beginning is for:

* JSON, YAML, a label, or the start of a text: the model is told to begin its reply with exactly those
  characters, which the gateway then removes. It is told to write only what comes after them where repeating
  would do harm: a stop sequence stands in them, or they would use up much of `max_tokens`. Both replies are
  understood, whichever was asked for.
* JSON whose schema the application gives (`output_config.format`): a bare bracket needs no words.
* A reminder that the application puts into the model's mouth: it is kept in mind, and not repeated.
* A long text, or one behind results of server tools, is an answer that was cut: it stays a turn of the
  model's, and a user turn behind it quotes its end and asks to go on from there.

A native prefill makes the answer begin with text. A model that only reads about it might call a tool instead,
so an answer that has begun as JSON is asked for with `tool_choice: none`; after other beginnings ("Let me
look that up:") a call is what may be wanted, and the choice stays. Where a call is forced nothing is asked
for: such an answer has no text to begin.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from msgspec import Raw

from gateway.compat.address import raw_blocks
from gateway.compat.answer.plan import Intent
from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, encode, present, read
from gateway.compat.replay import After, Append, Edit
from gateway.core.types import Change, RewriteClass

LONG = 400
"""Characters from which a prefill is an answer to be continued rather than a beginning."""
TAIL = 200
"""Characters that are quoted of an answer that was cut."""
MIN_CAPS = 4
"""How many times `max_tokens` must hold the prefill (three characters a token) before it may be repeated."""

_JSON = re.compile(
    r'\s*(?:```json\s*(?:[{\[]|$)|```\s*[{\[]|\{\s*(?:["}]|$)|\[\s*(?:["{\[\]\d-]|true|false|null|$))'
)
_BRACKET = re.compile(r"\s*(?:```(?:json)?\s*)?[{\[]?\s*")
_YAML = re.compile(r"\s*(?:```ya?ml\b|---[ \t]*(?:\n|$))")
_REMINDER = re.compile(
    r"\W*(?:system[ _-])?(?:reminder|remember|instructions?|important|note to self|keep in mind)\b\W*\w",
    re.IGNORECASE,
)
_LABEL = re.compile(r"""[^\n]{0,80}[:"'(\[<>=]\s*$""")


def intent_of(text: str) -> Intent:
    """Return what a prefill is for."""
    if _JSON.match(text):
        return "json"
    if _YAML.match(text):
        return "yaml"
    if _REMINDER.match(text):
        return "reminder"
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
    if not prefill.removable and not _was_cut(draft.envelope):
        return f"{sentence}; it holds results of server tools, which cannot be said in words"
    return ""


def apply(draft: Draft) -> Draft:
    """Say a prefill in words, and plan how to put the answer back."""
    prefill = draft.envelope.prefill
    if prefill is None or not is_foreign(draft.envelope, draft.source, draft.target):
        return draft
    planned = replace(draft.plan, prefill=prefill.text, intent=intent_of(prefill.text))
    if prefill.removable and not prefill.text:
        sentence = "The empty assistant turn at the end is left out."
        return draft.but(cut=prefill.start).note("prefill", RewriteClass.lossless, sentence)
    if prefill.removable and draft.plan.forced is not None:
        sentence = "The beginning of the answer is left out: the answer is a call."
        draft = draft.but(cut=prefill.start, plan=planned)
        return draft.note("prefill", RewriteClass.emulated, sentence)
    if _was_cut(draft.envelope):
        return _go_on(draft.but(plan=planned))
    return _begin(draft.but(plan=planned), prefill.start) or draft


def _was_cut(envelope: Envelope) -> bool:
    """Tell whether a prefill is an answer that was cut, all of it in one turn."""
    prefill = envelope.prefill
    if prefill is None or prefill.start != len(envelope.turns) - 1 or not prefill.text.strip():
        return False
    return len(prefill.text) > LONG or not prefill.removable


def _go_on(draft: Draft) -> Draft:
    """Leave an answer that was cut where it is, and ask behind it to go on."""
    plan = draft.plan
    words = continuation(plan.prefill, plan.intent)
    message = {"role": "user", "content": [{"type": "text", "text": words}]}
    draft = draft.but(plan=replace(plan, continued=True, quoted=plan.prefill[-TAIL:]))
    draft = draft.edit(After(len(draft.envelope.turns) - 1, encode(message)))
    sentence = f"The answer that was cut is continued behind a user turn: {draft.target.id} takes no prefill."
    return _without_calls(draft).note("prefill", RewriteClass.prompt, sentence)


def _begin(draft: Draft, start: int) -> Draft | None:
    """Take the beginning away and ask for it in words; None where the user's turn cannot be read."""
    text, intent = draft.plan.prefill, draft.plan.intent
    shaped = intent == "json" and present((draft.options("output_config") or {}).get("format"))
    if shaped and _BRACKET.fullmatch(text):
        sentence = "The beginning of the answer is left out: its schema asks for the same."
        return _without_calls(draft.but(cut=start)).note("prefill", RewriteClass.emulated, sentence)
    words = instruction(text, intent, repeat=shaped or _may_repeat(draft, text))
    told = tell(draft.envelope, words, upto=start)
    if told is None:
        return None
    sentence = f"The beginning of the answer is asked for in words: {draft.target.id} takes no prefill."
    grave = RewriteClass.prompt if len(text) > LONG else RewriteClass.emulated
    return _without_calls(draft.but(cut=start).edit(told)).note("prefill", grave, sentence)


def _without_calls(draft: Draft) -> Draft:
    """Turn tools off for an answer that has begun as JSON."""
    if draft.plan.intent != "json" or not _may_call(draft):
        return draft
    sentence = "Tools are off for this answer, because it has begun as JSON."
    return draft.put("tool_choice", {"type": "none"}).note("prefill", RewriteClass.emulated, sentence)


def instruction(text: str, intent: Intent, *, repeat: bool) -> str:
    """Return the words for a prefill; `repeat` asks for an answer that begins with it."""
    fenced = "```" in text
    begun = f"<reply_start>{text}</reply_start>"
    if intent == "reminder":
        return (
            "Keep to what stands between the tags when you write your reply, and do not repeat it.\n"
            f"<reminder>{text}</reminder>"
        )
    if not repeat:
        shape = " Both together must be one JSON value and nothing else." if intent == "json" else ""
        fence = "" if fenced else ", no code fence"
        return (
            "Your reply has already begun with the characters between the tags. Write only what comes after "
            f"them: do not repeat them, no preamble{fence}.{shape}\n{begun}"
        )
    if intent in ("json", "yaml"):
        shape = f"Reply with {intent.upper()} only: no preamble, no explanation"
        shape += "." if fenced else ", no code fence."
    else:
        shape = "Answer directly: no preamble" + ("." if fenced else ", no code fence.")
    return (
        f"{shape} Begin your reply with exactly the characters between the tags and continue from "
        f"there.\n{begun}"
    )


def continuation(text: str, intent: Intent) -> str:
    """Return the words that ask to go on with an answer that was cut."""
    fence = "" if "```" in text else ", no code fence"
    shape = " Both together must be one JSON value and nothing else." if intent == "json" else ""
    return (
        "Your reply was interrupted. It ends with the characters between the tags. Go on from exactly there: "
        f"do not repeat anything, no preamble{fence}.{shape}\n<reply_end>{text[-TAIL:]}</reply_end>"
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
    if not model.prefill and envelope.prefill is not None:
        yield Change("prefill", RewriteClass.unservable, f"{model.id} takes no prefill")
