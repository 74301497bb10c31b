"""What is legal but unwise is said in a sentence, and stops nothing."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from gateway.config import Config, load, warnings
from tests.support.documents import DEFAULTS, MODELS, UNJUDGED, Write, migration, row, writer

TODAY = date(2026, 11, 1)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write gateway.yaml and what it names; return its path."""
    return writer(tmp_path)


# --- warnings ---------------------------------------------------------------------------------------------


OFF = (
    "rollback: {error: null, fallback: null, tool_error: null, refusal: null}, "
    "hold: {ttft: null, slow_share: null, cost: null, output_tokens: null}, "
    "breaker: {latency_p95_s: null, quality_issues: null, cost_ratio: null, error_rate: {max: 0.2}}"
)


def warned(path: Path, today: date = TODAY) -> list[str]:
    config: Config = load(path)
    return [sentence for sentence in warnings(config, today) if UNJUDGED not in sentence]


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


def test_one_warning_names_all_that_is_in_force_and_not_judged_whether_written_or_by_default(
    write: Write,
) -> None:
    def unjudged(more: str = "") -> list[str]:
        path = write(a=migration(more=more))
        return warnings(load(path), TODAY)

    assert unjudged() == unjudged(", gates: {hold: {cost: null}}") == [f"m: {UNJUDGED}: {DEFAULTS}"]
    assert unjudged(", on_rollback: {notify: [x]}") == [f"m: {UNJUDGED}: {DEFAULTS}, on_rollback.notify"]
    assert unjudged(f", gates: {{{OFF}}}") == []
