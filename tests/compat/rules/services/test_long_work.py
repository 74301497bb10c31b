"""Task budgets and compaction go where they are known; what was compacted stays where it can be read."""

import json
from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.rules.services.long_work import apply_budget, apply_compaction, compacted, violations
from tests.support.requests import HELLO, Json, asked, draft_of, hindrance, rewritten
from tests.support.rows import EVERY_PAIR, O5, O45, O46, O47, O55, S5, S46, S55, name

BUDGET: Json = {"type": "tokens", "total": 40_000}
COMPACT: Json = {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 100_000}}
CLEAR: Json = {"type": "clear_tool_uses_20250919"}
SUMMARY: Json = {"role": "assistant", "content": [{"type": "compaction", "content": "so far"}]}


@pytest.mark.parametrize(
    ("before", "after", "rewrite_class"),
    [
        ({"task_budget": BUDGET}, None, "E"),
        ({"task_budget": BUDGET, "effort": "low"}, {"effort": "low"}, "E"),
        ({"task_budget": None, "effort": "low"}, {"effort": "low"}, "L"),
    ],
)
def test_a_task_budget_is_left_out_where_it_is_unknown(before: Json, after: Any, rewrite_class: str) -> None:
    draft = apply_budget(draft_of(asked(O47, output_config=before), O47, S5))
    assert json.loads(draft.body).get("output_config") == after
    assert [(change.rule, change.rewrite_class) for change in draft.changes] == [
        ("task_budget", rewrite_class)
    ]
    assert "does not see what is left" in draft.changes[0].sentence


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"edits": [COMPACT]}, None),
        ({"edits": [CLEAR, COMPACT]}, {"edits": [CLEAR]}),
        ({"edits": [COMPACT, CLEAR], "more": 1}, {"edits": [CLEAR], "more": 1}),
    ],
)
def test_compaction_is_left_out_where_it_is_unknown(before: Json, after: Any) -> None:
    body, changes = rewritten(O46, O45, context_management=before)
    assert body.get("context_management") == after
    assert changes == ["compaction=E"]
    assert hindrance(O46, O45, context_management=before) is None


@pytest.mark.parametrize(
    ("source", "target", "fields"),
    [
        (O47, O5, {"output_config": {"task_budget": BUDGET}}),
        (S46, S5, {"output_config": {"task_budget": BUDGET}}),
        (O47, S5, {"output_config": {"effort": "low"}}),
        (O47, S5, {"output_config": 3}),
        (O46, S5, {"context_management": {"edits": [COMPACT]}}),
        (O45, O45, {"context_management": {"edits": [COMPACT]}}),
        (O46, O45, {"context_management": {"edits": [CLEAR]}}),
        (O46, O45, {"context_management": {"edits": 3}}),
        (O46, O45, {"context_management": {"edits": [3, "x"]}}),
        (O46, O45, {"context_management": None}),
        (O46, O45, {"context_management": "x"}),
    ],
    ids=name,
)
def test_what_the_target_takes_or_the_source_rejects_stays(
    source: Model, target: Model, fields: Json
) -> None:
    draft = draft_of(asked(source, **fields), source, target)
    assert apply_budget(draft) is draft
    assert apply_compaction(draft) is draft


@pytest.mark.parametrize(
    ("source", "target", "fields", "why"),
    [
        (O46, O45, {"messages": [SUMMARY, HELLO]}, "the conversation was compacted, and claude-opus-4-5"),
        (
            O55,
            S5,
            {"compaction": {"type": "summarize"}},
            "the request compacts a conversation, which claude-so",
        ),
        (O46, S5, {"messages": [SUMMARY, HELLO]}, ""),
        (O46, O45, {"messages": [{"role": "user", "content": '{"type": "compaction"}'}]}, ""),
        (
            O46,
            O45,
            {"messages": [{"role": "user", "content": [{"type": "text", "text": '"compaction"'}]}]},
            "",
        ),
        (O55, S5, {"compaction": None}, ""),
        (O55, S55, {"compaction": {"type": "summarize"}}, ""),
        (O5, S5, {"compaction": {"type": "summarize"}}, ""),
    ],
    ids=name,
)
def test_what_was_compacted_stays_where_it_is_read(
    source: Model, target: Model, fields: Json, why: str
) -> None:
    reason = compacted(draft_of(asked(source, **fields), source, target))
    assert reason.startswith(why)
    assert bool(reason) is bool(why)
    found = hindrance(source, target, **fields)
    assert (found.change.rule if found else "") == ("compaction" if why else "")


@pytest.mark.parametrize(
    ("model", "fields", "rules"),
    [
        (S5, {"output_config": {"task_budget": BUDGET}}, ["task_budget"]),
        (O47, {"output_config": {"task_budget": BUDGET}}, []),
        (O45, {"context_management": {"edits": [CLEAR, COMPACT]}}, ["compaction"]),
        (O45, {"messages": [SUMMARY, HELLO]}, ["compaction"]),
        (O46, {"messages": [SUMMARY, HELLO], "context_management": {"edits": [COMPACT]}}, []),
        (O5, {"compaction": {"type": "summarize"}}, ["compaction"]),
        (O55, {"compaction": {"type": "summarize"}}, []),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(model: Model, fields: Json, rules: list[str]) -> None:
    assert [change.rule for change in violations(asked(model, **fields), model)] == rules


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"task_budget": BUDGET, "effort": "low"}},
        {"context_management": {"edits": [COMPACT, CLEAR]}},
        {"context_management": {"edits": [COMPACT]}, "output_config": {"task_budget": BUDGET}},
    ],
)
def test_what_comes_out_is_taken_and_stays(fields: Json) -> None:
    for source, target in EVERY_PAIR:
        draft = draft_of(asked(source, **fields), source, target)
        if list(violations(draft.envelope, source)):
            continue
        once = apply_compaction(apply_budget(draft)).sent
        assert list(violations(once, target)) == []
        again = draft_of(once, source, target)
        assert apply_compaction(apply_budget(again)) is again
