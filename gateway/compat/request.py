"""A request written for one model, said to another.

The rules run in one fixed order: thinking and its display, effort, sampling, prefill, `max_tokens`. Each is
a pure function of the request and the two models' rows, so the same conversation is said to the same model
in the same words for as long as the ruleset does not change; that is why its version is pinned with a
conversation.

A rule fires only where the source takes something that the target does not, or means something else by it.
What the source would reject too is not repaired: both models are to give the caller the same error.
Applying the rules to their own result changes nothing.

`obstacle` names what no rule can say to the target. It is to be judged before arms are drawn, for both
alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.compat.answer.response import AnswerPlan
from gateway.compat.catalog import Model
from gateway.compat.envelope import Draft, Envelope, parse, present
from gateway.compat.rules import limits, prefill, sampling, thinking, tools
from gateway.core.spec import CompatPolicy
from gateway.core.types import Change, RewriteClass

RULESET = "1"
"""Version of all rules together; a change to what any of them writes is a new version."""

_GRAVITY = (RewriteClass.lossless, RewriteClass.emulated, RewriteClass.prompt, RewriteClass.unservable)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A request as it goes out, what was done to it, and how to put the answer back."""

    body: bytes
    changes: tuple[Change, ...]
    """In the order of the rules; replacing `model` is not listed."""
    plan: AnswerPlan | None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the target cannot serve a request that the source can."""

    change: Change
    """Its class is X."""
    reject: bool
    """Policy wants the caller told, as a 400 with the change's sentence; otherwise control serves."""
    transient: bool = False
    """It is one only while both models serve: where there is no way back, the target can serve it."""


def rewrite(
    envelope: Envelope, source: Model, target: Model, policy: CompatPolicy, *, counting: bool = False
) -> Rewrite:
    """Say a request that was written for `source` to `target`; to one's own model nothing but the id changes.

    `counting` is for count_tokens bodies, which have no cap on the answer.
    """
    draft = Draft(envelope, source, target, policy, counting=counting)
    plan: AnswerPlan | None = None
    if target.id not in (source.id, *source.aliases):
        thinking.apply(draft)
        thinking.apply_effort(draft)
        sampling.apply(draft)
        plan = prefill.apply(draft)
        limits.apply(draft)
    if envelope.model != target.id:
        draft.put("model", target.id)
    return Rewrite(draft.body, tuple(draft.changes), plan)


def obstacle(envelope: Envelope, source: Model, target: Model, policy: CompatPolicy) -> Obstacle | None:
    """Return why `target` cannot serve what `source` can; None where it can, as is or rewritten."""
    if present(envelope.fields.get("thread")):
        # A continued thread brings new turns only and is the model's that began it; nothing in the request
        # says which that was.
        sentence = f"the upstream holds the conversation (thread), and {target.id} cannot take it over"
        return replace(_obstacle("thread", sentence, "emulate", policy), transient=True)
    if tools.cannot_force(envelope.fields, target) and not tools.cannot_force(envelope.fields, source):
        sentence = f"tool_choice forces a tool call, which {target.id} does not take"
        if policy.forced_tool == "emulate":
            sentence += "; it cannot be emulated yet"
        return _obstacle("forced_tool", sentence, policy.forced_tool, policy)
    if prefill.is_foreign(envelope, source, target):
        sentence = f"the last turn begins the answer (prefill), which {target.id} does not take"
        if policy.prefill != "emulate":
            return _obstacle("prefill", sentence, policy.prefill, policy)
        if envelope.prefill is not None and not envelope.prefill.removable:
            sentence += "; it holds results of server tools, which cannot be said in words"
            return _obstacle("prefill", sentence, policy.prefill, policy)
    if source.mid_conversation_system and not target.mid_conversation_system and _has_system_turns(envelope):
        sentence = f"messages hold a turn of role system, which {target.id} does not take"
        return _obstacle("mid_conversation_system", sentence, "emulate", policy)
    if limits.too_long(envelope, target) and not limits.too_long(envelope, source):
        sentence = f"the prompt is longer than the {target.context_tokens} tokens of {target.id}, by estimate"
        return _obstacle("context_window", sentence, "emulate", policy)
    return None


def violations(envelope: Envelope | bytes, model: Model) -> list[Change]:
    """Name everything in a request that `model` would reject, as far as its row tells.

    For tests: what a source takes must, rewritten or named as an obstacle, be taken by every target.
    """
    envelope = parse(envelope) if isinstance(envelope, bytes) else envelope
    found = [
        *thinking.violations(envelope, model),
        *sampling.violations(envelope, model),
        *tools.violations(envelope, model),
        *prefill.violations(envelope, model),
        *limits.violations(envelope, model),
    ]
    if _has_system_turns(envelope) and not model.mid_conversation_system:
        sentence = f"{model.id} takes no turn of role system"
        found.append(Change("mid_conversation_system", RewriteClass.unservable, sentence))
    return found


def header(changes: Iterable[Change]) -> str:
    """Return `rule=class` for every rule that did something, in order, each with its gravest class."""
    gravest: dict[str, RewriteClass] = {}
    for change in changes:
        known = gravest.get(change.rule, change.rewrite_class)
        gravest[change.rule] = max(known, change.rewrite_class, key=_GRAVITY.index)
    return ",".join(f"{rule}={rewrite_class}" for rule, rewrite_class in gravest.items())


def _obstacle(rule: str, sentence: str, choice: str, policy: CompatPolicy) -> Obstacle:
    """Name an obstacle; a rule's own `control` or `reject` goes before what is said for all."""
    change = Change(rule, RewriteClass.unservable, f"{sentence}.")
    return Obstacle(change, reject=(policy.unservable if choice == "emulate" else choice) == "reject")


def _has_system_turns(envelope: Envelope) -> bool:
    return any(turn.role == "system" for turn in envelope.turns)
