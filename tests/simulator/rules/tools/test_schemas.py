from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.judged import HELLO, verdict

STRICT_OBJECT = "For 'object' type, 'additionalProperties' must be explicitly set to false"
RECURSIVE = "Recursive schemas are not supported"


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
        (closed({"a": {"$ref": "#/$defs/a"}}, **{"$defs": {"a": {"type": "string"}}}), ""),
        (closed({"a": {"$ref": "#"}}), RECURSIVE),
        (
            closed({"a": {"$ref": "#/$defs/a"}}, **{"$defs": {"a": closed({"b": {"$ref": "#/$defs/a"}})}}),
            RECURSIVE,
        ),
        (
            closed(
                {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#/$defs/a"}},
                **{"$defs": {"a": closed({})}},
            ),
            "",
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


FORMAT: Any = {"format": {"type": "json_schema", "schema": closed({})}}
CITED: Any = {"type": "document", "source": {}, "citations": {"enabled": True}}
FOUND: Any = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "search_result", **CITED}]}


@pytest.mark.parametrize("block", [CITED, {**FOUND, "content": [CITED]}])
def test_a_format_does_not_go_with_citations(block: Any) -> None:
    call = {"type": "tool_use", "id": "a", "name": "t", "input": {}}
    answer = {"role": "assistant", "content": [call]}
    turns = [HELLO, answer] if block["type"] == "tool_result" else []
    body = {"model": "claude-opus-5-5", "messages": [*turns, {"role": "user", "content": [block]}]}
    assert verdict(body) == ""
    assert verdict({**body, "output_config": FORMAT}) == (
        "output_config.format: structured outputs cannot be combined with citations"
    )


@pytest.mark.parametrize(
    ("model", "taken"), [("claude-fable-5-2", False), ("claude-mythos-5", False), ("claude-opus-5-5", True)]
)
@pytest.mark.parametrize(
    "fields",
    [{"output_config": FORMAT}, {"tools": [{"name": "t", "strict": True, "input_schema": closed({})}]}],
)
def test_with_keys_of_ones_own_fable_and_mythos_take_no_format(model: str, taken: bool, fields: Any) -> None:
    body = {"model": model, **fields}
    assert verdict(body) == ""
    assert (verdict(body, switches=Switches(own_encryption_keys=True)) == "") is taken
