"""A forced call is asked for in words, or its input as structured output, where a model cannot be forced."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.compat.address import Address
from gateway.compat.answer.plan import ForcedCall
from gateway.compat.catalog import Model
from gateway.compat.replay import After, Append, Note, Replay, Strict, recollect
from gateway.compat.request import Context, Rewrite, obstacle, rewrite
from gateway.compat.rules.forced import line
from gateway.core.spec import CompatPolicy
from tests.support.requests import HELLO, KEEP, Json, asked, listed
from tests.support.rows import F52, O5, O45, O46, O48, O55, S45, S55, name

OPEN: Json = {"name": "look", "input_schema": {"type": "object"}}
STRICT_READY: Json = {
    "name": "look",
    "input_schema": {
        "type": "object",
        "properties": {"at": {"type": "string"}},
        "required": ["at"],
        "additionalProperties": False,
    },
}
OTHER: Json = {"name": "listen", "input_schema": {"type": "object"}}
NAMED: Json = {"type": "tool", "name": "look"}
ANY: Json = {"type": "any"}
CALL: Json = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
ROUND: list[Json] = [
    HELLO,
    {"role": "assistant", "content": [CALL]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "seen"}]},
]
OLD = replace(O55, id="old", mid_conversation_system=False)


def forced(target: Model, choice: Json, *tools: Json, source: Model = O45, **fields: Any) -> Rewrite:
    envelope = asked(source, tools=list(tools), tool_choice=choice, **fields)
    assert obstacle(envelope, source, target, KEEP) is None
    done = rewrite(envelope, source, target, KEEP)
    assert "forced_tool=E" in listed(done)
    assert done.violations == ()
    return done


@pytest.mark.parametrize("target", [O55, S55, F52], ids=name)
@pytest.mark.parametrize(("choice", "tool"), [(NAMED, "look"), (ANY, "")])
def test_a_line_behind_everything_asks_for_the_call(target: Model, choice: Json, tool: str) -> None:
    done = forced(target, choice, OPEN, OTHER)
    body = json.loads(done.body)
    told = {"role": "system", "content": line(tool, insists=False)}
    assert body["messages"] == [HELLO, told]
    assert body["tool_choice"] == {"type": "auto"}
    assert body["tools"] == [OPEN, OTHER]
    assert done.plan.forced == ForcedCall(tool)
    assert done.plan.repeats
    (edit,) = done.edits
    assert isinstance(edit, After)
    assert edit.place == 0


def test_where_the_target_has_no_turns_of_the_system_the_user_s_turn_ends_with_the_line() -> None:
    done = forced(OLD, NAMED, OPEN, OTHER, messages=ROUND)
    body = json.loads(done.body)
    assert body["messages"][:2] == ROUND[:2]
    assert body["messages"][2]["content"] == [
        *ROUND[2]["content"],
        {"type": "text", "text": line("look", insists=False)},
    ]
    assert isinstance(done.edits[0], Append)


def test_behind_a_turn_of_the_system_the_line_goes_into_the_user_s() -> None:
    noted = [HELLO, {"role": "system", "content": "note"}]
    done = forced(O55, NAMED, OPEN, OTHER, source=O5, messages=noted, thinking={"type": "disabled"})
    first, second = json.loads(done.body)["messages"]
    assert first["content"][1:] == [{"type": "text", "text": line("look", insists=False)}]
    assert second == noted[1]


def test_a_name_beside_the_choice_of_any_tool_means_nothing() -> None:
    done = forced(O55, {"type": "any", "name": "nobody"}, OPEN, OTHER)
    assert done.plan.forced == ForcedCall("")


def test_at_most_one_call_stays_at_most_one() -> None:
    done = forced(O55, {**NAMED, "disable_parallel_tool_use": True}, OPEN, OTHER)
    assert json.loads(done.body)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_a_model_that_did_not_call_is_asked_more_firmly() -> None:
    envelope = asked(O45, tools=[STRICT_READY], tool_choice=NAMED)
    done = rewrite(envelope, O45, O55, KEEP, Context(insists=True))
    body = json.loads(done.body)
    assert body["messages"][-1]["content"] == line("look", insists=True) != line("look", insists=False)
    assert "output_config" not in body or "format" not in body["output_config"]


def test_a_tool_whose_schema_allows_it_is_strict_from_the_first_turn_on() -> None:
    done = forced(O55, NAMED, STRICT_READY, OTHER)
    assert json.loads(done.body)["tools"] == [{**STRICT_READY, "strict": True}, OTHER]
    assert Strict(0, "look") in done.edits
    past = recollect_all(done)
    later = asked(O45, tools=[STRICT_READY, OTHER], messages=ROUND)
    body = json.loads(rewrite(later, O45, O55, KEEP, Context(past=past)).body)
    assert body["tools"] == [{**STRICT_READY, "strict": True}, OTHER]
    assert body["messages"][1] == {"role": "system", "content": line("look", insists=False)}


def recollect_all(done: Rewrite) -> Replay:
    return recollect([Address(1, "d")], {"d": Note(done.edits, 0)})


@pytest.mark.parametrize(
    ("tools", "choice", "fields"),
    [
        ([STRICT_READY, OTHER], NAMED, {"messages": ROUND}),
        ([STRICT_READY, OTHER], ANY, {}),
        ([{**STRICT_READY, "strict": False}, OTHER], NAMED, {}),
        ([OPEN, OTHER], NAMED, {}),
        ([STRICT_READY, OTHER], NAMED, {"system": [{"type": "text", "text": "x", "citations": None}]}),
    ],
)
def test_otherwise_no_tool_becomes_strict(tools: list[Json], choice: Json, fields: Json) -> None:
    assert json.loads(forced(O55, choice, *tools, **fields).body)["tools"] == tools


@pytest.mark.parametrize("choice", [NAMED, ANY])
def test_a_call_for_json_alone_becomes_structured_output(choice: Json) -> None:
    tool: Json = {
        "name": "look",
        "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}},
    }
    done = forced(O55, choice, tool, output_config={"effort": "low"})
    body = json.loads(done.body)
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {**tool["input_schema"], "additionalProperties": False},
    }
    assert body["tool_choice"] == {"type": "none"}
    assert (body["tools"], body["messages"]) == ([tool], [HELLO])
    assert done.plan.forced == ForcedCall("look", wrapped=True)
    assert done.edits == ()


@pytest.mark.parametrize(
    ("tools", "fields"),
    [
        ([STRICT_READY, OTHER], {}),
        ([OPEN], {}),
        ([STRICT_READY], {"messages": ROUND}),
        ([STRICT_READY], {"output_config": {"format": {"type": "json_schema", "schema": {}}}}),
        ([STRICT_READY], {"messages": [HELLO, {"role": "assistant", "content": "{"}]}),
        ([STRICT_READY], {"system": [{"type": "text", "text": "x", "citations": None}]}),
        ([{**STRICT_READY, "type": "memory_20250818"}], {}),
        ([STRICT_READY], {"stop_sequences": ["}"]}),
    ],
)
def test_where_that_cannot_be_said_the_call_is_asked_for_in_words(tools: list[Json], fields: Json) -> None:
    done = forced(O55, NAMED, *tools, **fields)
    assert done.plan.forced == ForcedCall("look")
    assert json.loads(done.body)["tool_choice"] == {"type": "auto"}


def test_a_target_without_structured_outputs_is_asked_in_words() -> None:
    done = forced(replace(O55, id="plain", features=frozenset()), NAMED, STRICT_READY)
    assert done.plan.forced == ForcedCall("look")
    assert json.loads(done.body)["tools"] == [STRICT_READY]


def test_a_beginning_of_the_answer_is_not_asked_for_where_a_call_is() -> None:
    messages = [HELLO, {"role": "assistant", "content": "Let me see:"}]
    done = forced(O55, NAMED, OPEN, OTHER, messages=messages)
    told = {"role": "system", "content": line("look", insists=False)}
    assert json.loads(done.body)["messages"] == [HELLO, told]
    assert done.plan.prefill == "Let me see:"
    assert "prefill=E" in listed(done)


def test_counting_counts_the_same_request() -> None:
    envelope = asked(O45, tools=[OPEN, OTHER], tool_choice=NAMED)
    whole = json.loads(rewrite(envelope, O45, O55, KEEP).body)
    counted = json.loads(rewrite(envelope, O45, O55, KEEP, Context(counting=True)).body)
    assert counted | {"max_tokens": 0} == whole | {"max_tokens": 0}


@pytest.mark.parametrize(
    ("source", "target", "fields"),
    [
        (O45, O5, {}),
        (O45, O46, {}),
        (S45, O48, {}),
        (O55, S55, {}),
        (O45, O55, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (O45, O55, {"tools": []}),
        (O45, O55, {"tools": [OTHER]}),
        (O45, O55, {"max_tokens": 0}),
        (O45, O55, {"messages": []}),
    ],
    ids=name,
)
def test_what_the_target_takes_and_what_the_source_would_reject_is_left(
    source: Model, target: Model, fields: Json
) -> None:
    envelope = asked(source, **{"tools": [OPEN], "tool_choice": NAMED, **fields})
    done = rewrite(envelope, source, target, KEEP)
    assert "forced_tool=E" not in listed(done)
    assert json.loads(done.body)["tool_choice"] == NAMED


@pytest.mark.parametrize("choice", ["control", "reject"])
def test_the_policy_may_keep_it_from_the_target(choice: Any) -> None:
    envelope = asked(O45, tools=[OPEN], tool_choice=NAMED)
    found = obstacle(envelope, O45, O55, CompatPolicy(forced_tool=choice))
    assert found is not None
    assert found.change.rule == "forced_tool"
    assert found.reject is (choice == "reject")


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_in_a_thread_a_forced_call_stays_where_it_can_be_forced(thread: Json) -> None:
    tools = {} if thread["type"] == "continue" else {"tools": [STRICT_READY]}
    envelope = asked(O45, tool_choice=NAMED, thread=thread, **tools)
    found = obstacle(envelope, O45, O55, KEEP)
    assert found is not None
    assert found.change.rule == "forced_tool"
    assert obstacle(envelope, O45, O46, KEEP) is None
