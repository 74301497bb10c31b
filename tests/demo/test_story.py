"""A claim of the closing summary holds only if it was seen to happen."""

from typing import Any

import pytest

from gateway.core.types import Arm, Reason
from gateway.demo.act import Act, Scene
from gateway.demo.story import AFTERWARDS, BAD, FAULT, GOOD, climbed, fell, stage_line
from gateway.demo.tally import Seen, Tally
from gateway.demo.world import Plan
from gateway.simulator.faults import parse_fault
from gateway.tasks import SystemClock
from tests.support.admin_api import status
from tests.support.staged import Scripted, Told


def seen(arm: Arm, **changes: Any) -> Seen:
    return Seen(
        **{"application": "chat", "first": True, "arm": arm, "reason": "bucket", "took_s": 0.1, **changes}
    )


def act(plan: Plan, stages: dict[str, list[Seen]], **changes: Any) -> Act:
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


def climb(stages: dict[str, list[Seen]] = CLIMB, reached: list[float] | None = None) -> list[bool]:
    played = act(GOOD, stages)
    played.reached = [0, 5, 25, 50, 100] if reached is None else reached
    return [check.holds for check in climbed(played)]


def test_a_climb_to_the_top_without_a_failure_holds() -> None:
    assert climb() == [True, True]


def test_a_stage_that_was_not_reached_is_noticed() -> None:
    assert climb(reached=[0, 5, 25, 50, 50]) == [False, True]
    assert climb(reached=[]) == [False, True]


def test_a_conversation_that_still_begins_on_control_at_the_top_is_noticed() -> None:
    assert climb(CLIMB | {"full": [seen(Arm.candidate), seen(Arm.control)]}) == [False, True]


def test_a_top_that_nobody_saw_is_noticed() -> None:
    assert climb(CLIMB | {"full": []}) == [False, True]


def test_a_single_failure_is_noticed_and_named() -> None:
    played = act(GOOD, CLIMB | {"early": [seen(Arm.candidate, complaint="answer was empty")]})
    check = climbed(played)[-1]
    assert not check.holds
    assert "1 of 4" in check.otherwise
    assert "chat: answer was empty" in check.otherwise


FALL = {
    "canary": [seen(Arm.control), seen(Arm.candidate, fallback="overloaded"), seen(Arm.candidate)],
    AFTERWARDS: [seen(Arm.control)],
}
ROLLBACK = {
    "at": 1000.0,
    "by": "controller",
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
    assert "2.5 s after" in fell(played, [ROLLBACK])[0].claim


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
def test_the_last_stage_is_everybody(plan: Plan) -> None:
    assert plan.stages[-1][1] == 100


def test_a_stage_is_told_in_a_line() -> None:
    tally = Tally()
    for request in [seen(Arm.candidate), *[seen(Arm.control)] * 3]:
        tally.add(request)
    line = stage_line("early", 25, tally)
    assert line == "stage early (25 %): the candidate began 25 % of 4 conversations, 0 failures"
