"""A streamed answer, put back event by event.

Only what must change is touched. Every other event passes as the bytes it came in, pings and unknown events
at once, even while something else waits. As soon as nothing is left to do or to be kept, chunks go through
unread.

An `error` event ends a stream, so what is held goes out before it; so does what is held when the stream is
cut.
"""

from collections.abc import Iterable, Sequence

from gateway.compat.answer.assembly import Assembly
from gateway.compat.answer.kept import Kept, keep
from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.steps import (
    Curtain,
    FirstText,
    MadeUpCall,
    Message,
    Numbers,
    Step,
    TextBeforeCall,
)
from gateway.core.sse import SseEvent, SseScanner


class StreamRestorer:
    """Takes a stream in chunks cut anywhere and gives out what is decided, whole events at a time."""

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._scanner = SseScanner()
        self._steps = _steps(plan)
        self._said = Assembly() if plan.keeps else None
        self._shown = Assembly() if plan.keeps else None
        self._through = False

    @property
    def kept(self) -> Kept | None:
        """What the next turn must repeat; to be asked when the stream has come to its end."""
        said, shown = self._said, self._shown
        if said is None or shown is None or said.broken or shown.broken:
            return None
        return keep(self._plan, said.blocks, shown.blocks, said.stop_reason)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return those that can go to the client."""
        if self._through:
            return chunk
        events = self._scanner.feed(chunk)
        if self._said is not None:
            for event in events:
                self._said.take(event)
        raw = self._give(_passed(events, self._steps))
        if self._said is None and all(step.settled for step in self._steps):
            self._through = True
            return raw + self._scanner.pending
        return raw

    def close(self) -> bytes:
        """Return what is still held: the stream has ended, or was cut."""
        if self._through:
            return b""
        self._through = True
        out: list[SseEvent] = []
        for number, step in enumerate(self._steps, 1):
            out += _passed(step.flush(), self._steps[number:])
        return self._give(out) + self._scanner.pending

    def _give(self, events: Sequence[SseEvent]) -> bytes:
        if self._shown is not None:
            for event in events:
                self._shown.take(event)
        return b"".join([event.raw for event in events])


def _passed(events: Iterable[SseEvent], steps: Sequence[Step]) -> list[SseEvent]:
    """Return what comes out behind `steps`."""
    shown = list(events)
    for step in steps:
        shown = [given for event in shown for given in step.take(event)]
    return shown


def _steps(plan: AnswerPlan) -> tuple[Step, ...]:
    steps: list[Step] = []
    call = MadeUpCall(plan) if plan.forced is not None and plan.forced.wrapped else None
    if call is not None:
        steps.append(call)
    elif plan.forced is not None:
        steps.append(TextBeforeCall())
    if plan.prefill:
        steps.append(FirstText(plan))
    if plan.hides_thinking or plan.shows_notes:
        steps.append(Curtain(plan))
    if plan.shown_model or plan.classic_stops or plan.tool_names or call is not None:
        steps.append(Message(plan, call))
    if plan.hides_thinking or plan.forced is not None:
        steps.append(Numbers())
    return tuple(steps)
