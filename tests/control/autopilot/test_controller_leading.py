"""Who leads, and what becomes of the writes of somebody who does not any more."""

from dataclasses import replace

import pytest

from gateway.control.autopilot import lease
from gateway.control.autopilot.controller import GAP_S
from gateway.control.autopilot.gather import EVIDENCE
from gateway.control.service import Ask
from gateway.core.evidence import Evidence
from gateway.core.types import Outcome, Phase, to_json
from tests.support.control import SPEC, ControlPlane
from tests.support.memory_store import MemoryStore

BAD = [Outcome.timeout] * 10


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


async def test_one_process_leads(plane: ControlPlane) -> None:
    await plane.serving()
    first, second = plane.controller("r1"), plane.controller("r2")
    for _ in range(30):
        await first.tick()
        await second.tick()
        plane.clock.advance(1)
        assert (first.leader, second.leader) == (True, False)
    assert plane.store.calls["renew_lease"] == 5


async def test_one_of_two_leaders_in_doubt_rolls_back_once(plane: ControlPlane) -> None:
    await plane.serving()
    await plane.count("r1", plane.counts(*BAD))
    first, second = plane.controller("r1"), plane.controller("r2")
    for each in (first, second, first, second):
        await each.tick()
    assert plane.verbs.count("automatic-rollback") == 1


async def test_a_leader_that_leaves_hands_over_at_once(plane: ControlPlane) -> None:
    first, second = plane.controller("r1"), plane.controller("r2")
    await first.tick()
    await first.close()
    await second.tick()
    assert (first.leader, second.leader) == (False, True)


async def test_a_leader_that_is_gone_is_followed_when_its_lease_ends(plane: ControlPlane) -> None:
    await plane.controller("r1").tick()
    second = plane.controller("r2")
    plane.clock.advance(lease.LEASE_TTL_S - 1)
    await second.tick()
    assert not second.leader
    plane.clock.advance(2)
    await second.tick()
    assert second.leader


async def test_a_leader_that_cannot_renew_steps_down_before_its_lease_ends(plane: ControlPlane) -> None:
    await plane.serving()
    errors: list[str] = []
    leader = plane.controller(errors=errors)
    await leader.tick()
    plane.store.away = True
    led = []
    for _ in range(14):
        plane.clock.advance(1)
        await leader.tick()
        led.append(leader.leader)
        assert ("m" in leader.judged) is leader.leader
    assert led == [True] * 9 + [False] * 5
    held = plane.server.data.lease
    assert held is not None
    assert held[1] > plane.clock.now()
    assert errors == ["load"] * 4 + ["renew_lease"] * 5 + ["acquire_lease"] * 5


async def test_a_leader_leads_on_when_the_store_is_back_in_time(plane: ControlPlane) -> None:
    leader = plane.controller()
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
    await plane.serving()
    sleeper, second = plane.controller("r1"), plane.controller("r2")
    await sleeper.tick()
    plane.clock.advance(lease.LEASE_TTL_S + 1)
    assert not sleeper.leader
    await second.tick()
    await plane.count("r1", plane.counts(*BAD))
    await sleeper.tick()
    assert (sleeper.leader, plane.state.phase) == (False, Phase.running)
    await second.tick()
    assert plane.state.phase is Phase.rolled_back


async def test_a_leader_that_falls_asleep_in_a_tick_neither_acts_nor_overwrites_evidence() -> None:
    class Sleepy(MemoryStore):
        """The process that reads the counts is stopped for a minute, and another one leads meanwhile."""

        asleep = False

        async def counts(self, migration: str) -> dict[str, dict[str, object]]:
            counted = await super().counts(migration)
            if self.asleep:
                self.asleep = False
                plane.clock.advance(60)
                await second.tick()
                plane.clock.advance(5)
                await second.tick()
            return counted

    plane = ControlPlane(connect=Sleepy)
    second = plane.controller("r2")
    await plane.serving()
    sleeper = plane.controller("r1")
    await sleeper.tick()
    await plane.count("r1", plane.counts(*BAD))
    assert isinstance(plane.store, Sleepy)
    plane.store.asleep = True
    await sleeper.tick()
    assert (sleeper.leader, second.leader) == (False, True)
    assert plane.state.phase is Phase.running
    assert (await plane.evidence()).watched_s == GAP_S + 5


async def test_the_evidence_of_a_deposed_leader_is_refused_by_its_epoch(plane: ControlPlane) -> None:
    await plane.serving()
    leader = plane.controller()
    await leader.tick()
    newer = Evidence(run=1, entry=2, watched_s=77.0)
    await plane.store.put_document("m", EVIDENCE, to_json(newer), epoch=await plane.store.next_epoch())
    plane.server.data.lease = ("r2", plane.clock.now() + 15)
    plane.clock.advance(1)
    await leader.tick()
    assert not leader.leader
    assert await plane.evidence() == newer


async def test_a_leader_that_was_deposed_in_a_tick_leaves_the_rest_of_it_to_its_successor(
    plane: ControlPlane,
) -> None:
    plane.specs["n"] = replace(SPEC, name="n")
    await plane.serving()
    await plane.service.act("n", Ask("start", "ada"))
    leader = plane.controller()
    await leader.tick()
    await plane.store.put_document("m", EVIDENCE, b"{}", epoch=await plane.store.next_epoch())
    plane.server.data.lease = ("r2", plane.clock.now() + 15)
    read = plane.store.calls["counts"]
    await leader.tick()
    assert plane.store.calls["counts"] == read + 1


async def test_a_leader_whose_lease_was_taken_meanwhile_steps_down_instead_of_writing(
    plane: ControlPlane,
) -> None:
    await plane.serving()
    leader = plane.controller()
    await leader.tick()
    plane.server.data.lease = ("r2", plane.clock.now() + 15)
    await plane.count("r1", plane.counts(*BAD))
    await leader.tick()
    assert (leader.leader, plane.state.phase) == (False, Phase.running)


async def test_a_rollback_carries_the_leases_epoch(plane: ControlPlane) -> None:
    await plane.serving()
    started_in = plane.state.epoch
    await plane.count("r1", plane.counts(*BAD))
    await plane.controller().tick()
    assert plane.state.epoch == plane.server.data.epoch > started_in


async def test_a_run_that_was_started_after_the_lease_was_taken_can_be_rolled_back(
    plane: ControlPlane,
) -> None:
    leader = plane.controller()
    await leader.tick()
    await plane.serving()
    await plane.count("r1", plane.counts(*BAD))
    epoch = plane.state.epoch
    await leader.tick()
    assert (plane.state.phase, plane.state.epoch) == (Phase.rolled_back, epoch)


async def test_an_operator_who_writes_in_between_is_not_overruled() -> None:
    class Hurried(MemoryStore):
        """Somebody pauses in the moment before the rollback is written."""

        hurried = False

        async def renew_lease(self, holder: str, ttl_s: float) -> bool:
            if not self.hurried:
                self.hurried = True
                await plane.service.act("m", Ask("pause", "ada"))
            return await super().renew_lease(holder, ttl_s)

    plane = ControlPlane(connect=Hurried)
    await plane.serving()
    await plane.count("r1", plane.counts(*BAD))
    leader = plane.controller()
    await leader.tick()
    assert (plane.state.phase, leader.leader) == (Phase.paused, True)
    await leader.tick()
    assert (plane.state.phase, plane.verbs[-2:]) == (Phase.rolled_back, ["pause", "automatic-rollback"])
