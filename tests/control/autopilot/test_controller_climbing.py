"""A migration that climbs by itself, as a leader takes it through its stages; on a clock moved by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.control.autopilot.controller import GAP_S, Controller
from gateway.control.autopilot.gather import EVIDENCE, Gatherer
from gateway.control.autopilot.lease import LEASE_TTL_S
from gateway.core.evidence import Evidence
from gateway.core.spec import Freeze, Gates, MigrationSpec, Stage
from gateway.core.types import Arm, Outcome, Phase, from_json
from tests.support.clock import ManualClock
from tests.support.control import SPEC, ControlPlane, Traffic

GOOD = [Outcome.ok] * 30
SICK = [Outcome.ok] * 20 + [Outcome.refused] * 10
STEP_S = 5
HOLDS_S = {"internal": 60, "canary": 120, "half": 60, "full": 30}
CLIMB = replace(
    SPEC,
    stages=(
        Stage("internal", 0, hold_s=60),
        Stage("canary", 5, hold_s=120, min_units=20),
        Stage("half", 50, hold_s=60, min_units=20),
        Stage("full", 100, hold_s=30),
    ),
    gates=Gates(no_traffic_s=60),
)


class Shift:
    """Somebody's traffic, and whoever leads meanwhile."""

    def __init__(self, spec: MigrationSpec = CLIMB) -> None:
        self.plane = ControlPlane({"m": spec})
        self.traffic = Traffic(self.plane)
        self.leader = self.plane.controller()

    async def go(
        self,
        seconds: float,
        candidate: Sequence[Outcome] | None = GOOD,
        control: Sequence[Outcome] = GOOD,
        leader: Controller | None = None,
    ) -> None:
        """Let time pass in which everybody does their part; without a candidate it gets no traffic."""
        for _ in range(round(seconds / STEP_S)):
            self.traffic.meet(Arm.control, control)
            if candidate is not None and self.plane.state.weight:
                self.traffic.meet(Arm.candidate, candidate)
            await self.traffic.enrol(30)
            await self.traffic.write()
            await (leader or self.leader).tick()
            self.plane.clock.advance(STEP_S)

    @property
    def standing(self) -> tuple[str, str, str]:
        """Return phase, reason and stage."""
        state = self.plane.state
        assert state.spec is not None
        return state.phase.value, state.reason, state.spec.stages[state.stage_index].name

    async def evidence(self) -> Evidence:
        body = await self.plane.store.document("m", EVIDENCE)
        assert body is not None
        return from_json(body, Evidence)


async def begun(spec: MigrationSpec = CLIMB) -> Shift:
    shift = Shift(spec)
    await shift.plane.act("start")
    return shift


async def at_canary(spec: MigrationSpec = CLIMB) -> Shift:
    shift = await begun(spec)
    await shift.go(65)
    assert shift.standing == ("running", "", "canary")
    return shift


# --- up -----------------------------------------------------------------------------------------------------


async def test_a_healthy_candidate_climbs_to_the_top_and_no_stage_is_shortened() -> None:
    shift = await begun()
    await shift.go(400)
    assert shift.standing == ("soaking", "", "full")
    events = shift.plane.server.data.events["m"]
    climbs = [event for event in events if event.verb in ("start", "automatic-advance")]
    assert [event.after["weight_percent"] for event in climbs] == [0, 5, 50, 100, 100]
    assert {event.by for event in climbs[1:]} == {"controller"}
    took = [later.at - earlier.at for earlier, later in pairwise(climbs)]
    assert all(0 <= each - hold <= 2 * STEP_S for each, hold in zip(took, HOLDS_S.values(), strict=True))
    others = [event.verb for event in events if event not in climbs]
    assert others == ["freeze-baseline"]


async def test_what_was_counted_stands_in_the_log_beside_each_step() -> None:
    shift = await at_canary()
    await shift.go(130)
    (advance,) = [e for e in shift.plane.server.data.events["m"] if e.after["weight_percent"] == 50][:1]
    gates = {gate["name"]: gate["verdict"] for gate in advance.evidence["gates"]}
    assert gates["hold"] == gates["min_units"] == gates["error"] == "pass"
    assert {metric["name"] for metric in advance.evidence["metrics"]} >= {"error", "refusal"}


async def test_nothing_climbs_without_traffic_and_the_stage_pauses_until_there_is_some() -> None:
    shift = await at_canary()
    await shift.go(50, candidate=None)
    assert shift.standing == ("running", "", "canary")
    await shift.go(3600, candidate=None)
    assert shift.standing == ("paused", "no_data", "canary")
    await shift.go(10)
    assert shift.standing == ("running", "", "canary")
    assert shift.plane.verbs.count("automatic-pause") == shift.plane.verbs.count("automatic-resume") == 1


async def test_nothing_climbs_while_an_expected_replica_is_silent() -> None:
    shift = await at_canary()
    for _ in range(100):
        await shift.plane.report("mute")
        await shift.go(STEP_S)
    assert shift.standing[0] != "soaking"
    assert shift.standing[2] == "canary"
    await shift.plane.store.deregister("mute")
    await shift.go(15)
    assert shift.standing == ("running", "", "half")


async def test_what_a_person_paused_stays_so_however_green_it_is() -> None:
    shift = await at_canary()
    await shift.plane.act("pause")
    before = shift.plane.state
    await shift.go(3600)
    assert shift.plane.state == replace(
        before, slow_after_s=shift.plane.state.slow_after_s, version=shift.plane.state.version,
        epoch=shift.plane.state.epoch, updated_at=shift.plane.state.updated_at,
        updated_by=shift.plane.state.updated_by,
    )  # fmt: skip
    assert shift.plane.state.phase is Phase.paused
    await shift.plane.act("resume")
    await shift.go(100)
    assert shift.standing == ("running", "", "canary")
    await shift.go(35)
    assert shift.standing == ("running", "", "half")


async def test_a_freeze_keeps_a_stage_and_lets_it_go_on_by_itself() -> None:
    clock = ManualClock()
    freeze = Freeze("audit", since="2027-01-15", until="2027-01-15T09:00")
    assert clock.now() == 1_800_000_000  # 2027-01-15 08:00 UTC
    shift = await begun(replace(CLIMB, freeze=(freeze,)))
    await shift.go(600)
    assert shift.standing == ("paused", "freeze", "internal")
    await shift.go(3000)
    assert shift.standing[2] == "internal"
    await shift.go(30)
    assert shift.standing == ("running", "", "canary")


async def test_an_approval_is_waited_for_and_only_when_all_else_is_green() -> None:
    stages = (CLIMB.stages[0], replace(CLIMB.stages[1], approval=True), *CLIMB.stages[2:])
    shift = await at_canary(replace(CLIMB, stages=stages))
    await shift.go(100)
    assert shift.standing == ("running", "", "canary")
    await shift.go(600)
    assert shift.standing == ("paused", "approval", "canary")
    status = await shift.plane.service.read.status("m")
    assert status.approval.needed
    assert status.approval.waiting_since == shift.plane.state.updated_at
    await shift.plane.act("approve", by="grace")
    await shift.go(10)
    assert shift.standing == ("running", "", "half")


async def test_a_sick_candidate_is_not_spared_for_want_of_an_approval() -> None:
    stages = (CLIMB.stages[0], replace(CLIMB.stages[1], approval=True), *CLIMB.stages[2:])
    shift = await at_canary(replace(CLIMB, stages=stages))
    await shift.go(200)
    assert shift.standing[:2] == ("paused", "approval")
    await shift.go(10, candidate=[Outcome.timeout] * 60)
    assert shift.standing[:2] == ("rolled_back", "automatic")


# --- down ---------------------------------------------------------------------------------------------------


async def test_first_failures_beyond_chance_roll_back_before_any_hold_is_over() -> None:
    shift = await at_canary()
    await shift.go(20, candidate=SICK)
    assert shift.standing[:2] == ("rolled_back", "automatic")
    event = shift.plane.server.data.events["m"][-1]
    assert event.reason.startswith("refusal: ")
    (row,) = [metric for metric in event.evidence["metrics"] if metric["name"] == "refusal"]
    assert row["verdict"] == "fail"


async def test_they_roll_back_what_a_person_has_paused_as_well() -> None:
    shift = await at_canary()
    await shift.plane.act("pause")
    await shift.go(20, candidate=SICK)
    assert shift.standing[:2] == ("rolled_back", "automatic")


async def test_a_provider_that_fails_both_rolls_back_nobody_and_nothing_climbs() -> None:
    shift = await at_canary()
    await shift.go(400, candidate=[Outcome.timeout] * 30, control=[Outcome.timeout] * 30)
    assert shift.standing[0] in ("running", "paused")
    assert shift.standing[2] == "canary"


# --- time ---------------------------------------------------------------------------------------------------


async def test_another_leader_goes_on_where_the_first_one_was_stopped() -> None:
    shift = await at_canary()
    await shift.go(60)
    before = await shift.evidence()
    await shift.leader.close()
    second = shift.plane.controller("r2")
    await shift.go(STEP_S, leader=second)
    after = await shift.evidence()
    assert after.watched_s == before.watched_s + STEP_S
    assert after.tests["error"].at_risk[1] > before.tests["error"].at_risk[1] > 0
    await shift.go(70, leader=second)
    assert shift.standing == ("running", "", "half")


async def test_who_leads_again_goes_on_from_what_others_have_gathered_meanwhile() -> None:
    shift = await at_canary()
    await shift.go(20)
    await shift.leader.close()
    second = shift.plane.controller("r2")
    await shift.go(60, leader=second)
    before = await shift.evidence()
    await second.close()
    await shift.go(STEP_S)
    assert (await shift.evidence()).watched_s == before.watched_s + STEP_S


async def test_evidence_of_an_earlier_run_does_not_replace_what_is_remembered_of_this_one() -> None:
    shift = await at_canary()
    earlier = shift.plane.server.data.documents["m", EVIDENCE]
    await shift.plane.act("rollback", "restart", "advance")
    await shift.go(30)
    before = await shift.evidence()
    shift.plane.server.data.documents["m", EVIDENCE] = earlier
    await shift.leader.close()
    await shift.go(STEP_S)
    after = await shift.evidence()
    assert (after.run, after.watched_s) == (2, before.watched_s + STEP_S)


async def test_time_in_which_nobody_led_hardly_counts() -> None:
    shift = await at_canary()
    await shift.go(60)
    before = await shift.evidence()
    shift.plane.clock.advance(3600)
    second = shift.plane.controller("r2")
    await shift.go(STEP_S, leader=second)
    assert (await shift.evidence()).watched_s == before.watched_s + GAP_S


async def test_an_hour_without_the_store_is_no_hour_of_watching() -> None:
    shift = await at_canary()
    await shift.go(60)
    before = await shift.evidence()
    shift.plane.store.away = True
    for _ in range(720):
        shift.plane.clock.advance(5)
        await shift.leader.tick()
    shift.plane.store.away = False
    await shift.go(STEP_S)
    assert shift.standing == ("running", "", "canary")
    assert (await shift.evidence()).watched_s <= before.watched_s + GAP_S


class Jumpy:
    """A clock whose wall time somebody sets."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.off_s = 0.0

    def now(self) -> float:
        return self._clock.now() + self.off_s

    def monotonic(self) -> float:
        return self._clock.monotonic()


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
async def test_a_wall_clock_that_jumps_changes_nothing(jump_s: float) -> None:
    shift = await begun()
    plane = shift.plane
    clock = Jumpy(plane.clock)
    leader = Controller(
        plane.store, plane.service, gatherer=Gatherer(plane.store, clock=clock),
        specs=lambda: plane.specs, holder="r1", clock=clock, on_error=lambda _: None,
    )  # fmt: skip
    await shift.go(65, leader=leader)
    await shift.go(60, leader=leader)
    clock.off_s = jump_s
    await shift.go(50, leader=leader)
    assert shift.standing == ("running", "", "canary")
    assert (await shift.evidence()).watched_s == 105
    await shift.go(20, leader=leader)
    assert shift.standing == ("running", "", "half")


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
async def test_between_two_leaders_it_changes_next_to_nothing(jump_s: float) -> None:
    shift = await at_canary()
    await shift.go(30)
    before = await shift.evidence()
    await shift.leader.close()
    clock = Jumpy(shift.plane.clock)
    clock.off_s = jump_s
    second = Controller(
        shift.plane.store, shift.plane.service, gatherer=Gatherer(shift.plane.store, clock=clock),
        specs=lambda: shift.plane.specs, holder="r2", clock=clock, on_error=lambda _: None,
    )  # fmt: skip
    await shift.go(STEP_S, leader=second)
    assert 0 <= (await shift.evidence()).watched_s - before.watched_s <= GAP_S


async def test_evidence_that_the_store_lost_is_written_again_by_whoever_remembers_it() -> None:
    shift = await at_canary()
    await shift.go(60)
    before = await shift.evidence()
    shift.plane.server.data.documents.clear()
    await shift.go(STEP_S)
    after = await shift.evidence()
    assert after.watched_s == before.watched_s + STEP_S
    assert after.tests["error"].at_risk >= before.tests["error"].at_risk


async def test_so_it_is_when_the_lease_was_lost_with_it() -> None:
    shift = await at_canary()
    await shift.go(60)
    before = await shift.evidence()
    shift.plane.server.data.documents.clear()
    shift.plane.server.data.lease = None
    shift.plane.clock.advance(LEASE_TTL_S)
    await shift.go(STEP_S)
    assert (await shift.evidence()).watched_s == before.watched_s + STEP_S + LEASE_TTL_S


async def test_evidence_that_nobody_can_read_is_begun_anew_and_the_hold_with_it() -> None:
    shift = await at_canary()
    await shift.go(60)
    await shift.leader.close()
    await shift.plane.store.put_document("m", EVIDENCE, b"of the future", epoch=1000)
    shift.plane.server.data.epoch = 1000
    second = shift.plane.controller("r2")
    await shift.go(100, leader=second)
    assert shift.standing == ("running", "", "canary")
    await shift.go(35, leader=second)
    assert shift.standing == ("running", "", "half")
