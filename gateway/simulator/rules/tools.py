"""Tools: which the model knows, what may be chosen among them, which JSON schemas it can be held to."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.simulator.rules.case import EXTRA, Case, Json, Rule

COMPUTER_TOOLS: Mapping[str, frozenset[str]] = {
    "computer_20250124": frozenset({"claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"}),
    "computer_20251124": frozenset({
        "claude-opus-4-5-20251101", "claude-opus-4-6", "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5",
        "claude-sonnet-4-6", "claude-sonnet-5", "claude-fable-5", "claude-mythos-5", "claude-fable-5-1",
        "claude-mythos-5-1",
    }),
    "computer_toolset_20260801": frozenset({
        "claude-opus-5", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1",
        "claude-mythos-5-1", "claude-fable-5-2", "claude-mythos-5-2",
    }),
}  # fmt: skip
"""The computer tools by the models that take them; the other tool types pass."""

_NUMBER_BOUNDS = ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf")


def tools_are_supported(case: Case) -> Iterator[str]:
    tools: list[Json] = case.body.get("tools") or []
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(names) != len(set(names)):
        yield "tools: Tool names must be unique."
    kinds = [str(tool.get("type")) for tool in tools]
    unknown = [kind for kind in kinds if case.model.id not in COMPUTER_TOOLS.get(kind, {case.model.id})]
    if unknown:
        meant = [kind for kind, models in COMPUTER_TOOLS.items() if case.model.id in models]
        hint = f" Did you mean one of {', '.join(meant)}?" if meant else ""
        yield f"'{case.body['model']}' does not support tool types: {', '.join(unknown)}.{hint}"
    if tools and all(tool.get("defer_loading") for tool in tools):
        yield "All tools have defer_loading set. At least one tool must be loaded from the start."


def tool_choice_fits_the_tools(case: Case) -> Iterator[str]:
    choice: Json | None = case.body.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        yield (
            f"tool_choice: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            "'any', 'auto', 'none', 'tool'"
        )
        return
    known = {"type"} if kind == "none" else {"type", "disable_parallel_tool_use"}
    known |= {"name"} if kind == "tool" else set()
    yield from (f"tool_choice.{kind}.{key}: {EXTRA}" for key in choice if key not in known)
    tools: list[Json] = case.body.get("tools") or []
    if not tools:
        yield "tool_choice: may only be specified while providing tools"
    elif kind == "tool" and "name" not in choice:
        yield "tool_choice.tool.name: Field required"
    elif kind == "tool" and choice["name"] not in [tool.get("name") for tool in tools]:
        yield f"Tool '{choice['name']}' not found in provided tools"


def schemas_are_supported(case: Case) -> Iterator[str]:
    """Structured outputs take a part of JSON schema only."""
    if (chosen := case.output_format) is not None:
        if chosen.get("type") != "json_schema":
            yield "output_config.format.type: Input should be 'json_schema'"
        elif not isinstance(chosen.get("schema"), dict):
            yield "output_config.format.schema: Field required"
        else:
            yield from _schema("output_config.format.schema", chosen["schema"])
    for index, tool in enumerate(case.body.get("tools") or []):
        if tool.get("strict") and isinstance(tool.get("input_schema"), dict):
            yield from _schema(f"tools.{index}.custom", tool["input_schema"])


def _schema(path: str, schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _schema(path, item)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield f"{path}: For 'object' type, 'additionalProperties' must be explicitly set to false"
    bounds = {"integer": _NUMBER_BOUNDS, "number": _NUMBER_BOUNDS, "string": ("maxLength", "minLength")}
    if found := [key for key in bounds.get(str(kind), ()) if key in schema]:
        yield f"{path}: For '{kind}' type, properties {', '.join(found)} are not supported"
    for key in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(key), dict):
            yield from _schema(path, list(schema[key].values()))
    for key in ("items", "anyOf", "oneOf", "allOf"):
        yield from _schema(path, schema.get(key))


def forced_tools_are_supported(case: Case) -> Iterator[str]:
    if not case.forces_tool:
        return
    if case.model.forced_tool == "never":
        yield 'tool_choice: type "tool" and "any" are not supported for this model.'
    elif case.model.forced_tool == "thinking_off" and case.thinks:
        yield "Thinking may not be enabled when tool_choice forces tool use."


RULES: tuple[Rule, ...] = (tools_are_supported, tool_choice_fits_the_tools, schemas_are_supported)
