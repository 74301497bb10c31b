"""What must be done to the answer of a rewritten request; written by the rules, carried out by `response` and
`stream`.
"""

from dataclasses import dataclass
from typing import Literal

Intent = Literal["json", "label", "text"]


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """How an answer is put back; the empty plan leaves it as it is."""

    prefill: str = ""
    """The beginning of the answer, which the application has already."""
    intent: Intent = "text"
    hides_thinking: bool = False
    """Thinking blocks that the application did not ask for are not shown."""

    def __bool__(self) -> bool:
        return self != PLAIN


PLAIN = AnswerPlan()
