"""The two acts of the demo, and what must have happened in them.

Both candidates are started and then left alone. Act 1: a good one climbs to 100 %, stage by stage, because
its gates stay green. Act 2: one that is overloaded half of the time is rolled back because they do not. A
claim of the closing summary is a `Check` on what the callers and the audit log saw; one that does not hold
fails the demo.

The stages are those of a real migration with the days taken out: holds are seconds, and units as many as so
few callers can be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.compat.catalog import Catalogue
from gateway.core.spec import BreakerRule, Gates, MigrationSpec, Stage
from gateway.demo.act import Act, Scene, Screen
from gateway.demo.apps import load_templates
from gateway.demo.callers import Callers
from gateway.demo.tally import Tally
from gateway.demo.world import WHO, World
from gateway.tasks import Clock

USERS = 600
SPEED = 10.0
"""How much faster than a model the simulator answers."""

CLIMB_LIMIT_S = 45.0
"""How long a good candidate may take to the top on a busy machine."""
TOP_S = 3.0
"""How long the callers go on at the top."""
FALL_LIMIT_S = 20.0
AFTERWARDS = "afterwards"
AFTERWARDS_S = 3.0
"""How long the callers go on after the rollback, to see where they are served."""

GOOD = MigrationSpec(
    name="opus-4-5-to-5-5",
    control="claude-opus-4-5-20251101",
    candidate="claude-opus-5-5",
    models=("claude-opus-4-5", "claude-opus-4-5-20251101"),
    stages=(
        Stage("internal", 0, hold_s=2),
        Stage("canary", 5, hold_s=3, min_units=8),
        Stage("early", 25, hold_s=3, min_units=30),
        Stage("half", 50, hold_s=3, min_units=60),
        Stage("full", 100),
    ),
)
"""The first of `models` is what its applications ask for."""
BAD = MigrationSpec(
    name="haiku-4-5-to-5-5",
    control="claude-haiku-4-5-20251001",
    candidate="claude-haiku-5-5",
    models=("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
    stages=(
        Stage("canary", 20, hold_s=15, min_units=40),
        Stage("half", 50, hold_s=15, min_units=60),
        Stage("full", 100),
    ),
    gates=Gates(breaker={**Gates().breaker, "fallback_rate": BreakerRule(0.10, 30, 20, 5)}),
)
FAULT = f"model={BAD.candidate},kind=overloaded,rate=0.5"


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, in words that are true if it holds."""

    holds: bool
    claim: str
    otherwise: str = ""
    """What to say if it does not."""


async def play(screen: Screen, clock: Clock, catalogue: Catalogue, files: Path) -> list[Check]:
    """Play both acts and return every claim. `files` is the folder with models.yaml and the demo's
    traffic."""
    templates = load_templates(files / "demo")
    screen.say(f"a simulated Messages API ({SPEED:g} × real speed), with the gateway in front of it")

    def callers(plan: MigrationSpec) -> Callers:
        return Callers(world.url, templates, catalogue, clock, model=plan.models[0], users=USERS)

    async with World((GOOD, BAD), files / "models.yaml", clock, faults=[FAULT], speed=SPEED) as world:
        first = Act(Scene(1, "a good candidate climbs", GOOD, USERS), world, screen, clock)
        await first.run(callers(GOOD), lambda: climb(first, screen))
        second = Act(Scene(2, "a bad candidate falls", BAD, USERS), world, screen, clock)
        await second.run(callers(BAD), lambda: fall(second, screen))
        return [*climbed(first, await first.events()), *fell(second, await second.events())]


async def climb(act: Act, screen: Screen, *, limit_s: float = CLIMB_LIMIT_S, top_s: float = TOP_S) -> None:
    """Start the migration and watch it climb, as far as it does."""
    stages, top = act.scene.plan.stages, len(act.scene.plan.stages) - 1
    until_s = act.elapsed_s() + limit_s
    await act.enter("start", stages[0].name)
    screen.say(f"{act.scene.plan.candidate} is started, and nobody touches it from now on")
    index = 0

    def moved() -> bool:
        return _present(act) > index

    while index < top and await act.until(moved, until_s - act.elapsed_s()):
        screen.say(stage_line(stages[index], act.stages[stages[index].name]))
        index = _present(act)
        await act.arrive(stages[index].name)
    if index < top:
        screen.say(f"it stays at {stages[index].name}: {act.scene.status['summary']}")
        return
    await act.until(lambda: act.scene.status["phase"] == "soaking", until_s - act.elapsed_s())
    seen_s = act.elapsed_s() + top_s
    await act.until(lambda: act.elapsed_s() >= seen_s, 2 * top_s)
    screen.say(stage_line(stages[top], act.stages[stages[top].name]))


async def fall(act: Act, screen: Screen) -> None:
    """Start the migration and do nothing more."""
    plan = act.scene.plan
    await act.enter("start", plan.stages[0].name)
    screen.say(f"{plan.candidate} is overloaded half of the time, and nobody is looking")
    fallen = await act.until(lambda: act.scene.status["phase"] == "rolled_back", FALL_LIMIT_S)
    act.mark(AFTERWARDS)
    if fallen and (rollback := last_rollback(await act.events())):
        act.scene.note = rollback["reason"]
        screen.say(f"rolled back by {rollback['by']}: {rollback['reason']}")
    until_s = act.elapsed_s() + AFTERWARDS_S
    await act.until(lambda: act.elapsed_s() >= until_s, 2 * AFTERWARDS_S)


def _present(act: Act) -> int:
    """Return the index of the stage that the gateway is in."""
    index: int = act.scene.status["stage"]["index"]
    return index


def climbed(act: Act, events: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Return what act 1 claims."""
    plan, status, total = act.scene.plan, act.scene.status, act.scene.total
    last = act.stages[plan.stages[-1].name]
    ramp = " → ".join(f"{percent:g}" for percent in act.reached)
    by_hand = [event["verb"] for event in events if event["by"] == WHO]
    return [
        Check(
            act.reached == [stage.percent for stage in plan.stages]
            and status["phase"] == "soaking"
            and last.candidate.begun > 0
            and last.control.begun == 0,
            f"{plan.name} climbed to 100 %: {ramp} %; at the end all {last.candidate.begun} new "
            f"conversations began on {plan.candidate}.",
            f"{plan.name} did not climb to 100 %: it served {ramp} % and is {status['phase']}, and at the "
            f"end {last.control.begun} of {last.begun} new conversations began on {plan.control}.",
        ),
        Check(
            by_hand == ["start"],
            f"It was started and left alone: its gates let it through {len(plan.stages)} stages.",
            f"It was not left alone: {', '.join(by_hand) or 'nobody started it'}.",
        ),
        _nobody_failed(total, "while it climbed"),
    ]


def fell(act: Act, events: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Return what act 2 claims."""
    plan, status, total = act.scene.plan, act.scene.status, act.scene.total
    afterwards = act.stages[AFTERWARDS]
    rollback = last_rollback(events)
    by_itself = rollback is not None and rollback["by"] != WHO and status["reason"] == "automatic"
    after_s = rollback["at"] - act.first_candidate_at if rollback and act.first_candidate_at else 0.0
    why = rollback["reason"].partition(";")[0] if rollback else ""
    return [
        Check(
            by_itself,
            f"{plan.name} was rolled back automatically, {after_s:.1f} s after the candidate's first request "
            f"and after {total.candidate.requests} of them: {why}.",
            f"{plan.name} was not rolled back automatically: it is {status['phase']} "
            f"({status['reason'] or 'no reason'}).",
        ),
        Check(
            afterwards.requests > 0 and afterwards.candidate.requests == 0,
            f"After the rollback all {afterwards.requests} requests went to {plan.control}.",
            f"After the rollback {afterwards.candidate.requests} of {afterwards.requests} requests still "
            f"went to {plan.candidate}.",
        ),
        Check(
            total.candidate.rescued > 0,
            f"{total.candidate.rescued} requests that {plan.candidate} turned away were answered by "
            f"{plan.control} instead.",
            f"{plan.candidate} turned nothing away, so the fault was not there.",
        ),
        _nobody_failed(total, "while it fell"),
    ]


def last_rollback(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the event that rolled the migration back, if there is one."""
    return next((event for event in reversed(events) if event["after"].get("phase") == "rolled_back"), None)


def stage_line(stage: Stage, tally: Tally) -> str:
    """Return what a stage has shown."""
    share = tally.candidate_share or 0.0
    return (
        f"stage {stage.name} ({stage.percent:g} %): the candidate began {100 * share:.0f} % of {tally.begun} "
        f"conversations, {tally.failed} failures"
    )


def _nobody_failed(total: Tally, when: str) -> Check:
    worst = "; ".join(f"{count} × {complaint}" for complaint, count in total.complaints.most_common(3))
    return Check(
        total.failed == 0 and total.requests > 0,
        f"0 of {total.requests:,} callers' requests failed {when}.",
        f"{total.failed:,} of {total.requests:,} callers' requests failed {when}: {worst}.",
    )
