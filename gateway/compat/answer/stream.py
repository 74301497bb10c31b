"""A streamed answer, put back event by event.

Only what must change is touched: the pieces of the first text, thinking blocks that the plan hides, and the
indices of the blocks behind them. Every other event passes as the bytes it came in, pings and unknown
events at once, even while something else waits. As soon as nothing is left to do, chunks go through unread.

Two steps stand one behind the other. `_Curtain` keeps back thinking blocks until the first other block
shows what they lead to. `_FirstText` keeps back pieces of the first text until `TextRestorer` has decided.
An `error` event ends a stream, so what is held goes out before it; so does what is held when the stream is
cut.
"""

import msgspec

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.response import TextRestorer
from gateway.compat.envelope import THINKING_BLOCKS, Block, Fields, encode, read, whole_number
from gateway.core.sse import SseEvent, SseScanner

_OF_BLOCKS = frozenset({"content_block_start", "content_block_delta", "content_block_stop"})
_ENDS = frozenset({"error", "message_delta", "message_stop"})
"""After one of these no content comes."""


class StreamRestorer:
    """Takes a stream in chunks cut anywhere and gives out what is decided, whole events at a time."""

    def __init__(self, plan: AnswerPlan) -> None:
        self._scanner = SseScanner()
        self._curtain = _Curtain(raised=not plan.hides_thinking)
        self._text = _FirstText(plan)
        self._through = False

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return those that can go to the client."""
        if self._through:
            return chunk
        out: list[SseEvent] = []
        for event in self._scanner.feed(chunk):
            for shown in self._curtain.take(event):
                out += self._text.take(shown)
        raw = [event.raw for event in out]
        if self._curtain.settled and self._text.settled:
            self._through = True
            raw.append(self._scanner.pending)
        return b"".join(raw)

    def close(self) -> bytes:
        """Return what is still held: the stream has ended, or was cut."""
        if self._through:
            return b""
        self._through = True
        out: list[SseEvent] = []
        for shown in self._curtain.flush():
            out += self._text.take(shown)
        out += self._text.flush()
        return b"".join([*(event.raw for event in out), self._scanner.pending])


class _Curtain:
    """Hides thinking blocks that stand right before the first text, and renumbers what follows."""

    def __init__(self, *, raised: bool) -> None:
        self._raised = raised
        """Whatever comes is shown."""
        self._held: list[SseEvent] = []
        self._hidden = 0
        """How many blocks were left out."""

    @property
    def settled(self) -> bool:
        """True when nothing that comes will be held or changed."""
        return self._raised and not self._hidden

    def take(self, event: SseEvent) -> list[SseEvent]:
        """Return what is shown now."""
        if self._raised:
            return [self._renumbered(event) if self._hidden and event.name in _OF_BLOCKS else event]
        if event.name == "content_block_start":
            return self._begin(event)
        if event.name in _ENDS:
            return [*self.flush(), event]
        if event.name in _OF_BLOCKS and self._held:
            self._held.append(event)
            return []
        return [event]

    def flush(self) -> list[SseEvent]:
        """Show what is held and everything that comes."""
        self._raised = True
        held, self._held = self._held, []
        return held

    def _begin(self, event: SseEvent) -> list[SseEvent]:
        kind = _kind(event, "content_block")
        if kind in THINKING_BLOCKS:
            self._held.append(event)
            return []
        held = self.flush()
        if kind != "text" or not held:
            return [*held, event]
        self._hidden = sum(one.name == "content_block_start" for one in held)
        return [self._renumbered(event)]

    def _renumbered(self, event: SseEvent) -> SseEvent:
        fields = read_data(event)
        index = whole_number(fields.get("index"))
        return event if index is None else edited(event, fields | {"index": encode(index - self._hidden)})


class _FirstText:
    """Restores the first text block of a stream."""

    def __init__(self, plan: AnswerPlan) -> None:
        self._restorer = TextRestorer(plan)
        self._begun = False
        self._done = False
        self._held: list[SseEvent] = []
        """Events of the block, whose text is not decided yet."""
        self._held_text = ""
        self._last: SseEvent | None = None
        """The last piece of text, to say things in its form."""

    @property
    def settled(self) -> bool:
        """True when nothing that comes will be held or changed."""
        return self._done or (self._restorer.settled and not self._held)

    def take(self, event: SseEvent) -> list[SseEvent]:
        """Return what is given out now."""
        if self._done:
            return [event]
        if event.name in _ENDS or (event.name == "content_block_stop" and self._begun):
            return [*self.flush(), event]
        if event.name == "content_block_start" and not self._begun:
            self._begun = _kind(event, "content_block") == "text"
        elif event.name == "content_block_delta" and self._begun:
            return self._delta(event)
        return [event]

    def flush(self) -> list[SseEvent]:
        """Give out what is held: there is no more text."""
        self._done = True
        return self._give(self._restorer.finish())

    def _delta(self, event: SseEvent) -> list[SseEvent]:
        text = _text(event)
        if text is None:
            # A citation belongs behind the text it cites.
            if self._held:
                self._held.append(event)
                return []
            return [event]
        self._held.append(event)
        self._held_text += text
        self._last = event
        out = self._restorer.feed(text)
        return self._give(out) if self._restorer.decided else []

    def _give(self, text: str) -> list[SseEvent]:
        """Return the held events with `text` in place of theirs; untouched where it is the same."""
        held, self._held = self._held, []
        same = text == self._held_text
        self._held_text = ""
        if same:
            return held
        others = [event for event in held if _text(event) is None]
        if not text or self._last is None:
            return others
        fields = read_data(self._last)
        delta = read(fields["delta"], Fields) or {}
        said = edited(self._last, fields | {"delta": encode(delta | {"text": encode(text)})})
        return [said, *others]


def read_data(event: SseEvent) -> Fields:
    """Return the top level of an event's data; empty where it is no object."""
    try:
        return msgspec.json.decode(event.data, type=Fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def edited(event: SseEvent, fields: Fields) -> SseEvent:
    """Return the event with other data, in the lines that it came in."""
    data = msgspec.json.encode(fields)
    if event.data in event.raw:
        return SseEvent(event.name, data, event.raw.replace(event.data, data, 1))
    # Data in several lines: line ends can only stand between tokens.
    data = data.replace(b"\n", b" ")
    return SseEvent(event.name, data, b"event: " + event.name.encode() + b"\ndata: " + data + b"\n\n")


def _kind(event: SseEvent, part: str) -> str:
    block = read(read_data(event).get(part), Block)
    return block.type if block else ""


def _text(event: SseEvent) -> str | None:
    block = read(read_data(event).get("delta"), Block)
    return read(block.text, str) if block and block.type == "text_delta" else None
