from typing import Any

import pytest

from tests.support.judged import verdict

WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
ANY, ONE = {"type": "any"}, {"type": "tool", "name": "weather"}
NOT_SUPPORTED = 'tool_choice: type "tool" and "any" are not supported for this model.'
NOT_WITH_THINKING = "Thinking may not be enabled when tool_choice forces tool use."
STRICT_OBJECT = "For 'object' type, 'additionalProperties' must be explicitly set to false"


@pytest.mark.parametrize("choice", [ANY, ONE])
@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "claude-fable-5-2"]
)
@pytest.mark.parametrize("counting", [False, True])
def test_the_newest_never_force_a_tool(choice: Any, model: str, counting: bool) -> None:
    body = {"model": model, "tools": [WEATHER], "tool_choice": choice}
    assert verdict(body, counting=counting) == NOT_SUPPORTED


@pytest.mark.parametrize("model", ["claude-sonnet-5", "claude-opus-5", "claude-fable-5", "claude-haiku-5-5"])
def test_some_force_a_tool_although_they_think(model: str) -> None:
    assert verdict({"model": model, "tools": [WEATHER], "tool_choice": ANY}) == ""


@pytest.mark.parametrize(
    "model", ["claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-4-8"]
)
def test_others_only_while_thinking_is_off(model: str) -> None:
    body = {"model": model, "tools": [WEATHER], "tool_choice": ONE}
    assert verdict(body) == ""
    assert verdict({**body, "thinking": {"type": "disabled"}}) == ""
    assert verdict({**body, "thinking": {"type": "adaptive"}}) == NOT_WITH_THINKING


def test_a_budget_is_thinking_too() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    body = {"model": "claude-haiku-4-5", "tools": [WEATHER], "tool_choice": ANY, "max_tokens": 2048}
    assert verdict({**body, "thinking": thinking}) == NOT_WITH_THINKING


@pytest.mark.parametrize("kind", ["auto", "none"])
def test_a_free_choice_passes_everywhere(kind: str) -> None:
    for model in ("claude-opus-4-5", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"):
        assert verdict({"model": model, "tools": [WEATHER], "tool_choice": {"type": kind}}) == ""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tool_choice": {"type": "auto"}}, "tool_choice: may only be specified while providing tools"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "must"}},
            "tool_choice: Input tag 'must' found using 'type' does not match any of the expected tags: "
            "'any', 'auto', 'none', 'tool'",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "news"}},
            "Tool 'news' not found in provided tools",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "any", "name": "weather"}},
            "tool_choice.any.name: Extra inputs are not permitted",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
            "tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}, ""),
        ({"tools": [WEATHER, WEATHER]}, "tools: Tool names must be unique."),
        (
            {"tools": [{**WEATHER, "defer_loading": True}]},
            "All tools have defer_loading set. At least one tool must be loaded from the start.",
        ),
    ],
)
def test_the_choice_fits_the_tools(fields: dict[str, Any], message: str) -> None:
    assert verdict({"model": "claude-opus-4-5", **fields}) == message


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        ("claude-opus-5", "computer_20251124", ""),
        ("claude-sonnet-4-5", "computer_20250124", ""),
        (
            "claude-opus-5-5",
            "computer_20251124",
            "'claude-opus-5-5' does not support tool types: computer_20251124. "
            "Did you mean one of computer_toolset_20260801?",
        ),
        (
            "claude-haiku-4-5",
            "computer_toolset_20260801",
            "'claude-haiku-4-5' does not support tool types: computer_toolset_20260801. "
            "Did you mean one of computer_20250124?",
        ),
        ("claude-haiku-4-5", "bash_20250124", ""),
    ],
)
def test_computer_tools_belong_to_models(model: str, kind: str, message: str) -> None:
    assert verdict({"model": model, "tools": [{"type": kind, "name": "computer"}]}) == message


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        (closed({"a": {"type": "integer"}}), ""),
        ({"type": "object", "properties": {}}, STRICT_OBJECT),
        (closed({"a": {"type": "array", "items": {"type": "object"}}}), STRICT_OBJECT),
        (closed({"a": {"anyOf": [{"type": "object"}, {"type": "null"}]}}), STRICT_OBJECT),
        (closed({}, **{"$defs": {"a": {"type": "object"}}}), STRICT_OBJECT),
        (
            closed({"a": {"type": "integer", "minimum": 1, "maximum": 5}}),
            "For 'integer' type, properties maximum, minimum are not supported",
        ),
        (
            closed({"a": {"type": "string", "maxLength": 5}}),
            "For 'string' type, properties maxLength are not supported",
        ),
    ],
)
def test_structured_outputs_take_a_part_of_json_schema(schema: dict[str, Any], complaint: str) -> None:
    chosen = {"type": "json_schema", "schema": schema}
    said = verdict({"model": "claude-opus-5-5", "output_config": {"format": chosen}})
    assert said == (f"output_config.format.schema: {complaint}" if complaint else "")
    tool = {"name": "t", "strict": True, "input_schema": schema}
    said = verdict({"model": "claude-opus-5-5", "tools": [tool]})
    assert said == (f"tools.0.custom: {complaint}" if complaint else "")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"type": "xml"}, "output_config.format.type: Input should be 'json_schema'"),
        ({"type": "json_schema"}, "output_config.format.schema: Field required"),
        ("json", "output_config.format: Input should be a valid dictionary"),
    ],
)
def test_a_format_is_a_json_schema(chosen: Any, message: str) -> None:
    assert verdict({"model": "claude-opus-5-5", "output_config": {"format": chosen}}) == message
