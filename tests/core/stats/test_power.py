"""The calculator gives the numbers of the reference, and says the truth about units that come back."""

import random
from math import inf, isclose, log

import pytest

from gateway.core.stats.eprocess import log_e, update
from gateway.core.stats.power import (
    Design,
    Exposure,
    candidate_units_needed,
    failures_needed,
    seconds_needed,
    smallest_ratio,
)


@pytest.mark.parametrize(
    ("base", "candidate", "units"),
    [
        (0.005, 0.010, (3436, 3622, 4842, 7712)),
        (0.01, 0.02, (1718, 1811, 2421, 3856)),
        (0.01, 0.03, (513, 546, 759, 1252)),
        (0.01, 0.05, (165, 178, 262, 450)),
        (0.05, 0.10, (344, 362, 484, 771)),
        (0.20, 0.25, (1145, 1197, 1540, 2354)),
    ],
)
def test_it_gives_the_table_of_the_reference(base: float, candidate: float, units: tuple[int, ...]) -> None:
    for share, expected in zip((0.01, 0.05, 0.25, 0.50), units, strict=True):
        needed = candidate_units_needed(candidate / base, base, Design(alpha=0.01, share=share))
        assert abs(needed - expected) <= 1, (share, needed)


def test_a_doubling_of_one_percent_at_five_percent_of_forty_a_minute_takes_fifteen_hours() -> None:
    per_second = Exposure(0, 40 * 0.05 / 60)
    seconds = seconds_needed(2, 0.01, Design(alpha=0.01, share=0.05), per_second)
    assert round(seconds / 3600) == 15


def test_comparisons_share_alpha() -> None:
    alone, five = (
        failures_needed(2, Design(alpha=0.01)),
        failures_needed(2, Design(alpha=0.05, comparisons=5)),
    )
    assert isclose(alone, five)


def test_a_ratio_within_the_margin_never_shows() -> None:
    assert failures_needed(1.25, Design(margin=1.25)) == inf
    assert candidate_units_needed(1.2, 0.01, Design(margin=1.25)) == inf


def test_a_margin_costs_failures() -> None:
    assert failures_needed(2, Design(margin=1.25)) > failures_needed(2, Design(margin=1.0))


def test_without_failures_nothing_shows_ever() -> None:
    assert candidate_units_needed(3, 0.0, Design()) == inf
    assert seconds_needed(3, 0.0, Design(), Exposure(1, 1)) == inf
    assert seconds_needed(3, 0.1, Design(), Exposure(0, 0)) == inf
    assert smallest_ratio(0.0, Design(), Exposure(1e6, 1e6)) is None


def test_the_smallest_ratio_is_the_one_that_needs_just_what_is_there() -> None:
    design = Design(margin=1.25, comparisons=5)
    ratio = smallest_ratio(0.02, design, Exposure(0, 2_000))
    assert ratio is not None
    assert isclose(candidate_units_needed(ratio, 0.02, design), 2_000, rel_tol=1e-6)


def test_more_traffic_shows_smaller_ratios_and_too_little_none() -> None:
    ratios = [smallest_ratio(0.01, Design(margin=1.25), Exposure(0, n)) for n in (10, 500, 5_000, 50_000)]
    assert ratios[0] is None
    assert ratios[1:] == sorted((each for each in ratios[1:] if each), reverse=True)
    assert all(each and each > 1.25 for each in ratios[1:])


def test_units_that_come_back_show_less_than_as_many_new_ones() -> None:
    few, many = Exposure(50, 5_000), Exposure(5_000, 5_000)
    assert few.failing_units(0.05) < 50 < many.failing_units(0.05)
    seen = [smallest_ratio(0.02, Design(margin=1.25), each) for each in (few, many)]
    assert seen[0] is None or (seen[1] is not None and seen[1] < seen[0])


def test_a_ratio_never_leads_beyond_the_failure_of_everything() -> None:
    assert smallest_ratio(0.9, Design(margin=1.25), Exposure(0, 1e9)) is None
    ratio = smallest_ratio(0.5, Design(margin=1.25), Exposure(0, 1e6))
    assert ratio is not None
    assert ratio < 2


def test_exposures_add_up() -> None:
    assert Exposure(1, 10) + Exposure(2, 5) == Exposure(3, 15)


def test_it_errs_on_the_safe_side_of_what_the_test_really_needs() -> None:
    """Three times the errors at a base rate of 5 %, matched arms: the stop comes earlier than promised."""
    plan = Design(alpha=0.05, comparisons=5, margin=1.25)
    promised = candidate_units_needed(3, 0.05, plan)
    stops = sorted(_stop_after(seed, plan) for seed in range(60))
    median = stops[30]
    assert 0.5 * promised < median <= 1.05 * promised


def _stop_after(seed: int, plan: Design) -> int:
    chance, met = random.Random(seed), 0
    log_m: tuple[float, ...] = ()
    while log_e(log_m) < log(plan.comparisons / plan.alpha):
        failed = (
            sum(chance.random() < 0.05 for _ in range(10)),
            sum(chance.random() < 0.15 for _ in range(10)),
        )
        log_m = update(log_m, (10, 10), failed, plan.margin)
        met += 10
    return met
