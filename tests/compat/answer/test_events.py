"""An event is read where it can be, and edited in the lines that it came in."""

import json

import pytest

from gateway.compat.answer.events import edited, kind, part, read_data, with_part
from gateway.compat.envelope import encode
from gateway.core.sse import SseEvent, SseScanner


def event(raw: bytes) -> SseEvent:
    (only,) = SseScanner().feed(raw)
    return only


PIECE = b'id: 7\r\nevent: content_block_delta\r\ndata: { "index" : 0.0,"delta":{"type":"text_delta"}}\r\n\r\n'


def test_other_lines_and_values_keep_their_bytes() -> None:
    changed = edited(event(PIECE), read_data(event(PIECE)) | {"index": encode(1)})
    assert changed.raw == (
        b'id: 7\r\nevent: content_block_delta\r\ndata: {"index":1,"delta":{"type":"text_delta"}}\r\n\r\n'
    )
    assert changed.data in changed.raw


def test_data_in_several_lines_becomes_one() -> None:
    split = event(b'event: ping\ndata: {"a": [\ndata: 1]}\n\n')
    changed = edited(split, read_data(split) | {"b": encode(2)})
    assert changed.raw.startswith(b"event: ping\ndata: ")
    assert json.loads(changed.data) == {"a": [1], "b": 2}
    assert event(changed.raw) == changed


def test_an_object_inside_is_put_in_its_place() -> None:
    changed = with_part(event(PIECE), "delta", {"type": encode("other")})
    assert json.loads(changed.data) == {"index": 0.0, "delta": {"type": "other"}}


def test_an_event_s_kind_is_that_of_its_block_or_piece() -> None:
    start = event(b'event: content_block_start\ndata: {"content_block": {"type": "thinking"}}\n\n')
    assert (kind(start), kind(event(PIECE))) == ("thinking", "text_delta")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"delta": 5}', b'{"delta": {"type": 1}}'])
def test_what_cannot_be_read_is_nothing(data: bytes) -> None:
    odd = event(b"event: content_block_delta\ndata: " + data + b"\n\n")
    assert kind(odd) == ""
    assert part(odd, "other") == {}
