"""The scanner finds the same events wherever the stream was cut, and loses no byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sse import SseEvent, SseScanner

STREAM = (
    b'event: message_start\ndata: {"type":"message_start"}\n\n'
    b": keep-alive\n\n"
    b'event: ping\r\ndata: {"type": "ping"}\r\n\r\n'
    b"\n"
    b"id: 7\nevent:content_block_delta\ndata:one\ndata: two\ndata:  three\n\n"
    b"data\n\n"
    b"event: m\xc3\xbcd\ndata: \xe2\x98\x83\n\n"
)
EVENTS = [
    ("message_start", b'{"type":"message_start"}'),
    ("", b""),
    ("ping", b'{"type": "ping"}'),
    ("", b""),
    ("content_block_delta", b"one\ntwo\n three"),
    ("", b""),
    ("müd", "☃".encode()),
]


def scan(chunks: list[bytes]) -> tuple[list[SseEvent], SseScanner]:
    scanner = SseScanner()
    return [event for chunk in chunks for event in scanner.feed(chunk)], scanner


def test_a_stream_is_read_event_by_event() -> None:
    events, scanner = scan([STREAM])
    assert [(event.name, event.data) for event in events] == EVENTS
    assert b"".join(event.raw for event in events) == STREAM
    assert scanner.pending == b""


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_at_any_byte_changes_nothing(cut: int) -> None:
    assert scan([STREAM[:cut], STREAM[cut:]])[0] == scan([STREAM])[0]


def test_single_bytes_change_nothing() -> None:
    assert scan([bytes([byte]) for byte in STREAM])[0] == scan([STREAM])[0]


def test_an_event_is_given_out_with_its_last_byte() -> None:
    scanner = SseScanner()
    assert scanner.feed(b"event: ping\ndata: {}\n") == []
    assert scanner.pending == b"event: ping\ndata: {}\n"
    assert scanner.feed(b"\nevent") == [SseEvent("ping", b"{}", b"event: ping\ndata: {}\n\n")]
    assert scanner.pending == b"event"


def test_a_byte_order_mark_hides_no_field() -> None:
    (event,), _ = scan([b"\xef\xbb\xbfevent: ping\ndata: {}\n\n"])
    assert event.name == "ping"
    assert event.raw.startswith(b"\xef\xbb\xbf")


def test_an_unfinished_event_at_the_end_stays_pending() -> None:
    events, scanner = scan([b"data: a\n\ndata: cut"])
    assert [event.data for event in events] == [b"a"]
    assert scanner.pending == b"data: cut"


@given(
    st.lists(
        st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b"event: e", b":", b" ", b"\xff"]) | st.binary()
    )
)
def test_no_byte_is_added_or_lost(chunks: list[bytes]) -> None:
    events, scanner = scan(chunks)
    assert b"".join(event.raw for event in events) + scanner.pending == b"".join(chunks)
    assert events == scan([b"".join(chunks)])[0]


def test_many_small_chunks_of_a_long_event_are_not_searched_again_and_again() -> None:
    scanner = SseScanner()
    for _ in range(20_000):
        assert scanner.feed(b"data: 0123456789\n") == []
    (event,) = scanner.feed(b"\n")
    assert len(event.raw) == 20_000 * 17 + 1
