"""What is said of a change: one event of the audit log as a message for people.

A message is written for who reads it on a phone in the middle of the night: what happened and where, what it
means for the callers, what there is to do, and the command that does it. As long as the candidate serves
anybody, the command that takes it off is among them. Events that are no change for anybody (a baseline
frozen, an item ticked) say nothing.

Nothing here ever saw a prompt; the lists of people are left out, and what people wrote is cut and flattened.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.control.notify.sinks import ChangeKind
from gateway.core.gates.verdict import Verdict
from gateway.core.gates.words import spoken
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import Event, Phase

MAX_SAID = 500
"""Characters that are kept of what a person or a gate wrote."""
MAX_GATES = 5

_VERBS: Mapping[str, ChangeKind] = {
    "start": "started",
    "restart": "started",
    "advance": "stage",
    "automatic-advance": "stage",
    "step-back": "stage",
    "pause": "paused",
    "automatic-pause": "paused",
    "approve": "approved",
    "resume": "resumed",
    "automatic-resume": "resumed",
    "set-weight": "weight",
    "set-lists": "lists",
    "rollback": "rolled_back",
    "automatic-rollback": "rolled_back",
    "emergency-rollback": "rolled_back",
    "complete": "completed",
    "weekly-report": "report",
    "retirement": "retirement",
    "drift": "drift",
}
_PAUSED = {
    "freeze": (
        "a freeze is in force",
        "It would have advanced; it does so by itself once the freeze is over.",
        "Nothing.",
    ),
    "no_data": (
        "the candidate gets no traffic",
        "Nothing can be judged, so nothing advances; it goes on by itself once there is traffic.",
        "See whether applications still ask for {models}, and whether they reach this gateway.",
    ),
    "inconclusive": (
        "the numbers are not clear",
        "They are neither good enough to advance nor bad enough to roll back.",
        "Look at its gates; then leave it running, advance it by hand, or roll it back.",
    ),
}
"""Why automation waits → what that is called, what it means, what to do."""


@dataclass(frozen=True, slots=True)
class Message:
    """One change, told."""

    change: ChangeKind
    migration: str
    event: Event
    title: str
    """What happened, and where: one line."""
    facts: tuple[str, ...]
    """What it means: one sentence each."""
    todo: str
    """What the reader is to do about it."""
    commands: tuple[str, ...]
    spec: MigrationSpec

    @property
    def id(self) -> str:
        """The same for every attempt to deliver this change, and for no other, even if the log was lost."""
        return f"{self.migration}:{self.event.seq}:{round(self.event.at * 1000)}"

    @property
    def text(self) -> str:
        """Return the whole message as plain text."""
        return "\n".join((self.title, *self.facts, f"What to do: {self.todo}", *self.commands))


@dataclass(frozen=True, slots=True)
class _Scene:
    """An event, and what it happened to."""

    event: Event
    spec: MigrationSpec

    @property
    def stage(self) -> Stage | None:
        index = self.event.after.get("stage")
        fits = isinstance(index, int) and 0 <= index < len(self.spec.stages)
        return self.spec.stages[index] if fits else None  # type: ignore[index]

    @property
    def where(self) -> str:
        name = self.stage.name if self.stage else f"number {self.event.after.get('stage', 0) + 1}"
        return f"stage {name} ({self.share})"

    @property
    def share(self) -> str:
        return f"{self.event.after.get('weight_percent', 0):g} %"

    @property
    def by(self) -> str:
        return "the gateway" if self.event.by == "controller" else said(self.event.by)

    @property
    def why(self) -> tuple[str, ...]:
        return tuple(f"Reason: {reason}" for reason in self.words)

    @property
    def words(self) -> tuple[str, ...]:
        reason = said(self.event.reason)
        return (reason,) if reason else ()

    @property
    def serving(self) -> str:
        spec, percent = self.spec, self.event.after.get("weight_percent", 0)
        if percent <= 0:
            return f"{spec.candidate} gets listed people and tasks alone, {spec.control} everybody else."
        if percent >= 100:
            held = f" {spec.control} keeps the holdback." if spec.holdback.percent else ""
            return f"{spec.candidate} gets all of the traffic.{held}"
        return f"{spec.candidate} gets {self.share} of the traffic, {spec.control} the rest."


Told = tuple[str, tuple[str, ...], str, tuple[str, ...]]
"""Title, facts, what to do, and the verbs that do it."""


def change_of(event: Event) -> ChangeKind | None:
    """Return what kind of change an event is, or None if there is nothing to tell."""
    change = _VERBS.get(event.verb)
    if change == "stage" and event.after.get("phase") == Phase.soaking:
        return "soaking"
    if change == "paused" and event.after.get("reason") == "approval":
        return "approval"
    return change


def message(migration: str, event: Event, spec: MigrationSpec, *, url: str = "") -> Message | None:
    """Tell one change, or nothing; `url` is where the command line finds this gateway."""
    change = change_of(event)
    if change is None:
        return None
    title, facts, todo, verbs = _TELL[change](_Scene(event, spec))
    if change not in ("rolled_back", "completed") and _serves_candidate(event):
        verbs = (*verbs, "rollback")
    at = f" --url {shlex.quote(url)}" if url else ""
    commands = tuple(
        f"gateway migration {verb} {shlex.quote(migration)}{at}" for verb in dict.fromkeys(verbs)
    )
    return Message(change, migration, event, f"{migration}: {title}", facts, todo, commands, spec)


def said(text: str) -> str:
    """Return what somebody wrote on one line, and not too much of it."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_SAID else line[: MAX_SAID - 1] + "…"


# --- one function for each kind of change -------------------------------------------------------------------


def _started(scene: _Scene) -> Told:
    run = scene.event.after.get("run", 1)
    title = f"run {run} has started at {scene.where}"
    facts = (scene.serving, f"Started by {scene.by}.", *scene.why)
    return title, facts, "Nothing: the gates watch it.", ("status",)


def _stage(scene: _Scene) -> Told:
    back = scene.event.verb == "step-back"
    title = f"{'went back' if back else 'has advanced'} to {scene.where}"
    facts = (scene.serving, f"{'Stepped back' if back else 'Advanced'} by {scene.by}.", *scene.why)
    return title, facts, "Nothing: the gates watch it.", ("status",)


def _paused(scene: _Scene) -> Told:
    waiting = _PAUSED.get(str(scene.event.after.get("reason")))
    if waiting is None:
        title = f"paused by {scene.by} at {scene.where}"
        facts = ("It stays at this weight. The gates go on, and may roll it back.", scene.serving, *scene.why)
        return title, facts, "Resume it when you are ready.", ("status", "resume")
    how, meaning, todo = waiting
    facts = (f"{meaning} The gates go on, and may roll it back.", scene.serving, *scene.why)
    todo = todo.format(models=", ".join(scene.spec.models))
    return f"waits at {scene.where}: {how}", facts, todo, ("status",)


def _approval(scene: _Scene) -> Told:
    stage = scene.stage
    facts = [scene.serving, "Everything else that it takes to advance is green."]
    if stage and stage.approval_by_another:
        facts.append("Whoever started the run may not be the one who approves.")
    if stage and stage.approval_deadline_s is not None:
        then = "is rolled back" if stage.on_deadline == "rollback" else "stays where it is"
        facts.append(f"If nobody approves within {spoken(stage.approval_deadline_s)}, it {then}.")
    title = f"waits for an approval to leave {scene.where}"
    return title, (*facts, *scene.why), "Look at its gates, then approve or not.", ("status", "approve")


def _approved(scene: _Scene) -> Told:
    title = f"leaving {scene.where} is approved by {scene.by}"
    return title, scene.why, "Nothing: it advances once all its gates are green.", ("status",)


def _resumed(scene: _Scene) -> Told:
    title = f"goes on at {scene.where}"
    facts = (scene.serving, f"Resumed by {scene.by}.", *scene.why)
    return title, facts, "Nothing: the gates watch it.", ("status",)


def _weight(scene: _Scene) -> Told:
    title = f"weight set by hand to {scene.share}, by {scene.by}"
    facts = (scene.serving, "It stays there: automation is paused until somebody resumes it.", *scene.why)
    return title, facts, "Resume it when the ramp is to go on from here.", ("status", "resume")


def _lists(scene: _Scene) -> Told:
    title = f"who is always or never on the candidate was changed by {scene.by}"
    return title, scene.why, "Nothing, if you expected it.", ("lists show",)


def _soaking(scene: _Scene) -> Told:
    title = f"at the top: {scene.spec.candidate} serves {scene.share}"
    facts = (
        "The gates go on, and so does the comparison with what the candidate was like at its promotion.",
        f"Advanced by {scene.by}.",
        *scene.why,
    )
    return title, facts, "Nothing now; complete it once you trust it.", ("status", "complete")


def _rolled_back(scene: _Scene) -> Told:
    event, spec = scene.event, scene.spec
    if "refused" in event.evidence:
        why = f"It was killed while the store was away; {said(str(event.evidence['refused']))}."
        return f"a kill by {scene.by} could not be carried out", (why,), "See who serves now.", ("status",)
    drains = event.evidence.get("mode") == "drain"
    facts = (
        f"{spec.control} serves everything again"
        + (
            f", except conversations that began on {spec.candidate}: they may finish there."
            if drains
            else "."
        ),
        *_causes(scene),
        *_was_at(scene),
    )
    if event.before.get("phase") == Phase.rolled_back and event.verb == "rollback":
        title = f"its last conversations were taken off {spec.candidate}, by {scene.by}"
        return title, (facts[0], *scene.why), "Nothing.", ("incidents",)
    how = {"automatic": "ROLLED BACK by its gates", "emergency": f"EMERGENCY ROLLBACK by {scene.by}"}
    title = how.get(str(event.after.get("reason")), f"rolled back by {scene.by}")
    todo = "Nothing is urgent: callers are served. Read the incident; restart it once the cause is mended."
    return title, facts, todo, ("incidents", "restart")


def _completed(scene: _Scene) -> Told:
    title = f"completed: {scene.spec.candidate} serves everything"
    facts = (f"Completed by {scene.by}; there is no holdback any more.", *scene.why)
    return title, facts, f"Let applications ask for {scene.spec.candidate} themselves.", ("status",)


def _report(scene: _Scene) -> Told:
    return "weekly report", scene.words, "Read it when you have a minute.", ("status",)


def _retirement(scene: _Scene) -> Told:
    title = f"{scene.spec.control} will be retired"
    todo = "Bring the migration to its end before that day: afterwards there is no way back."
    return title, scene.words, todo, ("status",)


def _drift(scene: _Scene) -> Told:
    title = f"{scene.spec.candidate} is not what it was when it was promoted"
    todo = "Look at its gates; roll it back if callers suffer."
    return title, scene.words, todo, ("status", "rollback")


_TELL: Mapping[ChangeKind, Callable[[_Scene], Told]] = {
    "started": _started,
    "stage": _stage,
    "paused": _paused,
    "approval": _approval,
    "approved": _approved,
    "resumed": _resumed,
    "weight": _weight,
    "lists": _lists,
    "soaking": _soaking,
    "rolled_back": _rolled_back,
    "completed": _completed,
    "report": _report,
    "retirement": _retirement,
    "drift": _drift,
}


# --- parts --------------------------------------------------------------------------------------------------


def _serves_candidate(event: Event) -> bool:
    after = event.after
    return after.get("phase") in (Phase.running, Phase.paused, Phase.soaking)


def _causes(scene: _Scene) -> tuple[str, ...]:
    gates = [gate for gate in gates_of(scene.event) if gate["verdict"] == Verdict.failed]
    if not gates:
        return scene.why
    lines = [f"Cause: {gate['name']}: {gate['reason']}" for gate in gates[:MAX_GATES]]
    if len(gates) > MAX_GATES:
        lines.append(f"… and {len(gates) - MAX_GATES} more.")
    return tuple(lines)


def _was_at(scene: _Scene) -> tuple[str, ...]:
    before = _Scene(replace(scene.event, after=scene.event.before), scene.spec)
    phase, run = before.event.after.get("phase"), before.event.after.get("run")
    if phase in (Phase.running, Phase.paused):
        return (f"It was at {before.where}, in run {run}.",)
    return (f"It was at the top ({before.share}), in run {run}.",) if phase == Phase.soaking else ()


def gates_of(event: Event) -> list[dict[str, Any]]:
    """Return the gates that an event was written for, with their numbers."""
    gates = event.evidence.get("gates")
    return [
        {
            "name": said(str(gate.get("name", ""))),
            "verdict": said(str(gate.get("verdict", ""))),
            "reason": said(str(gate.get("reason", ""))),
            "evidence": {
                said(str(name)): number
                for name, number in dict(gate.get("evidence") or {}).items()
                if isinstance(number, int | float)
            },
        }
        for gate in (gates if isinstance(gates, list) else ())
        if isinstance(gate, dict)
    ]
