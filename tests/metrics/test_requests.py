"""A request is counted under its arm, with who answered, what it cost and how good it was."""

import re
from pathlib import Path

import pytest

import gateway.compat
from gateway.core.types import (
    Arm,
    Change,
    FallbackCause,
    Outcome,
    Reason,
    RewriteClass,
)
from gateway.core.usage import Usage
from gateway.metrics import ITEMS, RULES, Metrics
from gateway.metrics.requests import CHECKED
from tests.support.pages import CANDIDATE, M, read, value


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


def test_answers_are_counted_by_how_good_they_were(metrics: Metrics) -> None:
    metrics.check("m", Arm.candidate, "passed", 3)
    metrics.check("m", Arm.candidate, "failed")
    metrics.feedback("m", "issue")
    page = read(metrics.render()[0])
    counts = {each: value(page, "checks_total", **CANDIDATE, result=each) for each in CHECKED}
    assert counts == {"passed": 3, "failed": 1, "dropped": 0}
    assert value(page, "feedback_total", **M, kind="issue") == 1
    assert value(page, "feedback_total", **M, kind="rating") == 0


def test_requests_in_flight_come_and_go(metrics: Metrics) -> None:
    metrics.entered()
    metrics.entered()
    metrics.left()
    assert value(read(metrics.render()[0]), "in_flight") == 1


def test_streams_are_counted_while_they_last(metrics: Metrics) -> None:
    with metrics.streaming():
        assert value(read(metrics.render()[0]), "streams") == 1
    assert value(read(metrics.render()[0]), "streams") == 0


def test_items_of_batches_are_counted_by_what_becomes_of_them(metrics: Metrics) -> None:
    metrics.batch_items("m", Arm.candidate, "assigned", 7)
    metrics.batch_items("m", Arm.candidate, "errored", 1)
    metrics.batch_items("m", Arm.candidate, "from 2031", 2)
    page = read(metrics.render()[0])
    told = {each: value(page, "batch_items_total", **CANDIDATE, result=each) for each in (*ITEMS, "other")}
    assert told == dict.fromkeys(ITEMS, 0) | {"assigned": 7, "errored": 1, "other": 2}
    assert value(page, "batch_items_total", migration="m", arm="control", result="assigned") == 0


def test_every_rule_of_compat_has_its_label() -> None:
    compat = Path(gateway.compat.__file__).parent.rglob("*.py")
    naming = re.compile(r"""(?:\bnote|\bChange|\b_obstacle)\(\s*"(\w+)\"""")
    named = {rule for module in compat for rule in naming.findall(module.read_text("utf-8"))}
    assert named
    assert named <= RULES
