"""Checks are held against control, against their own limit, and all together against the stage's."""

from dataclasses import replace

import pytest

from gateway.core.evidence import Evidence, absorb
from gateway.core.gates.picture import Picture
from gateway.core.gates.quality import judge_checks, judge_quality
from gateway.core.gates.verdict import SHARED, GateResult, Verdict
from gateway.core.spec import Check, Stage
from gateway.core.tally import CheckCount, Exposure
from gateway.core.types import LINE
from tests.support.pictures import STAGES, gate, run_tally, seen, soaking, spec_of, totals

JSON = Check("json", task="extract", name="valid", min_pass=0.95, max_ratio=1.25)
SHORT = Check("max_chars", name="short", max_chars=900, min_pass=None, max_ratio=1.5)


def judged(
    candidate: dict[str, tuple[int, int]],
    control: dict[str, tuple[int, int]],
    *checks: Check,
    tolerated: float | None = None,
    weight: int = 5_000,
) -> Picture:
    """Return a moment after so many (answers, failing ones), each of a unit of its own."""
    arms = [
        totals(
            exposure={f"check:{name}": Exposure(*counted) for name, counted in met.items()},
            checks={name: CheckCount(of - failed, failed) for name, (of, failed) in met.items()},
        )
        for met in (candidate, control)
    ]
    spec = spec_of(replace(STAGES[0], max_regression=tolerated), *STAGES[1:], checks=checks or (JSON,))
    return seen(spec, run_tally=run_tally(*arms), weight=weight)


def quality(picture: Picture) -> GateResult:
    return gate(judge_quality(picture), "quality")


def test_without_checks_there_is_no_such_gate() -> None:
    assert list(judge_quality(seen())) == []
    assert list(judge_quality(seen(spec_of(Stage("canary", 5, max_regression=0.01))))) == []
    assert list(judge_checks(seen())) == []


def test_a_check_that_nobody_has_met_says_nothing() -> None:
    result = quality(judged({}, {}))
    assert result.verdict is Verdict.inconclusive
    assert result.reason == "too little data: check 'valid' of task 'extract' has not met both arms"
    assert SHARED not in result.evidence


@pytest.mark.parametrize(("failing", "verdict"), [(3, Verdict.passed), (12, Verdict.failed)])
def test_a_check_fails_by_its_own_limit(failing: int, verdict: Verdict) -> None:
    alone = replace(JSON, max_ratio=None)
    result = quality(judged({"valid": (60, failing)}, {"valid": (60, 2)}, alone))
    assert result.verdict is verdict
    assert result.reason.startswith("check 'valid' of task 'extract': candidate passes ")
    assert ("; below 95.0%" in result.reason) is (verdict is Verdict.failed)
    assert "control 96.7% of 60" in result.reason


@pytest.mark.parametrize(("failing", "verdict"), [(3, Verdict.passed), (40, Verdict.failed)])
def test_a_check_fails_against_control(failing: int, verdict: Verdict) -> None:
    result = quality(judged({"short": (60, failing)}, {"short": (60, 3)}, SHORT))
    assert result.verdict is verdict
    assert "check 'short': candidate passes" in result.reason
    assert "more than 1.5 times as many units as on control" in result.reason


@pytest.mark.parametrize(("tolerated", "verdict"), [(0.02, Verdict.failed), (0.2, Verdict.passed)])
def test_all_checks_together_are_held_against_the_stages_limit(tolerated: float, verdict: Verdict) -> None:
    lenient = replace(JSON, min_pass=None, max_ratio=None), replace(SHORT, max_ratio=None)
    met = {"valid": (200, 15), "short": (200, 15)}
    none = {"valid": (200, 0), "short": (200, 0)}
    result = quality(judged(met, none, *lenient, tolerated=tolerated))
    assert result.verdict is verdict
    assert result.reason.startswith(
        "all checks together: candidate passes 92.5% of 400, control 100.0% of 400"
    )


@pytest.mark.parametrize(
    ("control", "verdict"),
    [
        ((100, 8), Verdict.inconclusive),
        ((100, 5), Verdict.failed),
        ((20, 2), Verdict.inconclusive),
        ((19, 19), Verdict.failed),
        ((0, 0), Verdict.failed),
    ],
)
def test_a_limit_that_control_misses_as_well_blames_the_check(
    control: tuple[int, int], verdict: Verdict
) -> None:
    alone = replace(JSON, max_ratio=None)
    result = quality(judged({"valid": (60, 12)}, {"valid": control}, alone))
    assert result.verdict is verdict
    assert (SHARED in result.evidence) is (verdict is Verdict.inconclusive)
    assert ("control is below 95.0% as well" in result.reason) is (verdict is Verdict.inconclusive)


def test_the_worst_check_speaks_for_all() -> None:
    met = {"valid": (60, 50), "short": (60, 0)}
    result = quality(judged(met, {"valid": (60, 0), "short": (60, 0)}, SHORT, JSON))
    assert result.verdict is Verdict.failed
    assert "check 'valid' of task 'extract'" in result.reason
    assert (result.evidence["limits"], result.evidence["failing"]) == (3, 2)


def test_a_check_that_nobody_has_met_does_not_silence_those_that_are() -> None:
    result = quality(judged({"short": (60, 0)}, {"short": (60, 0)}, SHORT, JSON))
    assert result.verdict is Verdict.passed
    assert "check 'short'" in result.reason


def test_above_half_only_absolute_limits_are_left() -> None:
    met, none = {"valid": (60, 50)}, {"valid": (60, 0)}
    assert [row.name for row in judge_checks(judged(met, none))] == ["check:valid", "min:valid"]
    wide = judged(met, none, weight=LINE)
    assert [row.name for row in judge_checks(wide)] == ["min:valid"]
    assert quality(wide).verdict is Verdict.failed
    assert quality(soaking(spec_of(checks=(JSON,)))).verdict is Verdict.inconclusive


def test_rows_of_limits_show_shares_of_answers() -> None:
    rows = {row.name: row for row in judge_checks(judged({"valid": (50, 5)}, {"valid": (100, 4)}))}
    row = rows["min:valid"]
    assert (row.control, row.candidate, row.ratio) == (0.04, 0.1, pytest.approx(2.5))
    assert row.margin == pytest.approx(0.05 / 0.04)
    assert (row.n_control, row.n_candidate) == (100, 50)
    assert rows["check:valid"].margin == 1.25


@pytest.mark.parametrize("tolerated", [None, 0.05])
def test_what_the_provider_did_to_both_arms_is_not_held_against_the_candidate_afterwards(
    tolerated: float | None,
) -> None:
    alone = replace(JSON, max_ratio=None, min_pass=0.95 if tolerated is None else None)
    evidence, outage = Evidence(), [(8 * n, 3 * n) for n in range(1, 6)]
    said = []
    for of, failed in [*outage, *((40 + 100 * n, 15) for n in range(1, 6))]:
        met = {"valid": (of, failed)}
        moment = replace(judged(met, met, alone, tolerated=tolerated), evidence=evidence)
        evidence = absorb(evidence, moment, 1.0)
        said.append(quality(replace(moment, evidence=evidence)).verdict)
    assert said[:5] == [Verdict.inconclusive] * 5
    assert said[-1] is Verdict.passed
    assert Verdict.failed not in said


def test_a_control_that_is_a_little_over_the_limit_excuses_no_candidate_that_is_far_worse() -> None:
    alone = replace(JSON, max_ratio=None)
    worse = quality(judged({"valid": (60, 60)}, {"valid": (200, 12)}, alone))
    assert worse.verdict is Verdict.failed
    alike = quality(judged({"valid": (60, 9)}, {"valid": (200, 24)}, alone))
    assert (alike.verdict, alike.evidence[SHARED]) == (Verdict.inconclusive, 1)


def test_a_control_with_fewer_answers_than_the_candidate_excuses_nothing_until_there_are_enough() -> None:
    alone = replace(JSON, max_ratio=None)
    assert quality(judged({"valid": (60, 30)}, {"valid": (3, 3)}, alone)).verdict is Verdict.failed
