"""One migration as the admin API shows it: the status object and its parts, built from facts without any I/O.

The names are those of the public interface. Times are seconds since the epoch; what is not known because
the store is away is null, never a made-up number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import Decision, GateResult, Judgement, MetricRow
from gateway.core.rollout import served_percent
from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm, Event, MigrationState, Phase
from gateway.store.ports import ReplicaReport

WATCHED = frozenset({Phase.running, Phase.paused, Phase.soaking})
"""Phases in which gates are judged: a pause stops advances only."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """Where on the ramp the migration stands."""

    index: int
    name: str
    percent: float
    """What the stage asks for; a weight set by hand may differ."""
    entered_at: float | None
    hold_until: float | None
    """Earliest end of the stage's hold, if it is watched from now on; null while nothing is counted down."""


@dataclass(frozen=True, slots=True)
class StageOutline:
    """One stage of the ramp, as it is configured."""

    name: str
    percent: float
    hold_s: float
    min_units: int
    approval: bool


@dataclass(frozen=True, slots=True)
class Approval:
    """Whether somebody must approve leaving this stage, and who has."""

    needed: bool
    by: str | None = None
    at: float | None = None
    waiting_since: float | None = None
    """When everything else was green; null unless it is the approval alone that is waited for."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Units that the run has enrolled in each arm."""

    control: int
    candidate: int


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """How many processes should obey the present state, how many said that they do, and who has not."""

    expected: int
    acknowledged: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The status object."""

    name: str
    control: str
    candidate: str
    phase: Phase
    reason: str
    stage: StageStatus
    weight_percent: float
    """The candidate's share that the phase serves."""
    run: int
    version: int
    epoch: int
    config_drift: bool
    """The file differs from the run's own copy; the next run will take the file."""
    decision: Decision
    """What the gates say, whoever acts on it."""
    summary: str
    """Where it stands and what it waits for, in one sentence."""
    watched_s: float | None
    """How much of the stage's hold is over: paused time and time in which nobody led do not count."""
    next_check_at: float | None
    gates: tuple[GateResult, ...]
    metrics: tuple[MetricRow, ...]
    approval: Approval
    enrolled: Enrolled | None
    cost_microusd: Mapping[Arm, int] | None
    """What the run has cost so far in each arm; null before the first run."""
    replicas: ReplicaCount
    updated_at: float
    updated_by: str
    store_available: bool
    """False: this is what the answering process obeys, as last agreed on."""
    stages: tuple[StageOutline, ...] = ()
    """The whole ramp, as the run goes by it."""
    last_candidate_request: Mapping[str, float | None] | None = None
    """In the answer to a rollback: replica → when it last sent a request to the candidate, null if never."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one migration at one moment."""

    state: MigrationState
    file_spec: MigrationSpec | None
    """None: the file has gone."""
    replicas: ReplicaCount
    now: float = 0.0
    picture: Picture | None = None
    """None: there has been no run, or the store is away."""
    judgement: Judgement = field(default_factory=Judgement)
    next_check_at: float | None = None
    store_available: bool = True


class Acknowledgements(Protocol):
    """Who should obey a state, and who said so; ids of processes."""

    @property
    def expected(self) -> tuple[str, ...]: ...

    @property
    def acknowledged(self) -> tuple[str, ...]: ...

    @property
    def missing(self) -> tuple[str, ...]: ...

    @property
    def candidate_sent_at(self) -> Mapping[str, float]:
        """Replica → when it last sent a request to the candidate; 0: never."""
        ...


def describe(facts: Facts, spec: MigrationSpec) -> Status:
    """Return the status object; `spec` is what the migration goes by (the run's copy, else the file's)."""
    state, judgement = facts.state, facts.judgement
    watched = state.phase in WATCHED
    return Status(
        name=state.name,
        control=spec.control,
        candidate=spec.candidate,
        phase=state.phase,
        reason=state.reason,
        stage=stage_of(facts, spec),
        weight_percent=served_percent(state),
        run=state.run,
        version=state.version,
        epoch=state.epoch,
        config_drift=state.spec is not None and state.spec != facts.file_spec,
        decision=decision_of(facts),
        summary=sentence(facts, spec),
        watched_s=watched_of(facts),
        next_check_at=facts.next_check_at if watched else None,
        gates=judgement.gates if watched else (),
        metrics=judgement.metrics if watched else (),
        approval=approval_of(state, spec),
        enrolled=enrolled_of(facts),
        cost_microusd=cost_of(facts.picture),
        replicas=facts.replicas,
        updated_at=state.updated_at,
        updated_by=state.updated_by,
        store_available=facts.store_available,
        stages=tuple(
            StageOutline(stage.name, stage.percent, stage.hold_s, stage.min_units, stage.approval)
            for stage in spec.stages
        ),
    )


def decision_of(facts: Facts) -> Decision:
    """Return what the gates say; where they should speak and cannot, nothing can be concluded."""
    if facts.state.phase not in WATCHED:
        return "none"
    return facts.judgement.decision if facts.picture is not None else "inconclusive"


def stage_of(facts: Facts, spec: MigrationSpec) -> StageStatus:
    """Return the stage; in soaking and completed it is the last one."""
    state, watched_s = facts.state, watched_of(facts)
    past_the_ramp = state.phase in (Phase.soaking, Phase.completed)
    index = len(spec.stages) - 1 if past_the_ramp else min(state.stage_index, len(spec.stages) - 1)
    stage = spec.stages[index]
    entered_at = state.stage_entered_at if state.phase is not Phase.draft else None
    counting = state.phase is Phase.running and stage.hold_s > 0 and watched_s is not None
    hold_until = facts.now + max(0.0, stage.hold_s - (watched_s or 0.0)) if counting else None
    return StageStatus(index, stage.name, stage.percent, entered_at, hold_until)


def watched_of(facts: Facts) -> float | None:
    """Return how long the present entry has been watched; None where nothing is, or it is not known."""
    watched = facts.picture is not None and facts.state.phase in WATCHED
    return facts.picture.evidence.watched_s if facts.picture is not None and watched else None


def approval_of(state: MigrationState, spec: MigrationSpec) -> Approval:
    """Return what the present stage needs to be left, and has."""
    on_the_ramp = state.phase in (Phase.running, Phase.paused)
    if not on_the_ramp or not spec.stages[min(state.stage_index, len(spec.stages) - 1)].approval:
        return Approval(needed=False)
    waits = state.phase is Phase.paused and state.reason == "approval"
    since = state.updated_at if waits else None
    if not state.approved_by:
        return Approval(needed=True, waiting_since=since)
    return Approval(needed=True, by=state.approved_by, at=state.approved_at)


def enrolled_of(facts: Facts) -> Enrolled | None:
    """Return how many units each arm has; None if that is not known."""
    if facts.picture is None:
        return Enrolled(0, 0) if facts.store_available and not facts.state.run else None
    units = facts.picture.enrolled
    return Enrolled(units.get(Arm.control, 0), units.get(Arm.candidate, 0))


def cost_of(picture: Picture | None) -> dict[Arm, int] | None:
    """Return what each arm's answers have cost in the run; None if that is not known."""
    if picture is None or not picture.state.run or picture.unmeasured:
        return None
    return {arm: totals.cost_microusd for arm, totals in picture.run.arms.items()}


def sentence(facts: Facts, spec: MigrationSpec) -> str:
    """Say where the migration stands, and while it is judged, what it waits for or what stops it."""
    state = facts.state
    if state.phase in WATCHED:
        share = f"{state.phase.value} at {served_percent(state):g} %"
        if not facts.store_available:
            return f"{share}: the store is away, so nothing advances"
        return facts.judgement.reason or share
    match state.phase:
        case Phase.draft:
            return "not started: everybody is on control"
        case Phase.completed:
            return f"completed: everybody is on {spec.candidate}"
    leaving = ", conversations that began on the candidate may finish there" if state.draining else ""
    why = f" - {state.cause}" if state.cause else ""
    return f"rolled back ({state.reason}): everybody is on control{leaving}{why}"


def count_acknowledged(reports: Iterable[ReplicaReport], state: MigrationState) -> ReplicaCount:
    """Return who among the living obeys `state`, by their heartbeats."""
    obeying = {report.id: report.versions.get(state.name, (0, 0)) >= state.order for report in reports}
    missing = tuple(sorted(replica for replica, obeys in obeying.items() if not obeys))
    return ReplicaCount(len(obeying), len(obeying) - len(missing), missing)


def counted(acks: Acknowledgements) -> ReplicaCount:
    """Return acknowledgements as numbers, and the names of those that are missing."""
    return ReplicaCount(len(acks.expected), len(acks.acknowledged), tuple(acks.missing))


def alone(replica_id: str, known: Iterable[str]) -> ReplicaCount:
    """Return what can be said without a store: this process obeys, of the others nothing is known."""
    others = sorted(set(known) - {replica_id})
    return ReplicaCount(len(others) + 1, 1, tuple(others))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a first message from a unit would get now, and why."""

    migration: str
    unit: str
    arm: Arm
    reason: str
    bucket: int | None
    """The unit's place on the line of 100 000 points in this run; null before the first run."""
    rung: str
    """The rung of the unit ladder that `unit` is taken to come from."""
    enrolled: bool
    record: Arm | None
    """The arm that the unit was enrolled in during this run, if the store knows one."""
    phase: Phase
    run: int
    weight_percent: float


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One serving process."""

    id: str
    versions: dict[str, tuple[int, int]]
    """Migration → (epoch, version) that the process obeys."""
    snapshot_version: int
    snapshot_age_s: float
    leader: bool
    in_flight: int
    heartbeat_age_s: float
    started_at: float
    gateway_version: str
    candidate_sent_at: dict[str, float] = field(default_factory=dict)
    """Migration → when this process last sent a request to its candidate; missing: it has not since it began.
    """


def replica_status(report: ReplicaReport, now: float) -> ReplicaStatus:
    """Return a heartbeat as the admin API shows it."""
    return ReplicaStatus(
        id=report.id,
        versions={name: (epoch, version) for name, (epoch, version) in report.versions.items()},
        snapshot_version=sum(version for _, version in report.versions.values()),
        snapshot_age_s=report.snapshot_age_s,
        leader=report.leader,
        in_flight=report.in_flight,
        heartbeat_age_s=max(0.0, now - report.at),
        started_at=report.started_at,
        gateway_version=report.gateway_version,
        candidate_sent_at=dict(report.candidate_sent_at),
    )


@dataclass(frozen=True, slots=True)
class Incident:
    """One rollback: what caused it, and what it was judged on."""

    id: int
    """The seq of its event in the audit log."""
    migration: str
    at: float
    by: str
    cause: str
    """`automatic`, `user` or `emergency`."""
    reason: str
    run: int
    evidence: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]


def incidents_of(migration: str, events: Iterable[Event]) -> list[Incident]:
    """Return one incident per event that took a migration from serving to rolled back, oldest first."""
    return [
        Incident(
            id=event.seq,
            migration=migration,
            at=event.at,
            by=event.by,
            cause=str(event.after.get("reason", "")),
            reason=event.reason,
            run=int(event.after.get("run", 0)),
            evidence=event.evidence,
            before=event.before,
            after=event.after,
        )
        for event in events
        if event.after.get("phase") == Phase.rolled_back and event.before.get("phase") != Phase.rolled_back
    ]
