"""The table in the documentation is the one that the rules make."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.compat.catalog import Model
from gateway.compat.explain.features import FEATURES
from gateway.compat.explain.matrix import document, outcome, short
from tests.support.rows import CATALOGUE, F52, H45, O5, O45, O46, O47, O48, O55, S5, S55, name, row

BY_NAME = {feature.name: feature for feature in FEATURES}


def test_the_document_is_up_to_date() -> None:
    written = Path(__file__).parents[3] / "docs" / "compatibility.md"
    assert written.read_text() == document(CATALOGUE.models), "run: make docs"


@pytest.mark.parametrize(
    ("feature", "source", "target", "letter"),
    [
        ("disabled", O45, O46, "·"),
        ("disabled", S5, S55, "E"),
        ("system", O45, O46, "·"),
        ("temperature 0", O45, O46, "·"),
        ("temperature 0", O45, O5, "E"),
        ("temperature 1", O45, O5, "L"),
        ("temperature 0", O5, O45, ""),
        ("prefill of a cut answer", O45, O5, "P"),
        ("computer toolset", O55, O48, "X"),
        ("a prompt over 200K", O46, O45, "X"),
        ("effort low", O5, O55, "·"),
    ],
    ids=name,
)
def test_a_cell_is_the_gravest_class_of_what_is_done_for_the_feature(
    feature: str, source: Model, target: Model, letter: str
) -> None:
    assert outcome(BY_NAME[feature], source, target, whole=False).letter == letter


def test_what_a_plain_question_needs_is_told_once() -> None:
    system, plain = BY_NAME["system"], BY_NAME["thinking omitted"]
    assert outcome(system, O45, O55, whole=False).letter == "·"
    assert [outcome(plain, O45, target).letter for target in (O46, O5, O55)] == ["·", "L", "E"]


def test_models_are_named_in_two_characters() -> None:
    models = [O45, O55, S5, S55, H45, F52, row("claude-mythos-preview")]
    assert [short(model) for model in models] == ["O4.5", "O5.5", "S5", "S5.5", "H4.5", "F5.2", "MP"]


def test_the_document_follows_the_rows_and_leaves_retired_models_out() -> None:
    stricter = replace(O46, effort=replace(O46.effort, levels=("low",)))
    gone = replace(O47, lifecycle=replace(O47.lifecycle, status="retired"))
    text = document([O45, stricter, gone, O48])
    assert "## From Claude Opus 4.5" in text
    assert "4.7" not in text
    assert "Effort high is low on the new model." in text
    assert text != document([O45, O46, gone, O48])


def test_no_sentence_of_the_document_names_a_model() -> None:
    told = document(CATALOGUE.models).partition("## What is done")[2]
    assert "the new model" in told
    assert "claude-" not in told.replace("claude-opus-4-8", "").replace("claude-fable-5-2", "")
