"""The controller, tick by tick, on a clock that is moved by hand."""

from dataclasses import replace

import pytest

from gateway.control.autopilot import flusher
from gateway.control.autopilot.controller import BASELINE_REQUESTS, Judged
from gateway.control.autopilot.gather import EVIDENCE
from gateway.control.service import Ask
from gateway.core.evidence import Evidence
from gateway.core.gates.verdict import Verdict
from gateway.core.spec import OnRollback
from gateway.core.types import Arm, MigrationState, Outcome, Phase
from tests.support.control import SPEC, ControlPlane, Traffic, fill

BAD = [Outcome.timeout] * 10
GOOD = [Outcome.ok] * 10


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


# --- judging ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.running, Phase.paused, Phase.soaking])
async def test_a_failing_candidate_is_rolled_back_once_with_its_evidence(
    phase: Phase, plane: ControlPlane
) -> None:
    await plane.serving(phase)
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
    await plane.serving()
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
    await plane.serving()
    await plane.count("r1", plane.counts(*BAD))
    await plane.controller().tick()
    assert plane.state.draining


@pytest.mark.parametrize(
    ("candidate", "control"), [(GOOD, []), (BAD[:9], []), ([], []), (BAD, BAD), (GOOD, BAD)]
)
async def test_nothing_else_is_rolled_back(
    candidate: list[Outcome], control: list[Outcome], plane: ControlPlane
) -> None:
    await plane.serving()
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
    await plane.serving()
    await plane.count("r1", plane.counts(*BAD[:5]))
    leader = plane.controller()
    await leader.tick()
    assert plane.state.phase is Phase.running
    await plane.count("r2", plane.counts(*BAD[:5]))
    await leader.tick()
    assert plane.state.phase is Phase.rolled_back


async def test_failures_of_the_run_before_do_not_end_the_next_one(plane: ControlPlane) -> None:
    await plane.serving()
    await plane.count("r1", plane.counts(*BAD))
    leader = plane.controller()
    await leader.tick()
    await plane.act("restart", "advance", reason="it was the provider", force=True)
    await leader.tick()
    assert (plane.state.phase, plane.state.run) == (Phase.running, 2)
    assert (await plane.evidence()).run == 2


async def test_counts_of_a_process_that_is_gone_expire(plane: ControlPlane) -> None:
    await plane.serving()
    await plane.count("r1", plane.counts(*BAD))
    plane.clock.advance(flusher.COUNTS_TTL_S + 1)
    await plane.controller().tick()
    assert plane.state.phase is Phase.running


async def test_the_judgements_are_there_for_the_metrics(plane: ControlPlane) -> None:
    await plane.serving()
    leader, other = plane.controller(), plane.controller("r2")
    for each in (leader, other):
        await each.tick()
    verdicts = {gate.name: gate.verdict for gate in leader.judged["m"].judgement.gates}
    assert verdicts["error_rate"] is verdicts["fallback_rate"] is Verdict.inconclusive
    assert other.judged == {}


async def test_a_status_says_what_the_leader_says(plane: ControlPlane) -> None:
    await plane.serving()
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
    await plane.serving()
    for verb in ("start", "advance"):
        await plane.service.act("n", Ask(verb, "ada"))  # type: ignore[arg-type]
    leader = plane.controller()
    await leader.tick()
    known = await plane.evidence()
    await plane.store.put_counts("m", "r2", {"form": "of the future"}, 15.0)
    await plane.store.put_counts("n", "r1", plane.counts(*BAD).window.to_doc(
        plane.clock.now(), SPEC.gates.breaker), 15.0)  # fmt: skip
    plane.clock.advance(5)
    await leader.tick()
    assert {gate.verdict for gate in leader.judged["m"].judgement.gates} == {Verdict.error}
    assert plane.state.phase is Phase.running
    assert plane.server.data.states["n"].phase is Phase.rolled_back
    assert await plane.evidence() == known


async def test_time_in_which_nothing_could_be_measured_is_not_watched(plane: ControlPlane) -> None:
    await plane.serving()
    leader, foreign = plane.controller(), {"form": "of the future"}
    await plane.store.put_counts("m", "r2", foreign, 15.0)
    await leader.tick()
    assert await plane.store.document("m", EVIDENCE) is None
    await plane.store.put_counts("m", "r2", plane.counts(*GOOD).window.to_doc(
        plane.clock.now(), SPEC.gates.breaker), 15.0)  # fmt: skip
    for unmeasured in (False, False, True, True, False):
        if unmeasured:
            await plane.store.put_tally("m", "1", "r2", foreign)
        else:
            await plane.store.put_tally("m", "1", "r2", {"arms": {}})
        plane.clock.advance(2)
        await leader.tick()
    assert (await plane.evidence()).watched_s == 4  # of the second and the last; the first began it


async def test_one_migration_in_trouble_does_not_end_another(plane: ControlPlane) -> None:
    plane.specs["n"] = replace(SPEC, name="n")
    await plane.serving()
    await plane.service.act("n", Ask("start", "ada"))
    await plane.count("r1", plane.counts(*BAD))
    await plane.controller().tick()
    assert plane.state.phase is Phase.rolled_back
    assert plane.server.data.states["n"].phase is Phase.running


async def test_a_tick_that_is_repeated_changes_nothing(plane: ControlPlane) -> None:
    await plane.serving()
    traffic, leader = Traffic(plane), plane.controller()
    traffic.both(*GOOD, *BAD[:2], cost_microusd=20)
    await traffic.write()
    await leader.tick()
    before, known = plane.state, await plane.evidence()
    for _ in range(20):
        await leader.tick()
    assert plane.state == before
    assert await plane.evidence() == known


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
    await plane.serving()
    notes = Notes()
    leader, other = plane.controller(aftercare=notes), plane.controller("r2", aftercare=Notes(fail=True))
    await leader.tick()
    await other.tick()
    epoch = plane.server.data.epoch
    assert sorted(notes.seen) == [("m", True, epoch), ("n", False, epoch)]


async def test_nothing_is_told_of_a_run_that_this_very_tick_has_ended(plane: ControlPlane) -> None:
    await plane.serving()
    notes = Notes()
    leader = plane.controller(aftercare=notes)
    await plane.count("r1", plane.counts(*BAD))
    await leader.tick()
    assert (plane.state.phase, notes.seen) == (Phase.rolled_back, [])
    await leader.tick()
    assert [(name, judged) for name, judged, _ in notes.seen] == [("m", False)]


async def test_what_aftercare_marks_is_in_the_evidence_from_then_on(plane: ControlPlane) -> None:
    await plane.serving()
    leader = plane.controller(aftercare=Notes(mark=True))
    for _ in range(2):
        await leader.tick()
        plane.clock.advance(1)
    assert (await plane.evidence()).warned_days == 7


async def test_a_paper_that_cannot_be_written_keeps_nobody_from_judging(plane: ControlPlane) -> None:
    await plane.serving()
    leader = plane.controller(aftercare=Notes(fail=True))
    await leader.tick()
    await plane.count("r1", plane.counts(*BAD))
    await leader.tick()
    assert plane.state.phase is Phase.rolled_back


# --- what slow is -------------------------------------------------------------------------------------------


async def test_what_slow_is_comes_from_control_and_is_frozen_once(plane: ControlPlane) -> None:
    await plane.serving()
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
    renewed = plane.store.calls["renew_lease"]
    for _ in range(3):
        await leader.tick()
    assert plane.verbs.count("freeze-baseline") == 1
    assert plane.store.calls["renew_lease"] == renewed


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
    known = await plane.evidence()
    assert known.control is not None
    assert known.promoted is not None
    assert (known.control.requests, known.control.arm) == (30, Arm.control)
    assert (known.promoted.requests, known.promoted.arm) == (40, Arm.candidate)
    traffic.both(*GOOD)
    await traffic.write()
    await leader.tick()
    assert (await plane.evidence()).promoted == known.promoted
