"""The lists by hand name the catalogue's models, each once."""

from gateway.simulator.rules import lineup
from tests.support.judged import catalogue

CURRENT = {row.id for row in catalogue().models if row.lifecycle.status != "retired"}


def test_every_current_model_has_a_name_here() -> None:
    named = {value for name, value in vars(lineup).items() if name.isupper() and isinstance(value, str)}
    assert named == CURRENT


def test_the_groups_name_models_only() -> None:
    known = {row.id for row in catalogue().models}
    assert set(lineup.BY_AGE) <= known
    assert len(set(lineup.BY_AGE)) == len(lineup.BY_AGE)
    assert lineup.OLDEST | lineup.FROM_4_6 == CURRENT
    assert not lineup.OLDEST & lineup.FROM_4_6


def test_the_retired_models_are_the_oldest() -> None:
    retired = {row.id for row in catalogue().models if row.lifecycle.status == "retired"}
    assert set(lineup.BY_AGE[: len(retired)]) == retired
