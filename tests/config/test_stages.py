"""Stages say what it takes to leave them; a plan's name stands for a list of them."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.documents import MigrationDocument, inconsistencies, to_spec
from gateway.config.shapes import Document, validated
from gateway.config.stages import PLANS, Stages, describe, plan_of, to_stage
from gateway.core.spec import Stage
from gateway.errors import ConfigError

HOUR, DAY = 3600, 86_400


class Ramp(Document):
    """Stages alone."""

    stages: Stages


def stages_of(content: object) -> tuple[Stage, ...]:
    return tuple(map(to_stage, validated(Ramp, {"stages": content}, Path("m.yaml")).stages))


def stage_of(**more: Any) -> Stage:
    (stage,) = stages_of([{"name": "a", "percent": 5, **more}])
    return stage


def problem_of(**more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        stage_of(**more)
    return caught.value.message


# --- what a stage asks for --------------------------------------------------------------------------------


def test_every_key_of_a_stage_finds_its_place() -> None:
    assert stage_of(
        hold="48h",
        min_units=200,
        max_regression=0.03,
        approval={"deadline": "24h", "on_deadline": "rollback", "by_another": True},
        max_duration="14d",
        on_max_duration="advance",
        require="non_inferior",
    ) == Stage(
        "a",
        5,
        2 * DAY,
        200,
        0.03,
        approval=True,
        approval_by_another=True,
        approval_deadline_s=DAY,
        on_deadline="rollback",
        max_duration_s=14 * DAY,
        on_max_duration="advance",
        require="non_inferior",
    )


@pytest.mark.parametrize(
    ("approval", "asked"), [(True, True), (False, False), ({}, True), ({"by_another": True}, True)]
)
def test_terms_of_an_approval_ask_for_one(approval: object, asked: bool) -> None:
    stage = stage_of(approval=approval)
    assert (stage.approval, stage.approval_deadline_s, stage.on_deadline) == (asked, None, "hold")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"approval": {"on_deadline": "rollback"}}, "approval: on_deadline does nothing without a deadline"),
        ({"approval": {"deadlin": "1h"}}, "approval.deadlin: unknown key; did you mean 'deadline'?"),
        ({"approval": {"deadline": "0s"}}, "approval.deadline: "),
        ({"approval": "maybe"}, "approval: "),
        ({"on_max_duration": "hold"}, ": on_max_duration does nothing without max_duration"),
        ({"hold": "2d", "max_duration": "48h"}, ": max_duration must be longer than hold"),
        ({"max_duration": "0s"}, "max_duration: "),
        ({"max_duration": "1d", "on_max_duration": "stop"}, "on_max_duration: "),
        ({"require": "better"}, "require: "),
        ({"max_duratoin": "1d"}, "max_duratoin: unknown key; did you mean 'max_duration'?"),
    ],
)
def test_what_would_do_nothing_or_cannot_be_is_refused(more: dict[str, Any], problem: str) -> None:
    place = "m.yaml: stages[0]" if problem.startswith(":") else "m.yaml: stages[0]."
    assert problem_of(**more).startswith(f"{place}{problem}")


# --- plans ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "percents", "holds"),
    [
        ("gradual", [0, 5, 25, 50, 100], [3 * DAY, 2 * DAY, 3 * DAY, 5 * DAY, 0]),
        ("fast", [1, 5, 20, 50, 100], [2 * HOUR, 6 * HOUR, 24 * HOUR, 48 * HOUR, 0]),
        ("internal", [0, 5, 50, 100], [3 * DAY, 2 * DAY, 5 * DAY, 0]),
    ],
)
def test_a_plan_s_name_stands_for_its_stages(plan: str, percents: list[int], holds: list[int]) -> None:
    stages = stages_of(plan)
    assert [stage.percent for stage in stages] == percents
    assert [stage.hold_s for stage in stages] == holds
    assert plan_of(stages) == plan


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_is_consistent_climbs_by_itself_and_asks_for_units_wherever_it_compares(plan: str) -> None:
    document = {"name": "m", "control": "a", "candidate": "b", "match": {"models": ["a"]}, "stages": plan}
    spec = to_spec(validated(MigrationDocument, document, Path("m.yaml")))
    assert list(inconsistencies(spec)) == []
    assert spec.automatic
    assert all(stage.advances for stage in spec.stages[:-1])
    assert all((stage.min_units > 0) == (0 < stage.percent <= 50) for stage in spec.stages)


def test_only_the_fast_plan_limits_the_share_of_failed_checks() -> None:
    limited = {plan for plan in PLANS for stage in stages_of(plan) if stage.max_regression is not None}
    assert limited == {"fast"}


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("gradaul", "there is no plan 'gradaul'; did you mean 'gradual'?"),
        ("zzz", "there is no plan 'zzz'; there are gradual, fast, internal"),
    ],
)
def test_a_plan_that_does_not_exist_is_refused(word: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stages_of(word)
    assert caught.value.message == f"m.yaml: stages: {problem}"


def test_stages_of_one_s_own_are_no_plan() -> None:
    assert plan_of((Stage("a", 5),)) is None


# --- in words ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage("full", 100), "full 100 %"),
        (Stage("a", 2.5, 5400, 200), "a 2.5 %: hold 1h30m, 200 units"),
        (
            Stage("a", 5, 60, max_regression=0.03, require="non_inferior"),
            "a 5 %: hold 1m, at most 3 % of checks failed, shown to be no worse",
        ),
        (
            Stage("a", 5, approval=True, approval_by_another=True, approval_deadline_s=DAY),
            "a 5 %: approval by another person within 1d, else hold",
        ),
        (
            Stage("a", 5, max_duration_s=14 * DAY, on_max_duration="rollback"),
            "a 5 %: after 14d rollback",
        ),
    ],
)
def test_a_stage_is_told_in_words(stage: Stage, words: str) -> None:
    assert describe(stage) == words
