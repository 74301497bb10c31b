"""What the shapes of all YAML documents have in common: small types, and a sentence for every problem.

A document is validated whole. Every problem becomes one line, `file: path.to[0].key: what is wrong`, and all
lines travel in one ConfigError. Unknown keys are problems too, with the name that was probably meant.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.errors import ConfigError

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse_duration(text: object) -> float:
    """Return the seconds of `3d`, `48h`, `2h30m`, `5s`; a bare number has no unit, so only 0 passes."""
    if text == 0 and not isinstance(text, bool):
        return 0.0
    if not isinstance(text, str) or not _DURATION.fullmatch(text.strip()):
        raise ValueError("a duration is a number with its unit, such as 3d, 48h, 5m or 30s")
    return sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """Return a duration as a document spells it: 93600 → `1d2h`."""
    words = ""
    for unit, length in SECONDS.items():
        count, seconds = (seconds, 0.0) if unit == "s" else divmod(seconds, length)
        words += f"{count:g}{unit}" if count else ""
    return words or "0s"


def _not_empty(entries: object) -> object:
    if isinstance(entries, list | tuple) and not entries:
        raise ValueError("needs at least one entry")
    return entries


Duration = Annotated[float, BeforeValidator(parse_duration)]
Percent = Annotated[float, Field(ge=0, le=100)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=63)]
Ratio = Annotated[float, Field(gt=0)]
UNION = "\0"
"""Begins the tag of a choice between shapes, which is no part of a path."""
SOME = BeforeValidator(_not_empty)
"""Of a tuple; judged before its entries are, so that a bad entry is not reported as a missing one too."""


class Document(BaseModel):
    """What every shape has in common; the dataclasses inside inherit it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


D = TypeVar("D", bound=Document)


def validated(shape: type[D], content: object, path: Path) -> D:
    """Return `content` as `shape`, or raise ConfigError with one line per problem."""
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        schema = shape.model_json_schema()
        lines = [f"{path}: {_sentence(problem, schema)}" for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None


# --- sentences ---------------------------------------------------------------------------------------------


def _sentence(problem: Mapping[str, Any], schema: dict[str, Any]) -> str:
    place = tuple(part for part in problem["loc"] if part != "[key]" and not str(part).startswith(UNION))
    match problem["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            reason = _unknown_key(str(place[-1]), _known_keys(place[:-1], schema))
        case "missing" | "missing_argument":
            reason = "is required"
        case "model_type" | "dataclass_type" | "dict_type":
            reason = "should be keys with values, not a list or a single value"
        case "tuple_type" | "list_type":
            reason = "should be a list"
        case _:
            reason = problem["msg"].removeprefix("Value error, ")
    return f"{_dotted(place)}: {reason}" if place else reason


def _dotted(place: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _unknown_key(key: str, known: list[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return (
        f"unknown key; did you mean {close[0]!r}?"
        if close
        else f"unknown key; known here: {', '.join(known)}"
    )


def _known_keys(place: tuple[str | int, ...], schema: dict[str, Any]) -> list[str]:
    """Return the keys that may stand at `place`, by walking the shape's JSON schema."""
    node: Any = schema
    for part in (*place, None):
        options = [*node.get("anyOf", ()), *node.get("oneOf", ())]
        node = next((option for option in options if "$ref" in option or "items" in option), node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if part is not None:
            patterns = node.get("patternProperties") or {None: None}
            others = node.get("additionalProperties") or next(iter(patterns.values()))
            within = node.get("properties", {}).get(part) or others
            node = node["items"] if isinstance(part, int) else within
    return list(node.get("properties", ()))
