"""Turns of role system are said by the user where a model takes none, in the same words for ever."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.compat.catalog import Model
from gateway.compat.request import rewrite
from gateway.compat.rules.system_turns import apply, as_reminders, unsayable, violations
from tests.support.requests import HELLO, KEEP, Json, asked, draft_of, hindrance, rewritten
from tests.support.rows import CATALOGUE, O5, O45, O47, O48, O55, S5, S55, name

ANSWER: Json = {"role": "assistant", "content": "a"}
SEARCHED: Json = {
    "role": "assistant",
    "content": [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
    ],
}
EFFORT: Json = {"output_config": {"effort": "low"}}


def note(content: Any = "Be brief.", **more: Any) -> Json:
    return {"role": "system", "content": content, **more}


def block(text: str, **more: Any) -> Json:
    return {"type": "text", "text": text, **more}


def reminder(text: str, **more: Any) -> Json:
    return block(f"<system-reminder>\n{text}\n</system-reminder>", **more)


def removal(tool: Json) -> Json:
    return {"type": "tool_removal", "tool": tool}


GONE = "is withdrawn. Do not call it any more."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            [HELLO, note()],
            [{"role": "user", "content": [block("hello"), reminder("Be brief.")]}],
        ),
        (
            [
                HELLO,
                note([block("One.", cache_control={"type": "ephemeral"}), block('"Two" \\ \u00e9')]),
                ANSWER,
                HELLO,
            ],
            [
                {
                    "role": "user",
                    "content": [
                        block("hello"),
                        reminder("One.", cache_control={"type": "ephemeral"}),
                        reminder('"Two" \\ \u00e9'),
                    ],
                },
                ANSWER,
                HELLO,
            ],
        ),
        (
            [HELLO, SEARCHED, note()],
            [HELLO, SEARCHED, {"role": "user", "content": [reminder("Be brief.")]}],
        ),
        (
            [HELLO, SEARCHED, note(), ANSWER, HELLO],
            [HELLO, SEARCHED, {"role": "user", "content": [reminder("Be brief.")]}, ANSWER, HELLO],
        ),
        ([HELLO, note("", **EFFORT), ANSWER, HELLO], [HELLO, ANSWER, HELLO]),
        ([HELLO, note([], **EFFORT)], [HELLO]),
        (
            [HELLO, note(**EFFORT, clear_at="next_user_message")],
            [{"role": "user", "content": [block("hello"), reminder("Be brief.")]}],
        ),
        (
            [HELLO, note([removal({"type": "tool_reference", "name": "search"})])],
            [{"role": "user", "content": [block("hello"), reminder(f"The tool search {GONE}")]}],
        ),
        (
            [HELLO, note([removal({"type": "mcp_toolset_reference", "server_name": "wiki"})])],
            [
                {
                    "role": "user",
                    "content": [block("hello"), reminder(f"Every tool of the server wiki {GONE}")],
                }
            ],
        ),
        (
            [HELLO, note([removal({"type": "mcp_tool_reference", "name": "a", "server_name": "wiki"})])],
            [
                {
                    "role": "user",
                    "content": [block("hello"), reminder(f"The tool a of the server wiki {GONE}")],
                }
            ],
        ),
    ],
)
@pytest.mark.parametrize(("source", "target"), [(O48, O47), (O5, S5), (O55, O45)], ids=name)
def test_a_system_turn_becomes_a_reminder_of_the_user(
    source: Model, target: Model, before: list[Json], after: list[Json]
) -> None:
    body, changes = rewritten(source, target, messages=before, thinking={"type": "disabled"})
    assert body["messages"] == after
    assert "system_turns=E" in changes
    assert hindrance(source, target, messages=before) is None


def test_of_an_added_tool_nothing_is_said() -> None:
    added = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}}
    messages = [Raw(json.dumps(message).encode()) for message in (HELLO, note([added]), ANSWER)]
    assert as_reminders(messages) == [messages[0], messages[2]]


def test_what_is_lost_is_said() -> None:
    plain, rich = (
        apply(draft_of(asked(O5, messages=[HELLO, turn]), O5, O47)).changes[0].sentence
        for turn in (note(), note(**EFFORT, clear_at="next_user_message"))
    )
    assert plain == "Turns of role system became reminders in the user's turns: claude-opus-4-7 takes none."
    assert rich == f"{plain} An effort for a single turn is lost. What was to be cleared stays."


@pytest.mark.parametrize(
    ("source", "target", "messages"),
    [
        (O48, O5, [HELLO, note()]),
        (O45, O47, [HELLO, note()]),
        (O48, O47, [HELLO, ANSWER, HELLO]),
        (O48, O47, [note(), HELLO]),
        (O48, O47, [HELLO, ANSWER, note()]),
        (O48, O47, [HELLO, note(), HELLO]),
        (O48, O47, [HELLO, note(), note()]),
        (O48, O47, [HELLO, note([{"type": "image", "source": {}}])]),
        (O48, O47, [HELLO, note([{"type": "text"}])]),
        (O48, O47, [HELLO, note(3)]),
        (O55, S55, [HELLO, note("", **EFFORT)]),
    ],
    ids=name,
)
def test_what_the_target_takes_or_the_source_rejects_stays(
    source: Model, target: Model, messages: list[Json]
) -> None:
    draft = draft_of(asked(source, messages=messages), source, target)
    assert apply(draft) is draft


@pytest.mark.parametrize(
    ("turn", "left"),
    [
        (note("", **EFFORT), []),
        (note([], **EFFORT), []),
        (note(**EFFORT), [note()]),
        (note(clear_at="next_user_message", **EFFORT), [note(clear_at="next_user_message")]),
        (note(output_config=None), [note(output_config=None)]),
    ],
)
def test_an_effort_for_one_turn_is_left_out_where_it_is_unknown(turn: Json, left: list[Json]) -> None:
    body, changes = rewritten(O5, O48, messages=[HELLO, turn, ANSWER, HELLO], thinking={"type": "adaptive"})
    assert body["messages"] == [HELLO, *left, ANSWER, HELLO]
    assert ("system_turns=E" in changes) is (left != [turn])


def test_an_added_tool_is_in_the_way_where_tools_do_not_change() -> None:
    added = note([{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "x"}}])
    messages = [HELLO, added]
    found = hindrance(O5, S5, messages=messages)
    assert found is not None
    assert found.change.rule == "tool_changes"
    assert found.change.sentence == (
        "a tool is added inside the conversation, which claude-sonnet-5 does not take."
    )
    assert hindrance(O5, O55, messages=messages) is None
    assert unsayable(draft_of(asked(O47, messages=messages), O47, O45)) == ""
    assert unsayable(draft_of(asked(O5, messages=[HELLO, note()]), O5, S5)) == ""


@pytest.mark.parametrize(
    ("model", "messages", "rules"),
    [
        (O47, [HELLO, note()], ["system_turns"]),
        (O48, [HELLO, note()], []),
        (O47, [HELLO], []),
        (O48, [note(), HELLO], ["system_turns"]),
        (O48, [HELLO, note(**EFFORT)], ["system_turns"]),
        (O5, [HELLO, note(**EFFORT)], []),
        (O47, [HELLO, note([removal({})], **EFFORT)], ["system_turns", "system_turns", "tool_changes"]),
        (O5, [HELLO, note([removal({})])], []),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(model: Model, messages: list[Json], rules: list[str]) -> None:
    assert [change.rule for change in violations(asked(model, messages=messages), model)] == rules


# --- purity -----------------------------------------------------------------------------------------------

THOUGHT: Json = {
    "role": "assistant",
    "content": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, block("so")],
}
TURNS = st.sampled_from(
    [[HELLO], [HELLO, note()], [HELLO, note([block("x")], **EFFORT)], [HELLO, SEARCHED, note()]]
)
ROUNDS = st.lists(st.tuples(TURNS, st.sampled_from([ANSWER, THOUGHT])), min_size=1, max_size=5)
WITHOUT = [model for model in CATALOGUE.models if not model.mid_conversation_system]


@given(ROUNDS, st.sampled_from([O48, O5, O55]), st.sampled_from(WITHOUT))
def test_each_turn_repeats_the_one_before_byte_for_byte(
    rounds: list[tuple[list[Json], Json]], source: Model, target: Model
) -> None:
    messages: list[Json] = []
    before: list[bytes] = []
    for asking, answer in rounds:
        messages += asking
        raws = [Raw(json.dumps(message).encode()) for message in messages]
        said = [bytes(raw) for raw in as_reminders(raws)]
        assert said[: len(before)] == before
        assert b'"system"' not in b"".join(said)
        thoughts = [json.dumps(message).encode() for message in messages if message is THOUGHT]
        assert [each for each in said if b'"thinking"' in each] == thoughts
        before = said
        messages = [*messages, answer]


@given(ROUNDS)
def test_saying_it_twice_changes_nothing(rounds: list[tuple[list[Json], Json]]) -> None:
    messages = [turn for asking, answer in rounds for turn in (*asking, answer)] + [HELLO, note()]
    once = rewrite(asked(O5, messages=messages), O5, O47, KEEP)
    again = rewrite(asked(O5, **json.loads(once.body)), O5, O47, KEEP)
    assert json.loads(again.body)["messages"] == json.loads(once.body)["messages"]
