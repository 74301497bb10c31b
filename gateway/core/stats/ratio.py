"""Whether the arms enrol as many units as they should: a sequential sample-ratio check.

A Dirichlet-multinomial Bayes factor against the intended share θ, which may be looked at all the time
(Lindon and Malek, NeurIPS 2022, arXiv 2011.03567); reference/rollout.md 3.6.
"""

from math import lgamma, log

CONCENTRATION = 500.0
"""k of the prior Beta(kθ, k(1-θ)): how near to θ a broken share is expected to be."""
ALARM = log(1000.0)
"""ln of the Bayes factor that is an alarm: by Ville's inequality at most one healthy run in a thousand."""


def log_bayes_factor(
    candidate: int, control: int, share: float, concentration: float = CONCENTRATION
) -> float:
    """Return ln BF that the candidate's share of enrolled units is not `share` (0 < share < 1)."""
    a, b = concentration * share, concentration * (1 - share)
    evidence = _log_beta(a + candidate, b + control) - _log_beta(a, b)
    return evidence - candidate * log(share) - control * log(1 - share)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
