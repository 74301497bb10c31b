"""The data path's HTTP client against an upstream that says exact bytes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.errors import ConfigError, ConnectFailed, UpstreamBroken, UpstreamTimeout
from gateway.proxy.body import ClientGone
from gateway.proxy.wire import Body, Exchange, Origin, Wire
from tests.support.scripted import Request, answer, replying, scripted_upstream

WIRES: list[Wire] = []


def wire_to(url: str, *, connect_s: float = 2.0, first_byte_s: float = 5.0, idle_s: float = 30.0) -> Wire:
    WIRES.append(
        Wire(Origin.parse(url), connect_timeout_s=connect_s, first_byte_timeout_s=first_byte_s, idle_s=idle_s)
    )
    return WIRES[-1]


@pytest.fixture(autouse=True)
async def _hang_up_at_the_end() -> AsyncIterator[None]:
    yield
    while WIRES:
        WIRES.pop().close()
    await others_run()


async def others_run() -> None:
    """Let a reader on this loop take what was written, as a segment of its own."""
    for _ in range(20):
        await asyncio.sleep(0)


async def get(wire: Wire, target: bytes = b"/v1/models") -> Exchange:
    return await wire.send(b"GET", target, [], b"")


async def post(wire: Wire, body: bytes | AsyncIterator[bytes]) -> Exchange:
    return await wire.send(b"POST", b"/v1/messages?beta=true", [(b"x-odd", b"caf\xe9")], body)


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


async def test_a_streamed_body_arrives_in_chunks() -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two" * 50_000):
            yield piece

    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        await (await post(wire_to(upstream.url), body())).read_all(10)
        assert upstream.requests[0].body == b"one" + b"two" * 50_000


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


async def test_a_streamed_body_keeps_its_length_where_that_is_known() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        exchange = await wire_to(upstream.url).send(b"POST", b"/v1/files", [], body(), length=6)
        assert await exchange.read_all(10) == b"{}"
        assert (b"content-length", b"6") in upstream.requests[0].headers
        assert upstream.requests[0].body == b"onetwo"


async def test_a_streamed_body_goes_out_on_a_connection_of_its_own() -> None:
    """It could not be sent again if an idle connection turned out to be closed."""

    async def body() -> AsyncIterator[bytes]:
        yield b"one"

    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        wire = wire_to(upstream.url)
        contents: list[Body] = [b"{}", body(), b"{}"]
        for content in contents:
            await (await post(wire, content)).read_all(10)
        assert [request.connection for request in upstream.requests] == [1, 2, 2]


@pytest.mark.parametrize("more", [b"", b"x" * (1 << 20)])
async def test_an_answer_before_the_end_of_the_body_is_not_waited_for(more: bytes) -> None:
    """Whether the client is slow to send (nothing more comes) or the upstream does not read on."""

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        while more:
            yield more
        await asyncio.get_running_loop().create_future()

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"no", status="413 Content Too Large"))
        await writer.drain()
        await heard.wait()
        writer.transport.abort()

    heard = asyncio.Event()
    server = await asyncio.start_server(early, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        wire = wire_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        exchange = await post(wire, body())
        assert (exchange.status, await exchange.read_all(10)) == (413, b"no")
        heard.set()


async def test_what_a_streamed_body_raises_stops_the_request() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        raise ClientGone

    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        with pytest.raises(ClientGone):
            await post(wire_to(upstream.url), body())
        await asyncio.wait_for(upstream.hung_up.wait(), 5)
        assert upstream.requests == []


async def test_connections_that_nobody_needed_for_a_while_are_closed() -> None:
    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        wire = wire_to(upstream.url, idle_s=0)
        for exchange in (await get(wire), await get(wire)):
            await exchange.read_all(10)
        await (await get(wire)).read_all(10)
        assert upstream.connections == 3
        await asyncio.wait_for(upstream.hung_up.wait(), 5)
