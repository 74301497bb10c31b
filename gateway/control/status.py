"""One migration as the admin API shows it: the status object and its parts, built from facts without any I/O.

The names are those of the public interface. Times are seconds since the epoch; what is not known because
the store is away is null, never a made-up number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.rollout import served_percent
from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm, Event, MigrationState, Phase
from gateway.store.ports import ReplicaReport

Decision = Literal["advance", "hold", "rollback", "inconclusive", "none"]

WATCHED = frozenset({Phase.running, Phase.paused, Phase.soaking})
"""Phases in which breakers are judged: a pause stops advances only."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """Where on the ramp the migration stands."""

    index: int
    name: str
    percent: float
    """What the stage asks for; a weight set by hand may differ."""
    entered_at: float | None
    hold_until: float | None
    """Earliest end of the stage; null while nothing is counted down."""


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
    next_check_at: float | None
    gates: tuple[GateResult, ...]
    metrics: tuple[dict[str, Any], ...]
    enrolled: Enrolled | None
    replicas: ReplicaCount
    updated_at: float
    updated_by: str
    store_available: bool
    """False: this is what the answering process obeys, as last agreed on."""
    last_candidate_request: Mapping[str, float | None] | None = None
    """In the answer to a rollback: replica → when it last sent a request to the candidate, null if never."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one migration at one moment."""

    state: MigrationState
    file_spec: MigrationSpec | None
    """None: the file has gone."""
    replicas: ReplicaCount
    gates: Sequence[GateResult] = ()
    enrolled: Enrolled | None = None
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
    state = facts.state
    watched = state.phase in WATCHED
    return Status(
        name=state.name,
        control=spec.control,
        candidate=spec.candidate,
        phase=state.phase,
        reason=state.reason,
        stage=stage_of(state, spec),
        weight_percent=served_percent(state),
        run=state.run,
        version=state.version,
        epoch=state.epoch,
        config_drift=state.spec is not None and state.spec != facts.file_spec,
        decision=decide(facts.gates) if watched else "none",
        next_check_at=facts.next_check_at if watched else None,
        gates=tuple(facts.gates),
        metrics=(),
        enrolled=facts.enrolled,
        replicas=facts.replicas,
        updated_at=state.updated_at,
        updated_by=state.updated_by,
        store_available=facts.store_available,
    )


def stage_of(state: MigrationState, spec: MigrationSpec) -> StageStatus:
    """Return the stage; in soaking and completed it is the last one."""
    past_the_ramp = state.phase in (Phase.soaking, Phase.completed)
    index = len(spec.stages) - 1 if past_the_ramp else min(state.stage_index, len(spec.stages) - 1)
    stage = spec.stages[index]
    entered_at = state.stage_entered_at if state.phase is not Phase.draft else None
    counting = state.phase is Phase.running and stage.hold_s > 0
    hold_until = state.stage_entered_at + stage.hold_s if counting else None
    return StageStatus(index, stage.name, stage.percent, entered_at, hold_until)


def decide(gates: Iterable[GateResult]) -> Decision:
    """Return what the breakers want; advancing is by hand."""
    return "rollback" if any(gate.verdict is Verdict.failed for gate in gates) else "hold"


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
