"""Rescue: which failures of the candidate control answers for, with what, and how it is named and booked."""

import asyncio
import gzip
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from gateway.core.types import Arm, Phase
from gateway.errors import ConnectFailed
from gateway.proxy.call import Limits
from gateway.proxy.transport.wire import Exchange, Origin, Wire
from tests.support.plane import (
    END,
    O45,
    O46,
    ON_CANDIDATE,
    ON_CONTROL,
    PING,
    SPEC,
    START,
    STREAM_HEAD,
    TEXT,
    Process,
    body,
    by_model,
    chunk,
    error,
    event,
    in_front_of,
    message,
    streaming,
)
from tests.support.scripted import Request, Script, answer, replying, silent

O55, S45 = "claude-opus-5-5", "claude-sonnet-4-5-20250929"
AGEING = replace(SPEC, control=S45, models=(S45,))
CONTROL_SAYS = message("from control")
FINE = replying(answer(CONTROL_SAYS))
ERRORS = {
    400: "invalid_request_error",
    403: "permission_error",
    413: "request_too_large",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def failing(status: int) -> Script:
    return replying(answer(error(ERRORS.get(status, "api_error")), status=f"{status} X"))


async def slamming(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def half_a_body(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
    writer.close()


async def half_an_event(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM_HEAD + chunk(b"event: message_st"))
    writer.close()


def opening_with(kind: object) -> Script:
    return streaming(event("error", error={"type": kind, "message": "no"}))


@pytest.mark.parametrize(
    ("candidate", "cause"),
    [
        (failing(404), "not_found"),
        (failing(408), "timeout"),
        (failing(429), "rate_limited"),
        (failing(500), "server_error"),
        (failing(503), "server_error"),
        (failing(504), "timeout"),
        (failing(529), "overloaded"),
        (failing(400), "rejected_by_model"),
        (failing(403), "rejected_by_model"),
        (failing(413), "rejected_by_model"),
        (failing(422), "rejected_by_model"),
        (slamming, "connect"),
        (half_a_body, "server_error"),
        (half_an_event, "server_error"),
        (streaming(), "server_error"),
        (streaming(cut=True), "server_error"),
        (streaming(START[:20]), "server_error"),
        (opening_with("overloaded_error"), "overloaded"),
        (opening_with("rate_limit_error"), "rate_limited"),
        (opening_with("timeout_error"), "timeout"),
        (opening_with("not_found_error"), "not_found"),
        (opening_with("invalid_request_error"), "rejected_by_model"),
        (opening_with("api_error"), "server_error"),
        (opening_with(7), "server_error"),
        (streaming(b"event: error\ndata: not json\n\n"), "server_error"),
        (streaming(b": hello\n\n" + event("error", error={"type": "overloaded_error"})), "overloaded"),
        (replying(b"garbage\r\n\r\n"), "server_error"),
    ],
)
async def test_control_answers_where_the_candidate_fails(candidate: Script, cause: str) -> None:
    async with in_front_of(by_model({O46: candidate, O45: FINE})) as process:
        heard = await process.post(body(), x_gateway_unit="u")
        assert (heard.status, heard.body) == (200, CONTROL_SAYS)
        assert heard.headers["x-gateway-fallback"] == cause
        assert heard.headers["x-gateway-arm"] == "candidate"
        assert heard.headers["x-gateway-served-model"] == O45
        assert process.asked == [O46, O45]
        assert process.outcomes() == {"candidate control ok": 1}
        assert process.labelled("fallbacks_total", "cause") == {cause: 1}
        tally = process.plane.counts["m"].window.totals(process.clock.now(), 60)[Arm.candidate]
        assert (tally.requests, tally.errors, tally.fallbacks) == (1, 0, 1)


async def test_control_gets_the_callers_own_request_and_never_the_rewritten_one() -> None:
    sent = body(O45, temperature=0.3)
    strict = replace(SPEC, candidate=O55)
    async with in_front_of(by_model({O55: failing(400), O45: FINE}), spec=strict) as process:
        heard = await process.post(sent)
        assert heard.headers["x-gateway-rewrites"] == ""
        assert process.upstream.requests[1].body == sent
        assert b"0.3" not in process.upstream.requests[0].body


async def test_an_alias_goes_to_control_as_the_configured_id() -> None:
    async with in_front_of(by_model({O46: failing(500), O45: FINE})) as process:
        await process.post(body("claude-opus-4-5"))
        assert process.asked == [O46, O45]


class Unreachable(Wire):
    """A wire that finds nobody the first time."""

    def __init__(self, url: str) -> None:
        super().__init__(Origin.parse(url), connect_timeout_s=1, first_byte_timeout_s=1)
        self.tried = 0

    async def send(self, *args: Any, **more: Any) -> Exchange:
        self.tried += 1
        if self.tried == 1:
            raise ConnectFailed("the upstream cannot be reached")
        return await super().send(*args, **more)


async def test_a_candidate_that_cannot_be_reached_is_rescued_as_connect() -> None:
    async with in_front_of(FINE, wire=Unreachable) as process:
        heard = await process.post(body())
        assert (heard.status, heard.headers["x-gateway-fallback"]) == (200, "connect")


async def test_a_candidate_without_a_first_byte_is_rescued_as_timeout() -> None:
    async with in_front_of(by_model({O46: silent, O45: FINE}), first_byte_s=0.05) as process:
        heard = await process.post(body())
        assert (heard.status, heard.headers["x-gateway-fallback"]) == (200, "timeout")


@pytest.mark.parametrize("candidate", [failing(500), failing(400), slamming])
@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_where_control_says_4xx_too_it_is_the_callers_fault(candidate: Script, status: int) -> None:
    async with in_front_of(by_model({O46: candidate, O45: failing(status)})) as process:
        heard = await process.post(body())
        assert (heard.status, heard.body) == (status, error(ERRORS.get(status, "api_error")))
        assert "x-gateway-fallback" in heard.headers
        assert process.outcomes() == {"candidate control client_error": 1}
        assert process.labelled("fallbacks_total", "cause") == {}
        assert process.plane.counts["m"].window.totals(process.clock.now(), 60)[Arm.candidate].requests == 0


@pytest.mark.parametrize("status", [429, 500, 529])
async def test_where_control_fails_as_well_its_answer_is_relayed_and_booked(status: int) -> None:
    async with in_front_of(by_model({O46: failing(503), O45: failing(status)})) as process:
        heard = await process.post(body())
        assert (heard.status, heard.json["error"]["message"]) == (status, "no")
        assert heard.headers["x-gateway-fallback"] == "server_error"
        assert len(process.asked) == 2
        assert process.outcomes() == {"candidate control upstream_error": 1}
        assert process.labelled("fallbacks_total", "cause") == {"server_error": 1}


async def test_where_control_gives_no_answer_either_the_fallback_is_named_and_booked() -> None:
    async with in_front_of(by_model({O46: failing(529), O45: slamming})) as process:
        heard = await process.post(body())
        assert (heard.status, heard.json["error"]["type"]) == (502, "api_error")
        assert heard.headers["x-gateway-fallback"] == "overloaded"
        assert heard.headers["x-gateway-arm"] == "candidate"
        assert process.outcomes() == {"candidate control upstream_error": 1}
        assert process.labelled("fallbacks_total", "cause") == {"overloaded": 1}


async def test_where_control_is_too_late_as_well_it_is_a_timeout() -> None:
    async with in_front_of(by_model({O46: failing(500), O45: silent}), first_byte_s=0.05) as process:
        heard = await process.post(body())
        assert (heard.status, heard.json["error"]["type"]) == (504, "timeout_error")
        assert process.outcomes() == {"candidate control timeout": 1}


@pytest.mark.parametrize("control", [failing(529), failing(404), slamming, opening_with("overloaded_error")])
async def test_control_is_never_rescued(control: Script) -> None:
    async with in_front_of(control, ON_CONTROL) as process:
        heard = await process.post(body())
        assert "x-gateway-fallback" not in heard.headers
        assert process.asked == [O45]


async def test_a_retired_control_is_not_asked() -> None:
    completed = replace(ON_CANDIDATE, phase=Phase.completed)
    async with in_front_of(failing(529), completed, spec=AGEING) as process:
        await process.post(body(S45))
        assert process.asked == [O46, S45]
        process.obey(completed, today=date(2026, 11, 30))
        heard = await process.post(body(S45))
        assert (heard.status, len(process.asked)) == (529, 3)
        assert "x-gateway-fallback" not in heard.headers


async def test_a_retired_control_is_not_asked_where_the_candidate_gave_no_answer() -> None:
    async with in_front_of(slamming, spec=AGEING) as process:
        process.obey(ON_CANDIDATE, today=date(2099, 1, 1))
        heard = await process.post(body(S45))
        assert (heard.status, len(process.asked)) == (502, 1)
        assert process.outcomes() == {"candidate candidate upstream_error": 1}


async def test_a_body_that_was_only_decoded_was_not_rewritten() -> None:
    """The candidate's 400 to the caller's own words is the caller's."""
    same = replace(SPEC, models=(O46,))
    async with in_front_of(failing(400), spec=same) as process:
        heard = await process.post(gzip.compress(body(O46)), content_encoding="gzip")
        assert (heard.status, len(process.asked)) == (400, 1)
        assert process.upstream.requests[0].body == body(O46)
        assert "x-gateway-fallback" not in heard.headers


async def test_an_answer_that_cannot_be_put_back_because_it_is_compressed_is_none() -> None:
    zipped = (b"content-type: application/json", b"content-encoding: gzip")
    candidate = replying(answer(gzip.compress(message("zipped")), headers=zipped))
    async with in_front_of(by_model({O46: candidate, O45: FINE})) as process:
        heard = await process.post(body())
        assert gzip.decompress(heard.body) == message("zipped")
        turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "{"}]
        heard = await process.post(body(messages=turns))
        assert (heard.body, heard.headers["x-gateway-fallback"]) == (CONTROL_SAYS, "server_error")


@pytest.mark.parametrize("kind", [b"Text/Event-Stream", b"text/event-stream; charset=utf-8"])
async def test_a_stream_is_one_however_its_type_is_spelled(kind: bytes) -> None:
    said = START + TEXT + END
    stream = replying(answer(said, headers=(b"content-type: " + kind,)))
    async with in_front_of(stream) as process:
        heard = await process.post(body(stream=True))
        assert heard.body == said
        assert process.outcomes() == {"candidate candidate ok": 1}


async def test_a_stream_that_is_silent_at_first_is_not_kept_from_the_client() -> None:
    go_on = asyncio.Event()

    async def slow(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        await go_on.wait()
        writer.write(chunk(START + TEXT + END) + chunk(b""))

    async with in_front_of(slow, limits=Limits(ping_after_s=0.02)) as process:
        caller = process.call(body(stream=True))
        await caller.until(lambda heard: heard.body.startswith(PING * 2))
        go_on.set()
        heard = await caller.answer()
        assert heard.body.replace(PING, b"") == START + TEXT + END


async def test_an_error_after_the_first_event_is_not_rescued() -> None:
    late = streaming(START, event("error", error={"type": "overloaded_error", "message": "no"}))
    async with in_front_of(late) as process:
        heard = await process.post(body(stream=True))
        assert heard.status == 200
        assert heard.body.count(b"event: error") == 1
        assert len(process.asked) == 1
        assert process.outcomes() == {"candidate candidate stream_error": 1}


async def test_a_failed_stream_of_the_candidates_is_hung_up_before_control_is_asked() -> None:
    process: Process

    async def errs(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(event("error", error={"type": "api_error", "message": "no"})))
        await writer.drain()

    async def control(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(process.upstream.hung_up.wait(), 5)
        await FINE(request, writer)

    async with in_front_of(by_model({O46: errs, O45: control})) as process:
        assert (await process.post(body(stream=True))).status == 200
