"""How much work a schema may make: whoever sends tools writes it, and nobody can interrupt the validator."""

import time
from math import inf
from typing import Any

import pytest

from gateway.core.checks.cost import Cost
from gateway.core.checks.schemas import read_tools
from gateway.core.types import to_json

Doc = dict[str, Any]


def chain(keyword: str, links: int, end: Doc) -> Doc:
    """A schema that asks the same twice, and that twice, and so on."""
    names = [f"a{at}" for at in range(links)]
    nexts = [{keyword: [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(links)]
    return {"$defs": {**dict(zip(names, nexts, strict=True)), f"a{links}": end}, "$ref": "#/$defs/a0"}


def nested(levels: int) -> Doc:
    doc: Doc = {"properties": {"a": True}}
    for _ in range(levels):
        doc = {"anyOf": [doc], "unevaluatedProperties": False}
    return doc


def deep(levels: int) -> Doc:
    value: Doc = {}
    for _ in range(levels):
        value = {"x": value}
    return value


RING = {
    f"a{at}": {"properties": {"x": {"allOf": [{"$ref": f"#/$defs/a{(at + 1) % 9}"}] * 2}}} for at in range(9)
}
BOMBS: dict[str, tuple[Doc, Doc]] = {
    "twice, sixty times": (chain("allOf", 60, {"type": "object"}), {}),
    "either, sixty times": (chain("anyOf", 60, {"type": "string"}), {}),
    "in a circle": ({"$defs": chain("allOf", 16, {"$ref": "#/$defs/a0"})["$defs"], "$ref": "#/$defs/a0"}, {}),
    "twice on each level down": ({"$defs": RING, "$ref": "#/$defs/a0"}, deep(150)),
    "unevaluated": (nested(40), {"a": 1}),
    "slow patterns": (
        {"additionalProperties": {"allOf": [{"pattern": r"(?:[\s\S]{0,100}x){0,30}y$"}] * 500}},
        {"a": "a" * 100_000},
    ),
    "another name for the place": (
        {"$defs": {"a": {"$id": "b", **chain("allOf", 60, {"type": "object"})}}, "$ref": "b"}, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_schema_that_asks_for_too_much_is_not_held_against_anybody(bomb: str) -> None:
    schema, value = BOMBS[bomb]
    tools = read_tools(to_json([{"name": "f", "input_schema": schema}]))
    began = time.process_time()
    assert tools is not None
    assert tools.accepts("f", value)
    assert time.process_time() - began < 2.0


def test_everyday_schemas_are_still_judged() -> None:
    below = {"$ref": "#/$defs/node"}
    node = {
        "type": "object",
        "properties": {"left": below, "right": below, "id": {"type": "string"}},
        "additionalProperties": False,
    }
    words = {f"p{at}": {"type": "string"} for at in range(300)}
    tree = {
        "$id": "https://example.com/tree",
        "$defs": {"node": node},
        "properties": {"root": below, **words},
    }
    tools = read_tools(to_json([{"name": "f", "input_schema": tree}]))
    value: Doc = {"id": "x"}
    for _ in range(50):
        value = {"left": value, "right": {"id": "y"}}
    assert tools is not None
    assert tools.accepts("f", {"root": value, "p1": "long " * 1000})
    assert not tools.accepts("f", {"root": {**value, "up": {}}})


def test_what_cannot_be_followed_has_no_bound() -> None:
    for schema in (
        {"$ref": "#"},
        {"$ref": "#name"},
        {"$ref": "#/nowhere"},
        {"$ref": 1},
        {"$dynamicRef": "#"},
    ):
        assert Cost(schema).of(3) == inf
    assert Cost({"items": {"$ref": "#"}}).of(3) < 20
    assert Cost(True).of(3) == 1
