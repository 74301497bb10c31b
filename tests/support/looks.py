"""A rollout as `gateway migration watch` gets to see it: status objects with everything in them."""

from typing import Any

from gateway.cli.rollout.board import Look
from tests.support.admin_api import status

NOW = 1_795_171_300.0
"""2026-11-20T10:41:40Z."""
DAY_S = 86_400.0


def stage(name: str, percent: float, hold_s: float = 3 * DAY_S, min_units: int = 0) -> dict[str, Any]:
    """One stage of a ramp."""
    return {"name": name, "percent": percent, "hold_s": hold_s, "min_units": min_units, "approval": False}


STAGES = [
    stage("internal", 0),
    stage("canary", 5),
    stage("early", 25),
    stage("half", 50),
    stage("full", 100, 0),
]


def row(
    name: str, ratio: float | None = 1.0, lower: float | None = 0.8, upper: float | None = 1.2, **more: Any
) -> dict[str, Any]:
    """One comparison."""
    known = {
        "control": 0.01, "candidate": 0.012, "margin": 1.25, "evidence": 0.1,
        "n_control": 640, "n_candidate": 633, "verdict": "pass",
    }  # fmt: skip
    return {"name": name, "ratio": ratio, "lower": lower, "upper": upper, **known, **more}


def gate(name: str, verdict: str = "pass", reason: str = "because", **evidence: float) -> dict[str, Any]:
    """One gate."""
    return {"name": name, "verdict": verdict, "reason": reason, "evidence": evidence}


ROWS = [
    row("error"),
    row("fallback", 0.0, 0.0, 0.9),
    row("tool_error", 1.5, 0.9, 2.4, evidence=0.44),
    row("refusal", None, None, None, margin=1.5),
    row("incomplete", 3.0, 1.4, None, verdict="fail", evidence=1.0),
    row("ttft", 0.95, 0.91, 1.02, control=0.81, candidate=0.77, margin=1.2),
    row("slow_share", verdict="inconclusive"),
    row("cost", 0.8, 0.77, 0.83, control=12_300.0, candidate=9_800.0, margin=1.15),
    row("output_tokens", control=412.0, candidate=431.0, margin=1.3),
    row("check:extract-json", 1.67, 1.0, 2.4, evidence=0.6),
]
GATES = [
    gate("error_rate"),
    gate("latency_p95_s", "inconclusive", "too little data: 12 of 20 requests"),
    gate("sample_ratio"),
    gate("hold", "inconclusive", "1.5 d of 3 d", watched_s=1.5 * DAY_S, hold_s=3 * DAY_S),
    gate("min_units", "inconclusive", "633 of 1000 units", candidate=633, control=640, min_units=1000),
    gate("quality", "error", "not measured: " + "a long story " * 12),
]


def event(
    seq: int, verb: str, reason: str = "", weights: tuple[float, float] = (25.0, 25.0), **after: Any
) -> Any:
    """One line of the audit log, a minute before now."""
    before = {"phase": "running", "weight_percent": weights[0]}
    now = {"phase": "running", "weight_percent": weights[1], **after}
    return {
        "seq": seq, "at": NOW - 60, "by": "ann", "verb": verb, "reason": reason,
        "before": before, "after": now, "evidence": {},
    }  # fmt: skip


EVENTS = (
    event(
        1, "start", "first run after the rehearsal of last week, everything is green and the plan was read"
    ),
    event(2, "automatic-advance", "advancing from 5 %: every gate is green", (5.0, 25.0)),
    event(3, "approve"),
)
PLAN = {
    "takes_s": 13 * DAY_S,
    "warnings": ["a"],
    "stages": [{"warnings": ["b"]}],
    "traffic": {
        "requests_per_min": 120.0,
        "control_cost_microusd": 12_300.0,
        "candidate_cost_microusd": 9_800.0,
    },
}


def watched(**changes: Any) -> dict[str, Any]:
    """A running stage of which everything is known."""
    known = {
        "stages": STAGES,
        "summary": "holding at 25 %: 633 of 1000 units, 1.5 d of 3 d",
        "metrics": ROWS,
        "gates": GATES,
        "cost_microusd": {"control": 148_000_000, "candidate": 117_000_000},
        "watched_s": 1.5 * DAY_S,
        "approval": {"needed": False, "by": None, "at": None, "waiting_since": None},
    }
    return status(**(known | changes))


def look(*, events: tuple[Any, ...] = EVENTS, plan: Any = PLAN, trouble: str = "", **changes: Any) -> Look:
    """A look at it."""
    return Look(NOW, watched(**changes), events, plan, trouble)


PAST_THE_RAMP = {"index": 4, "name": "full", "percent": 100, "entered_at": NOW - 1, "hold_until": None}
SITUATIONS: dict[str, Look] = {
    "running": look(),
    "paused": look(phase="paused", reason="approval", summary="paused (approval) at 25 %: nobody has yet"),
    "rolled back": look(
        phase="rolled_back", reason="automatic", weight_percent=0.0, metrics=[], gates=[],
        summary="rolled back (automatic): everybody is on control",
        events=(*EVENTS, event(4, "automatic-rollback", "error: too many", (25.0, 0.0), phase="rolled_back")),
    ),
    "soaking": look(
        phase="soaking", weight_percent=98.0, stage=PAST_THE_RAMP, metrics=[], gates=[gate("drift")],
        summary="soaking: watching until somebody completes the migration",
    ),
    "draft": look(
        phase="draft", run=0, weight_percent=0.0, enrolled={"control": 0, "candidate": 0}, metrics=[],
        gates=[], cost_microusd=None, summary="not started: everybody is on control", events=(),
        stage={"index": 0, "name": "internal", "percent": 0, "entered_at": None, "hold_until": None},
    ),
    "completed": look(
        phase="completed", weight_percent=100.0, stage=PAST_THE_RAMP, metrics=[], gates=[],
        summary="completed: everybody is on claude-opus-5-5",
    ),
    "nothing is known": look(
        enrolled=None, store_available=False, config_drift=True, metrics=[], gates=[], cost_microusd=None,
        replicas={"expected": 3, "acknowledged": 1, "missing": ["a-very-long-name-of-a-pod-" + "0" * 30]},
        summary="running at 25 %: the store is away, so nothing advances", plan=None, trouble="x " * 80,
    ),
    "an older gateway": Look(NOW, status()),
}  # fmt: skip
