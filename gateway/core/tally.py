"""What all processes counted of one run, added up: the numbers that comparisons and reports are made of.

Each process writes absolute numbers (writing twice changes nothing), in two scopes:

- `RunTally`, one per run: first failures and exposure for the sequential tests, totals for reports.
- `StageTally`, one per entry of a run (a stage, or a weight set by hand): means over buckets of units, and
  quantiles. What began in an earlier entry is booked there, however late it ends.

Sums over processes that are gone stay in: a run's evidence outlives every process.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.core.booking import STAT_BUCKETS
from gateway.core.stats.histogram import Histogram
from gateway.core.types import Arm


@dataclass(frozen=True, slots=True)
class Exposure:
    """One kind of failure in one arm, over the run: what its sequential test eats."""

    at_risk: int = 0
    """Unit-seconds: for every second, the enrolled units that were active in it and had not failed before."""
    failed: int = 0
    """Units that failed for the first time."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """A mean over `STAT_BUCKETS` groups of units: how many values fell into each, and their sum."""

    n: tuple[int, ...] = (0,) * STAT_BUCKETS
    total: tuple[float, ...] = (0.0,) * STAT_BUCKETS


@dataclass(frozen=True, slots=True)
class CheckCount:
    """One configured check in one arm, by answers."""

    passed: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ArmTotals:
    """One arm over the whole run; all requests, enrolled or not, unless it says otherwise."""

    requests: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """Outcome → requests."""
    fallbacks: int = 0
    issues: int = 0
    """Units that complained."""
    ratings: int = 0
    rating_total: float = 0.0
    priced: int = 0
    cost_microusd: int = 0
    """Of the priced requests."""
    measured: int = 0
    """Requests whose answer said its usage."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    durations: Histogram = field(default_factory=dict)
    first_tokens: Histogram = field(default_factory=dict)
    exposure: dict[str, Exposure] = field(default_factory=dict)
    """Failure (`gates.verdict.FAILURES`, or `check:<name>`) → enrolled units alone."""
    checks: dict[str, CheckCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One failing request that is worth keeping for a golden set: where to find it, and nothing of what it
    said."""

    at: float
    arm: str
    request_id: str
    task: str
    failure: str


@dataclass(frozen=True, slots=True)
class RunTally:
    """A run, all processes."""

    arms: dict[Arm, ArmTotals] = field(default_factory=lambda: {arm: ArmTotals() for arm in Arm})
    cases: tuple[Case, ...] = ()
    """The newest, at most 50 for each kind of failure."""


@dataclass(frozen=True, slots=True)
class ArmStage:
    """One arm's enrolled units within one entry."""

    requests: int = 0
    means: dict[str, Buckets] = field(default_factory=dict)
    """`gates.verdict.MEANS` → ln seconds, slow or not (1, 0), ln micro-dollars, ln(1 + tokens)."""
    durations: Histogram = field(default_factory=dict)
    """Of all requests of the arm, enrolled or not."""


@dataclass(frozen=True, slots=True)
class StageTally:
    """One entry, all processes."""

    arms: dict[Arm, ArmStage] = field(default_factory=lambda: {arm: ArmStage() for arm in Arm})


Doc = dict[str, Any]
"""The plain data that a process writes; `core.counts` makes it and adds it up."""
