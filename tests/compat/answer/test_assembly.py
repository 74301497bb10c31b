"""A stream is put together into the blocks that the API would take back."""

import json
from typing import Any

import pytest

from gateway.compat.answer.assembly import Assembly
from gateway.core.sse import SseScanner
from tests.compat.answer.test_response import CALL, REDACTED, THOUGHT, text
from tests.compat.answer.test_stream import END, PING, START, block_events, sse, stream_of

Json = dict[str, Any]


def assembled(stream: bytes) -> Assembly:
    assembly = Assembly()
    for event in SseScanner().feed(stream):
        assembly.take(event)
    return assembly


def blocks(assembly: Assembly) -> list[Json]:
    return [json.loads(bytes(raw)) for raw in assembly.blocks]


NESTED: Json = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": [1.5, {"b": "\u2603"}]}}
SUMMED: Json = {"type": "thinking", "thinking": "I think.", "signature": "EqQB" * 9}


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_every_block_is_the_one_that_was_sent(size: int) -> None:
    content = [THOUGHT, SUMMED, REDACTED, text("Hello \u2603"), CALL, NESTED, text("")]
    assembly = assembled(stream_of(content, size))
    assert blocks(assembly) == content
    assert assembly.stop_reason == "end_turn"
    assert not assembly.broken


def test_a_call_s_input_keeps_its_bytes() -> None:
    begin = sse("content_block_start", index=0, content_block=CALL)
    piece = sse(
        "content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"n" : 1.50}'}
    )
    assembly = assembled(begin + piece + sse("content_block_stop", index=0))
    assert b'"input":{"n" : 1.50}' in bytes(assembly.blocks[0])


def test_citations_are_put_behind_their_text() -> None:
    begin, piece, stop = block_events(0, text("so"), 9)
    cite = sse("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"n": 1}})
    (block,) = blocks(assembled(begin + piece + cite + cite + stop))
    assert block == {"type": "text", "text": "so", "citations": [{"n": 1}, {"n": 1}]}


def test_a_call_that_was_cut_has_the_input_it_began_with() -> None:
    begin, piece, *_ = block_events(0, NESTED, 5)
    (block,) = blocks(assembled(begin + piece + sse("content_block_stop", index=0)))
    assert block["input"] == {}


@pytest.mark.parametrize(
    "odd",
    [
        sse("error", error={"type": "overloaded_error", "message": "m"}),
        sse("content_block_delta", index=0, delta={"type": "new_delta"}),
        sse("content_block_delta", index=0, delta={"type": "text_delta", "text": 5}),
        sse("content_block_start", index=0, content_block=5),
        b"event: content_block_delta\ndata: {\n\n",
    ],
)
def test_what_cannot_be_put_together_is_said_to_be_broken(odd: bytes) -> None:
    begin, *_ = block_events(0, text("so"), 9)
    assert assembled(START + begin + odd + END).broken


def test_a_stream_that_was_cut_has_no_end() -> None:
    assert assembled(START + PING + b"".join(block_events(0, text("so"), 9))).stop_reason == ""
