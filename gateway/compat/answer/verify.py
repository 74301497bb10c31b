"""Whether an answer holds the tool call that was to be forced.

A model that cannot be forced is asked for the call, and may do something else. The first call decides: a
named tool must be the one that is called. An answer that ended early for a reason of its own (a refusal,
`max_tokens`, a paused turn) counts as answered and is passed on as it is; nobody executes a call that was
cut. Only an answer that came to its own end without the call is `missing`.

A stream is watched as the upstream sends it, before anything is put back. As soon as the call has begun there
is nothing left to wait for.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Raw

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.shape import CALLS, OWN_ENDS, is_object, kind_of, text_of
from gateway.compat.envelope import Block, Fields, read
from gateway.core.sse import SseEvent

Verdict = Literal["open", "called", "missing"]


class _Call(msgspec.Struct, frozen=True):
    type: str
    name: str = ""


def verdict(body: bytes, plan: AnswerPlan) -> Verdict:
    """Tell whether a JSON answer holds the call; `called` where the plan wants none."""
    message = read(Raw(body), Fields)
    content = read(message.get("content"), list[Raw]) if message else None
    if plan.forced is None or message is None or content is None:
        return "called"
    for raw in content:
        found = _judge(plan, raw)
        if found == "called" and kind_of(raw) not in CALLS and not is_object(text_of(raw)):
            return _at_end(message.get("stop_reason"))
        if found != "open":
            return found
    return _at_end(message.get("stop_reason"))


class CallWatch:
    """Watches a stream for the call, event by event."""

    __slots__ = ("_plan", "_verdict")

    def __init__(self, plan: AnswerPlan) -> None:
        self._plan = plan
        self._verdict: Verdict = "called" if plan.forced is None else "open"

    def feed(self, events: Iterable[SseEvent]) -> Verdict:
        """Take the next events; once it is not `open` any more the verdict stays."""
        for event in events:
            if self._verdict != "open":
                break
            self._verdict = self._take(event)
        return self._verdict

    def _take(self, event: SseEvent) -> Verdict:
        if event.name == "error":
            return "called"
        if event.name == "message_stop":
            return "missing"
        if event.name not in ("content_block_start", "content_block_delta", "message_delta"):
            return "open"
        data = read(Raw(event.data), Fields) or {}
        if event.name == "content_block_start":
            return _judge(self._plan, data.get("content_block", Raw(b"null")))
        delta = data.get("delta", Raw(b"null"))
        if event.name == "message_delta":
            return _at_end((read(delta, Fields) or {}).get("stop_reason"))
        return _judge(self._plan, delta)


def _judge(plan: AnswerPlan, raw: Raw) -> Verdict:
    """Judge a block, or a piece of one."""
    forced, block = plan.forced, read(raw, _Call)
    if forced is None or block is None:
        return "open"
    if block.type in CALLS:
        return "called" if forced.tool in ("", block.name) else "missing"
    if forced.wrapped and block.type in ("text", "text_delta"):
        said = read(raw, Block)
        text = (read(said.text, str) or "").lstrip() if said else ""
        return "open" if not text else "called" if text.startswith("{") else "missing"
    return "open"


def _at_end(raw: Raw | None) -> Verdict:
    return "missing" if read(raw, str) in OWN_ENDS else "called"
