"""Server-sent events, cut out of a byte stream as it arrives.

The scanner never changes, adds or loses a byte: the `raw` of every event, one after the other, followed by
`pending`, is what was fed. So a relay can send `raw` on while it looks at `data`, and may put an event of its
own behind each.

Rules: lines end in LF or CR LF, an event ends with a blank line. A block without fields (a comment, a spare
blank line) is an event too, with an empty name and no data, because its bytes must travel. Lone CRs, which
the standard would also take as line ends, are data here: no Messages API writes them, and telling them from
half a CR LF would mean holding an event back.
"""

import re
from dataclasses import dataclass

_END = re.compile(rb"\n\r?\n")
_BLANK = re.compile(rb"\r?\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event, as understood and as received."""

    name: str
    """The `event` field; empty when there is none."""
    data: bytes
    """The `data` lines joined by LF."""
    raw: bytes
    """The bytes as they came, blank line included."""


class SseScanner:
    """Cuts a stream into events, wherever the chunks were cut."""

    __slots__ = ("_buffer", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        """No event ends before this offset of the buffer."""

    @property
    def pending(self) -> bytes:
        """What has been received of the next event."""
        return bytes(self._buffer)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes and return the events that they complete."""
        buffer = self._buffer
        buffer += chunk
        events: list[SseEvent] = []
        start, search = 0, self._searched
        while True:
            # A blank line at the very start ends an event of its own; elsewhere it follows a line end.
            end = _BLANK.match(buffer, start) or _END.search(buffer, search)
            if end is None:
                break
            events.append(_read(bytes(buffer[start : end.end()])))
            start = search = end.end()
        if start:
            del buffer[:start]
        # The end may be cut inside LF CR LF: its first two bytes are looked at again.
        self._searched = max(0, len(buffer) - 2)
        return events


def _read(raw: bytes) -> SseEvent:
    name = ""
    data: bytes | None = None
    for line in raw.removeprefix(_BOM).split(b"\n"):
        field, _, value = line.removesuffix(b"\r").partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return SseEvent(name, data or b"", raw)
