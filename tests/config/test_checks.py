"""A check has what its kind needs and nothing else, and can be carried out before anything depends on it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config.checks import CheckDocument, schema_files, to_checks
from gateway.config.shapes import Document, validated
from gateway.core.spec import Check
from gateway.errors import ConfigError

FILE = Path("m.yaml")


class Checks(Document):
    """Checks alone."""

    checks: tuple[CheckDocument, ...]


def checks_of(*content: dict[str, Any], file: Path = FILE) -> tuple[Check, ...]:
    return to_checks(validated(Checks, {"checks": content}, file).checks, file)


def problems_of(*content: dict[str, Any], file: Path = FILE) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        checks_of(*content, file=file)
    return [line.removeprefix(f"{file}: ") for line in caught.value.message.splitlines()]


def test_a_check_is_named_after_its_task_and_kind() -> None:
    assert checks_of({"kind": "json", "task": "extract"}, {"kind": "not_empty"}) == (
        Check("json", "extract", "extract-json", min_pass=0.95, max_ratio=1.25),
        Check("not_empty", "", "all-not_empty"),
    )


def test_every_key_of_a_check_finds_its_place() -> None:
    regex = {"kind": "regex", "pattern": "^[A-E]$", "name": "letter", "min_pass": 0.99, "max_ratio": None}
    assert checks_of(regex, {"kind": "max_chars", "max_chars": 80, "min_pass": None}) == (
        Check("regex", name="letter", pattern="^[A-E]$", min_pass=0.99, max_ratio=None),
        Check("max_chars", name="all-max_chars", max_chars=80, min_pass=None),
    )


def test_a_schema_stands_in_the_file_or_beside_it(tmp_path: Path) -> None:
    schema = {"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}}
    (tmp_path / "invoice.json").write_text(json.dumps(schema))
    inside = {"kind": "json_schema", "schema": schema, "name": "inside"}
    beside = {"kind": "json_schema", "schema_file": "invoice.json", "name": "beside"}
    first, second = checks_of(inside, beside, file=tmp_path / "m.yaml")
    assert first.schema == second.schema
    assert json.loads(first.schema) == schema
    documents = validated(Checks, {"checks": [inside, beside]}, FILE).checks
    assert schema_files(documents, tmp_path / "m.yaml") == [tmp_path / "invoice.json"]


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ({"kind": "json", "pattern": "a"}, "checks[0].pattern: is for kind regex, not json"),
        (
            {"kind": "regex", "pattern": "a", "max_chars": 3},
            "checks[0].max_chars: is for kind max_chars, not regex",
        ),
        ({"kind": "regex"}, "checks[0]: kind regex needs pattern"),
        ({"kind": "max_chars"}, "checks[0]: kind max_chars needs max_chars"),
        ({"kind": "json_schema"}, "checks[0]: kind json_schema needs schema or schema_file, not both"),
        (
            {"kind": "json_schema", "schema": {}, "schema_file": "a"},
            "checks[0]: kind json_schema needs schema or schema_file, not both",
        ),
        ({"kind": "regex", "pattern": "(?=a)"}, "checks[0].pattern: '(?=a)' is no pattern"),
        ({"kind": "json_schema", "schema": {"type": "objekt"}}, "checks[0].schema: "),
        (
            {"kind": "json_schema", "schema": {"$ref": "https://example.com/schema.json"}},
            "checks[0].schema: ",
        ),
    ],
)
def test_what_a_kind_lacks_or_has_no_use_for_is_refused(check: dict[str, Any], problem: str) -> None:
    (found,) = problems_of(check)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("check", "where"),
    [
        ({"kind": "xml"}, "checks[0].kind"),
        ({"kind": "json", "min_pass": 0}, "checks[0].min_pass"),
        ({"kind": "json", "min_pass": 1.5}, "checks[0].min_pass"),
        ({"kind": "json", "max_ratio": 0}, "checks[0].max_ratio"),
        ({"kind": "json", "name": "A b"}, "checks[0].name"),
        ({"kind": "max_chars", "max_chars": 0}, "checks[0].max_chars"),
        ({"kind": "json_schema", "schema": "object"}, "checks[0].schema"),
        ({"kind": "json", "tsak": "a"}, "checks[0].tsak"),
    ],
)
def test_a_value_that_cannot_be_is_refused_where_it_stands(check: dict[str, Any], where: str) -> None:
    (found,) = problems_of(check)
    assert found.startswith(f"{where}: ")


def test_a_schema_s_file_must_be_there_and_be_a_schema(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    (tmp_path / "broken.json").write_text('{"type": ')
    (tmp_path / "wrong.json").write_text('{"type": "objekt"}')
    (tmp_path / "dated.yaml").write_text("const: 2026-01-01")
    names = ["gone.json", "broken.json", "wrong.json", "dated.yaml"]
    found = problems_of(
        *({"kind": "json_schema", "schema_file": name, "name": name[:4]} for name in names), file=file
    )
    assert [problem.partition(": ")[0] for problem in found] == [f"checks[{i}].schema_file" for i in range(4)]
    assert "gone.json: cannot be read: No such file or directory" in found[0]
    assert found[3].endswith("holds what JSON has not, such as a date without quotes")


def test_two_checks_of_one_name_are_refused() -> None:
    again = {"kind": "regex", "pattern": "a"}
    assert problems_of(again, again) == [
        "checks[1].name: 'all-regex' stands twice; give each a name of its own"
    ]


def test_every_problem_has_its_line() -> None:
    assert len(problems_of({"kind": "regex"}, {"kind": "json", "pattern": "a", "max_chars": 1})) == 3
