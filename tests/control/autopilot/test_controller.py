"""The controller, tick by tick, on a clock that is moved by hand."""

from dataclasses import replace

import pytest

from gateway.control.autopilot import flusher, lease
from gateway.control.autopilot.controller import Controller
from gateway.control.service import Ask
from gateway.core.gates.verdict import Verdict
from gateway.core.spec import OnRollback
from gateway.core.types import Arm, Outcome, Phase
from tests.support.control import SPEC, ControlPlane, fill
from tests.support.memory_store import MemoryStore

BAD = [Outcome.timeout] * 10
GOOD = [Outcome.ok] * 10


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


def controller(plane: ControlPlane, holder: str = "r1", errors: list[str] | None = None) -> Controller:
    heard = errors if errors is not None else []
    return Controller(plane.store, plane.service, holder=holder, clock=plane.clock, on_error=heard.append)


async def serving(plane: ControlPlane, phase: Phase = Phase.running) -> None:
    await plane.act("start", "advance")
    if phase is Phase.paused:
        await plane.act("pause")
    if phase is Phase.soaking:
        await plane.act("advance", "advance", "advance")
    assert plane.state.phase is phase


# --- judging ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.running, Phase.paused, Phase.soaking])
async def test_a_failing_candidate_is_rolled_back_once_with_its_evidence(
    phase: Phase, plane: ControlPlane
) -> None:
    await serving(plane, phase)
    leader = controller(plane)
    await plane.count("r1", plane.counts(*BAD))
    for _ in range(3):
        await leader.tick()
    assert (plane.state.phase, plane.state.reason) == (Phase.rolled_back, "automatic")
    (incident,) = await plane.service.read.incidents("m")
    assert (incident.cause, incident.by, incident.before["phase"]) == ("automatic", "controller", phase)
    (gate,) = incident.evidence["gates"]
    assert (gate["name"], gate["evidence"]["failures"], gate["evidence"]["requests"]) == (
        "error_rate",
        10,
        10,
    )


async def test_the_rollback_leaves_as_the_runs_configuration_says() -> None:
    plane = ControlPlane({"m": replace(SPEC, on_rollback=OnRollback(mode="drain"))})
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    await controller(plane).tick()
    assert plane.state.draining


@pytest.mark.parametrize(
    ("candidate", "control"), [(GOOD, []), (BAD[:9], []), ([], []), (BAD, BAD), (GOOD, BAD)]
)
async def test_nothing_else_is_rolled_back(
    candidate: list[Outcome], control: list[Outcome], plane: ControlPlane
) -> None:
    await serving(plane)
    window = plane.counts(*candidate)
    fill(window, *control, arm=Arm.control, now=plane.clock.now)
    await plane.count("r1", window)
    leader = controller(plane)
    await leader.tick()
    assert leader.leader
    assert plane.state.phase is Phase.running


@pytest.mark.parametrize(
    "verbs", [(), ("start", "rollback"), ("start", "advance", "advance", "advance", "advance", "complete")]
)
async def test_breakers_rest_where_nothing_is_compared(verbs: tuple[str, ...], plane: ControlPlane) -> None:
    await plane.act(*verbs)  # type: ignore[arg-type]
    await plane.count("r1", plane.counts(*BAD, run=plane.state.run))
    before = plane.state
    await controller(plane).tick()
    assert plane.state == before


async def test_the_counts_of_all_replicas_are_added_up(plane: ControlPlane) -> None:
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD[:5]))
    leader = controller(plane)
    await leader.tick()
    assert plane.state.phase is Phase.running
    await plane.count("r2", plane.counts(*BAD[:5]))
    await leader.tick()
    assert plane.state.phase is Phase.rolled_back


async def test_failures_of_the_run_before_do_not_end_the_next_one(plane: ControlPlane) -> None:
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    leader = controller(plane)
    await leader.tick()
    await plane.act("restart", "advance")
    await leader.tick()
    assert (plane.state.phase, plane.state.run) == (Phase.running, 2)


async def test_counts_of_a_process_that_is_gone_expire(plane: ControlPlane) -> None:
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    plane.clock.advance(flusher.COUNTS_TTL_S + 1)
    await controller(plane).tick()
    assert plane.state.phase is Phase.running


async def test_the_verdicts_are_there_for_the_metrics(plane: ControlPlane) -> None:
    await serving(plane)
    leader, other = controller(plane), controller(plane, "r2")
    for each in (leader, other):
        await each.tick()
    assert [(gate.name, gate.verdict) for gate in leader.verdicts["m"]] == [
        ("error_rate", Verdict.inconclusive), ("fallback_rate", Verdict.inconclusive)]  # fmt: skip
    assert other.verdicts == {}


# --- leading ------------------------------------------------------------------------------------------------


async def test_one_process_leads(plane: ControlPlane) -> None:
    await serving(plane)
    first, second = controller(plane, "r1"), controller(plane, "r2")
    for _ in range(30):
        await first.tick()
        await second.tick()
        plane.clock.advance(1)
        assert (first.leader, second.leader) == (True, False)
    assert plane.store.calls["renew_lease"] == 5


async def test_one_of_two_leaders_in_doubt_rolls_back_once(plane: ControlPlane) -> None:
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    first, second = controller(plane, "r1"), controller(plane, "r2")
    for each in (first, second, first, second):
        await each.tick()
    assert plane.verbs.count("automatic-rollback") == 1


async def test_a_leader_that_leaves_hands_over_at_once(plane: ControlPlane) -> None:
    first, second = controller(plane, "r1"), controller(plane, "r2")
    await first.tick()
    await first.close()
    await second.tick()
    assert (first.leader, second.leader) == (False, True)


async def test_a_leader_that_is_gone_is_followed_when_its_lease_ends(plane: ControlPlane) -> None:
    await controller(plane, "r1").tick()
    second = controller(plane, "r2")
    plane.clock.advance(lease.LEASE_TTL_S - 1)
    await second.tick()
    assert not second.leader
    plane.clock.advance(2)
    await second.tick()
    assert second.leader


async def test_a_leader_that_cannot_renew_steps_down_before_its_lease_ends(plane: ControlPlane) -> None:
    errors: list[str] = []
    leader = controller(plane, errors=errors)
    await leader.tick()
    plane.store.away = True
    led = []
    for _ in range(14):
        plane.clock.advance(1)
        await leader.tick()
        led.append(leader.leader)
    assert led == [True] * 9 + [False] * 5
    assert leader.verdicts == {}
    lease = plane.server.data.lease
    assert lease is not None
    assert lease[1] > plane.clock.now()
    assert errors == ["load"] * 4 + ["renew_lease"] * 5 + ["acquire_lease"] * 5


async def test_a_leader_leads_on_when_the_store_is_back_in_time(plane: ControlPlane) -> None:
    leader = controller(plane)
    await leader.tick()
    plane.store.away = True
    for _ in range(8):
        plane.clock.advance(1)
        await leader.tick()
    plane.store.away = False
    await leader.tick()
    plane.clock.advance(lease.STEP_DOWN_S - 1)
    assert leader.leader


async def test_a_leader_that_slept_through_its_lease_does_not_write(plane: ControlPlane) -> None:
    await serving(plane)
    sleeper, second = controller(plane, "r1"), controller(plane, "r2")
    await sleeper.tick()
    plane.clock.advance(lease.LEASE_TTL_S + 1)
    assert not sleeper.leader
    await second.tick()
    await plane.count("r1", plane.counts(*BAD))
    await sleeper.tick()
    assert (sleeper.leader, plane.state.phase) == (False, Phase.running)
    await second.tick()
    assert plane.state.phase is Phase.rolled_back


async def test_a_leader_whose_lease_was_taken_meanwhile_steps_down_instead_of_writing(
    plane: ControlPlane,
) -> None:
    await serving(plane)
    leader = controller(plane)
    await leader.tick()
    plane.server.data.lease = ("r2", plane.clock.now() + 15)
    await plane.count("r1", plane.counts(*BAD))
    await leader.tick()
    assert (leader.leader, plane.state.phase) == (False, Phase.running)


async def test_a_rollback_carries_the_leases_epoch(plane: ControlPlane) -> None:
    await serving(plane)
    started_in = plane.state.epoch
    await plane.count("r1", plane.counts(*BAD))
    await controller(plane).tick()
    assert plane.state.epoch == plane.server.data.epoch > started_in


async def test_a_run_that_was_started_after_the_lease_was_taken_can_be_rolled_back(
    plane: ControlPlane,
) -> None:
    leader = controller(plane)
    await leader.tick()
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    epoch = plane.state.epoch
    await leader.tick()
    assert (plane.state.phase, plane.state.epoch) == (Phase.rolled_back, epoch)


async def test_an_operator_who_writes_in_between_is_not_overruled() -> None:
    class Hurried(MemoryStore):
        """Somebody steps back in the moment before the rollback is written."""

        hurried = False

        async def renew_lease(self, holder: str, ttl_s: float) -> bool:
            if not self.hurried:
                self.hurried = True
                await plane.service.act("m", Ask("pause", "ada"))
            return await super().renew_lease(holder, ttl_s)

    plane = ControlPlane(connect=Hurried)
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    leader = controller(plane)
    await leader.tick()
    assert (plane.state.phase, leader.leader) == (Phase.paused, True)
    await leader.tick()
    assert (plane.state.phase, plane.verbs[-2:]) == (Phase.rolled_back, ["pause", "automatic-rollback"])


async def test_one_migration_in_trouble_does_not_end_another(plane: ControlPlane) -> None:
    plane.specs["n"] = replace(SPEC, name="n")
    await serving(plane)
    await plane.service.act("n", Ask("start", "ada"))
    await plane.count("r1", plane.counts(*BAD))
    await controller(plane).tick()
    assert plane.state.phase is Phase.rolled_back
    assert plane.server.data.states["n"].phase is Phase.running
