"""Bounds of a rate ratio that hold at every look, for people to read next to a test of first failures.

Of n failures x were the candidate's; with exposures a_T and a_C the chance that one is, is
θ = a_T r / (a_T r + a_C) for a ratio r. Against every θ a uniform mixture is bet,

    BF(θ) = B(1 + x, 1 + n - x) / (θˣ (1 - θ)ⁿ⁻ˣ)

and the θ with BF < 1/α are a confidence sequence, by Ville's inequality (the mixture of Robbins and Darling;
Lindon and Malek, NeurIPS 2022, arXiv 2011.03567). Here all ticks are taken together, which is exact while the
exposures stay in one relation; the arms are matched, so they nearly do. The decision goes by the e-process,
which does not need that.
"""

from math import inf, lgamma, log

from gateway.core.stats.eprocess import Pair

_HALVINGS = 60
_EDGE = 1e-12


def ratio_bounds(at_risk: Pair, failed: Pair, alpha: float) -> tuple[float | None, float | None]:
    """Return the least and greatest rate ratio, candidate / control, that the failures do not rule out.

    Pairs are (control, candidate). None: nothing bounds it on that side.
    """
    control, candidate = failed
    if min(at_risk) <= 0 or not any(failed):
        return None, None
    best = min(max(candidate / (candidate + control), _EDGE), 1 - _EDGE)
    odds = at_risk[0] / at_risk[1]
    lower = _edge(candidate, control, (_EDGE, best), alpha) if candidate else 0.0
    upper = _edge(candidate, control, (1 - _EDGE, best), alpha) if control else inf
    return (
        odds * lower / (1 - lower) if candidate else None,
        odds * upper / (1 - upper) if control else None,
    )


def _edge(candidate: int, control: int, between: tuple[float, float], alpha: float) -> float:
    """Return where between a share that is ruled out and one that is not the rule begins."""
    out, within = between
    for _ in range(_HALVINGS):
        middle = (out + within) / 2
        if _log_bf(candidate, control, middle) >= -log(alpha):
            out = middle
        else:
            within = middle
    return within


def _log_bf(candidate: int, control: int, share: float) -> float:
    mixture = lgamma(1 + candidate) + lgamma(1 + control) - lgamma(2 + candidate + control)
    return mixture - candidate * log(share) - control * log(1 - share)
