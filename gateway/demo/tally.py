"""What the callers saw, counted per arm, for the stage that is running and for the act.

The share is counted over conversations that begin, because a running one keeps its model. Requests that the
candidate cannot be asked (`unservable`) are counted apart and compared with nothing: they would make control
look like other traffic than the candidate's.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.core.types import Arm, Reason

WINDOW = 600
"""How many of the latest durations the quantiles are taken from."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and its answer, as the caller experienced it."""

    application: str
    first: bool
    """It began a conversation."""
    arm: Arm
    """As assigned."""
    reason: str
    took_s: float
    cost_microusd: int | None = None
    rewrites: tuple[str, ...] = ()
    """Names of the rules that changed the request."""
    fallback: str | None = None
    complaint: str | None = None
    refused: bool = False
    """The model declined: its own decision, and no complaint."""
    request_id: str = ""
    """By which the gateway takes feedback."""


@dataclass(slots=True)
class ArmTally:
    """One arm's column."""

    requests: int = 0
    begun: int = 0
    rescued: int = 0
    failed: int = 0
    cost_microusd: int = 0
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, seen: Seen) -> None:
        """Count one request."""
        self.requests += 1
        self.begun += seen.first
        self.rescued += seen.fallback is not None
        self.failed += seen.complaint is not None
        self.cost_microusd += seen.cost_microusd or 0
        self.durations_s.append(seen.took_s)

    def latency_s(self, share: float) -> float | None:
        """Return the quantile of the latest durations, or None without any."""
        return quantile(self.durations_s, share)

    @property
    def usd_per_1k(self) -> float | None:
        """Return what a thousand such requests cost."""
        return self.cost_microusd / self.requests / 1000 if self.requests else None


@dataclass(slots=True)
class Tally:
    """Both arms, and what is told about all requests together."""

    arms: dict[Arm, ArmTally] = field(default_factory=lambda: {arm: ArmTally() for arm in Arm})
    unservable: Counter[str] = field(default_factory=Counter)
    """Requests kept on control because the candidate rejects what they ask, by application."""
    rewrites: Counter[str] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)
    requests: int = 0

    def add(self, seen: Seen) -> None:
        """Count one request."""
        self.requests += 1
        self.rewrites.update(seen.rewrites)
        if seen.complaint:
            self.complaints[f"{seen.application}: {seen.complaint}"] += 1
        if seen.reason == Reason.unservable:
            self.unservable[seen.application] += 1
        else:
            self.arms[seen.arm].add(seen)

    @property
    def control(self) -> ArmTally:
        return self.arms[Arm.control]

    @property
    def candidate(self) -> ArmTally:
        return self.arms[Arm.candidate]

    @property
    def failed(self) -> int:
        """How many requests their callers could not use."""
        return self.complaints.total()

    @property
    def begun(self) -> int:
        """How many conversations began that could be on either arm."""
        return self.control.begun + self.candidate.begun

    @property
    def candidate_share(self) -> float | None:
        """Return the candidate's share of the conversations that began, 0 to 1."""
        return self.candidate.begun / self.begun if self.begun else None


def quantile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
