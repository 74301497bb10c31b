"""docs/compatibility.md read back, a letter a cell; and tables that were seen, to be held against it."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gateway.compat.catalog import Model
from gateway.compat.explain.features import FEATURES
from gateway.compat.explain.matrix import short
from tests.support.every_way import MODELS

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
Table = dict[tuple[str, str, str], str]
"""(source, target, feature) → letter."""


def read_table(text: str) -> Table:
    """Return every cell of the document; a line that is not there has none."""
    names = {f"## From {model.display_name}": model for model in MODELS}
    by_short = {short(model): model for model in MODELS}
    found: Table = {}
    source: Model | None = None
    targets: list[Model] = []
    for line in text.splitlines():
        if line.startswith("## "):
            source, targets = names.get(line), []
        elif source is not None and line.startswith("| "):
            first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not first:
                targets = [by_short[cell] for cell in cells[:-1]]
            elif not first.startswith("**"):
                for target, cell in zip(targets, cells[:-1], strict=True):
                    found[source.id, target.id, first] = cell
    return found


def read_rules(text: str) -> dict[str, tuple[str, str]]:
    """Return the rules that do something for some feature, and the obstacles, each with a line that names it:
    (source's name, feature).
    """
    found: dict[str, tuple[str, str]] = {}
    source = ""
    for line in text.splitlines():
        if line.startswith("## "):
            source = line.partition("## From ")[2]
        elif line.startswith("| ") and source:
            feature, *_, rules = [cell.strip() for cell in line.strip("|").split("|")]
            for rule in re.findall(r"`(\w+)`", rules):
                found.setdefault(rule, (source, feature))
    return found


def lines(table: Table, source: Model) -> Iterator[str]:
    """Write the part of a table that is about one source, compactly: a feature, then a letter a target."""
    targets = [model for model in MODELS if model is not source]
    yield f"{source.display_name:28}" + "".join(f"{short(model):>5}" for model in targets)
    for feature in FEATURES:
        letters = [table.get((source.id, target.id, feature.name), "") for target in targets]
        if any(letters):
            yield f"{feature.name:28}" + "".join(f"{letter:>5}" for letter in letters)


def by_letter(table: Table) -> dict[str, int]:
    """Count the cells of each letter."""
    return {letter: count for letter, count in sorted(Counter(table.values()).items()) if letter}


def show(*told: str) -> None:
    """Write lines for whoever runs the tests with `-s`, or sees one fail."""
    sys.stdout.writelines(f"{line}\n" for line in ("", *told))
