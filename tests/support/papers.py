"""A migration's life on paper: verbs become states and audit events, arms are counted, and facts come of it.

story = Story()
story.do("start", by="ann").wait(3 * DAY).do("automatic-advance", by="controller")
facts = story.facts(runs={1: tally(candidate=arm(400, errors=30))})
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.control.papers.facts import Facts
from gateway.core.gates.window import Tally, Totals
from gateway.core.rollout import Order, Verb, carry_out, summary
from gateway.core.spec import Check, Freeze, Holdback, Lists, MigrationSpec, OnRollback, Stage
from gateway.core.stats.histogram import bin_of
from gateway.core.tally import ArmTotals, Case, CheckCount, Exposure, RunTally
from gateway.core.types import Arm, Event, MigrationState
from gateway.store.ports import ReplicaReport
from tests.support.upstream import shipped_catalogue

HOUR, DAY = 3600.0, 86_400.0
BEGAN = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
CATALOGUE = shipped_catalogue()
NAME = "opus-4-5-to-5-5"
SPEC = MigrationSpec(
    name=NAME,
    control="claude-opus-4-5-20251101",
    candidate="claude-opus-5-5",
    models=("claude-opus-4-5", "claude-opus-4-5-20251101"),
    stages=(
        Stage("internal", 0, hold_s=3 * DAY),
        Stage("canary", 5, hold_s=2 * DAY, min_units=200, max_regression=0.03),
        Stage("early", 25, hold_s=3 * DAY, min_units=1000),
        Stage("half", 50, hold_s=5 * DAY, min_units=2000, approval=True, approval_by_another=True),
        Stage("full", 100),
    ),
    lists=Lists(allow_tasks=("internal",)),
    on_rollback=OnRollback(notify=("slack",)),
    holdback=Holdback(2, "2027-06-01"),
    checks=(Check("json", task="extract", name="extract-json"),),
    freeze=(Freeze("weekend", days=("sat", "sun")),),
    notify=("ops",),
    checklist="required",
)
"""What is shipped, with a check, a freeze and somebody to tell."""


class Story:
    """One migration, moved by verbs and by time."""

    def __init__(self, spec: MigrationSpec = SPEC) -> None:
        self.spec = spec
        self.now = BEGAN
        self.state = MigrationState(spec.name)
        self.events: list[Event] = []

    def wait(self, seconds: float) -> "Story":
        """Let time pass."""
        self.now += seconds
        return self

    def do(self, verb: Verb, by: str = "ann", reason: str = "", **arguments: Any) -> "Story":
        """Carry out a verb, as the service does."""
        evidence = arguments.pop("evidence", {})
        before, order = self.state, Order(verb, by, self.now, reason, **arguments)
        after = replace(carry_out(before, order, self.spec), version=before.version + 1)
        self.state = after
        return self.tell(verb, by, reason, evidence, summary(before), summary(after))

    def tell(
        self,
        verb: str,
        by: str,
        reason: str,
        evidence: Mapping[str, Any],
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> "Story":
        """Write a line into the audit log."""
        shown = dict(before or {}), dict(after or {})
        self.events.append(
            Event(self.now, by, verb, reason, *shown, dict(evidence), seq=len(self.events) + 1)
        )
        return self

    def prove(self, kind: str, *, passed: bool = True, **details: Any) -> "Story":
        """Hand in a proof."""
        evidence = {"kind": kind, "passed": passed, "details": details}
        return self.tell("proof", "ci", f"{kind} of the night", evidence)

    def facts(self, **changes: Any) -> Facts:
        """Return what papers are written from."""
        known: dict[str, Any] = {
            "now": self.now,
            "state": self.state,
            "file_spec": self.spec,
            "control": CATALOGUE.find(self.spec.control),
            "candidate": CATALOGUE.find(self.spec.candidate),
            "sinks": frozenset({"ops", "slack"}),
            "events": tuple(self.events),
        }
        return Facts(**(known | changes))


def climbing(to: str = "early", spec: MigrationSpec = SPEC) -> Story:
    """Return a run that has just entered a stage, each hold after the other."""
    story = Story(spec).do("start", reason="the plan is agreed")
    for stage in spec.stages:
        if stage.name == to:
            break
        story.wait(stage.hold_s or HOUR)
        if stage.approval:
            story.do("approve", by="bob")
        story.do("automatic-advance", by="controller", reason="all gates are green")
    return story


def rolled_back(to: str = "early") -> Story:
    """Return a run that was rolled back by itself, 42 minutes into a stage."""
    story = climbing(to).wait(42 * 60)
    gates = [
        {
            "name": "error",
            "verdict": "fail",
            "reason": "the candidate fails 4.4 times as often as control, tolerated are 1.25",
            "evidence": {"log_e": 5.4, "limit": 5.08},
        }
    ]
    metrics = [
        {
            "name": "error", "control": 0.02, "candidate": 0.09, "ratio": 4.4, "lower": None, "upper": None,
            "margin": 1.25, "evidence": 1.0, "n_control": 205, "n_candidate": 210, "verdict": "fail",
        }
    ]  # fmt: skip
    evidence = {"gates": gates, "metrics": metrics, "mode": "evict"}
    return story.do(
        "automatic-rollback", by="controller", reason=f"error: {gates[0]['reason']}", evidence=evidence
    )


def arm(requests: int, *, errors: int = 0, cost: int = 10_000, **more: Any) -> ArmTotals:
    """Return an arm with so many requests of a second each; every one was priced."""
    return ArmTotals(
        **{
            "requests": requests,
            "outcomes": {"ok": requests - errors} | ({"upstream_error": errors} if errors else {}),
            "priced": requests,
            "cost_microusd": requests * cost,
            "measured": requests,
            "prompt_tokens": requests * 900,
            "output_tokens": requests * 300,
            "durations": {bin_of(1.0): requests} if requests else {},
            **more,
        }
    )


def tally(control: ArmTotals | None = None, candidate: ArmTotals | None = None, *cases: Case) -> RunTally:
    """Return what a run counted."""
    arms = {Arm.control: control or ArmTotals(), Arm.candidate: candidate or ArmTotals()}
    return RunTally(arms, cases)


HURT = tally(
    arm(4_000, errors=20, exposure={"error": Exposure(90_000, 4)}),
    arm(
        1_200,
        errors=60,
        cost=12_000,
        fallbacks=35,
        exposure={"error": Exposure(88_000, 18)},
        checks={"extract-json": CheckCount(90, 30)},
    ),
    *(Case(BEGAN + n, "candidate", f"req_{n}", "extract", "error") for n in range(30)),
    Case(BEGAN, "control", "req_control", "chat", "error"),
)
"""A run whose candidate fails too often."""
ENROLLED = {Arm.control: 205, Arm.candidate: 210}


def window(requests: int, units: int, *, errors: int = 0) -> Totals:
    """Return what callers of control met within a window."""
    met = Tally(requests, errors, 0, frozenset(f"u{n}" for n in range(units)))
    return {Arm.control: met, Arm.candidate: Tally()}


def replica(
    story: Story, name: str = "r1", *, sent_s: float | None = None, obeys: bool = True
) -> ReplicaReport:
    """Return a heartbeat; the last request to the candidate began `sent_s` before now."""
    version = story.state.order if obeys else (0, 0)
    sent = {} if sent_s is None else {story.spec.name: story.now - sent_s}
    return ReplicaReport(
        name, story.now, {story.spec.name: version}, story.now - HOUR, candidate_sent_at=sent
    )
