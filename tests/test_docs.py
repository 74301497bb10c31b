"""The documents keep their promises: links lead somewhere, and commands exist."""

from pathlib import Path

import pytest

from gateway.metrics import RULES, Metrics
from tests.support import docs

ROOT = Path(__file__).parents[1]
DOCUMENTS = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in docs.documents(ROOT)}


def exists(path: str) -> bool:
    return (ROOT / path).exists()


def test_every_relative_link_resolves() -> None:
    assert [broken for item in DOCUMENTS.items() for broken in docs.broken_links(*item, exists)] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = docs.makefile_targets((ROOT / "Makefile").read_text("utf-8"))
    assert [unknown for item in DOCUMENTS.items() for unknown in docs.unknown_targets(*item, targets)] == []


def test_the_guide_names_every_rule() -> None:
    assert [rule for rule in sorted(RULES) if f"`{rule}`" not in DOCUMENTS["docs/migrating.md"]] == []


def test_the_guide_names_every_metric() -> None:
    page = Metrics(["m"]).render()[0].decode()
    names = [line.split()[2] for line in page.splitlines() if line.startswith("# HELP ")]
    assert len(names) > 30
    assert [name for name in names if f"`{name}`" not in DOCUMENTS["docs/operations.md"]] == []


def test_decisions_are_numbered_without_gap_or_double() -> None:
    numbers = [int(file.name[:4]) for file in sorted((ROOT / "docs/decisions").glob("*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "text",
    [
        "see [the guide](guide.md)",
        "see [the guide](../docs/guide.md#start)",
        '![a picture](<picture.png> "title")',
        "[absolute](/docs/here.md)",
        "[reference][r]\n\n[r]: gone.md",
    ],
)
def test_a_link_that_leads_nowhere_is_noticed(text: str) -> None:
    assert len(list(docs.broken_links("docs/a.md", text, lambda path: path == "docs/here.md"))) == 1


def test_other_links_are_left_alone() -> None:
    links = "[here](here.md#part) [web](https://example.com) [part](#part)"
    text = f"{links} `[code](gone.md)`\n```\n[x](gone.md)\n```\n"
    assert list(docs.broken_links("docs/a.md", text, lambda path: path == "docs/here.md")) == []


@pytest.mark.parametrize(
    "text", ["run `make bench`", "```\nmake bench  # the table\n```", "`make setup bench`"]
)
def test_a_missing_make_target_is_noticed(text: str) -> None:
    assert list(docs.unknown_targets("README.md", text, {"setup"})) == [
        "README.md: make bench does not exist"
    ]


def test_prose_and_comments_name_no_target() -> None:
    text = "make sure `make setup` ran\n```\nmake setup  # make coffee\nmake setup PYTHON=python3.12\n```\n"
    assert list(docs.unknown_targets("README.md", text, {"setup"})) == []


def test_targets_are_read_from_the_makefile() -> None:
    makefile = "X := 1\n.PHONY: a\nsetup: stamp ## Create\n\techo no: target\ntest-full:\n$(STAMP): lock\n"
    assert docs.makefile_targets(makefile) == {"setup", "test-full"}
