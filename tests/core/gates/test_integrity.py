"""Numbers are not trusted without all replicas, some traffic and even arms."""

import pytest

from gateway.core.evidence import Evidence
from gateway.core.gates.integrity import gone_quiet, judge_integrity
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import Verdict
from gateway.core.spec import Lists
from gateway.core.tally import StageTally
from gateway.core.types import LINE, Arm, Phase
from tests.support.pictures import gate, seen, soaking, spec_of

LISTED = spec_of(lists=Lists(allow_tasks=("internal",)))


def names(picture: Picture) -> list[str]:
    return [each.name for each in judge_integrity(picture)]


def test_which_of_them_apply_depends_on_where_the_run_is() -> None:
    assert names(seen()) == ["freshness", "traffic", "sample_ratio"]
    assert names(seen(phase=Phase.paused)) == ["freshness", "traffic", "sample_ratio"]
    assert names(seen(weight=LINE)) == ["freshness", "traffic"]
    assert names(seen(weight=25_000, widest=LINE)) == ["freshness", "traffic"]
    assert names(seen(weight=0)) == ["freshness"]
    assert names(soaking()) == ["freshness"]


def test_at_no_weight_only_listed_people_can_be_waited_for() -> None:
    assert names(seen(LISTED, weight=0)) == ["freshness", "traffic"]
    assert names(seen(LISTED, weight=0, lists=Lists())) == ["freshness"]
    assert names(seen(weight=0, lists=Lists(allow_users=("eve",)))) == ["freshness", "traffic"]


def test_replicas_that_do_not_count_are_named() -> None:
    assert gate(judge_integrity(seen()), "freshness").verdict is Verdict.passed
    result = gate(judge_integrity(seen(stale=("r1", "r2", "r3", "r4"))), "freshness")
    assert result.verdict is Verdict.inconclusive
    assert result.reason == "no counts within 15 s from r1, r2, r3 and 1 more"


@pytest.mark.parametrize(
    ("quiet_s", "tally", "verdict", "said"),
    [
        (0.0, None, Verdict.passed, "256 requests"),
        (21_599.0, None, Verdict.passed, "256 requests"),
        (21_600.0, None, Verdict.inconclusive, "the candidate has had no request for 6 h"),
        (3_600.0, StageTally(), Verdict.inconclusive, "no request of the candidate's yet: 1 h of 6 h"),
    ],
)
def test_traffic_is_waited_for(quiet_s: float, tally: StageTally | None, verdict: Verdict, said: str) -> None:
    known = Evidence(run=1, entry=1, quiet_s=quiet_s, requests=1000)
    changes = {"stage_tally": tally} if tally else {}
    picture = seen(evidence=known, watched_s=0.0, **changes)
    result = gate(judge_integrity(picture), "traffic")
    assert result.verdict is verdict
    assert said in result.reason
    assert gone_quiet(picture) is (quiet_s >= 21_600)


def test_nobody_is_missed_where_nobody_can_come() -> None:
    known = Evidence(run=1, entry=1, quiet_s=1e9, requests=1000)
    assert not gone_quiet(seen(evidence=known, weight=0))
    assert not gone_quiet(soaking(evidence=known))


@pytest.mark.parametrize(
    ("candidate", "control", "verdict"),
    [
        (0, 0, Verdict.inconclusive),
        (1, 0, Verdict.passed),
        (500, 500, Verdict.passed),
        (480, 520, Verdict.passed),
        (3_000, 4_500, Verdict.failed),
        (4_500, 3_000, Verdict.failed),
        (0, 400, Verdict.failed),
    ],
)
def test_arms_of_equal_width_enrol_alike(candidate: int, control: int, verdict: Verdict) -> None:
    enrolled = {Arm.candidate: candidate, Arm.control: control}
    assert gate(judge_integrity(seen(enrolled=enrolled)), "sample_ratio").verdict is verdict
