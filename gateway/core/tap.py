"""The copy of an answer that goes to whoever judges it, once its caller has it.

The data path hands over and forgets: a tap never delays, changes or fails a request. It says beforehand what
it wants to see, because collecting an answer's words costs memory and time.
"""

from dataclasses import dataclass
from typing import Protocol

from gateway.core.booking import Place

COPY_BYTES = 1024 * 1024
"""Most of an answer that is collected; one that is longer is judged by nobody."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of an answer."""

    name: str
    input_json: bytes
    """As it came; not necessarily JSON."""


@dataclass(frozen=True, slots=True)
class AnswerCopy:
    """What an answer said, as its caller got it; never stored and never logged."""

    migration: str
    place: Place
    request_id: str
    task: str
    text: str
    """All text blocks, joined, behind the request's prefill: what the application reads. Empty: it said
    nothing."""
    tool_calls: tuple[ToolCall, ...]
    tools: bytes
    """The request's `tools`, raw JSON; empty where there were none of its own, or where they change on the
    way."""
    stop_reason: str | None


class Tap(Protocol):
    """Who looks at copies of answers."""

    def wants(self, migration: str, task: str, *, has_tools: bool) -> bool:
        """Tell, before the answer comes, whether a copy of it is wanted."""
        ...

    def take(self, copy: AnswerCopy) -> None:
        """Take a copy. Returns at once and never raises."""
        ...


class NoTap:
    """Nobody looks."""

    def wants(self, migration: str, task: str, *, has_tools: bool) -> bool:
        """Tell that none is wanted."""
        return False

    def take(self, copy: AnswerCopy) -> None:
        """Do nothing."""
