"""What the controller has gathered about one run, tick by tick, and hands on to whoever leads next.

It is written after every tick under the leader's fencing epoch. Everything in it that grows is a function of
what was there and of what has been counted since, so a tick that is repeated, late or made by another process
adds nothing twice: the tests remember how much of the counts they have eaten.

Time that counts towards a stage is time in which a leader watched: paused time does not, nor does time in
which nobody led or the store was away, and a clock that jumps changes nothing.
"""

from dataclasses import dataclass, field

from gateway.core.types import Arm


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """One first-failure e-process (rollout.md 3.3) as far as it has come."""

    log_m: tuple[float, ...] = ()
    """ln M for each rate ratio of the grid; empty: nothing has been seen."""
    peak: float = 0.0
    """Greatest ln E so far; the always-valid p is exp(-peak)."""
    at_risk: tuple[int, int] = (0, 0)
    failed: tuple[int, int] = (0, 0)
    """How much of the run's counts it has eaten: (control, candidate)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an arm was like when it was frozen."""

    at: float
    arm: Arm
    requests: int
    rates: dict[str, float] = field(default_factory=dict)
    """Failure → share of requests."""
    cost_microusd: float | None = None
    """Mean per priced request."""
    output_tokens: float | None = None
    duration_p50_s: float | None = None
    duration_p95_s: float | None = None
    first_token_p50_s: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one run."""

    run: int = 0
    at: float = 0.0
    """Epoch seconds of the tick that wrote it; for whoever leads next."""
    entry: int = 0
    """The entry that the watched times belong to."""
    watched_s: float = 0.0
    """How long the present entry has been watched while it was running."""
    paused_s: float = 0.0
    """How long the present pause has been watched."""
    quiet_s: float = 0.0
    """Watched time since the candidate last got a request."""
    requests: int = 0
    """Candidate requests seen by the last tick."""
    tests: dict[str, SequentialTest] = field(default_factory=dict)
    """Failure or `check:<name>` → its test; `min:<check>` and `drift:<failure>` against a fixed rate."""
    control: Baseline | None = None
    """Control before and while the candidate climbed; refreshed as long as it is compared."""
    promoted: Baseline | None = None
    """The candidate, frozen when it was promoted: what drift is measured against."""
    reported_at: float = 0.0
    """When the last weekly report was written."""
    warned_days: int | None = None
    """The last warning of control's retirement was for so many days before."""
    drift_told: bool = False
    """The candidate's drift since its promotion is in the audit log."""
