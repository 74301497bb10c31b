"""How models differ where the rules do not: wordiness, pace, caution, and habits.

The numbers are made up, but ordered as the real ones are: the smaller line is faster, newer models say the
same in fewer words per task, think more, and refuse a little more often. Nothing here decides whether a
request is accepted.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.compat.catalog import Model


@dataclass(frozen=True, slots=True)
class Profile:
    """The character of one model."""

    words: int
    """Length of a plain answer, roughly."""
    first_token_ms: float
    """From the request to the first token."""
    per_token_ms: float
    thinking_tokens: int
    """Thinking at medium effort."""
    refusal_rate: float
    """Share of conversations that are declined."""
    repeats_beginning: bool = False
    """Told which characters to begin with: says them again, or goes on after them."""


LINES: Mapping[str, Profile] = {
    "haiku": Profile(40, 250, 4, 40, 0.001),
    "sonnet": Profile(60, 500, 9, 80, 0.001),
    "opus": Profile(70, 800, 14, 120, 0.001),
    "fable": Profile(80, 1200, 18, 200, 0.002),
    "mythos": Profile(80, 1200, 18, 200, 0.001),
    "claude": Profile(60, 700, 12, 0, 0.001),
}
"""What a model without a row of its own is like."""

MODELS: Mapping[str, Profile] = {
    "claude-opus-4-5": Profile(70, 900, 16, 120, 0.001),
    "claude-opus-4-6": Profile(72, 900, 15, 110, 0.001),
    "claude-opus-4-7": Profile(60, 850, 14, 120, 0.001),
    "claude-opus-4-8": Profile(75, 850, 14, 130, 0.001),
    "claude-opus-5": Profile(85, 900, 13, 150, 0.002),
    "claude-opus-5-5": Profile(55, 750, 12, 140, 0.003),
    "claude-sonnet-4-5": Profile(60, 550, 10, 80, 0.001),
    "claude-sonnet-5-5": Profile(50, 450, 8, 90, 0.003),
    "claude-haiku-4-5": Profile(40, 250, 4, 40, 0.001),
    "claude-haiku-5-5": Profile(45, 300, 3, 60, 0.002),
}

EFFORT_FACTOR: Mapping[str, float] = {"low": 0.3, "medium": 1.0, "high": 1.8, "xhigh": 3.0, "max": 5.0}
"""Thinking by effort, against medium."""


def profile_of(model: Model) -> Profile:
    """The model's own profile, or that of its line; half of all models repeat a beginning, by their id."""
    own = (MODELS[name] for name in (model.id, *model.aliases) if name in MODELS)
    repeats = hashlib.sha256(model.id.encode()).digest()[0] % 2 == 0
    return replace(next(own, LINES[model.line]), repeats_beginning=repeats)
