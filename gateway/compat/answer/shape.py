"""What an answer's blocks and its end are shown as; what `response` and `stream` have in common."""

import re
from collections.abc import Mapping

from msgspec import Raw

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.envelope import Block, Fields, encode, read

CLASSIC: Mapping[str, str] = {
    "refusal": "end_turn",
    "model_context_window_exceeded": "max_tokens",
    "pause_turn": "end_turn",
    "compaction": "end_turn",
}
"""Stop reasons that older applications do not know, and what they are told instead."""

OWN_ENDS = frozenset({"end_turn", "stop_sequence", "tool_use"})
"""Stop reasons of an answer that the model itself brought to an end."""

CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks that call a tool."""

_FOREIGN = re.compile(r"[^A-Za-z0-9_-]")


def told_as(stop_reason: str, plan: AnswerPlan, *, wrapped: bool) -> str:
    """Return the stop reason that the application is told; `wrapped`: it was shown a text as a call."""
    if wrapped and stop_reason in OWN_ENDS:
        return "tool_use"
    return CLASSIC.get(stop_reason, stop_reason) if plan.classic_stops else stop_reason


def call_id(message_id: str) -> str:
    """Return the id of the call that a text is shown as: the same for the same message."""
    return "toolu_" + _FOREIGN.sub("", message_id.removeprefix("msg_"))[:64]


def made_up_call(message: Fields, plan: AnswerPlan) -> Fields:
    """Return the call that a text is shown as, without its input."""
    name = plan.forced.tool if plan.forced is not None else ""
    return {
        "type": encode("tool_use"),
        "id": encode(call_id(read(message.get("id"), str) or "")),
        "name": encode(name),
        "input": Raw(b"{}"),
    }


def renamed(raw: Raw, plan: AnswerPlan) -> Raw:
    """Return a block with the application's own name of the tool that it calls."""
    block = read(raw, Fields) if plan.tool_names else None
    if block is None or kind_of(raw) != "tool_use":
        return raw
    name = read(block.get("name"), str) or ""
    own = dict(plan.tool_names).get(name, name)
    return raw if own == name else encode(block | {"name": encode(own)})


def kind_of(raw: Raw | None) -> str:
    """Return the type of a block or a delta; empty where it is none."""
    block = read(raw, Block)
    return block.type if block else ""


def text_of(raw: Raw | None) -> str:
    """Return what a text block says; empty where it is none."""
    block = read(raw, Block)
    return (read(block.text, str) or "") if block else ""


def is_object(text: str) -> bool:
    """Tell whether a text is a JSON object."""
    return read(Raw(text.encode("utf-8", "surrogatepass")), Fields) is not None


def note_text(raw: Raw | None) -> str:
    """Return what a thinking block, or a piece of one, says."""
    return read((read(raw, Fields) or {}).get("thinking"), str) or ""
