"""Whether a forced call came is known from a JSON answer and, as early as can be, from a stream."""

import json
from typing import Any

import pytest

from gateway.compat.answer.plan import PLAIN, AnswerPlan, ForcedCall
from gateway.compat.answer.verify import CallWatch, Verdict, verdict
from gateway.core.sse import SseEvent, SseScanner
from tests.compat.answer.test_response import THOUGHT, answer, text
from tests.compat.answer.test_stream import END, PING, START, sse, stream_of

Json = dict[str, Any]

ANY, LOOK = AnswerPlan(forced=ForcedCall()), AnswerPlan(forced=ForcedCall("look"))
WRAPPED = AnswerPlan(forced=ForcedCall("look", wrapped=True))


def call(name: str, kind: str = "tool_use") -> Json:
    return {"type": kind, "id": f"id_{name}", "name": name, "input": {}}


ANSWERS: list[tuple[AnswerPlan, list[Json], str, Verdict]] = [
    (ANY, [call("look")], "tool_use", "called"),
    (ANY, [text("I see."), call("look")], "tool_use", "called"),
    (ANY, [call("web_search", "server_tool_use"), text("found")], "end_turn", "called"),
    (ANY, [text("I see.")], "end_turn", "missing"),
    (ANY, [text("I see.")], "stop_sequence", "missing"),
    (ANY, [THOUGHT], "end_turn", "missing"),
    (ANY, [], "end_turn", "missing"),
    (LOOK, [THOUGHT, call("look")], "tool_use", "called"),
    (LOOK, [call("look"), call("other")], "tool_use", "called"),
    (LOOK, [call("other")], "tool_use", "missing"),
    (LOOK, [call("other"), call("look")], "tool_use", "missing"),
    (LOOK, [call("other", "server_tool_use"), call("look")], "tool_use", "missing"),
    # what ended for a reason of its own is passed on
    (LOOK, [text("I can")], "refusal", "called"),
    (LOOK, [text("I can")], "max_tokens", "called"),
    (LOOK, [text("I can")], "model_context_window_exceeded", "called"),
    (LOOK, [THOUGHT], "pause_turn", "called"),
    (WRAPPED, [text('{"at": 1}')], "end_turn", "called"),
    (WRAPPED, [text(' \n{"at": 1}')], "end_turn", "called"),
    (WRAPPED, [text('{"at')], "max_tokens", "called"),
    (WRAPPED, [call("look")], "tool_use", "called"),
    (WRAPPED, [text("I cannot.")], "end_turn", "missing"),
    (WRAPPED, [], "end_turn", "missing"),
    (WRAPPED, [], "refusal", "called"),
    (PLAIN, [text("I see.")], "end_turn", "called"),
]


@pytest.mark.parametrize(("plan", "content", "stop", "expected"), ANSWERS)
def test_a_json_answer_is_judged(plan: AnswerPlan, content: list[Json], stop: str, expected: Verdict) -> None:
    assert verdict(answer(*content, stop_reason=stop), plan) == expected


def watched(plan: AnswerPlan, stream: bytes) -> Verdict:
    watch, seen = CallWatch(plan), []
    for event in SseScanner().feed(stream):
        seen.append(watch.feed([event]))
    decided = [each for each in seen if each != "open"]
    assert len(set(decided)) <= 1
    return seen[-1]


@pytest.mark.parametrize(("plan", "content", "stop", "expected"), ANSWERS)
def test_a_stream_is_judged_alike(
    plan: AnswerPlan, content: list[Json], stop: str, expected: Verdict
) -> None:
    stream = stream_of(content).replace(b'"end_turn"', json.dumps(stop).encode())
    assert watched(plan, stream) == expected


def test_json_that_is_none_is_no_call() -> None:
    assert verdict(answer(text('{"at": 1} Done.'), stop_reason="end_turn"), WRAPPED) == "missing"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"type": "error"}', b'{"content": 5}'])
def test_what_is_no_answer_is_passed_on(body: bytes) -> None:
    assert verdict(body, LOOK) == "called"


def fed(watch: CallWatch, *parts: bytes) -> Verdict:
    events: list[SseEvent] = SseScanner().feed(b"".join(parts))
    return watch.feed(events)


def test_nothing_is_waited_for_once_the_call_has_begun() -> None:
    watch = CallWatch(LOOK)
    assert watch.feed([]) == "open"
    assert fed(watch, START, PING) == "open"
    begin = sse("content_block_start", index=0, content_block=text(""))
    piece = sse("content_block_delta", index=0, delta={"type": "text_delta", "text": "I see"})
    assert fed(watch, begin, piece) == "open"
    assert fed(watch, sse("content_block_start", index=1, content_block=call("look"))) == "called"
    assert fed(watch, sse("content_block_start", index=2, content_block=call("other"))) == "called"


def test_json_is_a_call_with_its_first_bracket() -> None:
    watch = CallWatch(WRAPPED)
    blank, begun = (
        sse("content_block_delta", index=0, delta={"type": "text_delta", "text": said}) for said in (" ", "{")
    )
    assert fed(watch, START, sse("content_block_start", index=0, content_block=text("")), blank) == "open"
    assert fed(watch, begun) == "called"


def test_without_a_plan_nothing_is_waited_for() -> None:
    assert CallWatch(PLAIN).feed([]) == "called"


def test_an_error_is_passed_on_and_an_end_without_a_reason_is_none() -> None:
    error = sse("error", error={"type": "overloaded_error", "message": "m"})
    assert fed(CallWatch(LOOK), START, error) == "called"
    assert fed(CallWatch(LOOK), START, sse("message_stop")) == "missing"
    assert fed(CallWatch(LOOK), START, b"event: message_delta\ndata: []\n\n", END) == "called"
