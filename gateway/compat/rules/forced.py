"""A forced tool call (R5), on models that cannot be forced.

The choice becomes `auto`, and a line asks for the call: as a turn of role system where the target takes one,
else at the end of the last user turn. The line stays in the conversation for good; later turns repeat it.
Whether the call came is known from the answer (`answer.verify`): where it did not, the request is sent once
more with a firmer line, and then control answers. Text before the call is not shown, because a forced call
has none.

A named tool whose schema allows it is made `strict` in a conversation's first turn, and stays so.

Where the call is nothing but a way to get JSON (one tool, no call in the conversation so far), and the
schema can be said so, the tool's input is asked for as structured output instead, which cannot fail to come.
What the model writes is shown as the call; when the call comes back with its result, the conversation gets
the text again that the model wrote, and the result as text.

In a thread nothing of this can be said: its turns must all bring the same `tool_choice`, its later ones do
not bring the tools, and the upstream holds what the model wrote and not what was shown. So it stays on
control, which forces the call.

Exactly one call (`disable_parallel_tool_use`) becomes at most one, as `auto` has it.
"""

from dataclasses import replace
from typing import Any

from msgspec import Raw

from gateway.compat.address import raw_blocks
from gateway.compat.answer.plan import ForcedCall
from gateway.compat.draft import Draft
from gateway.compat.envelope import Fields, encode, present, read
from gateway.compat.replay import After, Append, Edit, Strict
from gateway.compat.rules import thinking, tools
from gateway.compat.schemas import closed
from gateway.compat.thread import leaves_thread
from gateway.core.types import RewriteClass

_HAS_CALLS = (b'"tool_use"', b'"tool_result"')
_HAS_CITATIONS = b'"citations"'


def apply(draft: Draft) -> Draft:
    """Ask for the call, and plan how to show it."""
    if not is_emulated(draft):
        return draft
    choice = draft.options("tool_choice") or {}
    name = _named(choice)
    schema = _extraction(draft)
    if schema is not None:
        return _as_output(draft, schema)
    told = _ask(draft, line(name, insists=draft.insists))
    if told is None:
        return draft
    auto = {key: value for key, value in choice.items() if key != "name"} | {"type": encode("auto")}
    edits = [told, *_strict(draft, name)]
    draft = draft.put("tool_choice", auto).edit(*edits)
    draft = draft.but(plan=replace(draft.plan, forced=ForcedCall(name)))
    sentence = f"The tool call is asked for in words: {draft.target.id} cannot be forced."
    if len(edits) > 1:
        sentence += " The tool is strict from here on."
    return draft.note("forced_tool", RewriteClass.emulated, sentence)


def unsayable(draft: Draft) -> str:
    """Say why a forced call is not said to the target; empty where it is, or nothing needs to be said."""
    if not tools.cannot_force(draft.fields, draft.target) or tools.cannot_force(draft.fields, draft.source):
        return ""
    if is_emulated(draft):
        return ""
    return f"tool_choice forces a tool call, which {draft.target.id} does not take"


def is_emulated(draft: Draft) -> bool:
    """Tell whether a call is forced that the source would make, and that the target is asked for in words."""
    if draft.policy.forced_tool != "emulate" or draft.envelope.max_tokens == 0:
        return False
    if leaves_thread(draft.envelope):
        return False
    if not tools.cannot_force(draft.fields, draft.target) or not _is_served_by_source(draft):
        return False
    choice = draft.options("tool_choice") or {}
    names = [tools.name_of(raw) for raw in read(draft.fields.get("tools"), list[Raw]) or ()]
    one = read(choice.get("type"), str) == "tool"
    return (_named(choice) in names if one else bool(names)) and _ask(draft, "") is not None


def _named(choice: Fields) -> str:
    """Return the name of the tool that must be called; empty where any will do."""
    return (read(choice.get("name"), str) or "") if read(choice.get("type"), str) == "tool" else ""


def _is_served_by_source(draft: Draft) -> bool:
    fields, source = draft.envelope.fields, draft.source
    meant = thinking.wish(fields, source)
    return source.forced_tool == "always" or (
        source.forced_tool == "thinking_off" and meant is not None and not meant.on
    )


def line(name: str, *, insists: bool) -> str:
    """Return the words that ask for a call of the named tool, or of any."""
    tool = f"the tool {name}" if name else "one of your tools"
    if insists:
        return (
            f"This turn must be a call of {tool}. An answer in words is not accepted here: make the call "
            "now, with the best input that you can give from what you know."
        )
    return f"In this turn, call {tool} before anything else, and write no text before the call."


def _ask(draft: Draft, words: str) -> Edit | None:
    """Return the edit that says `words` behind everything; None where there is no turn to say it in."""
    prefill = draft.envelope.prefill
    turns = draft.envelope.turns[: prefill.start if prefill is not None else None]
    if turns and turns[-1].role != "system" and draft.target.mid_conversation_system:
        return After(len(turns) - 1, encode({"role": "system", "content": words}))
    user = max((place for place, turn in enumerate(turns) if turn.role == "user"), default=None)
    if user is None or raw_blocks(turns[user].content) is None:
        return None
    return Append(user, encode({"type": "text", "text": words}))


def _strict(draft: Draft, name: str) -> list[Edit]:
    """Hold the named tool to its schema, where that is taken and the conversation only begins."""
    if draft.envelope.continues or not name or not _takes_schemas(draft):
        return []
    tool = next(raw for raw in read(draft.fields["tools"], list[Raw]) or () if tools.name_of(raw) == name)
    fields = read(tool, Fields) or {}
    schema = read(fields.get("input_schema"), dict[str, Any])
    if not tools.is_custom(fields) or "strict" in fields or schema is None or closed(schema) != schema:
        return []
    return [Strict(len(draft.envelope.turns) - 1, name)]


def _takes_schemas(draft: Draft) -> bool:
    return "structured_outputs" in draft.target.features and _HAS_CITATIONS not in draft.envelope.body


def _extraction(draft: Draft) -> dict[str, Any] | None:
    """Return the schema of an answer for whose JSON alone the tool is there; None where it is more."""
    raws = read(draft.fields.get("tools"), list[Raw]) or []
    fields = read(raws[0], Fields) if len(raws) == 1 else None
    config = draft.options("output_config")
    if fields is None or config is None or present(config.get("format")) or not tools.is_custom(fields):
        return None
    if draft.insists or draft.envelope.prefill is not None or not _takes_schemas(draft):
        return None
    # A stop sequence would cut the JSON where it would not have cut a call.
    if any(mark in draft.envelope.body for mark in _HAS_CALLS) or present(draft.fields.get("stop_sequences")):
        return None
    return closed(read(fields.get("input_schema"), dict[str, Any]))


def _as_output(draft: Draft, schema: dict[str, Any]) -> Draft:
    tool = (read(draft.fields["tools"], list[Raw]) or [])[0]
    config = draft.options("output_config") or {}
    form = encode({"type": "json_schema", "schema": schema})
    draft = draft.put("output_config", config | {"format": form}).put("tool_choice", {"type": "none"})
    forced = ForcedCall(tools.name_of(tool), wrapped=True)
    draft = draft.but(plan=replace(draft.plan, forced=forced))
    sentence = f"The tool's input is asked for as structured output: {draft.target.id} cannot be forced."
    return draft.note("forced_tool", RewriteClass.emulated, sentence)
