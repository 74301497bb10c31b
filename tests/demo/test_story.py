"""A claim of the closing summary holds only if it was seen to happen."""

from typing import Any

import pytest

from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import Arm, Reason
from gateway.demo.act import Act, Scene
from gateway.demo.story import AFTERWARDS, BAD, FAULT, GOOD, climb, climbed, fell, stage_line
from gateway.demo.tally import Seen, Tally
from gateway.simulator.faults import parse_fault
from gateway.tasks import SystemClock
from tests.support.admin_api import status
from tests.support.staged import Scripted, Told


def seen(arm: Arm, **changes: Any) -> Seen:
    return Seen(
        **{"application": "chat", "first": True, "arm": arm, "reason": "bucket", "took_s": 0.1, **changes}
    )


def act(plan: MigrationSpec, stages: dict[str, list[Seen]], **changes: Any) -> Act:
    """An act that has ended, with what was seen in each stage."""
    act = Act(
        Scene(1, "title", plan, 400, status=status(**changes)), Scripted(status()), Told(), SystemClock()
    )
    for stage, requests in stages.items():
        for request in requests:
            act.stages[stage].add(request)
            act.scene.total.add(request)
    return act


CLIMB = {
    "canary": [seen(Arm.control)],
    "full": [seen(Arm.candidate), seen(Arm.control, reason=Reason.unservable)],
}


STARTED = {"by": "demo", "verb": "start"}
BY_ITSELF = [STARTED, {"by": "controller", "verb": "automatic-advance"}]


def judged(
    stages: dict[str, list[Seen]] = CLIMB,
    reached: list[float] | None = None,
    phase: str = "soaking",
    events: list[dict[str, str]] = BY_ITSELF,
) -> list[bool]:
    played = act(GOOD, stages, phase=phase)
    played.reached = [0, 5, 25, 50, 100] if reached is None else reached
    return [check.holds for check in climbed(played, events)]


def test_a_climb_to_the_top_without_a_failure_holds() -> None:
    assert judged() == [True, True, True]


def test_a_stage_that_was_not_reached_is_noticed() -> None:
    assert judged(reached=[0, 5, 25, 50, 50]) == [False, True, True]
    assert judged(reached=[]) == [False, True, True]


def test_a_top_that_was_not_kept_is_noticed() -> None:
    assert judged(phase="paused") == [False, True, True]


def test_a_conversation_that_still_begins_on_control_at_the_top_is_noticed() -> None:
    assert judged(CLIMB | {"full": [seen(Arm.candidate), seen(Arm.control)]}) == [False, True, True]


def test_a_top_that_nobody_saw_is_noticed() -> None:
    assert judged(CLIMB | {"full": []}) == [False, True, True]


def test_a_hand_that_helped_is_noticed() -> None:
    assert judged(events=[*BY_ITSELF, {"by": "demo", "verb": "advance"}]) == [True, False, True]
    assert judged(events=[]) == [True, False, True]


def test_a_single_failure_is_noticed_and_named() -> None:
    played = act(GOOD, CLIMB | {"early": [seen(Arm.candidate, complaint="answer was empty")]})
    check = climbed(played, BY_ITSELF)[-1]
    assert not check.holds
    assert "1 of 4" in check.otherwise
    assert "chat: answer was empty" in check.otherwise


async def watched(*statuses: dict[str, Any], limit_s: float = 30.0) -> tuple[Act, Scripted, Told]:
    """Watch a climb on which the gateway's status is this, look by look."""
    operator, told = Scripted(*statuses), Told()
    playing = Act(Scene(1, "title", GOOD, 400), operator, told, SystemClock())
    await playing.run(Nobody(), lambda: climb(playing, told, limit_s=limit_s, top_s=0.0))
    return playing, operator, told


async def test_a_climb_is_started_and_then_only_watched() -> None:
    looks = [at(index, stage.percent) for index, stage in enumerate(GOOD.stages)]
    playing, operator, told = await watched(
        *(look for look in looks for _ in range(3)), at(4, 100, phase="soaking")
    )
    assert operator.verbs == ["start"]
    assert playing.reached == [0, 5, 25, 50, 100]
    assert [line.split()[1] for line in told.lines[1:]] == [stage.name for stage in GOOD.stages]


async def test_a_climb_that_ends_early_says_what_it_waits_for() -> None:
    playing, _, told = await watched(at(0, 0.0), limit_s=0.0)
    assert playing.reached == [0]
    assert told.lines[-1] == "it stays at internal: too few units"


class Nobody:
    """Callers who have nothing to say."""

    async def talk(self, stage: Any, report: Any) -> None:
        pass

    def stop(self) -> None:
        pass


def at(index: int, percent: float, **changes: Any) -> dict[str, Any]:
    stage = {"index": index, "name": GOOD.stages[index].name, "percent": percent}
    return status(stage=stage, weight_percent=percent, summary="too few units", **changes)


FALL = {
    "canary": [seen(Arm.control), seen(Arm.candidate, fallback="overloaded"), seen(Arm.candidate)],
    AFTERWARDS: [seen(Arm.control)],
}
ROLLBACK = {
    "at": 1000.0,
    "by": "controller",
    "reason": "fallback_rate: 50.0% of 32 requests, above 10.0%; fallback: first failures",
    "before": {"phase": "running"},
    "after": {"phase": "rolled_back"},
}


def fall(
    stages: dict[str, list[Seen]] = FALL, event: dict[str, Any] = ROLLBACK, reason: str = "automatic"
) -> list[bool]:
    played = act(BAD, stages, phase="rolled_back", reason=reason)
    played.first_candidate_at = 997.5
    return [check.holds for check in fell(played, [event])]


def test_an_automatic_rollback_that_nobody_felt_holds() -> None:
    assert fall() == [True] * 4
    played = act(BAD, FALL, phase="rolled_back", reason="automatic")
    played.first_candidate_at = 997.5
    claim = fell(played, [ROLLBACK])[0].claim
    assert "2.5 s after" in claim
    assert claim.endswith(": fallback_rate: 50.0% of 32 requests, above 10.0%.")


def test_a_rollback_by_hand_is_no_automatic_one() -> None:
    assert fall(event=ROLLBACK | {"by": "demo"})[0] is False
    assert fall(reason="user")[0] is False


def test_no_rollback_is_noticed() -> None:
    played = act(BAD, FALL, phase="running", reason="")
    checks = fell(played, [])
    assert not checks[0].holds
    assert "it is running" in checks[0].otherwise


def test_a_request_that_still_reaches_the_candidate_is_noticed() -> None:
    assert fall(FALL | {AFTERWARDS: [seen(Arm.control), seen(Arm.candidate)]}) == [True, False, True, True]
    assert fall(FALL | {AFTERWARDS: []}) == [True, False, True, True]


def test_a_fault_that_did_not_strike_is_noticed() -> None:
    assert fall(FALL | {"canary": [seen(Arm.candidate)]}) == [True, True, False, True]


def test_the_fault_is_one_that_the_simulator_knows() -> None:
    fault = parse_fault(FAULT)
    assert (fault.model, fault.kind) == (BAD.candidate, "overloaded")


@pytest.mark.parametrize("plan", [GOOD, BAD], ids=lambda plan: plan.name)
def test_the_last_stage_is_everybody(plan: MigrationSpec) -> None:
    assert plan.stages[-1].percent == 100


def test_a_stage_is_told_in_a_line() -> None:
    tally = Tally()
    for request in [seen(Arm.candidate), *[seen(Arm.control)] * 3]:
        tally.add(request)
    line = stage_line(Stage("early", 25), tally)
    assert line == "stage early (25 %): the candidate began 25 % of 4 conversations, 0 failures"
