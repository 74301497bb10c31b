"""What is done to a streamed answer, one step behind the other.

Every step takes events and gives out those that are decided. Pings and events that nobody knows pass at once,
even while something else waits. What is held goes out before the events that end a stream.
"""

from typing import Protocol

from gateway.compat.answer.events import ENDS, OF_BLOCKS, edited, kind, part, read_data, with_part
from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.shape import CALLS, kind_of, made_up_call, note_text, renamed, told_as
from gateway.compat.answer.text import TextRestorer
from gateway.compat.envelope import THINKING_BLOCKS, Fields, encode, read, whole_number
from gateway.core.sse import SseEvent


class Step(Protocol):
    """One step."""

    @property
    def settled(self) -> bool:
        """Whether nothing that comes will be held or changed."""

    def take(self, event: SseEvent) -> list[SseEvent]:
        """Take the next event and return what is given out now."""

    def flush(self) -> list[SseEvent]:
        """Return what is held: no more content comes."""


class TextBeforeCall:
    """Takes away what an answer says before a forced call.

    From the first text on everything waits until a call shows that it was only said before it.
    """

    def __init__(self) -> None:
        self._held: list[tuple[SseEvent, bool]] = []
        """Events since the first text; whether they are of a text."""
        self._in_text = False
        self._called = False

    @property
    def settled(self) -> bool:
        return self._called

    def take(self, event: SseEvent) -> list[SseEvent]:
        if event.name in ENDS:
            return [*self.flush(), event]
        if self._called or event.name not in OF_BLOCKS:
            return [event]
        if event.name == "content_block_start":
            begun = kind(event)
            if begun in CALLS:
                self._called = True
                held, self._held = self._held, []
                return [*(one for one, of_text in held if not of_text), event]
            self._in_text = begun == "text"
        if self._held or self._in_text:
            self._held.append((event, self._in_text))
            return []
        return [event]

    def flush(self) -> list[SseEvent]:
        held, self._held = self._held, []
        return [event for event, _ in held]


class MadeUpCall:
    """Shows the first text as the input of the forced call, as soon as it begins like one."""

    settled = False

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._message: Fields = {}
        self._held: list[SseEvent] = []
        """The events of the text, before it has begun."""
        self._done = False
        self.wrapped = False
        """The text is shown as a call."""

    def take(self, event: SseEvent) -> list[SseEvent]:
        if event.name == "message_start":
            self._message = part(event, "message")
        if event.name in ENDS:
            return [*self.flush(), event]
        if self._done or event.name not in OF_BLOCKS:
            return [event]
        if event.name == "content_block_start" and kind(event) == "text":
            self._held = [event]
            return []
        if not self._held and not self.wrapped:
            return [event]
        if event.name == "content_block_stop":
            return [*self.flush(), event]
        return self._input(event) if self.wrapped else self._begin(event)

    def flush(self) -> list[SseEvent]:
        self._done = self._done or bool(self._held) or self.wrapped
        held, self._held = self._held, []
        return held

    def _begin(self, event: SseEvent) -> list[SseEvent]:
        self._held.append(event)
        said = (read(part(event, "delta").get("text"), str) or "").lstrip()
        if not said:
            return []
        start, *pieces = self._held
        if not said.startswith("{"):
            return self.flush()
        self._held, self.wrapped = [], True
        call = with_part(start, "content_block", made_up_call(self._message, self._plan))
        return [call, *(shown for piece in pieces for shown in self._input(piece))]

    def _input(self, event: SseEvent) -> list[SseEvent]:
        text = part(event, "delta").get("text")
        if text is None:
            return []
        return [with_part(event, "delta", {"type": encode("input_json_delta"), "partial_json": text})]


class FirstText:
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
        return self._done or (self._restorer.settled and not self._held)

    def take(self, event: SseEvent) -> list[SseEvent]:
        if self._done:
            return [event]
        if event.name in ENDS or (event.name == "content_block_stop" and self._begun):
            return [*self.flush(), event]
        if event.name == "content_block_start" and not self._begun:
            self._begun = kind(event) == "text"
        elif event.name == "content_block_delta" and self._begun:
            return self._delta(event)
        return [event]

    def flush(self) -> list[SseEvent]:
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
        delta = part(self._last, "delta")
        return [with_part(self._last, "delta", delta | {"text": encode(text)}), *others]


class Curtain:
    """Hides thinking blocks, and shows notes on the progress as text.

    Whether a block is a note is known with its first words: until then it waits, no longer.
    """

    settled = False

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._held: list[SseEvent] = []
        """The events of a block that may be a note."""
        self._inside = ""
        """What kind of thinking block is open: `hidden`, `silent` (it may be a note) or `note`."""

    def take(self, event: SseEvent) -> list[SseEvent]:
        if event.name in ENDS:
            return [*self.flush(), event]
        if event.name not in OF_BLOCKS:
            return [event]
        if event.name == "content_block_start":
            return [*self.flush(), *self._begin(event)]
        if event.name == "content_block_stop":
            return self._end(event)
        if self._inside == "silent":
            self._held.append(event)
            return self._reveal() if note_text(read_data(event).get("delta")) else []
        if self._inside == "note":
            return self._said(event)
        return [] if self._inside else [event]

    def flush(self) -> list[SseEvent]:
        held, self._held = self._held, []
        self._inside = ""
        return [] if self._plan.hides_thinking else held

    def _begin(self, event: SseEvent) -> list[SseEvent]:
        begun = kind(event)
        if begun not in THINKING_BLOCKS:
            return [event]
        if self._plan.shows_notes and begun == "thinking":
            self._held, self._inside = [event], "silent"
            return self._reveal() if note_text(read_data(event).get("content_block")) else []
        self._inside = "hidden" if self._plan.hides_thinking else ""
        return [] if self._inside else [event]

    def _end(self, event: SseEvent) -> list[SseEvent]:
        shown = self._inside in ("", "note") or (self._inside == "silent" and not self._plan.hides_thinking)
        return [*self.flush(), event] if shown else self.flush()

    def _reveal(self) -> list[SseEvent]:
        (start, *pieces), self._held, self._inside = self._held, [], "note"
        text = {"type": encode("text"), "text": encode(note_text(read_data(start).get("content_block")))}
        begun = with_part(start, "content_block", text)
        return [begun, *(shown for piece in pieces for shown in self._said(piece))]

    def _said(self, event: SseEvent) -> list[SseEvent]:
        text = note_text(read_data(event).get("delta"))
        if not text:
            return []
        return [with_part(event, "delta", {"type": encode("text_delta"), "text": encode(text)})]


class Message:
    """Tells what the answer says of itself as the application knows it: tools, model, stop reason."""

    def __init__(self, plan: AnswerPlan, call: MadeUpCall | None) -> None:
        self._plan = plan
        self._call = call
        self._begun = False

    @property
    def settled(self) -> bool:
        return self._begun and not (self._plan.tool_names or self._plan.classic_stops or self._call)

    def take(self, event: SseEvent) -> list[SseEvent]:
        if event.name == "message_start":
            self._begun = True
            message = part(event, "message")
            if self._plan.shown_model and "model" in message:
                return [with_part(event, "message", message | {"model": encode(self._plan.shown_model)})]
        elif event.name == "message_delta":
            return [self._ended(event)]
        elif event.name == "content_block_start" and self._plan.tool_names:
            fields = read_data(event)
            block = fields.get("content_block")
            if block is not None and kind_of(block) == "tool_use":
                own = renamed(block, self._plan)
                return [event if own is block else edited(event, fields | {"content_block": own})]
        return [event]

    def flush(self) -> list[SseEvent]:
        return []

    def _ended(self, event: SseEvent) -> SseEvent:
        delta = part(event, "delta")
        stop = read(delta.get("stop_reason"), str) or ""
        told = told_as(stop, self._plan, wrapped=self._call is not None and self._call.wrapped)
        return event if told == stop else with_part(event, "delta", delta | {"stop_reason": encode(told)})


class Numbers:
    """Numbers the blocks that are left anew."""

    settled = False

    def __init__(self) -> None:
        self._shown = 0
        self._shift = 0

    def take(self, event: SseEvent) -> list[SseEvent]:
        if event.name not in OF_BLOCKS:
            return [event]
        begins = event.name == "content_block_start"
        if not begins and not self._shift:
            return [event]
        fields = read_data(event)
        index = whole_number(fields.get("index"))
        if index is None:
            return [event]
        if begins:
            self._shift = index - self._shown
            self._shown += 1
        return [edited(event, fields | {"index": encode(index - self._shift)}) if self._shift else event]

    def flush(self) -> list[SseEvent]:
        return []


def _text(event: SseEvent) -> str | None:
    return read(part(event, "delta").get("text"), str) if kind(event) == "text_delta" else None
