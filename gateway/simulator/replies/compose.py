"""What a simulated model answers: deterministic from the conversation, the model and the limits of the
request.

In this order: a refusal, if the conversation's digest falls into the model's refusal rate; thinking, where
it is on; then tool calls, or a JSON document, or the rest of a text that was begun, or prose (`intent` says
which). Everything counts toward `max_tokens` and the context window, thinking first, and is cut where they
end. Stop sequences cut text.

A prefill is continued the way models do natively: the answer is the rest and does not say the prefill
again. A model that is *told* to begin with certain characters either says them again (`repeat`, or `spaced`
with a line break before them) or goes on after them (`continue`); see `Switches.prefill_reply`.
"""

import hashlib
import re
from dataclasses import dataclass, field

from gateway.core.types import to_json
from gateway.simulator.replies import intent
from gateway.simulator.replies.beginnings import complete
from gateway.simulator.replies.documents import fields_wanted, pick, sample, wanted_schema, words
from gateway.simulator.replies.profiles import EFFORT_FACTOR, Profile
from gateway.simulator.replies.tokens import count_text, cut_text
from gateway.simulator.rules.case import Case, Habit, Json
from gateway.simulator.rules.conversation import is_prefill, prefill_text
from gateway.simulator.rules.signatures import conversation_digest, mint

REFUSAL_CATEGORIES = ("cyber", "bio", "frontier_llm", "general_harms", None)
CALL_TOKENS = 12
"""What a tool call costs beside its name and input."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, before it is written as JSON or as a stream."""

    content: list[Json]
    stop_reason: str
    output_tokens: int
    thinking_tokens: int = 0
    stop_sequence: str | None = None
    stop_details: Json | None = None


EMPTY = Reply([], "end_turn", 1)
"""A model that has nothing to say."""


def compose(
    case: Case, profile: Profile, *, prompt_tokens: int, habit: Habit | None, refusal_scale: float = 1.0
) -> Reply:
    """Answer a request that the rules accepted."""
    seed = intent.conversation_seed(case)
    own = hashlib.sha256(case.model.id.encode() + seed).digest()
    if int.from_bytes(own[:4], "big") < profile.refusal_rate * refusal_scale * 2**32:
        return refusal(own)
    draft = _Draft(case, prompt_tokens)
    calls = [] if is_prefill(case) and not case.forces_tool else intent.tool_calls(case, seed)
    if _thinks_now(case):
        draft.think(_thinking_tokens(case, profile, own), own)
    elif case.thinking_type == "between_tools" and calls and intent.between_calls(case):
        draft.note(own)
    for number, (name, arguments) in enumerate(calls):
        draft.call(name, arguments, hashlib.sha256(own + bytes([number])).hexdigest())
    if not calls:
        draft.say(_text(case, profile, seed, own, habit))
    return draft.finished(calls=bool(calls))


def refusal(seed: bytes) -> Reply:
    """A decline before the first token."""
    category = pick(seed + b"refusal", REFUSAL_CATEGORIES)
    details = {
        "type": "refusal",
        "category": category,
        "explanation": "This request was declined by the simulator.",
    }
    return Reply([], "refusal", 1, stop_details=details)


def _thinks_now(case: Case) -> bool:
    # The reference knows one exception: a forced call of Haiku 5.5 comes without thinking.
    return case.thinks and not (case.forces_tool and case.model.line == "haiku")


def _thinking_tokens(case: Case, profile: Profile, seed: bytes) -> int:
    wanted = int(profile.thinking_tokens * EFFORT_FACTOR.get(case.effort or "medium", 1.0)) + seed[2] % 16 + 1
    thinking = case.body.get("thinking") or {}
    return min(wanted, int(thinking.get("budget_tokens", wanted)))


class _Draft:
    """An answer while it is written: its blocks, and how many tokens are left for it."""

    def __init__(self, case: Case, prompt_tokens: int) -> None:
        self._case = case
        asked: int = case.body.get("max_tokens", 0)
        window = max(0, case.model.context_tokens - prompt_tokens)
        self._room = min(asked, window)
        self._limit = "max_tokens" if asked <= window else "model_context_window_exceeded"
        self._content: list[Json] = []
        self._spent = self._thought = 0
        self._full = self._room == 0
        self._stop_sequence: str | None = None

    def think(self, tokens: int, seed: bytes) -> None:
        """Think; the text is a summary, or empty when it is not to be shown."""
        if self._full:
            return
        display = (self._case.body.get("thinking") or {}).get(
            "display"
        ) or self._case.model.thinking.display_default
        text = "" if display == "omitted" else _prose(seed + b"thinking", max(4, tokens // 4))
        spent = self._spend(tokens)
        self._thought += spent
        self._thinking_block(cut_text(text, spent, self._case.model))

    def note(self, seed: bytes) -> None:
        """A progress note between two tool calls; it comes as thinking, with its text."""
        text = _prose(seed + b"note", 8)
        if not self._full:
            self._spend(count_text(text, self._case.model))
            self._thinking_block(text)

    def call(self, name: str, arguments: Json, digest: str) -> None:
        """Call a tool; without room for the whole input there is none in it."""
        if self._full:
            return
        tokens = CALL_TOKENS + count_text(name + to_json(arguments).decode(), self._case.model)
        whole = self._spend(tokens) == tokens
        block = {"type": "tool_use", "id": f"toolu_01{digest[:22]}", "name": name}
        self._content.append({**block, "input": arguments if whole else {}})

    def say(self, text: str) -> None:
        """Say something, as far as stop sequences and room allow."""
        if self._full:
            return
        stops: list[str] = self._case.body.get("stop_sequences") or []
        found = min(((text.index(stop), stop) for stop in stops if stop in text), default=None)
        model = self._case.model
        if found and count_text(text[: found[0]], model) <= self._room - self._spent:
            text, self._stop_sequence = text[: found[0]], found[1]
        spent = self._spend(count_text(text, model))
        if shown := cut_text(text, spent, model):
            self._content.append({"type": "text", "text": shown})

    def finished(self, *, calls: bool) -> Reply:
        stop = "tool_use" if calls else "stop_sequence" if self._stop_sequence is not None else "end_turn"
        return Reply(
            self._content,
            self._limit if self._full else stop,
            self._spent,
            self._thought,
            None if self._full else self._stop_sequence,
        )

    def _spend(self, tokens: int) -> int:
        """Take tokens out of the room; what was left when it ran out."""
        spent = min(tokens, self._room - self._spent)
        self._spent += spent
        self._full = spent < tokens
        return spent

    def _thinking_block(self, text: str) -> None:
        signature = mint(self._case.model.id, text, conversation_digest(self._case.body))
        self._content.append({"type": "thinking", "thinking": text, "signature": signature})


# --- words --------------------------------------------------------------------------------------------------


def _text(case: Case, profile: Profile, seed: bytes, own: bytes, habit: Habit | None) -> str:
    """What the answer says, were there no limits."""
    if (chosen := case.output_format) is not None:
        return to_json(sample(chosen["schema"], seed)).decode()
    begun = prefill_text(case)
    told = None if begun else intent.given_beginning(case)
    prompt = intent.prompt_text(case)
    length = _length(profile, own)
    if begun:
        return _rest(begun, _Voice(fields_wanted(prompt), seed, own, length))
    if told:
        voice = _Voice(fields_wanted(prompt.replace(told.text, "")), seed, own, length)
        return _from_the_beginning(told, _rest(told.text, voice), habit or _habit(told, profile))
    if intent.wants_json(case) and not is_prefill(case):
        return to_json(sample(wanted_schema(fields_wanted(prompt)), seed)).decode()
    return _prose(own, length)


def _habit(told: intent.Beginning, profile: Profile) -> Habit:
    return "repeat" if profile.repeats_beginning and not told.only_the_rest else "continue"


def _from_the_beginning(told: intent.Beginning, rest: str, habit: Habit) -> str:
    if habit == "continue":
        return rest
    if habit == "fenced" and told.text.lstrip()[:1] in ("{", "["):
        return f"```json\n{told.text}{rest}\n```"
    return ("\n" if habit == "spaced" else "") + told.text + rest


def _length(profile: Profile, seed: bytes) -> int:
    """Between half and one and a half of the model's usual length."""
    return max(3, profile.words * (128 + seed[3]) // 256)


@dataclass(frozen=True, slots=True)
class _Voice:
    """What a continuation is written with."""

    fields: dict[str, str]
    seed: bytes
    own: bytes
    length: int = field(default=20)


def _rest(begun: str, voice: _Voice) -> str:
    """The text after `begun`: of a fence, a JSON document, a tag, an open quote, or a sentence."""
    if begun.count("```") % 2:
        fence = begun.rindex("```")
        inner = begun[fence + 3 :].partition("\n")[2]
        opening = "" if "\n" in begun[fence:] else "\n"
        rest = complete(inner, voice.fields, voice.seed) if inner.strip() or "json" in begun[fence:] else None
        return f"{opening}{'value = 1' if rest is None else rest}\n```"
    for start in (0, *(match.end() for match in re.finditer(r"[:\n]\s*(?=[\[{])", begun))):
        if begun[start:].lstrip()[:1] in ("{", "["):
            rest = complete(begun[start:], voice.fields, voice.seed)
            if rest is not None:
                return rest
    return _rest_of_text(begun, voice)


def _rest_of_text(begun: str, voice: _Voice) -> str:
    if tag := re.search(r"<([A-Za-z][\w-]*)>[^<]*$", begun):
        return f"{_prose(voice.own, voice.length)}</{tag[1]}>"
    if begun.count('"') % 2:
        return f'{words(voice.seed, 1)[0]}"'
    space = "" if begun[-1:] in ("", "(", "[", "\n", " ") else " "
    return space + _prose(voice.own, voice.length)


def _prose(seed: bytes, count: int) -> str:
    """Sentences of `count` words."""
    chosen = words(seed, count)
    sentences = [chosen[start : start + 9] for start in range(0, count, 9)]
    return " ".join(" ".join(sentence).capitalize() + "." for sentence in sentences)
