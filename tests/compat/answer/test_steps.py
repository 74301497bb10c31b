"""Each step holds what it must, no longer than it must, and gives out the rest at once."""

import json
from typing import Any

import pytest

from gateway.compat.answer.plan import AnswerPlan, ForcedCall
from gateway.compat.answer.steps import Curtain, FirstText, MadeUpCall, Message, Numbers, Step, TextBeforeCall
from gateway.core.sse import SseEvent, SseScanner
from tests.compat.answer.test_response import CALL, REDACTED, THOUGHT, text
from tests.compat.answer.test_stream import END, PING, START, block_events, sse
from tests.compat.answer.test_text import plan

Json = dict[str, Any]
NOTE: Json = {"type": "thinking", "thinking": "Looking around.", "signature": "sig"}
SEARCH: Json = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
WRAPPED = AnswerPlan(forced=ForcedCall("look", wrapped=True))


def given(step: Step, *parts: bytes) -> list[str]:
    """What a step gives out, one word an event: its name, and what it says."""
    out: list[str] = []
    for event in SseScanner().feed(b"".join(parts)):
        out += [word(one) for one in step.take(event)]
    return out


def word(event: SseEvent) -> str:
    data = json.loads(event.data)
    block, delta = data.get("content_block"), data.get("delta", {})
    said = delta.get("text") or delta.get("thinking") or delta.get("partial_json") or ""
    name = event.name.removeprefix("content_block_")
    return f"{name} {block['type']}" if block else f"{name} {said}".strip()


def settled(step: Step) -> bool:
    return step.settled


def whole(index: int, block: Json, size: int = 100) -> bytes:
    return b"".join(block_events(index, block, size))


def test_what_is_said_before_a_call_waits_and_goes() -> None:
    step = TextBeforeCall()
    assert given(step, START, whole(0, THOUGHT), whole(1, text("I see.")), PING) == [
        "message_start", "start thinking", "delta", "stop", "ping",
    ]  # fmt: skip
    assert not settled(step)
    assert given(step, whole(2, THOUGHT)) == []
    assert given(step, whole(3, CALL)) == [
        "start thinking",
        "delta",
        "stop",
        "start tool_use",
        "delta {}",
        "stop",
    ]
    assert step.settled
    assert given(step, whole(4, text("more"))) == ["start text", "delta more", "stop"]


def test_a_server_s_tool_is_a_call_too() -> None:
    assert given(TextBeforeCall(), whole(0, text("I see.")), whole(1, SEARCH)) == [
        "start server_tool_use",
        "stop",
    ]


def test_without_a_call_what_was_said_is_the_answer() -> None:
    words = given(TextBeforeCall(), whole(0, text("I see.")), END)
    assert words == ["start text", "delta I see.", "stop", "message_delta", "message_stop"]
    assert [word(one) for one in TextBeforeCall().flush()] == []


def test_json_is_shown_as_the_call_s_input_from_its_first_bracket_on() -> None:
    step = MadeUpCall(WRAPPED)
    begin, *pieces, stop = block_events(0, text(' {"at": 1}'), 4)
    assert given(step, START, begin, PING) == ["message_start", "ping"]
    assert given(step, *pieces) == ["start tool_use", 'delta  {"a', 'delta t":', "delta 1}"]
    assert given(step, stop, whole(1, text("{more"))) == ["stop", "start text", "delta {more", "stop"]
    assert step.wrapped


def test_blank_pieces_wait_and_citations_go() -> None:
    step = MadeUpCall(WRAPPED)
    begin, first, second, stop = block_events(0, text("  {}"), 2)
    cite = sse("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {}})
    assert given(step, begin, first) == []
    assert given(step, second, cite, stop) == ["start tool_use", "delta", "delta {}", "stop"]


@pytest.mark.parametrize("said", ["I cannot.", "  ", ""])
def test_what_is_no_json_is_no_call(said: str) -> None:
    step = MadeUpCall(WRAPPED)
    words = given(step, whole(0, text(said)), END)
    assert words[0] == "start text"
    assert words[-3:] == ["stop", "message_delta", "message_stop"]
    assert not step.wrapped


def test_other_blocks_and_a_cut_stream_are_left() -> None:
    step = MadeUpCall(WRAPPED)
    begin, *_ = block_events(1, text("{}"), 2)
    assert given(step, whole(0, THOUGHT), begin) == ["start thinking", "delta", "stop"]
    assert [word(one) for one in step.flush()] == ["start text"]


def test_the_first_text_settles_once_it_is_decided() -> None:
    step = FirstText(plan("Answer:"))
    begin, *pieces = block_events(0, text("Answer: yes"), 8)
    assert given(step, START, whole(0, THOUGHT), begin) == [
        "message_start", "start thinking", "delta", "stop", "start text",
    ]  # fmt: skip
    assert not step.settled
    assert given(step, *pieces) == ["delta", "delta yes", "stop"]
    assert step.settled


HIDING, SHOWING = AnswerPlan(hides_thinking=True), AnswerPlan(hides_thinking=True, shows_notes=True)


def test_hidden_thinking_goes_at_once_and_silently() -> None:
    step = Curtain(HIDING)
    assert given(step, whole(0, THOUGHT), PING, whole(1, REDACTED), whole(2, NOTE)) == ["ping"]
    assert given(step, whole(3, CALL), whole(4, THOUGHT), END) == [
        "start tool_use", "delta {}", "stop", "message_delta", "message_stop",
    ]  # fmt: skip


def test_a_note_is_text_from_its_first_words_on() -> None:
    step = Curtain(SHOWING)
    begin, first, second, *signed, stop = block_events(0, NOTE, 8)
    assert given(step, begin) == []
    assert given(step, first) == ["start text", "delta Looking"]
    assert given(step, second, PING) == ["delta around.", "ping"]
    assert given(step, *signed, stop) == ["stop"]


@pytest.mark.parametrize(
    ("showing", "shown"),
    [(SHOWING, []), (AnswerPlan(shows_notes=True), ["start thinking", "delta", "stop"])],
)
def test_silent_thinking_is_no_note(showing: AnswerPlan, shown: list[str]) -> None:
    assert given(Curtain(showing), whole(0, THOUGHT)) == shown
    redacted = given(Curtain(showing), whole(0, REDACTED))
    assert redacted == (["start redacted_thinking", "stop"] if shown else [])


def test_a_block_that_was_cut_before_its_first_words_is_shown_only_where_thinking_is() -> None:
    begin, *_ = block_events(0, THOUGHT, 9)
    error = sse("error", error={"type": "overloaded_error", "message": "m"})
    assert given(Curtain(AnswerPlan(shows_notes=True)), begin, error) == ["start thinking", "error"]
    assert given(Curtain(SHOWING), begin, error) == ["error"]
    step = Curtain(AnswerPlan(shows_notes=True))
    given(step, begin)
    assert [word(one) for one in step.flush()] == ["start thinking"]


def test_the_message_bears_the_application_s_names() -> None:
    told = AnswerPlan(shown_model="asked", classic_stops=True, tool_names=(("n", "own"),))
    end = END.replace(b'"end_turn"', b'"refusal", "stop_details": {"category": null}')
    step = Message(told, None)
    events = [one for event in SseScanner().feed(START + whole(0, CALL) + end) for one in step.take(event)]
    data = [json.loads(event.data) for event in events]
    assert data[0]["message"]["model"] == "asked"
    assert data[1]["content_block"]["name"] == "own"
    assert data[-2]["delta"] == {"stop_reason": "end_turn", "stop_details": {"category": None}}
    assert data[-2]["usage"] == {"output_tokens": 3}


def test_a_message_without_a_model_gets_none() -> None:
    step = Message(AnswerPlan(shown_model="asked"), None)
    (event,) = SseScanner().feed(sse("message_start", message={"id": "m"}))
    assert not step.settled
    assert step.take(event) == [event]
    assert step.settled


def numbered(*indices: Any) -> list[Any]:
    step = Numbers()
    stream = b"".join(
        sse("content_block_start", index=i) + sse("content_block_stop", index=i) for i in indices
    )
    out = [one for event in SseScanner().feed(stream) for one in step.take(event)]
    return [json.loads(event.data)["index"] for event in out]


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        ((0, 1), [0, 0, 1, 1]),
        ((1, 3), [0, 0, 1, 1]),
        ((0, 4, 5), [0, 0, 1, 1, 2, 2]),
        (("x", 1), ["x", "x", 0, 0]),
    ],
)
def test_blocks_are_numbered_without_gaps(indices: Any, expected: list[Any]) -> None:
    assert numbered(*indices) == expected
