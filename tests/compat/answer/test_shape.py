"""What an answer ends with and whose names it bears is told as the application knows it."""

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway.compat.answer.plan import PLAIN, AnswerPlan, ForcedCall
from gateway.compat.answer.shape import (
    call_id,
    is_object,
    kind_of,
    made_up_call,
    note_text,
    renamed,
    text_of,
    told_as,
)


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


CLASSIC = AnswerPlan(classic_stops=True)


@pytest.mark.parametrize(
    ("stop", "plan", "wrapped", "told"),
    [
        ("end_turn", PLAIN, False, "end_turn"),
        ("refusal", PLAIN, False, "refusal"),
        ("refusal", CLASSIC, False, "end_turn"),
        ("model_context_window_exceeded", CLASSIC, False, "max_tokens"),
        ("pause_turn", CLASSIC, False, "end_turn"),
        ("compaction", CLASSIC, False, "end_turn"),
        ("tool_use", CLASSIC, False, "tool_use"),
        ("something_new", CLASSIC, False, "something_new"),
        ("", CLASSIC, False, ""),
        ("end_turn", PLAIN, True, "tool_use"),
        ("max_tokens", PLAIN, True, "max_tokens"),
        ("refusal", CLASSIC, True, "end_turn"),
    ],
)
def test_a_stop_reason_is_told_as_the_application_knows_it(
    stop: str, plan: AnswerPlan, wrapped: bool, told: str
) -> None:
    assert told_as(stop, plan, wrapped=wrapped) == told


@pytest.mark.parametrize(
    ("message_id", "expected"),
    [
        ("msg_01AbC", "toolu_01AbC"),
        ("", "toolu_"),
        ("gen/1 \u2603", "toolu_gen1"),
        ("x" * 100, "toolu_" + "x" * 64),
    ],
)
def test_a_made_up_call_is_named_after_its_message(message_id: str, expected: str) -> None:
    assert call_id(message_id) == expected


def test_a_made_up_call_is_the_forced_tool_s() -> None:
    call = made_up_call({"id": raw("msg_1")}, AnswerPlan(forced=ForcedCall("look", wrapped=True)))
    assert json.loads(json.dumps({key: json.loads(bytes(value)) for key, value in call.items()})) == {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "look",
        "input": {},
    }


@pytest.mark.parametrize(
    ("block", "name"),
    [
        ({"type": "tool_use", "name": "look"}, "see"),
        ({"type": "tool_use", "name": "listen"}, "listen"),
        ({"type": "server_tool_use", "name": "look"}, "look"),
    ],
)
def test_a_tool_is_called_by_the_application_s_own_name(block: Any, name: str) -> None:
    plan = AnswerPlan(tool_names=(("look", "see"),))
    assert json.loads(bytes(renamed(raw(block), plan)))["name"] == name
    assert renamed(raw(block), PLAIN) == raw(block)


@pytest.mark.parametrize("odd", [None, Raw(b"5"), Raw(b'{"type": 5}'), Raw(b"[]")])
def test_what_is_no_block_has_no_kind_and_says_nothing(odd: Raw | None) -> None:
    assert (kind_of(odd), text_of(odd), note_text(odd)) == ("", "", "")


def test_a_block_says_what_stands_in_it() -> None:
    assert (kind_of(raw({"type": "text"})), text_of(raw({"type": "text", "text": "a"}))) == ("text", "a")
    assert text_of(raw({"type": "text", "text": 5})) == ""
    assert note_text(raw({"type": "thinking", "thinking": "a"})) == "a"
    assert [is_object(text) for text in ('{"a": 1} ', "[]", "{", "", '"\ud800"')] == [True] + 4 * [False]
