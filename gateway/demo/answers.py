"""What came back, as the application reads it, and whether it can work with it.

A status of 200 is not enough: extraction needs JSON that continues its prefill, a classifier needs its tool
called, and everybody needs an answer with something in it. Whatever an application would stumble over is a
sentence here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.sse import SseEvent
from gateway.core.types import parse_json
from gateway.core.usage import Usage, usage_of
from gateway.demo.apps import Conversation


@dataclass(slots=True)
class Message:
    """An answer, put together from JSON or from a stream."""

    content: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    stop_reason: str | None = None
    whole: bool = False
    """It was received to its end."""
    error: str | None = None
    """The type of an error that came instead, or inside the stream."""


def from_json(body: bytes) -> Message:
    """Read a JSON answer, be it a message or an error."""
    try:
        document = parse_json(body)
    except ValueError:
        return Message(error="no JSON")
    match document:
        case {"type": "message", "content": list() as content}:
            usage = usage_of(document.get("usage") or {})
            return Message(content, usage, document.get("stop_reason"), whole=True)
        case {"type": "error", "error": {"type": str() as kind}}:
            return Message(error=kind)
        case _:
            return Message(error="neither a message nor an error")


class StreamReader:
    """Puts a message together from its events."""

    def __init__(self) -> None:
        self.message = Message()
        self._reports: list[Mapping[str, Any]] = []
        self._arguments: dict[int, str] = {}
        """Tool input, as text until its block is closed."""

    def take(self, events: Iterable[SseEvent]) -> None:
        """Read the next events."""
        for event in events:
            if event.data:
                self._take(parse_json(event.data))

    def _take(self, event: Mapping[str, Any]) -> None:
        message = self.message
        match event:
            case {"type": "message_start", "message": {"usage": dict() as usage}}:
                self._report(usage)
            case {"type": "content_block_start", "content_block": dict() as block}:
                message.content.append(dict(block))
            case {"type": "content_block_delta", "index": int() as index, "delta": dict() as delta}:
                self._extend(index, delta)
            case {"type": "content_block_stop", "index": int() as index} if index in self._arguments:
                self._close(index)
            case {"type": "message_delta", "delta": dict() as delta}:
                message.stop_reason = delta.get("stop_reason") or message.stop_reason
                self._report(event.get("usage") or {})
            case {"type": "message_stop"}:
                message.whole = True
            case {"type": "error", "error": {"type": str() as kind}}:
                message.error = kind

    def _extend(self, index: int, delta: Mapping[str, Any]) -> None:
        block = self.message.content[index]
        match delta:
            case {"type": "text_delta", "text": str() as text}:
                block["text"] = block.get("text", "") + text
            case {"type": "thinking_delta", "thinking": str() as thinking}:
                block["thinking"] = block.get("thinking", "") + thinking
            case {"type": "signature_delta", "signature": str() as signature}:
                block["signature"] = signature
            case {"type": "input_json_delta", "partial_json": str() as part}:
                self._arguments[index] = self._arguments.get(index, "") + part

    def _close(self, index: int) -> None:
        try:
            self.message.content[index]["input"] = parse_json(self._arguments.pop(index) or "{}")
        except ValueError:
            self.message.error = "a tool's input that is no JSON"

    def _report(self, usage: Mapping[str, Any]) -> None:
        self._reports.append(usage)
        self.message.usage = usage_of(*self._reports)


def complaint(conversation: Conversation, status: int, message: Message) -> str | None:
    """Return what the application stumbles over, or None when it can go on."""
    if status != 200:
        return f"HTTP {status} {message.error or ''}".strip()
    if message.error:
        return f"stream ended with {message.error}"
    if not message.whole:
        return "answer was cut short"
    if message.stop_reason == "refusal":
        # The model's own decision, which the application handles; the gateway counts it apart.
        return None
    kinds = [block.get("type") for block in message.content]
    match conversation.template.expects:
        case "tool":
            return None if "tool_use" in kinds else "the tool was not called"
        case "json":
            return _json_complaint(conversation.body["messages"][-1]["content"], message)
        case _:
            return None if _says_something(message) else "answer was empty"


def _json_complaint(prefill: str, message: Message) -> str | None:
    text = "".join(block.get("text", "") for block in message.content if block.get("type") == "text")
    try:
        record = parse_json(prefill + text)
    except ValueError:
        return "what continues the prefill is no JSON"
    return None if isinstance(record, dict) and record else "the record was empty"


def _says_something(message: Message) -> bool:
    return any(
        block.get("type") == "tool_use" or str(block.get("text", "")).strip() for block in message.content
    )
