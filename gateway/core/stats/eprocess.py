"""The test for rates that may be looked at after every tick: an e-process over first failures.

Each first failure is a coin toss: which arm did it happen in? If the candidate fails at most `margin` times
as often as control, the chance that it was the candidate is at most θ(margin), with

    θ(r) = a_T r / (a_T r + a_C)

where a_T and a_C are the exposures (units at risk) of candidate and control in that tick, whatever the base
rate is and however it moves. For a grid of ratios r_k the likelihood ratio against θ(margin) is multiplied
up; their mean is a supermartingale under "no worse than the margin", so that by Ville's inequality the chance
that it ever reaches 1/α is at most α, at every look and over all stages, whatever their weights.

Conditional test: Lindon and Malek, NeurIPS 2022 (arXiv 2011.03567); Lindon, Sanden and Shirikian, KDD 2022
(arXiv 2205.14762). One-sided with a margin and a grid in place of a prior: reference/rollout.md 3.3.
"""

from collections.abc import Sequence
from math import exp, inf, log

GRID = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""Rate ratios beyond the margin that are watched for, all at once."""
START = (0.0,) * len(GRID)
"""ln M of each before anything was seen."""

Pair = tuple[int, int]
"""(control, candidate)."""


def update(log_m: Sequence[float], at_risk: Pair, failed: Pair, margin: float) -> tuple[float, ...]:
    """Return ln M after one tick with these exposures and first failures.

    A tick with an empty arm, or without failures, says nothing. `margin` is the tolerated ratio, above 0.
    """
    before = tuple(log_m) or START
    control, candidate = at_risk
    if control <= 0 or candidate <= 0 or not any(failed):
        return before
    null = _share(candidate, control, margin)
    return tuple(
        _step(seen, failed, null, _share(candidate, control, margin * r))
        for seen, r in zip(before, GRID, strict=True)
    )


def update_fixed(log_m: Sequence[float], trials: int, failed: int, limit: float) -> tuple[float, ...]:
    """Return ln M after `trials` of which `failed` failed, against a fixed highest tolerated rate.

    The same grid of ratios above `limit` (0-1), each at most half-way from it to 1.
    """
    before = tuple(log_m) or START
    if trials <= 0:
        return before
    limit = min(max(limit, 1e-6), 1 - 1e-6)
    rates = (min(limit * r, (1 + limit) / 2) for r in GRID)
    return tuple(
        _step(seen, (trials - failed, failed), limit, rate) for seen, rate in zip(before, rates, strict=True)
    )


def log_e(log_m: Sequence[float]) -> float:
    """Return ln E of the mixture; 0 before anything was seen, and a stop at ln(1/α)."""
    if not log_m:
        return 0.0
    top = max(log_m)
    return top + log(sum(exp(each - top) for each in log_m) / len(log_m)) if top > -inf else -inf


def _share(candidate: int, control: int, ratio: float) -> float:
    return candidate * ratio / (candidate * ratio + control)


def _step(seen: float, failed: Pair, null: float, share: float) -> float:
    control, candidate = failed
    return seen + candidate * log(share / null) + control * log((1 - share) / (1 - null))
