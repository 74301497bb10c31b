"""What a request says about tools, and whether a model can be forced to call one.

Some models force a tool only while thinking is off, which `thinking` sees to; the newest never do: there
`forced` asks for the call.
"""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw

from gateway.compat.catalog import Model
from gateway.compat.envelope import Envelope, Fields, present, read
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
    return never_forces(model) and forced(fields)


def never_forces(model: Model) -> bool:
    """Tell whether `model` has no way to force a tool."""
    can_be_off = model.thinking.omitted == "off" or model.thinking.types & {"disabled", "between_tools"}
    return model.forced_tool == "never" or (model.forced_tool == "thinking_off" and not can_be_off)


def name_of(tool: Raw) -> str:
    """Return a tool's name; empty where it has none."""
    return read((read(tool, Fields) or {}).get("name"), str) or ""


def is_custom(tool: Fields) -> bool:
    """Tell whether a tool is the application's own, with a schema."""
    return present(tool.get("input_schema")) and read(tool.get("type"), str) in (None, "custom")


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    if not forced(envelope.fields):
        return
    if model.forced_tool == "never":
        yield Change("forced_tool", RewriteClass.unservable, f"{model.id} forces no tool")
