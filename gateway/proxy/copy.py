"""A copy of what an answer says, collected while it goes to its client, for whoever judges it afterwards.

Nothing is collected unless somebody wants it for this migration and task. What is collected is what the
client gets, after it was put back into the shape that the application expects: its text, behind the
beginning that the application gave itself (a prefill), and the inputs of its tool calls. Thinking is left
out. An answer of more than `COPY_BYTES` has no copy, and one that cannot be read has none either: the
client's answer goes on in any case.

A conversation that changes its tools midway is copied without them: what may be called then stands between
its turns, and nobody reads them for this.
"""

import logging
from collections.abc import Iterable

from gateway.compat.envelope import Envelope, present
from gateway.core.booking import Place
from gateway.core.sse import SseEvent, SseScanner
from gateway.core.tap import COPY_BYTES, AnswerCopy, ToolCall
from gateway.core.types import Reason, parse_json, to_json
from gateway.proxy.call import Call, Plane
from gateway.proxy.resolve import Resolved

logger = logging.getLogger(__name__)

_DELTAS = (b'"text_delta"', b'"input_json_delta"')
_READ = frozenset({"content_block_start", "content_block_delta", "message_delta"})


class _Block:
    """One text block or tool call, as far as it came."""

    __slots__ = ("_begun", "_parts", "name")

    def __init__(self, name: str | None, begun: str) -> None:
        self.name = name
        """The tool that is called; None: it is text."""
        self._begun, self._parts = begun, list[str]()

    def add(self, part: str) -> None:
        self._parts.append(part)

    @property
    def said(self) -> str:
        """A call's input opens as an empty shell, which the first piece replaces; a text goes on."""
        rest = "".join(self._parts)
        return rest or self._begun if self.name is not None else self._begun + rest


class Copier:
    """Collects one answer, whole or piece by piece, and never raises."""

    __slots__ = ("_blocks", "_lost", "_scanner", "_size", "_stop_reason", "_tools")

    def __init__(self, tools: bytes = b"") -> None:
        """`tools` are those of the request, as `offered` returns them."""
        self._tools = tools
        self._blocks: dict[object, _Block] = {}
        self._scanner = SseScanner()
        self._stop_reason: str | None = None
        self._size = 0
        self._lost = False

    def body(self, body: bytes) -> None:
        """Take a whole answer."""
        try:
            message = parse_json(body)
            for index, block in enumerate(message["content"]):
                self._begin(index, block)
            self._stop_reason = message.get("stop_reason")
        except Exception as error:
            self._give_up(error)

    def cut(self, data: bytes) -> list[SseEvent]:
        """Return the events that these bytes of a stream complete."""
        return [] if self._lost else self._scanner.feed(data)

    def take(self, events: Iterable[SseEvent]) -> None:
        """Take the next events of a stream."""
        if self._lost:
            return
        try:
            for event in events:
                if _tells(event.name, event.data):
                    self._event(parse_json(event.data))
        except Exception as error:
            self._give_up(error)

    def copy(self, call: Call, migration: str, place: Place) -> AnswerCopy | None:
        """Return what was collected of an answer that has ended."""
        if self._lost:
            return None
        blocks = self._blocks.values()
        said = "".join([block.said for block in blocks if block.name is None])
        prefill = call.envelope.prefill if said.strip() else None
        return AnswerCopy(
            migration=migration,
            place=place,
            request_id=call.request_id,
            task=call.task,
            text=prefill.text + said if prefill is not None else said,
            tool_calls=tuple([ToolCall(b.name, b.said.encode()) for b in blocks if b.name is not None]),
            tools=self._tools,
            stop_reason=self._stop_reason,
        )

    def _event(self, event: dict[str, object]) -> None:
        delta = event.get("delta")
        if event.get("type") == "content_block_start":
            self._begin(event.get("index"), event.get("content_block"))
        elif isinstance(delta, dict) and event.get("type") == "message_delta":
            self._stop_reason = delta.get("stop_reason") or self._stop_reason
        elif isinstance(delta, dict) and (block := self._blocks.get(event.get("index"))) is not None:
            part = delta.get("text" if block.name is None else "partial_json")
            if isinstance(part, str):
                block.add(part)
                self._grow(len(part))

    def _begin(self, index: object, block: object) -> None:
        match block:
            case {"type": "text", "text": str(text)}:
                self._blocks[index] = _Block(None, text)
                self._grow(len(text))
            case {"type": "tool_use", "name": str(name), "input": given}:
                begun = to_json(given).decode()
                self._blocks[index] = _Block(name, begun)
                self._grow(len(begun))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > COPY_BYTES:
            self._lose()

    def _give_up(self, error: Exception) -> None:
        # The kind alone: what an error says may hold words of the answer.
        logger.warning("an answer could not be copied", extra={"problem": type(error).__name__})
        self._lose()

    def _lose(self) -> None:
        self._lost = True
        self._blocks.clear()


def copier_for(call: Call, resolved: Resolved | None, plane: Plane) -> Copier | None:
    """Return what collects the answer to a request, or None where nobody wants a copy of it."""
    if call.counting or resolved is None or resolved.governed is None:
        return None
    if resolved.assignment.reason is Reason.forced:
        return None
    tools, name = offered(call.envelope), resolved.governed.name
    return Copier(tools) if plane.tap.wants(name, call.task, has_tools=bool(tools)) else None


def offered(envelope: Envelope) -> bytes:
    """Return a request's tools as raw JSON, where the application defines some and they stay the same."""
    raw = envelope.fields.get("tools")
    if raw is None or not present(raw):
        return b""
    tools = bytes(raw)
    return tools if b'"input_schema"' in tools and not _changes_tools(envelope) else b""


def _changes_tools(envelope: Envelope) -> bool:
    """Tell whether tools come and go on the way; turns of role `system` may say so."""
    says = "system" in envelope.roles
    return says and any(word in envelope.body for word in (b'"tool_addition"', b'"tool_removal"'))


def _tells(name: str, data: bytes) -> bool:
    """Tell whether an event says something that is collected; most deltas of a stream may be thinking."""
    if name and name not in _READ:
        return False
    return name != "content_block_delta" or any(kind in data for kind in _DELTAS)
