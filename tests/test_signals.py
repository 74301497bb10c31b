"""What is said of answers ends in the counts: of the assigned arm, in the run in which the request began."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest

from gateway.control.feedback import PATH
from gateway.control.status import Explanation
from gateway.core.counts import merge_run
from gateway.core.spec import Check
from gateway.core.tally import CheckCount, RunTally
from gateway.core.types import Arm, MigrationState, Phase
from gateway.errors import NotFound
from gateway.signals import Signals
from tests.support.plane import (
    O45,
    O46,
    ON_CANDIDATE,
    ON_CONTROL,
    SPEC,
    START,
    Process,
    body,
    by_model,
    event,
    in_front_of,
    message,
    streaming,
)
from tests.support.scripted import Script, answer, replying

CHECKED = replace(SPEC, checks=(Check("json", task="extraction", name="valid"),))
ENTERED = replace(ON_CANDIDATE, entry=2, spec=CHECKED)
TOOLS = [{"name": "book", "input_schema": {"type": "object", "required": ["seats"]}}]
END = event("content_block_stop", index=0) + event(
    "message_delta", delta={"stop_reason": "end_turn"}, usage={}
)


def said(*parts: str) -> bytes:
    """Return the stream of an answer that says this."""
    deltas = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": part}) for part in parts
    ]
    opening = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    return b"".join([START, opening, *deltas, END, event("message_stop")])


WHOLE, BROKEN = said('{"total"', ": 7}"), said('{"total"', ": 7")
HAIKU = "claude-haiku-4-5"
UPSTREAM = by_model({O45: streaming(WHOLE), O46: streaming(BROKEN), HAIKU: streaming(WHOLE)})


class Bench:
    """A process whose answers are judged, and what was counted."""

    def __init__(self, process: Process, signals: Signals) -> None:
        self.process = process
        transport = httpx2.ASGITransport(signals.feedback)
        self.http = httpx2.AsyncClient(transport=transport, base_url="http://gateway")

    async def told(self, doc: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Post feedback, and return what came of it."""
        answer = await self.http.post(PATH, json=doc, headers=headers)
        return {**answer.json(), "http": answer.status_code}

    async def counted(self) -> RunTally:
        """Return what was counted, once everything that waits has been judged and claimed."""
        await self.process.plane.tasks.drain(5)
        counts = self.process.plane.counts["m"]
        due = counts.due(self.process.clock.now() + 5)
        counts.settle(await self.process.store.claim("m", counts.run, "me", due))
        return merge_run([counts.docs()[str(counts.run)]])


class Explains:
    async def explain(self, name: str, unit: str, *, task: str | None = None) -> Explanation:
        if name != "m":
            raise NotFound(f"there is no migration {name!r}")
        return Explanation(
            name, unit, Arm.candidate, "bucket", 1, "header", True, None, Phase.running, 1, 100.0
        )


@asynccontextmanager
async def judging(
    script: Script = UPSTREAM, *, obeyed: MigrationState = ENTERED, **options: Any
) -> AsyncIterator[Bench]:
    async with in_front_of(script, ENTERED, spec=CHECKED, **options) as process:
        signals = Signals(
            process.plane,
            reader=Explains(),
            obeyed=lambda: _Obeyed(obeyed),
            operator_named=lambda token: "ann" if token == "op" else None,
        )
        bench = Bench(process, signals)
        async with bench.http:
            yield bench


@dataclass
class _Obeyed:
    last: MigrationState

    def state(self, name: str) -> MigrationState:
        return self.last


async def ask(bench: Bench, unit: str, content: bytes = b"", task: str = "extraction") -> Any:
    named = {"x_gateway_task": task, "x_gateway_unit": unit}
    return await bench.process.post(content or body(stream=True), **named)


async def test_a_broken_stream_of_json_counts_as_failed_for_the_arm_that_was_assigned() -> None:
    async with judging() as bench:
        broken = await ask(bench, "alice")
        bench.process.obey(replace(ON_CONTROL, spec=CHECKED), spec=CHECKED)
        whole = await ask(bench, "bob")
        assert (broken.body, whole.body) == (BROKEN, WHOLE), "judging changes no byte"
        tally = await bench.counted()
        assert tally.arms[Arm.candidate].checks == {"valid": CheckCount(0, 1)}
        assert tally.arms[Arm.control].checks == {"valid": CheckCount(1, 0)}
        assert tally.arms[Arm.candidate].exposure["check:valid"].failed == 1
        assert "check:valid" not in tally.arms[Arm.control].exposure, "at no weight nobody is enrolled"
        (case,) = tally.cases
        assert (case.failure, case.task, case.arm) == ("check:valid", "extraction", "candidate")
        assert broken.headers["x-gateway-request-id"].startswith(case.request_id + ".")
        assert bench.process.labelled("checks_total", "arm", "result") == {
            "candidate failed": 1,
            "control passed": 1,
        }


async def test_other_tasks_are_not_judged() -> None:
    async with judging() as bench:
        await ask(bench, "alice", task="chat")
        assert (await bench.counted()).arms[Arm.candidate].checks == {}


async def test_a_bad_tool_call_is_a_tool_error_without_any_configuration() -> None:
    block = {"type": "tool_use", "id": "t", "name": "book", "input": {}}
    doc = message("", content=[block], stop_reason="tool_use")
    async with judging(replying(answer(doc))) as bench:
        await ask(bench, "alice", body(tools=TOOLS), task="chat")
        tally = await bench.counted()
        assert tally.arms[Arm.candidate].exposure["tool_error"].failed == 1


async def test_a_complaint_counts_once_per_unit_and_a_rating_every_time() -> None:
    async with judging() as bench:
        told = [(await ask(bench, unit)).headers["x-gateway-request-id"] for unit in ("a", "a", "b")]
        for request_id in told:
            assert (await bench.told({"request_id": request_id, "kind": "issue"}))["counted"] is True
            await bench.told({"request_id": request_id, "kind": "rating", "score": 0.5})
        arm = (await bench.counted()).arms[Arm.candidate]
        assert (arm.issues, arm.ratings, arm.rating_total) == (2, 3, 1.5)
        assert bench.process.labelled("feedback_total", "kind") == {"issue": 3, "rating": 3}


async def test_feedback_on_a_forced_or_ungoverned_answer_is_accepted_and_not_counted() -> None:
    async with judging(is_operator=lambda token: token == "op") as bench:
        forced = {"x_gateway_force_arm": "control", "x_gateway_token": "op"}
        answers = [
            await bench.process.post(body(stream=True), **forced),
            await bench.process.post(body(HAIKU), x_gateway_unit="a"),
            await bench.process.post(body(), "/v1/messages/count_tokens", x_gateway_unit="a"),
        ]
        for heard in answers:
            request_id = heard.headers["x-gateway-request-id"]
            came = await bench.told({"request_id": request_id, "kind": "issue"})
            assert (came["http"], came["counted"]) == (202, False)


async def test_an_error_of_the_gateways_own_can_be_complained_about_too() -> None:
    async with judging() as bench:
        bench.process.upstream.close()
        heard = await ask(bench, "alice")
        assert heard.json["request_id"] == heard.headers["x-gateway-request-id"]
        assert (await bench.told({"request_id": heard.json["request_id"], "kind": "issue"}))[
            "counted"
        ] is True


async def test_an_operator_may_complain_for_a_unit() -> None:
    async with judging() as bench:
        named = {"migration": "m", "unit": "alice", "kind": "issue"}
        assert (await bench.told(named, **{"x-gateway-token": "op"}))["counted"] is True
        request_id = (await ask(bench, "alice")).headers["x-gateway-request-id"]
        await bench.told({"request_id": request_id, "kind": "issue"})
        assert (await bench.counted()).arms[Arm.candidate].issues == 1, "the same unit, so the same complaint"


async def test_with_client_keys_feedback_needs_one() -> None:
    async with judging(client_keys={"k": "team"}) as bench:
        request_id = "gw_" + "0" * 24
        refused = await bench.told({"request_id": request_id, "kind": "issue"})
        assert (refused["http"], refused["error"]["type"]) == (401, "authentication_error")
        known = await bench.told({"request_id": request_id, "kind": "issue"}, **{"x-api-key": "k"})
        assert known["http"] == 202


@pytest.mark.parametrize("checks", [(), (Check("regex", pattern="(?=a)", name="unusable"),)])
async def test_a_migration_without_usable_checks_serves_as_ever(checks: tuple[Check, ...]) -> None:
    async with judging() as bench:
        bench.process.obey(ENTERED, spec=replace(CHECKED, checks=checks))
        assert (await ask(bench, "alice")).body == BROKEN
        assert (await bench.counted()).arms[Arm.candidate].checks == {}


@pytest.mark.parametrize("ended", [{"phase": Phase.rolled_back}, {"phase": Phase.completed}, {"run": 2}])
async def test_a_complaint_of_a_run_that_has_ended_counts_nowhere_and_is_told_so(ended: Any) -> None:
    async with judging(obeyed=replace(ENTERED, **ended)) as bench:
        answer = await ask(bench, "alice")
        told = await bench.told({"request_id": answer.headers["x-gateway-request-id"], "kind": "issue"})
        assert (told["http"], told["counted"]) == (202, False)
        assert told["reason"] == "the run of this request is over"
        assert (await bench.counted()).arms[Arm.candidate].issues == 0
