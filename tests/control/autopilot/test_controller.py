"""The controller, tick by tick, on a clock that is moved by hand."""

from dataclasses import replace

import pytest

from gateway.control.autopilot import flusher, lease
from gateway.control.autopilot.controller import BASELINE_REQUESTS, GAP_S, Judged
from gateway.control.autopilot.gather import EVIDENCE
from gateway.control.service import Ask
from gateway.core.evidence import Evidence
from gateway.core.gates.verdict import Verdict
from gateway.core.spec import OnRollback
from gateway.core.types import Arm, MigrationState, Outcome, Phase, from_json, to_json
from tests.support.control import SPEC, ControlPlane, Traffic, fill
from tests.support.memory_store import MemoryStore

BAD = [Outcome.timeout] * 10
GOOD = [Outcome.ok] * 10


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


async def serving(plane: ControlPlane, phase: Phase = Phase.running) -> None:
    await plane.act("start", "advance")
    if phase is Phase.paused:
        await plane.act("pause")
    if phase is Phase.soaking:
        await plane.act("advance", "advance", "advance")
    assert plane.state.phase is phase


async def evidence(plane: ControlPlane) -> Evidence:
    """Return what is written down of `m`."""
    body = await plane.store.document("m", EVIDENCE)
    assert body is not None
    return from_json(body, Evidence)


# --- judging ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.running, Phase.paused, Phase.soaking])
async def test_a_failing_candidate_is_rolled_back_once_with_its_evidence(
    phase: Phase, plane: ControlPlane
) -> None:
    await serving(plane, phase)
    leader = plane.controller()
    await plane.count("r1", plane.counts(*BAD))
    for _ in range(3):
        await leader.tick()
    assert (plane.state.phase, plane.state.reason) == (Phase.rolled_back, "automatic")
    (incident,) = await plane.service.read.incidents("m")
    assert (incident.cause, incident.by, incident.before["phase"]) == ("automatic", "controller", phase)
    gates = {gate["name"]: gate for gate in incident.evidence["gates"]}
    assert gates["error_rate"]["verdict"] == "fail"
    assert gates["error_rate"]["evidence"]["requests"] == 10
    assert incident.reason.startswith("error_rate: ")


async def test_a_rollback_is_the_first_thing_that_a_tick_writes(plane: ControlPlane) -> None:
    await serving(plane)
    leader = plane.controller()
    await leader.tick()
    await plane.count("r1", plane.counts(*BAD))
    written: list[str] = []

    async def noting(verb: str, answer: object) -> object:
        written.append(verb)
        return await answer  # type: ignore[misc]

    commit, put = plane.store.commit, plane.store.put_document
    plane.store.commit = lambda *args, **named: noting("commit", commit(*args, **named))  # type: ignore[assignment, method-assign]
    plane.store.put_document = lambda *args, **named: noting("put", put(*args, **named))  # type: ignore[assignment, method-assign]
    await leader.tick()
    assert written == ["commit", "put"]


async def test_the_rollback_leaves_as_the_runs_configuration_says() -> None:
    plane = ControlPlane({"m": replace(SPEC, on_rollback=OnRollback(mode="drain"))})
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    await plane.controller().tick()
    assert plane.state.draining


@pytest.mark.parametrize(
    ("candidate", "control"), [(GOOD, []), (BAD[:9], []), ([], []), (BAD, BAD), (GOOD, BAD)]
)
async def test_nothing_else_is_rolled_back(
    candidate: list[Outcome], control: list[Outcome], plane: ControlPlane
) -> None:
    await serving(plane)
    counts = plane.counts(*candidate)
    fill(counts, *control, arm=Arm.control, now=plane.clock.now)
    await plane.count("r1", counts)
    leader = plane.controller()
    await leader.tick()
    assert leader.leader
    assert plane.state.phase is Phase.running


@pytest.mark.parametrize(
    "verbs", [(), ("start", "rollback"), ("start", "advance", "advance", "advance", "advance", "complete")]
)
async def test_gates_rest_where_nothing_is_watched(verbs: tuple[str, ...], plane: ControlPlane) -> None:
    await plane.act(*verbs)  # type: ignore[arg-type]
    await plane.count("r1", plane.counts(*BAD, run=plane.state.run))
    before, leader = plane.state, plane.controller()
    await leader.tick()
    assert plane.state == before
    assert leader.judged == {}


async def test_the_counts_of_all_replicas_are_added_up(plane: ControlPlane) -> None:
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD[:5]))
    leader = plane.controller()
    await leader.tick()
    assert plane.state.phase is Phase.running
    await plane.count("r2", plane.counts(*BAD[:5]))
    await leader.tick()
    assert plane.state.phase is Phase.rolled_back


async def test_failures_of_the_run_before_do_not_end_the_next_one(plane: ControlPlane) -> None:
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    leader = plane.controller()
    await leader.tick()
    await plane.act("restart", "advance", reason="it was the provider", force=True)
    await leader.tick()
    assert (plane.state.phase, plane.state.run) == (Phase.running, 2)
    assert (await evidence(plane)).run == 2


async def test_counts_of_a_process_that_is_gone_expire(plane: ControlPlane) -> None:
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    plane.clock.advance(flusher.COUNTS_TTL_S + 1)
    await plane.controller().tick()
    assert plane.state.phase is Phase.running


async def test_the_judgements_are_there_for_the_metrics(plane: ControlPlane) -> None:
    await serving(plane)
    leader, other = plane.controller(), plane.controller("r2")
    for each in (leader, other):
        await each.tick()
    verdicts = {gate.name: gate.verdict for gate in leader.judged["m"].judgement.gates}
    assert verdicts["error_rate"] is verdicts["fallback_rate"] is Verdict.inconclusive
    assert other.judged == {}


async def test_a_status_says_what_the_leader_says(plane: ControlPlane) -> None:
    await serving(plane)
    traffic, leader = Traffic(plane), plane.controller()
    for _ in range(30):
        traffic.both(*GOOD, cost_microusd=20, output_tokens=9)
        await traffic.write()
        await leader.tick()
        shown, judged = await plane.service.read.status("m"), leader.judged["m"].judgement
        assert (shown.gates, shown.metrics, shown.decision) == (judged.gates, judged.metrics, judged.decision)
        assert shown.watched_s == leader.judged["m"].picture.evidence.watched_s
        plane.clock.advance(1)


async def test_what_cannot_be_read_leaves_its_migration_alone_and_no_other(plane: ControlPlane) -> None:
    plane.specs["n"] = replace(SPEC, name="n")
    await serving(plane)
    for verb in ("start", "advance"):
        await plane.service.act("n", Ask(verb, "ada"))  # type: ignore[arg-type]
    leader = plane.controller()
    await leader.tick()
    known = await evidence(plane)
    await plane.store.put_counts("m", "r2", {"form": "of the future"}, 15.0)
    await plane.store.put_counts("n", "r1", plane.counts(*BAD).window.to_doc(
        plane.clock.now(), SPEC.gates.breaker), 15.0)  # fmt: skip
    plane.clock.advance(5)
    await leader.tick()
    assert {gate.verdict for gate in leader.judged["m"].judgement.gates} == {Verdict.error}
    assert plane.state.phase is Phase.running
    assert plane.server.data.states["n"].phase is Phase.rolled_back
    assert await evidence(plane) == known


async def test_one_migration_in_trouble_does_not_end_another(plane: ControlPlane) -> None:
    plane.specs["n"] = replace(SPEC, name="n")
    await serving(plane)
    await plane.service.act("n", Ask("start", "ada"))
    await plane.count("r1", plane.counts(*BAD))
    await plane.controller().tick()
    assert plane.state.phase is Phase.rolled_back
    assert plane.server.data.states["n"].phase is Phase.running


async def test_a_tick_that_is_repeated_changes_nothing(plane: ControlPlane) -> None:
    await serving(plane)
    traffic, leader = Traffic(plane), plane.controller()
    traffic.both(*GOOD, *BAD[:2], cost_microusd=20)
    await traffic.write()
    await leader.tick()
    before, known = plane.state, await evidence(plane)
    for _ in range(20):
        await leader.tick()
    assert plane.state == before
    assert await evidence(plane) == known


# --- leading ------------------------------------------------------------------------------------------------


async def test_one_process_leads(plane: ControlPlane) -> None:
    await serving(plane)
    first, second = plane.controller("r1"), plane.controller("r2")
    for _ in range(30):
        await first.tick()
        await second.tick()
        plane.clock.advance(1)
        assert (first.leader, second.leader) == (True, False)
    assert plane.store.calls["renew_lease"] == 5


async def test_one_of_two_leaders_in_doubt_rolls_back_once(plane: ControlPlane) -> None:
    await serving(plane)
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
    await serving(plane)
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
    await serving(plane)
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
    await serving(plane)
    sleeper = plane.controller("r1")
    await sleeper.tick()
    await plane.count("r1", plane.counts(*BAD))
    assert isinstance(plane.store, Sleepy)
    plane.store.asleep = True
    await sleeper.tick()
    assert (sleeper.leader, second.leader) == (False, True)
    assert plane.state.phase is Phase.running
    assert (await evidence(plane)).watched_s == GAP_S + 5


async def test_the_evidence_of_a_deposed_leader_is_refused_by_its_epoch(plane: ControlPlane) -> None:
    await serving(plane)
    leader = plane.controller()
    await leader.tick()
    newer = Evidence(run=1, entry=2, watched_s=77.0)
    await plane.store.put_document("m", EVIDENCE, to_json(newer), epoch=await plane.store.next_epoch())
    plane.server.data.lease = ("r2", plane.clock.now() + 15)
    plane.clock.advance(1)
    await leader.tick()
    assert not leader.leader
    assert await evidence(plane) == newer


async def test_a_leader_whose_lease_was_taken_meanwhile_steps_down_instead_of_writing(
    plane: ControlPlane,
) -> None:
    await serving(plane)
    leader = plane.controller()
    await leader.tick()
    plane.server.data.lease = ("r2", plane.clock.now() + 15)
    await plane.count("r1", plane.counts(*BAD))
    await leader.tick()
    assert (leader.leader, plane.state.phase) == (False, Phase.running)


async def test_a_rollback_carries_the_leases_epoch(plane: ControlPlane) -> None:
    await serving(plane)
    started_in = plane.state.epoch
    await plane.count("r1", plane.counts(*BAD))
    await plane.controller().tick()
    assert plane.state.epoch == plane.server.data.epoch > started_in


async def test_a_run_that_was_started_after_the_lease_was_taken_can_be_rolled_back(
    plane: ControlPlane,
) -> None:
    leader = plane.controller()
    await leader.tick()
    await serving(plane)
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
    await serving(plane)
    await plane.count("r1", plane.counts(*BAD))
    leader = plane.controller()
    await leader.tick()
    assert (plane.state.phase, leader.leader) == (Phase.paused, True)
    await leader.tick()
    assert (plane.state.phase, plane.verbs[-2:]) == (Phase.rolled_back, ["pause", "automatic-rollback"])


# --- for people ---------------------------------------------------------------------------------------------


class Notes:
    """An aftercare that notes whom it was called for, and what it is told to do."""

    def __init__(self, *, mark: bool = False, fail: bool = False) -> None:
        self.seen: list[tuple[str, bool, int]] = []
        self._mark, self._fail = mark, fail

    async def tend(self, state: MigrationState, judged: Judged | None, *, epoch: int) -> Evidence | None:
        self.seen.append((state.name, judged is not None, epoch))
        if self._fail:
            raise RuntimeError("a paper could not be written")
        return replace(judged.picture.evidence, warned_days=7) if judged and self._mark else None


async def test_papers_come_after_everything_else_and_for_every_migration(plane: ControlPlane) -> None:
    plane.specs["n"] = replace(SPEC, name="n")
    await plane.service.act("n", Ask("start", "ada"))
    await plane.service.act("n", Ask("rollback", "ada"))
    await serving(plane)
    notes = Notes()
    leader, other = plane.controller(aftercare=notes), plane.controller("r2", aftercare=Notes(fail=True))
    await leader.tick()
    await other.tick()
    epoch = plane.server.data.epoch
    assert sorted(notes.seen) == [("m", True, epoch), ("n", False, epoch)]


async def test_what_aftercare_marks_is_in_the_evidence_from_then_on(plane: ControlPlane) -> None:
    await serving(plane)
    leader = plane.controller(aftercare=Notes(mark=True))
    for _ in range(2):
        await leader.tick()
        plane.clock.advance(1)
    assert (await evidence(plane)).warned_days == 7


async def test_a_paper_that_cannot_be_written_keeps_nobody_from_judging(plane: ControlPlane) -> None:
    await serving(plane)
    leader = plane.controller(aftercare=Notes(fail=True))
    await leader.tick()
    await plane.count("r1", plane.counts(*BAD))
    await leader.tick()
    assert plane.state.phase is Phase.rolled_back


# --- what slow is -------------------------------------------------------------------------------------------


async def test_what_slow_is_comes_from_control_and_is_frozen_once(plane: ControlPlane) -> None:
    await serving(plane)
    traffic, leader = Traffic(plane), plane.controller()
    traffic.meet(Arm.control, [Outcome.ok] * (BASELINE_REQUESTS - 1), duration_s=2.0)
    traffic.meet(Arm.candidate, [Outcome.ok] * 500, duration_s=9.0)
    await traffic.write()
    await leader.tick()
    assert plane.state.slow_after_s == 0
    traffic.meet(Arm.control, [Outcome.ok], duration_s=2.0)
    await traffic.write()
    await leader.tick()
    assert plane.state.slow_after_s == pytest.approx(2.0, rel=0.02)
    traffic.meet(Arm.control, [Outcome.ok] * 500, duration_s=50.0)
    await traffic.write()
    for _ in range(3):
        await leader.tick()
    assert plane.verbs.count("freeze-baseline") == 1


async def test_control_is_described_as_long_as_it_is_what_it_was(plane: ControlPlane) -> None:
    await plane.act("start")
    traffic, leader = Traffic(plane), plane.controller()
    for stage in ("internal", "canary", "half", "full"):
        if stage != "internal":
            await plane.act("advance")
        traffic.both(*GOOD)
        await traffic.write()
        await leader.tick()
    assert plane.state.phase is Phase.soaking
    await leader.tick()
    known = await evidence(plane)
    assert known.control is not None
    assert known.promoted is not None
    assert (known.control.requests, known.control.arm) == (30, Arm.control)
    assert (known.promoted.requests, known.promoted.arm) == (40, Arm.candidate)
    traffic.both(*GOOD)
    await traffic.write()
    await leader.tick()
    assert (await evidence(plane)).promoted == known.promoted
