"""The controller's own verbs: compare-and-set on what was judged, with what it was judged on."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.gates.verdict import GateResult, Judgement, MetricRow, Verdict
from gateway.core.rollout import Verb
from gateway.core.spec import Stage
from gateway.core.types import MigrationState, Phase
from gateway.errors import Conflict, StaleWrite
from tests.support.control import SPEC, ControlPlane

FAILED = GateResult("error_rate", Verdict.failed, "50.0% of 20 requests, above 10.0%", {"value": 0.5})
HELD = GateResult("hold", Verdict.passed, "10 minutes are over", {"watched_s": 600.0})
ROW = MetricRow("error", 0.02, 0.5, 25.0, 9.0, None, 1.25, 1.0, 20, 20, Verdict.failed)
SAW = Judgement((FAILED, HELD), (ROW,))


@pytest.fixture
async def plane() -> ControlPlane:
    stages = (*SPEC.stages[:2], replace(SPEC.stages[2], approval=True), Stage("full", 100))
    plane = ControlPlane({"m": replace(SPEC, stages=stages)})
    await plane.act("start", "advance")
    return plane


Act = Callable[[ControlPlane, MigrationState], Awaitable[None]]


async def roll_back(plane: ControlPlane, judged: MigrationState, **more: Any) -> None:
    given = {"by": "controller", "epoch": 99, "judgement": SAW} | more
    await plane.service.roll_back_automatically(judged, [FAILED], **given)


async def advance(plane: ControlPlane, judged: MigrationState, **more: Any) -> None:
    given = {"by": "controller", "epoch": 99, "judgement": SAW} | more
    await plane.service.advance_automatically(judged, "all green", **given)


async def pause(plane: ControlPlane, judged: MigrationState, **more: Any) -> None:
    given = {"by": "controller", "epoch": 99, "judgement": SAW} | more
    await plane.service.pause_automatically(judged, "no_data", "nothing came for 6 h", **given)


async def freeze(plane: ControlPlane, judged: MigrationState) -> None:
    await plane.service.freeze_baseline(judged, 12.5, by="controller", epoch=99)


async def test_a_rollback_keeps_what_failed_and_the_comparison(plane: ControlPlane) -> None:
    epoch = plane.state.epoch + 5
    await roll_back(plane, plane.state, epoch=epoch)
    assert (plane.state.phase, plane.state.reason, plane.state.epoch) == (
        Phase.rolled_back,
        "automatic",
        epoch,
    )
    assert plane.replica.snapshot.state("m") == plane.state
    (incident,) = await plane.service.read.incidents("m")
    assert (incident.cause, incident.by) == ("automatic", "controller")
    assert incident.reason == "error_rate: 50.0% of 20 requests, above 10.0%"
    assert incident.evidence["mode"] == "evict"
    (gate,) = incident.evidence["gates"]
    assert (gate["name"], gate["verdict"], gate["evidence"]) == ("error_rate", "fail", {"value": 0.5})
    (row,) = incident.evidence["metrics"]
    assert (row["name"], row["ratio"], row["margin"], row["upper"]) == ("error", 25.0, 1.25, None)


async def test_an_advance_keeps_every_gate_that_it_was_green_by(plane: ControlPlane) -> None:
    entry = plane.state.entry
    await advance(plane, plane.state)
    assert (plane.state.stage_index, plane.state.weight, plane.state.entry) == (2, 50_000, entry + 1)
    event = (await plane.service.read.events("m"))[-1]
    assert (event.verb, event.by, event.reason) == ("automatic-advance", "controller", "all green")
    assert [gate["name"] for gate in event.evidence["gates"]] == ["error_rate", "hold"]
    assert [row["name"] for row in event.evidence["metrics"]] == ["error"]
    assert plane.replica.snapshot.state("m") == plane.state


async def test_a_pause_says_what_it_waits_for_and_ends_without_a_new_entry(plane: ControlPlane) -> None:
    before = plane.state
    await pause(plane, before)
    assert (plane.state.phase, plane.state.reason, plane.state.weight) == (Phase.paused, "no_data", 20_000)
    assert (await plane.service.read.events("m"))[-1].reason == "nothing came for 6 h"
    paused = plane.state
    await plane.service.resume_automatically(
        paused, "requests came", by="controller", epoch=99, judgement=SAW
    )
    assert (plane.state.phase, plane.state.entry) == (Phase.running, before.entry)
    assert plane.verbs[-2:] == ["automatic-pause", "automatic-resume"]


async def test_a_baseline_is_written_down_in_words(plane: ControlPlane) -> None:
    await freeze(plane, plane.state)
    assert plane.state.slow_after_s == 12.5
    event = (await plane.service.read.events("m"))[-1]
    assert (event.verb, event.evidence) == ("freeze-baseline", {})
    assert "longer than 12.5 s" in event.reason


async def test_what_the_state_machine_refuses_is_not_written(plane: ControlPlane) -> None:
    await plane.act("advance")
    before = plane.state
    with pytest.raises(Conflict, match="has not been approved"):
        await advance(plane, before)
    await plane.act("pause")
    with pytest.raises(Conflict, match="paused by a person"):
        await plane.service.resume_automatically(plane.state, "", by="controller", epoch=99)
    assert plane.verbs == ["start", "advance", "advance", "pause"]


@pytest.mark.parametrize("act", [roll_back, advance, pause, freeze])
@pytest.mark.parametrize("meanwhile", ["step-back", "rollback", "pause"])
async def test_what_was_judged_before_somebody_wrote_is_left_alone(
    act: Act, meanwhile: Verb, plane: ControlPlane
) -> None:
    judged = plane.state
    await plane.act(meanwhile)
    after = plane.state
    with pytest.raises(StaleWrite):
        await act(plane, judged)
    assert plane.state == after


@pytest.mark.parametrize("act", [roll_back, advance, pause, freeze])
async def test_a_leader_that_slept_is_too_late_once_another_has_acted(act: Act, plane: ControlPlane) -> None:
    judged = plane.state
    await pause(plane, judged, epoch=judged.epoch + 7)
    after = plane.state
    with pytest.raises(StaleWrite, match=f"epoch {judged.epoch + 7} is stored"):
        await act(plane, judged)
    assert plane.state == after


async def test_who_leads_since_before_a_start_may_act_and_does_not_lower_the_epoch(
    plane: ControlPlane,
) -> None:
    epoch = plane.state.epoch
    await roll_back(plane, plane.state, epoch=0)
    assert (plane.state.phase, plane.state.epoch) == (Phase.rolled_back, epoch)


async def test_a_replica_that_cannot_read_its_own_write_has_written_it(plane: ControlPlane) -> None:
    plane.replica.cut_off = True
    await roll_back(plane, plane.state)
    assert plane.state.phase is Phase.rolled_back
