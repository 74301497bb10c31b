"""Copies wait in a bounded queue, are judged one after the other, and are forgotten."""

import asyncio
import logging
from dataclasses import replace

import pytest

from gateway.core.booking import Checked, Place
from gateway.core.spec import Check
from gateway.core.tap import AnswerCopy, Tap, ToolCall
from gateway.core.types import Arm
from gateway.evals import online
from gateway.evals.online import LARGE_CHARS, MAX_WAITING, MAX_WAITING_CHARS, OnlineChecks
from gateway.tasks import Tasks

JSON = Check("json", task="extraction", name="valid")
PLACE = Place(Arm.candidate, 3, 2, "u", True)
COPY = AnswerCopy("m", PLACE, "gw_1", "extraction", '{"a": 1}', (), b"", "end_turn")


class Bench:
    """Online checks, and what came out of them."""

    def __init__(self, *checks: Check) -> None:
        self.checks = checks
        self.found: list[tuple[str, Checked]] = []
        self.dropped: list[tuple[str, Arm]] = []
        self.tasks = Tasks()
        self.tap: Tap = OnlineChecks(
            checks_of=lambda name: self.checks if name == "m" else (),
            checked=lambda name, checked: self.found.append((name, checked)),
            dropped=lambda *which: self.dropped.append(which),
            tasks=self.tasks,
        )

    async def judged(self) -> list[dict[str, bool]]:
        """Let everything that waits be judged."""
        await self.tasks.drain(5)
        return [checked.passed for _, checked in self.found]


async def test_what_was_found_is_told_with_its_place() -> None:
    bench = Bench(JSON)
    bench.tap.take(COPY)
    assert bench.found == [], "not while its caller waits"
    await bench.judged()
    assert bench.found == [("m", Checked(PLACE, "gw_1", "extraction", {"valid": True}))]


async def test_answers_are_judged_in_order_and_others_get_a_turn_in_between() -> None:
    bench, turns = Bench(JSON), list[int]()
    for text in ("{}", "{", "[]"):
        bench.tap.take(replace(COPY, text=text))
    while len(bench.found) < 3:
        turns.append(len(bench.found))
        await asyncio.sleep(0)
    assert turns == [0, 1, 2]
    assert await bench.judged() == [{"valid": True}, {"valid": False}, {"valid": True}]


async def test_a_large_answer_is_judged_like_a_small_one() -> None:
    bench = Bench(JSON)
    bench.tap.take(replace(COPY, text='"' + "x" * LARGE_CHARS + '"'))
    bench.tap.take(replace(COPY, text='"' + "x" * LARGE_CHARS))
    assert await bench.judged() == [{"valid": True}, {"valid": False}]


async def test_what_no_check_applies_to_is_told_to_nobody() -> None:
    bench = Bench(JSON)
    bench.tap.take(replace(COPY, stop_reason="refusal"))
    assert await bench.judged() == []


async def test_it_wants_what_a_check_is_for_and_every_request_with_tools() -> None:
    bench = Bench(JSON)
    assert bench.tap.wants("m", "extraction", has_tools=False)
    assert not bench.tap.wants("m", "chat", has_tools=False)
    assert not bench.tap.wants("other", "extraction", has_tools=False)
    assert bench.tap.wants("other", "chat", has_tools=True)
    assert Bench(replace(JSON, task="")).tap.wants("m", "anything", has_tools=False)


async def test_the_next_run_brings_its_own_checks() -> None:
    bench = Bench(JSON)
    bench.tap.take(COPY)
    await bench.judged()
    bench.checks = (Check("max_chars", name="short", max_chars=3),)
    assert bench.tap.wants("m", "chat", has_tools=False)
    bench.tap.take(COPY)
    assert await bench.judged() == [{"valid": True}, {"short": False}]


async def test_a_full_queue_drops_and_counts_and_goes_on_afterwards() -> None:
    bench = Bench(JSON)
    for _ in range(MAX_WAITING + 3):
        bench.tap.take(COPY)
    assert bench.dropped == [("m", Arm.candidate)] * 3
    assert len(await bench.judged()) == MAX_WAITING
    bench.tap.take(COPY)
    assert len(await bench.judged()) == MAX_WAITING + 1


async def test_a_queue_is_full_of_large_answers_sooner() -> None:
    bench, quarter = Bench(JSON), MAX_WAITING_CHARS // 4
    call = ToolCall("t", b"x" * quarter)
    for _ in range(5):
        bench.tap.take(replace(COPY, text="", tool_calls=(call,)))
    assert bench.dropped == [("m", Arm.candidate)]


async def test_a_check_that_cannot_be_used_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(Check("regex", name="bad", pattern="(?=a)"), JSON)
    with caplog.at_level(logging.WARNING, online.__name__):
        bench.tap.take(COPY)
        bench.tap.take(COPY)
        assert await bench.judged() == [{"valid": True}] * 2
    assert [record.check for record in caplog.records] == ["bad"]  # type: ignore[attr-defined]


async def test_one_answer_that_cannot_be_judged_does_not_end_it_nor_reach_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(JSON)
    found = bench.found

    def fail_once(name: str, checked: Checked) -> None:
        if not found:
            found.append((name, checked))
            raise RuntimeError("the words of an answer")
        found.append((name, checked))

    bench.tap = OnlineChecks(
        checks_of=lambda name: bench.checks,
        checked=fail_once,
        dropped=lambda *which: None,
        tasks=bench.tasks,
    )
    bench.tap.take(COPY)
    bench.tap.take(COPY)
    with caplog.at_level(logging.DEBUG):
        assert len(await bench.judged()) == 2
    assert [record.message for record in caplog.records] == ["an answer could not be judged"]
    assert "words" not in caplog.text
