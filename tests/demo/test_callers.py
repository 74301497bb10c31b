"""The callers speak the Messages API, tell what they saw, and stop when they are told to."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.compat.catalog import Catalogue
from gateway.config import load_catalogue
from gateway.core.types import Arm
from gateway.demo.apps import Conversation, load_templates
from gateway.demo.callers import Callers
from gateway.demo.tally import Seen
from gateway.tasks import SystemClock
from tests.support.eventually import eventually
from tests.support.scripted import Request, Script, answer, replying, scripted_upstream

CONFIG = Path(__file__).parents[2] / "config"
TEMPLATES = load_templates(CONFIG / "demo")
HEADERS = (
    b"content-type: application/json",
    b"x-gateway-arm: candidate",
    b"x-gateway-reason: bucket",
    b"x-gateway-served-model: claude-opus-5-5",
    b"x-gateway-rewrites: sampling=E, prefill=E",
)
MESSAGE = {
    "type": "message",
    "content": [
        {"type": "text", "text": '"a": 1}'},
        {"type": "tool_use", "id": "t", "name": "x", "input": {}},
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1_000_000, "output_tokens": 0},
}
EVENTS: list[dict[str, object]] = [
    {"type": "message_start", "message": {"usage": MESSAGE["usage"]}},
    *(
        {"type": "content_block_start", "index": index, "content_block": block}
        for index, block in enumerate(MESSAGE["content"])  # type: ignore[arg-type]
    ),
    {"type": "message_stop"},
]
STREAM = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in EVENTS).encode()


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(CONFIG / "models.yaml")


def friendly(fallback: bytes | None = None) -> Script:
    headers = (*HEADERS, b"x-gateway-fallback: " + fallback) if fallback else HEADERS

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        streams = json.loads(request.body).get("stream")
        writer.write(answer(STREAM if streams else json.dumps(MESSAGE).encode(), headers=headers))
        await writer.drain()

    return script


async def hear(
    script: Script, catalogue: Catalogue, enough: int = 30
) -> tuple[list[tuple[str, Seen]], list[Request]]:
    """What the callers report until there is enough, and what reached the upstream."""
    reports: list[tuple[str, Seen]] = []
    async with scripted_upstream(script) as upstream, asyncio.TaskGroup() as group:
        callers = Callers(
            upstream.url, TEMPLATES, catalogue, SystemClock(), model="claude-opus-4-5", users=50
        )
        talking = group.create_task(
            callers.talk(lambda: "early", lambda stage, seen: reports.append((stage, seen)))
        )
        await eventually(lambda: len(reports) >= enough)
        callers.stop()
        await talking
    return reports, upstream.requests


async def test_everything_is_told_of_a_good_answer(catalogue: Catalogue) -> None:
    reports, requests = await hear(friendly(), catalogue)
    assert {stage for stage, _ in reports} == {"early"}
    assert [seen.complaint for _, seen in reports if seen.complaint] == []
    seen = reports[0][1]
    assert (seen.arm, seen.reason, seen.fallback) == (Arm.candidate, "bucket", None)
    assert seen.rewrites == ("sampling", "prefill")
    assert seen.cost_microusd == 4_000_000
    assert len({seen.application for _, seen in reports}) == 5
    headers = dict(requests[0].headers)
    assert requests[0].line.startswith(b"POST /v1/messages ")
    assert (headers[b"x-api-key"], headers[b"anthropic-version"]) == (b"demo", b"2023-06-01")


async def test_a_rescue_is_told(catalogue: Catalogue) -> None:
    reports, _ = await hear(friendly(b"overloaded"), catalogue)
    assert {seen.fallback for _, seen in reports} == {"overloaded"}


async def test_an_error_is_a_complaint_and_ends_the_conversation(catalogue: Catalogue) -> None:
    error = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    reports, _ = await hear(replying(answer(error, status="529 Overloaded")), catalogue)
    assert {seen.complaint for _, seen in reports} == {"HTTP 529 overloaded_error"}
    assert all(seen.first for _, seen in reports)


async def test_a_connection_that_breaks_is_a_complaint(catalogue: Catalogue) -> None:
    async def hang_up(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    reports, _ = await hear(hang_up, catalogue)
    assert {seen.complaint for _, seen in reports} == {"HTTP 0 RemoteProtocolError"}


def test_everybody_has_one_conversation_before_anybody_has_two(catalogue: Catalogue) -> None:
    callers = Callers("http://x", TEMPLATES, catalogue, SystemClock(), model="m", users=7)
    users = [callers.conversation(number).user for number in range(14)]
    assert len(set(users[:7])) == 7
    assert users[7:] == users[:7]


async def test_a_refusal_and_the_id_for_feedback_are_told(catalogue: Catalogue) -> None:
    refusal = json.dumps({**MESSAGE, "stop_reason": "refusal"}).encode()
    refused = answer(refusal, headers=(*HEADERS, b"x-gateway-request-id: gw_1.2"))

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(refused)
        await writer.drain()

    reports, _ = await hear(script, catalogue)
    whole = [seen for _, seen in reports if seen.refused]
    assert whole
    assert {(seen.request_id, seen.complaint) for seen in whole} == {("gw_1.2", None)}


def test_what_else_a_conversation_says_stands_in_its_headers(catalogue: Catalogue) -> None:
    def say(conversation: Conversation) -> dict[str, str]:
        return {"x-gateway-task": conversation.template.application}

    callers = Callers("http://x", TEMPLATES, catalogue, SystemClock(), model="m", users=7, say=say)
    conversation = callers.conversation(3)
    assert conversation.headers["x-gateway-task"] == conversation.template.application
    assert conversation.headers.keys() > {"x-gateway-task"} or conversation.template.headers == {}


def test_a_user_stays_with_one_application(catalogue: Catalogue) -> None:
    callers = Callers("http://x", TEMPLATES, catalogue, SystemClock(), model="m", users=10)
    applications = {callers.conversation(3 + 10 * round_).template.application for round_ in range(20)}
    names = {callers.conversation(3 + 10 * round_).template.name for round_ in range(20)}
    assert (len(applications), len(names) > 1) == (1, True)
