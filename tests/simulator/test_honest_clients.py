"""Whoever sends back what it got is never refused, whichever models take turns, and reads what it wrote."""

import json
from itertools import permutations
from typing import Any

import pytest

from gateway.simulator.app import Simulator, build_simulator
from gateway.simulator.rules.bindings.readers import reads
from gateway.simulator.rules.switches import Switches
from tests.support.clock import ManualClock
from tests.support.judged import catalogue

Json = dict[str, Any]
CURRENT = [row.id for row in catalogue().models if row.lifecycle.status != "retired"]
STRICT = Switches(recent_account=True, open_round_needs_thinking=True)
HEADERS = [
    (b"x-api-key", b"k"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"thinking-binding-controls-2026-08-01"),
]
TOOLS = [
    {"name": name, "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
    for name in ("read", "edit")
]
TURNS = 10


async def answered(simulator: Simulator, body: Json) -> Json:
    """The message for a request, without a server in between."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    path = {"path": "/v1/messages", "query_string": b""}
    await simulator({"type": "http", "method": "POST", "headers": HEADERS, **path}, receive, send)
    message: Json = json.loads(b"".join(part.get("body", b"") for part in sent))
    assert sent[0]["status"] == 200, message
    return message


async def conversation(models: list[str], **fields: Any) -> list[Json]:
    """The answers to a conversation in which these models take turns, an agent's with two tools."""
    simulator = build_simulator(catalogue(), clock=ManualClock(), speed=0, switches=STRICT, refusals=0)
    messages: list[Json] = [{"role": "user", "content": "Find the bug."}]
    answers = []
    for number, model in enumerate(models):
        body = {"model": model, "max_tokens": 8000, "tools": TOOLS, "messages": messages, **fields}
        answers.append(answer := await answered(simulator, body))
        calls = [block["id"] for block in answer["content"] if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call, "content": "It is fine."} for call in calls]
        turn = {"role": "assistant", "content": answer["content"]}
        messages = [*messages, turn, {"role": "user", "content": results or f"And number {number}?"}]
    return answers


@pytest.mark.parametrize("model", CURRENT)
async def test_a_conversation_with_one_model_goes_on(model: str) -> None:
    answers = await conversation([model] * TURNS)
    assert [answer["input_transformations"] for answer in answers] == [[]] * TURNS
    assert {answer["stop_reason"] for answer in answers} == {"tool_use", "end_turn"}


@pytest.mark.parametrize("one", CURRENT)
async def test_any_two_models_take_turns_and_what_one_does_not_read_is_dropped(one: str) -> None:
    for other in (other for first, other in permutations(CURRENT, 2) if first == one):
        pair = [one, other]
        answers = await conversation([pair[number // 2 % 2] for number in range(TURNS)])
        for number, answer in enumerate(answers):
            reasons = {entry["reason"] for entry in answer["input_transformations"]}
            asked, before = pair[number // 2 % 2], {pair[turn // 2 % 2] for turn in range(number)}
            thought = {model for model in before if thinks(answers, pair, model, number)}
            hidden = any(not reads(asked, producer, STRICT) for producer in thought)
            assert reasons == ({"model_binding_mismatch"} if hidden else set())


def thinks(answers: list[Json], pair: list[str], model: str, upto: int) -> bool:
    """Whether one of a model's answers up to a turn has thinking in it."""
    own = (answer for number, answer in enumerate(answers[:upto]) if pair[number // 2 % 2] == model)
    return any(block["type"] == "thinking" for answer in own for block in answer["content"])


@pytest.mark.parametrize("model", CURRENT)
async def test_the_cache_reads_all_that_was_written_the_turn_before(model: str) -> None:
    system = [{"type": "text", "text": "Rule by rule. " * 2500}]
    answers = await conversation([model] * TURNS, system=system, cache_control={"type": "ephemeral"})
    known = 0
    for answer in answers:
        usage = answer["usage"]
        total = sum(
            usage[part] for part in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        assert usage["cache_read_input_tokens"] == known or model in FORGETFUL
        assert usage["input_tokens"] == 0
        known = total


FORGETFUL = {"claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"}
"""They forget their thinking at the next question, and with it what was cached behind it."""
