"""Ten turns on every pair of models, with an upstream that holds every conversation to what it was.

Tools, forced calls, beginnings of answers, thinking that is asked for and thinking that is not, cache markers
that move on: whatever the source takes. The application sends back what it was shown.
"""

import json
from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.core.spec import MigrationSpec, Stage
from gateway.simulator.rules.switches import Switches
from tests.support.plane import ON_CANDIDATE, Process, data_path
from tests.support.rows import CATALOGUE, EVERY_PAIR, H45, H55, O45, O55, S45, S55
from tests.support.upstream import Upstream, running_simulator

Json = dict[str, Any]
TURNS = 10
TOOLS: list[Json] = [
    {"name": "look_up", "description": "Look something up.", "input_schema": {"type": "object"}},
    {"name": "note", "description": "Write something down.", "input_schema": {"type": "object"}},
]
REHEARSED = [(O45, O55), (S45, S55), (H45, H55)]
OTHERS = [pair for pair in EVERY_PAIR if pair not in REHEARSED and pair[1].checks_prefix != "never"]


class Talk:
    """A conversation that uses what its model takes, turn by turn something else."""

    def __init__(self, process: Process, source: Model, unit: str) -> None:
        self.process, self.source, self.unit = process, source, unit
        self.turns: list[Json] = []

    async def say(self, number: int) -> None:
        last = self.turns[-1]["content"] if self.turns else []
        found = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "42"}
            for block in last
            if block["type"] == "tool_use"
        ]
        said = {
            "type": "text",
            "text": f"Tell me, {number}; use a tool.",
            "cache_control": {"type": "ephemeral"},
        }
        asked = [*map(_unmarked, self.turns), {"role": "user", "content": [*found, said]}]
        begin = "So:" if number % 5 == 4 and self.source.prefill else ""
        sent = [*asked, {"role": "assistant", "content": begin}] if begin else asked
        body = {
            "model": self.source.id,
            "max_tokens": 4000,
            "tools": TOOLS,
            "messages": sent,
            **self._options(number, begin),
        }
        heard = await self.process.post(
            json.dumps(body).encode(),
            x_gateway_unit=self.unit,
            x_api_key="sk-test",
            anthropic_version="2023-06-01",
        )
        assert heard.status == 200, heard.body
        assert "x-gateway-fallback" not in heard.headers
        assert "replay" not in heard.headers["x-gateway-rewrites"]
        content = heard.json["content"]
        if begin:
            first = next(at for at, block in enumerate(content) if block["type"] == "text")
            content[first] = {"type": "text", "text": begin + content[first]["text"]}
        self.turns = [*asked, {"role": "assistant", "content": content}]

    def _options(self, number: int, begin: str) -> Json:
        if begin:
            return {"tool_choice": {"type": "none"}}
        if number % 5 == 1 and self.source.forced_tool != "never" and self.source.thinking.omitted == "off":
            return {"tool_choice": {"type": "any"}}
        if number % 5 == 3 and "adaptive" in self.source.thinking.types:
            return {"thinking": {"type": "adaptive"}}
        return {}


def _unmarked(turn: Json) -> Json:
    blocks = [
        {key: value for key, value in block.items() if key != "cache_control"} for block in turn["content"]
    ]
    return {**turn, "content": blocks}


async def talk_on(source: Model, target: Model, vendor: Upstream) -> None:
    """Have ten turns, and show that the model got them all."""
    spec = MigrationSpec("m", source.id, target.id, models=(source.id,), stages=(Stage("full", 100),))
    vendor.forget_requests()
    async with data_path(vendor.url, ON_CANDIDATE, spec=spec) as process:
        talk = Talk(process, source, "u")
        for number in range(TURNS):
            await talk.say(number)
    sent = vendor.requests()
    assert [(request.model, request.status) for request in sent] == [(target.id, 200)] * len(sent)
    assert len(sent) >= TURNS
    blocks = [
        block["type"]
        for turn in sent[-1].json["messages"]
        if not isinstance(turn["content"], str)
        for block in turn["content"]
    ]
    if "disabled" not in target.thinking.types:
        # Between tools it only takes notes.
        assert blocks.count("thinking") >= (1 if "between_tools" in target.thinking.types else TURNS // 2)


@pytest.mark.parametrize(("source", "target"), REHEARSED, ids=lambda model: model.id)
async def test_ten_turns_break_no_binding(source: Model, target: Model) -> None:
    with running_simulator(switches=Switches(recent_account=True)) as vendor:
        await talk_on(source, target, vendor)


@pytest.mark.full
@pytest.mark.parametrize(
    "target",
    [model for model in CATALOGUE.models if model.checks_prefix != "never"],
    ids=lambda model: model.id,
)
async def test_ten_turns_break_no_binding_whoever_the_application_was_written_for(target: Model) -> None:
    with running_simulator(switches=Switches(recent_account=True)) as vendor:
        for source, other in OTHERS:
            if other is target:
                await talk_on(source, target, vendor)
