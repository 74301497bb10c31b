"""A failure is let loose in the middle of a ramp, and what follows is judged by what must follow."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.spec import CompatPolicy, Gates, MigrationSpec, OnRollback, Stage
from gateway.core.types import Arm
from gateway.demo.tally import Seen
from gateway.errors import Conflict
from gateway.rehearsal.failures import FAILURES, Failure
from gateway.rehearsal.report import Result
from gateway.rehearsal.stage import Patience, Player, middle
from tests.support.clock import ManualClock

STAGES = (Stage("internal", 0, 1), Stage("early", 25, 1, 9), Stage("half", 50, 1), Stage("full", 100))
SPEC = MigrationSpec("m", "claude-a", "claude-b", ("claude-a",), STAGES)
BY_NAME = {failure.name: failure for failure in FAILURES}
OVERLOADED = BY_NAME["overloaded"]
GATE = {"name": "fallback_rate", "reason": "28% of 46 requests, above 10%"}


class World:
    """A gateway that does what it is told, and on its own what `alone` says at every look."""

    def __init__(self, spec: MigrationSpec = SPEC, alone: Callable[["World"], None] = lambda _: None) -> None:
        self.clock = ManualClock()
        self.spec, self._alone = spec, alone
        self.phase, self.reason, self.index, self.entered_at = "draft", "", 0, 0.0
        self.verbs: list[str] = []
        self.faults: tuple[str, ...] = ()
        self.struck: list[tuple[str, ...]] = []
        self.complained: list[str] = []
        self.log: list[dict[str, Any]] = []
        self.seen = Seen("chat", True, Arm.candidate, "bucket", 0.05, request_id="gw_1")

    async def status(self, migration: str) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        self.clock.advance(0.1)
        self._alone(self)
        stage = self.spec.stages[self.index]
        return {
            "phase": self.phase,
            "reason": self.reason,
            "stage": {"index": self.index, "name": stage.name, "entered_at": self.entered_at},
            "weight_percent": stage.percent,
            "summary": f"holding at {stage.percent:g} %",
            "gates": [{"name": "fallback_rate", "verdict": "pass", "reason": "2.0% is within 10.0%"}],
            "replicas": {"expected": 1, "acknowledged": 1, "missing": []},
        }

    async def act(self, migration: str, verb: str, reason: str, *, force: bool = False) -> Mapping[str, Any]:
        self.verbs.append(verb)
        if verb in ("start", "restart"):
            self.enter(0)
        elif verb == "advance":
            self.enter(self.index + 1)
        elif verb == "approve":
            self.phase, self.reason = "running", "approved"
        elif verb == "rollback":
            self.fall("demo")
        return {}

    async def events(self, migration: str) -> Sequence[Mapping[str, Any]]:
        return self.log

    async def complain(self, request_id: str) -> None:
        self.complained.append(request_id)

    async def break_with(self, *faults: str) -> None:
        self.faults = faults
        self.struck += [faults] if faults else []

    def enter(self, index: int) -> None:
        """Enter a stage, or what follows the last one."""
        self.phase, self.reason, self.entered_at = "running", "", self.clock.now()
        if index == len(self.spec.stages):
            self.phase = "soaking"
        else:
            self.index = index

    def fall(self, by: str = "controller", *gates: dict[str, str]) -> None:
        """Roll back."""
        self.phase = "rolled_back"
        after = {"phase": "rolled_back"}
        reason = "; ".join(f"{gate['name']}: {gate['reason']}" for gate in gates)
        evidence = {"gates": list(gates)}
        event = {
            "at": self.clock.now(),
            "by": by,
            "reason": reason,
            "before": {},
            "after": after,
            "evidence": evidence,
        }
        self.log.append(event)


class Crowd:
    """Callers who meet whatever the world says, each time the loop turns."""

    def __init__(self, world: World) -> None:
        self._world, self._stopped = world, False

    async def talk(self, stage: Any, report: Callable[[str, Seen], None]) -> None:
        while not self._stopped:
            seen = self._world.seen
            if self._world.phase == "rolled_back":
                seen = replace(seen, arm=Arm.control, fallback=None)
            report("", seen)
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._stopped = True


QUICK = Patience(0.0, 5.0, 0.3, 2.0, 5.0, 0.3, 0.5, 2.0)


def player(world: World) -> Player:
    return Player(world.spec, world, world.clock, callers=lambda: Crowd(world), patience=QUICK)


async def failing(world: World, failure: Failure = OVERLOADED) -> Result:
    return await player(world).fail(failure)


def stopping(*gates: dict[str, str], **feels: Any) -> Callable[[World], None]:
    """A gateway that rolls back a second after something went wrong, on which the callers feel this."""
    since: list[float] = []

    def alone(world: World) -> None:
        if world.faults and world.phase == "running":
            since.append(world.clock.now())
            world.seen = replace(world.seen, **feels)
            if world.clock.now() - since[0] >= 1:
                world.fall("controller", *gates)

    return alone


async def test_a_failure_that_its_gate_stops_has_ended_as_it_must() -> None:
    world = World(alone=stopping(GATE, fallback="overloaded"))
    result = await failing(world)
    assert (result.ok, result.ended, result.gates) == (True, "rolled_back", ("fallback_rate",))
    assert result.why == "fallback_rate: 28% of 46 requests, above 10%"
    assert (result.stage, result.percent) == ("early", 25)
    assert result.rollback_s is not None
    assert result.last_request_s is not None
    assert 0 <= result.last_request_s <= result.rollback_s <= 1.2
    assert result.candidate > 0
    assert result.rescued >= result.candidate - 1
    assert result.hurt == 0
    assert world.verbs == ["start", "advance"]
    assert (world.struck, world.faults) == ([("model=claude-b,kind=overloaded,rate=0.5",)], ())


async def test_the_next_failure_begins_a_run_of_its_own() -> None:
    world = World(alone=stopping(GATE, fallback="overloaded"))
    world.phase, world.index = "soaking", 3
    assert (await failing(world)).ok
    assert world.verbs == ["rollback", "restart", "advance"]


@pytest.mark.parametrize(
    ("alone", "problem"),
    [
        (stopping(GATE), "the failure did not strike"),
        (stopping(fallback="overloaded"), "it was not rolled back by its gates"),
        (
            stopping({"name": "refusal", "reason": "too many"}, fallback="x"),
            "it was stopped by refusal instead",
        ),
        (stopping(GATE, complaint="HTTP 529"), "callers saw an error"),
        (lambda _: None, "nothing stopped it"),
    ],
)
async def test_what_is_not_as_it_must_be_is_named(alone: Callable[[World], None], problem: str) -> None:
    result = await failing(World(alone=alone))
    assert not result.ok
    assert problem in result.problem


async def test_what_nothing_stopped_says_what_its_gates_saw() -> None:
    result = await failing(World())
    assert (result.ended, result.why) == ("stayed", "fallback_rate: 2.0% is within 10.0%")


class Sticky(Crowd):
    """Callers whom the candidate goes on answering."""

    async def talk(self, stage: Any, report: Callable[[str, Seen], None]) -> None:
        while not self._stopped:
            report("", self._world.seen)
            await asyncio.sleep(0)


@pytest.mark.parametrize(("mode", "ok"), [("evict", False), ("drain", True)])
async def test_nobody_is_left_on_a_candidate_that_was_evicted(mode: Any, ok: bool) -> None:
    spec = replace(SPEC, on_rollback=OnRollback(mode))
    world = World(spec, stopping(GATE, fallback="overloaded"))
    patience = replace(QUICK, after_s=2.5)
    playing = Player(spec, world, world.clock, callers=lambda: Sticky(world), patience=patience)
    assert (await playing.fail(OVERLOADED)).ok is ok


async def test_what_the_migration_has_switched_off_is_not_let_loose() -> None:
    world = World(replace(SPEC, gates=Gates(breaker={}, rollback={})))
    result = await failing(world)
    assert (result.ok, result.ended) == (True, "unguarded")
    assert result.why == "the migration has switched off fallback_rate and fallback"
    assert world.verbs == []


async def test_users_who_complain_name_their_requests() -> None:
    issues = {"name": "quality_issues", "reason": "4 complaining units"}

    def alone(world: World) -> None:
        if len(world.complained) > 3 and world.phase == "running":
            world.fall("controller", issues)

    world = World(alone=alone)
    result = await failing(world, BY_NAME["complaints"])
    assert (result.ok, result.gates) == (True, ("quality_issues",))
    assert set(world.complained) == {"gw_1"}


async def test_an_outage_must_change_nothing() -> None:
    assert (await failing(World(), BY_NAME["outage"])).ended == "stayed"
    result = await failing(World(alone=stopping(GATE)), BY_NAME["outage"])
    assert (result.ok, result.problem) == (False, "it was rolled back")


async def test_without_traffic_nothing_may_advance_and_nobody_calls() -> None:
    world = World()
    result = await failing(world, BY_NAME["no-traffic"])
    assert (result.ok, result.ended, result.requests) == (True, "stayed", 0)

    def alone(world: World) -> None:
        if world.index == 1 and world.clock.now() - world.entered_at > 2:
            world.enter(2)

    result = await failing(World(alone=alone), BY_NAME["no-traffic"])
    assert (result.ok, result.problem) == (False, "it went on to the next stage")


# --- the climb ----------------------------------------------------------------------------------------------


def climbing(world: World) -> None:
    """Half a second in each stage, and an approval before the top."""
    stage = world.spec.stages[world.index]
    if world.phase != "running" or world.clock.now() - world.entered_at < 0.5:
        return
    if stage.approval and world.reason != "approved":
        world.phase, world.reason = "paused", "approval"
    elif world.spec.automatic and (stage.advances or stage is world.spec.stages[-1]):
        world.enter(world.index + 1)


async def test_a_good_candidate_climbs_untouched() -> None:
    world = World(alone=climbing)
    result = await player(world).climb()
    assert (result.ok, result.ended, result.percent) == (True, "climbed", 100)
    assert world.verbs == ["start"]
    assert result.requests > 0


async def test_an_approval_is_given_where_one_is_asked_for() -> None:
    stages = (*STAGES[:2], replace(STAGES[2], approval=True), STAGES[3])
    world = World(replace(SPEC, stages=stages), climbing)
    assert (await player(world).climb()).ok
    assert world.verbs == ["start", "approve"]


async def test_a_stage_that_a_person_advances_is_advanced() -> None:
    world = World(replace(SPEC, stages=(STAGES[0], Stage("early", 25), STAGES[3])), climbing)
    assert (await player(world).climb()).ok
    assert world.verbs == ["start", "advance"]
    by_hand = World(replace(SPEC, stages=(Stage("half", 50), Stage("full", 100))), climbing)
    assert (await player(by_hand).climb()).ok
    assert by_hand.verbs == ["start", "advance", "advance"]


async def test_a_refused_hand_is_no_end_of_the_rehearsal() -> None:
    class Refusing(World):
        async def act(
            self, migration: str, verb: str, reason: str, *, force: bool = False
        ) -> Mapping[str, Any]:
            if verb == "approve":
                raise Conflict("it must be somebody else")
            return await super().act(migration, verb, reason, force=force)

    stages = (replace(STAGES[1], approval=True), STAGES[3])
    result = await player(Refusing(replace(SPEC, stages=stages), climbing)).climb()
    assert (result.ok, result.problem) == (False, "it did not reach the top: holding at 25 %")


async def test_a_climb_that_falls_or_hurts_is_none() -> None:
    result = await player(World(alone=lambda world: world.fall("controller", GATE))).climb()
    assert (result.ok, result.ended) == (False, "rolled_back")
    assert result.problem == "it did not reach the top: fallback_rate: 28% of 46 requests, above 10%"
    hurting = World(alone=climbing)
    hurting.seen = replace(hurting.seen, complaint="answer was empty")
    result = await player(hurting).climb()
    assert (result.ok, result.ended) == (False, "climbed")
    assert "could not use the answer (chat: answer was empty)" in result.problem


async def test_errors_that_the_migration_asks_for_are_none() -> None:
    policy = CompatPolicy(tasks={"extract": CompatPolicy(prefill="reject")})
    world = World(replace(SPEC, compat=policy), climbing)
    world.seen = replace(world.seen, complaint="HTTP 400")
    result = await player(world).climb()
    assert result.ok
    assert result.hurt > 0


@pytest.mark.parametrize(
    ("percents", "index"),
    [((0, 5, 25, 50, 100), 2), ((1, 5, 100), 1), ((100,), 0), ((0, 100), 1), ((50, 100), 0)],
)
def test_failures_are_let_loose_where_arms_are_compared(percents: tuple[float, ...], index: int) -> None:
    stages = tuple(Stage(f"s{percent}", percent) for percent in percents)
    assert middle(replace(SPEC, stages=stages)) == index
