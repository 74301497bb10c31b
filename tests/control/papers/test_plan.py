"""A plan says what each stage can see at the present traffic, how long it takes and what it costs."""

from dataclasses import replace

import pytest

from gateway.control.papers.plan import Plan, StagePlan, design_of, make
from gateway.control.papers.traffic import Traffic
from gateway.core.spec import BreakerRule, Gates, MigrationSpec, Stage
from gateway.core.stats.power import candidate_units_needed
from tests.support.papers import DAY, HOUR, SPEC, Story

BUSY = Traffic(40.0, 20_000.0, 0.015, 10_000.0, 8_000.0)


def planned(traffic: Traffic = BUSY, spec: MigrationSpec = SPEC) -> Plan:
    return make(Story(spec).facts(), traffic)


def stage(name: str, traffic: Traffic = BUSY, spec: MigrationSpec = SPEC) -> StagePlan:
    return next(each for each in planned(traffic, spec).stages if each.name == name)


def of(*stages: Stage) -> MigrationSpec:
    return replace(SPEC, stages=stages)


def test_a_busy_stage_lasts_as_long_as_its_hold() -> None:
    canary = stage("canary")
    assert (canary.lasts_s, canary.limit) == (2 * DAY, "hold")
    assert canary.requests == pytest.approx(40 * 60 * 48 * 0.05)
    assert canary.units == pytest.approx(20_000 * 2 * 0.05)
    assert (canary.begins_s, stage("early").begins_s) == (3 * DAY, 5 * DAY)


def test_a_quiet_stage_waits_for_its_units() -> None:
    canary = stage("canary", replace(BUSY, units_per_day=400.0))
    assert canary.limit == "min_units"
    assert canary.lasts_s == pytest.approx(200 / 20 * DAY)


def test_units_that_were_met_before_count() -> None:
    early = stage("early", replace(BUSY, units_per_day=400.0))
    assert early.lasts_s == pytest.approx((1000 - 200) / 100 * DAY)


def test_a_ramp_takes_what_its_stages_take() -> None:
    assert planned().takes_s == 13 * DAY
    assert planned(spec=of(Stage("one", 5), Stage("two", 50, hold_s=HOUR))).takes_s is None


def test_the_last_stage_needs_no_time_and_one_that_is_advanced_by_hand_has_none() -> None:
    by_hand = of(Stage("one", 5, hold_s=60), Stage("two", 50), Stage("full", 100))
    two, full = planned(spec=by_hand).stages[1:]
    assert (two.lasts_s, two.limit) == (None, "person")
    assert (full.lasts_s, full.limit) == (0, "none")


def test_only_stages_with_matched_arms_are_compared() -> None:
    assert [each.compared for each in planned().stages] == [False, True, True, True, False]


def test_what_a_stage_sees_counts_what_was_compared_before_it() -> None:
    seen = [each.smallest_ratio for each in planned().stages if each.compared]
    assert seen == sorted((each for each in seen if each), reverse=True)
    alone = stage("half", spec=of(SPEC.stages[3], SPEC.stages[4]))
    assert alone.smallest_ratio is not None
    assert seen[-1] is not None
    assert seen[-1] < alone.smallest_ratio


def test_a_doubling_takes_what_the_calculator_says() -> None:
    traffic = replace(BUSY, units_per_day=None)
    doubling = stage("half", traffic).doubling_s
    assert doubling is not None
    needed = candidate_units_needed(2, 0.015, design_of(SPEC))
    assert doubling == pytest.approx(needed / (40 / 60 * 0.5))


def test_alpha_is_shared_by_every_comparison_that_rolls_back() -> None:
    assert (design_of(SPEC).comparisons, design_of(SPEC).margin) == (8, 1.25)
    assert design_of(replace(SPEC, gates=Gates(rollback={}), checks=())).comparisons == 1


def test_what_is_not_known_stays_unknown() -> None:
    for each in planned(Traffic()).stages:
        assert each.requests is None
        assert each.smallest_ratio is None
        assert each.extra_cost_microusd is None
    assert any("no traffic was counted" in each for each in planned(Traffic()).warnings)


def test_cost_is_the_difference_for_the_candidates_requests() -> None:
    plan = planned()
    canary = next(each for each in plan.stages if each.name == "canary")
    assert canary.extra_cost_microusd == pytest.approx(-2_000 * 5_760)
    assert plan.extra_cost_per_month_microusd == pytest.approx(-2_000 * 40 * 60 * 24 * 30 * 0.98)


def test_a_stage_that_can_see_nothing_is_warned_of() -> None:
    (warning, *_) = stage("canary", Traffic(0.1, base_error_rate=0.01)).warnings
    assert "only breakers protect" in warning


def test_a_stage_that_sees_only_the_worst_is_warned_of() -> None:
    short = of(Stage("canary", 5, hold_s=6 * HOUR), Stage("full", 100))
    (warning,) = stage(
        "canary", replace(BUSY, requests_per_min=60.0, units_per_day=90_000.0), short
    ).warnings[:1]
    assert "fails" in warning
    assert "hold it longer" in warning


@pytest.mark.parametrize(
    ("units_per_day", "limit_s", "words"),
    [
        (0.0, None, "never reached"),
        (100.0, 5 * DAY, "given up after 5 d"),
        (100.0, None, "hold asks for 2 d"),
    ],
)
def test_units_that_come_too_late_are_warned_of(
    units_per_day: float, limit_s: float | None, words: str
) -> None:
    canary = replace(SPEC.stages[1], max_duration_s=limit_s)
    told = stage("canary", replace(BUSY, units_per_day=units_per_day), of(canary, SPEC.stages[4]))
    assert any(words in each for each in told.warnings)


def test_breakers_that_cannot_trip_are_named_once() -> None:
    gates = Gates(
        breaker={"error_rate": BreakerRule(0.05, 300, 20), "fallback_rate": BreakerRule(0.1, 300, 20)}
    )
    (warning,) = stage("canary", spec=replace(SPEC, gates=gates)).warnings
    assert "`error_rate`, `fallback_rate`: about 10 requests come within 5 min and 20 are needed" in warning


def test_a_ramp_that_compares_nothing_or_climbs_by_hand_is_warned_of() -> None:
    warnings = planned(spec=of(Stage("full", 100))).warnings
    assert any("compares the arms" in each for each in warnings)
    assert any("people do" in each for each in warnings)
