"""Which migration governs a requested model, and by whose words: the file's or the run's own copy."""

from dataclasses import replace
from datetime import date

import pytest

from gateway.compat.envelope import parse
from gateway.compat.prompts import PromptVariant, ruleset_of
from gateway.compat.request import RULESET
from gateway.core.spec import Lists, MigrationSpec
from gateway.core.types import Arm, MigrationState, Phase
from gateway.proxy.table import Table, build
from tests.support.plane import CATALOGUE, O45, O46, SPEC, TODAY, body

FILE = replace(SPEC, candidate="claude-opus-5", lists=Lists(allow_users=("file",)))
S45 = "claude-sonnet-4-5-20250929"


def state(phase: Phase, **fields: object) -> MigrationState:
    return replace(MigrationState("m", phase=phase, run=1, version=1, spec=SPEC), **fields)  # type: ignore[arg-type]


def table(*specs: MigrationSpec, states: tuple[MigrationState, ...] = (), today: date = TODAY) -> Table:
    return build(specs, {each.name: each for each in states}, CATALOGUE, today)


def test_exactly_the_listed_ids_are_governed() -> None:
    built = table(SPEC)
    assert [built.find(model) is not None for model in (O45, "claude-opus-4-5", O46, "claude-opus", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("phase", Phase)
def test_a_run_goes_by_its_own_copy_and_a_draft_by_the_file(phase: Phase) -> None:
    governed = table(FILE, states=(state(phase),)).find(O45)
    assert governed is not None
    expected = FILE if phase is Phase.draft else SPEC
    assert governed.model_id(Arm.candidate) == expected.candidate


def test_a_model_is_asked_for_by_the_id_that_is_configured_and_all_else_is_its_row() -> None:
    governed = table(replace(SPEC, control="claude-opus-4-5")).find(O45)
    assert governed is not None
    assert governed.as_sent[Arm.control] == replace(governed.control, id="claude-opus-4-5")
    assert governed.as_sent[Arm.candidate] == governed.candidate
    assert governed.control.id == O45


@pytest.mark.parametrize(
    ("phase", "governs"),
    [
        (Phase.draft, False),
        (Phase.running, True),
        (Phase.paused, True),
        (Phase.soaking, True),
        (Phase.completed, False),
        (Phase.rolled_back, False),
    ],
)
def test_without_its_file_only_a_migration_in_progress_governs(phase: Phase, governs: bool) -> None:
    assert (table(states=(state(phase),)).find(O45) is not None) is governs


def test_a_file_that_nobody_has_started_governs_with_nothing_served() -> None:
    governed = table(FILE).find(O45)
    assert governed is not None
    assert (governed.state.phase, governed.state.run) == (Phase.draft, 0)


def test_lists_that_were_set_win_over_the_files() -> None:
    set_lists = Lists(deny_users=("api",))
    for given, expected in ((None, Lists()), (set_lists, set_lists)):
        governed = table(FILE, states=(state(Phase.running, lists=given),)).find(O45)
        assert governed is not None
        assert governed.lists == expected


FOR_CANDIDATE = PromptVariant("b", 2, frozenset({O46}), frozenset({"t"}), None, "append", "Be brief.")
FOR_NOBODY = replace(FOR_CANDIDATE, name="n", models=frozenset({"claude-haiku-5-5"}))


@pytest.mark.parametrize(
    ("variant", "prompts", "candidates", "controls"),
    [
        (FOR_CANDIDATE, 1, ruleset_of(RULESET, FOR_CANDIDATE), RULESET),
        (FOR_NOBODY, 0, RULESET, RULESET),
        (replace(FOR_CANDIDATE, tasks=frozenset({"u"})), 1, RULESET, RULESET),
    ],
)
def test_a_conversation_begins_with_the_variant_for_its_arm_and_task(
    variant: PromptVariant, prompts: int, candidates: str, controls: str
) -> None:
    governed = build([SPEC], {}, CATALOGUE, TODAY, [variant]).find(O45)
    assert governed is not None
    envelope = parse(body())
    assert len(governed.prompts) == prompts
    assert governed.ruleset(Arm.candidate, envelope, "t") == candidates
    assert governed.ruleset(Arm.control, envelope, "t") == controls
    assert (governed.varies(Arm.candidate), governed.varies(Arm.control)) == (True, False)


def test_a_variant_for_controls_model_makes_control_vary_too() -> None:
    variant = replace(FOR_CANDIDATE, models=frozenset({O45, "claude-opus-4-5"}))
    governed = build([SPEC], {}, CATALOGUE, TODAY, [variant]).find(O45)
    assert governed is not None
    assert governed.varies(Arm.control)
    assert governed.ruleset(Arm.control, parse(body()), "t") == ruleset_of(RULESET, variant)


def test_an_arm_has_its_row_and_its_configured_id() -> None:
    alias = replace(SPEC, control="claude-opus-4-5")
    governed = table(alias).find(O45)
    assert governed is not None
    assert (governed.model(Arm.control).id, governed.model_id(Arm.control)) == (O45, "claude-opus-4-5")
    assert (governed.model(Arm.candidate).id, governed.model_id(Arm.candidate)) == (O46, O46)


def test_a_model_that_the_catalogue_lost_is_not_governed() -> None:
    lost = state(Phase.running, spec=replace(SPEC, candidate="claude-opus-0"))
    assert table(SPEC, states=(lost,)).find(O45) is None


@pytest.mark.parametrize(
    ("control", "today", "rescues"),
    [
        (O45, date(2099, 1, 1), True),
        (S45, date(2026, 11, 29), True),
        (S45, date(2026, 11, 30), False),
        ("claude-opus-4-20250514", date(2020, 1, 1), False),
    ],
)
def test_control_rescues_until_the_day_it_retires(control: str, today: date, rescues: bool) -> None:
    governed = table(replace(SPEC, control=control, models=(control,)), today=today).find(control)
    assert governed is not None
    assert governed.rescues is rescues
