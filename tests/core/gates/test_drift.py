"""What leaves its own baseline after the promotion raises an alarm, and nothing else."""

from dataclasses import replace
from math import log

import pytest

from gateway.core.evidence import Baseline, Evidence, absorb
from gateway.core.gates.drift import judge_drift
from gateway.core.gates.judge import judge
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import Verdict
from gateway.core.stats.histogram import bin_of
from gateway.core.tally import ArmTotals, StageTally
from gateway.core.types import Arm
from tests.support.pictures import buckets, gate, run_tally, seen, soaking, stage_tally, totals

PROMOTED = Baseline(0.0, Arm.candidate, 1000, {"error": 0.01, "refusal": 0.01}, duration_p95_s=2.5)


def after(candidate: ArmTotals) -> Picture:
    """Return a moment of soaking: first it was healthy, and this is what has been counted by now."""
    known = replace(absorb(Evidence(), soaking(), 1.0), promoted=PROMOTED)
    return soaking(evidence=absorb(known, soaking(), 1.0), run_tally=run_tally(candidate))


def test_it_is_judged_while_soaking_alone() -> None:
    assert list(judge_drift(seen())) == []


def test_without_a_baseline_nothing_can_be_said() -> None:
    result = gate(judge_drift(soaking()), "drift")
    assert result.verdict is Verdict.inconclusive


def test_more_of_the_same_is_no_drift() -> None:
    more = totals(requests=9000, outcomes={"timeout": 90, "refused": 90}, durations={bin_of(2.0): 9000})
    picture = after(more)
    assert gate(judge_drift(picture), "drift").verdict is Verdict.passed
    assert judge(picture).decision == "hold"


def test_a_failure_that_became_frequent_is_drift_and_never_a_rollback() -> None:
    picture = after(totals(requests=1500, outcomes={"timeout": 10, "refused": 80}))
    result = gate(judge_drift(picture), "drift")
    assert result.verdict is Verdict.failed
    assert result.reason.startswith("refusal is beyond chance above 2.82% of requests")
    judged = judge(picture)
    assert (judged.decision, judged.action, judged.failed) == ("inconclusive", "none", ())
    assert judged.reason.startswith("soaking: drift: refusal")


def test_answers_that_became_slow_are_drift() -> None:
    slow = totals(requests=1500, durations={bin_of(2.0): 1000, bin_of(9.0): 500})
    result = gate(judge_drift(after(slow)), "drift")
    assert result.verdict is Verdict.failed
    assert result.reason.startswith("slow_share")


@pytest.mark.parametrize(("times", "verdict"), [(1.0, Verdict.passed), (2.0, Verdict.failed)])
def test_answers_that_became_dear_are_drift(times: float, verdict: Verdict) -> None:
    climbed = absorb(Evidence(), seen(), 1.0)
    known = absorb(replace(climbed, promoted=PROMOTED), soaking(), 1.0)
    dear = stage_tally({"cost": buckets(7.0 + log(times))})
    result = gate(judge_drift(soaking(evidence=known, stage_tally=dear)), "drift")
    assert result.verdict is verdict
    assert result.reason.startswith("cost is 2.00 times what it was") is (verdict is Verdict.failed)


def test_means_are_those_of_the_newest_stage_that_had_enough() -> None:
    climbed = absorb(Evidence(), seen(), 1.0)
    last = absorb(climbed, seen(entry=2, stage_tally=StageTally()), 1.0)
    assert last.means == climbed.means
    assert set(last.means) == {"ttft", "slow_share", "cost", "output_tokens"}
    assert absorb(last, soaking(stage_tally=stage_tally({"cost": buckets(9.0)})), 1.0).means == climbed.means
