"""The vendor's list is read to its end, with the gateway's own key, and never for ever."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest

from gateway.control.vendor import MAX_PAGE_BYTES, list_models
from gateway.errors import ConnectFailed, GatewayError, Unauthenticated, UpstreamError, UpstreamTimeout
from tests.support.rows import CATALOGUE
from tests.support.scripted import Request, answer, replying, scripted_upstream, silent
from tests.support.upstream import Upstream, running_simulator

KEY = "key-of-the-gateway"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Upstream]:
    with running_simulator() as upstream:
        yield upstream


async def test_every_model_is_listed(simulator: Upstream) -> None:
    found = await list_models(simulator.url, KEY)
    assert [entry["id"] for entry in found] == [row.id for row in CATALOGUE.models]


async def test_the_key_and_the_version_go_along_once(simulator: Upstream) -> None:
    simulator.forget_requests()
    await list_models(simulator.url, KEY)
    (request,) = simulator.requests(path="/v1/models")
    assert request.header("x-api-key") == KEY
    assert request.header("authorization") is None
    assert request.header("anthropic-version") == "2023-06-01"


async def test_pages_are_followed_to_the_end(simulator: Upstream) -> None:
    simulator.forget_requests()
    found = await list_models(simulator.url, KEY, page_size=7)
    assert [entry["id"] for entry in found] == [row.id for row in CATALOGUE.models]
    asked = [request.query for request in simulator.requests(path="/v1/models")]
    assert asked[:2] == ["limit=7", f"limit=7&after_id={CATALOGUE.models[6].id}"]
    assert len(asked) == -(-len(CATALOGUE.models) // 7)


async def test_an_upstream_with_a_path_keeps_it() -> None:
    async with scripted_upstream(replying(listed([{"id": "a"}]))) as upstream:
        assert await list_models(f"{upstream.url}/behind", KEY) == ({"id": "a"},)
        assert upstream.requests[0].line.startswith(b"GET /behind/v1/models?")


def listed(data: object, **more: object) -> bytes:
    return answer(json.dumps({"data": data, "has_more": False, **more}).encode())


def endless() -> Callable[[Request, asyncio.StreamWriter], Awaitable[None]]:
    """Each page names another one."""
    pages = iter(range(1_000_000))

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(listed([], has_more=True, last_id=f"page-{next(pages)}"))
        await writer.drain()

    return script


MORE_OF_THE_SAME = replying(listed([], has_more=True, last_id="a"))
REDIRECT = answer(b"", status="302 Found", headers=(b"location: http://127.0.0.1:9/v1/models",))


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (replying(answer(b"{}", status="401 Unauthorized")), Unauthenticated, "own key (HTTP 401)"),
        (replying(answer(b"{}", status="500 Oops")), UpstreamError, "(HTTP 500)"),
        (replying(REDIRECT), UpstreamError, "(HTTP 302)"),
        (replying(answer(b"<html>")), UpstreamError, "not a Models API"),
        (replying(answer(b"[]")), UpstreamError, "not a Models API"),
        (replying(answer(b'{"data": {}}')), UpstreamError, "not a Models API"),
        (MORE_OF_THE_SAME, UpstreamError, "does not come to an end"),
        (endless(), UpstreamError, "does not come to an end"),
        (
            replying(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n{"),
            UpstreamTimeout,
            "",
        ),
        (silent, UpstreamTimeout, "did not list its models in 0.2 s"),
    ],
)
async def test_what_goes_wrong_is_one_sentence_without_the_key(
    script: Callable[[Request, asyncio.StreamWriter], Awaitable[None]],
    error: type[GatewayError],
    words: str,
) -> None:
    async with scripted_upstream(script) as upstream:
        with pytest.raises(error) as caught:
            await list_models(upstream.url, KEY, timeout_s=0.2 if error is UpstreamTimeout else 10)
    assert words in caught.value.message
    assert KEY not in caught.value.message
    assert "\n" not in caught.value.message


async def test_an_upstream_that_cannot_be_reached_is_named() -> None:
    async with scripted_upstream(silent) as upstream:
        url = upstream.url
    with pytest.raises(ConnectFailed, match=f"no connection to {url}"):
        await list_models(url, KEY)


async def test_a_page_that_is_too_long_is_not_read_to_its_end() -> None:
    async with scripted_upstream(replying(listed(["x" * MAX_PAGE_BYTES]))) as upstream:
        with pytest.raises(UpstreamError, match="too long"):
            await list_models(upstream.url, KEY)


async def test_what_is_no_object_is_left_out() -> None:
    async with scripted_upstream(replying(listed([1, None, {"id": "a"}, "b"]))) as upstream:
        assert await list_models(upstream.url, KEY) == ({"id": "a"},)
