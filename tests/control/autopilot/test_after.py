"""What is due for people: written once, whoever leads, and never before it is known."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.control.autopilot.after import COUNTED_S, SETTLE_S, WEEK_S, After
from gateway.control.autopilot.controller import Controller, Judged
from gateway.control.papers.incidents import IncidentPaper
from gateway.core.evidence import Evidence
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Judgement, Verdict
from gateway.core.types import Event, MigrationState, Phase, from_json
from tests.support.control import SPEC, ControlPlane

DAY_S = 86_400.0
DRIFTED = GateResult("drift", Verdict.failed, "refusal rose", {})
STEADY = GateResult("drift", Verdict.passed, "as it was", {})


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


def today(plane: ControlPlane) -> date:
    return datetime.fromtimestamp(plane.clock.now(), UTC).date()


def leading(plane: ControlPlane, holder: str = "r1", retires: Mapping[str, date] | None = None) -> Controller:
    """Return a controller that sees to papers."""
    days = retires or {}
    after = After(plane.store, plane.desk, retires_on=days.get, clock=plane.clock)
    return plane.controller(holder, aftercare=after)


def told(plane: ControlPlane, verb: str) -> list[Event]:
    return [event for event in plane.server.data.events.get("m", ()) if event.verb == verb]


def papers(plane: ControlPlane) -> list[str]:
    return sorted(name for of, name in plane.server.data.documents if of == "m" and name != "evidence")


async def once_counted(plane: ControlPlane, leader: Controller) -> None:
    """Let the leader see what has happened, and again when the last counts must have come."""
    await leader.tick()
    plane.clock.advance(COUNTED_S)
    await leader.tick()


# --- rollbacks ----------------------------------------------------------------------------------------------


async def test_an_incident_is_written_as_soon_as_every_replica_has_acknowledged(plane: ControlPlane) -> None:
    leader = leading(plane)
    await plane.serving()
    await plane.report("r1", candidate_sent_at=1000.0)
    await plane.report("r2", candidate_sent_at=1001.0)
    await plane.act("rollback", reason="answers too long")
    await leader.tick()
    assert papers(plane) == []
    await plane.report("r1", candidate_sent_at=1000.0)
    await leader.tick()
    assert papers(plane) == []
    await plane.report("r2", candidate_sent_at=1002.5)
    plane.clock.advance(COUNTED_S)
    await leader.tick()
    assert papers(plane) == ["incident:3"]
    body = await plane.store.document("m", "incident:3")
    assert body is not None
    paper = from_json(body, IncidentPaper)
    assert (paper.id, paper.cause, paper.reason) == (3, "user", "answers too long")
    assert paper.last_candidate_request == {"r1": 1000.0, "r2": 1002.5}
    assert paper.markdown.startswith("# ")


async def test_it_waits_for_the_last_counts(plane: ControlPlane) -> None:
    leader = leading(plane)
    await plane.serving()
    await plane.act("rollback")
    for _ in range(int(COUNTED_S)):
        await leader.tick()
        assert papers(plane) == []
        plane.clock.advance(1)
    await leader.tick()
    assert papers(plane) == ["incident:3"]


async def test_it_does_not_wait_for_ever_for_a_replica_that_is_silent(plane: ControlPlane) -> None:
    leader = leading(plane)
    await plane.serving()
    await plane.report("mute")
    await plane.act("rollback")
    for _ in range(int(SETTLE_S)):
        await leader.tick()
        assert papers(plane) == []
        plane.clock.advance(1)
    await leader.tick()
    assert papers(plane) == ["incident:3"]


async def test_an_incident_is_written_once_whoever_leads(plane: ControlPlane) -> None:
    first, second = leading(plane, "r1"), leading(plane, "r2")
    await plane.serving()
    await plane.act("rollback")
    await once_counted(plane, first)
    written = plane.server.data.documents["m", "incident:3"]
    await first.close()
    plane.clock.advance(60)
    for _ in range(3):
        await second.tick()
    assert plane.server.data.documents["m", "incident:3"] == written
    assert plane.store.calls["put_document"] == 1


async def test_each_rollback_has_its_own(plane: ControlPlane) -> None:
    leader = leading(plane)
    await plane.serving()
    await plane.service.emergency_rollback("m", by="ada", reason="now")
    await once_counted(plane, leader)
    await plane.act("restart", "rollback")
    await once_counted(plane, leader)
    assert papers(plane) == ["incident:3", "incident:5"]


async def test_a_draft_that_was_rolled_back_has_one_too_and_keeps_nobody_from_anything(
    plane: ControlPlane,
) -> None:
    leader = leading(plane)
    await plane.act("rollback", reason="not this one")
    await once_counted(plane, leader)
    assert papers(plane) == ["incident:1"]
    await plane.act("restart")
    await leader.tick()
    assert "m" in leader.judged


async def test_what_is_changed_of_a_migration_that_rests_is_no_second_incident(plane: ControlPlane) -> None:
    leader = leading(plane)
    await plane.serving()
    await plane.act("rollback", mode="drain")
    await leader.tick()
    await plane.act("rollback", mode="evict")
    await plane.service.set_lists("m", lambda lists: lists, by="ada", reason="", if_match=None)
    await once_counted(plane, leader)
    assert papers(plane) == ["incident:3"]
    calls = plane.store.calls["events"]
    await leader.tick()
    assert plane.store.calls["events"] == calls


# --- the end ------------------------------------------------------------------------------------------------


async def test_the_last_report_is_written_once_for_each_run_that_is_completed(plane: ControlPlane) -> None:
    first, second = leading(plane, "r1"), leading(plane, "r2")
    await plane.serving(Phase.soaking)
    await plane.act("complete")
    await first.tick()
    written = plane.server.data.documents["m", "final"]
    assert b"Final report of m" in written[1]
    assert len(told(plane, "final-report")) == 1
    calls = plane.store.calls["events"]
    await first.tick()
    assert plane.store.calls["events"] == calls
    await first.close()
    for _ in range(3):
        await second.tick()
    assert plane.server.data.documents["m", "final"] == written
    plane.clock.advance(60)
    await plane.act("restart", "advance", "advance", "advance", "advance", "complete")
    await second.tick()
    assert plane.server.data.documents["m", "final"] != written
    assert [event.after["run"] for event in told(plane, "final-report")] == [1, 2]


# --- soaking ------------------------------------------------------------------------------------------------


async def test_a_report_is_written_every_week_of_soaking_and_announced(plane: ControlPlane) -> None:
    leader = leading(plane)
    await plane.serving(Phase.soaking)
    for _ in range(16 * 4):
        await leader.tick()
        plane.clock.advance(DAY_S / 4)
    reports = [name for name in papers(plane) if name.startswith("report:")]
    days = [date.fromisoformat(name.removeprefix("report:")) for name in reports]
    assert len(days) == 2
    assert days[1] - days[0] == timedelta(seconds=WEEK_S)
    assert [event.evidence["report"] for event in told(plane, "weekly-report")] == [
        day.isoformat() for day in days
    ]
    assert (await plane.evidence()).reported_at > 0


async def test_no_report_is_written_before_the_top(plane: ControlPlane) -> None:
    leader = leading(plane)
    await plane.serving(Phase.paused)
    for _ in range(20):
        await leader.tick()
        plane.clock.advance(DAY_S)
    assert papers(plane) == []


async def test_a_leader_that_died_before_it_marked_a_report_does_not_have_it_told_again(
    plane: ControlPlane,
) -> None:
    first, second = leading(plane, "r1"), leading(plane, "r2")
    await plane.serving(Phase.soaking)
    await first.tick()
    plane.clock.advance(WEEK_S)
    unmarked = plane.server.data.documents["m", "evidence"]
    await first.tick()
    plane.server.data.documents["m", "evidence"] = unmarked
    await first.close()
    for _ in range(2):
        await second.tick()
    assert len(told(plane, "weekly-report")) == 1
    assert (await plane.evidence()).reported_at > 0


# --- drift --------------------------------------------------------------------------------------------------


def soaking(plane: ControlPlane, *gates: GateResult, evidence: Evidence | None = None) -> Judged:
    state = plane.state
    assert state.phase is Phase.soaking
    return Judged(Picture(SPEC, state, plane.clock.now(), evidence=evidence or Evidence()), Judgement(gates))


async def test_a_drift_is_told_once_and_again_only_when_it_had_ended(plane: ControlPlane) -> None:
    await plane.serving(Phase.soaking)
    after = After(plane.store, plane.desk, retires_on=lambda _: None, clock=plane.clock)
    marks: list[bool] = []
    evidence = Evidence(run=1)
    unsure = replace(DRIFTED, verdict=Verdict.inconclusive)
    again = replace(DRIFTED, reason="error rose")
    for gate in (STEADY, DRIFTED, DRIFTED, unsure, DRIFTED, STEADY, again):
        judged = soaking(plane, gate, evidence=evidence)
        evidence = await after.tend(plane.state, judged, epoch=1) or evidence
        marks.append(evidence.drift_told)
    assert marks == [False, True, True, True, True, False, True]
    assert [event.reason for event in told(plane, "drift")] == ["refusal rose", "error rose"]
    assert told(plane, "drift")[0].evidence["gates"][0]["name"] == "drift"


# --- retirement ---------------------------------------------------------------------------------------------


async def test_controls_retirement_is_announced_ever_more_urgently(plane: ControlPlane) -> None:
    leader = leading(plane, retires={SPEC.control: today(plane) + timedelta(days=40)})
    await plane.serving(Phase.paused)
    for _ in range(45 * 2):
        await leader.tick()
        plane.clock.advance(DAY_S / 2)
    days = [event.evidence["days"] for event in told(plane, "retirement")]
    assert days == [30, 14, 7, 1]
    assert "retires on" in told(plane, "retirement")[-1].reason
    assert told(plane, "retirement")[-1].reason.endswith("in 1 day")


async def test_who_starts_late_is_told_the_nearest_warning_alone(plane: ControlPlane) -> None:
    leader = leading(plane, retires={SPEC.control: today(plane) + timedelta(days=5)})
    await plane.serving()
    for _ in range(3):
        await leader.tick()
        plane.clock.advance(1)
    assert [event.evidence["days"] for event in told(plane, "retirement")] == [5]


@pytest.mark.parametrize("retires", [{}, {SPEC.candidate: 1}, {SPEC.control: 31}])
async def test_nobody_is_warned_of_what_is_far_away_or_not_control(
    plane: ControlPlane, retires: Mapping[str, int]
) -> None:
    days = {model: today(plane) + timedelta(days=left) for model, left in retires.items()}
    leader = leading(plane, retires=days)
    await plane.serving()
    await leader.tick()
    assert told(plane, "retirement") == []


async def test_a_model_that_is_gone_already_is_said_to_be(plane: ControlPlane) -> None:
    leader = leading(plane, retires={SPEC.control: today(plane) - timedelta(days=3)})
    await plane.serving()
    await leader.tick()
    (event,) = told(plane, "retirement")
    assert event.reason.endswith("so it is gone")


async def test_what_cannot_be_measured_is_not_written_about(plane: ControlPlane) -> None:
    await plane.serving(Phase.soaking)
    after = After(plane.store, plane.desk, retires_on=lambda _: today(plane), clock=plane.clock)
    picture = Picture(SPEC, plane.state, plane.clock.now(), unmeasured="another version")
    assert await after.tend(plane.state, Judged(picture, Judgement((DRIFTED,))), epoch=1) is None
    assert (told(plane, "drift"), told(plane, "retirement")) == ([], [])


async def test_a_draft_and_what_was_not_judged_need_nothing(plane: ControlPlane) -> None:
    after = After(plane.store, plane.desk, retires_on=lambda _: None, clock=plane.clock)
    assert await after.tend(MigrationState("m"), None, epoch=1) is None
    await plane.serving()
    assert await after.tend(plane.state, None, epoch=1) is None
    assert papers(plane) == []
