"""One process's autopilot as it is put together: what runs, what only a leader does, and how it ends."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.compat.catalog import Catalogue
from gateway.control.autopilot.build import Autopilot, Parts
from gateway.control.autopilot.gather import Gatherer
from gateway.control.notify.sinks import Sink
from gateway.core.counts import Counts
from gateway.core.types import Arm, Outcome, Phase
from gateway.tasks import Tasks
from tests.support.control import SPEC, ControlPlane, fill
from tests.support.eventually import eventually, others
from tests.support.rows import CATALOGUE
from tests.support.webhook import receiver


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


class Process:
    """An autopilot with counts of its own; what it asks the vendor and what it shows is noted."""

    def __init__(self, plane: ControlPlane, name: str, **parts: Any) -> None:
        self.counts, self.tasks = {"m": Counts()}, Tasks()
        self.errors: list[str] = []
        known: dict[str, Any] = {
            "store": plane.store,
            "replica": plane.replica,
            "replica_id": name,
            "orders": plane.service,
            "desk": plane.desk,
            "gatherer": Gatherer(plane.store, clock=plane.clock),
            "counts": self.counts,
            "specs": lambda: plane.specs,
            "catalogue": lambda: CATALOGUE,
            "sinks": dict,
            "models": None,
            "show_models": lambda ids, drifts, at: None,
            "url": "",
            "jitter": lambda seconds: seconds,
            "clock": plane.clock,
            "on_result": lambda result: None,
            "on_error": self.errors.append,
        }
        self.autopilot = Autopilot(Parts(**known | parts), self.tasks)

    async def end(self) -> None:
        await self.tasks.drain(1.0)
        await self.autopilot.step_down()
        await self.autopilot.close()


async def test_one_of_two_leads_and_judges_what_both_have_counted(plane: ControlPlane) -> None:
    await plane.serving()
    await plane.replica.refresh()
    first, second = Process(plane, "r1"), Process(plane, "r2")
    for process in (first, second):
        fill(process.counts["m"], *[Outcome.timeout] * 5, now=plane.clock.now)
    for process in (first, second):
        process.autopilot.start()
    await eventually(lambda: first.autopilot.judgements)
    assert (first.autopilot.leader, second.autopilot.leader) == (True, False)
    assert second.autopilot.judgements == {}
    assert (first.autopilot.watched_s, second.autopilot.watched_s) == ({"m": 0.0}, {})
    assert first.tasks.names == ["controller", "counts", "local-breaker", "news"]
    counted = await plane.store.counts("m")
    assert set(counted) == {"r1", "r2"}
    for process in (first, second):
        await process.end()
        assert process.tasks.names == []
    assert plane.server.data.lease is None
    third = Process(plane, "r3")
    third.autopilot.start()
    await eventually(lambda: plane.state.phase is Phase.rolled_back)
    await third.end()


async def test_the_last_that_was_counted_is_written_after_the_last_request(plane: ControlPlane) -> None:
    await plane.serving()
    await plane.replica.refresh()
    process = Process(plane, "r1")
    fill(process.counts["m"], Outcome.ok, Outcome.ok, now=plane.clock.now)
    await process.end()
    (tally,) = (await plane.store.tallies("m", "1")).values()
    assert tally["arms"][Arm.candidate.value]["requests"] == 2


async def test_the_news_is_sent_by_whoever_leads(plane: ControlPlane) -> None:
    asked: list[str] = []

    def sinks(name: str) -> Callable[[], dict[str, Sink]]:
        def told() -> dict[str, Sink]:
            asked.append(name)
            return {}

        return told

    first, second = (Process(plane, name, sinks=sinks(name)) for name in ("r1", "r2"))
    await first.autopilot.tell()
    assert asked == []
    for process in (first, second):
        process.autopilot.start()
    await eventually(lambda: first.autopilot.leader)
    await first.autopilot.tell()
    await second.autopilot.tell()
    assert set(asked) == {"r1"}
    for process in (first, second):
        await process.end()


async def test_the_news_says_where_the_command_line_finds_the_gateway(plane: ControlPlane) -> None:
    with receiver() as hook:
        told = {SPEC.name: replace(SPEC, notify=("ops",))}
        sinks = {"ops": Sink("ops", "webhook", hook.url)}
        process = Process(plane, "r1", sinks=lambda: sinks, specs=lambda: told, url="http://gw.test:81")
        process.autopilot.start()
        await eventually(lambda: process.autopilot.leader)
        await plane.store.put_document(SPEC.name, "notified:ops", b"0", epoch=1)
        await plane.serving()
        await process.autopilot.tell()
        await eventually(lambda: hook.deliveries)
        await process.end()
    assert b"--url http://gw.test:81" in hook.deliveries[0].body


async def test_a_migration_whose_file_has_gone_is_told_of_as_its_run_has_it(plane: ControlPlane) -> None:
    with receiver() as hook:
        plane.specs[SPEC.name] = replace(SPEC, notify=("ops",))
        sinks = {"ops": Sink("ops", "webhook", hook.url)}
        process = Process(plane, "r1", sinks=lambda: sinks, specs=dict)
        process.autopilot.start()
        await eventually(lambda: process.autopilot.leader)
        await plane.store.put_document(SPEC.name, "notified:ops", b"0", epoch=1)
        await plane.serving()
        await plane.replica.refresh()
        await process.autopilot.tell()
        await eventually(lambda: hook.deliveries)
        await process.end()
    assert b"started" in hook.deliveries[0].body


async def test_retirements_are_those_of_the_catalogue_as_it_is_now(plane: ControlPlane) -> None:
    row = CATALOGUE.find(SPEC.control)
    assert row is not None
    soon = datetime.fromtimestamp(plane.clock.now(), UTC).date() + timedelta(days=10)
    retiring = replace(row, lifecycle=replace(row.lifecycle, retires_on=soon))
    known = [Catalogue(())]
    await plane.serving()
    for catalogue, told in ((Catalogue(()), False), (Catalogue((retiring,)), True)):
        known[0] = catalogue
        process = Process(plane, "r1", catalogue=lambda: known[0])
        process.autopilot.start()
        await judged_once(process)
        assert ("retirement" in plane.verbs) is told
        await process.end()


async def judged_once(process: Process) -> None:
    """Wait until a tick has come to its end."""
    await eventually(lambda: process.autopilot.judgements)
    for _ in range(50):
        await others()


async def test_the_vendor_is_asked_for_its_list_where_there_is_a_key(plane: ControlPlane) -> None:
    asked: list[float] = []

    async def models() -> list[dict[str, Any]]:
        asked.append(plane.clock.now())
        return []

    process = Process(plane, "r1", models=models)
    process.autopilot.start()
    await eventually(lambda: process.autopilot.leader)
    await process.tasks.drain(1.0)
    process.autopilot.start()
    assert "catalogue" in process.tasks.names
    await eventually(lambda: asked)
    await process.end()
