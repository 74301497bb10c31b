"""A row is found by a whole id or alias, and no id may mean two rows."""

from dataclasses import replace

import pytest

from gateway.compat.catalog import Catalogue, Model
from tests.support.rows import O5, O45, O55


def test_a_row_is_found_by_its_id_and_by_each_alias() -> None:
    catalogue = Catalogue([O45, O5, O55])
    assert catalogue.find("claude-opus-4-5-20251101") is O45
    assert catalogue.find("claude-opus-4-5") is O45
    assert catalogue.models == (O45, O5, O55)


@pytest.mark.parametrize(
    "model_id", ["claude-opus-5-", "claude-opus", "claude-opus-5-20260101", "CLAUDE-OPUS-5", ""]
)
def test_a_prefix_or_another_spelling_finds_nothing(model_id: str) -> None:
    assert Catalogue([O5, O55]).find(model_id) is None


def test_an_id_that_begins_like_another_finds_its_own_row() -> None:
    catalogue = Catalogue([O5, O55])
    assert catalogue.find("claude-opus-5") is O5
    assert catalogue.find("claude-opus-5-5") is O55


@pytest.mark.parametrize("double", [O45, replace(O5, aliases=("claude-opus-4-5",))])
def test_an_id_in_two_rows_is_refused_by_name(double: Model) -> None:
    with pytest.raises(ValueError, match=r"claude-opus-4-5.* stands in two rows"):
        Catalogue([O45, double])
