"""A model asks an advisor whom it may ask, or none."""

import json
from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.rules.services.advisor import advised, apply, violations
from tests.support.requests import HELLO, Json, asked, draft_of, hindrance, rewritten
from tests.support.rows import EVERY_PAIR, F52, H45, O5, O45, O46, O47, O48, O55, S5, S46, S55, name

CUSTOM: Json = {"name": "n", "input_schema": {"type": "object"}}
ADVICE: Json = {
    "role": "assistant",
    "content": [
        {"type": "server_tool_use", "id": "s", "name": "advisor", "input": {}},
        {
            "type": "advisor_tool_result",
            "tool_use_id": "s",
            "content": {"type": "advisor_result", "text": "x"},
        },
        {"type": "text", "text": "so"},
    ],
}
FORCED: Json = {"type": "tool", "name": "advisor"}


def advisor(model: str) -> Json:
    return {"type": "advisor_20260301", "name": "advisor", "model": model, "max_uses": 2}


@pytest.mark.parametrize(
    ("source", "target", "before", "after"),
    [
        (S5, S55, O48.id, O55.id),
        (S5, S55, "claude-opus-4-7-20260416", O55.id),
        (S46, O46, S46.id, O55.id),
        (O46, O47, O46.id, O55.id),
        (O48, O5, O48.id, O55.id),
        (O55, F52, O55.id, F52.id),
    ],
    ids=name,
)
def test_an_advisor_that_the_target_may_not_ask_is_swapped(
    source: Model, target: Model, before: str, after: str
) -> None:
    tools = [CUSTOM, advisor(before)]
    body, changes = rewritten(source, target, tools=tools)
    assert body["tools"] == [CUSTOM, advisor(after)]
    assert "advisor=E" in changes
    assert hindrance(source, target, tools=tools, messages=[HELLO, ADVICE, HELLO]) is None


@pytest.mark.parametrize(
    ("source", "target", "model"),
    [
        (O48, O5, F52.id),
        (O5, O48, O5.id),
        (O5, S55, O48.id),  # the source may not ask it either
        (O45, O5, O48.id),
        (O5, O48, "claude-opus-5-20260901"),
        (O5, O55, 3),
    ],
    ids=name,
)
def test_what_the_target_may_ask_or_the_source_may_not_stays(
    source: Model, target: Model, model: Any
) -> None:
    draft = draft_of(asked(source, tools=[advisor(model)]), source, target)
    assert apply(draft) is draft
    assert advised(draft) == ""


@pytest.mark.parametrize(
    ("tools", "left"),
    [([advisor(O55.id), CUSTOM], [CUSTOM]), ([advisor(O55.id)], None)],
)
def test_a_model_that_may_ask_nobody_goes_without(tools: list[Json], left: list[Json] | None) -> None:
    body, changes = rewritten(O46, O45, tools=tools, tool_choice={"type": "auto"})
    assert body.get("tools") == left
    assert ("tool_choice" in body) is (left is not None)
    assert "advisor=E" in changes


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"messages": [HELLO, ADVICE, HELLO]},
            "the conversation holds an advisor's words, and claude-opus-4-5",
        ),
        ({"tool_choice": FORCED}, "an advisor is to be asked, and claude-opus-4-5"),
        ({"tools": [advisor(O55.id)], "tool_choice": {"type": "any"}}, "an advisor is to be asked"),
        ({"tool_choice": {"type": "any"}}, ""),
        ({"messages": [{"role": "user", "content": json.dumps(ADVICE)}]}, ""),
    ],
)
def test_what_needs_advice_stays_where_there_is_some(fields: Json, why: str) -> None:
    draft = draft_of(asked(O46, **{"tools": [advisor(O55.id), CUSTOM], **fields}), O46, O45)
    assert advised(draft).startswith(why)
    assert bool(advised(draft)) is bool(why)
    assert (apply(draft) is draft) is bool(why)


def test_what_comes_out_is_taken_and_stays() -> None:
    for source, target in EVERY_PAIR:
        for model in source.advisors:
            draft = draft_of(asked(source, tools=[advisor(model)]), source, target)
            once = apply(draft).sent
            assert list(violations(once, target)) == []
            again = draft_of(once, source, target)
            assert apply(again) is again


@pytest.mark.parametrize(
    ("model", "named", "wrong"),
    [
        (F52, O55.id, True),
        (O55, F52.id, False),
        (O45, F52.id, True),
        (H45, S46.id, False),
        (O47, O46.id, True),
    ],
    ids=name,
)
def test_an_advisor_that_a_model_may_not_ask_is_named(model: Model, named: str, wrong: bool) -> None:
    found = list(violations(asked(model, tools=[CUSTOM, advisor(named)]), model))
    assert [change.rule for change in found] == ["advisor"] * wrong
