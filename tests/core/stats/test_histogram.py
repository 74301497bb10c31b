"""Quantiles are within two percent, and merging histograms is merging what was counted."""

from collections.abc import Iterable
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stats.histogram import (
    ERROR,
    SMALLEST,
    add,
    bin_of,
    count,
    from_pairs,
    quantile,
    share_above,
    to_pairs,
    value_of,
)

seconds = st.floats(1e-3, 1e5)


def histogram(values: Iterable[float]) -> dict[int, int]:
    return add(*({bin_of(value): 1} for value in values))


@given(seconds)
def test_the_value_of_a_bin_stands_for_all_in_it(value: float) -> None:
    assert value_of(bin_of(value)) == pytest.approx(value, rel=ERROR + 1e-9)


@given(st.lists(seconds, min_size=1, max_size=60), st.floats(0, 1))
def test_a_quantile_is_within_two_percent_of_the_exact_one(values: list[float], q: float) -> None:
    exact = sorted(values)[max(1, ceil(q * len(values))) - 1]
    assert quantile(histogram(values), q) == pytest.approx(exact, rel=ERROR + 1e-9)


@given(st.lists(seconds, max_size=20), st.lists(seconds, max_size=20))
def test_merging_is_counting_together(one: list[float], other: list[float]) -> None:
    merged = add(histogram(one), histogram(other))
    assert merged == histogram(one + other)
    assert count(merged) == len(one) + len(other)
    assert from_pairs(to_pairs(merged)) == merged


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert share_above({}, 1.0) is None
    assert count({}) == 0


@pytest.mark.parametrize("value", [0.0, -3.0, SMALLEST])
def test_nothing_and_less_counts_as_the_smallest(value: float) -> None:
    assert bin_of(value) == bin_of(SMALLEST)


def test_the_share_above_a_value_leaves_out_its_own_bin() -> None:
    counted = histogram([1.0] * 3 + [10.0] * 1)
    assert share_above(counted, 1.0) == 0.25
    assert share_above(counted, 0.5) == 1.0
    assert share_above(counted, 10.0) == 0.0


def test_between_a_millisecond_and_an_hour_there_are_few_bins() -> None:
    assert bin_of(3600.0) - bin_of(0.001) < 400
