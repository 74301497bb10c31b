"""One POST on a real socket: signed, bounded, never redirected, and silent about the URL's secret."""

import asyncio
import hashlib
import hmac
from dataclasses import replace

import pytest

from gateway.control.notify.deliver import deliver, signature
from gateway.control.notify.sinks import Sink
from gateway.errors import BadRequest, ConnectFailed, GatewayError, UpstreamError, UpstreamTimeout
from tests.support.scripted import Request, Script, answer, replying, scripted_upstream, silent

NOW = 1_800_000_000.75
PATH = "/services/T0/B0/path-is-a-key"
BODY = b'{"id":"m:1"}'
OK = replying(answer(b"ok"))


def sink(url: str, **more: object) -> Sink:
    return replace(Sink("ops", "webhook", f"{url}{PATH}", "key of the sink"), **more)  # type: ignore[arg-type]


def headers(request: Request) -> dict[bytes, bytes]:
    return dict(request.headers)


async def test_a_message_arrives_as_json_under_its_id() -> None:
    async with scripted_upstream(OK) as receiver:
        await deliver(sink(receiver.url), BODY, id="m:1:5", now=NOW)
        (request,) = receiver.requests
    assert request.line == f"POST {PATH} HTTP/1.1".encode()
    assert request.body == BODY
    assert headers(request)[b"content-type"] == b"application/json"
    assert headers(request)[b"x-gateway-delivery"] == b"m%3A1%3A5"


async def test_a_receiver_with_the_key_can_check_who_sent_it_and_when() -> None:
    async with scripted_upstream(OK) as receiver:
        await deliver(sink(receiver.url), BODY, id="m:1", now=NOW)
        (request,) = receiver.requests
    parts = dict(part.split("=", 1) for part in headers(request)[b"x-gateway-signature"].decode().split(","))
    signed = parts["t"].encode() + b"." + request.body
    assert int(parts["t"]) == 1_800_000_000
    assert parts["v1"] == hmac.new(b"key of the sink", signed, hashlib.sha256).hexdigest()


def test_another_key_another_time_or_another_body_is_another_signature() -> None:
    variants = [("key", 1, b"body"), ("keys", 1, b"body"), ("key", 2, b"body"), ("key", 1, b"body!")]
    assert len({signature(*variant) for variant in variants}) == len(variants)


@pytest.mark.parametrize("change", [{"secret": ""}, {"kind": "slack"}])
async def test_nothing_is_signed_without_a_key_or_for_a_chat(change: dict[str, str]) -> None:
    async with scripted_upstream(OK) as receiver:
        await deliver(sink(receiver.url, **change), BODY, id="m:1", now=NOW)
        assert b"x-gateway-signature" not in headers(receiver.requests[0])


REDIRECT = answer(b"", status="307 Elsewhere", headers=(b"location: http://127.0.0.1:9/",))
BROKEN = replying(b"what is this?\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (replying(answer(b"", status="400 Bad")), BadRequest, "refused a message (HTTP 400)"),
        (replying(answer(b"", status="422 Bad")), BadRequest, "refused a message (HTTP 422)"),
        (replying(answer(b"", status="404 Gone")), UpstreamError, "did not take a message (HTTP 404)"),
        (replying(answer(b"", status="429 Slow")), UpstreamError, "(HTTP 429)"),
        (replying(answer(b"", status="500 Oops")), UpstreamError, "(HTTP 500)"),
        (replying(REDIRECT), UpstreamError, "(HTTP 307)"),
        (BROKEN, UpstreamError, "could not be told: RemoteProtocolError"),
        (silent, UpstreamTimeout, "did not answer in 0.2 s"),
    ],
)
async def test_what_goes_wrong_names_the_sink_and_its_host_and_nothing_secret(
    script: Script, error: type[GatewayError], words: str
) -> None:
    async with scripted_upstream(script) as receiver:
        with pytest.raises(error) as caught:
            await deliver(
                sink(receiver.url),
                BODY,
                id="m:1",
                now=NOW,
                timeout_s=0.2 if error is UpstreamTimeout else 10,
            )
        assert len(receiver.requests) == 1
    said = caught.value.message
    assert words in said
    assert f"the sink 'ops' at {receiver.url}" in said
    assert "path-is-a-key" not in said
    assert "key of" not in said
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_receiver_that_is_not_there_is_named() -> None:
    async with scripted_upstream(silent) as receiver:
        url = receiver.url
    with pytest.raises(ConnectFailed, match="no connection to the sink 'ops'"):
        await deliver(sink(url), BODY, id="m:1", now=NOW)


async def test_an_answer_that_never_ends_is_not_waited_for() -> None:
    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\nbegins")
        await writer.drain()
        await request.left.wait()

    async with scripted_upstream(script) as receiver, asyncio.timeout(5):
        await deliver(sink(receiver.url), BODY, id="m:1", now=NOW)
