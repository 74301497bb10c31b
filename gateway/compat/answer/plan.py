"""What must be done to the answer of a rewritten request; written by the rules, carried out by `response` and
`stream`.

A plan is plain data, because a batch keeps those of its items until its results are fetched.
"""

from dataclasses import dataclass
from typing import Literal

from msgspec import Raw

from gateway.compat.envelope import encode, read

Intent = Literal["json", "yaml", "label", "reminder", "text"]


@dataclass(frozen=True, slots=True)
class ForcedCall:
    """The tool call that the application forces on a model which cannot be forced."""

    tool: str = ""
    """The tool to be called, by the name that the model knows; empty: any."""
    wrapped: bool = False
    """The tool's input is asked for as structured output, and its text is shown as the call."""


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """How an answer is put back; the empty plan leaves it as it is."""

    prefill: str = ""
    """The beginning of the answer, which the application has already."""
    intent: Intent = "text"
    continued: bool = False
    """That beginning is a turn of its own to the model, and the answer the next one."""
    quoted: str = ""
    """The end of that beginning, which the model was shown and may repeat."""
    hides_thinking: bool = False
    """Thinking blocks that the application did not ask for are not shown."""
    shows_notes: bool = False
    """Thinking blocks with text are notes on the progress, shown as text."""
    forced: ForcedCall | None = None
    """The answer must be this call; whether it is, `verify` tells."""
    tool_names: tuple[tuple[str, str], ...] = ()
    """Pairs of the name that the model knows a tool by and the application's own."""
    classic_stops: bool = False
    """Stop reasons that older applications do not know are told as ones that they do."""
    shown_model: str = ""
    """The id shown as `model`; empty: the one that the answer bears."""
    repeats: bool = False
    """Something was written into the conversation, which later turns repeat."""

    def __bool__(self) -> bool:
        return self != PLAIN

    @property
    def keeps(self) -> bool:
        """Whether something of the answer may have to be kept for the next turn."""
        return bool(
            self.repeats or self.prefill or self.hides_thinking or self.shows_notes or self.forced is not None
        )


PLAIN = AnswerPlan()


def pack(plan: AnswerPlan) -> bytes:
    """Return a plan as bytes."""
    return bytes(encode(plan))


def unpack(data: bytes) -> AnswerPlan | None:
    """Read a plan; None where it is none of ours."""
    return read(Raw(data), AnswerPlan)
