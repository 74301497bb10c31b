"""The e-process grows by the formula, and is fair to a candidate that is no worse."""

from math import comb, exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stats.eprocess import GRID, START, log_e, update, update_fixed


def test_a_tick_by_hand() -> None:
    # Equal exposure, margin 1: a failure of the candidate's multiplies by θ(r)/θ(1) = 2r/(1+r).
    log_m = update((), (10, 10), (0, 1), 1.0)
    assert log_m == pytest.approx([log(2 * r / (1 + r)) for r in GRID])
    log_m = update(log_m, (10, 10), (1, 0), 1.0)
    assert log_m == pytest.approx([log(2 * r / (1 + r)) + log(2 / (1 + r)) for r in GRID])


def test_the_margin_is_what_is_tolerated() -> None:
    null = 2.0 * 30 / (2.0 * 30 + 10)
    expected = [log((2 * r * 30 / (2 * r * 30 + 10)) / null) for r in GRID]
    assert update((), (10, 30), (0, 1), 2.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("at_risk", "failed"), [((0, 9), (0, 9)), ((9, 0), (3, 0)), ((0, 0), (0, 0)), ((9, 9), (0, 0))]
)
def test_an_empty_arm_and_a_tick_without_failures_say_nothing(
    at_risk: tuple[int, int], failed: tuple[int, int]
) -> None:
    assert update((), at_risk, failed, 1.25) == START
    before = (1.0,) * len(GRID)
    assert update(before, at_risk, failed, 1.25) == before


def test_the_evidence_is_the_mean_over_the_grid() -> None:
    assert log_e(()) == log_e(START) == 0.0
    assert log_e((log(1), log(3))) == pytest.approx(log(2))
    assert log_e((-1e6, 5000.0)) == pytest.approx(5000 - log(2))


def test_nine_failures_against_none_are_enough_to_stop_at_one_in_a_hundred() -> None:
    log_m: tuple[float, ...] = ()
    stopped = 0
    while log_e(log_m) < log(100):
        log_m = update(log_m, (50, 50), (0, 1), 1.0)
        stopped += 1
    assert stopped == 9


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.floats(0.8, 3.0), st.floats(0.01, 1.0))
def test_no_tick_is_expected_to_grow_where_the_candidate_is_no_worse(
    control: int, candidate: int, failures: int, margin: float, better: float
) -> None:
    ratio = margin * better
    share = candidate * ratio / (candidate * ratio + control)
    expected = [0.0] * len(GRID)
    for failed in range(failures + 1):
        chance = comb(failures, failed) * share**failed * (1 - share) ** (failures - failed)
        log_m = update((), (control, candidate), (failures - failed, failed), margin)
        expected = [seen + chance * exp(each) for seen, each in zip(expected, log_m, strict=True)]
    assert all(value <= 1 + 1e-9 for value in expected)


@given(st.floats(0.001, 0.9), st.floats(0.01, 1.0), st.integers(1, 12))
def test_a_fixed_limit_is_fair_as_well(limit: float, better: float, trials: int) -> None:
    rate, expected = limit * better, [0.0] * len(GRID)
    for failed in range(trials + 1):
        chance = comb(trials, failed) * rate**failed * (1 - rate) ** (trials - failed)
        log_m = update_fixed((), trials, failed, limit)
        expected = [seen + chance * exp(each) for seen, each in zip(expected, log_m, strict=True)]
    assert all(value <= 1 + 1e-9 for value in expected)


def test_a_fixed_limit_by_hand() -> None:
    rates = [min(0.05 * r, 0.525) for r in GRID]
    expected = [3 * log(rate / 0.05) + 7 * log((1 - rate) / 0.95) for rate in rates]
    assert update_fixed((), 10, 3, 0.05) == pytest.approx(expected)
    assert update_fixed((), 0, 0, 0.05) == START


@pytest.mark.parametrize("limit", [0.0, 1.0, -1.0, 2.0])
@pytest.mark.parametrize("failed", [0, 5, 10])
def test_a_limit_at_the_edge_crashes_nothing(limit: float, failed: int) -> None:
    assert len(update_fixed((), 10, failed, limit)) == len(GRID)
