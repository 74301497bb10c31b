"""The small types of all documents, and the sentence for every problem with its path."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Discriminator, Tag

from gateway.config.shapes import UNION, Document, format_duration, parse_duration, validated
from gateway.errors import ConfigError


class Leaf(Document):
    left: int = 0
    right: int = 0


class Tree(Document):
    leaves: tuple[Leaf, ...] = ()
    by_name: dict[str, Leaf] = {}  # noqa: RUF012 - pydantic copies it
    by_kind: dict[Literal["a", "b"], int] = {}  # noqa: RUF012 - pydantic copies it
    either: Annotated[
        Annotated[Literal["no"], Tag(f"{UNION}word")] | Annotated[Leaf, Tag(f"{UNION}leaf")],
        Discriminator(lambda value: f"{UNION}{'word' if isinstance(value, str) else 'leaf'}"),
    ] = "no"
    maybe: Leaf | None = None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"leafs": 1}, "leafs: unknown key; did you mean 'leaves'?"),
        ({"zzzzzz": 1}, "zzzzzz: unknown key; known here: leaves, by_name, by_kind, either, maybe"),
        ({"leaves": [{}, {"lefd": 1}]}, "leaves[1].lefd: unknown key; did you mean 'left'?"),
        ({"by_name": {"x y": {"lefd": 1}}}, "by_name.x y.lefd: unknown key; did you mean 'left'?"),
        ({"by_name": {"x": {"left": "l"}}}, "by_name.x.left: Input should be a valid integer"),
        ({"by_kind": {"c": 1}}, "by_kind.c: Input should be 'a' or 'b'"),
        ({"either": {"lefd": 1}}, "either.lefd: unknown key; did you mean 'left'?"),
        ({"either": "yes"}, "either: Input should be 'no'"),
        ({"either": [1]}, "either: should be keys with values, not a list or a single value"),
        ({"maybe": {"lefd": 1}}, "maybe.lefd: unknown key; did you mean 'left'?"),
        ({"leaves": 3}, "leaves: should be a list"),
        (7, "should be keys with values, not a list or a single value"),
    ],
)
def test_a_problem_is_one_line_with_its_path(content: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(Tree, content, Path("t.yaml"))
    (line,) = caught.value.message.splitlines()
    assert line.startswith(f"t.yaml: {sentence}")


def test_every_choice_of_a_union_is_read() -> None:
    assert validated(Tree, {"either": {"left": 2}}, Path("t.yaml")).either == Leaf(left=2)
    assert validated(Tree, {"either": "no"}, Path("t.yaml")).either == "no"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3d", 259_200),
        ("48h", 172_800),
        ("5m", 300),
        ("30s", 30),
        ("2h30m", 9000),
        ("1.5s", 1.5),
        (" 5s ", 5),
        (0, 0),
    ],
)
def test_a_duration_is_a_number_with_its_unit(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["30", 30, 1.5, "", "h", "5 m", "-5m", "5M", "5ms", "1w", True, False, None, "1e3s"]
)
def test_anything_else_is_not_a_duration(text: object) -> None:
    with pytest.raises(ValueError, match="number with its unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "3d", "2h30m", "1d2h3m4s", "1.5s", "90d"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


@given(st.integers(0, 10**6), st.sampled_from("dhms"))
def test_a_duration_of_whole_units_is_exact(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * {"d": 86_400, "h": 3_600, "m": 60, "s": 1}[unit]
