"""One request explained: what would be done to it, by which rule, and what to the answer.

The same rules run that serve, so what is told here is what happens. Two things depend on more than the
request: what earlier turns of its conversation left to be repeated (`compat.replay`), and the ruleset that
the conversation is pinned to. A request is explained as the first of its conversation.

Nothing is kept. The diff holds text of the request, everything else does not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Literal

import msgspec
from msgspec import Raw

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.catalog import Model
from gateway.compat.envelope import Envelope, Fields, Headers, encode, read
from gateway.compat.request import PLAINLY, Context, drafted, obstacle, rewrite, rules_between, violations
from gateway.core.spec import CompatPolicy
from gateway.core.types import Change

CONTEXT_LINES = 2
LONGEST_LINE = 240
ENDS = 100
"""Characters; a longer line of the diff is shown by its two ends."""
MOST_LINES = 5_000
"""Of a body that is compared line by line, because that can take the square of their number."""


@dataclass(frozen=True, slots=True)
class Told:
    """One change, with the code of the rule that made it."""

    code: str
    """As in docs/compatibility.md; empty where the reference has none."""
    rule: str
    """As in `x-gateway-rewrites`."""
    rewrite_class: str
    """L, E, P or X."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why the target does not get the request."""

    rule: str
    sentence: str
    then: Literal["control", "reject"]
    """Who answers instead: the source's model, or the gateway with a 400."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What becomes of one request on its way to another model."""

    source: str
    target: str
    obstacle: Hindrance | None
    """Where there is one nothing is rewritten."""
    changes: tuple[Told, ...]
    betas_removed: tuple[str, ...]
    betas_added: tuple[str, ...]
    answer: tuple[str, ...]
    """What is done to the answer, a sentence each."""
    violations: tuple[Told, ...]
    """What the target would reject even so; then control answers."""
    rejected_before: tuple[Told, ...]
    """What the source rejects in it. That is not repaired: both models are to give the same error."""
    diff: tuple[str, ...]
    """The body before and after, indented, as lines of a unified diff; empty where it stays the same."""


def explain(
    envelope: Envelope, source: Model, target: Model, policy: CompatPolicy, context: Context = PLAINLY
) -> Explained:
    """Tell what becomes of a request that was written for `source` when `target` serves it."""
    wrong = violations(envelope, source, Headers(context.betas, context.version))
    before = tuple(_told("", change) for change in wrong)
    hindrance = obstacle(envelope, source, target, policy, context)
    if hindrance is not None:
        change = hindrance.change
        kept = Hindrance(change.rule, change.sentence, "reject" if hindrance.reject else "control")
        return Explained(source.id, target.id, kept, (), (), (), (), (), before, ())
    done = rewrite(envelope, source, target, policy, context)
    betas = context.betas if done.betas is None else done.betas
    return Explained(
        source=source.id,
        target=target.id,
        obstacle=None,
        changes=tuple(_by_rule(envelope, source, target, policy, context)),
        betas_removed=tuple(beta for beta in context.betas if beta not in betas),
        betas_added=tuple(beta for beta in betas if beta not in context.betas),
        answer=tuple(in_words(done.plan)),
        violations=tuple(_told("", change) for change in done.violations),
        rejected_before=before,
        diff=tuple(_difference(envelope.body, done.body)),
    )


def _by_rule(
    envelope: Envelope, source: Model, target: Model, policy: CompatPolicy, context: Context
) -> Iterator[Told]:
    """Apply one rule after the other, to see which made which change."""
    draft = drafted(envelope, source, target, policy, context)
    for rule in rules_between(source, target, context.ruleset):
        after = rule.apply(draft)
        yield from (_told(rule.code, change) for change in after.changes[len(draft.changes) :])
        draft = after


def _told(code: str, change: Change) -> Told:
    return Told(code, change.rule, str(change.rewrite_class), change.sentence)


def in_words(plan: AnswerPlan) -> Iterator[str]:
    """Say what is done to an answer, a sentence each."""
    if plan.prefill:
        how = "It comes as a turn of its own" if plan.continued else "It is taken off where it is repeated"
        yield f"The application has the beginning of the answer already. {how}."
    if plan.hides_thinking:
        yield "Thinking blocks are not shown; the next turn brings them back to the model."
    if plan.shows_notes:
        yield "Thinking blocks with text are shown as text; the next turn brings them back to the model."
    if plan.forced is not None:
        yield "The tool call that was forced is checked for; the model is asked once more, then control is."
    if plan.forced is not None and plan.forced.wrapped:
        yield "The JSON that was asked for is shown as the tool call."
    if plan.tool_names:
        yield "Tools are called by the names that the application gave them."
    if plan.classic_stops:
        yield "Stop reasons that older applications do not know are told as ones that they do."
    if plan.shown_model:
        yield f"The answer's model is shown as {plan.shown_model}."


# --- the diff ---------------------------------------------------------------------------------------------


def _difference(before: bytes, after: bytes) -> Iterator[str]:
    """Give the lines that differ, with a few around them, as `diff -u` does without its head."""
    if before == after:
        return
    old, new = _lines(before), _lines(after)
    if _too_many(old, new):
        old, new = (_lines(body) for body in _without_the_same(before, after))
    if _too_many(old, new):
        yield f" {len(old)} lines became {len(new)} lines, which are too many to be compared"
        return
    for line in list(unified_diff(old, new, n=CONTEXT_LINES, lineterm=""))[2:]:
        yield _shortened(line)


def _too_many(old: Sequence[str], new: Sequence[str]) -> bool:
    return max(len(old), len(new)) > MOST_LINES


def _without_the_same(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """Return two bodies with a few dots in place of every field that is the same in both."""
    old, new = read(Raw(before), Fields) or {}, read(Raw(after), Fields) or {}
    same = {name: encode("…") for name, raw in old.items() if new.get(name) == raw}
    return bytes(encode(old | same)), bytes(encode(new | same))


def _lines(body: bytes) -> Sequence[str]:
    """Indent a body; numbers and escapes stay as they were spelled."""
    return msgspec.json.format(body, indent=2).decode("utf-8", "replace").split("\n")


def _shortened(line: str) -> str:
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[:ENDS]} … {len(line) - 2 * ENDS} characters … {line[-ENDS:]}"
