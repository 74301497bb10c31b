"""Every series has a closed set of labels, and says what happened."""

import inspect
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from math import inf
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import gateway.compat
from gateway.compat.drift import Drift
from gateway.core.gates.verdict import Verdict
from gateway.core.spec import BreakerRule, Gates, Holdback, MigrationSpec, Stage
from gateway.core.types import (
    Arm,
    Change,
    FallbackCause,
    MigrationState,
    Outcome,
    Phase,
    Reason,
    RewriteClass,
)
from gateway.core.usage import Usage
from gateway.metrics import ITEMS, REASONS, RULES, STORE_OPERATIONS, Metrics
from gateway.store.ports import Store

Page = dict[tuple[str, frozenset[tuple[str, str]]], float]
M = {"migration": "m"}
CANDIDATE = {"migration": "m", "arm": "candidate"}


def read(page: bytes) -> Page:
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name.removeprefix("gateway_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(page: Page, name: str, **labels: str) -> float | None:
    return page.get((name, frozenset(labels.items())))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(["m"])


def test_a_request_is_booked_to_its_arm_and_names_who_answered(metrics: Metrics) -> None:
    metrics.request("m", Arm.candidate, Arm.control, Outcome.ok, duration_s=1.5)
    page = read(metrics.render()[0])
    assert value(page, "requests_total", **CANDIDATE, served="control", outcome="ok") == 1
    assert value(page, "request_duration_seconds_sum", **CANDIDATE) == 1.5
    assert value(page, "request_duration_seconds_bucket", **CANDIDATE, le="1.0") == 0
    assert value(page, "request_duration_seconds_bucket", **CANDIDATE, le="2.5") == 1


def test_times_are_kept_for_calls_of_minutes_and_overheads_of_microseconds(metrics: Metrics) -> None:
    metrics.first_token("m", Arm.candidate, 400)
    metrics.overhead("m", Arm.candidate, 0.0002)
    page = read(metrics.render()[0])
    assert value(page, "time_to_first_token_seconds_bucket", **CANDIDATE, le="300.0") == 0
    assert value(page, "time_to_first_token_seconds_bucket", **CANDIDATE, le="600.0") == 1
    assert value(page, "overhead_seconds_bucket", **CANDIDATE, le="0.0001") == 0
    assert value(page, "overhead_seconds_bucket", **CANDIDATE, le="0.00025") == 1


def test_tokens_are_counted_by_kind_and_cost_in_dollars(metrics: Metrics) -> None:
    usage = Usage(1, 20, 300, 4000, 50_000, 6)
    for _ in range(2):
        metrics.usage("m", Arm.candidate, Arm.candidate, usage, 1_250_000)
    metrics.usage("m", Arm.candidate, Arm.candidate, Usage(input_tokens=1), None)
    page = read(metrics.render()[0])
    kinds = {"input": 3, "output": 40, "cache_read": 600, "cache_write": 108_000, "thinking": 12}
    for kind, count in kinds.items():
        assert value(page, "tokens_total", **CANDIDATE, served="candidate", kind=kind) == count
    assert value(page, "cost_usd_total", **CANDIDATE, served="candidate") == 2.5


def test_what_else_happens_to_a_request_has_its_counter(metrics: Metrics) -> None:
    metrics.assignment("m", Reason.bucket)
    metrics.fallback("m", FallbackCause.overloaded)
    metrics.rewrite("m", Change("sampling", RewriteClass.emulated, "dropped"))
    metrics.unservable("m", "forced_tool")
    metrics.passthrough(Outcome.upstream_error)
    metrics.store_error("recall")
    page = read(metrics.render()[0])
    assert value(page, "assignments_total", **M, reason="bucket") == 1
    assert value(page, "fallbacks_total", **M, cause="overloaded") == 1
    assert value(page, "rewrites_total", **M, **{"rule": "sampling", "class": "E"}) == 1
    assert value(page, "unservable_total", **M, rule="forced_tool") == 1
    assert value(page, "passthrough_total", outcome="upstream_error") == 1
    assert value(page, "store_errors_total", operation="recall") == 1


def test_requests_in_flight_come_and_go(metrics: Metrics) -> None:
    metrics.entered()
    metrics.entered()
    metrics.left()
    assert value(read(metrics.render()[0]), "in_flight") == 1


def test_streams_are_counted_while_they_last(metrics: Metrics) -> None:
    with metrics.streaming():
        assert value(read(metrics.render()[0]), "streams") == 1
    assert value(read(metrics.render()[0]), "streams") == 0


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
    assert value(page, "gate_limit", **M, gate="error_rate") == 0.02
    assert value(page, "gate_limit", **M, gate="fallback_rate") == inf, "switched off"
    assert value(page, "gate_limit", **M, gate="cost_ratio") is None, "not judged"


def test_the_end_of_a_model_is_a_time_where_it_is_known(metrics: Metrics) -> None:
    metrics.retirement("m", {Arm.control: date(2026, 11, 24), Arm.candidate: None})
    page = read(metrics.render()[0])
    ends = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
    assert value(page, "model_retires_timestamp_seconds", **M, arm="control") == ends
    assert value(page, "model_retires_timestamp_seconds", **CANDIDATE) == inf


def test_items_of_batches_are_counted_by_what_becomes_of_them(metrics: Metrics) -> None:
    metrics.batch_items("m", Arm.candidate, "assigned", 7)
    metrics.batch_items("m", Arm.candidate, "errored", 1)
    metrics.batch_items("m", Arm.candidate, "from 2031", 2)
    page = read(metrics.render()[0])
    told = {each: value(page, "batch_items_total", **CANDIDATE, result=each) for each in (*ITEMS, "other")}
    assert told == dict.fromkeys(ITEMS, 0) | {"assigned": 7, "errored": 1, "other": 2}
    assert value(page, "batch_items_total", migration="m", arm="control", result="assigned") == 0


def test_counters_begin_at_zero_so_that_the_first_event_is_an_increase(metrics: Metrics) -> None:
    metrics.configured(["m", "n"])
    page = read(metrics.render()[0])
    for name in ("m", "n"):
        rescue = {"migration": name, "arm": "candidate", "served": "control"}
        assert value(page, "requests_total", **rescue, outcome="refused") == 0
        assert value(page, "cost_usd_total", **rescue) == 0
        assert value(page, "fallbacks_total", migration=name, cause="timeout") == 0
        assert value(page, "assignments_total", migration=name, reason="bucket") == 0
    assert value(page, "store_errors_total", operation="commit") == 0
    assert value(page, "passthrough_total", outcome="ok") == 0


def test_a_migration_that_left_the_configuration_is_shown_at_rest(metrics: Metrics) -> None:
    metrics.rollout(MigrationState("m", phase=Phase.running, weight=25_000))
    metrics.retirement("m", {Arm.control: date(2026, 11, 24)})
    metrics.configured(["n"])
    metrics.assignment("n", Reason.bucket)
    page = read(metrics.render()[0])
    assert value(page, "weight_percent", **M) == 0
    assert value(page, "phase", **M, phase="running") == 0
    assert value(page, "model_retires_timestamp_seconds", **M, arm="control") == inf
    assert value(page, "assignments_total", migration="n", reason="bucket") == 1


def test_a_gate_shows_one_verdict(metrics: Metrics) -> None:
    metrics.gates({"m": {"error_rate": Verdict.inconclusive}})
    metrics.gates({"m": {"error_rate": Verdict.failed}})
    page = read(metrics.render()[0])
    assert value(page, "gate_verdict", **M, gate="error_rate", verdict="fail") == 1
    assert value(page, "gate_verdict", **M, gate="error_rate", verdict="inconclusive") == 0


def test_what_is_judged_no_more_has_no_verdict(metrics: Metrics) -> None:
    metrics.gates({"m": {"error_rate": Verdict.failed, "fallback_rate": Verdict.passed}})
    metrics.gates({"m": {"fallback_rate": Verdict.passed}})
    page = read(metrics.render()[0])
    assert value(page, "gate_verdict", **M, gate="error_rate", verdict="fail") == 0
    assert value(page, "gate_verdict", **M, gate="fallback_rate", verdict="pass") == 1
    metrics.gates({})
    assert value(read(metrics.render()[0]), "gate_verdict", **M, gate="fallback_rate", verdict="pass") == 0


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


def test_the_build_is_named(metrics: Metrics) -> None:
    ((labels, one),) = [
        (dict(key[1]), one) for key, one in read(metrics.render()[0]).items() if key[0] == "build_info"
    ]
    assert one == 1
    assert labels.keys() == {"version", "python"}


def test_the_page_is_prometheus_text_without_noise(metrics: Metrics) -> None:
    metrics.request("m", Arm.control, Arm.control, Outcome.ok, duration_s=1)
    body, content_type = metrics.render()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"_created" not in body


def test_whatever_is_not_in_a_labels_set_is_other(metrics: Metrics) -> None:
    strange = "user-4711"
    metrics.assignment(strange, Reason.bucket)
    metrics.rewrite("m", Change(strange, RewriteClass.lossless, ""))
    metrics.unservable("m", strange)
    metrics.store_error(strange)
    metrics.gates({"m": {strange: Verdict.passed}})
    body, _ = metrics.render()
    assert strange.encode() not in body
    assert value(read(body), "assignments_total", migration="other", reason="bucket") == 1


def test_however_many_strange_values_come_they_are_one_series(metrics: Metrics) -> None:
    for number in range(100):
        metrics.store_error(f"operation-{number}")
    page = read(metrics.render()[0])
    assert [page[key] for key in page if key[0] == "store_errors_total" and page[key]] == [100]


def test_every_operation_of_a_store_has_its_label() -> None:
    operations = {
        name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")
    }
    assert operations == STORE_OPERATIONS


def test_every_rule_of_compat_has_its_label() -> None:
    compat = Path(gateway.compat.__file__).parent.rglob("*.py")
    naming = re.compile(r"""(?:\bnote|\bChange|\b_obstacle)\(\s*"(\w+)\"""")
    named = {rule for module in compat for rule in naming.findall(module.read_text("utf-8"))}
    assert named
    assert named <= RULES
