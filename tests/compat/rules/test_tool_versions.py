"""Tools of a version that the target rejects are swapped where calls look the same, and named where not."""

import json
from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.request import rewrite
from gateway.compat.rules.tool_versions import SWAPS, apply, tools_of, unswappable, violations
from tests.support.requests import HELLO, KEEP, Json, asked, draft_of, hindrance, rewritten
from tests.support.rows import EVERY_PAIR, F52, H45, H55, O5, O45, O46, O47, O55, S45, S46, S55, name, row

S37 = row("claude-3-7-sonnet-20250219")
CUSTOM: Json = {"name": "n", "input_schema": {"type": "object"}}
DIRECT_TOO: Json = {**CUSTOM, "allowed_callers": ["direct", "code_execution_20260120"]}
CODE_ONLY: Json = {**CUSTOM, "allowed_callers": ["code_execution_20260120"]}
BROWSER: Json = {"type": "browser_toolset_20260801"}
TOOLSET: Json = {"type": "computer_toolset_20260801"}
EDITOR: Json = {"type": "text_editor_20250124", "name": "str_replace_editor"}
NEW_EDITOR: Json = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}


def computer(version: str, **more: Any) -> Json:
    return {"type": f"computer_{version}", "name": "computer", "display_width_px": 10, **more}


def search(version: str, **more: Any) -> Json:
    return {"type": f"web_search_{version}", "name": "web_search", **more}


def fetch(version: str, **more: Any) -> Json:
    return {"type": f"web_fetch_{version}", "name": "web_fetch", **more}


def code(version: str) -> Json:
    return {"type": f"code_execution_{version}", "name": "code_execution"}


@pytest.mark.parametrize(
    ("source", "target", "before", "after", "rewrite_class"),
    [
        (S45, O46, computer("20250124"), computer("20251124"), "L"),
        (H45, S46, computer("20250124", strict=True), computer("20251124", strict=True), "L"),
        (O46, S45, computer("20251124"), computer("20250124"), "L"),
        (O46, S45, computer("20251124", enable_zoom=False), computer("20250124"), "L"),
        (O46, O45, search("20260209", max_uses=3), search("20250305", max_uses=3), "E"),
        (O5, S45, search("20260318", response_inclusion="full"), search("20250305"), "E"),
        (O5, O45, fetch("20260209"), fetch("20250910"), "E"),
        (O5, O45, fetch("20260309", use_cache=False), fetch("20250910"), "E"),
        (O5, H45, fetch("20260318", use_cache=True, citations={}), fetch("20250910", citations={}), "E"),
        (S45, H45, code("20260120"), code("20250825"), "E"),
        (O5, H45, code("20260521"), code("20250825"), "E"),
        (O5, H45, DIRECT_TOO, CUSTOM, "E"),
        (S37, O45, EDITOR, NEW_EDITOR, "P"),
        (S37, O5, {**EDITOR, "type": "text_editor_20241022"}, NEW_EDITOR, "P"),
    ],
    ids=name,
)
def test_a_version_is_swapped_for_one_that_the_target_takes(
    source: Model, target: Model, before: Json, after: Json, rewrite_class: str
) -> None:
    body, changes = rewritten(source, target, tools=[CUSTOM, before])
    assert body["tools"] == [CUSTOM, after]
    assert [change for change in changes if "tool" in change] == [f"tool_version={rewrite_class}"]
    assert hindrance(source, target, tools=[CUSTOM, before]) is None
    assert list(violations(asked(target, tools=[CUSTOM, after]), target)) == []


def test_what_is_lost_is_said() -> None:
    tools = [search("20260209"), DIRECT_TOO]
    changes = apply(draft_of(asked(S46, tools=tools), S46, H45)).changes
    assert [change.sentence for change in changes] == [
        "The tool web_search_20260209 became web_search_20250305, which claude-haiku-4-5-20251001 takes; "
        "results are not filtered by code.",
        "Tools are called by the model only: claude-haiku-4-5-20251001 lets no code call them.",
    ]
    (plain,) = apply(draft_of(asked(S45, tools=[computer("20250124")]), S45, O46)).changes
    assert (
        plain.sentence == "The tool computer_20250124 became computer_20251124, which claude-opus-4-6 takes."
    )


@pytest.mark.parametrize(
    ("source", "target", "tool"),
    [
        (O45, O46, computer("20251124")),
        (O45, O46, search("20260209")),  # the source rejects it too
        (O45, H45, code("20250825")),
        (O45, H45, {**CUSTOM, "allowed_callers": ["direct"]}),
        (H45, O45, CODE_ONLY),
        (O5, O46, DIRECT_TOO),
        (O46, O5, NEW_EDITOR),
        (O46, O5, EDITOR),
        (O55, O5, TOOLSET),
        (O46, O55, {"type": "something_20300101", "name": "x"}),
        (O46, O55, {"type": 3}),
        (O46, O55, "not a tool"),
    ],
    ids=name,
)
def test_what_the_target_takes_or_the_source_rejects_stays(source: Model, target: Model, tool: Any) -> None:
    draft = draft_of(asked(source, tools=[tool]), source, target)
    assert apply(draft) is draft
    assert unswappable(draft) == ""


@pytest.mark.parametrize(
    ("source", "target", "tool", "why"),
    [
        (O5, O55, computer("20251124"), "the tool computer_20251124, and none takes its place"),
        (S45, S55, computer("20250124"), "the tool computer_20250124, and none takes its place"),
        (H45, H55, computer("20250124"), "the tool computer_20250124, and none"),
        (O46, S45, computer("20251124", enable_zoom=True), "the tool computer_20251124, and none"),
        (O55, O46, TOOLSET, "the tool computer_toolset_20260801, and none takes its place"),
        (O55, S55, BROWSER, "the tool browser_toolset_20260801, and none takes its place"),
        (O46, S37, NEW_EDITOR, "the tool text_editor_20250728, and none takes its place"),
        (O5, H45, CODE_ONLY, "a tool is for code alone to call, which claude-haiku-4-5-20251001 does not do"),
    ],
    ids=name,
)
def test_what_has_no_other_version_is_in_the_way(source: Model, target: Model, tool: Json, why: str) -> None:
    found = hindrance(source, target, tools=[CUSTOM, tool])
    assert found is not None
    assert found.change.rule == "tool_version"
    assert why in found.change.sentence
    assert target.id in found.change.sentence


def test_the_editor_is_called_by_its_new_name_and_answers_to_the_old_one() -> None:
    called = {"type": "tool_use", "id": "t", "name": "str_replace_editor", "input": {"command": "view"}}
    other = {**called, "id": "u", "name": "n"}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}
    said = {"role": "assistant", "content": "I use str_replace_editor."}
    messages = [HELLO, said, HELLO, {"role": "assistant", "content": [called, other]}, result]
    choice = {"type": "tool", "name": "str_replace_editor"}
    envelope = asked(S37, tools=[EDITOR, CUSTOM], messages=messages, tool_choice=choice)
    done = rewrite(envelope, S37, O45, KEEP)
    body = json.loads(done.body)
    new = "str_replace_based_edit_tool"
    assert body["tool_choice"] == {**choice, "name": new}
    assert body["messages"][3]["content"] == [{**called, "name": new}, other]
    assert [*body["messages"][:3], body["messages"][4]] == [HELLO, said, HELLO, result]
    assert done.plan.tool_names == ((new, "str_replace_editor"),)


def test_other_values_of_a_swapped_tool_keep_their_bytes() -> None:
    tool = b'{ "name":"computer","display_width_px":1024.0 , "type":"computer_20250124"}'
    body = b'{"model":"m","tools":[{"name" :"n","input_schema":{"x":1e2}},' + tool + b"]}"
    raws = tools_of(apply(draft_of(parse(body), S45, O46)).fields, [b"computer"])
    assert [bytes(raw) for raw, _ in raws] == [
        b'{"name" :"n","input_schema":{"x":1e2}}',
        b'{"name":"computer","display_width_px":1024.0,"type":"computer_20251124"}',
    ]


@pytest.mark.parametrize("kind", sorted(SWAPS))
def test_what_comes_out_is_taken_and_stays(kind: str) -> None:
    named = "str_replace_editor" if kind.startswith("text") else kind.rpartition("_")[0]
    for source, target in [*EVERY_PAIR, (S37, F52)]:
        envelope = asked(source, tools=[{"type": kind, "name": named}])
        if list(violations(envelope, source)) or unswappable(draft_of(envelope, source, target)):
            continue
        once = apply(draft_of(envelope, source, target)).sent
        assert list(violations(once, target)) == []
        again = draft_of(once, source, target)
        assert apply(again) is again


@pytest.mark.parametrize(
    ("model", "tools", "count"),
    [
        (O45, [computer("20250124")], 1),
        (O45, [computer("20251124"), NEW_EDITOR, CUSTOM, DIRECT_TOO], 0),
        (H45, [DIRECT_TOO], 1),
        (H45, [{**CUSTOM, "allowed_callers": ["direct"]}], 0),
        (O47, [{**NEW_EDITOR, "name": "str_replace_editor"}], 1),
        (O5, [TOOLSET, computer("20251124")], 1),
        (O5, [TOOLSET, {**CUSTOM, "name": "computer"}], 1),
        (O5, [TOOLSET, CUSTOM], 0),
        (O55, [TOOLSET, computer("20251124")], 2),
        (O5, [{**CUSTOM, "defer_loading": True}], 1),
        (O5, [{**CUSTOM, "defer_loading": True}, CUSTOM], 0),
        (O5, [], 0),
        (O5, ["x"], 0),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(model: Model, tools: list[Any], count: int) -> None:
    found = list(violations(asked(model, tools=tools), model))
    assert [change.rule for change in found] == ["tool_version"] * count
