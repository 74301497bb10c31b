"""Structured outputs: the part of JSON schema that answers and tool inputs can be held to.

Objects are closed, numbers and strings have no bounds, nothing refers to itself. A format does not go
together with citations; Fable and Mythos take neither format nor strict tools in organisations that bring
their own encryption keys.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.simulator.rules.case import Case, Json, Rule
from gateway.simulator.rules.turns import blocks_of

NUMBER_BOUNDS = ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf")
BOUNDS: Mapping[str, tuple[str, ...]] = {
    "integer": NUMBER_BOUNDS,
    "number": NUMBER_BOUNDS,
    "string": ("maxLength", "minLength"),
}


def schemas_are_supported(case: Case) -> Iterator[str]:
    """Structured outputs take a part of JSON schema only."""
    if (chosen := case.output_format) is not None:
        if chosen.get("type") != "json_schema":
            yield "output_config.format.type: Input should be 'json_schema'"
        elif not isinstance(chosen.get("schema"), dict):
            yield "output_config.format.schema: Field required"
        else:
            yield from _whole("output_config.format.schema", chosen["schema"])
    for index, tool in enumerate(case.body.get("tools") or []):
        if tool.get("strict") and isinstance(tool.get("input_schema"), dict):
            yield from _whole(f"tools.{index}.custom", tool["input_schema"])


def formats_are_available(case: Case) -> Iterator[str]:
    """What a format cannot be combined with, and who has none."""
    strict = any(tool.get("strict") for tool in case.body.get("tools") or [])
    if case.output_format is None and not strict:
        return
    if case.switches.own_encryption_keys and case.model.line in ("fable", "mythos"):
        yield "output_config.format: structured outputs are not available for this organization and model"
    if case.output_format is not None and any(map(_cites, case.messages)):
        yield "output_config.format: structured outputs cannot be combined with citations"


def _cites(message: Json) -> bool:
    return any(_cited(block) or any(map(_cited, blocks_of(block))) for block in blocks_of(message))


def _cited(block: Json) -> bool:
    citations = block.get("citations")
    return isinstance(citations, dict) and citations.get("enabled") is True


def _whole(path: str, schema: Json) -> Iterator[str]:
    """What is wrong with a whole schema; one that refers to itself is looked at no further."""
    if _refers_to_itself(schema):
        yield f"{path}: Recursive schemas are not supported"
    else:
        yield from _schema(path, schema)


def _refers_to_itself(root: Json) -> bool:
    """Whether following references leads back to where one is."""

    def leads_back(value: Any, way: tuple[str, ...]) -> bool:
        if isinstance(value, list):
            return any(leads_back(item, way) for item in value)
        if not isinstance(value, dict):
            return False
        pointer = value.get("$ref")
        if isinstance(pointer, str):
            return pointer in way or leads_back(_referred(root, pointer), (*way, pointer))
        inner = (item for key, item in value.items() if key not in ("$defs", "definitions"))
        return any(leads_back(item, way) for item in inner)

    return leads_back(root, ("#",))


def _referred(root: Json, pointer: str) -> Any:
    found: Any = root
    for part in pointer.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _schema(path: str, schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _schema(path, item)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "object" and schema.get("additionalProperties") is not False:
        yield f"{path}: For 'object' type, 'additionalProperties' must be explicitly set to false"
    if found := [key for key in BOUNDS.get(str(kind), ()) if key in schema]:
        yield f"{path}: For '{kind}' type, properties {', '.join(found)} are not supported"
    for key in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(key), dict):
            yield from _schema(path, list(schema[key].values()))
    for key in ("items", "anyOf", "oneOf", "allOf"):
        yield from _schema(path, schema.get(key))


RULES: tuple[Rule, ...] = (schemas_are_supported, formats_are_available)
