"""The shapes of `checks:`: what every answer for a task must fulfil.

A key that its kind has no use for is a problem, and so is one that it needs and lacks. A schema stands in the
migration's file or in one of its own beside it; either way the run's copy holds its text.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from gateway.config.reading import read
from gateway.config.shapes import Count, Document, Name, Ratio, Text
from gateway.core.checks import compile_checks
from gateway.core.spec import Check, CheckKind
from gateway.errors import ConfigError

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "json_schema": ("schema", "schema_file"),
    "regex": ("pattern",),
    "max_chars": ("max_chars",),
}
"""Kind → the keys of which it needs exactly one, and no other kind takes any."""


class CheckDocument(Document):
    """One check."""

    kind: CheckKind
    task: str = ""
    name: Name | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    schema_file: Text | None = None
    pattern: Text | None = None
    max_chars: Annotated[Count, Field(ge=1)] | None = None
    min_pass: Annotated[float, Field(gt=0, le=1)] | None = Check("json").min_pass
    max_ratio: Ratio | None = Check("json").max_ratio

    @property
    def given(self) -> set[str]:
        """The keys of `_NEEDS` that were written."""
        values = {
            "schema": self.schema_,
            "schema_file": self.schema_file,
            "pattern": self.pattern,
            "max_chars": self.max_chars,
        }
        return {key for key, value in values.items() if value is not None}


def to_checks(documents: Sequence[CheckDocument], file: Path) -> tuple[Check, ...]:
    """Return the checks that the migration at `file` describes, or raise ConfigError with every problem."""
    problems: list[str] = []
    checks: list[Check] = []
    for index, document in enumerate(documents):
        found = [*_misplaced(document)]
        if not found:
            try:
                checks.append(_check(document, file))
                compile_checks(checks[-1:])
            except ConfigError as error:
                found.append(f".schema_file: {error.message}")
            except ValueError as error:
                problem = re.sub(r"^checks\.0", "", str(error))
                found.append(problem.replace(".schema:", f".{_schema_key(document)}:", 1))
        problems += (f"{file}: checks[{index}]{problem}" for problem in found)
    problems += (f"{file}: {problem}" for problem in _repeated(checks) if not problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(checks)


def schema_files(documents: Sequence[CheckDocument], file: Path) -> list[Path]:
    """Return the files that checks name."""
    return [file.parent / each.schema_file for each in documents if each.schema_file is not None]


def _misplaced(document: CheckDocument) -> Iterator[str]:
    """Yield what a kind lacks, and what it has no use for."""
    needed = _NEEDS.get(document.kind, ())
    for key in sorted(document.given - set(needed)):
        kind = next(kind for kind, keys in _NEEDS.items() if key in keys)
        yield f".{key}: is for kind {kind}, not {document.kind}"
    if needed and len(document.given & set(needed)) != 1:
        yield f": kind {document.kind} needs {' or '.join(needed)}{', not both' if needed[1:] else ''}"


def _check(document: CheckDocument, file: Path) -> Check:
    schema: object = document.schema_
    if document.schema_file is not None:
        schema = read(file.parent / document.schema_file)
    try:
        text = "" if schema is None else json.dumps(schema, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("checks.0.schema: holds what JSON has not, such as a date without quotes") from None
    return Check(
        kind=document.kind,
        task=document.task,
        name=document.name or f"{document.task or 'all'}-{document.kind}",
        schema=text,
        pattern=document.pattern or "",
        max_chars=document.max_chars or 0,
        min_pass=document.min_pass,
        max_ratio=document.max_ratio,
    )


def _schema_key(document: CheckDocument) -> str:
    return "schema" if document.schema_file is None else "schema_file"


def _repeated(checks: Sequence[Check]) -> Iterator[str]:
    names = [check.name for check in checks]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"checks[{index}].name: {name!r} stands twice; give each a name of its own"
