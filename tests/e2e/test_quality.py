"""Answers of no use, end to end: the demo's applications on both arms, judged as they are served.

A simulated Messages API on a real socket behind the data path of one process; what was judged is read from
its counts. A healthy candidate passes every check that control passes; one that breaks fails them, while its
callers are given exactly what they would be given without anybody looking.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.counts import merge_run
from gateway.core.spec import Check
from gateway.core.tally import CheckCount, RunTally
from gateway.core.types import LINE, Arm, MigrationState
from gateway.demo.apps import Conversation, Template, load_templates
from gateway.signals import Signals
from tests.support.answers import folded, text_of
from tests.support.plane import O45, ON_CANDIDATE, SPEC, Process, data_path
from tests.support.upstream import Upstream, running_simulator

O55 = "claude-opus-5-5"
CHECKS = (
    Check("json", task="extraction", name="is json"),
    Check(
        "json_schema", task="extraction", name="is a record", schema='{"type": "object", "minProperties": 2}'
    ),
    Check("max_chars", task="chat", name="is short", max_chars=1000),
    Check("tool_input_valid", name="calls well"),
)
JUDGED = replace(SPEC, candidate=O55, checks=CHECKS)
EXTRACTION = [
    template
    for template in load_templates(Path(__file__).parents[2] / "config" / "demo")
    if template.expects == "json"
]
BOOK = {
    "name": "book",
    "input_schema": {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]},
}


@pytest.fixture(scope="module")
def _simulator() -> Iterator[Upstream]:
    with running_simulator() as upstream:
        yield upstream


@pytest.fixture
def simulator(_simulator: Upstream) -> Iterator[Upstream]:
    _simulator.set_faults()
    yield _simulator
    _simulator.set_faults()


@asynccontextmanager
async def served(simulator: Upstream, arm: Arm, *, judged: bool = True) -> AsyncIterator[Process]:
    state: MigrationState = replace(ON_CANDIDATE, weight=LINE if arm is Arm.candidate else 0)
    async with data_path(simulator.url, state, spec=JUDGED) as process:
        if judged:
            Signals(process.plane, reader=_Nobody(), obeyed=_Nobody, operator_named=lambda token: None)
        yield process


class _Nobody:
    """Is never asked."""

    async def explain(self, name: str, unit: str, *, task: str | None = None) -> Any:
        raise AssertionError

    def state(self, name: str) -> Any:
        raise AssertionError


async def tally_of(process: Process) -> RunTally:
    """Return what was counted, once everything was judged and claimed."""
    await process.plane.tasks.drain(5)
    counts = process.plane.counts["m"]
    due = counts.due(process.clock.now() + 5)
    counts.settle(await process.store.claim("m", counts.run, "me", due))
    return merge_run([counts.docs()[str(counts.run)]])


async def ask(process: Process, body: dict[str, Any], *, task: str, unit: str = "u") -> bytes:
    named = {
        "x_gateway_task": task,
        "x_gateway_unit": unit,
        "anthropic_version": "2023-06-01",
        "x_api_key": "k",
    }
    heard = await process.post(json.dumps(body).encode(), **named)
    assert heard.status == 200, heard.body
    return heard.body


def extracting(template: Template, number: int, *, stream: bool) -> dict[str, Any]:
    body = Conversation(template, user=f"user-{number}", number=number, model=O45).body
    return {**body, "stream": stream}


@pytest.mark.parametrize("arm", Arm)
async def test_the_demos_extraction_passes_on_both_arms(simulator: Upstream, arm: Arm) -> None:
    async with served(simulator, arm) as process:
        for number, template in enumerate(EXTRACTION * 4):
            body = extracting(template, number, stream=number % 2 == 0)
            await ask(process, body, task="extraction", unit=f"u{number}")
        count = len(EXTRACTION) * 4
        checks = (await tally_of(process)).arms[arm].checks
        assert checks == {"is json": CheckCount(count, 0), "is a record": CheckCount(count, 0)}


@pytest.mark.parametrize("stream", [True, False])
async def test_broken_json_fails_for_the_candidate_and_its_callers_get_it_as_it_is(
    simulator: Upstream, stream: bool
) -> None:
    simulator.set_faults(f"kind=bad_json,model={O55}")
    bodies = [extracting(template, number, stream=stream) for number, template in enumerate(EXTRACTION)]
    said: dict[bool, list[str]] = {}
    for judged in (True, False):
        async with served(simulator, Arm.candidate, judged=judged) as process:
            answers = [
                await ask(process, body, task="extraction", unit=f"u{n}") for n, body in enumerate(bodies)
            ]
            said[judged] = [text_of(folded(a.decode()) if stream else json.loads(a)) for a in answers]
            tally = await tally_of(process)
            failed = {"is json", "is a record"} if judged else set()
            checks = tally.arms[Arm.candidate].checks
            assert checks == dict.fromkeys(failed, CheckCount(0, len(bodies)))
            for name in failed:
                assert tally.arms[Arm.candidate].exposure[f"check:{name}"].failed == len(bodies)
    assert said[True] == said[False]
    assert all(said[True])


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call_that_misses_its_schema_is_a_tool_error(simulator: Upstream, stream: bool) -> None:
    body = {"model": O45, "max_tokens": 500, "tools": [BOOK], "stream": stream}
    turns = [{"role": "user", "content": "Use the tool."}]
    for fault, passed, failed in (((), 1, 0), ((f"kind=bad_tool_input,model={O55}",), 0, 1)):
        simulator.set_faults(*fault)
        async with served(simulator, Arm.candidate) as process:
            await ask(process, {**body, "messages": turns}, task="agent")
            arm = (await tally_of(process)).arms[Arm.candidate]
            assert arm.checks["calls well"] == arm.checks["tool_error"] == CheckCount(passed, failed)
            assert ("tool_error" in arm.exposure and arm.exposure["tool_error"].failed) == failed


async def test_a_talkative_candidate_costs_three_times_as_much_and_is_too_long(simulator: Upstream) -> None:
    body = {"model": O45, "max_tokens": 4000, "messages": [{"role": "user", "content": "How are you?"}]}
    cost: list[int] = []
    for fault, passed in (((), True), ((f"kind=verbose,factor=9,model={O55}",), False)):
        simulator.set_faults(*fault)
        async with served(simulator, Arm.candidate) as process:
            await ask(process, body, task="chat")
            arm = (await tally_of(process)).arms[Arm.candidate]
            assert arm.checks["is short"] == CheckCount(int(passed), int(not passed))
            cost.append(arm.cost_microusd)
    assert cost[1] > 8 * cost[0]
