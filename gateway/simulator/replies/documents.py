"""JSON documents that a schema or a prompt asks for.

Values are chosen by a seed, so the same request always gets the same document. `sample` follows a schema as
far as structured outputs and tool inputs need it: types, enum, const, references, combinations, required
properties, bounds, the usual formats. `fields_wanted` finds the keys that a prompt names in quotes.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

WORDS = (
    "account", "again", "answer", "approach", "before", "better", "careful", "case", "change", "check",
    "clear", "close", "common", "context", "detail", "early", "effort", "evidence", "example", "field",
    "first", "follow", "general", "given", "handle", "helpful", "input", "keep", "later", "limit", "local",
    "matter", "measure", "method", "model", "narrow", "notice", "number", "option", "order", "other",
    "output", "partial", "pattern", "point", "prefer", "present", "question", "reason", "record", "report",
    "result", "review", "select", "several", "simple", "single", "source", "stable", "steady", "summary",
    "system", "together", "value",
)  # fmt: skip
"""Sixty-four words, so that six bits choose one."""

FORMATS: Mapping[str, str] = {
    "date": "2026-03-14",
    "date-time": "2026-03-14T09:26:53Z",
    "time": "09:26:53Z",
    "duration": "P3D",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "3f2b8c1e-5d4a-4e6f-9a7b-0c1d2e3f4a5b",
}

MAX_DEPTH = 12
"""How deep a schema that refers to itself is followed."""

_FIELD = re.compile(
    r'["`](?P<key>[A-Za-z_]\w{0,40})["`](?P<colon>\s*:\s*)?(?P<value>["\[{<]|-?\d|true|false|null)?'
)
_LISTED = re.compile(r"(?im)^\s*(?:fields|keys)\s*:((?:\s*[A-Za-z_]\w*\s*,)*\s*[A-Za-z_]\w*)[ .]*$")
_KIND_BY_SIGN: Mapping[str, str] = {"[": "array", "{": "object", "t": "boolean", "f": "boolean"}


def words(seed: bytes, count: int) -> list[str]:
    """`count` words chosen by the seed."""
    return [WORDS[byte & 63] for byte in hashlib.shake_128(seed).digest(count)]


def pick(seed: bytes, options: Sequence[Any]) -> Any:
    """One of the options, chosen by the seed."""
    return options[int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") % len(options)]


# --- by schema ----------------------------------------------------------------------------------------------


def sample(schema: Any, seed: bytes) -> Any:
    """A value that satisfies `schema`: all required properties, and all properties when none is required."""
    return _Sampler(schema).value(schema, seed, 0)


class _Sampler:
    """Walks one schema; the root is kept for references into it."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def value(self, schema: Any, seed: bytes, depth: int) -> Any:
        schema = self._resolved(schema)
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return None if depth > MAX_DEPTH else " ".join(words(seed, 2))
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return pick(seed, schema["enum"])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                options = [option for option in schema[key] if self._resolved(option) != {"type": "null"}]
                return self.value((options or schema[key])[0], seed, depth + 1)
        return self._of_type(schema, seed, depth)

    def _of_type(self, schema: dict[str, Any], seed: bytes, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        if kind == "object":
            properties: dict[str, Any] = schema.get("properties") or {}
            wanted = schema.get("required") or list(properties)
            return {key: self.value(properties.get(key, {}), _under(seed, key), depth + 1) for key in wanted}
        if kind == "array":
            count = max(schema.get("minItems", 1), 1 if depth < MAX_DEPTH - 2 else 0)
            count = min(count, schema.get("maxItems", count))
            return [
                self.value(schema.get("items", {}), _under(seed, str(n)), depth + 1) for n in range(count)
            ]
        if kind in ("integer", "number"):
            return _number(schema, seed, whole=kind == "integer")
        if kind == "boolean":
            return bool(pick(seed, (True, False)))
        return None if kind == "null" else _string(schema, seed)

    def _resolved(self, schema: Any) -> Any:
        for _ in range(MAX_DEPTH):
            if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
                schema = self._referred(schema["$ref"])
            elif isinstance(schema, dict) and schema.get("allOf"):
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                schema = _merged([rest, *(self._resolved(part) for part in schema["allOf"])])
        return schema

    def _referred(self, pointer: str) -> Any:
        found = self._root
        for part in pointer.removeprefix("#").split("/")[1:]:
            found = (
                found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
            )
        return found


def _merged(parts: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items() if isinstance(part, dict) else ():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged


def _number(schema: Mapping[str, Any], seed: bytes, *, whole: bool) -> int | float:
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 1 if high is None else high - 9 * step
    if "exclusiveMinimum" in schema and "minimum" not in schema:
        low = low + (step if high is None or low + step < high else (high - low) / 2)
    choices = [value for n in range(9) if (value := low + n * step) == low or high is None or value < high]
    value = pick(seed, choices)
    if schema.get("multipleOf"):
        value = -(-value // step) * step
    return int(value) if whole else value


def _string(schema: Mapping[str, Any], seed: bytes) -> str:
    text = FORMATS.get(str(schema.get("format")), " ".join(words(seed, 2)))
    while len(text) < schema.get("minLength", 0):
        text = f"{text} {words(_under(seed, text), 1)[0]}"
    return text[: schema["maxLength"]] if "maxLength" in schema else text


def _under(seed: bytes, key: str) -> bytes:
    return hashlib.sha256(seed + key.encode()).digest()


# --- by prompt ----------------------------------------------------------------------------------------------


def fields_wanted(prompt: str) -> dict[str, str]:
    """The keys that a prompt asks for, with the type that an example there suggests.

    A line such as `Fields: name, total` wins, then keys in quotes with a colon behind them, then words that
    merely stand in quotes.
    """
    if listed := _LISTED.search(prompt):
        return dict.fromkeys(re.findall(r"[A-Za-z_]\w*", listed[1]), "string")
    found = list(_FIELD.finditer(prompt))
    keys = [match for match in found if match["colon"]] or found
    return {match["key"]: _suggested(match["value"] or "") for match in keys}


def _suggested(sign: str) -> str:
    if sign[:1].isdigit() or sign[:1] == "-":
        return "number"
    return _KIND_BY_SIGN.get(sign[:1], "string")


def wanted_schema(fields: Mapping[str, str]) -> dict[str, Any]:
    """The schema of an object with these fields; of a small answer when there are none."""
    types = fields or {"answer": "string", "confidence": "number"}
    return {"type": "object", "properties": {key: {"type": kind} for key, kind in types.items()}}
