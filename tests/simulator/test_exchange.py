import asyncio

import pytest

from gateway.simulator.exchange import Disconnected, Exchange, Message, NoAnswer
from gateway.simulator.journal import Entry
from gateway.simulator.rules.case import ApiError

GONE: Message = {"type": "http.disconnect"}


class Wire:
    """The server's side of one request: gives out the scripted messages, then waits; keeps what is sent."""

    def __init__(self, *script: Message) -> None:
        self.script = list(script)
        self.sent: list[Message] = []
        self.more = asyncio.Event()
        self.entry = Entry(1, 0.0, "POST", "/v1/messages", "")
        self.entry.headers = [("a", "1"), ("b", "2"), ("a", "3")]
        scope = {"method": "POST", "path": "/v1/messages", "query_string": b"", "client": ("127.0.0.1", 5)}
        self.exchange = Exchange(scope, self.receive, self.send, self.entry)

    async def receive(self) -> Message:
        while not self.script:
            self.more.clear()
            await self.more.wait()
        return self.script.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self.script.append(GONE)
        self.more.set()


def part(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_body_arrives_in_parts_and_is_kept() -> None:
    wire = Wire(part(b"ab", more=True), part(b"", more=True), part(b"cd"))
    assert await wire.exchange.body(10) == b"abcd"
    assert (wire.entry.body, wire.entry.body_bytes) == (b"abcd", 4)


async def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        await Wire(part(b"abc", more=True), part(b"def")).exchange.body(5)
    assert (caught.value.status, caught.value.kind) == (413, "request_too_large")


async def test_a_client_that_leaves_within_its_body_is_noted() -> None:
    wire = Wire(part(b"ab", more=True), GONE)
    with pytest.raises(Disconnected):
        await wire.exchange.body(10)
    assert wire.entry.hung_up


async def test_the_first_value_of_a_header_counts() -> None:
    assert Wire().exchange.header == {"a": "1", "b": "2"}


async def test_an_answer_has_the_standard_headers_and_a_length() -> None:
    wire = Wire()
    wire.exchange.standard = [(b"request-id", b"r")]
    await wire.exchange.answer_json({"a": 1}, 201, [("x", "y")])
    assert wire.sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [
                (b"request-id", b"r"),
                (b"content-type", b"application/json"),
                (b"x", b"y"),
                (b"content-length", b"7"),
            ],
        },
        {"type": "http.response.body", "body": b'{"a":1}', "more_body": False},
    ]
    assert wire.entry.status == 201


async def test_an_error_is_an_envelope_unless_an_answer_has_begun() -> None:
    wire = Wire()
    wire.exchange.request_id = "req_1"
    await wire.exchange.fail(ApiError(429, "Slow down.", headers=(("retry-after", "1"),)))
    assert wire.sent[1]["body"] == (
        b'{"type":"error","error":{"type":"rate_limit_error","message":"Slow down."},"request_id":"req_1"}'
    )
    assert (b"retry-after", b"1") in wire.sent[0]["headers"]
    await wire.exchange.fail(ApiError(500, "Too late."))
    assert len(wire.sent) == 2


async def test_a_pause_ends_by_itself_or_when_the_client_leaves() -> None:
    wire = Wire()
    await wire.exchange.pause(0.002)
    assert not wire.entry.hung_up
    wire.leave()
    with pytest.raises(Disconnected):
        await wire.exchange.pause(60)
    assert wire.entry.hung_up


async def test_short_pauses_are_saved_up() -> None:
    wire = Wire(GONE)
    for _ in range(4):
        await wire.exchange.pause(0.0001)
    with pytest.raises(Disconnected):
        await wire.exchange.pause(0.0001)


async def test_no_pause_at_all_is_none() -> None:
    wire = Wire(GONE)
    for _ in range(1000):
        await wire.exchange.pause(0.0)
    assert not wire.entry.hung_up


async def test_waiting_for_the_client_to_leave() -> None:
    wire = Wire(part(b"stray"), GONE)
    with pytest.raises(Disconnected):
        await wire.exchange.until_left()


async def test_a_server_that_cannot_hang_up_is_told_so() -> None:
    with pytest.raises(NoAnswer):
        await Wire().exchange.hang_up()
