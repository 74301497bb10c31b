import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.replies.beginnings import complete

FIELDS = {"name": "string", "total": "number", "items": "array"}
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def whole(beginning: str) -> object:
    rest = complete(beginning, FIELDS, b"seed")
    assert rest is not None
    return json.loads(beginning + rest)


@given(DOCUMENTS, st.data(), st.sampled_from([None, 2]), st.booleans())
def test_any_beginning_of_any_document_becomes_a_document(
    document: object, data: st.DataObject, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    whole(text[: data.draw(st.integers(0, len(text)))])


@pytest.mark.parametrize(
    "beginning", ["", "{", " {\n ", '{"', '{"na', '{"name"', '{"name":', '{"name": "A', '{"total": 1.']
)
def test_the_outermost_object_gets_every_field_that_is_wanted(beginning: str) -> None:
    document = whole(beginning)
    assert isinstance(document, dict)
    assert set(document) == set(FIELDS)


@pytest.mark.parametrize("beginning", ["[", "[{", '[{"name": "A"}, {"total": 1'])
def test_so_does_the_last_record_of_a_list(beginning: str) -> None:
    records = whole(beginning)
    assert isinstance(records, list)
    assert set(records[-1]) == set(FIELDS)


def test_what_was_given_stays() -> None:
    document = whole('{"total": 12.5, "note": {"a": [1, "b')
    assert isinstance(document, dict)
    assert document["total"] == 12.5
    assert document["note"]["a"][0] == 1
    assert set(document) == {"note", *FIELDS}


@pytest.mark.parametrize("finished", ["{}", '{"a": 1}', "[1]", '"text"'])
def test_a_whole_document_needs_nothing(finished: str) -> None:
    assert complete(finished, FIELDS, b"seed") == ""


@pytest.mark.parametrize(
    "text", ["[INFO] Summary:", "{a", '{"a" 1', "Sure", "[1 2", "{]", '{"a":,', "01", '"a\n']
)
def test_a_text_that_begins_no_document_gets_none(text: str) -> None:
    assert complete(text, FIELDS, b"seed") is None
