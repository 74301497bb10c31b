"""Every series has a closed set of labels; counters begin at zero, and what is gone is at rest."""

from datetime import date
from math import inf

import pytest

from gateway.core.gates.verdict import GateResult, Judgement, Verdict
from gateway.core.types import (
    Arm,
    Change,
    MigrationState,
    Outcome,
    Phase,
    Reason,
    RewriteClass,
)
from gateway.metrics import Metrics
from tests.support.pages import M, read, value


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(["m"])


def test_counters_begin_at_zero_so_that_the_first_event_is_an_increase(metrics: Metrics) -> None:
    metrics.configured(["m", "n"])
    page = read(metrics.render()[0])
    for name in ("m", "n"):
        rescue = {"migration": name, "arm": "candidate", "served": "control"}
        assert value(page, "requests_total", **rescue, outcome="refused") == 0
        assert value(page, "cost_usd_total", **rescue) == 0
        assert value(page, "fallbacks_total", migration=name, cause="timeout") == 0
        assert value(page, "checks_total", migration=name, arm="control", result="failed") == 0
        assert value(page, "feedback_total", migration=name, kind="issue") == 0
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
    metrics.gates({"m": Judgement((GateResult(strange, Verdict.passed, ""),))})
    metrics.feedback("m", strange)
    body, _ = metrics.render()
    assert strange.encode() not in body
    assert value(read(body), "assignments_total", migration="other", reason="bucket") == 1


def test_however_many_strange_values_come_they_are_one_series(metrics: Metrics) -> None:
    for number in range(100):
        metrics.store_error(f"operation-{number}")
    page = read(metrics.render()[0])
    assert [page[key] for key in page if key[0] == "store_errors_total" and page[key]] == [100]
