"""Who may enter the data path, and what is turned away at its door."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from tests.support.plane import O45, O46, body, in_front_of, message, ours
from tests.support.scripted import answer, replying

FINE = replying(answer(message()))
KEYS: dict[str, Any] = {"client_keys": {"key-of-team-a": "team-a"}, "upstream_api_key": "sk-upstream"}


# --- who may enter ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": "wrong"},
        {"x-api-key": "key-of-team-"},
        {"x-api-key": "schl\u00fcssel"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic key-of-team-a"},
        {"authorization": "key-of-team-a"},
    ],
)
async def test_an_unknown_key_is_refused_before_anything_is_read(path: str, headers: dict[str, str]) -> None:
    async with in_front_of(FINE, **KEYS) as process:
        heard = await process.call(b"{", path=path, headers=headers).answer()
        assert (heard.status, heard.json["error"]["type"]) == (401, "authentication_error")
        assert heard.json["request_id"] == ours(heard)["request-id"]
        assert process.upstream.connections == 0


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models"])
@pytest.mark.parametrize(
    "headers", [{"x-api-key": "key-of-team-a"}, {"authorization": "Bearer key-of-team-a"}]
)
async def test_a_known_key_is_replaced_by_the_upstreams(path: str, headers: dict[str, str]) -> None:
    async with in_front_of(FINE, **KEYS) as process:
        assert (await process.call(body(), path=path, headers=headers).answer()).status == 200
        sent = process.upstream.requests[0].headers
        credentials = [pair for pair in sent if pair[0] in (b"x-api-key", b"authorization")]
        assert credentials == [(b"x-api-key", b"sk-upstream")]


async def test_without_configured_keys_the_callers_own_travels() -> None:
    async with in_front_of(FINE) as process:
        await process.post(body(), authorization="Bearer sk-mine", x_gateway_token="t")
        sent = dict(process.upstream.requests[0].headers)
        assert sent[b"authorization"] == b"Bearer sk-mine"
        assert not [name for name in sent if name.startswith(b"x-gateway-")]


@pytest.mark.parametrize(
    ("token", "arm", "reason"),
    [("op", "control", "forced"), ("other", "candidate", "bucket"), ("", "candidate", "bucket")],
)
async def test_an_arm_is_forced_by_operators_only(token: str, arm: str, reason: str) -> None:
    async with in_front_of(FINE, is_operator=lambda given: given == "op") as process:
        heard = await process.post(
            body(), x_gateway_force_arm="Control", x_gateway_token=token, x_gateway_unit="u"
        )
        assert (ours(heard)["arm"], ours(heard)["reason"]) == (arm, reason)


async def test_a_force_header_that_names_no_arm_is_none() -> None:
    async with in_front_of(FINE, is_operator=lambda given: True) as process:
        heard = await process.post(body(), x_gateway_force_arm="both", x_gateway_unit="u")
        assert ours(heard)["reason"] == "bucket"


# --- what is turned away ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
async def test_methods_that_only_lead_astray_are_not_relayed(method: str) -> None:
    async with in_front_of(FINE, upstream_api_key="sk-upstream") as process:
        heard = await process.call(method=method, headers={"host": "localhost"}).answer()
        assert (heard.status, heard.json["error"]["type"]) == (400, "invalid_request_error")
        assert process.upstream.requests == []


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/./messages", "/v1/files/..", "/v1/messages/../../x"])
async def test_a_path_with_dot_segments_is_not_relayed(path: str) -> None:
    async with in_front_of(FINE) as process:
        heard = await process.post(body(), path)
        assert (heard.status, "dots" in heard.json["error"]["message"]) == (400, True)
        assert process.upstream.requests == []


@pytest.mark.parametrize("path", ["/v1/files/a..b", "/v1/.well-known", "/v1/x/..."])
async def test_dots_that_lead_nowhere_pass(path: str) -> None:
    async with in_front_of(FINE) as process:
        assert (await process.post(body(), path)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8080"}, 200),
        ({"host": "LocalHost"}, 200),
        ({"host": "[::1]:8080"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({}, 403),
        ({"host": "localhost", "origin": "https://evil.example"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models"])
async def test_a_gateway_that_pays_for_everybody_here_serves_no_web_pages(
    headers: dict[str, str], status: int, path: str
) -> None:
    async with in_front_of(FINE, upstream_api_key="sk-upstream") as process:
        assert (await process.call(body(), path=path, headers=headers).answer()).status == status
        assert len(process.upstream.requests) == (status == 200)


async def test_what_a_server_appends_behind_the_body_is_nobodys_header() -> None:
    async with in_front_of(FINE, is_operator=lambda token: token == "secret") as process:
        headers = [(b"x-api-key", b"mine"), (b"transfer-encoding", b"chunked")]
        heard: dict[str, Any] = {}
        never = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if len(headers) > 2:
                await never.wait()
            trailers = (b"x-gateway-force-arm", b"x-gateway-token"), (b"control", b"secret")
            headers.extend(zip(*trailers, strict=True))
            headers.append((b"x-api-key", b"smuggled"))
            return {"type": "http.request", "body": body(), "more_body": False}

        async def send(said: dict[str, Any]) -> None:
            heard.update(said)

        scope = {
            "type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": headers,
        }  # fmt: skip
        await process.app(scope, receive, send)
        sent = process.upstream.requests[0].headers
        assert process.asked == [O46]
        assert [value for name, value in sent if name == b"x-api-key"] == [b"mine"]


async def test_many_gzip_members_and_many_encodings_are_refused_at_once() -> None:
    async with in_front_of(FINE) as process:
        members = await process.post(gzip.compress(b"") * 150_000, content_encoding="gzip")
        nested = await process.post(b"x", content_encoding="gzip, gzip, gzip, gzip")
        assert (members.status, "members" in members.json["error"]["message"]) == (400, True)
        assert (nested.status, "encodings" in nested.json["error"]["message"]) == (400, True)


async def test_a_large_first_turn_is_compared_without_being_read() -> None:
    nest = "[[[[[[[[[]]]]]]]]],"
    content = '{"model":"%s","max_tokens":1,"messages":[{"role":"user","content":[%s[]]}]}'
    async with in_front_of(FINE) as process:
        heard = await process.post((content % (O45, nest * 400_000)).encode())
        assert heard.status == 200


async def test_more_messages_than_the_api_takes_are_refused_before_they_are_read() -> None:
    turns = [{"role": "user", "content": ""}] * 100_001
    async with in_front_of(FINE) as process:
        heard = await process.post(json.dumps({"model": O45, "messages": turns}).encode())
        assert (heard.status, "100000" in heard.json["error"]["message"]) == (400, True)


async def test_a_stop_sequence_that_comes_first_is_no_empty_answer() -> None:
    stopped = b'{"type":"message","content":[],"stop_reason":"stop_sequence","usage":{}}'
    async with in_front_of(replying(answer(stopped))) as process:
        await process.post(body(), x_gateway_unit="alice")
        assert process.outcomes() == {"candidate candidate ok": 1}
