"""A JSON answer gets the shape that the application expects, and nothing else of it changes."""

import json
from typing import Any

import pytest

from gateway.compat.answer.response import restore
from tests.compat.answer.test_text import REPLIES, plan


def answer(*content: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps(
        {"type": "message", "content": content, "usage": {"output_tokens": 3}, **fields}
    ).encode()


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


THOUGHT = {"type": "thinking", "thinking": "", "signature": "s"}
REDACTED = {"type": "redacted_thinking", "data": "d"}
CALL = {"type": "tool_use", "id": "t", "name": "n", "input": {}}


@pytest.mark.parametrize(("prefill", "said", "expected"), REPLIES)
def test_a_reply_becomes_a_continuation(prefill: str, said: str, expected: str) -> None:
    body = restore(answer(text(said)), plan(prefill)).body
    assert json.loads(body)["content"] == [text(expected)]


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'{"type":"error","error":{"type":"api_error","message":"m"}}',
        b'{"content": "text"}',
        b'{"content": [7, null]}',
        b'{"content": [{"type": "text"}]}',
        b'{"content": [{"type": "text", "text": 5}]}',
        answer(),
        answer(text("goes on")),
        answer(CALL),
        answer(CALL, text("goes on")),
    ],
)
def test_where_nothing_is_to_be_done_the_same_bytes_are_returned(body: bytes) -> None:
    assert restore(body, plan("{", hides_thinking=True)).body is body


def test_every_other_value_of_an_answer_keeps_its_bytes() -> None:
    body = (
        b'{ "id":"m\\u0031", "model" : "claude-opus-5-5","content" : [ {"type":"text", "citations" : [ 1.0 ],'
        b' "text":"{\\"a\\":1}"} , {"type" : "tool_use","input":{"n":1.50e1}} ],\n'
        b' "usage":{"output_tokens": 3.0} }'
    )
    assert restore(body, plan("{")).body == (
        b'{"id":"m\\u0031","model":"claude-opus-5-5","content":[{"type":"text","citations":[ 1.0 ],'
        b'"text":"\\"a\\":1}"},{"type" : "tool_use","input":{"n":1.50e1}}],"usage":{"output_tokens": 3.0}}'
    )


def test_only_the_first_text_is_restored() -> None:
    body = restore(answer(text('{"a": 1}'), text('{"b": 2}')), plan("{")).body
    assert json.loads(body)["content"] == [text('"a": 1}'), text('{"b": 2}')]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ([THOUGHT, text("yes")], [text("yes")]),
        ([THOUGHT, REDACTED, text("yes"), CALL], [text("yes"), CALL]),
        ([text("yes"), THOUGHT, CALL], [text("yes"), CALL]),
        ([THOUGHT, text("yes"), THOUGHT, CALL], [text("yes"), CALL]),
        ([THOUGHT, CALL], [CALL]),
        ([THOUGHT, CALL, text("yes")], [CALL, text("yes")]),
        ([THOUGHT], []),
    ],
)
def test_every_block_of_thinking_that_nobody_asked_for_is_hidden(
    content: list[Any], shown: list[Any]
) -> None:
    assert json.loads(restore(answer(*content), plan("A", hides_thinking=True)).body)["content"] == shown


def test_thinking_is_shown_where_the_plan_does_not_hide_it() -> None:
    body = restore(answer(THOUGHT, text('{"a": 1}')), plan("{")).body
    assert json.loads(body)["content"] == [THOUGHT, text('"a": 1}')]


@pytest.mark.parametrize("reply", ['{"a": [1, {"b": "}"}], "c": null}', '"a": [1, {"b": "}"}], "c": null}'])
def test_a_brace_and_the_answer_parse_whether_or_not_the_model_repeats_it(reply: str) -> None:
    (block,) = json.loads(restore(answer(text(reply)), plan("{")).body)["content"]
    assert json.loads("{" + block["text"]) == {"a": [1, {"b": "}"}], "c": None}
