"""A stage is left when its time is watched, its units are there, nothing is frozen and somebody approved."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from gateway.core.evidence import Evidence
from gateway.core.gates.advancing import (
    judge_approval,
    judge_duration,
    judge_freeze,
    judge_minimum,
    overdue,
)
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.spec import Freeze, Stage
from gateway.core.types import Arm, Phase
from tests.support.pictures import gate, seen, spec_of

STAGE = Stage("canary", 5, hold_s=172_800, min_units=200)
SUNDAY = 1_795_305_600.0


def minimum(name: str, *, watched_s: float = 0.0, **changes: Any) -> GateResult:
    return gate(judge_minimum(seen(spec_of(STAGE), watched_s=watched_s, **changes)), name)


@pytest.mark.parametrize(
    ("watched_s", "verdict", "said"),
    [
        (129_600, Verdict.inconclusive, "36 h of 48 h"),
        (172_799, Verdict.inconclusive, "47.9 h of 48 h"),
        (172_800, Verdict.passed, "48 h of 48 h"),
    ],
)
def test_the_hold_is_watched_time(watched_s: float, verdict: Verdict, said: str) -> None:
    result = minimum("hold", watched_s=watched_s)
    assert (result.verdict, result.reason) == (verdict, said)


def test_time_of_another_entry_counts_for_nothing() -> None:
    picture = seen(spec_of(STAGE), watched_s=200_000.0)
    picture = replace(picture, state=replace(picture.state, entry=7))
    assert gate(judge_minimum(picture), "hold").verdict is Verdict.inconclusive


@pytest.mark.parametrize(
    ("candidate", "control", "verdict", "said"),
    [
        (199, 900, Verdict.inconclusive, "199 of 200 units"),
        (900, 140, Verdict.inconclusive, "140 of 200 units"),
        (200, 200, Verdict.passed, "200 of 200 units"),
    ],
)
def test_both_arms_must_have_their_units(candidate: int, control: int, verdict: Verdict, said: str) -> None:
    result = minimum("min_units", enrolled={Arm.candidate: candidate, Arm.control: control})
    assert (result.verdict, result.reason) == (verdict, said)


def test_minimums_apply_where_they_are_asked_for_and_can_be_had() -> None:
    assert [each.name for each in judge_minimum(seen(spec_of(STAGE)))] == ["hold", "min_units"]
    assert [each.name for each in judge_minimum(seen(spec_of(STAGE), weight=60_000))] == ["hold"]
    assert [each.name for each in judge_minimum(seen(spec_of(STAGE), weight=0))] == ["hold"]
    assert list(judge_minimum(seen(spec_of(Stage("full", 100))))) == []


@pytest.mark.parametrize(
    ("then", "watched_s", "verdict"),
    [
        ("hold", 99.0, Verdict.passed),
        ("hold", 100.0, Verdict.inconclusive),
        ("rollback", 99.0, Verdict.passed),
        ("rollback", 100.0, Verdict.failed),
        ("advance", 100.0, Verdict.passed),
    ],
)
def test_a_stage_is_given_up_as_it_says(
    then: Literal["hold", "rollback", "advance"], watched_s: float, verdict: Verdict
) -> None:
    picture = seen(spec_of(replace(STAGE, max_duration_s=100, on_max_duration=then)), watched_s=watched_s)
    (result,) = judge_duration(picture)
    assert result.verdict is verdict
    assert overdue(picture) is (watched_s >= 100)


def test_a_run_that_is_paused_is_not_given_up_meanwhile() -> None:
    spec = spec_of(replace(STAGE, max_duration_s=100, on_max_duration="rollback"))
    (result,) = judge_duration(seen(spec, watched_s=100.0, phase=Phase.paused, reason="user"))
    assert result.verdict is Verdict.inconclusive


def test_a_stage_without_a_longest_duration_is_never_given_up() -> None:
    picture = seen(watched_s=1e9)
    assert list(judge_duration(picture)) == []
    assert not overdue(picture)


def test_a_freeze_says_which_and_until_when_in_its_own_time() -> None:
    weekend = Freeze("weekend", days=("sat", "sun"), timezone="Europe/Berlin")
    (result,) = judge_freeze(seen(spec_of(freeze=(weekend,)), now=SUNDAY))
    assert result.verdict is Verdict.inconclusive
    assert result.reason == "frozen by 'weekend' until 2026-11-23 00:00 Europe/Berlin"
    (result,) = judge_freeze(seen(spec_of(freeze=(weekend,)), now=SUNDAY + 2 * 86_400))
    assert result.verdict is Verdict.passed
    assert list(judge_freeze(seen())) == []


def test_a_freeze_without_an_end_waits_for_somebody() -> None:
    (result,) = judge_freeze(seen(spec_of(freeze=(Freeze("audit", since="2026-01-01"),)), now=SUNDAY))
    assert result.reason == "frozen by 'audit' until somebody lifts it"


def test_a_freeze_that_cannot_be_read_is_an_error_and_no_leave_to_go_on() -> None:
    (result,) = judge_freeze(seen(spec_of(freeze=(Freeze("x", days=("mon",), timezone="Mars/Olympus"),))))
    assert result.verdict is Verdict.error
    assert "Mars/Olympus" in result.reason


ASKING = replace(STAGE, approval=True)


def approval(stage: Stage = ASKING, *, waited_s: float | None = None, **changes: Any) -> GateResult:
    if waited_s is not None:
        known = Evidence(run=1, entry=1, paused_s=waited_s, requests=1000)
        changes |= {"evidence": known, "phase": Phase.paused, "reason": "approval"}
    picture = seen(spec_of(stage), **changes)
    if waited_s is not None:
        picture = replace(picture, evidence=replace(picture.evidence, paused_s=waited_s))
    return gate(judge_approval(picture), "approval")


def test_an_approval_is_asked_for_where_the_stage_says_so() -> None:
    assert list(judge_approval(seen())) == []
    assert approval().verdict is Verdict.inconclusive
    given = approval(approved_by="eve", approved_at=SUNDAY)
    assert (given.verdict, given.reason) == (Verdict.passed, "approved by eve at 2026-11-22 00:00 UTC")


def test_who_started_the_run_may_be_the_wrong_one_to_approve() -> None:
    strict = replace(ASKING, approval_by_another=True)
    assert approval(approved_by="ada").verdict is Verdict.passed
    assert approval(strict, approved_by="ada").verdict is Verdict.inconclusive
    assert "somebody else" in approval(strict, approved_by="ada").reason
    assert approval(strict, approved_by="eve").verdict is Verdict.passed


@pytest.mark.parametrize(
    ("then", "waited_s", "verdict", "said"),
    [
        ("hold", 3_599.0, Verdict.inconclusive, "nobody has approved yet: 59.9 min of 60 min"),
        ("hold", 3_600.0, Verdict.inconclusive, "nobody has approved within 60 min"),
        ("rollback", 3_599.0, Verdict.inconclusive, "nobody has approved yet: 59.9 min of 60 min"),
        ("rollback", 3_600.0, Verdict.failed, "nobody has approved within 60 min"),
    ],
)
def test_an_approval_is_waited_for_until_its_deadline(
    then: Literal["hold", "rollback"], waited_s: float, verdict: Verdict, said: str
) -> None:
    stage = replace(ASKING, approval_deadline_s=3_600, on_deadline=then)
    result = approval(stage, waited_s=waited_s)
    assert (result.verdict, result.reason) == (verdict, said)
    assert approval(stage, waited_s=waited_s, approved_by="eve").verdict is Verdict.passed


def test_the_deadline_runs_only_while_the_approval_is_what_is_waited_for() -> None:
    stage = replace(ASKING, approval_deadline_s=10, on_deadline="rollback")
    frozen = approval(stage, waited_s=1e6)
    assert frozen.verdict is Verdict.failed
    picture = seen(spec_of(stage), phase=Phase.paused, reason="freeze")
    picture = replace(picture, evidence=replace(picture.evidence, paused_s=1e6))
    assert gate(judge_approval(picture), "approval").verdict is Verdict.inconclusive
