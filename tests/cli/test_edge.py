"""What a connection gets from the edge, byte by byte: who is answered, who is refused, who is left."""

import asyncio
import logging
from collections.abc import Iterable

import pytest

from gateway.cli.edge import MAX_HEAD_BYTES, MAX_HEADERS, MAX_WAITING
from tests.support.edge import DEADLINE_S, connected
from tests.support.eventually import eventually

HELLO = b"GET /hello HTTP/1.1\r\nhost: h\r\n\r\n"
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"


def cut(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


# --- another protocol is offered -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    "framed",
    [
        b"content-length: 7\r\n\r\n{12345}",
        b"transfer-encoding: chunked\r\n\r\n3\r\n{12\r\n4\r\n345}\r\n0\r\n\r\n",
    ],
)
async def test_a_request_that_offers_another_protocol_keeps_its_body(framed: bytes, size: int) -> None:
    async with connected() as (app, client):
        for data in cut(b"POST /v1/messages?a=b HTTP/1.1\r\nhost: h\r\n" + OFFER + framed, size):
            client.writer.write(data)
            await asyncio.sleep(0)
        assert (await client.answer())[::2] == (200, b"POST /v1/messages {12345}")
        names = [name for name, _ in app.scopes[0]["headers"]]
        assert (b"upgrade" in names, app.scopes[0]["query_string"]) == (False, b"a=b")


async def test_a_connection_lives_on_after_an_offer() -> None:
    posted = b"POST /a HTTP/1.1\r\n" + OFFER + b"content-length: 2\r\n\r\nhi"
    async with connected() as (_, client):
        await client.send(posted + posted + HELLO)
        assert [(await client.answer())[2] for _ in range(3)] == [b"POST /a hi"] * 2 + [b"GET /hello "]


async def test_an_offer_of_websockets_is_ignored_and_not_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with connected() as (_, client):
        await client.send(b"GET /hello HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert (await client.answer())[0] == 200
    assert [record.getMessage() for record in caplog.records] == []


async def test_a_tunnel_is_refused() -> None:
    async with connected() as (app, client):
        await client.send(b"CONNECT h:443 HTTP/1.1\r\nhost: h\r\n\r\n")
        assert await client.refusal() == (
            400, "invalid_request_error", "CONNECT is not answered here: this is no proxy",
        )  # fmt: skip
        assert app.scopes == []


# --- size ------------------------------------------------------------------------------------------------


async def test_the_largest_head_is_answered() -> None:
    head = b"GET /hello HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS - 1)
    size = MAX_HEAD_BYTES - 6 * MAX_HEADERS - 22
    async with connected() as (app, client):
        await client.send(*cut(head + b"x: " + b"x" * size + b"\r\n\r\n", 4096))
        assert (await client.answer())[0] == 200
        assert len(app.scopes[0]["headers"]) == MAX_HEADERS


@pytest.mark.parametrize(
    "head",
    [
        b"GET /hello HTTP/1.1\r\nx: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"GET /hello HTTP/1.1\r\n" + OFFER + b"a: b\r\n" * MAX_HEADERS + b"\r\n",
        b"GET /hello HTTP/1.1\r\nx: " + b"x" * (MAX_HEAD_BYTES + 1),
    ],
    ids=["header", "target", "count", "offer", "unfinished"],
)
@pytest.mark.parametrize("size", [5_000, 1_000_000])
async def test_a_larger_head_is_refused(head: bytes, size: int) -> None:
    async with connected() as (app, client):
        await client.send(*cut(head, size))
        status, kind, message = await client.refusal()
        assert (status, kind, str(MAX_HEAD_BYTES) in message) == (431, "request_too_large", True)
        assert app.scopes == []


async def test_a_client_that_goes_on_sending_still_hears_why_it_is_refused() -> None:
    async with connected() as (app, client):
        await client.send(b"GET /hello HTTP/1.1\r\nx: ", *[b"x" * 100_000] * 30)
        assert (await client.refusal())[0] == 431
        assert app.scopes == []


@pytest.mark.parametrize("between", [b"0\r\nx: ", b"1;"], ids=["trailer", "extension"])
async def test_what_is_no_body_has_a_limit_inside_bodies_too(between: bytes) -> None:
    async with connected() as (app, client):
        await client.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n" + between)
        await client.send(*[b"x" * 10_000] * 7)
        assert (await client.refusal())[0] == 431
        await asyncio.wait_for(app.gone.wait(), DEADLINE_S)


async def test_a_large_body_is_no_head() -> None:
    async with connected() as (_, client):
        size = 3 * MAX_HEAD_BYTES
        await client.send(b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size, b"x" * size, HELLO)
        assert len((await client.answer())[2]) == size + len(b"POST /a ")
        assert (await client.answer())[0] == 200


async def test_trailers_are_dropped() -> None:
    async with connected() as (app, client):
        app.answer.clear()
        await client.send(
            b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-api-key: k\r\n\r\n"
        )
        await asyncio.wait_for(app.entered.wait(), DEADLINE_S)
        app.answer.set()
        assert (await client.answer())[2] == b"POST /a hi"
        assert app.scopes[0]["headers"] == [(b"transfer-encoding", b"chunked")]


async def test_a_connection_has_so_many_requests_waiting_and_no_more() -> None:
    async with connected() as (app, client):
        app.answer.clear()
        await client.send(HELLO * (MAX_WAITING + 9))
        await asyncio.wait_for(app.entered.wait(), DEADLINE_S)
        app.answer.set()
        assert (await client.rest()).count(b"GET /hello") == MAX_WAITING + 1


# --- what is no HTTP -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET ?x HTTP/1.1\r\n\r\n",
        b"POST /a HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_the_envelope(data: bytes) -> None:
    async with connected() as (app, client):
        await client.send(data)
        status, kind, message = await client.refusal()
        assert (status, kind, "HTTP/1.1" in message) == (400, "invalid_request_error", True)
        assert app.scopes == []


async def test_a_broken_body_is_refused_and_whoever_reads_it_is_told() -> None:
    async with connected() as (app, client):
        await client.send(b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
        assert (await client.refusal())[0] == 400
        await asyncio.wait_for(app.gone.wait(), DEADLINE_S)


@pytest.mark.parametrize(
    "broken", [b"hello\r\n\r\n", b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"]
)
async def test_answers_that_were_asked_for_come_before_a_refusal(broken: bytes) -> None:
    async with connected() as (app, client):
        app.answer.clear()
        await client.send(HELLO + broken)
        await asyncio.wait_for(app.entered.wait(), DEADLINE_S)
        app.answer.set()
        assert (await client.answer())[::2] == (200, b"GET /hello ")
        if broken.startswith(b"POST"):
            assert (await client.refusal())[0] == 400
        assert await client.rest() == b""


# --- time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"G", b"GET /hello HTTP/1.1\r\nx: y\r\n"])
async def test_a_head_that_is_late_is_refused(begun: bytes) -> None:
    async with connected() as (app, client):
        await client.send(begun)
        await app.timers.set_for(30)
        app.timers.elapse(30)
        assert (await client.refusal())[:2] == (408, "timeout_error")
        assert app.scopes == []


async def test_a_head_that_goes_on_slowly_is_late_all_the_same() -> None:
    async with connected() as (app, client):
        await client.send(b"GET /hello HTTP/1.1\r\n")
        await app.timers.set_for(30)
        app.timers.elapse(29)
        await client.send(b"x: y\r\n")
        app.timers.elapse(1)
        assert (await client.refusal())[0] == 408


async def test_a_head_that_comes_in_time_is_answered_and_timed_no_more() -> None:
    async with connected() as (app, client):
        app.answer.clear()
        await client.send(HELLO[:9])
        await app.timers.set_for(30)
        app.timers.elapse(29)
        await client.send(HELLO[9:])
        await asyncio.wait_for(app.entered.wait(), DEADLINE_S)
        assert app.timers.left() == []
        app.timers.elapse(600)
        app.answer.set()
        assert (await client.answer())[0] == 200


async def test_a_connection_that_says_nothing_is_closed_silently() -> None:
    async with connected() as (app, client):
        await app.timers.set_for(75)
        app.timers.elapse(75)
        assert await client.rest() == b""


async def test_a_connection_that_says_nothing_any_more_is_closed_silently() -> None:
    async with connected() as (app, client):
        await client.send(HELLO)
        assert (await client.answer())[0] == 200
        app.timers.elapse(75)
        assert await client.rest() == b""


async def test_a_connection_that_says_nothing_that_counts_is_closed_silently() -> None:
    async with connected() as (app, client):
        await client.send(b"\r\n")
        await app.timers.set_for(30)
        app.timers.elapse(30)
        assert await client.rest() == b""


async def test_a_body_that_stops_is_refused_and_whoever_reads_it_is_told() -> None:
    async with connected() as (app, client):
        await client.send(b"POST /a HTTP/1.1\r\ncontent-length: 9\r\n\r\nhal")
        await app.timers.set_for(15)
        app.timers.elapse(59)
        assert not app.gone.is_set()
        app.timers.elapse(1)
        assert (await client.refusal())[:2] == (408, "timeout_error")
        await asyncio.wait_for(app.gone.wait(), DEADLINE_S)


async def test_a_body_that_is_slow_and_goes_on_is_read() -> None:
    async with connected() as (app, client):
        await client.send(b"POST /a HTTP/1.1\r\ncontent-length: 6\r\n\r\n")
        await app.timers.set_for(15)
        for count in range(1, 6):
            app.timers.elapse(45)
            await client.send(b"x")
            await eventually(lambda seen=count: app.received == seen, DEADLINE_S)  # type: ignore[misc]
        await client.send(b"x")
        assert (await client.answer())[2] == b"POST /a xxxxxx"
        assert app.timers.left() == [75]


async def test_time_in_which_nobody_reads_is_not_the_clients() -> None:
    async with connected() as (app, client):
        app.read.clear()
        size = 64 * MAX_HEAD_BYTES
        client.writer.write(b"POST /a HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        await app.timers.set_for(15)
        app.timers.elapse(600)
        app.read.set()
        assert (await client.answer())[0] == 200


async def test_a_client_that_waits_to_be_told_to_go_on_is_not_slow() -> None:
    async with connected() as (app, client):
        app.read.clear()
        await client.send(b"POST /a HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        await app.timers.set_for(15)
        app.timers.elapse(600)
        app.read.set()
        assert (await client.answer())[0] == 100
        await client.send(b"hi")
        assert (await client.answer())[2] == b"POST /a hi"


async def test_a_body_that_stops_after_its_answer_ends_the_connection_without_a_second_one() -> None:
    async with connected() as (app, client):
        await client.send(b"POST /early HTTP/1.1\r\ncontent-length: 9\r\n\r\nhal")
        assert (await client.answer())[2] == b"early"
        app.timers.elapse(75)
        assert await client.rest() == b""


async def test_a_client_that_stays_after_a_refusal_is_left() -> None:
    async with connected() as (app, client):
        await client.send(b"hello\r\n\r\n")
        assert (await client.refusal())[0] == 400
        assert app.timers.left() == [2]
        app.timers.elapse(2)
        with pytest.raises(ConnectionError):  # noqa: PT012 - the first byte after the end draws the reset
            while True:
                await client.send(b"x")


async def test_a_request_in_one_piece_sets_no_timer() -> None:
    async with connected() as (app, client):
        app.answer.clear()
        await client.send(b"POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi")
        await asyncio.wait_for(app.entered.wait(), DEADLINE_S)
        assert app.timers.left() == []
