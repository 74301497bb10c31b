"""Events of a streamed answer, read and edited without touching what need not change."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from gateway.compat.answer.shape import kind_of
from gateway.compat.envelope import Fields, encode, read
from gateway.core.sse import SseEvent

OF_BLOCKS = frozenset({"content_block_start", "content_block_delta", "content_block_stop"})
ENDS = frozenset({"error", "message_delta", "message_stop"})
"""After one of these no content comes."""


def read_data(event: SseEvent) -> Fields:
    """Return the top level of an event's data; empty where it is no object."""
    return read(Raw(event.data), Fields) or {}


def part(event: SseEvent, name: str) -> Fields:
    """Return an object in an event's data; empty where it is none."""
    return read(read_data(event).get(name), Fields) or {}


def kind(event: SseEvent) -> str:
    """Return the type of the block that an event begins, or of the piece that it brings."""
    return kind_of(read_data(event).get("content_block" if event.name == "content_block_start" else "delta"))


def with_part(event: SseEvent, name: str, value: Mapping[str, Raw]) -> SseEvent:
    """Return the event with another object in its place."""
    return edited(event, read_data(event) | {name: encode(value)})


def edited(event: SseEvent, fields: Fields) -> SseEvent:
    """Return the event with other data, in the lines that it came in."""
    data = msgspec.json.encode(fields)
    if event.data in event.raw:
        return SseEvent(event.name, data, event.raw.replace(event.data, data, 1))
    # Data in several lines: line ends can only stand between tokens.
    data = data.replace(b"\n", b" ")
    return SseEvent(event.name, data, b"event: " + event.name.encode() + b"\ndata: " + data + b"\n\n")
