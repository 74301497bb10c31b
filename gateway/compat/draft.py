"""A request on its way from the model that it was written for to the one that will serve it.

A `Draft` is a value: a rule takes one and returns another, so every rule is a pure function of the request,
the two models' rows and the policy. A body that no rule touched goes out as the object that came in; in a
body that one did, every other value is still the same bytes.

Messages are changed by `Edit`s alone, told in places of the application's own messages (`replay`), because
the next turn of the conversation must repeat them. Only what a rule can say again from the messages
themselves is no edit: a prefill that is cut off, and rules over every message (`reworded`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from msgspec import Raw, Struct, structs

from gateway.compat import replay
from gateway.compat.answer.plan import PLAIN, AnswerPlan
from gateway.compat.catalog import Model
from gateway.compat.envelope import Envelope, Fields, Turn, encode, present, read
from gateway.compat.prompts import PromptVariant
from gateway.compat.replay import NOTHING, Edit, Replay
from gateway.core.spec import CompatPolicy
from gateway.core.types import Change, RewriteClass

Rewording = Callable[[Sequence[Raw]], list[Raw]]

LARGE = 32_000
FEW = 16
"""Of so many messages at the end of a large conversation each is found by itself; else all are read."""

_Known = tuple[Raw, Turn | None]
_Before = tuple[Raw, tuple[Turn, ...]]


class Draft(Struct, frozen=True):
    """One request while the rules work on it: a struct, whose copies cost a tenth of a dataclass's."""

    envelope: Envelope
    """As the application sent it."""
    source: Model
    """The model that the application wrote for."""
    target: Model
    """The model that will serve."""
    policy: CompatPolicy
    fields: Mapping[str, Raw]
    """The top level in its order; `messages` as they came."""
    betas: tuple[str, ...] = ()
    """Values of `anthropic-beta`."""
    version: str = ""
    """The `anthropic-version`."""
    counting: bool = False
    """A count_tokens body: nothing is generated, `max_tokens` may be missing."""
    insists: bool = False
    """The model ignored what it was asked for, and is asked more firmly."""
    ruleset: str = ""
    """The one that the conversation is pinned to."""
    variant: PromptVariant | None = None
    """The prompt variant that the conversation has."""
    past: Replay = NOTHING
    """What earlier turns of the conversation left to be repeated."""
    edits: tuple[Edit, ...] = ()
    """What this request writes into its messages."""
    cut: int | None = None
    """Index of the first message that is left out (a prefill)."""
    rewordings: tuple[Rewording, ...] = ()
    """Rules over all messages, applied last."""
    changes: tuple[Change, ...] = ()
    plan: AnswerPlan = PLAIN

    def but(self, **values: Any) -> "Draft":
        """Return the draft with other values."""
        return structs.replace(self, **values)

    def put(self, name: str, value: object) -> "Draft":
        """Set a field in its place, a new one at the end."""
        return self.but(fields={**self.fields, name: encode(value)})

    def drop(self, name: str) -> "Draft":
        """Leave a field out."""
        if name not in self.fields:
            return self
        return self.but(fields={key: value for key, value in self.fields.items() if key != name})

    def note(self, rule: str, rewrite_class: RewriteClass, sentence: str) -> "Draft":
        """Write down what a rule did."""
        return self.but(changes=(*self.changes, Change(rule, rewrite_class, sentence)))

    def edit(self, *edits: Edit) -> "Draft":
        """Write into the messages; the next turns repeat it."""
        return self.but(edits=(*self.edits, *edits), plan=replace(self.plan, repeats=True))

    def reworded(self, rewording: Rewording) -> "Draft":
        """Apply a rule to all messages once they stand."""
        return self.but(rewordings=(*self.rewordings, rewording))

    def options(self, name: str) -> Fields | None:
        """Return a field that is an object, one level down: empty where missing, None where it is none."""
        raw = self.fields.get(name)
        return read(raw, Fields) if present(raw) else {}

    @property
    def body(self) -> bytes:
        """The request as it stands: the very bytes that came in where nothing was changed."""
        return self.sent.body

    @property
    def sent(self) -> Envelope:
        """The request as it stands, as one would have received it; what is known of it is not read again."""
        edits = (*self.past.edits, *self.edits)
        whole = self._messages(edits)
        if whole is None:
            same = self.fields is self.envelope.fields
            return self.envelope if same else self.envelope.with_fields(self.fields)
        fields = dict(self.fields)
        if "tools" in fields:
            fields["tools"] = replay.strictly(fields["tools"], edits)
        return self.envelope.with_fields(fields, *whole)

    def _messages(self, edits: tuple[Edit, ...]) -> tuple[list[_Known], _Before | None] | None:
        """Return the messages as they stand, and what they are; None where they are as they came."""
        if not (self.past or self.edits or self.rewordings) and self.cut is None:
            return None
        messages, turns = self.fields.get("messages", Raw(b"null")), self.envelope.turns
        first = self._first(edits)
        few = len(memoryview(messages)) > LARGE and first and 0 < len(turns) - first <= FEW
        last = replay.split(messages, turns, first) if few else None
        before, raws = last or (None, read(messages, list[Raw]))
        if raws is None:
            return None
        first = first if last else 0
        known = {id(raw): turn for raw, turn in zip(raws, turns[first:], strict=False)}
        whole = replay.without_lost(raws, self.past)
        cut = None if self.cut is None else self.cut - first
        whole = replay.apply(whole[:cut], edits, first=first)
        for reword in self.rewordings:
            whole = reword(whole)
        told = [(raw, known.get(id(raw)) or read(raw, Turn)) for raw in whole]
        return told, None if before is None else (before, turns[:first])

    def _first(self, edits: tuple[Edit, ...]) -> int:
        """Return the index of the first message that may not stay as it came."""
        if self.rewordings or self.past.left_out or self.past.broken_at is not None:
            return 0
        places = [edit.place for edit in edits] + ([] if self.cut is None else [self.cut - 1])
        return max(0, min(places, default=0))
