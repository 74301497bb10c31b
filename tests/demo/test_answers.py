"""An answer is read as the application reads it, and what the application stumbles over has a name."""

import json
from typing import Any

import pytest

from gateway.core.sse import SseScanner
from gateway.demo.answers import Message, StreamReader, complaint, from_json
from gateway.demo.apps import Conversation, Expectation, Template


def stream(*events: dict[str, Any]) -> Message:
    reader, scanner = StreamReader(), SseScanner()
    for event in events:
        reader.take(scanner.feed(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()))
    return reader.message


def start(block: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(part: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": part}


def stop(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


BEGIN = {"type": "message_start", "message": {"usage": {"input_tokens": 12, "output_tokens": 1}}}
END = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]


def test_a_json_message_is_taken_whole() -> None:
    body = {
        "type": "message",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3},
    }
    message = from_json(json.dumps(body).encode())
    assert (message.whole, message.error, message.content) == (True, None, body["content"])
    assert message.usage.input_tokens == 3


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<html>", "no JSON"),
        (b'{"type": "error", "error": {"type": "overloaded_error"}}', "overloaded_error"),
        (b"[]", "neither a message nor an error"),
    ],
)
def test_what_is_no_message_is_an_error(body: bytes, error: str) -> None:
    message = from_json(body)
    assert (message.whole, message.error) == (False, error)


def test_a_stream_is_put_together() -> None:
    message = stream(
        BEGIN,
        start({"type": "thinking", "thinking": "", "signature": ""}),
        delta({"type": "thinking_delta", "thinking": "Hm."}),
        delta({"type": "signature_delta", "signature": "sig"}),
        stop(),
        {"type": "ping"},
        start({"type": "text", "text": ""}, 1),
        delta({"type": "text_delta", "text": "Good "}, 1),
        delta({"type": "text_delta", "text": "day"}, 1),
        stop(1),
        start({"type": "tool_use", "id": "t", "name": "Read", "input": {}}, 2),
        delta({"type": "input_json_delta", "partial_json": '{"pa'}, 2),
        delta({"type": "input_json_delta", "partial_json": 'th": "a"}'}, 2),
        stop(2),
        *END,
    )
    assert message.content == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": "Good day"},
        {"type": "tool_use", "id": "t", "name": "Read", "input": {"path": "a"}},
    ]
    assert (message.whole, message.stop_reason) == (True, "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 7)


def asked(expects: Expectation, prefill: str = "{") -> Conversation:
    body = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": prefill}]}
    return Conversation(Template("app", "name", body, expects), user="u", number=0, model="m")


def whole(*content: dict[str, Any], stop_reason: str = "end_turn") -> Message:
    return Message(list(content), stop_reason=stop_reason, whole=True)


TEXT = {"type": "text", "text": "Good day"}
CALL = {"type": "tool_use", "id": "t", "name": "Read", "input": {}}


@pytest.mark.parametrize(
    ("expects", "message"),
    [
        ("answer", whole(TEXT)),
        ("answer", whole(CALL)),
        ("tool", whole(TEXT, CALL)),
        ("json", whole({"type": "text", "text": '"a": 1}'})),
        ("json", whole({"type": "thinking", "thinking": ""}, {"type": "text", "text": '\n"a": 1}'})),
        ("answer", whole(stop_reason="refusal")),
    ],
)
def test_what_an_application_can_use_is_no_complaint(expects: Expectation, message: Message) -> None:
    assert complaint(asked(expects), 200, message) is None


@pytest.mark.parametrize(
    ("expects", "status", "message", "words"),
    [
        ("answer", 529, Message(error="overloaded_error"), "HTTP 529 overloaded_error"),
        ("answer", 0, Message(error="ConnectError"), "HTTP 0 ConnectError"),
        (
            "answer",
            200,
            stream(BEGIN, {"type": "error", "error": {"type": "api_error"}}),
            "ended with api_error",
        ),
        ("answer", 200, stream(BEGIN, start(TEXT)), "cut short"),
        ("answer", 200, whole(), "empty"),
        ("answer", 200, whole({"type": "text", "text": " \n"}), "empty"),
        ("answer", 200, whole({"type": "thinking", "thinking": "Hm."}), "empty"),
        ("tool", 200, whole(TEXT), "not called"),
        ("json", 200, whole(TEXT), "no JSON"),
        ("json", 200, whole({"type": "text", "text": '{"a": 1}'}), "no JSON"),
        ("json", 200, whole({"type": "text", "text": "}"}), "record was empty"),
    ],
)
def test_what_an_application_stumbles_over_is_named(
    expects: Expectation, status: int, message: Message, words: str
) -> None:
    said = complaint(asked(expects), status, message)
    assert said is not None
    assert words in said
