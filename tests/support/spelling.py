"""JSON as nobody would spell it, and the bytes of its parts."""

import json
from random import Random
from typing import Any

import msgspec


def oddly(value: Any, random: Random) -> str:
    """Spell JSON as nobody would: spaces, escapes, numbers with exponents, and the same meaning."""

    def space() -> str:
        return random.choice(["", "", " ", "\n", "\t ", "  \r\n"])

    if isinstance(value, dict):
        inner = ",".join(f"{space()}{oddly(k, random)}{space()}:{oddly(v, random)}" for k, v in value.items())
        return f"{space()}{{{inner}{space()}}}{space()}"
    if isinstance(value, list):
        return f"{space()}[{','.join(oddly(item, random) for item in value)}{space()}]{space()}"
    if isinstance(value, str):
        return '"' + "".join(_char(char, random) for char in value) + '"'
    if isinstance(value, float) and random.random() < 0.5:
        return f"{value * 10:.3f}e-1"
    return json.dumps(value)


def _char(char: str, random: Random) -> str:
    plain = json.dumps(char, ensure_ascii=False)[1:-1]
    escaped = "".join(f"\\u{unit:04x}" for unit in _utf16(char))
    return random.choice([plain, plain, plain, escaped, escaped.replace("\\U", "\\u")])


def _utf16(char: str) -> list[int]:
    encoded = char.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]


def raw_fields(body: bytes) -> dict[str, bytes]:
    return {key: bytes(raw) for key, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


def raw_items(array: bytes) -> list[bytes]:
    return [bytes(raw) for raw in msgspec.json.decode(array, type=list[msgspec.Raw])]
