"""The data path's HTTP client against an upstream that says exact bytes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.errors import ConfigError, ConnectFailed, UpstreamBroken, UpstreamTimeout
from gateway.proxy.transport.wire import Origin
from tests.support.scripted import Request, answer, replying, scripted_upstream
from tests.support.wires import get, hung_up, others_run, post, wire_to


@pytest.fixture(autouse=True)
async def _wires() -> AsyncIterator[None]:
    async with hung_up():
        yield


async def test_a_request_arrives_with_its_path_query_headers_and_length() -> None:
    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        wire = wire_to(upstream.url + "/prefix/")
        exchange = await post(wire, b'{"a":1}')
        assert await exchange.read_all(100) == b"{}"
        request = upstream.requests[0]
        assert request.line == b"POST /prefix/v1/messages?beta=true HTTP/1.1"
        assert (b"x-odd", b"caf\xe9") in request.headers
        assert (b"content-length", b"7") in request.headers
        assert request.body == b'{"a":1}'


async def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        wire = wire_to(upstream.url)
        for _ in range(3):
            exchange = await get(wire)
            await exchange.read_all(100)
        assert (upstream.connections, wire.opened) == (1, 1)


async def test_a_connection_is_not_used_again_while_an_answer_is_unread() -> None:
    async with scripted_upstream(replying(answer(b"x" * 10))) as upstream:
        wire = wire_to(upstream.url)
        first = await get(wire)
        second = await get(wire)
        assert await first.read_all(100) == await second.read_all(100)
        assert upstream.connections == 2


async def test_closing_an_unread_answer_hangs_up_and_a_second_close_is_harmless() -> None:
    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()

    async with scripted_upstream(endless) as upstream:
        wire = wire_to(upstream.url)
        exchange = await get(wire)
        assert await exchange.read() == b"abc"
        exchange.close()
        exchange.close()
        assert await exchange.read() == b""
        async with asyncio.timeout(2):
            await upstream.hung_up.wait()


async def test_a_stale_connection_is_replaced_without_the_caller_noticing() -> None:
    async def once(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.connection == 1 and len(upstream.requests) > 1:
            writer.close()
            return
        writer.write(answer(b"%d" % request.connection))
        await writer.drain()

    async with scripted_upstream(once) as upstream:
        wire = wire_to(upstream.url)
        assert await (await post(wire, b"{}")).read_all(100) == b"1"
        assert await (await post(wire, b"{}")).read_all(100) == b"2"


async def test_a_fresh_connection_that_ends_without_an_answer_is_broken_and_not_retried() -> None:
    async def slam(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with scripted_upstream(slam) as upstream:
        with pytest.raises(UpstreamBroken, match="without an answer"):
            await post(wire_to(upstream.url), b"{}")
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_an_answer_that_is_cut_short_says_so(raw: bytes) -> None:
    async def cut(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        writer.close()

    async with scripted_upstream(cut) as upstream:
        exchange = await get(wire_to(upstream.url))
        with pytest.raises(UpstreamBroken, match="inside an answer"):
            await exchange.read_all(100)


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def until_close(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        writer.close()

    async with scripted_upstream(until_close) as upstream:
        assert await (await get(wire_to(upstream.url))).read_all(100) == b"abc"


async def test_bytes_that_are_not_http_are_a_broken_upstream() -> None:
    async with scripted_upstream(replying(b"SSH-2.0-nope\r\n\r\n")) as upstream:
        with pytest.raises(UpstreamBroken):
            await get(wire_to(upstream.url))


async def test_an_informational_answer_is_skipped() -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(b"{}", headers=(b"x-real: 1",))
    async with scripted_upstream(replying(raw)) as upstream:
        exchange = await get(wire_to(upstream.url))
        assert (exchange.status, await exchange.read_all(100)) == (200, b"{}")
        assert [name for name, _ in exchange.headers] == [b"x-real", b"content-length"]


async def test_a_head_request_has_no_body_to_wait_for() -> None:
    async with scripted_upstream(replying(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")) as upstream:
        exchange = await wire_to(upstream.url).send(b"HEAD", b"/v1/models", [], b"")
        assert await exchange.read() == b""


async def test_silence_is_reported_without_losing_anything() -> None:
    go_on = asyncio.Event()

    async def slow(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
        await writer.drain()
        await go_on.wait()
        writer.write(b"def")

    async with scripted_upstream(slow) as upstream:
        exchange = await get(wire_to(upstream.url))
        assert await exchange.read(0.05) == b"abc"
        assert await exchange.read(0.05) is None
        go_on.set()
        assert await exchange.read(5) == b"def"
        assert await exchange.read(5) == b""


async def test_no_first_byte_in_time_is_a_timeout() -> None:
    async def silent(_: Request, writer: asyncio.StreamWriter) -> None:
        await upstream.hung_up.wait()

    async with scripted_upstream(silent) as upstream:
        with pytest.raises(UpstreamTimeout, match="first byte"):
            await get(wire_to(upstream.url, first_byte_s=0.05))
        upstream.hung_up.set()


async def test_an_upstream_that_is_not_there_cannot_be_reached() -> None:
    async with scripted_upstream(replying(b"")) as upstream:
        url = upstream.url
    with pytest.raises(ConnectFailed, match="cannot be reached"):
        await get(wire_to(url))


async def test_what_before_send_raises_stops_the_request_before_its_first_byte() -> None:
    def stop() -> None:
        raise KeyError("killed")

    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        wire = wire_to(upstream.url)
        with pytest.raises(KeyError):
            await wire.send(b"POST", b"/", [], b"{}", before_send=stop)
        await (await get(wire)).read_all(10)
        assert [request.line for request in upstream.requests] == [b"GET /v1/models HTTP/1.1"]


async def test_an_answer_over_the_limit_is_refused() -> None:
    async with scripted_upstream(replying(answer(b"x" * 100))) as upstream:
        exchange = await get(wire_to(upstream.url))
        with pytest.raises(UpstreamBroken, match="longer than 50"):
            await exchange.read_all(50)


async def test_a_slow_reader_holds_the_upstream_back() -> None:
    sent = 0

    async def flood(_request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(64):
            writer.write(bytes(1 << 20))
            await writer.drain()
            sent += 1

    async with scripted_upstream(flood) as upstream:
        exchange = await get(wire_to(upstream.url))
        while (before := sent) < 64:  # until nothing moves any more without being read
            for _ in range(200):
                await asyncio.sleep(0)
            if sent == before:
                break
        assert sent < 32
        assert len(await exchange.read_all(65 << 20)) == 64 << 20


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", "http://", ""])
def test_an_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Origin.parse(url)


def test_an_ipv6_origin_keeps_its_brackets() -> None:
    assert Origin.parse("http://[::1]:8090/x").authority == b"[::1]:8090"


@pytest.mark.parametrize("silence_s", [None, 5.0])
async def test_bytes_of_framing_alone_neither_end_an_answer_nor_count_as_silence(
    silence_s: float | None,
) -> None:
    async def piecemeal(_: Request, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        for piece in (head, b"5\r\n", b"hello", b"\r\n", b"0\r\n", b"\r\n"):
            writer.write(piece)
            await others_run()

    async with scripted_upstream(piecemeal) as upstream:
        exchange = await get(wire_to(upstream.url))
        assert await exchange.read(silence_s) == b"hello"
        assert await exchange.read(silence_s) == b""


async def test_an_answer_that_nobody_asked_for_is_dropped_with_its_connection() -> None:
    async with scripted_upstream(replying(answer(b"1") + answer(b"22"))) as upstream:
        wire = wire_to(upstream.url)
        for _ in range(2):
            assert await (await get(wire)).read_all(100) == b"1"
        assert upstream.connections == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_that_has_no_body_by_its_status_is_complete_at_once(status: str) -> None:
    raw = f"HTTP/1.1 {status}\r\ncontent-length: 10\r\n\r\n".encode()
    async with scripted_upstream(replying(raw)) as upstream:
        assert await (await get(wire_to(upstream.url))).read(5) == b""


async def test_an_answer_until_close_that_is_reset_was_cut() -> None:
    async def reset(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await writer.drain()
        await heard.wait()
        linger = struct.pack("ii", 1, 0)  # close with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    heard = asyncio.Event()
    async with scripted_upstream(reset) as upstream:
        exchange = await get(wire_to(upstream.url))
        assert await exchange.read(5) == b"abc"
        heard.set()
        with pytest.raises(UpstreamBroken, match="inside an answer"):
            await exchange.read(5)


async def test_connections_that_nobody_needed_for_a_while_are_closed() -> None:
    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        wire = wire_to(upstream.url, idle_s=0)
        for exchange in (await get(wire), await get(wire)):
            await exchange.read_all(10)
        await (await get(wire)).read_all(10)
        assert upstream.connections == 3
        await asyncio.wait_for(upstream.hung_up.wait(), 5)
