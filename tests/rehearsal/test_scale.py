"""The copy is the migration with its days taken out, and says what else it is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import load_migration
from gateway.core.spec import (
    BreakerRule,
    Check,
    Freeze,
    Gates,
    Lists,
    MigrationSpec,
    OnRollback,
    Stage,
)
from gateway.core.types import to_json
from gateway.demo.document import document_of
from gateway.rehearsal.scale import EXTRACTION, INTERNAL, USERS, accelerated

DAY_S = 86_400.0
STAGES = (
    Stage("internal", 0, 3 * DAY_S),
    Stage("canary", 5, 2 * DAY_S, 200, max_duration_s=9 * DAY_S, on_max_duration="rollback"),
    Stage("half", 50, 6 * DAY_S, 20, approval=True, approval_deadline_s=DAY_S),
    Stage("full", 100),
)
SPEC = MigrationSpec("m", "claude-a", "claude-b", ("claude-a",), STAGES)


def test_holds_become_seconds_and_keep_their_proportion() -> None:
    stages = accelerated(SPEC).spec.stages
    assert [stage.hold_s for stage in stages] == [1.5, 1.0, 3.0, 0.0]
    assert [stage.percent for stage in stages] == [0, 5, 50, 100]


def test_as_many_units_are_asked_for_as_a_stage_has_callers() -> None:
    stages = accelerated(SPEC).spec.stages
    assert [stage.min_units for stage in stages] == [0, 9, 20, 0]
    assert all(stage.min_units <= USERS * stage.percent / 100 / 3 for stage in stages)


def test_limits_of_time_leave_room_and_stay_what_they_were_for() -> None:
    canary, half = accelerated(SPEC).spec.stages[1:3]
    assert (canary.max_duration_s, canary.on_max_duration) == (120, "rollback")
    assert (half.approval_deadline_s, half.approval) == (120, True)


def test_what_is_short_already_stays() -> None:
    short = (Stage("a", 50, 0.5, 3), Stage("b", 100))
    assert accelerated(replace(SPEC, stages=short)).spec.stages == short


def test_windows_become_seconds_and_limits_reachable() -> None:
    breaker = accelerated(SPEC).spec.gates.breaker
    assert breaker["error_rate"] == BreakerRule(0.05, 10.0, 20, 5)
    assert breaker["latency_p95_s"] == BreakerRule(4.0, 10.0, 20)
    assert breaker["cost_ratio"] == BreakerRule(2.0, 30.0, 50)
    many = Gates(
        breaker={
            "error_rate": BreakerRule(0.05, 5.0, 1000, 500),
            "quality_issues": BreakerRule(40, 3600.0),
            "latency_p95_s": BreakerRule(0.5, 600.0, 20),
        }
    )
    breaker = accelerated(replace(SPEC, gates=many)).spec.gates.breaker
    assert breaker["error_rate"] == BreakerRule(0.05, 5.0, 50, 10)
    assert breaker["quality_issues"].max == 10
    assert breaker["latency_p95_s"].max == 0.5


def test_a_cheap_candidate_is_dear_at_less() -> None:
    assert accelerated(SPEC, price_ratio=0.1).spec.gates.breaker["cost_ratio"].max == 0.25
    assert accelerated(SPEC, price_ratio=5).spec.gates.breaker["cost_ratio"].max == 2


def test_margins_are_those_of_the_migration() -> None:
    gates = accelerated(SPEC).spec.gates
    assert (gates.rollback, gates.hold, gates.alpha) == (
        SPEC.gates.rollback,
        SPEC.gates.hold,
        SPEC.gates.alpha,
    )


def test_a_check_that_asks_for_json_is_added_where_there_is_none() -> None:
    copy = accelerated(SPEC)
    assert copy.spec.checks == (Check("json", EXTRACTION, "extraction-json"),)
    assert copy.json_task == EXTRACTION
    assert any(line.startswith("check extraction-json: added") for line in copy.changes)


def test_a_schema_is_rehearsed_as_json_of_its_own_task() -> None:
    schema = Check("json_schema", "invoice", "shape", schema='{"type": "object"}', min_pass=0.9)
    copy = accelerated(replace(SPEC, checks=(schema,)))
    assert copy.spec.checks == (Check("json", "invoice", "shape", min_pass=0.9),)
    assert copy.json_task == "invoice"
    assert "check shape: asks for JSON, whatever its schema" in copy.changes


def test_a_check_that_is_another_has_a_name_that_a_document_may_hold() -> None:
    schema = Check("json_schema", "The Invoice", "The Invoice-json_schema", schema="{}")
    copy = accelerated(replace(SPEC, checks=(schema,)))
    assert [check.name for check in copy.spec.checks] == ["the-invoice-json-schema"]
    assert "check The Invoice-json_schema: asks for JSON, whatever its schema" in copy.changes


def test_a_check_of_every_request_is_one_of_those_that_can_pass_it() -> None:
    copy = accelerated(replace(SPEC, checks=(Check("json", "", "all-json"), Check("not_empty", "", "some"))))
    assert [check.task for check in copy.spec.checks] == [EXTRACTION, ""]
    assert any(line.startswith("check all-json: for the task 'extraction' alone") for line in copy.changes)


def test_checks_on_what_is_said_are_left_out() -> None:
    checks = (Check("regex", "sort", "letter", pattern="^[A-E]$"), Check("max_chars", "", "c", max_chars=8))
    copy = accelerated(replace(SPEC, checks=checks))
    assert [check.kind for check in copy.spec.checks] == ["json"]
    assert "check letter: left out, since a simulated model knows nothing of regex" in copy.changes


@pytest.mark.parametrize(
    ("lists", "task", "kept"),
    [
        (Lists(), "", ()),
        (Lists(allow_tasks=("staff", "beta")), "staff", ("staff",)),
        (Lists(allow_users=("ann",)), INTERNAL, (INTERNAL,)),
        (Lists(deny_users=("bob",)), "", ()),
    ],
)
def test_somebody_stands_for_whoever_is_listed(lists: Lists, task: str, kept: tuple[str, ...]) -> None:
    copy = accelerated(replace(SPEC, lists=lists))
    assert (copy.internal_task, copy.spec.lists.allow_tasks) == (task, kept)


def test_nobody_is_told_and_nothing_is_asked_for() -> None:
    spec = replace(
        SPEC,
        notify=("pager",),
        on_rollback=OnRollback("drain", ("slack",)),
        freeze=(Freeze("nights", ("mon",)),),
        checklist="required",
    )
    copy = accelerated(spec)
    assert (copy.spec.notify, copy.spec.on_rollback, copy.spec.freeze) == ((), OnRollback("drain"), ())
    assert copy.spec.checklist == "advisory"
    assert copy.changes[-3:] == (
        "notify: nobody is told (pager, slack)",
        "freeze nights: left out",
        "checklist: not asked for",
    )


def test_what_was_changed_is_told_before_and_after() -> None:
    changes = accelerated(SPEC).changes
    assert "stage canary: hold 2d → 1s, min_units 200 → 9, max_duration 9d → 2m" in changes
    assert "breaker latency_p95_s: max 60 → 4, window 10m → 10s" in changes
    assert "gates: no_traffic 6h → 1m" in changes
    assert not any(line.startswith("stage full") for line in changes)


def test_the_copy_is_a_document_that_a_gateway_takes(tmp_path: Path) -> None:
    for spec in (SPEC, *map(load_migration, (Path(__file__).parents[2] / "config/migrations").glob("*"))):
        copy = accelerated(spec).spec
        file = tmp_path / f"{spec.name}.yaml"
        file.write_bytes(to_json(document_of(copy)))
        assert load_migration(file) == copy
