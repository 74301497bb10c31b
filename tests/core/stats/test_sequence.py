"""Bounds of means: the formulas of the reference, and nothing said from too little."""

from math import log, sqrt
from statistics import pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stats.sequence import Mean, difference, mean_of, width

N = (5,) * 64
TOTALS = tuple(5 * (1.0 + index / 64) for index in range(64))


def test_the_mean_and_its_variance_over_buckets() -> None:
    mean = mean_of(N, TOTALS)
    assert mean is not None
    assert (mean.n, mean.value) == (320, pytest.approx(1 + 63 / 128))
    # Buckets of one size: the variance of the mean is that of the buckets' means over their number.
    means = [1 + index / 64 for index in range(64)]
    assert mean.variance == pytest.approx(pvariance(means) * 64 / 63 / 64)


def test_a_unit_with_much_traffic_does_not_pass_for_many() -> None:
    even = mean_of((10,) * 64, tuple(10 * (1 + index % 2) for index in range(64)))
    heavy = mean_of((330,) + (5,) * 63, (660.0, *(5 * (1 + index % 2) for index in range(63))))
    assert even is not None
    assert heavy is None or heavy.variance > even.variance


@pytest.mark.parametrize(
    ("n", "total"),
    [
        ((0,) * 64, (0.0,) * 64),
        ((99,) + (0,) * 63, tuple(float(index) for index in range(64))),
        ((1,) * 64, tuple(float(index) for index in range(64))),
        ((100,) * 19 + (0,) * 45, tuple(float(index) for index in range(64))),
        ((10_000,) + (1,) * 63, tuple(float(index) for index in range(64))),
        (N, (5.0,) * 64),
    ],
)
def test_too_little_too_uneven_or_no_variance_say_nothing(
    n: tuple[int, ...], total: tuple[float, ...]
) -> None:
    assert mean_of(n, total) is None


@pytest.mark.parametrize(("alpha", "multiplier"), [(0.01, 3.36), (0.05, 2.78)])
def test_anytime_validity_costs_what_the_reference_says(alpha: float, multiplier: float) -> None:
    assert width(1000, alpha, 1000) == pytest.approx(multiplier, abs=0.01)
    for n in (250, 4000):
        assert width(n, alpha, 1000) == pytest.approx(multiplier, rel=0.1)


def test_the_width_is_the_formula() -> None:
    a, n, planned = 0.02, 700, 1500
    rho2 = (-2 * log(2 * a) + log(-2 * log(2 * a) + 1)) / planned
    expected = sqrt(2 * (n * rho2 + 1) / (n * rho2) * log(1 + sqrt(n * rho2 + 1) / (2 * a)))
    assert width(n, a, planned) == pytest.approx(expected)


def test_a_difference_and_a_contrast() -> None:
    control, candidate = Mean(0.05, 4e-6, 900), Mean(0.09, 9e-6, 1000)
    plain = difference(control, candidate, alpha=0.05, planned=1000)
    assert plain.estimate == pytest.approx(0.04)
    assert plain.upper - plain.estimate == pytest.approx(plain.estimate - plain.lower)
    assert plain.estimate - plain.lower == pytest.approx(sqrt(13e-6) * width(1000, 0.05, 1000))
    contrast = difference(control, candidate, alpha=0.05, planned=1000, factor=1.25)
    assert contrast.estimate == pytest.approx(0.09 - 0.0625)
    assert contrast.upper - contrast.estimate == pytest.approx(
        sqrt(9e-6 + 1.25**2 * 4e-6) * width(1000, 0.05, 1000)
    )


@given(st.integers(1, 10**6), st.floats(0.0005, 0.05), st.floats(1.0, 4.0))
def test_more_alpha_is_never_wider(planned: int, alpha: float, more: float) -> None:
    assert width(planned, alpha, planned) >= width(planned, alpha * more, planned) - 1e-9 > 0
