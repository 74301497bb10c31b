"""A rollout shows where it stands, what its gates say, and how far its evidence has come."""

import inspect
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from math import inf, isnan

import pytest

from gateway.compat.drift import Drift
from gateway.core.evidence import REGRESSION
from gateway.core.gates.verdict import ORDER, GateResult, Judgement, MetricRow, Verdict
from gateway.core.spec import BreakerRule, Gates, Holdback, MigrationSpec, Stage
from gateway.core.types import (
    Arm,
    MigrationState,
    Phase,
)
from gateway.metrics import GATES, REASONS, STORE_OPERATIONS, Metrics
from gateway.metrics.rollout import NOTIFIED, headroom
from gateway.store.ports import Store
from tests.support.pages import CANDIDATE, M, read, value


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(["m"])


def test_a_rollout_shows_its_share_its_stage_and_one_phase(metrics: Metrics) -> None:
    metrics.rollout(MigrationState("m"))
    metrics.rollout(MigrationState("m", phase=Phase.running, stage_index=2, weight=25_000))
    page = read(metrics.render()[0])
    assert value(page, "weight_percent", **M) == 25
    assert value(page, "stage", **M) == 2
    assert {phase: value(page, "phase", **M, phase=phase) for phase in Phase} == {
        phase: float(phase is Phase.running) for phase in Phase
    }


@pytest.mark.parametrize(
    ("phase", "percent"),
    [(Phase.completed, 100), (Phase.soaking, 98), (Phase.rolled_back, 0), (Phase.paused, 25)],
)
def test_the_share_is_what_the_phase_serves(metrics: Metrics, phase: Phase, percent: float) -> None:
    spec = MigrationSpec("m", "old", "new", ("old",), (Stage("full", 100),), holdback=Holdback(percent=2))
    metrics.rollout(MigrationState("m", phase=phase, weight=25_000, spec=spec))
    assert value(read(metrics.render()[0]), "weight_percent", **M) == percent


def test_a_rollout_shows_why_it_stands_and_since_when(metrics: Metrics) -> None:
    stopped = MigrationState("m", phase=Phase.rolled_back, reason="automatic", run=3)
    metrics.rollout(MigrationState("m", phase=Phase.paused, reason="user"))
    metrics.rollout(replace(stopped, stage_entered_at=1000.5, updated_at=2000.5))
    page = read(metrics.render()[0])
    assert {reason: value(page, "phase_reason", **M, reason=reason) for reason in REASONS} == {
        reason: float(reason == "automatic") for reason in REASONS
    }
    assert value(page, "stage_entered_timestamp_seconds", **M) == 1000.5
    assert value(page, "changed_timestamp_seconds", **M) == 2000.5


def test_every_reason_of_a_phase_has_its_label() -> None:
    table = re.search(r'reason: str.*?"""(.*?)"""', inspect.getsource(MigrationState), re.DOTALL)
    assert table is not None
    named = {word for group in re.findall(r"`([a-z_|]+)`", table[1]) for word in group.split("|")}
    assert named == REASONS


def test_a_rollout_shows_what_its_spec_asks_of_it(metrics: Metrics) -> None:
    stages = (Stage("none", 0, hold_s=60), Stage("half", 50, hold_s=7200))
    gates = Gates(breaker={"error_rate": BreakerRule(0.02, 300), "cost_ratio": BreakerRule(2, 300)})
    spec = MigrationSpec("m", "a", "b", models=("a",), stages=stages, gates=gates)
    metrics.rollout(MigrationState("m", phase=Phase.running, stage_index=1, spec=spec))
    page = read(metrics.render()[0])
    assert value(page, "stage_hold_seconds", **M) == 7200
    assert value(page, "holds_left_seconds", **M) == 7200
    assert value(page, "gate_limit", **M, gate="error_rate") == 0.02
    assert value(page, "gate_limit", **M, gate="fallback_rate") == inf, "switched off"
    assert value(page, "gate_limit", **M, gate="cost_ratio") == 2


@pytest.mark.parametrize(
    ("phase", "index", "left"),
    [
        (Phase.running, 0, 7260),
        (Phase.paused, 1, 7200),
        (Phase.running, 2, 0),
        (Phase.soaking, 2, 0),
        (Phase.rolled_back, 0, 0),
    ],
)
def test_the_holds_that_are_left_are_those_of_a_climb(
    metrics: Metrics, phase: Phase, index: int, left: float
) -> None:
    stages = (Stage("none", 0, hold_s=60), Stage("half", 50, hold_s=7200), Stage("full", 100))
    spec = MigrationSpec("m", "a", "b", models=("a",), stages=stages)
    metrics.rollout(MigrationState("m", phase=phase, stage_index=index, spec=spec))
    assert value(read(metrics.render()[0]), "holds_left_seconds", **M) == left


def test_the_end_of_a_model_is_a_time_where_it_is_known(metrics: Metrics) -> None:
    metrics.retirement("m", {Arm.control: date(2026, 11, 24), Arm.candidate: None})
    page = read(metrics.render()[0])
    ends = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
    assert value(page, "model_retires_timestamp_seconds", **M, arm="control") == ends
    assert value(page, "model_retires_timestamp_seconds", **CANDIDATE) == inf


def judged(*gates: GateResult, metrics: tuple[MetricRow, ...] = ()) -> dict[str, Judgement]:
    return {"m": Judgement(gates, metrics)}


def said(gate: str, verdict: Verdict, **evidence: float) -> GateResult:
    return GateResult(gate, verdict, "because", evidence)


def compared(name: str, evidence: float, ratio: float | None = 1.1) -> MetricRow:
    return MetricRow(name, 0.02, 0.022, ratio, 0.9, 1.3, 1.25, evidence, 500, 500, Verdict.passed)


def test_every_gate_has_its_label() -> None:
    assert set(ORDER) == GATES


def test_a_gate_shows_one_verdict(metrics: Metrics) -> None:
    metrics.gates(judged(said("error_rate", Verdict.inconclusive)))
    metrics.gates(judged(said("error_rate", Verdict.failed)))
    page = read(metrics.render()[0])
    assert value(page, "gate_verdict", **M, gate="error_rate", verdict="fail") == 1
    assert value(page, "gate_verdict", **M, gate="error_rate", verdict="inconclusive") == 0


def test_what_is_judged_no_more_has_no_verdict(metrics: Metrics) -> None:
    metrics.gates(judged(said("error_rate", Verdict.failed, value=2, max=1), said("hold", Verdict.passed)))
    metrics.gates(judged(said("hold", Verdict.passed)))
    page = read(metrics.render()[0])
    assert value(page, "gate_verdict", **M, gate="error_rate", verdict="fail") == 0
    assert value(page, "gate_headroom", **M, gate="error_rate") == 0
    assert value(page, "gate_verdict", **M, gate="hold", verdict="pass") == 1
    metrics.gates({})
    assert value(read(metrics.render()[0]), "gate_verdict", **M, gate="hold", verdict="pass") == 0


def test_a_comparison_shows_its_ratio_and_how_far_its_evidence_has_come(metrics: Metrics) -> None:
    rows = (compared("error", 0.4), compared("cost", 0.9, ratio=None))
    metrics.gates(judged(said("error", Verdict.passed), said("cost", Verdict.passed), metrics=rows))
    page = read(metrics.render()[0])
    assert value(page, "evidence", **M, metric="error") == 0.4
    assert value(page, "metric_ratio", **M, metric="error") == 1.1
    assert value(page, "gate_headroom", **M, gate="error") == 0.4
    assert value(page, "gate_headroom", **M, gate="cost") == 0, "it only holds"
    ratio = value(page, "metric_ratio", **M, metric="cost")
    assert ratio is not None
    assert isnan(ratio), "nothing to compare"


def test_a_comparison_that_is_over_leaves_no_evidence(metrics: Metrics) -> None:
    metrics.gates(judged(said("error", Verdict.passed), metrics=(compared("error", 0.4),)))
    metrics.gates({})
    page = read(metrics.render()[0])
    assert value(page, "evidence", **M, metric="error") == 0
    assert value(page, "gate_headroom", **M, gate="error") == 0
    assert isnan(value(page, "metric_ratio", **M, metric="error") or 0)


def test_of_all_checks_the_one_that_has_come_farthest_stands_for_quality(metrics: Metrics) -> None:
    rows = (
        compared("check:a", 0.1),
        compared("check:b", 0.7, 3),
        compared("min:b", 0.5),
        compared(REGRESSION, 0.2),
    )
    metrics.gates(judged(said("quality", Verdict.passed), metrics=rows))
    page = read(metrics.render()[0])
    assert value(page, "evidence", **M, metric="quality") == 0.7
    assert value(page, "metric_ratio", **M, metric="quality") == 3
    assert value(page, "gate_headroom", **M, gate="quality") == 0.7
    assert value(page, "evidence", **M, metric="other") is None


@pytest.mark.parametrize(
    ("gate", "near"),
    [
        (said("error_rate", Verdict.passed, value=0.04, max=0.05), 0.8),
        (said("error_rate", Verdict.failed, value=0.1, max=0.05), 2),
        (said("quality_issues", Verdict.passed, value=0, max=0), 0),
        (said("quality_issues", Verdict.failed, value=1, max=0), 1),
    ],
)
def test_a_breaker_is_as_near_to_its_limit_as_its_value(gate: GateResult, near: float) -> None:
    assert dict(headroom(Judgement((gate,)))) == {gate.name: pytest.approx(near)}


@pytest.mark.parametrize("verdict", [Verdict.inconclusive, Verdict.error])
def test_a_breaker_that_could_not_be_judged_is_near_nothing(verdict: Verdict) -> None:
    one_of_one = said("error_rate", verdict, value=1, max=0.05)
    assert dict(headroom(Judgement((one_of_one,)))) == {}


def test_a_stage_shows_how_long_it_has_been_watched(metrics: Metrics) -> None:
    metrics.watched({"m": 90.5})
    assert value(read(metrics.render()[0]), "watched_seconds", **M) == 90.5
    metrics.watched({})
    assert value(read(metrics.render()[0]), "watched_seconds", **M) == 0


def test_notifications_are_counted_by_what_became_of_them(metrics: Metrics) -> None:
    metrics.notification("failed")
    metrics.notification("failed")
    metrics.notification("delivered")
    page = read(metrics.render()[0])
    counts = {each: value(page, "notifications_total", result=each) for each in NOTIFIED}
    assert counts == {"delivered": 1, "failed": 2, "given_up": 0}


def test_drift_is_shown_by_model_and_field_while_it_lasts(metrics: Metrics) -> None:
    drift = Drift("a", "context_tokens", "200000", "1000000")
    metrics.catalogue(["a", "b"], [drift, Drift("b", "listed", "active", "not listed")], 1000.0)
    page = read(metrics.render()[0])
    assert value(page, "catalogue_drift", model="a", field="context_tokens") == 1
    assert value(page, "catalogue_drift", model="b", field="listed") == 1
    assert value(page, "catalogue_compared_timestamp_seconds") == 1000
    metrics.catalogue(["a", "b"], [drift], 2000.0)
    page = read(metrics.render()[0])
    assert value(page, "catalogue_drift", model="a", field="context_tokens") == 1
    assert value(page, "catalogue_drift", model="b", field="listed") == 0


def test_models_without_a_row_share_one_series(metrics: Metrics) -> None:
    for names in (("new-1", "new-2"), ("new-2",)):
        metrics.catalogue(["a"], [Drift(name, "listed", "", "") for name in names], 1.0)
        body = metrics.render()[0]
        assert b"new-" not in body
        assert value(read(body), "catalogue_drift", model="other", field="listed") == 1
    metrics.catalogue(["a"], [], 0.0)
    assert value(read(metrics.render()[0]), "catalogue_drift", model="other", field="listed") == 0


def test_the_process_shows_what_it_obeys_and_whether_it_leads(metrics: Metrics) -> None:
    metrics.snapshot(7, 0.25)
    metrics.backlog(3)
    metrics.leader(True)
    page = read(metrics.render()[0])
    assert (value(page, "snapshot_version"), value(page, "snapshot_age_seconds")) == (7, 0.25)
    assert value(page, "store_backlog") == 3
    assert value(page, "leader") == 1
    metrics.leader(False)
    assert value(read(metrics.render()[0]), "leader") == 0


def test_every_operation_of_a_store_has_its_label() -> None:
    operations = {
        name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")
    }
    assert operations == STORE_OPERATIONS
