"""What a gate says, what all of them together say, and what the controller is to do about it.

A gate is a pure function from what is known to a `GateResult`. `pass` and `fail` are claims with numbers
behind them; too little data is `inconclusive`, never success and never failure; `error` means that it could
not be measured. Which gates roll back and which only hold is a matter of their group, not of their verdict.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

Decision = Literal["advance", "hold", "rollback", "inconclusive", "none"]
PauseReason = Literal["inconclusive", "approval", "freeze", "no_data"]
"""Why automation pauses a run, and takes it up again by itself once the reason is gone."""
Action = Literal["none", "advance", "rollback", "pause", "resume"]


class Verdict(StrEnum):
    """What a gate says; the closed set of the status object and of `gate_verdict`."""

    passed = "pass"
    failed = "fail"
    inconclusive = "inconclusive"
    error = "error"


BREAKERS = ("error_rate", "fallback_rate", "latency_p95_s", "quality_issues", "cost_ratio")
"""Absolute limits over a sliding window; they roll back."""
FAILURES = ("error", "fallback", "tool_error", "refusal", "incomplete")
"""Failures that are compared by first failures per unit; they roll back. `incomplete` is truncated or empty,
and is part of `error` too."""
MEANS = ("ttft", "slow_share", "cost", "output_tokens")
"""What is compared by means over buckets of units; they hold."""

ORDER = (
    *BREAKERS, "freshness", "traffic", *FAILURES, "quality", "sample_ratio", "duration",
    "hold", "min_units", *MEANS, "drift", "freeze", "approval",
)  # fmt: skip
"""Every gate, in the order in which they are judged: the closed set of `gate_verdict{gate}`.

`quality` are the configured checks and the stage's `max_regression`; `drift` is judged in soaking alone.
"""
ROLLS_BACK = frozenset({*BREAKERS, *FAILURES, "quality"})
"""A `fail` of these ends the run. So does one of `duration` and of `approval`, which say it only where the
stage says `rollback`."""
SHARED = "control_too"
"""In a gate's evidence: 1 where control is over the same limit, so that nothing can be said of the candidate,
and nobody should be moved either."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's verdict, with the reason in words and the numbers behind it."""

    name: str
    verdict: Verdict
    reason: str
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One comparison as people see it: both arms, their ratio with bounds valid at every look, a margin."""

    name: str
    control: float | None
    """A rate (0-1) or a mean in the metric's unit (seconds, micro-dollars, tokens); None: no data."""
    candidate: float | None
    ratio: float | None
    """candidate / control; of geometric means where the metric is compared on logarithms."""
    lower: float | None
    upper: float | None
    """One-sided bounds of the ratio; None where the metric has none."""
    margin: float
    """Highest tolerated ratio."""
    evidence: float
    """0-1: how far the evidence has come on its way to a stop (ln E / ln of its limit, or lower / margin)."""
    n_control: int
    n_candidate: int
    """Units at risk, or requests for means."""
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """All gates of one migration at one moment, and what follows."""

    gates: tuple[GateResult, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    decision: Decision = "none"
    action: Action = "none"
    """What the controller does now; `decision` is what the gates say, whoever acts on it."""
    pause_reason: PauseReason | None = None
    """With action pause."""
    reason: str = ""
    """One sentence for people: what it waits for, or what stopped it."""

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """The gates that want a rollback."""
        wanting = ROLLS_BACK | {"duration", "approval"}
        return tuple(gate for gate in self.gates if gate.verdict is Verdict.failed and gate.name in wanting)
