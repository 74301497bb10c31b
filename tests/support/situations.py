"""A migration in every phase, at the second of five stages, and orders that lack no argument."""

from dataclasses import replace
from typing import Any

from gateway.core.rollout import Order, Verb
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import LINE, MigrationState, Phase

SPEC = MigrationSpec(
    name="m",
    control="old",
    candidate="new",
    models=("old",),
    stages=(
        Stage("internal", 0, hold_s=60),
        Stage("canary", 5, hold_s=60),
        Stage("early", 25, hold_s=60),
        Stage("half", 50, hold_s=60, approval=True),
        Stage("full", 100),
    ),
)
DRAFT = MigrationState("m")
RUNNING = replace(
    DRAFT,
    phase=Phase.running,
    run=1,
    version=4,
    epoch=2,
    stage_index=1,
    weight=5_000,
    widest=5_000,
    spec=SPEC,
    stage_entered_at=10,
)
PAUSED = replace(RUNNING, phase=Phase.paused, reason="user")
SOAKING = replace(RUNNING, phase=Phase.soaking, stage_index=4, weight=LINE, widest=LINE)
COMPLETED = replace(SOAKING, phase=Phase.completed)
ROLLED_BACK = replace(RUNNING, phase=Phase.rolled_back, reason="user", weight=0, evicted_run=1)
DRAINING = replace(ROLLED_BACK, draining=True, evicted_run=0)
KILLED = replace(ROLLED_BACK, reason="emergency")

HALF = replace(RUNNING, stage_index=3, weight=50_000)
"""At the stage that must be approved."""
WAITING = replace(HALF, phase=Phase.paused, reason="approval")


def order(verb: Verb, *, percent: float | None = 30.0, mode: str | None = None, **more: Any) -> Order:
    """Return an order that lacks no argument of any verb."""
    arguments = {"pause_reason": "inconclusive", "slow_after_s": 12.0, **more}
    return Order(verb, by="ada", at=99.0, percent=percent, mode=mode, **arguments)  # type: ignore[arg-type]
