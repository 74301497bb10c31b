"""What the test of first failures can see, and when: the calculator that is asked before a run starts.

With w the candidate's share of the exposure, θ(r) = w r / (w r + 1 - w) the chance that a failure is the
candidate's if it fails r times as often, and r₀ the tolerated ratio:

    KL = θ(r) ln(θ(r) / θ(r₀)) + (1 - θ(r)) ln((1 - θ(r)) / (1 - θ(r₀)))
    failures needed  F = (ln(M / α) + ln 7) / KL       M comparisons share α; 7 ratios are watched for at once
    candidate units  n = F θ(r) / (p r)                p: control's base rate

reference/rollout.md 3.3. It overstates by a fifth to a third against simulation, which is the side to err
on. The arms are matched, so whatever the stage's share of the traffic is, w is one half; other shares are
for unmatched arms.

A unit fails for the first time only once: of a unit that comes k times a share 1 - (1 - p)ᵏ ever fails, and
that, not the number of requests, is what the test can eat. `Exposure` knows both numbers.
"""

from dataclasses import dataclass
from math import inf, log

from gateway.core.stats.eprocess import GRID

MATCHED = 0.5
"""The candidate's share of what is compared: control's matched range is as wide as the candidate's."""
LARGEST = 50.0
"""Greatest ratio that is looked for; what only a greater one would show is called not detectable."""
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Design:
    """One comparison among `comparisons` that share α."""

    alpha: float = 0.05
    comparisons: int = 1
    margin: float = 1.0
    """Highest tolerated ratio candidate / control."""
    share: float = MATCHED
    """The candidate's share of the exposure of both arms."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one arm meets."""

    units: float
    """0 or more than `requests`: every request counts as a unit of its own."""
    requests: float

    def failing_units(self, rate: float) -> float:
        """Return how many units are expected to fail at least once if requests fail at `rate`."""
        units = self.units if 0 < self.units < self.requests else self.requests
        if units <= 0:
            return 0.0
        return float(units * (1 - (1 - min(rate, 1.0)) ** (self.requests / units)))

    def __add__(self, other: "Exposure") -> "Exposure":
        return Exposure(self.units + other.units, self.requests + other.requests)


def failures_needed(ratio: float, design: Design) -> float:
    """Return how many first failures, both arms together, show a true `ratio`; infinite within the margin."""
    if ratio <= design.margin:
        return inf
    true, null = _candidates(ratio, design.share), _candidates(design.margin, design.share)
    divergence = true * log(true / null) + (1 - true) * log((1 - true) / (1 - null))
    return (log(design.comparisons / design.alpha) + log(len(GRID))) / divergence


def candidate_failures_needed(ratio: float, design: Design) -> float:
    """Return how many of them are the candidate's."""
    return failures_needed(ratio, design) * _candidates(ratio, design.share)


def candidate_units_needed(ratio: float, base_rate: float, design: Design) -> float:
    """Return how many units the candidate must meet, each once, to show a true `ratio`.

    A failure rate has its end at 1: a ratio that would lead beyond counts as far as there.
    """
    if base_rate <= 0:
        return inf
    return candidate_failures_needed(ratio, design) / min(base_rate * ratio, 1.0)


def seconds_needed(ratio: float, base_rate: float, design: Design, per_second: Exposure) -> float:
    """Return how long the candidate must meet `per_second` to show a true `ratio`; infinite if never.

    The units of a second are new ones; those that come back are for the caller to have left out.
    """
    needed = candidate_failures_needed(ratio, design)
    failing = per_second.failing_units(min(base_rate * ratio, 1.0))
    return needed / failing if failing > 0 else inf


def smallest_ratio(base_rate: float, design: Design, exposure: Exposure) -> float | None:
    """Return the smallest true ratio that is expected to show within `exposure` of the candidate's.

    None: not even one of `LARGEST`, or the failure of everything.
    """
    if base_rate <= 0:
        return None
    low, high = design.margin, min(LARGEST, 1 / base_rate)
    if high <= low or not _shows(high, base_rate, design, exposure):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _shows(middle, base_rate, design, exposure):
            high = middle
        else:
            low = middle
    return high


def _shows(ratio: float, base_rate: float, design: Design, exposure: Exposure) -> bool:
    return exposure.failing_units(base_rate * ratio) >= candidate_failures_needed(ratio, design)


def _candidates(ratio: float, share: float) -> float:
    return share * ratio / (share * ratio + 1 - share)
