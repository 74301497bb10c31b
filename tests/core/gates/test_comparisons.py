"""Failures stop by evidence alone, means hold by their bounds; too little data says nothing."""

from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evidence import SequentialTest, stop_at
from gateway.core.gates.comparisons import judge_failures, judge_means
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import FAILURES, MEANS, GateResult, MetricRow, Verdict
from gateway.core.spec import Gates, Stage
from gateway.core.tally import Buckets, Exposure, RunTally, StageTally
from gateway.core.types import LINE
from tests.support.pictures import SPEC, buckets, run_tally, seen, soaking, spec_of, stage_tally, totals

LIMIT = stop_at(SPEC)


def failure(picture: Picture, name: str) -> tuple[GateResult, MetricRow]:
    (found,) = (each for each in judge_failures(picture) if each[0].name == name)
    return found


def mean(picture: Picture, name: str) -> tuple[GateResult, MetricRow]:
    (found,) = (each for each in judge_means(picture) if each[0].name == name)
    return found


def met(name: str, *, control: tuple[int, int], candidate: tuple[int, int]) -> Picture:
    """Return a moment in which units met one failure: (at risk, first failures)."""
    return seen(
        run_tally=run_tally(
            totals(exposure={name: Exposure(*candidate)}), totals(exposure={name: Exposure(*control)})
        )
    )


# --- failures -----------------------------------------------------------------------------------------------


def test_only_what_is_configured_is_compared_and_only_while_the_arms_are() -> None:
    assert tuple(gate.name for gate, _ in judge_failures(seen())) == FAILURES
    assert tuple(gate.name for gate, _ in judge_means(seen())) == MEANS
    few = spec_of(gates=Gates(rollback={"refusal": 2.0, "error": 1.5}, hold={"cost": 2.0}))
    assert [gate.name for gate, _ in judge_failures(seen(few))] == ["error", "refusal"]
    assert [gate.name for gate, _ in judge_means(seen(few))] == ["cost"]
    for picture in (seen(weight=0), seen(weight=60_000), seen(widest=LINE), soaking()):
        assert [*judge_failures(picture), *judge_means(picture)] == []


@pytest.mark.parametrize(
    ("control", "candidate", "verdict"),
    [
        ((0, 0), (0, 0), Verdict.inconclusive),
        ((0, 0), (50, 50), Verdict.inconclusive),
        ((50, 0), (0, 0), Verdict.inconclusive),
        ((1, 0), (1, 0), Verdict.passed),
        ((1000, 10), (1000, 10), Verdict.passed),
        ((1000, 10), (1000, 16), Verdict.passed),
        ((100, 90), (100, 90), Verdict.passed),
        ((1000, 10), (1000, 60), Verdict.failed),
        ((20, 0), (20, 15), Verdict.failed),
    ],
)
def test_a_failure_stops_once_the_evidence_is_there_and_needs_no_minimum(
    control: tuple[int, int], candidate: tuple[int, int], verdict: Verdict
) -> None:
    gate, row = failure(met("tool_error", control=control, candidate=candidate), "tool_error")
    assert gate.verdict is row.verdict is verdict
    assert (gate.evidence["log_e"] >= LIMIT) is (verdict is Verdict.failed)


@pytest.mark.parametrize(
    ("peak", "verdict"),
    [(LIMIT - 1e-9, Verdict.passed), (LIMIT, Verdict.failed), (LIMIT + 1, Verdict.failed)],
)
def test_it_stops_exactly_at_its_share_of_alpha(peak: float, verdict: Verdict) -> None:
    assert pytest.approx(log(5 / 0.05)) == LIMIT
    picture = seen()
    test = SequentialTest((peak,) * 7, peak, (100, 100), (1, 9))
    picture = replace(picture, evidence=replace(picture.evidence, tests={"error": test}))
    gate, row = failure(picture, "error")
    assert gate.verdict is verdict
    assert row.evidence == pytest.approx(min(peak / LIMIT, 1.0))


def test_a_row_shows_the_rates_their_ratio_and_bounds() -> None:
    gate, row = failure(met("error", control=(1000, 10), candidate=(500, 30)), "error")
    assert (row.control, row.candidate, row.ratio) == (0.01, 0.06, pytest.approx(6.0))
    assert row.lower is not None
    assert row.upper is not None
    assert 1.25 < row.lower < 6.0 < row.upper
    assert (row.margin, row.n_control, row.n_candidate) == (1.25, 1000, 500)
    assert gate.reason == (
        "first failures: candidate 30 in 500, control 10 in 1000; beyond chance more than 1.25 times as often"
    )


def test_what_never_happened_to_control_has_no_ratio() -> None:
    _, row = failure(met("error", control=(100, 0), candidate=(100, 3)), "error")
    assert (row.ratio, row.upper) == (None, None)
    assert row.lower is not None


# --- means --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ttft", "cost", "output_tokens"])
@pytest.mark.parametrize(
    ("times", "verdict"), [(0.5, Verdict.passed), (1.0, Verdict.passed), (2.0, Verdict.failed)]
)
def test_a_mean_holds_once_its_lower_bound_is_beyond_the_margin(
    name: str, times: float, verdict: Verdict
) -> None:
    tally = stage_tally({name: buckets(5.0 + log(times))}, **{name: buckets(5.0)})
    gate, row = mean(seen(stage_tally=tally), name)
    assert gate.verdict is row.verdict is verdict
    assert row.ratio == pytest.approx(times)
    assert row.lower is not None
    assert row.upper is not None
    assert row.lower < times < row.upper
    assert (row.lower > row.margin) is (verdict is Verdict.failed)
    assert row.evidence == pytest.approx(min(row.lower / row.margin, 1.0))


def test_beyond_the_margin_without_proof_is_no_harm_shown() -> None:
    noisy = {"ttft": buckets(log(1.3), spread=1.5)}
    gate, row = mean(seen(stage_tally=stage_tally(noisy, ttft=buckets(0.0, spread=1.5))), "ttft")
    assert gate.verdict is Verdict.passed
    assert gate.reason == "1.30 times control's, not shown to be above 1.2"
    assert row.lower is not None
    assert row.lower < 1.2


@pytest.mark.parametrize(("spread", "verdict"), [(0.1, Verdict.passed), (1.0, Verdict.inconclusive)])
def test_a_demanding_stage_asks_for_proof_of_no_harm(spread: float, verdict: Verdict) -> None:
    spec = spec_of(replace(SPEC.stages[0], require="non_inferior"), *SPEC.stages[1:])
    tally = stage_tally({"ttft": buckets(0.0, spread=spread)}, ttft=buckets(0.0, spread=spread))
    gate, row = mean(seen(spec, stage_tally=tally), "ttft")
    assert gate.verdict is verdict
    assert row.upper is not None
    assert (row.upper < row.margin) is (verdict is Verdict.passed)


@pytest.mark.parametrize(
    ("candidate", "control", "verdict"),
    [(0.05, 0.05, Verdict.passed), (0.30, 0.05, Verdict.failed), (0.05, 0.30, Verdict.passed)],
)
def test_the_share_of_slow_requests_is_compared_as_a_rate(
    candidate: float, control: float, verdict: Verdict
) -> None:
    tally = stage_tally(
        {"slow_share": buckets(candidate, spread=0.05)}, slow_share=buckets(control, spread=0.05)
    )
    gate, row = mean(seen(stage_tally=tally), "slow_share")
    assert gate.verdict is verdict
    assert (row.control, row.candidate) == (pytest.approx(control), pytest.approx(candidate))
    assert row.lower is not None
    assert row.lower >= 0
    assert (row.lower > 1.25) is (verdict is Verdict.failed)


CONSTANT = Buckets((4,) * 64, (20.0,) * 64)
FEW_UNITS = Buckets((200,) * 3 + (0,) * 61, (100.0, 200.0, 300.0) + (0.0,) * 61)


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize(
    ("candidate", "control", "said"),
    [
        (Buckets(), buckets(1.0), "too little data: 0 of 100 requests"),
        (buckets(1.0), Buckets(), "too little data: 0 of 100 requests"),
        (buckets(1.0, each=1), buckets(1.0), "too little data: 64 of 100 requests"),
        (CONSTANT, buckets(1.0), "too little data: too few units, or nothing varies"),
        (CONSTANT, CONSTANT, "too little data: too few units, or nothing varies"),
        (buckets(1.0), FEW_UNITS, "too little data: too few units, or nothing varies"),
    ],
)
def test_too_little_data_and_no_variance_say_nothing(
    name: str, candidate: Buckets, control: Buckets, said: str
) -> None:
    gate, row = mean(seen(stage_tally=stage_tally({name: candidate}, **{name: control})), name)
    assert (gate.verdict, gate.reason) == (Verdict.inconclusive, said)
    assert (row.lower, row.upper, row.evidence) == (None, None, 0.0)


def test_means_are_shown_in_their_own_units() -> None:
    rows = dict.fromkeys(MEANS)
    tally = stage_tally(ttft=buckets(log(2.0)), cost=buckets(log(900.0)), output_tokens=buckets(log(301.0)))
    shown = {name: mean(seen(stage_tally=tally), name)[1].control for name in rows}
    assert shown == {
        "ttft": pytest.approx(2.0), "slow_share": pytest.approx(0.05), "cost": pytest.approx(900.0),
        "output_tokens": pytest.approx(300.0),
    }  # fmt: skip


def test_a_share_of_alpha_that_is_no_test_any_more_crashes_nothing() -> None:
    spec = spec_of(Stage("all", 50, hold_s=1), gates=Gates(alpha=1.0))
    assert mean(seen(spec), "ttft")[0].verdict is Verdict.passed


# --- always -------------------------------------------------------------------------------------------------

counts = st.lists(st.integers(0, 50), min_size=64, max_size=64).map(tuple)
sums = st.lists(st.floats(-1e3, 1e3), min_size=64, max_size=64).map(tuple)
anything = st.builds(Buckets, counts, sums)


@given(anything, anything, st.sampled_from(MEANS))
def test_no_counts_crash_a_comparison(candidate: Buckets, control: Buckets, name: str) -> None:
    gate, row = mean(seen(stage_tally=stage_tally({name: candidate}, **{name: control})), name)
    assert gate.verdict is row.verdict
    assert 0 <= row.evidence <= 1
    assert (row.lower is None) == (row.upper is None)


def test_nothing_counted_is_neither_success_nor_failure() -> None:
    picture = seen(run_tally=RunTally(), stage_tally=StageTally())
    verdicts = {gate.verdict for gate, _ in [*judge_failures(picture), *judge_means(picture)]}
    assert verdicts == {Verdict.inconclusive}
