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
    """Somebody must approve before the next stage is entered."""
    approval_by_another: bool = False
    """Whoever started the run may not be the one who approves."""
    approval_deadline_s: float | None = None
    """How long an approval is waited for; None: for ever."""
    on_deadline: Literal["hold", "rollback"] = "hold"
    max_duration_s: float | None = None
    """Watched time after which a stage that cannot advance is given up; None: never."""
    on_max_duration: Literal["hold", "rollback", "advance"] = "hold"
    """`advance`: past hold tests and minimum units that stayed inconclusive, never past a failing one."""
    require: Literal["no_harm", "non_inferior"] = "no_harm"
    """What a comparison must show before the next stage: nothing worse than its margin, or proof of that."""

    @property
    def advances(self) -> bool:
        """Whether automation may leave this stage: one with neither hold nor units waits for a person, and so
        does one with units alone where none are counted."""
        return self.hold_s > 0 or (self.min_units > 0 and 0 < self.percent <= 50)


CheckKind = Literal["json", "json_schema", "regex", "max_chars", "tool_input_valid", "not_empty"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that every answer for a task must fulfil; judged on a copy, after it was relayed."""

    kind: CheckKind
    task: str = ""
    """`x-gateway-task`; empty: every request."""
    name: str = ""
    """Names it in reports; never empty once configured, unique within a migration."""
    schema: str = ""
    """For json_schema: the schema, as JSON text."""
    pattern: str = ""
    """For regex: what the answer's text must hold somewhere."""
    max_chars: int = 0
    min_pass: float | None = 0.95
    """Lowest tolerated share of the candidate's answers that pass; None: only control is compared with."""
    max_ratio: float | None = 1.25
    """Highest tolerated ratio of failing units, candidate / control; None: only `min_pass` counts."""


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which no stage is advanced; it never keeps a rollback.

    Weekly (`days`, `starts`, `ends`; an end that is not after its start is on the next day) or once (`since`,
    `until`).
    """

    name: str
    days: tuple[Weekday, ...] = ()
    starts: str = "00:00"
    ends: str = "00:00"
    """24-hour clock in `timezone`; 00:00 to 00:00 is the whole day."""
    since: str = ""
    until: str = ""
    """ISO dates or times in `timezone`; a date is its first moment. The end is not part of it."""
    timezone: str = "UTC"


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
    return {"error": 1.25, "fallback": 1.25, "tool_error": 1.25, "refusal": 1.5, "incomplete": 1.25}


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
    """Chance that a candidate no worse than its margins is rolled back by any comparison of a whole run."""
    fresh_s: float = 15.0
    """How old the newest counts of an expected replica may be; older: nothing advances."""
    no_traffic_s: float = 21_600.0
    """Watched time without a request of the candidate's after which the stage pauses (`no_data`)."""


@dataclass(frozen=True, slots=True)
class OnRollback:
    """How an automatic rollback leaves, and who hears of it."""

    mode: Literal["evict", "drain"] = "evict"
    notify: tuple[str, ...] = ()
    """Sinks, by their names in gateway.yaml."""


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
    checks: tuple[Check, ...] = ()
    freeze: tuple[Freeze, ...] = ()
    notify: tuple[str, ...] = ()
    """Sinks that hear of every change of this migration, by their names in gateway.yaml."""
    checklist: Literal["required", "advisory"] = "advisory"
    """Whether a run may begin while items of the checklist are open; documents say `required` by default."""

    @property
    def automatic(self) -> bool:
        """Whether automation climbs at all. If no stage says when it is over, people advance by hand."""
        return any(stage.advances for stage in self.stages)
