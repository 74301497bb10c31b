"""Conversations that the upstream holds between turns, and requests that are served just as asked."""

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.types import LINE, MigrationState, Phase
from tests.support.eventually import eventually
from tests.support.plane import (
    END,
    O45,
    O46,
    ON_CANDIDATE,
    ON_CONTROL,
    START,
    TEXT,
    Process,
    body,
    by_model,
    in_front_of,
    message,
    streaming,
)
from tests.support.scripted import Request, Script, answer, replying

FINE = replying(answer(message()))
TWENTY = replace(ON_CANDIDATE, weight=20_000)
# Run 1 of `m` puts alice at 3440, bob at 37642, user-42 at 70352: candidate, unenrolled, matched control.
ALICE, BOB, USER_42 = "alice", "bob", "user-42"


async def ask(process: Process, content: bytes, **headers: str) -> tuple[str, str]:
    heard = await process.post(content, **headers)
    return heard.headers["x-gateway-arm"], heard.headers["x-gateway-reason"]


def state(weight: int, **fields: Any) -> MigrationState:
    return replace(ON_CANDIDATE, weight=weight, version=9, **fields)


# --- threads -----------------------------------------------------------------------------------------------

HELD: dict[str, Any] = {"thread": {"type": "create"}}


def next_of(message_id: str, model: str = O45, **fields: Any) -> bytes:
    """Return the next turn of a thread."""
    thread = {"type": "continue", "previous_message_id": message_id}
    return body(model, "and?", thread=thread, **fields)


def naming(request: Request, writer: asyncio.StreamWriter) -> Awaitable[None]:
    """Answer as the message whose id the request's text is."""
    text = json.loads(request.body)["messages"][-1]["content"]
    return replying(answer(message(id=f"msg_{text}")))(request, writer)


@pytest.mark.parametrize("unit", [ALICE, BOB])
async def test_a_thread_goes_on_with_whoever_gave_its_last_answer_whatever_the_weight(unit: str) -> None:
    async with in_front_of(naming, TWENTY) as process:
        arm, _ = await ask(process, body(text="1", **HELD), x_gateway_unit=unit)
        process.obey(state(0 if arm == "candidate" else LINE))
        for previous in ("msg_1", "msg_and?", "msg_and?"):
            assert await ask(process, next_of(previous), x_gateway_unit=unit) == (arm, "pinned")
        assert await ask(process, next_of("msg_2"), x_gateway_unit=unit) == ("control", "carried_over")


async def test_a_streamed_answer_is_pinned_by_the_id_in_its_first_event() -> None:
    async with in_front_of(streaming(START, TEXT, END)) as process:
        await ask(process, body(stream=True, **HELD))
        assert await ask(process, next_of("msg_1", stream=True)) == ("candidate", "pinned")


async def test_what_nobody_asked_to_be_held_is_not_pinned_by_its_answer() -> None:
    async with in_front_of(FINE) as process:
        await ask(process, body(), x_gateway_unit=ALICE)
        assert await ask(process, next_of("msg_1"), x_gateway_unit=ALICE) == ("control", "carried_over")


async def test_an_answer_that_control_gave_in_the_candidates_place_is_held_by_control() -> None:
    failing = replying(answer(b"{}", status="529 Overloaded"))
    async with in_front_of(by_model({O46: failing, O45: FINE})) as process:
        heard = await process.post(body(**HELD))
        assert (heard.headers["x-gateway-arm"], heard.headers["x-gateway-fallback"]) == (
            "candidate",
            "overloaded",
        )
        assert await ask(process, next_of("msg_1")) == ("control", "pinned")


@pytest.mark.parametrize(("unit", "record"), [(ALICE, "candidate"), (USER_42, "control")])
async def test_who_holds_an_unknown_thread_is_not_guessed_from_its_unit(unit: str, record: str) -> None:
    async with in_front_of(FINE, TWENTY) as process:
        assert (await ask(process, body(), x_gateway_unit=unit))[0] == record
        assert await ask(process, next_of("msg_9"), x_gateway_unit=unit) == ("control", "carried_over")
        process.store.away = True
        assert await ask(process, next_of("msg_8"), x_gateway_unit=unit) == ("control", "carried_over")


async def test_a_thread_is_found_by_another_process() -> None:
    async with in_front_of(FINE) as process:
        await ask(process, body(**HELD))
        await eventually(lambda: not process.plane.ledger.queued)
        process.plane.ledger.forget("m")
        assert await ask(process, next_of("msg_1")) == ("candidate", "pinned")


async def test_once_the_migration_is_completed_an_unknown_thread_is_the_candidates() -> None:
    async with in_front_of(FINE, replace(ON_CANDIDATE, phase=Phase.completed)) as process:
        assert await ask(process, next_of("msg_9"), x_gateway_unit=ALICE) == ("candidate", "bucket")


MISMATCH = json.dumps(
    {"type": "error", "error": {"type": "x", "details": {"error_code": "thread_fingerprint_mismatch"}}}
).encode()


def holding(*models: str) -> Script:
    """Answer new threads, and go on from those that one of these models began."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body)
        refuses = asked["thread"]["type"] == "continue" and asked["model"] not in models
        writer.write(answer(MISMATCH, status="400 X") if refuses else answer(message()))

    return script


async def test_a_thread_that_a_withdrawn_arm_holds_is_not_known_any_more() -> None:
    killed = replace(ON_CANDIDATE, phase=Phase.rolled_back, reason="emergency", version=9, evicted_run=1)
    async with in_front_of(holding(O46)) as process:
        assert (await ask(process, body(**HELD)))[0] == "candidate"
        process.obey(killed)
        heard = await process.post(next_of("msg_1"))
        assert (heard.status, heard.json["error"]["type"]) == (404, "not_found_error")
        assert heard.json["error"]["details"] == {"error_code": "thread_not_found"}
        assert (heard.headers["x-gateway-arm"], heard.headers["x-gateway-reason"]) == ("control", "killed")
        assert process.outcomes() == {"candidate candidate ok": 1, "control control client_error": 1}
        assert process.asked == [O46, O45]
        assert (await process.post(body(**HELD))).status == 200


async def test_options_that_were_rewritten_otherwise_are_not_the_client_s_mistake() -> None:
    async with in_front_of(holding()) as process:
        await ask(process, body(**HELD))
        heard = await process.post(next_of("msg_1"))
        assert (heard.status, heard.headers["x-gateway-reason"]) == (404, "pinned")
        assert heard.json["error"]["details"] == {"error_code": "thread_not_found"}
        assert process.asked == [O46, O46], "and nobody else is asked"


async def test_what_control_says_of_a_thread_that_it_holds_reaches_the_client() -> None:
    async with in_front_of(holding(), ON_CONTROL) as process:
        await ask(process, body(**HELD))
        heard = await process.post(next_of("msg_1"))
        assert (heard.status, heard.body) == (400, MISMATCH)
        heard = await process.post(next_of("msg_1", "claude-from-elsewhere"))
        assert (heard.status, heard.body) == (400, MISMATCH)


@pytest.mark.parametrize("code", ["thread_not_found", "thread_already_continued", None])
async def test_any_other_refusal_of_a_turn_reaches_the_client(code: str | None) -> None:
    refusal = json.dumps({"type": "error", "error": {"type": "x", "details": {"error_code": code}}}).encode()
    async with in_front_of(replying(answer(refusal, status="404 X"))) as process:
        heard = await process.post(next_of("msg_7"))
        assert (heard.status, heard.body) == (404, refusal)
        assert len(process.asked) == 1


# --- requests that are served as they were asked for --------------------------------------------------------


async def test_a_fallback_credit_is_redeemed_as_it_was_asked_for() -> None:
    async with in_front_of(FINE) as process:
        turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "As I was"}]
        sent = body(messages=turns, temperature=0.5, container="c_1", fallback_credit_token="t_1")
        heard = await process.post(sent, x_gateway_unit=ALICE)
        assert process.upstream.requests[0].body == sent
        assert heard.headers["x-gateway-reason"] == "ungoverned"
        assert "x-gateway-arm" not in heard.headers
        assert process.labelled("passthrough_total", "outcome") == {"ok": 1}


async def test_a_paused_turn_goes_on_untouched_with_the_model_that_began_it() -> None:
    paused = [
        {"type": "text", "text": "Let me see."},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    ]
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": paused}]
    async with in_front_of(FINE) as process:
        await ask(process, body(), x_gateway_unit=ALICE)
        process.obey(state(0))
        sent = body(messages=turns, container="container_1")
        assert await ask(process, sent, x_gateway_unit=ALICE) == ("candidate", "pinned")
        arrived = json.loads(process.upstream.requests[-1].body)
        assert arrived == {**json.loads(sent), "model": O46}
