"""How much comes, how often control fails and what a request costs."""

from dataclasses import replace

import pytest

from gateway.control.papers.traffic import ASSUMED_ERROR_RATE, Traffic, describe, observe, told
from tests.support.papers import HURT, Story, arm, climbing, tally, window


def test_nothing_counted_is_nothing_known_but_for_an_error_rate_that_is_called_assumed() -> None:
    traffic = observe(Story().facts())
    assert (traffic.requests_per_min, traffic.units_per_day, traffic.candidate_cost_microusd) == (None,) * 3
    assert traffic.base_error_rate == ASSUMED_ERROR_RATE
    assert "assumed" in traffic.sources["base_error_rate"]


def test_traffic_is_taken_from_the_longest_window() -> None:
    windows = {300.0: window(1000, 9), 3600.0: window(2400, 64)}
    traffic = observe(Story().facts(windows=windows, counting_s=1e6))
    assert traffic.requests_per_min == 40
    assert traffic.units_per_day == 64 * 24
    assert traffic.sources["requests_per_min"] == "2,400 requests in the last 1 h"


def test_a_process_that_has_just_begun_has_not_counted_for_an_hour() -> None:
    traffic = observe(Story().facts(windows={3600.0: window(200, 5)}, counting_s=300))
    assert traffic.requests_per_min == 40


def test_a_run_that_has_just_begun_has_not_counted_for_an_hour() -> None:
    story = Story().do("start").wait(300)
    traffic = observe(story.facts(windows={3600.0: window(200, 5)}, counting_s=1e6))
    assert traffic.requests_per_min == 40
    assert observe(story.wait(7200).facts(windows={3600.0: window(2400, 5)})).requests_per_min == 40


def test_the_error_rate_is_controls_where_it_has_been_seen_enough() -> None:
    traffic = observe(Story().facts(runs={0: tally(arm(5000, errors=75))}))
    assert traffic.base_error_rate == 0.015
    assert traffic.sources["base_error_rate"] == "75 of control's 5,000 requests"


def test_control_without_an_error_is_taken_for_one() -> None:
    assert observe(Story().facts(runs={0: tally(arm(500))})).base_error_rate == 1 / 500


def test_the_present_run_speaks_for_control_once_it_has_seen_enough() -> None:
    runs = {0: tally(arm(5000, errors=500)), 1: tally(arm(200, errors=2))}
    assert observe(climbing().facts(runs=runs)).base_error_rate == 0.01
    runs[1] = tally(arm(20, errors=2))
    assert observe(climbing().facts(runs=runs)).base_error_rate == 0.1


def test_the_candidates_cost_is_its_own_or_else_by_its_prices() -> None:
    before = observe(Story().facts(runs={0: tally(arm(5000, cost=10_000))}))
    assert before.control_cost_microusd == 10_000
    assert before.candidate_cost_microusd == pytest.approx(8_000)  # 4 / 20 in place of 5 / 25 dollars
    assert "list prices" in before.sources["candidate_cost_microusd"]
    assert observe(climbing().facts(runs={1: HURT})).candidate_cost_microusd == 12_000


def test_without_a_price_or_tokens_the_candidates_cost_is_not_known() -> None:
    facts = Story().facts(runs={0: tally(arm(5000))})
    assert facts.candidate is not None
    free = replace(facts, candidate=replace(facts.candidate, prices=None))
    silent = replace(facts, runs={0: tally(arm(5000, measured=0))})
    for each in (free, silent, replace(facts, candidate=None)):
        assert observe(each).candidate_cost_microusd is None


def test_what_somebody_says_wins_and_is_named_so() -> None:
    traffic = told(Traffic(requests_per_min=40), units_per_day=100, base_error_rate=0.2)
    assert (traffic.requests_per_min, traffic.units_per_day, traffic.base_error_rate) == (40, 100, 0.2)
    assert traffic.sources == {"units_per_day": "as given", "base_error_rate": "as given"}


def test_each_number_is_told_with_its_source() -> None:
    rows = describe(told(observe(Story().facts()), requests_per_min=40))
    assert rows[0] == ("traffic", "40 requests/min", "as given")
    assert rows[1] == ("units", "not known", "nothing was counted yet")
