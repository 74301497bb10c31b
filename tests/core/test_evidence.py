"""Evidence grows with what is new, once; time counts only where it was watched."""

from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evidence import (
    Baseline,
    Evidence,
    SequentialTest,
    absorb,
    baseline_of,
    comparisons,
    drift_limit,
    stop_at,
)
from gateway.core.spec import Check, Gates, Stage
from gateway.core.stats.eprocess import log_e, update, update_fixed
from gateway.core.stats.histogram import bin_of, value_of
from gateway.core.tally import ArmTotals, CheckCount, Exposure, RunTally
from gateway.core.types import Arm, Phase, from_json, to_json
from tests.support.pictures import SPEC, STAGES, run_tally, seen, soaking, spec_of, totals

JSON = Check("json", task="extract", name="valid", min_pass=0.95, max_ratio=1.25)
CHECKED = spec_of(replace(STAGES[0], max_regression=0.03), *STAGES[1:], checks=(JSON,))
EMPTY = RunTally()


def exposed(name: str, control: tuple[int, int], candidate: tuple[int, int]) -> RunTally:
    """Return a run in which each arm had (at risk, failed) of one kind."""
    return RunTally({
        Arm.control: ArmTotals(requests=9, exposure={name: Exposure(*control)}),
        Arm.candidate: ArmTotals(requests=9, exposure={name: Exposure(*candidate)}),
    })  # fmt: skip


def fed(evidence: Evidence, counted: RunTally, **changes: object) -> Evidence:
    return absorb(evidence, seen(run_tally=counted, **changes), 1.0)


# --- time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "watched_s", "paused_s"),
    [(Phase.running, 5.0, 0.0), (Phase.paused, 0.0, 5.0), (Phase.soaking, 0.0, 0.0)],
)
def test_time_is_watched_while_running_and_told_apart_from_pauses(
    phase: Phase, watched_s: float, paused_s: float
) -> None:
    after = absorb(Evidence(run=1, entry=1), seen(phase=phase), 5.0)
    assert (after.watched_s, after.paused_s) == (watched_s, paused_s)


def test_a_pause_keeps_what_was_watched_and_the_next_one_begins_anew() -> None:
    evidence = absorb(Evidence(run=1, entry=1, watched_s=40.0), seen(phase=Phase.paused), 7.0)
    assert (evidence.watched_s, evidence.paused_s) == (40.0, 7.0)
    evidence = absorb(evidence, seen(), 2.0)
    assert (evidence.watched_s, evidence.paused_s) == (42.0, 0.0)


def test_a_pause_for_another_reason_is_another_pause() -> None:
    frozen = seen(phase=Phase.paused, reason="freeze")
    evidence = absorb(absorb(Evidence(run=1, entry=1), frozen, 30.0), frozen, 30.0)
    assert evidence.paused_s == 60.0
    waiting = seen(phase=Phase.paused, reason="approval")
    assert absorb(evidence, waiting, 1.0).paused_s == 1.0


def test_another_entry_starts_the_clocks_anew_and_keeps_the_tests() -> None:
    before = absorb(Evidence(), seen(), 50.0)
    after = absorb(before, seen(entry=2), 3.0)
    assert (after.entry, after.watched_s, after.quiet_s) == (2, 3.0, 3.0)
    assert after.tests == before.tests
    assert after.tests["error"].failed == (10, 10)


def test_another_run_starts_everything_anew() -> None:
    before = replace(absorb(Evidence(), seen(), 50.0), reported_at=9.0, warned_days=30)
    after = absorb(before, seen(run=2, entry=1, run_tally=EMPTY), 3.0)
    assert (after.run, after.watched_s, after.reported_at, after.warned_days) == (2, 3.0, 0.0, None)
    assert after.tests["error"] == SequentialTest()


def test_it_is_quiet_from_the_last_request_of_the_candidates_on() -> None:
    evidence = fed(Evidence(), run_tally(totals(requests=5)))
    assert evidence.quiet_s == 0.0
    evidence = fed(evidence, run_tally(totals(requests=5)))
    assert (evidence.quiet_s, evidence.requests) == (1.0, 5)
    assert fed(evidence, run_tally(totals(requests=6))).quiet_s == 0.0


def test_counts_that_a_process_took_with_it_are_no_request() -> None:
    evidence = fed(fed(Evidence(), run_tally(totals(requests=5))), run_tally(totals(requests=3)))
    assert (evidence.quiet_s, evidence.requests) == (1.0, 3)


# --- the tests against control ------------------------------------------------------------------------------


def test_each_tick_feeds_what_is_new() -> None:
    first = fed(Evidence(), exposed("error", (100, 1), (100, 4)))
    second = fed(first, exposed("error", (150, 2), (180, 9)))
    expected = update(update((), (100, 100), (1, 4), 1.25), (50, 80), (1, 5), 1.25)
    assert second.tests["error"].log_m == pytest.approx(expected)
    assert second.tests["error"].at_risk == (150, 180)
    assert second.tests["error"].failed == (2, 9)


def test_the_peak_remembers_the_greatest_evidence() -> None:
    bad = fed(Evidence(), exposed("error", (100, 0), (100, 9)))
    better = fed(bad, exposed("error", (900, 90), (900, 9)))
    test = better.tests["error"]
    assert log_e(test.log_m) < test.peak == pytest.approx(log_e(bad.tests["error"].log_m))


def test_fallbacks_are_held_against_controls_errors() -> None:
    counted = RunTally({
        Arm.control: ArmTotals(exposure={"error": Exposure(100, 7), "fallback": Exposure(100, 0)}),
        Arm.candidate: ArmTotals(exposure={"fallback": Exposure(100, 7)}),
    })  # fmt: skip
    test = fed(Evidence(), counted).tests["fallback"]
    assert test.failed == (7, 7)
    assert log_e(test.log_m) < 0.5


def test_a_tick_without_anybody_at_risk_in_one_arm_waits_for_the_next() -> None:
    waiting = fed(Evidence(), exposed("error", (0, 0), (5, 5)))
    assert waiting.tests["error"] == SequentialTest()
    after = fed(waiting, exposed("error", (5, 0), (6, 5)))
    assert after.tests["error"].log_m == pytest.approx(update((), (5, 6), (0, 5), 1.25))


def test_counts_that_fell_are_passed_over_and_feeding_goes_on_from_there() -> None:
    first = fed(Evidence(), exposed("error", (100, 1), (100, 4)))
    lost = fed(first, exposed("error", (60, 1), (90, 3)))
    assert lost.tests["error"].log_m == first.tests["error"].log_m
    after = fed(lost, exposed("error", (70, 1), (100, 5)))
    assert after.tests["error"].log_m == pytest.approx(
        update(first.tests["error"].log_m, (10, 10), (0, 2), 1.25)
    )


@pytest.mark.parametrize("changes", [{"weight": 60_000}, {"widest": 100_000}, {"weight": 0}])
def test_what_is_counted_while_the_arms_are_not_compared_is_never_eaten(changes: dict[str, int]) -> None:
    unlike = fed(Evidence(), exposed("error", (100, 0), (100, 50)), **changes)
    assert unlike.tests["error"] == SequentialTest(at_risk=(100, 100), failed=(0, 50))
    assert fed(unlike, exposed("error", (100, 0), (100, 50))).tests["error"].peak == 0.0


def test_only_configured_failures_are_tested() -> None:
    spec = spec_of(gates=Gates(rollback={"refusal": 2.0}))
    assert set(absorb(Evidence(), seen(spec), 1.0).tests) == {"refusal"}


# --- the tests against a limit ------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [5_000, 100_000])
def test_checks_are_held_against_their_limits_at_every_weight(weight: int) -> None:
    counted = exposed("check:valid", (100, 1), (100, 20))
    tests = absorb(Evidence(), seen(CHECKED, run_tally=counted, weight=weight), 1.0).tests
    assert tests["min:valid"].log_m == pytest.approx(update_fixed((), 100, 20, 0.05))
    assert tests["max_regression"].log_m == pytest.approx(update_fixed((), 100, 20, 0.03))
    assert (tests["check:valid"].peak > 0) is (weight <= 50_000)


def test_a_stage_without_a_tolerated_regression_passes_over_what_it_counts() -> None:
    counted = exposed("check:valid", (100, 1), (100, 20))
    second = absorb(Evidence(), seen(CHECKED, run_tally=counted, stage_index=1), 1.0).tests
    assert second["max_regression"] == SequentialTest(at_risk=(0, 100), failed=(0, 20))


def test_more_failures_than_units_at_risk_are_all_of_them() -> None:
    counted = exposed("check:valid", (9, 0), (3, 4))
    test = absorb(Evidence(), seen(CHECKED, run_tally=counted), 1.0).tests["min:valid"]
    assert test.log_m == pytest.approx(update_fixed((), 4, 4, 0.05))


def test_all_comparisons_that_may_roll_back_share_alpha() -> None:
    assert comparisons(CHECKED) == (
        "error", "fallback", "tool_error", "refusal", "incomplete",
        "check:valid", "min:valid", "max_regression",
    )  # fmt: skip
    assert stop_at(CHECKED) == pytest.approx(log(8 / 0.05))
    bare = spec_of(
        Stage("all", 100, max_regression=0.1), checks=(replace(JSON, min_pass=None, max_ratio=None),)
    )
    assert comparisons(bare)[5:] == ("max_regression",)
    assert stop_at(spec_of(gates=Gates(rollback={}))) == pytest.approx(log(1 / 0.05))


# --- after the promotion ------------------------------------------------------------------------------------

PROMOTED = Baseline(0.0, Arm.candidate, 1000, {"error": 0.01, "refusal": 0.0}, duration_p95_s=2.0)


def promoted() -> Evidence:
    return replace(absorb(Evidence(), soaking(), 1.0), promoted=PROMOTED)


def test_drift_is_measured_from_the_first_look_after_the_promotion_on() -> None:
    first = absorb(promoted(), soaking(), 1.0)
    assert first.tests["drift:error"].failed == (0, 10)
    assert first.tests["drift:error"].peak == 0.0
    later = totals(requests=1500, outcomes={"timeout": 60, "refused": 10}, durations={bin_of(9.0): 1500})
    tests = absorb(first, soaking(run_tally=run_tally(later)), 1.0).tests
    assert tests["drift:error"].log_m == pytest.approx(
        update_fixed((), 500, 50, drift_limit(SPEC, PROMOTED, "error"))
    )
    assert tests["drift:refusal"].log_m == pytest.approx(
        update_fixed((), 500, 0, drift_limit(SPEC, PROMOTED, "refusal"))
    )
    assert tests["drift:slow_share"].failed == (0, 1500)
    assert tests["drift:slow_share"].peak > 100


@pytest.mark.parametrize(
    ("requests", "rate", "limit"),
    [(0, 0.0, 1.0), (1000, 0.0, 0.006), (1000, 0.01, 0.0235), (100_000, 0.01, 0.0133), (10**8, 0.01, 0.0125)],
)
def test_of_few_requests_little_is_known(requests: int, rate: float, limit: float) -> None:
    baseline = Baseline(0.0, Arm.candidate, 7, {"error": rate}, {"error": requests})
    assert drift_limit(SPEC, baseline, "error") == pytest.approx(limit, rel=0.02)


def test_there_is_no_drift_before_the_baseline_is_frozen_or_after_soaking() -> None:
    assert not any(name.startswith("drift:") for name in absorb(Evidence(), soaking(), 1.0).tests)
    after = absorb(absorb(promoted(), soaking(), 1.0), seen(phase=Phase.paused), 1.0)
    assert not any(name.startswith("drift:") for name in after.tests)


def test_a_baseline_says_what_an_arm_was_like() -> None:
    arm = ArmTotals(
        requests=200, outcomes={"ok": 180, "timeout": 4, "empty": 6, "refused": 10}, fallbacks=3, priced=100,
        cost_microusd=5000, measured=50, output_tokens=4000, durations={bin_of(1.0): 90, bin_of(8.0): 10},
        first_tokens={bin_of(0.5): 3}, checks={"tool_error": CheckCount(7, 1)},
    )  # fmt: skip
    baseline = baseline_of(RunTally({Arm.control: arm, Arm.candidate: ArmTotals()}), Arm.control, 12.0)
    assert (baseline.at, baseline.arm, baseline.requests) == (12.0, Arm.control, 200)
    failures = {"error": 0.05, "fallback": 0.015, "refusal": 0.05, "incomplete": 0.03, "tool_error": 0.125}
    assert baseline.rates == failures
    assert baseline.counted == dict.fromkeys(failures, 200) | {"tool_error": 8}
    assert (baseline.cost_microusd, baseline.output_tokens) == (50.0, 80.0)
    assert baseline.duration_p50_s == value_of(bin_of(1.0))
    assert baseline.duration_p95_s == value_of(bin_of(8.0))
    assert baseline.first_token_p50_s == value_of(bin_of(0.5))


def test_a_baseline_of_nothing_claims_nothing() -> None:
    assert baseline_of(RunTally(), Arm.candidate, 1.0) == Baseline(1.0, Arm.candidate, 0)


# --- always -------------------------------------------------------------------------------------------------

counts = st.tuples(st.integers(0, 400), st.integers(0, 40))


@given(st.lists(st.tuples(counts, counts), max_size=6), st.sampled_from([5_000, 60_000]))
def test_a_repeated_tick_adds_nothing(
    ticks: list[tuple[tuple[int, int], tuple[int, int]]], weight: int
) -> None:
    evidence = Evidence()
    for control, candidate in ticks:
        picture = seen(CHECKED, run_tally=exposed("check:valid", control, candidate), weight=weight)
        evidence = absorb(evidence, picture, 1.0)
        assert absorb(evidence, picture, 0.0) == evidence


@given(st.lists(st.tuples(counts, counts), max_size=6))
def test_the_peak_never_falls(ticks: list[tuple[tuple[int, int], tuple[int, int]]]) -> None:
    evidence = Evidence()
    for control, candidate in ticks:
        before = evidence.tests.get("error", SequentialTest()).peak
        evidence = fed(evidence, exposed("error", control, candidate))
        assert evidence.tests["error"].peak >= max(before, log_e(evidence.tests["error"].log_m) - 1e-9)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 40), st.integers(0, 40))
def test_more_failures_of_the_candidates_never_speak_for_it(
    control: int, candidate: int, failed: int, more: int
) -> None:
    few = fed(Evidence(), exposed("error", (control, 0), (candidate, failed))).tests["error"]
    many = fed(Evidence(), exposed("error", (control, 0), (candidate, failed + more))).tests["error"]
    assert log_e(many.log_m) >= log_e(few.log_m)


def test_evidence_survives_the_store() -> None:
    evidence = replace(absorb(promoted(), soaking(), 1.0), control=PROMOTED, at=5.0)
    assert from_json(to_json(evidence), Evidence) == evidence
