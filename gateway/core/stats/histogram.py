"""Quantiles that merge over processes: counters on a fixed logarithmic scale.

A value x > 0 falls into bin `ceil(ln x / ln g)` with g = (1 + e) / (1 - e), so every value of a bin is within
e = 2 % of the bin's centre (DDSketch's mapping; Masson, Rim and Lee, VLDB 2019). Merging is adding counters.
Between 1 ms and an hour there are about 380 bins; only those that occurred are kept.
"""

from collections.abc import Iterable, Mapping
from math import ceil, exp, log

ERROR = 0.02
"""Relative error of a quantile."""
_LN_G = log((1 + ERROR) / (1 - ERROR))
SMALLEST = 1e-6
"""Values below, zero and less included, are counted as this."""

Histogram = Mapping[int, int]
"""Bin → count."""


def bin_of(value: float) -> int:
    """Return the bin of a value."""
    return ceil(log(max(value, SMALLEST)) / _LN_G)


def value_of(index: int) -> float:
    """Return the value that stands for a bin, within `ERROR` of all that are in it."""
    return 2 * exp(index * _LN_G) / (1 + exp(_LN_G))


def add(*histograms: Histogram) -> dict[int, int]:
    """Return the sum of histograms."""
    merged: dict[int, int] = {}
    for histogram in histograms:
        for index, count in histogram.items():
            merged[index] = merged.get(index, 0) + count
    return merged


def count(histogram: Histogram) -> int:
    """Return how many values it holds."""
    return sum(histogram.values())


def quantile(histogram: Histogram, q: float) -> float | None:
    """Return the smallest value that a share `q` (0-1) of the values does not exceed; None if empty."""
    total = count(histogram)
    if not total:
        return None
    rank, seen = max(1, ceil(q * total)), 0
    for index in sorted(histogram):
        seen += histogram[index]
        if seen >= rank:
            return value_of(index)
    raise AssertionError("counts below zero")


def share_above(histogram: Histogram, value: float) -> float | None:
    """Return the share of values in bins above that of `value`; None if empty."""
    total, limit = count(histogram), bin_of(value)
    return sum(n for index, n in histogram.items() if index > limit) / total if total else None


def from_pairs(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return the histogram that `to_pairs` wrote."""
    histogram: dict[int, int] = {}
    for index, count in pairs:
        histogram[index] = histogram.get(index, 0) + count
    return histogram


def to_pairs(histogram: Histogram) -> list[tuple[int, int]]:
    """Return a histogram as plain data, in order."""
    return sorted(histogram.items())
