"""Turns of role system inside a conversation (R9), and what only they may carry.

A model that takes none hears what they say from the user: the texts become blocks at the end of the user turn
before them, each wrapped as a system reminder. Behind a turn of the assistant, which then ends with a server
tool's result, they are a user turn of their own. That loses the operator's authority (a user could write
such a reminder too), and `clear_at`: a reminder stays.

An effort for a single turn is left out where a model does not know it, and so is a turn that says nothing
else. That a tool is withdrawn is said in words. A tool that is added on the way cannot be said: it would be
missing, or stand in `tools` from the beginning, where it was not.

All of that is said of one message by itself and the one before it, so it is the same in every later turn of
the conversation. Turns that stand where no model takes them stay as they are.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec
from msgspec import Raw

from gateway.compat.address import raw_blocks
from gateway.compat.catalog import Model, loses
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Fields, Turn, blocks_of, encode, present, read
from gateway.core.types import Change, RewriteClass

RULE = "system_turns"
TOOL_CHANGES = frozenset({"tool_addition", "tool_removal"})
_SAYABLE = TOOL_CHANGES | {"text"}
_OPENING, _CLOSING = b'"<system-reminder>\\n', b'\\n</system-reminder>"'


class _Message(msgspec.Struct, frozen=True):
    """A turn with what only one of role system has."""

    role: str
    content: Raw = Raw(b"null")
    output_config: Raw = Raw(b"null")
    clear_at: Raw = Raw(b"null")


class _Tool(msgspec.Struct, frozen=True):
    name: str = ""
    server_name: str = ""


class _Removal(msgspec.Struct, frozen=True):
    tool: _Tool = _Tool()


def apply(draft: Draft) -> Draft:
    """Say turns of role system as the target takes them."""
    source, target = draft.source, draft.target
    if not source.mid_conversation_system or not has_system_turns(draft.envelope):
        return draft
    if misplaced(draft.envelope.turns):
        return draft
    if not target.mid_conversation_system:
        sentence = f"Turns of role system became reminders in the user's turns: {target.id} takes none."
        return draft.reworded(as_reminders).note(RULE, RewriteClass.emulated, sentence + _lost(draft))
    if not loses(source, target, "per_message_effort"):
        return draft
    if any(present(turn.output_config) for turn in _system_messages(draft.envelope)):
        sentence = f"Effort is that of the whole request: {target.id} takes none for a single turn."
        return draft.reworded(without_efforts).note(RULE, RewriteClass.emulated, sentence)
    return draft


def _lost(draft: Draft) -> str:
    turns = _system_messages(draft.envelope)
    efforts = any(present(turn.output_config) for turn in turns)
    passing = any(present(turn.clear_at) for turn in turns)
    return " An effort for a single turn is lost." * efforts + " What was to be cleared stays." * passing


def unsayable(draft: Draft) -> str:
    """Say why a tool that is added on the way cannot be said to the target."""
    if not loses(draft.source, draft.target, "tool_changes") or not has_system_turns(draft.envelope):
        return ""
    if "tool_addition" not in _kinds(draft.envelope):
        return ""
    return f"a tool is added inside the conversation, which {draft.target.id} does not take"


# --- the messages -----------------------------------------------------------------------------------------


def as_reminders(messages: Sequence[Raw]) -> list[Raw]:
    """Return the messages with turns of role system said by the user."""
    result: list[Raw] = []
    for raw in messages:
        message = read(raw, _Message)
        if message is None or message.role != "system":
            result.append(raw)
            continue
        blocks = raw_blocks(message.content) or ()
        reminders = [reminder for block in blocks if (reminder := _reminder(block)) is not None]
        if not reminders:
            continue
        before = read(result[-1], Fields) if result else None
        said = _said_by_user(before)
        if before is not None and said is not None:
            result[-1] = encode(before | {"content": encode([*said, *reminders])})
        else:
            result.append(encode({"role": "user", "content": reminders}))
    return result


def _said_by_user(message: Fields | None) -> list[Raw] | None:
    """Return the blocks of a user turn; None where it is another one."""
    if message is None or read(message.get("role"), str) != "user":
        return None
    return raw_blocks(message.get("content"))


def _reminder(raw: Raw) -> Raw | None:
    """Wrap one block; its text stays the bytes it was, its cache marker stays with it.

    None where it adds a tool: that cannot be said.
    """
    block = read(raw, Fields) or {}
    text, kind = block.get("text"), read(block.get("type"), str)
    if kind == "tool_addition":
        return None
    if text is None:
        kept = {name: value for name, value in block.items() if name == "cache_control"}
        return encode({"type": "text", "text": _farewell(raw)} | kept)
    return encode(block | {"text": Raw(_OPENING + bytes(text).strip()[1:-1] + _CLOSING)})


def _farewell(raw: Raw) -> str:
    removal = read(raw, _Removal) or _Removal()
    name, server = removal.tool.name, removal.tool.server_name
    which = f"The tool {name}" if name else "Every tool"
    whose = f" of the server {server}" if server else ""
    return f"<system-reminder>\n{which}{whose} is withdrawn. Do not call it any more.\n</system-reminder>"


def without_efforts(messages: Sequence[Raw]) -> list[Raw]:
    """Return the messages without efforts for a single turn, and without turns that say nothing else."""
    said = (_without_effort(raw) for raw in messages)
    return [raw for raw in said if raw is not None]


def _without_effort(raw: Raw) -> Raw | None:
    message = read(raw, _Message)
    if message is None or message.role != "system" or not present(message.output_config):
        return raw
    if not raw_blocks(message.content):
        return None
    fields = read(raw, Fields) or {}
    return encode({name: value for name, value in fields.items() if name != "output_config"})


# --- what a model rejects ---------------------------------------------------------------------------------


def has_system_turns(envelope: Envelope) -> bool:
    """Tell whether the conversation holds a turn of role system."""
    return "system" in envelope.roles


def misplaced(turns: Sequence[Turn]) -> bool:
    """Tell whether a turn of role system stands, or says, what no model takes there.

    It follows a user turn, or one of the assistant that ends in a server tool's result; it is the last or is
    followed by the assistant; it says text and changes of tools.
    """
    return any(_misplaced(turns, place) for place, turn in enumerate(turns) if turn.role == "system")


def _misplaced(turns: Sequence[Turn], place: int) -> bool:
    before = turns[place - 1] if place else None
    blocks = blocks_of(turns[place].content)
    if before is None or before.role == "system" or blocks is None:
        return True
    if {block.type for block in blocks} - _SAYABLE:
        return True
    if any(block.type == "text" and read(block.text, str) is None for block in blocks):
        return True
    if before.role == "assistant" and not _ends_in_a_server_result(before):
        return True
    return place + 1 < len(turns) and turns[place + 1].role == "user"


def _ends_in_a_server_result(turn: Turn) -> bool:
    kinds = [block.type for block in blocks_of(turn.content) or ()]
    return bool(kinds) and kinds[-1].endswith("_tool_result") and kinds[-1] != "tool_result"


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    if not has_system_turns(envelope):
        return
    reject = partial(Change, rewrite_class=RewriteClass.unservable)
    if not model.mid_conversation_system:
        yield reject(RULE, sentence=f"{model.id} takes no turn of role system")
    elif misplaced(envelope.turns):
        yield reject(RULE, sentence="a turn of role system stands where none may")
    turns = _system_messages(envelope)
    if "per_message_effort" not in model.features and any(present(turn.output_config) for turn in turns):
        yield reject(RULE, sentence=f"{model.id} takes no effort for a single turn")
    if "tool_changes" not in model.features and TOOL_CHANGES & _kinds(envelope):
        yield reject("tool_changes", sentence=f"{model.id} takes no change of tools in a conversation")


def _kinds(envelope: Envelope) -> set[str]:
    """The types of the blocks in turns of role system."""
    said = (blocks_of(turn.content) or () for turn in envelope.turns if turn.role == "system")
    return {block.type for blocks in said for block in blocks}


def _system_messages(envelope: Envelope) -> list[_Message]:
    messages = read(envelope.fields.get("messages"), list[_Message]) or []
    return [message for message in messages if message.role == "system"]
