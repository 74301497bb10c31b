"""A tool's schema is closed for structured output, or given up where it says more than that can take."""

from time import process_time
from typing import Any

import pytest

from gateway.compat.schemas import closed

Json = dict[str, Any]


def whole(properties: Json, **more: Any) -> Json:
    return {"type": "object", "properties": properties, **more}


TEXT: Json = {"type": "string"}


def test_every_object_is_closed_and_nothing_else_changes() -> None:
    schema = whole(
        {
            "who": {"type": "object", "title": "Who", "properties": {"name": TEXT}, "required": ["name"]},
            "tags": {"type": "array", "minItems": 1, "items": whole({"tag": {"type": ["string", "null"]}})},
            "kind": {"enum": ["a", 1, None], "description": "which"},
            "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "same": {"$ref": "#/$defs/pair"},
        },
        required=["who"],
        description="all of it",
    )
    schema["$defs"] = {"pair": whole({"left": TEXT}, additionalProperties=False)}
    assert closed({"$schema": "http://json-schema.org/draft-07/schema#", **schema}) == {
        "type": "object",
        "properties": {
            **schema["properties"],
            "who": {**schema["properties"]["who"], "additionalProperties": False},
            "tags": {
                **schema["properties"]["tags"],
                "items": {**schema["properties"]["tags"]["items"], "additionalProperties": False},
            },
        },
        "required": ["who"],
        "description": "all of it",
        "additionalProperties": False,
        "$defs": schema["$defs"],
    }


def test_what_is_closed_stays_as_it_is() -> None:
    schema = whole({"a": TEXT}, additionalProperties=False)
    assert closed(schema) == schema
    empty: Json = {"type": "object", "additionalProperties": False}
    assert closed(empty) == empty


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        "object",
        {},
        {"type": "object"},
        {"type": "string"},
        {"properties": {"a": TEXT}},
        whole({}),
        whole({"a": TEXT}, additionalProperties=True),
        whole({"a": TEXT}, additionalProperties=TEXT),
        whole({"a": {}}),
        whole({"a": True}),
        whole({"a": {"type": "object"}}),
        whole({"a": {"type": "array"}}),
        whole({"a": {"type": "array", "items": TEXT, "maxItems": 3}}),
        whole({"a": {"type": "array", "items": TEXT, "minItems": 2}}),
        whole({"a": {"type": "integer", "minimum": 1}}),
        whole({"a": {"type": "string", "maxLength": 3}}),
        whole({"a": {"type": "string", "pattern": "^a"}}),
        whole({"a": {"type": "string", "format": "color"}}),
        whole({"a": {"type": "thing"}}),
        whole({"a": {"type": ["string", "object"]}}),
        whole({"a": {"type": 5}}),
        whole({"a": {"enum": [{"x": 1}]}}),
        whole({"a": {"oneOf": [TEXT]}}),
        whole({"a": {"allOf": [TEXT]}}),
        whole({"a": {"anyOf": TEXT}}),
        whole({"a": {"anyOf": [{"type": "integer", "minimum": 1}]}}),
        whole({"a": {"$ref": "https://example.com/schema"}}),
        whole({"a": {"$ref": "#/$defs/missing"}}),
        whole({"a": {"$ref": "#"}}),
        whole({"a": TEXT}, **{"$defs": [1]}),
        whole({"a": TEXT}, required=None),
        whole({"a": TEXT}, required=5),
        whole({"a": TEXT}, required=[{}]),
        whole({f"a{number}": TEXT for number in range(25)}),
        whole({f"a{number}": {"type": ["string", "null"]} for number in range(17)}, required=["a0"]),
    ],
)
def test_what_structured_outputs_do_not_take_is_given_up(schema: Any) -> None:
    assert closed(schema) is None


@pytest.mark.parametrize(
    "definitions",
    [
        {"node": whole({"next": {"$ref": "#/definitions/node"}})},
        {
            "node": whole({"all": {"type": "array", "items": {"$ref": "#/definitions/leaf"}}}),
            "leaf": whole({"of": {"anyOf": [{"$ref": "#/definitions/node"}, {"type": "null"}]}}),
        },
    ],
)
def test_a_schema_that_leads_back_to_itself_is_given_up(definitions: Json) -> None:
    schema = whole({"root": {"$ref": "#/definitions/node"}}, definitions=definitions)
    assert closed(schema) is None


def test_a_schema_nested_without_end_is_given_up() -> None:
    schema = whole({"a": TEXT})
    for _ in range(100):
        schema = whole({"a": schema})
    assert closed(schema) is None


def test_a_long_chain_of_definitions_is_followed_once() -> None:
    definitions: Json = {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(20_000)}
    definitions["d20000"] = TEXT
    schema = whole({"a": {"$ref": "#/$defs/d0"}}, required=["a"], **{"$defs": definitions})
    started = process_time()
    assert closed(schema) is not None
    assert process_time() - started < 5  # what grows with the square of it takes half a minute
