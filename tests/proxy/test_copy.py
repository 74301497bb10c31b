"""What is collected of an answer while it goes to its client, and what is left alone."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gateway.core.tap import COPY_BYTES, AnswerCopy
from gateway.core.types import Arm
from gateway.proxy.copy import Copier
from tests.support.plane import (
    END,
    O45,
    O46,
    ON_CANDIDATE,
    START,
    TEXT,
    Process,
    body,
    by_model,
    event,
    in_front_of,
    message,
    streaming,
)
from tests.support.scripted import answer, replying

TOOLS = [{"name": "book", "input_schema": {"type": "object"}}]


@dataclass
class Ear:
    """A tap that keeps what it is given."""

    tasks: tuple[str, ...] = ("extraction",)
    heard: list[AnswerCopy] = field(default_factory=list)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    def wants(self, migration: str, task: str, *, has_tools: bool) -> bool:
        self.asked.append((migration, task, has_tools))
        return task in self.tasks or has_tools

    def take(self, copy: AnswerCopy) -> None:
        self.heard.append(copy)


def block(index: int, opening: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    """Return one content block of a stream."""
    opened = event("content_block_start", index=index, content_block=opening)
    grown = [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return b"".join([opened, *grown, event("content_block_stop", index=index)])


def text(index: int, *parts: str) -> bytes:
    deltas = [{"type": "text_delta", "text": part} for part in parts]
    return block(index, {"type": "text", "text": ""}, *deltas)


def call(index: int, name: str, *parts: str) -> bytes:
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return block(index, {"type": "tool_use", "id": "t", "name": name, "input": {}}, *deltas)


def ending(stop_reason: str = "end_turn") -> bytes:
    return event("message_delta", delta={"stop_reason": stop_reason}, usage={"output_tokens": 5}) + event(
        "message_stop"
    )


async def one(process: Process, ear: Ear, content: bytes, **headers: str) -> AnswerCopy:
    """Send a request and return the one copy of its answer."""
    heard = await process.post(content, **{"x_gateway_task": "extraction", "x_gateway_unit": "u", **headers})
    assert heard.status == 200
    assert len(ear.heard) == 1
    return ear.heard.pop()


async def test_a_whole_answer_is_copied_with_its_place() -> None:
    ear, doc = Ear(), message('{"a": 1}')
    async with in_front_of(replying(answer(doc)), tap=ear) as process:
        copy = await one(process, ear, body())
        assert (copy.migration, copy.task, copy.text, copy.stop_reason) == (
            "m",
            "extraction",
            '{"a": 1}',
            "end_turn",
        )
        assert (copy.place.arm, copy.place.run, copy.place.entry) == (Arm.candidate, 1, 0)
        assert copy.place.enrolled
        assert copy.place.unit_key == process.plane.ledger.key("u")
        assert (copy.tool_calls, copy.tools) == ((), b"")
        assert copy.request_id.startswith("gw_")


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_is_copied_however_it_is_cut_and_its_bytes_are_the_upstreams(size: int) -> None:
    ear = Ear()
    deltas = ({"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"})
    thought = block(0, {"type": "thinking", "thinking": "", "signature": ""}, *deltas)
    whole = START + thought + text(1, '{"a"', ": 1") + text(2, "}") + ending()
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    async with in_front_of(streaming(*pieces), tap=ear) as process:
        heard = await process.post(body(stream=True), x_gateway_task="extraction")
        assert heard.body == whole
        assert [(copy.text, copy.stop_reason) for copy in ear.heard] == [('{"a": 1}', "end_turn")]


async def test_tool_calls_are_copied_as_they_came() -> None:
    ear = Ear()
    events = START + text(0, "Let me.") + call(1, "book", "", '{"se', 'ats": 2') + call(2, "find")
    async with in_front_of(streaming(events + ending("tool_use")), tap=ear) as process:
        copy = await one(process, ear, body(stream=True, tools=TOOLS))
        assert [(each.name, each.input_json) for each in copy.tool_calls] == [
            ("book", b'{"seats": 2'),
            ("find", b"{}"),
        ]
        assert (copy.text, copy.stop_reason, json.loads(copy.tools)) == ("Let me.", "tool_use", TOOLS)


async def test_tool_calls_of_a_whole_answer_are_copied_too() -> None:
    ear = Ear()
    doc = message("", content=[{"type": "tool_use", "id": "t", "name": "book", "input": {"seats": 2}}])
    async with in_front_of(replying(answer(doc)), tap=ear) as process:
        copy = await one(process, ear, body(tools=TOOLS))
        assert [(each.name, each.input_json) for each in copy.tool_calls] == [("book", b'{"seats":2}')]


async def test_the_text_stands_behind_the_beginning_that_the_application_gave() -> None:
    ear = Ear()
    turns = [{"role": "user", "content": "JSON"}, {"role": "assistant", "content": "{"}]
    async with in_front_of(replying(answer(message('"a": 1}'))), tap=ear) as process:
        process.obey(replace(ON_CANDIDATE, weight=0))  # control takes the prefill as it is
        assert (await one(process, ear, body(messages=turns))).text == '{"a": 1}'
    async with in_front_of(replying(answer(message(""))), tap=ear) as process:
        process.obey(replace(ON_CANDIDATE, weight=0))
        assert (await one(process, ear, body(messages=turns))).text == "", "nothing was said"


async def test_what_was_put_back_is_what_is_copied() -> None:
    """The candidate is told the beginning in words and repeats it; its client gets it once, like the copy."""
    ear = Ear()
    turns = [{"role": "user", "content": "JSON"}, {"role": "assistant", "content": "{"}]
    async with in_front_of(replying(answer(message('{"a": 1}'))), tap=ear) as process:
        heard = await process.post(body(messages=turns), x_gateway_task="extraction", x_gateway_unit="u")
        assert heard.json["content"][0]["text"] == '"a": 1}'
        assert [copy.text for copy in ear.heard] == ['{"a": 1}']


async def test_a_conversation_that_changes_its_tools_is_copied_without_them() -> None:
    ear = Ear()
    changing = {"type": "tool_addition", "tool": {"definition": {"name": "more", "input_schema": {}}}}
    turns = [{"role": "user", "content": "hi"}, {"role": "system", "content": [changing]}]
    async with in_front_of(replying(answer(message())), tap=ear) as process:
        assert (await one(process, ear, body(messages=turns, tools=TOOLS))).tools == b""


async def test_nothing_is_collected_that_nobody_wants() -> None:
    ear = Ear(tasks=())
    async with in_front_of(replying(answer(message())), tap=ear) as process:
        await process.post(body(), x_gateway_task="chat")
        await process.post(body(tools=[{"type": "web_search_20250305", "name": "web_search"}]))
        await process.post(body(tools=TOOLS))
        assert ear.asked == [("m", "chat", False), ("m", "", False), ("m", "", True)]
        assert len(ear.heard) == 1


async def test_what_does_not_count_is_not_copied() -> None:
    ear = Ear()
    options: dict[str, Any] = {"tap": ear, "is_operator": lambda token: token == "op"}
    named = {"x_gateway_task": "extraction"}
    async with in_front_of(replying(answer(message())), **options) as process:
        forced = {"x_gateway_force_arm": "candidate", "x_gateway_token": "op"}
        await process.post(body(), **named, **forced)
        await process.post(body(), "/v1/messages/count_tokens", **named)
        await process.post(body("claude-haiku-4-5"), **named)
    async with in_front_of(replying(answer(b"{}", status="400 Bad Request")), **options) as process:
        await process.post(body(), **named)
    failed = event("error", error={"type": "overloaded_error", "message": "x"})
    for events, cut in ((START + TEXT, True), (START + TEXT + failed, False)):
        async with in_front_of(streaming(events, cut=cut), **options) as process:
            await process.post(body(stream=True), **named)
    assert ear.heard == []


async def test_a_rescued_answer_is_copied_for_the_arm_that_was_assigned() -> None:
    ear = Ear()
    script = by_model({O46: replying(answer(b"{}", status="529 X")), O45: replying(answer(message("hello")))})
    async with in_front_of(script, tap=ear) as process:
        copy = await one(process, ear, body())
        assert (copy.place.arm, copy.text) == (Arm.candidate, "hello")


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_answer_that_is_too_long_has_no_copy_and_arrives_all_the_same(streamed: bool) -> None:
    ear, half = Ear(), "x" * (COPY_BYTES // 2 + 1)
    events = START + text(0, half, half) + ending()
    script = streaming(events) if streamed else replying(answer(message(half * 2)))
    async with in_front_of(script, tap=ear) as process:
        heard = await process.post(body(stream=streamed), x_gateway_task="extraction")
        assert heard.body == (events if streamed else message(half * 2))
        assert ear.heard == []
        assert process.labelled("checks_total", "arm", "result") == {"candidate dropped": 1}


@pytest.mark.parametrize("odd", [b"[]", b'{"content": 7}', b"{", b'{"content": [[]], "stop_reason": "x"}'])
def test_an_answer_of_another_shape_is_no_reason_to_fail(odd: bytes) -> None:
    Copier().body(odd)
    copier = Copier()
    copier.take(copier.cut(b'event: content_block_delta\ndata: "text_delta" ' + odd + b"\n\n"))
    copier.take(copier.cut(TEXT + END))
