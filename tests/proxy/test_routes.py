"""The door: what goes through the pipeline and what passes by, who may enter, what a refusal looks like."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import zstandard

from gateway.proxy.call import Limits
from tests.support.eventually import eventually
from tests.support.plane import (
    O46,
    Process,
    body,
    data_path,
    event,
    in_front_of,
    message,
    ours,
    over_sockets,
    streaming,
)
from tests.support.scripted import answer, replying, silent

FINE = replying(answer(message()))
COUNTED = replying(answer(b'{"input_tokens": 7}'))
KEYS: dict[str, Any] = {"client_keys": {"key-of-team-a": "team-a"}, "upstream_api_key": "sk-upstream"}


# --- which way ----------------------------------------------------------------------------------------------


async def test_messages_are_assigned_and_say_so() -> None:
    async with in_front_of(FINE) as process:
        heard = await process.post(body(), x_gateway_unit="alice")
        request_id = ours(heard).pop("request-id")
        assert request_id.startswith("gw_")
        assert ours(heard) == {
            "request-id": request_id,
            "migration": "m",
            "arm": "candidate",
            "reason": "bucket",
            "served-model": O46,
            "rewrites": "",
        }


async def test_count_tokens_goes_the_same_way_and_is_neither_noted_nor_counted() -> None:
    async with in_front_of(COUNTED) as process:
        heard = await process.post(body(), "/v1/messages/count_tokens?beta=true", x_gateway_unit="alice")
        assert heard.json == {"input_tokens": 7}
        assert ours(heard)["served-model"] == O46
        assert process.upstream.requests[0].line == b"POST /v1/messages/count_tokens?beta=true HTTP/1.1"
        assert process.store.batches == []
        assert process.plane.ledger.queued == 0
        assert process.metrics() == {
            name: value for name, value in process.metrics().items() if "build_info" in name
        }


async def test_a_model_that_no_migration_governs_passes_untouched_compressed_or_not() -> None:
    async with in_front_of(FINE) as process:
        sent = gzip.compress(body("claude-from-elsewhere"))
        heard = await process.post(sent, content_encoding="gzip", accept_encoding="br")
        assert process.upstream.requests[0].body == sent
        headers = dict(process.upstream.requests[0].headers)
        assert (headers[b"content-encoding"], headers[b"accept-encoding"]) == (b"gzip", b"br")
        assert (ours(heard)["reason"], heard.body) == ("ungoverned", message())
        assert "served-model" not in ours(heard)


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/models", "/v1/messages/", "/v1/Messages"])
async def test_everything_else_passes_by(path: str) -> None:
    async with in_front_of(replying(answer(b"\x00\xff", status="201 Created"))) as process:
        heard = await process.post(body(), path)
        assert (heard.status, heard.body) == (201, b"\x00\xff")
        assert process.upstream.requests[0].body == body()
        assert ours(heard).keys() == {"request-id", "reason"}
        assert process.labelled("passthrough_total", "outcome") == {"ok": 1}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_only_posts_are_messages(method: str) -> None:
    async with in_front_of(replying(answer(b"{}"))) as process:
        heard = await process.call(method=method).answer()
        assert (heard.status, ours(heard)["reason"]) == (200, "ungoverned")
        assert process.upstream.requests[0].line.startswith(method.encode())


async def test_an_upload_keeps_its_length_and_one_without_stays_chunked() -> None:
    async with in_front_of(replying(answer(b"{}"))) as process:
        chunks = [b"one", b"two"]
        for headers in ({"content-length": "6"}, {}):
            await process.call(chunks, path="/v1/files", headers=headers).answer()
        first, second = process.upstream.requests
        assert first.body == second.body == b"onetwo"
        assert dict(first.headers)[b"content-length"] == b"6"
        assert dict(second.headers)[b"transfer-encoding"] == b"chunked"


async def test_an_answer_before_the_end_of_an_upload_reaches_the_client_who_may_still_leave() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 X\r\ncontent-length: 100\r\n\r\nno")
        await reader.read()
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, data_path(url) as process:
        caller = process.call([b"x" * 10], path="/v1/files", finished=False)
        await caller.until(lambda heard: heard.body == b"no")
        assert caller.heard.status == 413
        caller.hang_up()
        await caller.answer()
        await asyncio.wait_for(gone.wait(), 5)
        assert process.labelled("passthrough_total", "outcome") == {"disconnected": 1}


# --- bodies -------------------------------------------------------------------------------------------------


def deflated(data: bytes) -> bytes:
    raw = zlib.compressobj(wbits=-15)
    return raw.compress(data) + raw.flush()


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", deflated),
        ("zstd", zstandard.compress),
        ("identity", bytes),
        ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
    ],
)
async def test_a_governed_body_is_decoded_and_rewritten(
    encoding: str, encode: Callable[[bytes], bytes]
) -> None:
    async with in_front_of(FINE) as process:
        heard = await process.post(encode(body()), content_encoding=encoding, accept_encoding="gzip")
        assert heard.status == 200
        request = process.upstream.requests[0]
        assert json.loads(request.body) == json.loads(body(O46))
        assert b"content-encoding" not in dict(request.headers)
        assert dict(request.headers)[b"accept-encoding"] == b"identity"


async def test_two_header_lines_of_encodings_are_one_list() -> None:
    async with in_front_of(FINE) as process:
        lines = [("content-encoding", "deflate"), ("content-encoding", "gzip")]
        heard = await process.call(gzip.compress(zlib.compress(body())), headers=lines).answer()
        assert heard.status == 200


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not(declared: bool) -> None:
    async with in_front_of(FINE, limits=Limits(body_bytes=1000)) as process:
        headers = {"content-length": "2000"} if declared else {}
        caller = process.call([b" " * 900, b" " * 900], headers=headers, finished=False)
        heard = await caller.answer()
        assert (heard.status, heard.json["error"]["type"]) == (413, "request_too_large")
        assert process.upstream.connections == 0


async def test_a_body_that_decodes_to_more_than_the_limit_is_refused() -> None:
    async with in_front_of(FINE, limits=Limits(body_bytes=1000)) as process:
        heard = await process.post(gzip.compress(b" " * 2000), content_encoding="gzip")
        assert (heard.status, heard.json["error"]["type"]) == (413, "request_too_large")


# --- refusals -----------------------------------------------------------------------------------------------


async def test_a_refusal_is_in_the_apis_envelope_and_bears_the_requests_id() -> None:
    async with in_front_of(FINE) as process:
        heard = await process.post(b"{")
        request_id = heard.headers["x-gateway-request-id"]
        assert heard.headers["request-id"] == request_id == heard.json["request_id"]
        assert (heard.status, heard.headers["content-type"]) == (400, "application/json")
        assert heard.json["type"] == "error"
        assert process.metrics().get("gateway_in_flight") is None


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/models"])
async def test_an_upstream_that_is_away_is_a_502_with_our_headers(path: str) -> None:
    async with in_front_of(FINE) as process:
        process.upstream.close()
        heard = await process.post(body(), path)
        assert (heard.status, heard.json["error"]["type"]) == (502, "api_error")
        assert ours(heard)["request-id"].startswith("gw_")
        if path != "/v1/models":
            assert ours(heard)["arm"] == "candidate"


async def test_an_upstream_that_is_too_late_is_a_504() -> None:
    async with in_front_of(silent, first_byte_s=0.05) as process:
        heard = await process.post(b"", "/v1/models")
        assert (heard.status, heard.json["error"]["type"]) == (504, "timeout_error")
        assert process.labelled("passthrough_total", "outcome") == {"timeout": 1}


async def test_a_fault_of_our_own_is_a_500_without_its_reason() -> None:
    async with in_front_of(FINE) as process:
        process.plane.table = None  # type: ignore[assignment]
        heard = await process.post(body())
        assert (heard.status, heard.json["error"]["type"]) == (500, "api_error")
        assert "None" not in heard.json["error"]["message"]
        assert "gateway_in_flight" not in process.metrics()


async def test_a_user_id_that_is_deeply_nested_json_is_a_name_like_any_other() -> None:
    async with in_front_of(FINE) as process:
        heard = await process.post(body(metadata={"user_id": '{"a":' * 5000}))
        assert heard.status == 200


# --- with a server around it --------------------------------------------------------------------------------


class Client:
    """One keep-alive connection, spoken by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(5):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [(name, value) for line in raw[1:] if line for name, _, value in [line.partition(": ")]]
        assert len(headers) == len(dict(headers)), headers
        return int(raw[0].split()[1]), dict(headers)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        async with asyncio.timeout(5):
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    def request(self, content: bytes, *more: str, line: str = "POST /v1/messages") -> bytes:
        lines = [f"{line} HTTP/1.1", "host: g", f"content-length: {len(content)}", *more, "", ""]
        return "\r\n".join(lines).encode() + content


@asynccontextmanager
async def connected(process: Process) -> AsyncIterator[Client]:
    async with over_sockets(process) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


async def test_a_connection_goes_on_after_errors() -> None:
    async with (
        in_front_of(FINE, limits=Limits(body_bytes=200_000), **KEYS) as process,
        connected(process) as client,
    ):
        key = "x-api-key: key-of-team-a"
        for content, headers, status in (
            (b"{", (key,), 400),
            (body(), (), 401),
            (b" " * 300_000, (key,), 413),
            (b"x", (key, "content-encoding: gzip"), 400),
            (body(), (key,), 200),
        ):
            await client.say(client.request(content, *headers))
            assert (await client.answer())[0] == status
        await client.say(client.request(b"", key, line="GET /v1/models"))
        assert (await client.answer())[0] == 200


async def test_a_chunked_body_over_the_limit_is_refused_and_drained() -> None:
    async with in_front_of(FINE, limits=Limits(body_bytes=1000)) as process, connected(process) as client:
        await client.say(b"POST /v1/messages HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            await client.say(b"400\r\n" + b" " * 1024 + b"\r\n")
        assert (await client.answer())[0] == 413
        await client.say(b"0\r\n\r\n" + client.request(body()))
        assert (await client.answer())[0] == 200


async def test_a_client_that_expects_a_100_gets_one_or_its_refusal_at_once() -> None:
    async with in_front_of(FINE, **KEYS) as process, connected(process) as client:
        expecting = ("expect: 100-continue", "x-api-key: key-of-team-a")
        head = client.request(body(), *expecting).removesuffix(body())
        await client.say(head)
        assert (await client.head())[0] == 100
        await client.say(body())
        assert (await client.answer())[0] == 200
        assert b"expect" not in dict(process.upstream.requests[0].headers)
        await client.say(client.request(b"", "expect: 100-continue").replace(b": 0", b": 9"))
        assert (await client.answer())[0] == 401


async def test_a_client_that_expects_a_100_is_told_that_its_body_is_too_large() -> None:
    async with in_front_of(FINE) as process, connected(process) as client:
        await client.say(client.request(b"", "expect: 100-continue").replace(b": 0", b": 99999999"))
        assert (await client.answer())[0] == 413


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        ("HEAD /v1/models", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"),
        ("GET /v1/models", b"HTTP/1.1 304 Not Modified\r\netag: x\r\ncontent-length: 10\r\n\r\n"),
        ("DELETE /v1/files/f", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_an_answer_without_a_body_leaves_the_connection_usable(line: str, raw: bytes) -> None:
    async with in_front_of(replying(raw)) as process, connected(process) as client:
        for _ in range(2):
            await client.say(client.request(b"", line=line))
            status, headers = await client.head()
            assert raw.startswith(b"HTTP/1.1 %d" % status)
            assert headers["x-gateway-reason"] == "ungoverned"
            assert headers.get("content-length") == ("10" if "HEAD" in line else None)
        assert process.labelled("passthrough_total", "outcome") == {"ok": 2}


async def test_a_cut_answer_cuts_the_connection() -> None:
    async with in_front_of(streaming(event("x"), cut=True)) as process, connected(process) as client:
        await client.say(client.request(b"", line="GET /v1/stream"))
        assert (await client.head())[0] == 200
        async with asyncio.timeout(5):
            assert not (await client.reader.read()).endswith(b"0\r\n\r\n")


async def test_a_client_that_closes_its_connection_has_left() -> None:
    async with in_front_of(silent) as process:
        async with connected(process) as client:
            await client.say(client.request(body()))
            await eventually(lambda: process.asked)
        await asyncio.wait_for(process.upstream.hung_up.wait(), 5)
        await eventually(process.outcomes)
        assert process.outcomes() == {"candidate candidate disconnected": 1}


async def test_a_client_that_closes_in_the_middle_of_its_body_has_left() -> None:
    async with in_front_of(FINE) as process:
        async with connected(process) as client:
            await client.say(client.request(body())[:-5])
        assert process.outcomes() == {}
        assert process.upstream.connections == 0
