"""Forced tool calls that do not come, and what is known of a request before it is sent."""

import asyncio
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from gateway.compat.envelope import parse
from gateway.core.types import Arm, Change, FallbackCause, RewriteClass
from gateway.core.units import Identity
from gateway.proxy.call import Call, Limits
from gateway.proxy.forward import adapt, forward
from gateway.proxy.resolve import Resolved, resolve
from tests.support.plane import (
    END,
    O45,
    O46,
    ON_CANDIDATE,
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
from tests.support.scripted import Request, Script, answer, replying

O55, S45 = "claude-opus-5-5", "claude-sonnet-4-5-20250929"
AGEING: dict[str, Any] = {"control": S45, "models": (S45,)}
CONTROL_SAYS = message("from control")
FINE = replying(answer(CONTROL_SAYS))

# --- a tool call that is forced ----------------------------------------------------------------------------

FORCING = replace(SPEC, candidate=O55)
TOOL = {"name": "t", "input_schema": {"type": "object"}}
FORCED: dict[str, Any] = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "t"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}}
CALLS = replying(answer(message(content=[CALL], stop_reason="tool_use")))
TALKS = replying(answer(message("I would rather talk")))
CALL_STARTS = event("content_block_start", index=0, content_block={**CALL, "input": {}})
CALL_ENDS = (
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 5})
    + event("message_stop")
)


def one_after_the_other(*scripts: Script) -> Script:
    """Return a script whose answers come in this order, the last one for good."""
    left = list(scripts)

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return script


def retries(process: Process) -> float:
    return process.metrics().get('gateway_retries_total{migration="m"}', 0)


async def test_a_forced_call_that_comes_is_the_answer() -> None:
    async with in_front_of(by_model({O55: CALLS, O45: FINE}), spec=FORCING) as process:
        heard = await process.post(body(**FORCED))
        assert heard.json["content"] == [CALL]
        assert process.asked == [O55]
        assert "x-gateway-fallback" not in heard.headers
        assert retries(process) == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_does_not_come_is_asked_for_once_more_in_firmer_words(*, stream: bool) -> None:
    talks = streaming(START, TEXT, END) if stream else TALKS
    calls = streaming(START, CALL_STARTS, CALL_ENDS) if stream else CALLS
    candidate = one_after_the_other(talks, calls)
    async with in_front_of(by_model({O55: candidate, O45: FINE}), spec=FORCING) as process:
        heard = await process.post(body(stream=stream, **FORCED))
        assert b"toolu_1" in heard.body
        assert b"hi" not in heard.body
        assert process.asked == [O55, O55]
        first, second = (request.body for request in process.upstream.requests)
        assert first != second
        assert "x-gateway-fallback" not in heard.headers
        assert retries(process) == 1
        assert process.outcomes() == {"candidate candidate ok": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_where_it_does_not_come_then_either_control_is_asked(*, stream: bool) -> None:
    talks = streaming(START, TEXT, END) if stream else TALKS
    async with in_front_of(by_model({O55: talks, O45: FINE}), spec=FORCING) as process:
        heard = await process.post(body(stream=stream, **FORCED))
        assert heard.body == CONTROL_SAYS
        assert process.asked == [O55, O55, O45]
        assert heard.headers["x-gateway-fallback"] == "no_tool_call"
        assert process.labelled("fallbacks_total", "cause") == {"no_tool_call": 1}
        sent = process.upstream.requests[-1].body
        assert b'"tool_choice": {"type": "tool", "name": "t"}' in sent


@pytest.mark.parametrize("stream", [False, True])
async def test_answers_that_nobody_was_given_are_paid_for_all_the_same(*, stream: bool) -> None:
    talks, calls = (
        (streaming(START, TEXT, END), streaming(START, CALL_STARTS, CALL_ENDS)) if stream else (TALKS, CALLS)
    )
    async with in_front_of(by_model({O55: one_after_the_other(talks, calls)}), spec=FORCING) as process:
        await process.post(body(stream=stream, **FORCED))
        used = process.labelled("tokens_total", "arm", "served", "kind")
        assert used == {"candidate candidate input": 20, "candidate candidate output": 10}
    async with in_front_of(by_model({O55: talks, O45: FINE}), spec=FORCING) as process:
        await process.post(body(stream=stream, **FORCED))
        used = process.labelled("tokens_total", "arm", "served", "kind")
        assert used["candidate candidate input"] == 20
        assert used["candidate control input"] == 10
        assert process.labelled("cost_usd_total", "served").keys() == {"candidate", "control"}
        assert process.outcomes() == {"candidate control ok": 1}


async def test_where_control_is_retired_what_the_candidate_said_last_is_the_answer() -> None:
    async with in_front_of(by_model({O55: TALKS}), spec=replace(FORCING, **AGEING)) as process:
        process.obey(ON_CANDIDATE, today=date(2099, 1, 1))
        heard = await process.post(body(S45, **FORCED))
        assert heard.json["content"] == [{"type": "text", "text": "I would rather talk"}]
        assert process.asked == [O55, O55]


@pytest.mark.parametrize("reason", ["refusal", "max_tokens"])
async def test_an_answer_that_ended_for_a_reason_of_its_own_is_not_asked_for_again(reason: str) -> None:
    says = replying(answer(message("no", stop_reason=reason)))
    async with in_front_of(by_model({O55: says, O45: FINE}), spec=FORCING) as process:
        heard = await process.post(body(**FORCED))
        assert heard.json["stop_reason"] == reason
        assert process.asked == [O55]


async def test_a_failure_of_the_second_attempt_is_rescued_like_any_other() -> None:
    overloaded = replying(answer(error("overloaded_error"), status="529 X"))
    candidate = one_after_the_other(TALKS, overloaded)
    async with in_front_of(by_model({O55: candidate, O45: FINE}), spec=FORCING) as process:
        heard = await process.post(body(**FORCED))
        assert (heard.body, heard.headers["x-gateway-fallback"]) == (CONTROL_SAYS, "overloaded")


async def test_a_stream_is_held_back_until_the_call_has_begun_and_for_no_longer_than_a_ping() -> None:
    said, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunk(START))
        said.set()
        await go_on.wait()
        writer.write(chunk(TEXT) + chunk(END) + chunk(b""))

    script = by_model({O55: slow, O45: FINE})
    async with in_front_of(script, spec=FORCING, limits=Limits(ping_after_s=0.02)) as process:
        caller = process.call(body(stream=True, **FORCED))
        await caller.until(lambda heard: heard.body.startswith(START))
        go_on.set()
        heard = await caller.answer()
        # Nobody could wait to see that it would not come.
        assert b"hi" in heard.body
        assert process.asked == [O55]


async def test_a_stream_that_fails_while_it_is_held_back_is_rescued() -> None:
    failed = event("error", error={"type": "overloaded_error", "message": "no"})
    fails = streaming(START, TEXT, failed)
    async with in_front_of(by_model({O55: fails, O45: FINE}), spec=FORCING) as process:
        heard = await process.post(body(stream=True, **FORCED))
        assert (heard.body, heard.headers["x-gateway-fallback"]) == (CONTROL_SAYS, "overloaded")


async def test_a_stream_that_is_cut_while_it_is_held_back_is_rescued() -> None:
    cut = streaming(START, event("ping"), cut=True)
    async with in_front_of(by_model({O55: cut, O45: FINE}), spec=FORCING) as process:
        heard = await process.post(body(stream=True, **FORCED))
        assert (heard.body, heard.headers["x-gateway-fallback"]) == (CONTROL_SAYS, "server_error")


# --- what is known beforehand -------------------------------------------------------------------------------


async def test_what_the_candidate_would_reject_goes_to_control_without_asking_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with in_front_of(FINE) as process:
        call, resolved = await assigned(process)
        rewritten = adapt(call, resolved.governed, Arm.candidate, resolved.ruleset)
        hole = Change("sampling", RewriteClass.unservable, "it takes none")
        holed = replace(rewritten, violations=(hole,))
        sent = await forward(call, resolved, holed, process.plane)
        sent.exchange.close()
        assert process.asked == [O45]
        assert (sent.served, sent.fallback) == (Arm.control, FallbackCause.rejected_by_model)
        assert sent.booked
        assert "the candidate would reject" in caplog.text


async def test_where_control_is_retired_the_candidate_is_asked_all_the_same() -> None:
    async with in_front_of(FINE, spec=replace(SPEC, **AGEING)) as process:
        process.obey(ON_CANDIDATE, today=date(2099, 1, 1))
        call, resolved = await assigned(process, S45)
        rewritten = adapt(call, resolved.governed, Arm.candidate, resolved.ruleset)
        holed = replace(rewritten, violations=(Change("x", RewriteClass.unservable, "no"),))
        (await forward(call, resolved, holed, process.plane)).exchange.close()
        assert process.asked == [O46]


async def test_betas_go_out_as_the_rules_leave_them() -> None:
    async with in_front_of(FINE) as process:
        call, resolved = await assigned(process)
        rewritten = adapt(call, resolved.governed, Arm.candidate, resolved.ruleset)
        for betas in (None, ("a", "b"), ()):
            (await forward(call, resolved, replace(rewritten, betas=betas), process.plane)).exchange.close()
        sent = [
            [value for name, value in request.headers if name == b"anthropic-beta"]
            for request in process.upstream.requests
        ]
        assert sent == [[b"a", b"b,c"], [b"a,b"], []]


async def assigned(process: Process, model: str = O45) -> tuple[Call, Resolved]:
    """Return a request of a caller that sends two headers of betas, and where it goes."""
    content = body(model)
    call = Call(
        request_id="gw_1",
        method=b"POST",
        target=b"/v1/messages",
        headers=[(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b,c")],
        body=content,
        envelope=parse(content),
        identity=Identity(header="u"),
        task="",
        forced=None,
        counting=False,
        started=0.0,
    )
    return call, await resolve(call, process.plane)
