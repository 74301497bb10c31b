"""Server-side fallbacks: another model answers where the requested one declines.

The attempts run in the order of the list (`default`: the model's own). A refusal as `reasoning_extraction` is
never retried, and Sonnet 5.5 does not retry `bio` and `general_harms` either. A `fallback` block marks where
one model's words end and the next one's begin; what was said before it stays. `usage` is the last attempt's,
`usage.iterations` the bill of each. Once a conversation was handed over, it stays there for an hour: the
next request goes to that model at once, without a block.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import pairwise

from gateway.core.types import to_json
from gateway.simulator.replies.cache import PromptUse
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.case import Case, Json
from gateway.simulator.rules.judge import broken_rules
from gateway.simulator.rules.lineup import SONNET_5_5
from gateway.simulator.rules.options import attempt, entries_of

NEVER_RETRIED = frozenset({"reasoning_extraction"})
NOT_RETRIED_BY_SONNET = frozenset({"bio", "general_harms"})
STICKY_S = 3600.0
MAX_STICKY = 10_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model's answer to a request."""

    case: Case
    reply: Reply
    use: PromptUse

    def billed(self, kind: str) -> Json:
        """Its entry in `usage.iterations`."""
        counts = {**self.use.as_json(), "output_tokens": self.reply.output_tokens}
        return {"type": kind, "model": self.case.model.id, **counts}


def chain(case: Case) -> list[Case]:
    """The request as each fallback would get it; those that would not take it are left out."""
    attempts = (attempt(case, entry) for entry in entries_of(case))
    return [next_one for next_one in attempts if next_one and next(broken_rules(next_one), None) is None]


def hands_over(case: Case, reply: Reply) -> bool:
    """Whether a refusal goes on to the next model."""
    if reply.stop_reason != "refusal":
        return False
    category = (reply.stop_details or {}).get("category")
    own = NOT_RETRIED_BY_SONNET if case.model.id == SONNET_5_5 else frozenset()
    return category not in NEVER_RETRIED | own


def joined(requested: str, attempts: list[Attempt], *, started_at: str) -> Reply:
    """The answer that several attempts add up to; `started_at`: the model that the first one asked."""
    last = attempts[-1]
    content: list[Json] = []
    for one, following in pairwise(attempts):
        name = requested if one is attempts[0] and one.case.model.id == started_at else one.case.model.id
        trigger = {"type": "refusal", "category": (one.reply.stop_details or {}).get("category")}
        ends = {"from": {"model": name}, "to": {"model": following.case.model.id}}
        content += [*one.reply.content, {"type": "fallback", **ends, "trigger": trigger}]
    bills = [one.billed("message") for one in attempts[:-1]]
    served = last.billed("fallback_message" if last.case.model.id != started_at else "message")
    usage = {**last.reply.usage, "iterations": [*bills, served]}
    return replace(last.reply, content=[*content, *last.reply.content], usage=usage)


class Stickiness:
    """The conversations that were handed over, and to whom."""

    def __init__(self) -> None:
        self._served_by: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def served_by(self, case: Case, now: float) -> str | None:
        """The model that a conversation stays with."""
        if not self._served_by:
            return None
        model, until = self._served_by.get(_beginning(case), ("", 0.0))
        return model if now < until else None

    def keep(self, case: Case, model_id: str, now: float) -> None:
        """A conversation was handed over."""
        key = _beginning(case)
        self._served_by[key] = (model_id, now + STICKY_S)
        self._served_by.move_to_end(key)
        if len(self._served_by) > MAX_STICKY:
            self._served_by.popitem(last=False)


def _beginning(case: Case) -> str:
    """What a conversation is known by: who leads it, with whom, and how it began."""
    beginning = [case.account, case.model.id, case.body.get("system"), case.messages[0]]
    return hashlib.sha256(to_json(beginning)).hexdigest()
