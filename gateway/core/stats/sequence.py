"""Bounds on a difference of means that hold at every look: asymptotic confidence sequences over buckets.

Units fall into 64 buckets by a hash of their own; of each bucket the number of values and their sum are kept.
With m = Σs / Σn and e_b = s_b - m n_b the variance of m is var(e_b) / (B n̄²) (the delta method over
clusters: Deng, Knoblich and Lu, KDD 2018), so that a unit with much traffic does not pass for many.

    ρ² = (-2 ln 2a + ln(1 - 2 ln 2a)) / N*                    N*: planned values, fixed when the stage begins
    half = SE √( 2 (N ρ² + 1) / (N ρ²) · ln(1 + √(N ρ² + 1) / 2a) )

is one-sided at a (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics 2024, arXiv
2103.06476). Values are logarithms, so that a difference is the logarithm of a ratio of geometric means; for
rates the contrast p_T - r₀ p_C is used instead. reference/rollout.md 3.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

MIN_VALUES = 100
MIN_BUCKETS = 20
MIN_EFFECTIVE = 10.0
"""Fewer values, non-empty buckets or effective buckets in an arm: nothing can be said."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its variance, from buckets."""

    value: float
    variance: float
    n: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate with one-sided bounds, each valid at level α at every look."""

    estimate: float
    lower: float
    upper: float


def mean_of(n: Sequence[int], total: Sequence[float]) -> Mean | None:
    """Return the mean over buckets, or None where they hold too little or do not vary at all."""
    count, filled = sum(n), sum(1 for each in n if each)
    if (
        count < MIN_VALUES
        or filled < MIN_BUCKETS
        or count**2 / sum(each * each for each in n) < MIN_EFFECTIVE
    ):
        return None
    value = sum(total) / count
    errors = [s - value * each for each, s in zip(n, total, strict=True)]
    variance = sum(error * error for error in errors) / (len(n) - 1) * len(n) / count**2
    return Mean(value, variance, count) if variance > 0 else None


def difference(control: Mean, candidate: Mean, *, alpha: float, planned: int, factor: float = 1.0) -> Bounds:
    """Return candidate - factor · control with its bounds; `planned` is N*, in values of the candidate."""
    error = sqrt(candidate.variance + factor * factor * control.variance)
    half = error * width(candidate.n, alpha, planned)
    estimate = candidate.value - factor * control.value
    return Bounds(estimate, estimate - half, estimate + half)


def width(n: int, alpha: float, planned: int) -> float:
    """Return how many standard errors a one-sided bound lies away from the estimate after `n` values."""
    rho2 = (-2 * log(2 * alpha) + log(1 - 2 * log(2 * alpha))) / max(planned, 1)
    scaled = n * rho2
    return sqrt(2 * (scaled + 1) / scaled * log(1 + sqrt(scaled + 1) / (2 * alpha)))
