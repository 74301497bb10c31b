"""A stream is restored to the same answer as a JSON body, wherever it was cut, and no other event changes."""

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.compat.answer.kept import Kept
from gateway.compat.answer.plan import AnswerPlan, ForcedCall
from gateway.compat.answer.response import restore
from gateway.compat.answer.shape import is_object
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
    assert scanner.at_boundary
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
    blocks: list[Json] = json.loads(restore(answer(*content), plan).body)["content"]
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


# --- any answer, any plan ---------------------------------------------------------------------------------

TEXTS = st.lists(
    st.sampled_from(
        ["{", "}", '"a"', ": 1", "[", "]", ",", " ", "\n", "```json\n", "```", "Answer:", "yes", "☃"]
    ),
    max_size=6,
).map("".join)
BLOCKS = st.one_of(
    TEXTS.map(text),
    st.builds(lambda said: {"type": "thinking", "thinking": said, "signature": "sig"}, TEXTS),
    st.just(REDACTED),
    st.builds(
        lambda name, number: {"type": "tool_use", "id": f"t{number}", "name": name, "input": {"n": number}},
        st.sampled_from(["look", "listen"]),
        st.integers(0, 3),
    ),
    st.just({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
    st.just({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
    st.just({"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}),
)
STOPS = st.sampled_from(
    ["end_turn", "tool_use", "max_tokens", "refusal", "pause_turn", "model_context_window_exceeded"]
)
PREFILLS = st.sampled_from(["", "{", "[", '{"a"', "Answer:", "```json\n", "yes "])
PLANS = st.builds(
    lambda prefill, forced, **rest: AnswerPlan(
        prefill="" if forced is not None and forced.wrapped else prefill,
        intent=intent_of(prefill),
        forced=forced,
        **rest,
    ),
    PREFILLS,
    st.sampled_from([None, ForcedCall(), ForcedCall("look"), ForcedCall("look", wrapped=True)]),
    hides_thinking=st.booleans(),
    shows_notes=st.booleans(),
    continued=st.booleans(),
    quoted=st.sampled_from(["", "yes"]),
    tool_names=st.sampled_from([(), (("look", "see"),)]),
    classic_stops=st.booleans(),
    shown_model=st.sampled_from(["", "asked"]),
    repeats=st.booleans(),
)


def stopping(content: list[Json], stop: str, size: int) -> bytes:
    return stream_of(content, size).replace(b'"end_turn"', json.dumps(stop).encode())


def kept_as_json(kept: Kept | None) -> Any:
    if kept is None:
        return None
    shown = [json.loads(bytes(raw)) for raw in kept.shown]
    hidden = [(at, json.loads(bytes(raw))) for at, raw in kept.hidden]
    content = json.loads(bytes(kept.content)) if kept.content is not None else None
    return (shown, kept.stop_reason, kept.prefill, kept.continued, hidden, content, kept.call)


def read_stream(stream: bytes) -> tuple[list[Json], str, str]:
    told = dict(events(stream))
    return (
        content_of(stream),
        told["message_start"]["message"]["model"],
        told["message_delta"]["delta"]["stop_reason"],
    )


@settings(max_examples=500)
@given(st.lists(BLOCKS, max_size=5), PLANS, STOPS, st.integers(1, 9))
def test_a_stream_and_a_body_are_restored_alike(
    content: list[Json], plan: AnswerPlan, stop: str, size: int
) -> None:
    if plan.forced is not None and plan.forced.wrapped and stop in ("end_turn", "tool_use"):
        # A structured output that came to its end is an object.
        said = "".join(block["text"] for block in content if block["type"] == "text")
        assume(not said.lstrip().startswith("{") or is_object(said))
    body = answer(*content, id="m", model="served", stop_reason=stop)
    whole = restore(body, plan)
    message = json.loads(whole.body)
    restorer = StreamRestorer(plan)
    stream = restorer.feed(stopping(content, stop, size)) + restorer.close()
    blocks = [{key: value for key, value in block.items() if value != ""} for block in message["content"]]
    assert read_stream(stream) == (blocks, message["model"], message["stop_reason"])
    assert kept_as_json(restorer.kept) == kept_as_json(whole.kept)


@settings(max_examples=200)
@given(st.lists(BLOCKS, max_size=4), PLANS, STOPS, st.data())
def test_any_plan_over_any_cut_gives_the_same_stream(
    content: list[Json], plan: AnswerPlan, stop: str, data: st.DataObject
) -> None:
    stream = PING + stopping(content, stop, 2)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=3)))
    whole = restored(stream, plan)
    assert restored(stream, plan, *cuts) == whole
    assert restored(stream, plan, *range(1, len(stream))) == whole


@settings(max_examples=200)
@given(st.lists(BLOCKS, max_size=4), PLANS, st.integers(1, 4))
def test_no_other_event_is_lost_or_changed(content: list[Json], plan: AnswerPlan, size: int) -> None:
    unknown = b': comment\n\nevent: news\ndata: {"a" : 1.0}\n\n'
    pieces = SseScanner().feed(stream_of(content, size))
    stream = b"".join(piece.raw + PING + unknown for piece in pieces)
    out = restored(stream, plan)
    assert out.count(PING) == stream.count(PING)
    assert out.count(unknown) == len(pieces)
    assert [data["usage"] for name, data in told(out) if name == "message_delta"] == [{"output_tokens": 3}]


def told(stream: bytes) -> list[tuple[str, Json]]:
    return [(one.name, json.loads(one.data)) for one in SseScanner().feed(stream) if one.data]


@pytest.mark.parametrize(("prefill", "said"), [("{", '{"a"'), ("Answer:", "Answer")])
def test_two_cuts_anywhere_change_nothing(prefill: str, said: str) -> None:
    def bare(name: str, **data: Any) -> bytes:
        return f"event: content_block_{name}\ndata: {json.dumps(data)}\n\n".encode()

    pieces = [bare("delta", delta={"type": "text_delta", "text": each}) for each in (said[:2], said[2:])]
    stream = bare("start", content_block=text("")) + b"".join(pieces)
    expected = restored(stream, plan(prefill))
    for first, second in combinations(range(len(stream) + 1), 2):
        assert restored(stream, plan(prefill), first, second) == expected
