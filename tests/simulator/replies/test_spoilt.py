"""Answers that arrive whole and are no use."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.checks.schemas import Schema
from gateway.simulator.replies.compose import compose
from gateway.simulator.replies.profiles import profile_of
from gateway.simulator.replies.reply import Reply
from gateway.simulator.replies.spoilt import PREAMBLE, bad_tool_input, broken_json, verbose
from gateway.simulator.rules.case import Case
from tests.support.judged import case_of

OLD, NEW = "claude-opus-4-5", "claude-opus-5-5"
ASKED = "Answer with one JSON object only.\nFields: name, total"


def asked(text: str, *, prefill: str = "", model: str = NEW, **fields: Any) -> tuple[Case, Reply]:
    """Return a request and the healthy reply to it."""
    turns = [{"role": "user", "content": text}]
    turns += [{"role": "assistant", "content": prefill}] if prefill else []
    case = case_of({"model": model, "messages": turns, **fields})
    return case, compose(case, profile_of(case.model), prompt_tokens=10, refusal_scale=0)


def text_of(reply: Reply) -> str:
    return "".join(block["text"] for block in reply.content if block["type"] == "text")


def is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def test_json_loses_its_end_or_gets_a_sentence_before_it() -> None:
    ways = set()
    for number in range(12):
        case, reply = asked(f"{ASKED}\n\nNumber {number}")
        assert is_json(text_of(reply))
        broken = text_of(broken_json(case, reply))
        assert not is_json(broken)
        assert broken_json(case, reply) == broken_json(case, reply)
        ways.add(broken.startswith(PREAMBLE))
    assert ways == {True, False}


@pytest.mark.parametrize("prefill", ["{", '{"name": "', "```json\n{"])
def test_what_continues_a_prefill_loses_its_end(prefill: str) -> None:
    case, reply = asked(ASKED, prefill=prefill, model=OLD)
    broken = text_of(broken_json(case, reply))
    assert text_of(reply).startswith(broken)
    assert not is_json((prefill + broken).removeprefix("```json\n").removesuffix("```"))


def test_what_continues_a_beginning_that_was_told_loses_its_end() -> None:
    case, reply = asked(f'{ASKED}\nYour reply has already begun, do not repeat it: "{{"')
    assert is_json("{" + text_of(reply))
    assert not is_json("{" + text_of(broken_json(case, reply)))


def test_structured_output_can_break_too() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    case, reply = asked("Go.", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert is_json(text_of(reply))
    assert not is_json(text_of(broken_json(case, reply)))


def test_prose_is_left_alone() -> None:
    case, reply = asked("How are you?")
    assert broken_json(case, reply) == reply
    assert bad_tool_input(case, reply) == reply


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"n": {"type": "integer"}}},
        {"type": "object", "properties": {"x": {}, "n": {"type": ["string", "null"]}}},
    ],
)
def test_a_tools_input_misses_its_schema(schema: dict[str, Any]) -> None:
    tools = [{"name": "book", "input_schema": schema}]
    case, reply = asked("Use the tool.", tools=tools)
    spoilt = bad_tool_input(case, reply)
    (good,) = [block["input"] for block in reply.content if block["type"] == "tool_use"]
    (bad,) = [block["input"] for block in spoilt.content if block["type"] == "tool_use"]
    assert Schema(schema).accepts(good)
    assert not Schema(schema).accepts(bad)


def test_prose_goes_on_for_longer() -> None:
    case, reply = asked("How are you?")
    longer = verbose(case, reply, 3)
    assert longer.output_tokens == reply.output_tokens * 3
    assert longer.stop_reason == "end_turn"
    assert text_of(longer).startswith(text_of(reply))
    assert len(text_of(longer)) > 2 * len(text_of(reply))


def test_of_json_and_calls_only_the_bill_grows() -> None:
    for case, reply in (
        asked(ASKED),
        asked(ASKED, prefill="{", model=OLD),
        asked("Use the tool.", tools=[{"name": "book", "input_schema": {"type": "object"}}]),
    ):
        assert verbose(case, reply, 3) == replace(reply, output_tokens=reply.output_tokens * 3)


def test_there_is_no_more_room_than_max_tokens() -> None:
    case, reply = asked("How are you?", model=OLD, max_tokens=150)
    longer = verbose(case, reply, 100)
    assert (longer.output_tokens, longer.stop_reason) == (150, "max_tokens")
    assert 4 * 140 <= len(text_of(longer)) <= 4 * 150
