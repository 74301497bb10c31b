"""What is legal but unwise is said in a sentence, and stops nothing."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from gateway.config import load, warnings
from tests.support.documents import MODELS, Write, migration, row, writer

TODAY = date(2026, 11, 1)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write gateway.yaml and what it names; return its path."""
    return writer(tmp_path)


# --- warnings ---------------------------------------------------------------------------------------------


def warned(path: Path, today: date = TODAY) -> list[str]:
    return warnings(load(path), today)


def test_a_migration_between_dated_priced_living_models_warns_of_nothing(write: Write) -> None:
    assert warned(write(a=migration(models="old, old-20250101"))) == []


def test_an_alias_warns_and_names_the_dated_id(write: Write) -> None:
    assert warned(write(a=migration(control="old"))) == [
        "m: control: 'old' is an alias that may move; name the dated id 'old-20250101'"
    ]


def test_an_alias_of_a_row_without_a_dated_id_is_fine(write: Write) -> None:
    models = "models:" + row("old") + row("new", "new-20260101")
    assert warned(write(models=models, a=migration(control="old", candidate="new-20260101"))) == []


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (-1, ["m: candidate: 'new' is retired since 2026-10-31; every request to it fails"]),
        (0, ["m: candidate: 'new' is retired since 2026-11-01; every request to it fails"]),
        (1, ["m: candidate: 'new' retires on 2026-11-02, in 1 day"]),
        (60, ["m: candidate: 'new' retires on 2026-12-31, in 60 days"]),
        (61, []),
    ],
)
def test_a_model_that_retires_within_sixty_days_warns(write: Write, days: int, warning: list[str]) -> None:
    lifecycle = f"{{status: active, retires_on: {TODAY + timedelta(days=days)}}}"
    models = "models:" + row("old-20250101", "old") + row("new", lifecycle=lifecycle)
    assert warned(write(models=models, a=migration())) == warning


@pytest.mark.parametrize(
    ("lifecycle", "warning"),
    [
        (
            "{status: retired, retires_on: 2026-12-31}",
            "'new' is retired since 2026-12-31; every request to it fails",
        ),
        ("{status: deprecated, note: date to be announced}", "'new' is deprecated; date to be announced"),
        ("{status: deprecated, retires_on: 2027-05-01}", "'new' is deprecated; it retires on 2027-05-01"),
    ],
)
def test_a_deprecated_or_retired_model_warns(write: Write, lifecycle: str, warning: str) -> None:
    models = "models:" + row("old-20250101", "old") + row("new", lifecycle=lifecycle)
    assert warned(write(models=models, a=migration())) == [f"m: candidate: {warning}"]


def test_an_unpriced_model_warns(write: Write) -> None:
    models = "models:" + row("old-20250101", "old") + row("new", prices="null")
    assert warned(write(models=models, a=migration())) == [
        "m: candidate: 'new' has no price, so its cost is not counted"
    ]


def test_a_requested_id_that_is_unknown_or_another_model_warns(write: Write) -> None:
    assert warned(write(a=migration(models="old, odl, new"))) == [
        "m: match.models: 'odl' is not in the catalogue; did you mean 'old'?",
        "m: match.models: 'new' is new, not control; its requests go to old-20250101",
    ]


@pytest.mark.parametrize(("today", "count"), [(date(2027, 1, 1), 0), (date(2027, 1, 2), 1)])
def test_a_holdback_that_outlived_its_day_warns(write: Write, today: date, count: int) -> None:
    path = write(a=migration(more=", holdback: {percent: 2, until: 2027-01-01}"))
    assert sum("holdback" in warning for warning in warned(path, today)) == count


def test_a_policy_that_cannot_matter_warns(write: Write) -> None:
    assert warned(write(a=migration(more=", compat: {prefill: control, forced_tool: control}"))) == [
        "m: compat.prefill: 'control' makes no difference: new rejects no prefill that control takes",
        "m: compat.forced_tool: 'control' makes no difference: new takes every forced tool that control does",
    ]


def test_a_variant_for_a_model_that_nothing_serves_warns(write: Write, tmp_path: Path) -> None:
    path = write("prompts: [p.yaml]", models=MODELS + row("other"), a=migration())
    match = "match: {tasks: [t]}"
    (tmp_path / "p.yaml").write_text(
        f"{{name: p, models: [other], {match}, versions: [{{version: 1, mode: append, text: Hm.}}]}}"
    )
    assert warned(path) == ["prompts: p: is for models that no migration serves"]


# --- the climb --------------------------------------------------------------------------------------------


def staged(stages: str, more: str = "") -> str:
    """A migration with other stages."""
    return migration(more=more).replace("[{name: full, percent: 100}]", stages)


def test_a_stage_in_the_middle_that_nothing_ends_waits_for_a_person(write: Write) -> None:
    stages = "[{name: a, percent: 1, hold: 1h}, {name: b, percent: 5}, {name: full, percent: 100}]"
    assert warned(write(a=staged(stages))) == [
        "m: stages[1] (b): has neither hold nor min_units, so it waits until a person advances"
    ]


def test_so_does_one_of_units_alone_where_none_are_counted(write: Write) -> None:
    stages = (
        "[{name: a, percent: 1, hold: 1h}, {name: b, percent: 60, min_units: 5}, {name: c, percent: 100}]"
    )
    waits, never = warned(write(a=staged(stages)))
    assert waits.endswith(
        "(b): has no hold, and min_units is not asked for, so it waits until a person advances"
    )
    assert "(b): min_units is never asked for at 60 %" in never


def test_a_migration_that_people_advance_warns_of_no_stage(write: Write) -> None:
    stages = "[{name: a, percent: 1}, {name: b, percent: 5}, {name: full, percent: 100}]"
    assert warned(write(a=staged(stages))) == []


@pytest.mark.parametrize(("percent", "count"), [(0, 2), (0.5, 0), (50, 0), (51, 2)])
def test_what_only_a_comparison_can_show_is_not_asked_where_nothing_is_compared(
    write: Write, percent: float, count: int
) -> None:
    stages = f"[{{name: a, percent: {percent}, hold: 1h, min_units: 5, require: non_inferior}}]"
    found = warned(write(a=staged(stages)))
    assert len(found) == count
    assert all(f"at {percent:g} %: the arms are compared above 0 %" in sentence for sentence in found)


def test_a_share_of_failed_checks_needs_checks(write: Write) -> None:
    stages = "fast"
    (warning,) = warned(write(a=staged(stages)))
    assert warning.startswith("m: stages (canary, early, wide, half): max_regression is a share of failed ")
    assert warned(write(a=staged(stages, ", checks: [{kind: json}]"))) == []


def test_a_check_of_a_task_that_nobody_names_warns(write: Write) -> None:
    checks = "checks: [{kind: json, task: extract}, {kind: json, task: extarct}]"
    assert warned(write(a=migration(more=f", {checks}"))) == [], "nothing names a task"
    named = migration(more=f", {checks}, lists: {{allow_tasks: [extract]}}")
    assert warned(write(a=named)) == [
        "m: checks[1] (extarct-json): task 'extarct' is named nowhere else in the configuration; "
        "did you mean 'extract'?"
    ]


def test_a_check_that_limits_nothing_warns(write: Write) -> None:
    idle = ", checks: [{kind: json, min_pass: null, max_ratio: null}]"
    (warning,) = warned(write(a=migration(more=idle)))
    assert (
        warning
        == "m: checks[0] (all-json): has neither min_pass nor max_ratio, and no stage has max_regression"
    )
    limited = "[{name: a, percent: 1, hold: 1h, max_regression: 0.02}]"
    assert warned(write(a=staged(limited, idle))) == []


# --- time and people --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freezes", "warning"),
    [
        ("{name: a, days: [sat, sun]}", []),
        ("{name: a, since: 2026-10-01, until: 2026-11-02}", []),
        (
            "{name: a, since: 2026-10-01, until: 2026-11-01}",
            ["m: freeze[0] (a): is over since 2026-11-01"],
        ),
        (
            "{name: a, days: [mon, tue, wed, thu, fri], starts: 18:00, ends: 12:00}, "
            "{name: b, days: [mon, tue, wed, thu, fri], starts: 11:30, ends: 18:00}, "
            "{name: c, days: [sat, sun]}, {name: d, days: [mon], ends: 18:00}",
            ["m: freeze: leaves no minute of the week, so nothing ever advances"],
        ),
    ],
)
def test_a_freeze_that_is_over_or_never_ends_warns(write: Write, freezes: str, warning: list[str]) -> None:
    assert warned(write(a=migration(more=f", freeze: [{freezes}]"))) == warning


def test_a_place_that_is_not_configured_hears_of_nothing(write: Write) -> None:
    more = ", notify: [ops], on_rollback: {notify: [slack, ops]}"
    told = "notify: {ops: {kind: webhook, url: 'https://ops.example.com/x'}}"
    assert warned(write(told, a=migration(more=more))) == [
        "m: on_rollback.notify: 'slack' is not configured under notify in gateway.yaml; it hears of nothing"
    ]
