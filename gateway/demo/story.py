"""The two acts of the demo, and what must have happened in them.

Act 1: a good candidate climbs to 100 %, stage by stage, as an operator would advance it. Act 2: a candidate
that is overloaded half of the time is started in the same way and then left alone; only the gateway's own
breaker stops it. A claim of the closing summary is a `Check` on what the callers and the audit log saw; one
that does not hold fails the demo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.compat.catalog import Catalogue
from gateway.demo.act import Act, Scene, Screen
from gateway.demo.apps import load_templates
from gateway.demo.callers import Callers
from gateway.demo.tally import Tally
from gateway.demo.world import WHO, Plan, World
from gateway.tasks import Clock

USERS = 600
SPEED = 10.0
"""How much faster than a model the simulator answers."""

STAGE_S = 5.0
"""A stage lasts at least this long,"""
STAGE_CONVERSATIONS = 80
"""until so many conversations have begun in it,"""
STAGE_CANDIDATE_REQUESTS = 8
"""and, above 0 %, until the candidate has had so many requests,"""
STAGE_LIMIT_S = 12.0
"""but never longer."""
BREAKER_LIMIT_S = 20.0
AFTERWARDS = "afterwards"
AFTERWARDS_S = 3.0
"""How long the callers go on after the rollback, to see where they are served."""

GOOD = Plan(
    name="opus-4-5-to-5-5",
    control="claude-opus-4-5-20251101",
    requested="claude-opus-4-5",
    candidate="claude-opus-5-5",
    stages=(("internal", 0), ("canary", 5), ("early", 25), ("half", 50), ("full", 100)),
)
BAD = Plan(
    name="haiku-4-5-to-5-5",
    control="claude-haiku-4-5-20251001",
    requested="claude-haiku-4-5",
    candidate="claude-haiku-5-5",
    stages=(("canary", 20), ("half", 50), ("full", 100)),
    breaker={"fallback_rate": {"max": 0.10, "window": "30s", "min_requests": 20, "min_units": 5}},
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

    def callers(plan: Plan) -> Callers:
        return Callers(world.url, templates, catalogue, clock, model=plan.requested, users=USERS)

    async with World((GOOD, BAD), files / "models.yaml", clock, faults=[FAULT], speed=SPEED) as world:
        first = Act(Scene(1, "a good candidate climbs", GOOD, USERS), world, screen, clock)
        await first.run(callers(GOOD), lambda: climb(first, screen))
        second = Act(Scene(2, "a bad candidate falls", BAD, USERS), world, screen, clock)
        await second.run(callers(BAD), lambda: fall(second, screen))
        return [*climbed(first), *fell(second, await second.events())]


async def climb(act: Act, screen: Screen) -> None:
    """Advance from stage to stage, as an operator would who has seen enough of each."""
    plan = act.scene.plan
    for index, (name, percent) in enumerate(plan.stages):
        await act.enter("advance" if index else "start", name)
        tally, until_s = act.stages[name], act.elapsed_s() + STAGE_S

        def seen_enough(tally: Tally = tally, percent: float = percent, until_s: float = until_s) -> bool:
            return (
                act.elapsed_s() >= until_s
                and tally.begun >= STAGE_CONVERSATIONS
                and (percent == 0 or tally.candidate.requests >= STAGE_CANDIDATE_REQUESTS)
            )

        await act.until(seen_enough, STAGE_LIMIT_S)
        screen.say(stage_line(name, percent, tally))


async def fall(act: Act, screen: Screen) -> None:
    """Start the migration and do nothing more."""
    plan = act.scene.plan
    await act.enter("start", plan.stages[0][0])
    screen.say(f"{plan.candidate} is overloaded half of the time, and nobody is looking")
    fallen = await act.until(lambda: act.scene.status["phase"] == "rolled_back", BREAKER_LIMIT_S)
    act.mark(AFTERWARDS)
    if fallen and (rollback := last_rollback(await act.events())):
        act.scene.note = rollback["reason"]
        screen.say(f"rolled back by {rollback['by']}: {rollback['reason']}")
    until_s = act.elapsed_s() + AFTERWARDS_S
    await act.until(lambda: act.elapsed_s() >= until_s, 2 * AFTERWARDS_S)


def climbed(act: Act) -> list[Check]:
    """Return what act 1 claims."""
    plan, total = act.scene.plan, act.scene.total
    wanted = [percent for _, percent in plan.stages]
    last = act.stages[plan.stages[-1][0]]
    ramp = " → ".join(f"{percent:g}" for percent in act.reached)
    return [
        Check(
            act.reached == wanted and last.candidate.begun > 0 and last.control.begun == 0,
            f"{plan.name} went to 100 %: {ramp} %; at the end all {last.candidate.begun} new conversations "
            f"began on {plan.candidate}.",
            f"{plan.name} did not go to 100 %: it served {ramp} %, and at the end {last.control.begun} of "
            f"{last.begun} new conversations began on {plan.control}.",
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
    return [
        Check(
            by_itself,
            f"{plan.name} was rolled back automatically, {after_s:.1f} s after the candidate's first request "
            f"and after {total.candidate.requests} of them; nobody asked for it.",
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


def stage_line(name: str, percent: float, tally: Tally) -> str:
    """Return what a stage has shown."""
    share = tally.candidate_share or 0.0
    return (
        f"stage {name} ({percent:g} %): the candidate began {100 * share:.0f} % of {tally.begun} "
        f"conversations, {tally.failed} failures"
    )


def _nobody_failed(total: Tally, when: str) -> Check:
    worst = "; ".join(f"{count} × {complaint}" for complaint, count in total.complaints.most_common(3))
    return Check(
        total.failed == 0 and total.requests > 0,
        f"0 of {total.requests:,} callers' requests failed {when}.",
        f"{total.failed:,} of {total.requests:,} callers' requests failed {when}: {worst}.",
    )
