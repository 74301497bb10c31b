"""Forced tools (R5): `tool_choice` of type `any` or `tool`.

Some models force a tool only while thinking is off, which `thinking` sees to; the newest never do.
Emulating the force needs a conversation store, because the line that asks for the call must be replayed for
ever; until then such a request is not servable by them.
"""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw

from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, read
from gateway.core.types import Change, RewriteClass

FORCING = frozenset({"any", "tool"})


class _Choice(msgspec.Struct, frozen=True):
    type: str


def forced(fields: Mapping[str, Raw]) -> bool:
    """Tell whether the request forces a tool call."""
    choice = read(fields.get("tool_choice"), _Choice)
    return choice is not None and choice.type in FORCING


def cannot_force(fields: Mapping[str, Raw], model: Model) -> bool:
    """Tell whether the request forces a tool and `model` has no way to do so, whatever else is changed."""
    can_be_off = model.thinking.omitted == "off" or model.thinking.types & {"disabled", "between_tools"}
    never = model.forced_tool == "never" or (model.forced_tool == "thinking_off" and not can_be_off)
    return never and forced(fields)


def unforceable(draft: Draft) -> str:
    """Say why a forced tool cannot be said to the target."""
    if not cannot_force(draft.fields, draft.target) or cannot_force(draft.fields, draft.source):
        return ""
    sentence = f"tool_choice forces a tool call, which {draft.target.id} does not take"
    return sentence + ("; it cannot be emulated yet" if draft.policy.forced_tool == "emulate" else "")


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    if not forced(envelope.fields):
        return
    if model.forced_tool == "never":
        yield Change("forced_tool", RewriteClass.unservable, f"{model.id} forces no tool")
