"""Reading: YAML without its traps, and every failure says where."""

from pathlib import Path

import pytest

from gateway.config import load, load_migration
from gateway.errors import ConfigError
from tests.support.documents import Write, problems_of, writer


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write gateway.yaml and what it names; return its path."""
    return writer(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\nname: b\n", "line 2: key 'name' stands twice"),
        ("a: {b: 1, b: 2}", "line 1: key 'b' stands twice"),
        ("name: [", "line 1: expected the node content, but found '<stream end>'"),
        ("- a", "should be keys with values, not a list or a single value"),
        ("name: !!python/object:os.system x", "line 1: could not determine a constructor for the tag"),
    ],
)
def test_a_document_that_is_not_clean_yaml_says_where(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    (line,) = problems_of(load_migration, tmp_path / "m.yaml")
    assert line.startswith(f"m.yaml: {problem}")


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"name: \xff")
    assert problems_of(load_migration, tmp_path / "m.yaml") == ["m.yaml: is not UTF-8"]


def test_a_directory_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory$"):
        load(tmp_path)


def test_off_and_no_are_words(write: Write) -> None:
    model = load(write()).catalogue.find("new")
    assert model is not None
    assert (model.thinking.omitted, model.fast_mode) == ("off", "no")
