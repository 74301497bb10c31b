"""What a run did, read back from its audit log: each weight that it served, how long, and how that ended."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.control.papers.facts import Facts
from gateway.core.spec import MigrationSpec
from gateway.core.types import Event, Phase

_RAMP = frozenset({Phase.running.value, Phase.paused.value})


@dataclass(frozen=True, slots=True)
class Visit:
    """One weight that a run served without a change."""

    stage: int
    phase: str
    """`running` for a stage, whether it was paused or not; else `soaking`, `completed` or `rolled_back`."""
    percent: float
    since: float
    by: str
    verb: str
    """What led here, and who."""
    until: float | None = None
    """None: it goes on."""
    ended_by: str = ""
    """The verb."""
    paused_s: float = 0.0
    paused_at: float | None = None
    """Since when the pause lasts that goes on."""

    def lasted_s(self, now: float) -> float:
        """Return how long it lasted, pauses included."""
        return (self.until if self.until is not None else now) - self.since

    def ran_s(self, now: float) -> float:
        """Return how long it lasted, pauses left out."""
        pausing = (self.until or now) - self.paused_at if self.paused_at is not None else 0.0
        return self.lasted_s(now) - self.paused_s - pausing


def visits(events: Iterable[Event]) -> list[Visit]:
    """Return what the events of one run tell, oldest first."""
    told: list[Visit] = []
    for event in events:
        if "phase" not in event.after:
            continue
        phase = str(event.after["phase"])
        kind = Phase.running.value if phase in _RAMP else phase
        stage, percent = int(event.after.get("stage", 0)), float(event.after.get("weight_percent", 0.0))
        last = told[-1] if told else None
        if last is not None and (last.phase, last.stage, last.percent) == (kind, stage, percent):
            told[-1] = _paused(last, phase, event.at)
            continue
        if last is not None:
            told[-1] = replace(_paused(last, kind, event.at), until=event.at, ended_by=event.verb)
        visit = Visit(stage, kind, percent, event.at, event.by, event.verb)
        told.append(_paused(visit, phase, event.at))
    return told


def _paused(visit: Visit, phase: str, at: float) -> Visit:
    if phase == Phase.paused and visit.paused_at is None:
        return replace(visit, paused_at=at)
    if phase != Phase.paused and visit.paused_at is not None:
        return replace(visit, paused_s=visit.paused_s + at - visit.paused_at, paused_at=None)
    return visit


def name_of(visit: Visit, spec: MigrationSpec | None) -> str:
    """Return what people call it: the stage's name, where the run's configuration is still known."""
    if visit.phase != Phase.running:
        return visit.phase.replace("_", " ")
    if spec is not None and visit.stage < len(spec.stages):
        return spec.stages[visit.stage].name
    return f"stage {visit.stage + 1}"


def spec_of(facts: Facts, run: int) -> MigrationSpec | None:
    """Return a run's own configuration; only that of the last one is kept."""
    return facts.state.spec if run == facts.state.run else None
