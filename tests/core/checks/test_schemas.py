"""Schemas and patterns, held against what somebody hostile may have written."""

import asyncio
from typing import Any

import pytest

from gateway.core.checks.schemas import MAX_DEPTH, MAX_TOOLS_BYTES, Schema, Tools, pattern, read_tools
from gateway.core.types import to_json

ORDER = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}}},
    "required": ["id"],
    "$defs": {"line": {"type": "integer", "minimum": 1}},
}


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"id": "a"}, True),
        ({"id": "a", "lines": [1, 2]}, True),
        ({"id": "a", "lines": [0]}, False),
        ({"lines": []}, False),
        ([], False),
        (None, False),
    ],
)
def test_a_schema_accepts_what_satisfies_it(value: Any, fits: bool) -> None:
    assert Schema(ORDER).accepts(value) is fits


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}], ids=["half a pair", "in a key"])
def test_what_cannot_be_looked_at_does_not_satisfy_anything(value: Any) -> None:
    assert not Schema({"minLength": 0, "propertyNames": {"minLength": 0}}).accepts(value)


@pytest.mark.parametrize(("depth", "fits"), [(MAX_DEPTH - 1, True), (MAX_DEPTH, False), (100_000, False)])
def test_a_schema_that_refers_to_itself_does_not_follow_a_value_down_for_ever(depth: int, fits: bool) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert Schema({"items": {"$ref": "#"}}).accepts(value) is fits


@pytest.mark.parametrize("key", ["$ref", "$dynamicRef", "$schema"])
@pytest.mark.parametrize("scheme", ["http", "file"])
async def test_nothing_is_fetched_for_a_schema(key: str, scheme: str) -> None:
    asked: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append("connection")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}" if scheme == "http" else ""
        with pytest.raises(ValueError, match=r"fetch|not supported|Unknown meta-schema"):
            await asyncio.to_thread(Schema, {key: f"{scheme}://{host}/etc/hostname"})
        await asyncio.sleep(0)
    assert asked == []


@pytest.mark.parametrize(
    ("document", "says"),
    [([], "boolean"), (7, "boolean"), ({"type": "strin"}, "strin"), ({"$ref": "#/$defs/gone"}, "gone")],
)
def test_what_is_no_schema_is_refused_with_a_reason(document: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Schema(document)


def test_a_pattern_is_looked_for_anywhere_in_the_text() -> None:
    wanted = pattern(r"\bINV-\d{4}\b")
    assert wanted.accepts("see INV-2041, please")
    assert not wanted.accepts("see INV-20, please")
    assert pattern("^yes$").accepts("yes")
    assert not pattern("^yes$").accepts("yes\nbut")


def test_a_pattern_takes_time_by_the_length_of_the_text_alone() -> None:
    # A backtracking engine would be at this for longer than the universe has been there.
    assert not pattern("^(a+)+$").accepts("a" * 200_000 + "!")


@pytest.mark.parametrize("text", ["(?=a)b", r"(a)\1", "(", "a{1000}{1000}"])
def test_a_pattern_that_could_take_longer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="linear time"):
        pattern(text)


def test_tools_know_their_names_and_schemas() -> None:
    tools = Tools([{"name": "book", "input_schema": ORDER}, {"type": "bash_20250124", "name": "bash"}])
    assert (tools.offers("book"), tools.offers("bash"), tools.offers("sell")) == (True, True, False)
    assert tools.accepts("book", {"id": "a"})
    assert not tools.accepts("book", {"lines": []})
    assert tools.accepts("bash", {"anything": 1}), "the vendor knows its schema, and nobody here does"
    assert not tools.accepts("bash", ["ls"])


def test_a_toolset_offers_what_it_does_not_name() -> None:
    tools = Tools([{"name": "book", "input_schema": ORDER}, {"type": "mcp_toolset", "server": "x"}])
    assert tools.offers("screenshot")
    assert not tools.accepts("book", {})


def test_a_tools_schema_that_nobody_can_read_asks_for_an_object_and_no_more() -> None:
    tools = Tools([{"name": "find", "input_schema": {"properties": {"q": {"pattern": "(?=a)b"}}}}])
    assert tools.accepts("find", {"q": "c"})
    assert not tools.accepts("find", "c")


@pytest.mark.parametrize("raw", [b"", b"[", b" " * (MAX_TOOLS_BYTES + 1)])
def test_tools_that_cannot_be_read_are_none(raw: bytes) -> None:
    assert read_tools(raw) is None


def test_the_same_tools_are_compiled_once() -> None:
    raw = to_json([{"name": "book", "input_schema": ORDER}])
    assert read_tools(raw) is read_tools(bytes(bytearray(raw)))
