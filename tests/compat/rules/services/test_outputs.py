"""A format moves to where every model takes it; what no model takes together is named."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.rules.services.outputs import apply_format, apply_strict, unformattable, violations
from tests.support.requests import HELLO, Json, asked, draft_of, hindrance, rewritten
from tests.support.rows import EVERY_PAIR, H45, O45, O46, O55, name

FORMAT: Json = {"type": "json_schema", "schema": {"type": "object", "n": 1.0}}
STRICT: Json = {"name": "n", "input_schema": {"type": "object"}, "strict": True}
LOOSE: Json = {"name": "m", "input_schema": {"type": "object"}}
WITHOUT = replace(O45, id="plain", features=frozenset())
"""No model of today is without structured outputs."""


@pytest.mark.parametrize("target", [O46, O55], ids=name)
def test_a_format_is_moved_to_where_it_is_taken(target: Model) -> None:
    body, changes = rewritten(O45, target, output_format=FORMAT, output_config={"effort": "low"})
    assert body["output_config"] == {"effort": "low", "format": FORMAT}
    assert "output_format" not in body
    assert "output_format=L" in changes


def test_the_bytes_of_a_format_are_moved_as_they_are() -> None:
    draft = draft_of(asked(O45, output_format=FORMAT), O45, O46)
    (options,) = (bytes(apply_format(draft).fields[key]) for key in ("output_config",))
    assert bytes(draft.fields["output_format"]) in options


def test_an_empty_format_in_the_old_place_is_left_out() -> None:
    body, changes = rewritten(O45, O46, output_format=None)
    assert "output_format" not in body
    assert changes == ["output_format=L"]


@pytest.mark.parametrize(
    ("source", "target", "fields"),
    [
        (O45, H45, {"output_format": FORMAT}),
        (O46, O55, {"output_format": FORMAT}),
        (O45, O46, {"output_format": FORMAT, "output_config": {"format": FORMAT}}),
        (O45, O46, {"output_format": FORMAT, "output_config": 3}),
        (O45, O46, {"output_config": {"format": FORMAT}}),
        (O45, O46, {"tools": [STRICT]}),
        (WITHOUT, O46, {"tools": [STRICT]}),
        (O45, WITHOUT, {"tools": [LOOSE]}),
    ],
    ids=name,
)
def test_what_the_target_takes_or_the_source_rejects_stays(
    source: Model, target: Model, fields: Json
) -> None:
    draft = draft_of(asked(source, **fields), source, target)
    assert apply_format(draft) is draft
    assert apply_strict(draft) is draft
    assert unformattable(draft) == ""


def test_a_model_without_structured_outputs_has_loose_tools_and_no_format() -> None:
    body, changes = rewritten(O45, WITHOUT, tools=[LOOSE, STRICT])
    assert body["tools"] == [LOOSE, {key: value for key, value in STRICT.items() if key != "strict"}]
    assert "strict=E" in changes
    for fields in ({"output_format": FORMAT}, {"output_config": {"format": FORMAT}}):
        found = hindrance(O45, WITHOUT, **fields)
        assert found is not None
        assert found.change.rule == "structured_output"


CITING: Json = {
    "messages": [
        {"role": "user", "content": [{"type": "document", "source": {}, "citations": {"enabled": True}}]}
    ]
}
ASKED: Json = {"output_config": {"format": FORMAT}}


@pytest.mark.parametrize(
    ("model", "fields", "rules"),
    [
        (O45, {"output_format": FORMAT}, []),
        (O46, {"output_format": FORMAT}, []),
        (WITHOUT, {**ASKED, "tools": [STRICT]}, ["structured_output", "strict"]),
        (O46, {**ASKED, "tools": [STRICT]}, []),
        (O46, {**ASKED, **CITING}, ["structured_output"]),
        (O46, CITING, []),
        (O46, {**ASKED, "messages": [{"role": "user", "content": '"citations": {"enabled": true}'}]}, []),
        (O46, {"max_tokens": 0}, []),
        (O46, {"max_tokens": 0, "thinking": {"type": "adaptive"}}, []),
        (O46, {"max_tokens": 0, "stream": True}, ["prewarm"]),
        (O46, {"max_tokens": 0, "thinking": {"type": "enabled", "budget_tokens": 1024}}, ["prewarm"]),
        (O46, {"max_tokens": 0, **ASKED}, ["prewarm"]),
        (O46, {"max_tokens": 0, "tool_choice": {"type": "any"}}, ["prewarm"]),
        (O55, {"max_tokens": 0, "compaction": {"type": "summarize"}}, ["prewarm"]),
        (O46, {"max_tokens": 1, "stream": True, "tool_choice": {"type": "any"}}, []),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(model: Model, fields: Json, rules: list[str]) -> None:
    assert [change.rule for change in violations(asked(model, **fields), model)] == rules


@pytest.mark.parametrize("odd", [3, "x", [3], None, {"format": 3}])
def test_what_is_malformed_is_left_to_the_upstream(odd: Any) -> None:
    draft = draft_of(asked(O45, output_config=odd, tools=odd, messages=[HELLO]), O45, O46)
    assert apply_strict(apply_format(draft)) is draft


@pytest.mark.parametrize("fields", [{"output_format": FORMAT}, {"output_format": FORMAT, "tools": [STRICT]}])
def test_what_comes_out_is_taken_and_stays(fields: Json) -> None:
    for source, target in EVERY_PAIR:
        once = apply_strict(apply_format(draft_of(asked(source, **fields), source, target))).sent
        assert list(violations(once, target)) == []
        again = draft_of(once, source, target)
        assert apply_strict(apply_format(again)) is again
