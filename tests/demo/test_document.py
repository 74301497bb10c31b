"""What was made up in Python is read again as what it was."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import load_migration
from gateway.config.stages import PLANS, StageDocument, to_stage
from gateway.core.spec import (
    BreakerRule,
    Check,
    CompatPolicy,
    Freeze,
    Gates,
    Holdback,
    Lists,
    MigrationSpec,
    OnRollback,
    Stage,
)
from gateway.core.types import to_json
from gateway.demo.document import document_of

CONFIG = Path(__file__).parents[2] / "config"
PLAIN = MigrationSpec("plain", "claude-a", "claude-b", ("claude-a",), (Stage("full", 100),))
STAGES = (
    Stage("internal", 0, hold_s=1.5),
    Stage("canary", 5, 4.0, 12, 0.03, approval=True, approval_by_another=True),
    Stage("early", 25, 4.0, 60, approval=True, approval_deadline_s=60.0, on_deadline="rollback"),
    Stage("half", 50, 7200.0, max_duration_s=93_600.0, on_max_duration="advance", require="non_inferior"),
    Stage("full", 100, approval=True),
)
EVERYTHING = MigrationSpec(
    name="everything",
    control="claude-a",
    candidate="claude-b",
    models=("claude-a", "claude-a-1"),
    stages=STAGES,
    unit=("user", "api_key"),
    lists=Lists(("ann",), ("internal",), ("bob",)),
    compat=CompatPolicy(
        effort="map",
        effort_map={"high": "medium"},
        max_tokens_headroom=0,
        tasks={"sort": CompatPolicy(prefill="control"), "plan": CompatPolicy(effort="target_default")},
    ),
    gates=Gates(
        breaker={"error_rate": BreakerRule(0.5, 30.0, 3, 2), "quality_issues": BreakerRule(1, 90.0)},
        rollback={"refusal": 2.5},
        hold={},
        alpha=0.01,
        fresh_s=3.0,
        no_traffic_s=60.0,
    ),
    on_rollback=OnRollback("drain", ("pager",)),
    holdback=Holdback(2.5, "2027-01-01"),
    checks=(
        Check("json_schema", "invoice", "shape", schema='{"type": "object"}', min_pass=None),
        Check("regex", "sort", "letter", pattern="^[A-E]$", max_ratio=None),
        Check("max_chars", "", "short", max_chars=80),
        Check("not_empty", "", "all-not_empty"),
    ),
    freeze=(
        Freeze("nights", ("mon", "fri"), "18:00", "08:00", timezone="Europe/Berlin"),
        Freeze("holidays", since="2026-12-19", until="2027-01-04T08:00:00"),
    ),
    notify=("pager",),
    checklist="required",
)
PLANNED = {
    name: replace(PLAIN, name=name, stages=tuple(to_stage(StageDocument(**row)) for row in rows))
    for name, rows in PLANS.items()
}


@pytest.mark.parametrize(
    "spec",
    [
        PLAIN,
        EVERYTHING,
        *PLANNED.values(),
        *map(load_migration, sorted((CONFIG / "migrations").glob("*.yaml"))),
    ],
    ids=lambda spec: spec.name,
)
def test_a_document_says_what_the_migration_was(spec: MigrationSpec, tmp_path: Path) -> None:
    file = tmp_path / "migration.yaml"
    file.write_bytes(to_json(document_of(spec)))  # JSON is YAML too.
    assert load_migration(file) == spec
