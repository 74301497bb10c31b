"""A stream is restored to the same answer as a JSON body, wherever it was cut, and no other event changes."""

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import combinations, pairwise
from typing import Any

import pytest

from gateway.compat.answer.plan import AnswerPlan, ForcedCall
from gateway.compat.answer.response import restore
from gateway.compat.answer.stream import StreamRestorer
from gateway.compat.rules.prefill import intent_of
from gateway.core.sse import SseScanner
from tests.compat.answer.test_response import CALL, REDACTED, THOUGHT, answer, text
from tests.compat.answer.test_text import REPLIES, plan

Json = dict[str, Any]


def sse(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


PING = sse("ping")
START = sse("message_start", message={"id": "m", "model": "served", "content": []})
END = sse("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}) + sse(
    "message_stop"
)


PIECES = {"text": "text_delta", "thinking": "thinking_delta", "signature": "signature_delta"}


def block_events(index: int, block: Json, size: int) -> Iterable[bytes]:
    """Stream a block as the API does: an empty shell, then what it says in pieces."""
    shell = {key: "" if key in PIECES else value for key, value in block.items()}
    if block["type"] == "tool_use":
        shell["input"] = {}
    yield sse("content_block_start", index=index, content_block=shell)
    for key, kind in PIECES.items():
        said = block.get(key, "")
        for at in range(0, len(said), size):
            piece = {"type": kind, key: said[at : at + size]}
            yield sse("content_block_delta", index=index, delta=piece)
    if block["type"] == "tool_use":
        said = json.dumps(block["input"])
        for at in range(0, len(said), size):
            piece = {"type": "input_json_delta", "partial_json": said[at : at + size]}
            yield sse("content_block_delta", index=index, delta=piece)
    yield sse("content_block_stop", index=index)


def stream_of(content: Iterable[Json], size: int = 3) -> bytes:
    blocks = b"".join(b"".join(block_events(index, block, size)) for index, block in enumerate(content))
    return START + PING + blocks + END


def events(stream: bytes) -> list[tuple[str, Json]]:
    scanner = SseScanner()
    read = [(event.name, json.loads(event.data)) for event in scanner.feed(stream)]
    assert not scanner.pending
    return read


def content_of(stream: bytes) -> list[Json]:
    """Put a stream together as a client does, indices and all; a call that was cut has no input."""
    content: list[Json] = []
    inputs: dict[int, str] = {}
    for name, data in events(stream):
        if name == "content_block_start":
            assert data["index"] == len(content)
            content.append(data["content_block"])
        elif name == "content_block_delta":
            assert data["index"] == len(content) - 1
            for key in PIECES:
                if key in data["delta"]:
                    content[-1][key] = content[-1].get(key, "") + data["delta"][key]
            if "partial_json" in data["delta"]:
                inputs[data["index"]] = inputs.get(data["index"], "") + data["delta"]["partial_json"]
    for index, said in inputs.items():
        with suppress(json.JSONDecodeError):
            content[index]["input"] = json.loads(said)
    return [{key: value for key, value in block.items() if value != ""} for block in content]


def restored(stream: bytes, plan: AnswerPlan, *cuts: int) -> bytes:
    restorer = StreamRestorer(plan)
    pieces = [restorer.feed(stream[a:b]) for a, b in pairwise([0, *cuts, len(stream)])]
    return b"".join(pieces) + restorer.close()


def expected_content(content: Iterable[Json], plan: AnswerPlan) -> list[Json]:
    body = answer(*content, id="m", stop_reason="end_turn")
    blocks: list[Json] = json.loads(restore(body, plan).body)["content"]
    return [{key: value for key, value in block.items() if value != ""} for block in blocks]


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(("prefill", "said", "expected"), REPLIES)
def test_a_stream_is_restored_like_a_body(prefill: str, said: str, expected: str, size: int) -> None:
    stream = restored(stream_of([text(said), CALL], size), plan(prefill))
    first = text(expected) if expected else {"type": "text"}
    assert content_of(stream) == [first, CALL]


CONTENTS = [
    [text('{"a": 1}')],
    [text('"a": 1}')],
    [text('```json\n{"a": 1}\n```'), CALL],
    [THOUGHT, text('{"a": 1}'), CALL],
    [THOUGHT, REDACTED, text('"a": 1}'), THOUGHT, CALL],
    [THOUGHT, CALL],
    [THOUGHT],
    [CALL, text('{"a": 1}')],
    [text('{"a": 1}'), text('{"b": 2}')],
    [],
]


@pytest.mark.parametrize("content", CONTENTS)
def test_a_cut_at_any_byte_changes_nothing(content: list[Json]) -> None:
    stream, hiding = stream_of(content), plan("{", hides_thinking=True)
    whole = restored(stream, hiding)
    assert content_of(whole) == expected_content(content, hiding)
    for cut in range(len(stream) + 1):
        assert restored(stream, hiding, cut) == whole
    assert restored(stream, hiding, *range(1, len(stream))) == whole


@pytest.mark.parametrize("content", [[text('"a": 1}')], [CALL], [CALL, text('"b"')]])
def test_a_stream_with_nothing_to_restore_keeps_every_byte(content: list[Json]) -> None:
    odd = b": comment\r\n\r\nevent: unknown\r\ndata: {\r\ndata: }\r\n\r\n\n"
    stream = odd + stream_of(content).replace(b'"index": ', b'"index" :  ')
    assert restored(stream, plan("{", hides_thinking=True)) == stream


def test_an_edited_event_keeps_its_lines_and_other_values() -> None:
    restorer = StreamRestorer(plan("{"))
    begin = sse("content_block_start", index=0, content_block=text(""))
    assert restorer.feed(begin) == begin
    piece = (
        b'id: 7\r\nevent: content_block_delta\r\ndata: { "index" : 0.0,"new":1.50,'
        b'"delta":{"type":"text_delta","text":"{\\"a\\"","note" : [ 1 ]}}\r\n\r\n'
    )
    assert restorer.feed(piece) == (
        b'id: 7\r\nevent: content_block_delta\r\ndata: {"index":0.0,"new":1.50,'
        b'"delta":{"type":"text_delta","text":"\\"a\\"","note":[ 1 ]}}\r\n\r\n'
    )


def test_data_in_several_lines_can_be_edited() -> None:
    restorer = StreamRestorer(plan("{"))
    restorer.feed(sse("content_block_start", index=0, content_block=text("")))
    piece = (
        b'event: content_block_delta\ndata: {"delta": {"type": "text_delta",\n'
        b'data: "text": "{1"},\ndata: "x": [\ndata: ]}\n\n'
    )
    ((name, data),) = events(restorer.feed(piece))
    assert (name, data) == ("content_block_delta", {"delta": {"type": "text_delta", "text": "1"}, "x": []})


def test_pings_and_unknown_events_pass_at_once_while_something_is_held() -> None:
    restorer = StreamRestorer(plan("Answer:", hides_thinking=True))
    thinking = b"".join(block_events(0, THOUGHT, 9))
    assert restorer.feed(START + thinking + PING) == START + PING
    begin, piece, *_ = block_events(1, text("Answer: yes"), 5)
    ((_, data),) = events(restorer.feed(begin))
    assert (data["index"], data["content_block"]) == (0, text(""))
    unknown = sse("news", anything=True)
    assert restorer.feed(piece + PING + unknown) == PING + unknown


def test_a_text_is_given_out_as_soon_as_it_is_decided() -> None:
    restorer = StreamRestorer(plan("Answer:"))
    begin, first, second, third, *_ = block_events(0, text("Answer: yes and no"), 5)
    assert restorer.feed(begin) == begin
    assert restorer.feed(first) == b""
    ((_, data),) = events(restorer.feed(second))
    assert data["delta"]["text"] == " ye"
    assert restorer.feed(third) == third


def test_once_nothing_is_left_to_do_or_to_keep_chunks_pass_unread() -> None:
    restorer = StreamRestorer(AnswerPlan(shown_model="asked"))
    ((_, data),) = events(restorer.feed(START))
    assert data["message"]["model"] == "asked"
    assert restorer.feed(b"event: con") == b"event: con"
    assert restorer.feed(b"tent") == b"tent"
    assert restorer.close() == b""


def test_pieces_that_turn_out_to_be_no_repetition_keep_their_bytes() -> None:
    stream = stream_of([text("Answers differ.")], 2)
    assert restored(stream, plan("Answer:")) == stream


def test_a_citation_stays_behind_the_text_it_cites() -> None:
    begin, first, second, stop = block_events(0, text("Answer: yes"), 7)
    cite = sse("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {"n": 1}})
    read = events(restored(begin + first + cite + second + stop, plan("Answer: ")))
    deltas = [data["delta"]["type"] for name, data in read if name == "content_block_delta"]
    assert deltas == ["text_delta", "citations_delta"]
    read = events(restored(begin + first + cite + second + stop, plan("Answer: no")))
    deltas = [data["delta"]["type"] for name, data in read if name == "content_block_delta"]
    assert deltas == ["text_delta", "citations_delta", "text_delta"]


@pytest.mark.parametrize("said", ["Answer", "[1, 2]"])
def test_an_error_event_comes_behind_what_was_held(said: str) -> None:
    error = sse("error", error={"type": "overloaded_error", "message": "Overloaded"})
    begin, *pieces, _stop = block_events(0, text(said), 2)
    prefill = "[" if said[0] == "[" else "Answer:"
    stream = restored(START + begin + b"".join(pieces) + error, AnswerPlan(prefill, intent_of(prefill)))
    assert stream.endswith(error)
    assert content_of(stream) == [text(said.removeprefix("["))]


def test_hidden_thinking_stays_hidden_where_the_stream_fails() -> None:
    error = sse("error", error={"type": "overloaded_error", "message": "Overloaded"})
    stream = START + b"".join(block_events(0, THOUGHT, 9)) + error
    restorer = StreamRestorer(plan("{", hides_thinking=True))
    assert restorer.feed(stream) + restorer.close() == START + error
    assert restorer.kept is None


@pytest.mark.parametrize("content", [[THOUGHT, text("Ans")], [THOUGHT], [text("Answer")]])
def test_a_cut_stream_gives_out_what_was_held(content: list[Json]) -> None:
    whole, hiding = stream_of(content), plan("Answer:", hides_thinking=True)
    cut = whole[: whole.rindex(b"event: content_block_stop")]
    kept = expected_content(content, hiding)
    assert content_of(restored(cut, hiding)) == kept
    assert restored(cut + b"event: mess", hiding).endswith(b"event: mess")


def test_events_that_are_no_json_pass() -> None:
    stream = b"event: content_block_start\ndata: {\n\nevent: content_block_delta\ndata: []\n\n" + stream_of(
        [text("1")]
    )
    assert restored(stream, plan("{", hides_thinking=True)) == stream


def bare(said: str) -> bytes:
    """A stream of two pieces, in as few bytes as may be."""
    blocks = [{"content_block": text("")}]
    blocks += [{"delta": {"type": "text_delta", "text": each}} for each in (said[:2], said[2:])]
    names = ("start", "delta", "delta")
    return b"".join(
        f"event: content_block_{name}\ndata: {json.dumps(data)}\n\n".encode()
        for name, data in zip(names, blocks, strict=True)
    )


@pytest.mark.parametrize(("prefill", "said", "expected"), REPLIES)
def test_a_cut_anywhere_in_any_reply_changes_nothing(prefill: str, said: str, expected: str) -> None:
    stream = bare(said)
    pieces = [
        data["delta"]["text"] for name, data in events(restored(stream, plan(prefill))) if "delta" in data
    ]
    assert "".join(pieces) == expected
    whole = restored(stream, plan(prefill))
    for cut in range(1, len(stream)):
        assert restored(stream, plan(prefill), cut) == whole


NOTE: Json = {"type": "thinking", "thinking": "Looking.", "signature": "sig"}
CONTRACTS = [
    (AnswerPlan(forced=ForcedCall("n")), [text("I see."), THOUGHT, CALL]),
    (AnswerPlan(forced=ForcedCall("n"), hides_thinking=True), [THOUGHT, text("I see.")]),
    (AnswerPlan(forced=ForcedCall("n", wrapped=True)), [THOUGHT, text(' {"a": [1, "\u2603"]}')]),
    (AnswerPlan(forced=ForcedCall("n", wrapped=True)), [text("I cannot.")]),
    (AnswerPlan(hides_thinking=True, shows_notes=True), [THOUGHT, NOTE, CALL, NOTE, CALL]),
    (AnswerPlan(shows_notes=True, tool_names=(("n", "own"),)), [THOUGHT, NOTE, CALL]),
    (AnswerPlan(classic_stops=True, shown_model="asked"), [text("yes")]),
]


@pytest.mark.parametrize(("plan", "content"), CONTRACTS)
def test_a_cut_anywhere_in_any_contract_changes_nothing(plan: AnswerPlan, content: list[Json]) -> None:
    stream = stream_of(content, 8)
    whole = restored(stream, plan)
    assert content_of(whole) == expected_content(content, plan)
    for cut in range(1, len(stream)):
        assert restored(stream, plan, cut) == whole


@pytest.mark.parametrize(("prefill", "said"), [("{", '{"a"'), ("Answer:", "Answer")])
def test_two_cuts_anywhere_change_nothing(prefill: str, said: str) -> None:
    stream = bare(said)
    expected = restored(stream, plan(prefill))
    for first, second in combinations(range(len(stream) + 1), 2):
        assert restored(stream, plan(prefill), first, second) == expected
