"""Bounds of a rate ratio lie around the estimate, and are rarely wrong however often one looks."""

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stats.odds import ratio_bounds


@pytest.mark.parametrize(
    ("at_risk", "failed"), [((0, 9), (1, 1)), ((9, 0), (1, 1)), ((0, 0), (0, 0)), ((99, 99), (0, 0))]
)
def test_nothing_bounds_the_ratio_without_failures_or_without_an_arm(
    at_risk: tuple[int, int], failed: tuple[int, int]
) -> None:
    assert ratio_bounds(at_risk, failed, 0.05) == (None, None)


def test_failures_of_one_arm_bound_the_ratio_on_one_side() -> None:
    lower, upper = ratio_bounds((100, 100), (0, 20), 0.05)
    assert upper is None
    assert lower is not None
    assert lower > 1
    assert ratio_bounds((100, 100), (20, 0), 0.05) == (None, pytest.approx(1 / lower))


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 500), st.integers(1, 500))
def test_the_estimate_lies_between_its_bounds(control: int, candidate: int, failed: int, ours: int) -> None:
    lower, upper = ratio_bounds((control, candidate), (failed, ours), 0.05)
    assert lower is not None
    assert upper is not None
    assert 0 < lower < (ours / candidate) / (failed / control) < upper


def test_more_data_and_more_alpha_are_tighter() -> None:
    def span(scale: int, alpha: float) -> float:
        lower, upper = ratio_bounds((1000 * scale, 1000 * scale), (20 * scale, 40 * scale), alpha)
        assert lower is not None
        assert upper is not None
        return upper - lower

    assert span(10, 0.05) < span(1, 0.05) < span(1, 0.001)


def test_the_truth_is_rarely_left_out_at_any_look() -> None:
    rng, missed, ratio = random.Random(5), 0, 2.0
    for _ in range(200):
        control = candidate = 0
        outside = False
        for look in range(1, 150):
            candidate += rng.random() < ratio / (1 + ratio)
            control = look - candidate
            lower, upper = ratio_bounds((1000, 1000), (control, candidate), 0.05)
            outside |= not (lower or 0.0) <= ratio <= (upper or inf)
        missed += outside
    assert missed <= 10
