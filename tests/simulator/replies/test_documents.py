from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.replies.documents import WORDS, fields_wanted, pick, sample, wanted_schema, words

SEED = b"seed"


def test_words_follow_the_seed() -> None:
    assert len(set(WORDS)) == 64
    assert words(SEED, 12) == words(SEED, 12)
    assert words(SEED, 12) != words(b"other", 12)
    assert len(words(SEED, 500)) == 500


def test_every_option_is_picked_sooner_or_later() -> None:
    assert {pick(bytes([n]), "abc") for n in range(40)} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 7}, 7),
        ({"enum": ["only"]}, "only"),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"], "minimum": 3, "maximum": 3}, 3),
        ({"type": "string", "format": "date"}, "2026-03-14"),
        ({"type": "object", "properties": {}}, {}),
        ({"type": "array", "minItems": 2, "items": {"const": 1}}, [1, 1]),
        ({"type": "array", "maxItems": 0, "items": {"const": 1}}, []),
        ({"anyOf": [{"type": "null"}, {"const": "x"}]}, "x"),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"const": "deep"}}}, "deep"),
        ({"type": "integer", "multipleOf": 10, "minimum": 41, "maximum": 55}, 50),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, 0.25),
    ],
)
def test_a_sample_satisfies_its_schema(schema: dict[str, Any], expected: Any) -> None:
    assert sample(schema, SEED) == expected


@pytest.mark.parametrize("number", range(20))
def test_numbers_stay_within_their_bounds(number: int) -> None:
    seed = bytes([number])
    assert 1 <= sample({"type": "integer", "minimum": 1, "maximum": 3}, seed) <= 3
    assert 0 <= sample({"type": "number", "minimum": 0, "maximum": 1}, seed) <= 1
    assert -20 < sample({"type": "integer", "maximum": -5}, seed) <= -5
    assert isinstance(sample({"type": "integer"}, seed), int)


@given(st.integers(-50, 50), st.integers(0, 60), st.booleans(), st.booleans(), st.binary(max_size=2))
def test_bounds_are_met_whichever_are_open(
    low: int, width: int, above: bool, below: bool, seed: bytes
) -> None:
    high = low + width + 2
    lower, upper = "exclusiveMinimum" if above else "minimum", "exclusiveMaximum" if below else "maximum"
    value = sample({"type": "integer", lower: low, upper: high}, seed)
    assert low + above <= value <= high - below


def test_required_properties_are_there_and_only_they() -> None:
    properties = {"a": {"type": "string"}, "b": {"type": "boolean"}, "c": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["a", "b"]}
    value = sample(schema, SEED)
    assert set(value) == {"a", "b"}
    assert isinstance(value["a"], str)
    assert isinstance(value["b"], bool)
    assert set(sample({"type": "object", "properties": properties}, SEED)) == {"a", "b", "c"}


def test_combinations_are_merged() -> None:
    one = {"properties": {"a": {"const": 1}}, "required": ["a"]}
    two = {"properties": {"b": {"const": 2}}, "required": ["b"]}
    assert sample({"type": "object", "allOf": [one, two]}, SEED) == {"a": 1, "b": 2}


def test_texts_have_the_length_that_is_asked_for() -> None:
    assert len(sample({"type": "string", "minLength": 60}, SEED)) >= 60
    assert len(sample({"type": "string", "maxLength": 3}, SEED)) == 3


def test_a_schema_that_refers_to_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    value = sample(node, SEED)
    depth = 0
    while value is not None:
        value, depth = value["next"], depth + 1
    assert 1 < depth < 20


@pytest.mark.parametrize(
    ("prompt", "fields"),
    [
        ("What time is it?", {}),
        ('Return JSON with "name" and `total`.', {"name": "string", "total": "string"}),
        (
            'Like {"name": "Ada", "total": 12.5, "ok": true, "tags": ["x"], "at": {"a"}} please, "soon".',
            {"name": "string", "total": "number", "ok": "boolean", "tags": "array", "at": "object"},
        ),
        (
            'Fields: guest, arrival, nights\n\nNo "quotes".',
            {"guest": "string", "arrival": "string", "nights": "string"},
        ),
        ("keys: a", {"a": "string"}),
    ],
)
def test_the_fields_that_a_prompt_wants(prompt: str, fields: dict[str, str]) -> None:
    assert fields_wanted(prompt) == fields


def test_without_fields_there_is_a_small_answer() -> None:
    assert set(sample(wanted_schema({}), SEED)) == {"answer", "confidence"}
    assert sample(wanted_schema({"n": "number"}), SEED)["n"] > 0
