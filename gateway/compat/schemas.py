"""JSON schemas of tools, as structured outputs take them.

A schema for structured output must say of every object that it holds nothing else, and may not bound numbers,
texts or lists, nor refer to itself. `closed` adds the first where the schema leaves it open by omission, and
gives up where it says anything that is not known to be taken: whoever asks has another way.
"""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

_SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
_SAID_ONLY = frozenset({"title", "description", "default"})
_MEANINGLESS = frozenset({"$schema", "$id", "$comment", "examples"})
_DEFINITIONS = ("$defs", "definitions")
_KEYS: Mapping[str, frozenset[str]] = {
    "object": frozenset({"type", "properties", "required", "additionalProperties"}),
    "array": frozenset({"type", "items", "minItems"}),
    "anyOf": frozenset({"anyOf"}),
    "$ref": frozenset({"$ref"}),
    "scalar": frozenset({"type", "enum", "const", "format"}),
}
_MAX_DEPTH = 32
_MAX_OPTIONAL = 24
_MAX_UNIONS = 16
"""What the vendor compiles in one request."""


class _Unsuitable(Exception):
    """The schema says something that structured outputs are not known to take."""


def closed(schema: Any) -> dict[str, Any] | None:
    """Return an object's schema in the form that structured outputs take; None where there is none."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return None
    try:
        names = {f"#/{key}/{name}" for key in _DEFINITIONS for name in schema.get(key) or ()}
        whole = _closed(schema, names, 0)
        for key in _DEFINITIONS:
            if key in schema:
                whole[key] = {name: _closed(one, names, 1) for name, one in schema[key].items()}
        return None if _is_recursive(whole) or _is_too_much(whole) else whole
    except (_Unsuitable, AttributeError, TypeError):
        return None


def _closed(schema: Any, names: set[str], depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        raise _Unsuitable
    said = {key: value for key, value in schema.items() if key not in _MEANINGLESS}
    kind = next((key for key in ("$ref", "anyOf") if key in said), "")
    if not kind:
        kind = said["type"] if said.get("type") in ("object", "array") else "scalar"
    top = frozenset(_DEFINITIONS) if depth == 0 else frozenset()
    if said.keys() - _KEYS[kind] - _SAID_ONLY - top:
        raise _Unsuitable
    said = {key: value for key, value in said.items() if key not in top}
    match kind:
        case "object":
            return _object(said, names, depth)
        case "array":
            if said.get("minItems", 0) not in (0, 1):
                raise _Unsuitable
            return said | {"items": _closed(said.get("items"), names, depth + 1)}
        case "anyOf":
            return said | {"anyOf": [_closed(one, names, depth + 1) for one in said["anyOf"]]}
        case "$ref" if said["$ref"] not in names:
            raise _Unsuitable
        case "scalar":
            _check_scalar(said)
    return said


def _object(said: dict[str, Any], names: set[str], depth: int) -> dict[str, Any]:
    open_ended = not said.get("properties") and "additionalProperties" not in said
    if open_ended or said.get("additionalProperties", False) is not False:
        raise _Unsuitable
    inner = {name: _closed(one, names, depth + 1) for name, one in said.get("properties", {}).items()}
    whole = said | ({"properties": inner} if "properties" in said else {})
    return whole | {"additionalProperties": False}


def _check_scalar(said: Mapping[str, Any]) -> None:
    kinds = said.get("type", [])
    known = set(kinds if isinstance(kinds, list) else [kinds]) <= _SCALARS
    chosen = "enum" in said or "const" in said
    values = [*said.get("enum", ()), said.get("const")]
    plain = not any(isinstance(value, dict | list) for value in values)
    if not known or not plain or not (kinds or chosen) or said.get("format", "date") not in _FORMATS:
        raise _Unsuitable


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Give every schema in a closed one, definitions included."""
    yield schema
    inner = [schema[key] for key in ("items",) if key in schema]
    inner += schema.get("anyOf", [])
    for key in ("properties", *_DEFINITIONS):
        inner += schema.get(key, {}).values()
    for one in inner:
        yield from _parts(one)


def _is_recursive(whole: dict[str, Any]) -> bool:
    """Tell whether a definition leads back to itself."""
    uses = {
        f"#/{key}/{name}": {part["$ref"] for part in _parts(one) if "$ref" in part}
        for key in _DEFINITIONS
        for name, one in whole.get(key, {}).items()
    }
    try:
        TopologicalSorter(uses).prepare()
    except CycleError:
        return True
    return False


def _is_too_much(whole: dict[str, Any]) -> bool:
    parts = list(_parts(whole))
    optional = sum(len(part.get("properties", {}).keys() - set(part.get("required", ()))) for part in parts)
    unions = sum("anyOf" in part or isinstance(part.get("type"), list) for part in parts)
    return optional > _MAX_OPTIONAL or unions > _MAX_UNIONS
