"""Bodies that stream to the upstream, and upstreams that stop in the middle of an answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import UpstreamBroken
from gateway.proxy.transport.body import ClientGone
from gateway.proxy.transport.wire import Body, Exchange
from tests.support.scripted import Request, answer, replying, scripted_upstream
from tests.support.wires import get, hung_up, post, wire_to


@pytest.fixture(autouse=True)
async def _wires() -> AsyncIterator[None]:
    async with hung_up():
        yield


async def test_a_streamed_body_arrives_in_chunks() -> None:
    async def body() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two" * 50_000):
            yield piece

    async with scripted_upstream(replying(answer(b"{}"))) as upstream:
        await (await post(wire_to(upstream.url), body())).read_all(10)
        assert upstream.requests[0].body == b"one" + b"two" * 50_000


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


async def half_an_answer(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
    await request.left.wait()


async def to_the_end(exchange: Exchange, silence_s: float | None) -> None:
    while await exchange.read(silence_s) is None:
        pass


@pytest.mark.parametrize("silence_s", [None, 0.01])
async def test_an_upstream_that_stops_in_an_answer_is_not_waited_for_forever(silence_s: float | None) -> None:
    async with scripted_upstream(half_an_answer) as upstream:
        exchange = await get(wire_to(upstream.url, patience_s=0.04))
        assert await exchange.read(silence_s) == b"abc"
        with pytest.raises(UpstreamBroken, match="said nothing"):
            await to_the_end(exchange, silence_s)
        exchange.close()
        await asyncio.wait_for(upstream.hung_up.wait(), 5)


async def test_a_whole_answer_that_never_comes_to_its_end_is_broken() -> None:
    async with scripted_upstream(half_an_answer) as upstream:
        exchange = await get(wire_to(upstream.url, patience_s=0.02))
        with pytest.raises(UpstreamBroken, match="nothing"):
            await exchange.read_all(100)
        exchange.close()
