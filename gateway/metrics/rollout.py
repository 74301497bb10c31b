"""What is shown of rollouts: where each stands, what the leader says of it, and how the fleet is."""

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Literal

from gateway.compat.drift import FIELDS, Drift
from gateway.core.evidence import REGRESSION
from gateway.core.gates.verdict import (
    BREAKERS,
    FAILURES,
    MEANS,
    ORDER,
    ROLLS_BACK,
    Judgement,
    MetricRow,
    Verdict,
)
from gateway.core.rollout import served_percent
from gateway.core.types import Arm, MigrationState, Phase
from gateway.metrics.requests import ARMS
from gateway.series import OTHER, Merge, Page

GATES = frozenset(ORDER)
QUALITY = "quality"
"""Stands for all checks of a migration: the one that has come farthest is shown."""
_OF_CHECKS = ("check:", "min:", REGRESSION)
"""How the comparisons behind it are called."""
COMPARED = frozenset({*FAILURES, *MEANS, QUALITY})
"""What both arms are compared by."""
REASONS = frozenset({"user", "inconclusive", "approval", "freeze", "no_data", "automatic", "emergency"})
"""Why a migration is paused or was rolled back."""
NOTIFIED = frozenset({"delivered", "failed", "given_up"})
"""`failed`: tried in vain, and tried again; `given_up`: not any more."""
STORE_OPERATIONS = frozenset({
    "acquire_lease", "append", "changed", "claim", "close", "commit", "counts", "deregister", "document",
    "documents", "enrolled", "events", "load", "next_epoch", "open", "put_counts", "put_document",
    "put_tally", "raise_epoch", "read_notes", "recall", "release_lease", "remember", "renew_lease",
    "replicas", "report", "restore", "secret", "tallies", "write_notes",
})  # fmt: skip


class RolloutSeries:
    """The series that the controller and the replica write."""

    def _make_rollout_series(self, page: Page, names: Container[str]) -> None:
        m = {"migration": names}
        self._judged: set[tuple[str, str]] = set()
        """Migration and gate of the verdicts that are shown."""
        self._rows: set[tuple[str, str]] = set()
        """Migration and metric of the comparisons that are shown."""
        self._watching: set[str] = set()
        self._models: set[str] = set()
        self._drifting: set[tuple[str, str]] = set()
        """Model and field of the differences that are shown."""
        newest: Merge = "livemostrecent"
        self._weight = page.gauge("weight_percent", "The candidate's share.", newest, **m)
        self._stage = page.gauge("stage", "Index of the stage, from 0.", newest, **m)
        self._phase = page.gauge("phase", "1 for the phase it is in.", newest, **m, phase=frozenset(Phase))
        self._reason = page.gauge(
            "phase_reason", "1 for why it is paused or rolled back.", newest, **m, reason=REASONS
        )
        self._changed = page.gauge(
            "changed_timestamp_seconds", "When its state was last written.", newest, **m
        )
        self._entered = page.gauge("stage_entered_timestamp_seconds", "When its stage began.", newest, **m)
        self._hold = page.gauge("stage_hold_seconds", "How long its stage is to last.", newest, **m)
        self._holds_left = page.gauge(
            "holds_left_seconds", "Hold times of this stage and those after it.", newest, **m
        )
        self._retires = page.gauge(
            "model_retires_timestamp_seconds",
            "When the arm's model ends; +Inf: no date.",
            newest,
            **m,
            arm=ARMS,
        )
        self._make_gate_series(page, m)
        self._make_fleet_series(page)
        self._make_catalogue_series(page)

    def _make_gate_series(self, page: Page, m: dict[str, Container[str]]) -> None:
        newest: Merge = "livemostrecent"
        gate, metric = {**m, "gate": GATES}, {**m, "metric": COMPARED}
        verdict = frozenset(Verdict)
        self._gate_verdict = page.gauge(
            "gate_verdict", "1 for what the gate says.", newest, **gate, verdict=verdict
        )
        self._gate_limit = page.gauge("gate_limit", "Above it a breaker trips; +Inf: never.", newest, **gate)
        self._headroom = page.gauge(
            "gate_headroom", "How near a gate is to its limit, 0 to 1; above, it trips.", newest, **gate
        )
        self._evidence = page.gauge(
            "evidence", "How far a comparison has come on its way to a stop, 0 to 1.", newest, **metric
        )
        self._ratio = page.gauge(
            "metric_ratio", "Candidate / control; NaN: nothing to compare.", newest, **metric
        )
        self._watched = page.gauge(
            "watched_seconds", "How long its stage has been watched while it ran.", newest, **m
        )

    def _make_fleet_series(self, page: Page) -> None:
        # A worker that lags behind must show.
        self._snapshot_version = page.gauge("snapshot_version", "State that is obeyed.", "livemin")
        self._snapshot_age = page.gauge("snapshot_age_seconds", "Since it was confirmed.", "livemax")
        self._store_errors = page.counter(
            "store_errors_total", "Store calls that failed.", operation=STORE_OPERATIONS
        )
        self._untold = page.gauge(
            "store_backlog", "Pins and records that the store has yet to be told.", "livesum"
        )
        self._leader = page.gauge("leader", "1 where the controller runs.", "livemax")
        self._notifications = page.counter(
            "notifications_total", "Notifications, by what became of them.", result=NOTIFIED
        )

    def _make_catalogue_series(self, page: Page) -> None:
        labels = {"model": self._models, "field": frozenset(FIELDS)}
        self._drift = page.gauge(
            "catalogue_drift", "1 where the vendor's list says something else.", "livemax", **labels
        )
        self._compared = page.gauge(
            "catalogue_compared_timestamp_seconds", "When it was held against that list.", "livemax"
        )

    def _begin_rollouts(self, names: Iterable[str]) -> None:
        for name in names:
            self._watched(name)
        for operation in STORE_OPERATIONS:
            self._store_errors(operation)
        for result in NOTIFIED:
            self._notifications(result)

    def rollout(self, state: MigrationState) -> None:
        """This process obeys `state` from here on."""
        name, spec = state.name, state.spec
        self._weight(name).set(served_percent(state))
        self._stage(name).set(state.stage_index)
        for phase in Phase:
            self._phase(name, phase).set(phase is state.phase)
        for reason in REASONS:
            self._reason(name, reason).set(reason == state.reason)
        self._changed(name).set(state.updated_at)
        self._entered(name).set(state.stage_entered_at)
        stages = spec.stages if spec is not None else ()
        self._hold(name).set(stages[state.stage_index].hold_s if state.stage_index < len(stages) else 0)
        climbing = state.phase in (Phase.running, Phase.paused)
        left = sum(stage.hold_s for stage in stages[state.stage_index :]) if climbing else 0
        self._holds_left(name).set(left)
        limits = spec.gates.breaker if spec is not None else {}
        for gate in BREAKERS:
            self._gate_limit(name, gate).set(limits[gate].max if gate in limits else math.inf)

    def retirement(self, migration: str, retires_on: Mapping[Arm, date | None]) -> None:
        """The catalogue says when the models of both arms end; +Inf where no date is known."""
        for arm, day in retires_on.items():
            ends = math.inf if day is None else datetime.combine(day, time(), UTC).timestamp()
            self._retires(migration, arm).set(ends)

    def gates(self, judgements: Mapping[str, Judgement]) -> None:
        """Who leads judged these migrations; what is judged no more has no verdict and no evidence."""
        verdicts = {(name, gate.name): gate for name, each in judgements.items() for gate in each.gates}
        near = {(name, gate): value for name, each in judgements.items() for gate, value in headroom(each)}
        for name, gate in self._judged | verdicts.keys():
            said = verdicts.get((name, gate))
            for verdict in Verdict:
                self._gate_verdict(name, gate, verdict).set(said is not None and said.verdict is verdict)
            self._headroom(name, gate).set(near.get((name, gate), 0))
        rows = {(name, row): value for name, each in judgements.items() for row, value in farthest(each)}
        for name, metric in self._rows | rows.keys():
            row = rows.get((name, metric))
            self._evidence(name, metric).set(0 if row is None else row.evidence)
            self._ratio(name, metric).set(math.nan if row is None or row.ratio is None else row.ratio)
        self._judged, self._rows = set(verdicts), set(rows)

    def watched(self, seconds: Mapping[str, float]) -> None:
        """Who leads has watched the present stage of these migrations for so long while it ran."""
        for name in self._watching | seconds.keys():
            self._watched(name).set(seconds.get(name, 0))
        self._watching = set(seconds)

    def notification(self, result: Literal["delivered", "failed", "given_up"]) -> None:
        """A notification was sent, or was not."""
        self._notifications(result).inc()

    def catalogue(self, model_ids: Iterable[str], drifts: Iterable[Drift], compared_at: float) -> None:
        """Who leads held the rows of these ids against the vendor's list; without a comparison there is no
        drift, and the time is 0."""
        self._models |= set(model_ids)
        drifting: set[tuple[str, str]] = {
            (each.model if each.model in self._models else OTHER, each.field) for each in drifts
        }
        for model, field in self._drifting | drifting:
            self._drift(model, field).set((model, field) in drifting)
        self._drifting = drifting
        self._compared().set(compared_at)

    def snapshot(self, version: int, age_s: float) -> None:
        """The state that this process obeys, and how long ago the store confirmed it."""
        self._snapshot_version().set(version)
        self._snapshot_age().set(age_s)

    def backlog(self, entries: int) -> None:
        """What this process remembers and the store has not been told, by now."""
        self._untold().set(entries)

    def leader(self, leads: bool) -> None:
        """This process became the controller, or no longer is."""
        self._leader().set(leads)

    def store_error(self, operation: str) -> None:
        """A call of the store failed."""
        self._store_errors(operation).inc()


def headroom(judgement: Judgement) -> Iterator[tuple[str, float]]:
    """Yield how near each gate that rolls back is to its limit: 1 or more trips it.

    Of a breaker that is the value as a part of its limit, once its window holds enough to be judged; of a
    comparison, how far the evidence has come. Gates that only hold are left out: an arm that is as good as
    the other is always near the margin within which it is tolerated.
    """
    for gate in judgement.gates:
        decided = gate.verdict in (Verdict.passed, Verdict.failed)
        if gate.name in BREAKERS and decided and {"value", "max"} <= gate.evidence.keys():
            value, limit = gate.evidence["value"], gate.evidence["max"]
            yield gate.name, value / limit if limit else float(value > 0)
    for name, row in farthest(judgement):
        if name in ROLLS_BACK:
            yield name, row.evidence


def farthest(judgement: Judgement) -> Iterator[tuple[str, MetricRow]]:
    """Yield the comparisons by metric; of all checks together, the one whose evidence has come farthest."""
    found: dict[str, MetricRow] = {}
    for row in judgement.metrics:
        name = QUALITY if row.name.startswith(_OF_CHECKS) else row.name
        if name not in found or found[name].evidence < row.evidence:
            found[name] = row
    yield from found.items()
