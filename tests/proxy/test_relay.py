"""Answers on their way to the client: byte for byte, with pings in silence, and an honest end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.core.types import Arm
from gateway.proxy.call import Limits
from tests.support.plane import (
    END,
    ON_CONTROL,
    PING,
    SPEC,
    START,
    STREAM_HEAD,
    TEXT,
    Heard,
    body,
    chunk,
    event,
    in_front_of,
    message,
    streaming,
)
from tests.support.scripted import Request, Script, answer, replying

WHOLE = START + TEXT + END
UNKNOWN = b': a comment\n\nevent: from_2031\r\ndata: {"a" : 1.0}\r\n\r\nid: 7\ndata: x\ndata: y\n\n'


class Paced:
    """An upstream that streams piece by piece, as a test tells it to."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __call__(self, _: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        while (piece := await self.pieces.get()) is not None:
            writer.write(chunk(piece))
        writer.close()

    def say(self, *pieces: bytes) -> None:
        """Send these now; b"" ends the answer in good order."""
        for piece in pieces:
            self.pieces.put_nowait(piece)

    def cut(self) -> None:
        self.pieces.put_nowait(None)


def ending_with(tail: bytes) -> Callable[[Heard], bool]:
    return lambda heard: heard.body.endswith(tail)


def cuts_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_a_stream_arrives_byte_for_byte_however_it_was_cut(size: int) -> None:
    stream = UNKNOWN + START + PING + TEXT + UNKNOWN + END
    async with in_front_of(streaming(*cuts_of(stream, size))) as process:
        heard = await process.post(body(stream=True))
        assert (heard.status, heard.complete) == (200, True)
        assert heard.body == stream
        assert heard.headers["content-type"] == "text/event-stream"
        assert process.outcomes() == {"candidate candidate ok": 1}


async def test_events_go_out_as_they_arrive() -> None:
    upstream = Paced()
    async with in_front_of(upstream) as process:
        caller = process.call(body(stream=True))
        sent = b""
        for piece in (START, TEXT, PING, END):
            upstream.say(piece)
            sent += piece
            await caller.until(ending_with(sent))
        upstream.say(b"")
        assert (await caller.answer()).body == sent


async def test_a_stream_is_counted_while_it_lasts() -> None:
    upstream = Paced()
    async with in_front_of(upstream) as process:
        caller = process.call(body(stream=True))
        upstream.say(START)
        await caller.until(ending_with(START))
        assert process.metrics()["gateway_streams"] == 1
        upstream.say(TEXT, END, b"")
        await caller.answer()
        assert "gateway_streams" not in process.metrics()


async def test_a_ping_goes_out_after_silence_and_never_inside_an_event() -> None:
    upstream = Paced()
    async with in_front_of(upstream, limits=Limits(ping_after_s=0.02)) as process:
        caller = process.call(body(stream=True))
        upstream.say(START)
        await caller.until(ending_with(START + PING + PING))
        upstream.say(TEXT[:30])
        before = len((await caller.until(ending_with(PING * 3))).body)
        upstream.say(TEXT[30:] + END, b"")
        heard = await caller.answer()
        rest = heard.body[before:]
        while rest.startswith(PING):
            rest = rest.removeprefix(PING)
        assert rest.startswith(TEXT)
        assert heard.body.replace(PING, b"") == WHOLE
        assert process.outcomes() == {"candidate candidate ok": 1}


async def test_a_ping_goes_out_where_all_that_comes_is_held_back_for_long() -> None:
    upstream, quiet = Paced(), Limits(ping_after_s=15)
    thinks = event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
    thought = event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
    hiding = replace(SPEC, candidate="claude-opus-5-5")
    async with in_front_of(upstream, spec=hiding, limits=quiet) as process:
        caller = process.call(body(stream=True))
        upstream.say(START)
        await caller.until(ending_with(START))
        upstream.say(thinks, thought)
        process.clock.advance(15)
        upstream.say(thought)
        await caller.until(ending_with(PING))
        upstream.say(thought, event("content_block_stop", index=0), TEXT, END, b"")
        heard = await caller.answer()
        assert heard.body == START + PING + TEXT + END


async def test_the_upstreams_own_pings_pass_and_none_is_added_while_it_speaks() -> None:
    async with in_front_of(streaming(START, PING, TEXT, PING, END)) as process:
        heard = await process.post(body(stream=True))
        assert heard.body.count(PING) == 2


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        (streaming(START, TEXT, cut=True), "truncated"),
        (streaming(START, TEXT), "truncated"),
        (streaming(START, TEXT, END[:40], cut=True), "truncated"),
        (streaming(START, TEXT, END[:40]), "truncated"),
    ],
)
async def test_a_stream_without_an_end_gets_an_error_event_for_one(script: Script, outcome: str) -> None:
    async with in_front_of(script) as process:
        heard = await process.post(body(stream=True))
        *_, last, rest = heard.body.split(b"\n\n")
        name, data = last.split(b"\n")
        assert (heard.complete, rest, name) == (True, b"", b"event: error")
        assert json.loads(data.removeprefix(b"data: "))["error"]["type"] == "api_error"
        assert heard.body.startswith(START + TEXT + b"event:")
        assert process.outcomes() == {f"candidate candidate {outcome}": 1}
        tally = process.plane.counts["m"].window.totals(process.clock.now(), 60)[Arm.candidate]
        assert (tally.requests, tally.errors) == (1, 1)


async def test_an_error_event_of_the_upstreams_is_the_end_and_gets_no_second_one() -> None:
    failed = START + TEXT + event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    for cut in (False, True):
        async with in_front_of(streaming(failed, cut=cut)) as process:
            heard = await process.post(body(stream=True))
            assert heard.body == failed
            assert process.outcomes() == {"candidate candidate stream_error": 1}


async def test_a_stream_that_has_said_its_end_is_whole_even_if_the_connection_breaks_then() -> None:
    async with in_front_of(streaming(START, TEXT, END, cut=True)) as process:
        heard = await process.post(body(stream=True))
        assert (heard.body, heard.complete) == (WHOLE, True)
        assert process.outcomes() == {"candidate candidate ok": 1}


async def test_bytes_behind_the_end_are_passed_on() -> None:
    async with in_front_of(streaming(START, TEXT, END, b": bye")) as process:
        assert (await process.post(body(stream=True))).body == WHOLE + b": bye"


BLANK = TEXT.replace(b'"hi"', b'" \\n"')
REFUSED = END.replace(b"end_turn", b"refusal")
CUT_BY_LIMIT = END.replace(b"end_turn", b"max_tokens")


@pytest.mark.parametrize(
    ("stream", "outcome"),
    [
        (START + TEXT + END, "ok"),
        (START + END, "empty"),
        (START + BLANK + END, "empty"),
        (START + TEXT + REFUSED, "refused"),
        (START + REFUSED, "refused"),
        (START + TEXT + CUT_BY_LIMIT, "ok"),
    ],
)
async def test_a_streams_outcome_is_what_it_says(stream: bytes, outcome: str) -> None:
    async with in_front_of(streaming(stream)) as process:
        assert (await process.post(body(stream=True))).body == stream
        assert process.outcomes() == {f"candidate candidate {outcome}": 1}


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (message(), "ok"),
        (message(""), "empty"),
        (message(" \n"), "empty"),
        (message(stop_reason="refusal"), "refused"),
        (message(stop_reason="max_tokens"), "ok"),
        (b"{not json", "truncated"),
        (b"", "truncated"),
    ],
)
async def test_a_json_answers_outcome_is_what_it_says(reply: bytes, outcome: str) -> None:
    async with in_front_of(replying(answer(reply))) as process:
        heard = await process.post(body())
        assert (heard.status, heard.body) == (200, reply)
        assert heard.headers["content-length"] == str(len(reply))
        assert process.outcomes() == {f"candidate candidate {outcome}": 1}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("400 Bad Request", "client_error"),
        ("404 Not Found", "client_error"),
        ("429 Too Many Requests", "upstream_error"),
        ("500 Internal Server Error", "upstream_error"),
        ("504 Gateway Timeout", "timeout"),
        ("529 Overloaded", "upstream_error"),
    ],
)
async def test_an_error_of_controls_is_relayed_untouched(status: str, outcome: str) -> None:
    odd = b'{ "type":"error", "error":{"type":"x","message":"\\u00e9"} }'
    headers = b"content-type: application/json", b"request-id: req_1", b"retry-after: 7"
    async with in_front_of(replying(answer(odd, status=status, headers=headers)), ON_CONTROL) as process:
        heard = await process.post(body())
        assert (heard.status, heard.body) == (int(status[:3]), odd)
        assert (heard.headers["request-id"], heard.headers["retry-after"]) == ("req_1", "7")
        assert process.outcomes() == {f"control control {outcome}": 1}


async def test_headers_come_back_less_those_of_the_hop_and_those_that_look_like_ours() -> None:
    headers = (
        b"content-type: application/json",
        b"x-odd: caf\xc3\xa9",
        b"set-cookie: a=1",
        b"set-cookie: b=2",
        b"connection: x-hop",
        b"x-hop: 1",
        b"keep-alive: timeout=5",
        b"x-gateway-arm: forged",
        b"date: Mon, 01 Jan 2029 00:00:00 GMT",
    )
    async with in_front_of(replying(answer(message(), headers=headers))) as process:
        heard = await process.post(body())
        assert [value for name, value in heard.raw_headers if name == b"set-cookie"] == [b"a=1", b"b=2"]
        assert (b"x-odd", b"caf\xc3\xa9") in heard.raw_headers
        assert [value for name, value in heard.raw_headers if name == b"x-gateway-arm"] == [b"candidate"]
        assert not {b"x-hop", b"connection", b"keep-alive", b"date"} & {name for name, _ in heard.raw_headers}


async def test_an_answer_over_the_limit_is_not_kept_in_memory() -> None:
    async with in_front_of(
        replying(answer(b"x" * 100)), ON_CONTROL, limits=Limits(answer_bytes=50)
    ) as process:
        heard = await process.post(body())
        assert (heard.status, heard.json["error"]["type"]) == (502, "api_error")
        assert process.outcomes() == {"control control upstream_error": 1}


# --- what no migration governs ------------------------------------------------------------------------------


OTHER = body("claude-from-elsewhere", stream=True)


async def test_an_ungoverned_stream_passes_as_it_is_and_a_cut_one_ends_without_its_end() -> None:
    for cut in (False, True):
        async with in_front_of(streaming(START, TEXT, cut=cut)) as process:
            heard = await process.post(OTHER)
            assert (heard.body, heard.complete) == (START + TEXT, not cut)
            outcome = "upstream_error" if cut else "ok"
            assert process.labelled("passthrough_total", "outcome") == {outcome: 1}
            assert process.outcomes() == {}


async def test_an_ungoverned_error_is_counted_as_what_it_is() -> None:
    async with in_front_of(replying(answer(b"{}", status="400 X"))) as process:
        await process.post(OTHER)
        assert process.labelled("passthrough_total", "outcome") == {"client_error": 1}
