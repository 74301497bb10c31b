"""Which conversations the upstream holds, and under which name."""

import json
from typing import Any

import pytest

from gateway.compat.envelope import Envelope, parse
from gateway.compat.thread import continued, id_in, id_of, is_anothers, leaves_thread
from gateway.core.sse import SseScanner


def asked(**fields: Any) -> Envelope:
    return parse(json.dumps({"model": "m", "messages": [], **fields}).encode())


@pytest.mark.parametrize(
    ("thread", "leaves", "previous"),
    [
        ({"type": "create"}, True, None),
        ({"type": "create", "previous_message_id": None, "later": 1}, True, None),
        ({"type": "continue", "previous_message_id": "msg_1"}, True, "msg_1"),
        ({"type": "continue"}, True, ""),
        ({"type": 5}, False, None),
        ("create", False, None),
        (None, False, None),
    ],
)
def test_a_thread_is_begun_or_continued_by_what_the_request_says(
    thread: Any, leaves: bool, previous: str | None
) -> None:
    envelope = asked(thread=thread)
    assert (leaves_thread(envelope), continued(envelope)) == (leaves, previous)


def test_without_the_field_there_is_none() -> None:
    assert not leaves_thread(asked())
    assert continued(asked()) is None


@pytest.mark.parametrize(
    ("body", "expected"), [(b'{"id":"msg_1","type":"message"}', "msg_1"), (b'{"id":5}', ""), (b"<html>", "")]
)
def test_an_answer_has_an_id_or_none(body: bytes, expected: str) -> None:
    assert id_of(body) == expected


def test_a_stream_names_its_answer_in_its_first_event() -> None:
    stream = (
        b'event: ping\ndata: {"message":{"id":"no"}}\n\n'
        b'event: message_start\ndata: {"message":{"id":"msg_1"}}\n\nevent: message_start\ndata: {}\n\n'
    )
    assert [id_in(event) for event in SseScanner().feed(stream)] == ["", "msg_1", ""]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"details": {"error_code": "thread_fingerprint_mismatch"}}, True),
        ({"details": {"error_code": "thread_not_found"}}, False),
        ({"details": None}, False),
        ({"details": 5}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_error_may_say_that_the_thread_is_another_model_s(error: Any, expected: bool) -> None:
    assert is_anothers(json.dumps({"type": "error", "error": error}).encode()) is expected


def test_what_is_no_error_says_nothing() -> None:
    assert not is_anothers(b"")
    assert not is_anothers(b'{"id":"msg_1"}')
