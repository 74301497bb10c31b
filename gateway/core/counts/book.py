"""What one process has booked of a run and of its entries: plain counters, written down as absolute numbers.

Totals are of all requests. What is compared by means is of enrolled units alone and kept by bucket of units,
drawn by a hash that knows nothing of the arms (rollout.md 3.4). What a document names it names only where
there is something, so that a quiet entry is a short one.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from math import log, log1p
from typing import Any
from zlib import crc32

from gateway.core.booking import STAT_BUCKETS, Booking, Checked, Place
from gateway.core.counts.risk import Risk
from gateway.core.stats.histogram import bin_of, to_pairs
from gateway.core.tally import Case, Doc
from gateway.core.types import Arm

CASES = 50
"""Failing requests that are kept of each kind of failure, the newest."""
ISSUE = "issue"
"""The claim of a unit that complained."""
_NUMBERS = (
    "requests", "fallbacks", "ratings", "rating_total", "priced", "cost_microusd", "measured",
    "prompt_tokens", "output_tokens",
)  # fmt: skip
_SHORTEST_S = 1e-3
"""Shorter times count as this one, lest their logarithms outweigh everything."""


def stat_bucket(unit_key: str) -> int:
    """Return the group that a unit's values fall into, 0 ≤ group < `STAT_BUCKETS`."""
    return crc32(b"stat:" + unit_key.encode()) % STAT_BUCKETS


@dataclass(slots=True)
class _RunArm:
    """One arm over the run; the fields are those of `tally.ArmTotals`."""

    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    fallbacks: int = 0
    ratings: int = 0
    rating_total: float = 0.0
    priced: int = 0
    cost_microusd: int = 0
    measured: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    durations: dict[int, int] = field(default_factory=dict)
    first_tokens: dict[int, int] = field(default_factory=dict)
    checks: dict[str, list[int]] = field(default_factory=dict)
    """Check → answers that passed, and that failed."""

    def add(self, booking: Booking) -> None:
        self.requests += 1
        self.outcomes[booking.outcome.value] += 1
        self.fallbacks += booking.fallback
        _count(self.durations, booking.duration_s)
        if booking.first_token_s is not None:
            _count(self.first_tokens, booking.first_token_s)
        if booking.cost_microusd is not None:
            self.priced += 1
            self.cost_microusd += booking.cost_microusd
        if booking.output_tokens is not None:
            self.measured += 1
            self.prompt_tokens += booking.prompt_tokens or 0
            self.output_tokens += booking.output_tokens


class RunBook:
    """One run."""

    def __init__(self) -> None:
        self.dirty = False
        """Something has changed since it was last written down."""
        self.risk = Risk()
        self._arms = {arm: _RunArm() for arm in Arm}
        self._cases: dict[str, deque[Case]] = {}

    def ended(self, booking: Booking) -> None:
        """Book a request to its arm."""
        self.dirty = True
        self._arms[booking.place.arm].add(booking)

    def checked(self, checked: Checked) -> None:
        """Book what was found in one answer."""
        self.dirty = True
        checks = self._arms[checked.place.arm].checks
        for name, passed in checked.passed.items():
            checks.setdefault(name, [0, 0])[not passed] += 1

    def rated(self, place: Place, score: float) -> None:
        """Book a rating."""
        self.dirty = True
        arm = self._arms[place.arm]
        arm.ratings += 1
        arm.rating_total += score

    def keep(self, case: Case) -> None:
        """Keep a failing request, in the place of the oldest of its kind."""
        self.dirty = True
        self._cases.setdefault(case.failure, deque(maxlen=CASES)).append(case)

    def mean_cost(self, arm: Arm) -> float | None:
        """Return the mean micro-dollars per priced request."""
        counted = self._arms[arm]
        return counted.cost_microusd / counted.priced if counted.priced else None

    def to_doc(self) -> Doc:
        """Return everything as plain data."""
        kept = (case for cases in self._cases.values() for case in cases)
        cases = [[case.at, case.arm, case.request_id, case.task, case.failure] for case in kept]
        arms = {arm.value: self._arm(arm) for arm in Arm}
        return {"arms": arms, **({"cases": cases} if cases else {})}

    def _arm(self, arm: Arm) -> Doc:
        counted = self._arms[arm]
        at_risk, failed = self.risk.at_risk, self.risk.failed
        kinds = {kind for of, kind in (*at_risk, *failed) if of is arm and kind != ISSUE}
        return _sparse({
            **{name: getattr(counted, name) for name in _NUMBERS},
            "outcomes": dict(counted.outcomes),
            "issues": failed[arm, ISSUE],
            "durations": to_pairs(counted.durations),
            "first_tokens": to_pairs(counted.first_tokens),
            "exposure": {kind: [at_risk[arm, kind], failed[arm, kind]] for kind in sorted(kinds)},
            "checks": {name: list(both) for name, both in counted.checks.items()},
        })  # fmt: skip


class _StageArm:
    """One arm within an entry; see `tally.ArmStage`."""

    __slots__ = ("durations", "means", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.means: dict[str, tuple[list[int], list[float]]] = {}
        """Metric → values and their sum, by bucket of units."""
        self.durations: dict[int, int] = {}

    def mean(self, name: str, bucket: int, value: float) -> None:
        if name not in self.means:
            self.means[name] = [0] * STAT_BUCKETS, [0.0] * STAT_BUCKETS
        n, total = self.means[name]
        n[bucket] += 1
        total[bucket] += value


class StageBook:
    """One entry of a run."""

    def __init__(self) -> None:
        self.dirty = False
        """Something has changed since it was last written down."""
        self._arms = {arm: _StageArm() for arm in Arm}

    def ended(self, booking: Booking) -> None:
        """Book a request to its arm, and its unit's values to that unit's bucket."""
        self.dirty = True
        arm, place = self._arms[booking.place.arm], booking.place
        _count(arm.durations, booking.duration_s)
        if not place.enrolled or not place.unit_key:
            return
        arm.requests += 1
        bucket = stat_bucket(place.unit_key)
        if booking.first_token_s is not None:
            arm.mean("ttft", bucket, log(max(booking.first_token_s, _SHORTEST_S)))
        if booking.slow is not None:
            arm.mean("slow_share", bucket, float(booking.slow))
        if booking.cost_microusd is not None:
            arm.mean("cost", bucket, log(max(booking.cost_microusd, 1)))
        if booking.output_tokens is not None:
            arm.mean("output_tokens", bucket, log1p(booking.output_tokens))

    def to_doc(self) -> Doc:
        """Return everything as plain data; of a mean, [bucket, values, sum] for each bucket that has any."""
        return {"arms": {arm.value: self._arm(self._arms[arm]) for arm in Arm}}

    @staticmethod
    def _arm(arm: _StageArm) -> Doc:
        means = {
            name: [[at, n[at], round(total[at], 6)] for at in range(STAT_BUCKETS) if n[at]]
            for name, (n, total) in arm.means.items()
        }
        return _sparse({"requests": arm.requests, "means": means, "durations": to_pairs(arm.durations)})


def _count(histogram: dict[int, int], value: float) -> None:
    index = bin_of(value)
    histogram[index] = histogram.get(index, 0) + 1


def _sparse(doc: dict[str, Any]) -> Doc:
    return {name: value for name, value in doc.items() if value}
