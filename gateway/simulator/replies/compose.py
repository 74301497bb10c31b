"""What a simulated model answers: deterministic from the conversation, the model and the limits of the
request.

In this order: a refusal, if the conversation's digest falls into the model's refusal rate or its last turn
says so (`refusals`); a summary, where one is due; thinking, where it is on; then what the server does by
itself (`server_tools`), tool calls, or a JSON document, or the rest of a text that was begun, or prose
(`intent` says which).

A prefill is continued the way models do natively: the answer is the rest and does not say the prefill
again. A model that is *told* to begin with certain characters either says them again (`repeat`, or `spaced`
with a line break before them) or goes on after them (`continue`); see `Switches.prefill_reply`. "redact your
thinking" makes thinking come redacted.
"""

import hashlib
import re
from dataclasses import dataclass, field

from gateway.core.types import to_json
from gateway.simulator.replies import intent, refusals, server_tools
from gateway.simulator.replies.beginnings import complete
from gateway.simulator.replies.documents import fields_wanted, sample, wanted_schema, words
from gateway.simulator.replies.profiles import EFFORT_FACTOR, Profile
from gateway.simulator.replies.reply import Draft, Reply
from gateway.simulator.rules.bindings.stamps import summary_seal
from gateway.simulator.rules.case import Case, Json
from gateway.simulator.rules.conversation import is_prefill, prefill_text
from gateway.simulator.rules.switches import Habit

COMPACTS_FROM = 150_000
"""Prompt tokens at which a conversation is summarised, unless the request says otherwise."""
WORDS_BEFORE_DECLINING = 8

_REDACT = re.compile(r"\bredact your thinking\b", re.IGNORECASE)


def compose(
    case: Case,
    profile: Profile,
    *,
    prompt_tokens: int,
    habit: Habit | None = None,
    refusal_scale: float = 1.0,
    obeys: bool = True,
) -> Reply:
    """Answer a request that the rules accepted; `obeys`: as it is told in words about calling tools."""
    seed = intent.conversation_seed(case)
    own = hashlib.sha256(case.model.id.encode() + seed).digest()
    if int.from_bytes(own[:4], "big") < profile.refusal_rate * refusal_scale * 2**32:
        return refusals.refusal(case, own)
    told = refusals.told(intent.last_text(case), case.model.id)
    if told and not told[1]:
        return refusals.declined(told[0])
    draft = Draft(case, prompt_tokens)
    if _summarises(case, prompt_tokens, draft, own):
        return draft.finished("compaction")
    calls = [] if is_prefill(case) and not case.forces_tool else intent.tool_calls(case, seed, obeys=obeys)
    _think(case, profile, draft, own, calls=bool(calls))
    if told:
        draft.say(_prose(own, WORDS_BEFORE_DECLINING))
        _call(case, draft, own, calls[:1])
        return refusals.declined(told[0], draft.finished("refusal"))
    if _pauses(case, draft, seed):
        return draft.finished("pause_turn")
    _call(case, draft, own, calls)
    if not calls:
        draft.say(_text(case, profile, seed, own, habit))
    return draft.finished("tool_use" if calls else "end_turn")


# --- before the words ---------------------------------------------------------------------------------------


def _think(case: Case, profile: Profile, draft: Draft, own: bytes, *, calls: bool) -> None:
    thinking: Json = case.body.get("thinking") or {}
    display = thinking.get("display") or case.model.thinking.display_default
    # The reference knows one exception: a forced call of Haiku 5.5 comes without thinking.
    if case.thinks and not (case.forces_tool and case.model.line == "haiku"):
        tokens = _thinking_tokens(case, profile, own)
        text = _prose(own + b"thinking", max(4, tokens // 4)) if display == "summarized" else ""
        draft.think(tokens, text, redacted=_REDACT.search(intent.last_text(case)) is not None)
    noted = case.thinking_type == "between_tools" and intent.between_calls(case)
    if calls and (noted or display == "updates"):
        draft.note(_prose(own + b"note", 8))


def _thinking_tokens(case: Case, profile: Profile, seed: bytes) -> int:
    wanted = int(profile.thinking_tokens * EFFORT_FACTOR.get(case.effort or "medium", 1.0)) + seed[2] % 16 + 1
    thinking = case.body.get("thinking") or {}
    return min(wanted, int(thinking.get("budget_tokens", wanted)))


def _call(case: Case, draft: Draft, own: bytes, calls: list[tuple[str, Json]]) -> None:
    if calls and case.switches.speaks_before_calls and not case.forces_tool:
        draft.say(f"Let me use {calls[0][0]} for that.")
    for number, (name, arguments) in enumerate(calls):
        seed = hashlib.sha256(own + bytes([number])).hexdigest()
        caller = None
        if program := intent.program_calling(case, name):
            draft.add(run := server_tools.round_of("code_execution", seed.encode())[0])
            caller = {"type": program, "tool_id": run["id"]}
        draft.call(name, arguments, seed, toolset=intent.toolset_of(case, name), caller=caller)


def _pauses(case: Case, draft: Draft, seed: bytes) -> bool:
    """Do what a server's tool does; say whether the turn stops behind it."""
    if server_tools.resumes(case):
        return False
    text = intent.last_text(case)
    if name := server_tools.tool_asked_for(case, text):
        draft.usage |= server_tools.usage_of(name)
        for block in server_tools.round_of(name, seed):
            draft.add(block)
    return name is not None and server_tools.PAUSE.search(text) is not None


def _summarises(case: Case, prompt_tokens: int, draft: Draft, own: bytes) -> bool:
    """Sum the conversation up where it is asked for or due; say whether that is the whole answer."""
    if not (case.body.get("compaction") or case.body.get("context_management")):
        return False
    summary = _prose(own + b"summary", 20)
    if case.body.get("compaction"):
        block: Json = {"type": "compaction", "content": summary, "encrypted_content": None}
        block["tool_changes"] = []
        draft.add({**block, "signature": summary_seal(summary)})
        return True
    edits: list[Json] = (case.body.get("context_management") or {}).get("edits") or []
    if edits:
        draft.beside["context_management"] = {"applied_edits": []}
    edit = next((edit for edit in edits if edit["type"] == "compact_20260112"), None)
    if edit is None or prompt_tokens < (edit.get("trigger") or {}).get("value", COMPACTS_FROM):
        return False
    draft.add({"type": "compaction", "content": summary, "encrypted_content": None})
    return bool(edit.get("pause_after_compaction"))


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
