"""What an operator asked for: one migration, as its YAML document says it, frozen.

Built and validated in `gateway.config`; copied into the store when a run starts. Percentages stay as written
(0-100); durations are seconds. Defaults are those of the public interface.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UnitKind = Literal["header", "user", "session", "conversation", "api_key"]
UNIT_LADDER: tuple[UnitKind, ...] = ("header", "user", "session", "conversation", "api_key")


@dataclass(frozen=True, slots=True)
class Lists:
    """People and tasks that are assigned by name and never enter the statistics."""

    allow_users: tuple[str, ...] = ()
    allow_tasks: tuple[str, ...] = ()
    deny_users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompatPolicy:
    """How far the gateway may go to make a request fit the other model."""

    prefill: Literal["emulate", "control", "reject"] = "emulate"
    forced_tool: Literal["emulate", "control", "reject"] = "emulate"
    unservable: Literal["control", "reject"] = "control"
    effort: Literal["preserve", "target_default", "map"] = "preserve"
    effort_map: Mapping[str, str] = field(default_factory=dict)
    """With `effort: map`: the effort in force on the source → what is asked of the target."""
    thinking: Literal["preserve", "adopt"] = "preserve"
    unasked_thinking: Literal["hide", "show"] = "hide"
    model_field: Literal["served", "requested"] = "served"
    progress_notes: Literal["pass", "text"] = "pass"
    """What becomes of notes between tool calls that come as thinking blocks."""
    stop_reasons: Literal["pass", "classic"] = "pass"
    """`classic`: stop reasons that older applications do not know are told as ones that they do."""
    max_tokens_headroom: int = 4096
    """Tokens added to `max_tokens` where the target thinks although nobody asked for it."""
    tasks: Mapping[str, "CompatPolicy"] = field(default_factory=dict)
    """Task → the policy for requests that name it, whole."""

    def for_task(self, task: str) -> "CompatPolicy":
        """Return the policy for requests of `task`."""
        return self.tasks.get(task, self)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the ramp."""

    name: str
    percent: float
    hold_s: float = 0.0
    min_units: int = 0
    max_regression: float | None = None
    """Highest tolerated share of failed quality checks."""
    approval: bool = False


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """An absolute limit over a sliding window; above `max` it rolls back once the window holds enough."""

    max: float
    window_s: float
    min_requests: int = 0
    min_units: int = 0


def _default_breakers() -> dict[str, BreakerRule]:
    return {
        "error_rate": BreakerRule(0.05, 300, 20, 5),
        "fallback_rate": BreakerRule(0.10, 300, 20, 5),
        "latency_p95_s": BreakerRule(60, 600, 20),
        "quality_issues": BreakerRule(3, 3600),
        "cost_ratio": BreakerRule(2.0, 3600, 50),
    }


def _default_rollback() -> dict[str, float]:
    return {"error": 1.25, "fallback": 1.25, "tool_error": 1.25, "refusal": 1.5}


def _default_hold() -> dict[str, float]:
    return {"ttft": 1.2, "slow_share": 1.25, "cost": 1.15, "output_tokens": 1.3}


@dataclass(frozen=True, slots=True)
class Gates:
    """What stops, holds or rolls back a rollout."""

    breaker: dict[str, BreakerRule] = field(default_factory=_default_breakers)
    rollback: dict[str, float] = field(default_factory=_default_rollback)
    """Metric → highest tolerated ratio candidate / control."""
    hold: dict[str, float] = field(default_factory=_default_hold)
    alpha: float = 0.05


@dataclass(frozen=True, slots=True)
class OnRollback:
    """How an automatic rollback leaves, and who hears of it."""

    mode: Literal["evict", "drain"] = "evict"
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holdback:
    """Units kept on control from the start, counted apart."""

    percent: float = 0.0
    until: str | None = None
    """ISO date; afterwards a warning, never a silent switch."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """Copies of requests sent to the candidate without anyone seeing the answer."""

    percent: float = 0.0
    daily_budget_usd: float = 20.0


@dataclass(frozen=True, slots=True)
class MigrationSpec:
    """One migration from `control` to `candidate`."""

    name: str
    control: str
    candidate: str
    models: tuple[str, ...]
    """Requested ids that this migration governs, compared whole."""
    stages: tuple[Stage, ...]
    unit: tuple[UnitKind, ...] = UNIT_LADDER
    lists: Lists = Lists()
    compat: CompatPolicy = CompatPolicy()
    gates: Gates = field(default_factory=Gates)
    on_rollback: OnRollback = OnRollback()
    holdback: Holdback = Holdback()
    shadow: Shadow = Shadow()
