"""JSON schemas and patterns, compiled once, for judging what somebody hostile may have written.

Nothing is ever fetched: a reference that leads outside its own document is refused. Patterns are matched in
time that grows with the text alone, which is why they know neither lookaround nor backreferences. Schemas of
tools come with requests: where one may cost too much (`cost`), nothing is held against it.
"""

from functools import lru_cache
from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, Validator, validator_for

from gateway.core.checks.cost import Cost
from gateway.core.types import parse_json

MAX_TOOLS_BYTES = 256 * 1024
"""Of a request's tools; calls of larger ones are not judged."""
MAX_DEPTH = 200
"""Of a value: a schema that refers to itself follows it down, and stacks end."""

MAX_COST = 10_000_000
"""Of holding one tool's input against its schema: a fraction of a second at the very worst."""


class Schema:
    """One schema; whatever it cannot look at does not satisfy it."""

    __slots__ = ("_validator",)

    def __init__(self, document: Any) -> None:
        """Raises ValueError with what is wrong with the document."""
        try:
            self._validator: Validator = validator_for(document, offline=True, pattern_options=RegexOptions())
        except ValidationError as error:
            raise ValueError(str(error.message)) from None

    def accepts(self, value: Any) -> bool:
        """Tell whether a JSON value satisfies it."""
        try:
            return not _is_deep(value) and bool(self._validator.is_valid(value))
        except ValueError:  # half a surrogate pair is no text
            return False


def _is_deep(value: Any) -> bool:
    return _extent(value)[0] >= MAX_DEPTH


def _extent(value: Any) -> tuple[int, int]:
    """Return how deep a value is, `MAX_DEPTH` at most, and how large: its parts and their characters."""
    level, size = [value], 0
    for depth in range(MAX_DEPTH):
        size += len(level) + sum(len(each) for each in level if isinstance(each, str))
        size += sum(len(name) for each in level if isinstance(each, dict) for name in each)
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return depth, size
    return MAX_DEPTH, size


def pattern(text: str) -> Schema:
    """Return what accepts texts that hold the pattern somewhere; raises ValueError."""
    try:
        return Schema({"type": "string", "pattern": text})
    except ValueError:
        raise ValueError(
            f"{text!r} is no pattern that is matched in linear time: no lookaround, no backreference"
        ) from None


class Tools:
    """The tools of one request: which names may be called, with what input."""

    __slots__ = ("_open", "_schemas")

    def __init__(self, document: Any) -> None:
        entries = (
            [entry for entry in document if isinstance(entry, dict)] if isinstance(document, list) else []
        )
        self._open = not entries or any("name" not in entry for entry in entries)
        """Some entry offers tools that it does not name: a toolset, a server of tools."""
        self._schemas = {str(entry["name"]): _lenient(entry) for entry in entries if "name" in entry}

    def offers(self, name: str) -> bool:
        """Tell whether a tool of this name may be called."""
        return self._open or name in self._schemas

    def accepts(self, name: str, given: Any) -> bool:
        """Tell whether the input is an object and satisfies the tool's schema, where it has one."""
        schema = self._schemas.get(name)
        return isinstance(given, dict) and (schema is None or schema.accepts(given))


class _Lenient:
    """A tool's schema, as somebody sent it: nothing is held against it where that might take long."""

    __slots__ = ("_cost", "_schema")

    def __init__(self, document: Any) -> None:
        """Raises ValueError with what is wrong with the document."""
        self._schema, self._cost = Schema(document), Cost(document)

    def accepts(self, value: Any) -> bool:
        """Tell whether a JSON value satisfies it, as far as that can be told."""
        depth, size = _extent(value)
        return self._cost.of(depth) * size > MAX_COST or self._schema.accepts(value)


def _lenient(entry: dict[str, Any]) -> _Lenient | None:
    """Return a tool's schema; None where it has none, or one that nothing can be held against."""
    if "input_schema" not in entry:
        return None
    try:
        return _Lenient(entry["input_schema"])
    except ValueError:
        return None


@lru_cache(maxsize=32)
def read_tools(raw: bytes) -> Tools | None:
    """Return the tools of a request; None where there are none, or more than is looked at.

    Applications send the same tools again and again, so the last ones stay compiled.
    """
    if not raw or len(raw) > MAX_TOOLS_BYTES:
        return None
    try:
        return Tools(parse_json(raw))
    except ValueError:
        return None
