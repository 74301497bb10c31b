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

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gateway.compat.answer.plan import PLAIN, AnswerPlan
from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, parse, present
from gateway.compat.replay import NOTHING, Edit, Replay
from gateway.compat.rules import limits, prefill, sampling, thinking, tools, unasked
from gateway.core.spec import CompatPolicy
from gateway.core.types import Change, RewriteClass

RULESET = "2"
"""Version of all rules together; a change to what any of them writes is a new version."""

_GRAVITY = (RewriteClass.lossless, RewriteClass.emulated, RewriteClass.prompt, RewriteClass.unservable)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a pure function of the draft."""

    code: str
    """As in the reference's list of rewrites, §4.1."""
    name: str
    """As in `x-gateway-rewrites`."""
    apply: Callable[[Draft], Draft]
    since: str = "1"
    """The first ruleset that has it."""


RULES: tuple[Rule, ...] = (
    Rule("R2 R3 R7", "thinking", thinking.apply),
    Rule("R6", "effort", thinking.apply_effort),
    Rule("R1", "sampling", sampling.apply),
    Rule("R4", "prefill", prefill.apply),
    Rule("R12", "unasked_thinking", unasked.apply),
    Rule("R8", "max_tokens", limits.apply),
)
"""In the order in which they are applied."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A request as it goes out, what was done to it, and how to put the answer back."""

    body: bytes
    changes: tuple[Change, ...] = ()
    """In the order of the rules; replacing `model` is not listed."""
    plan: AnswerPlan = PLAIN
    betas: tuple[str, ...] | None = None
    """The values of `anthropic-beta` to send; None: as they came."""
    edits: tuple[Edit, ...] = ()
    """What was written into the messages anew, for the note of this answer."""
    notes: int = 0
    """How many notes of earlier answers were repeated."""


@dataclass(frozen=True, slots=True)
class Context:
    """What else a rewriting depends on, besides the request, the models and the policy."""

    betas: tuple[str, ...] = ()
    """Values of the request's `anthropic-beta`."""
    version: str = ""
    """The request's `anthropic-version`."""
    ruleset: str = RULESET
    """The one that the conversation is pinned to."""
    past: Replay = NOTHING
    """What earlier turns left to be repeated."""
    counting: bool = False
    """For count_tokens, whose bodies have no cap on the answer."""
    insists: bool = False
    """The model ignored what it was asked for."""


PLAINLY = Context()


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
    envelope: Envelope, source: Model, target: Model, policy: CompatPolicy, context: Context = PLAINLY
) -> Rewrite:
    """Say a request that was written for `source` to `target`.

    To one's own model nothing but the id changes.
    """
    draft = Draft(
        envelope,
        source,
        target,
        policy,
        envelope.fields,
        betas=context.betas,
        version=context.version,
        counting=context.counting,
        insists=context.insists,
        past=context.past,
    )
    if target.id not in (source.id, *source.aliases):
        for rule in RULES:
            if rule.since <= context.ruleset.partition(";")[0]:
                draft = rule.apply(draft)
        draft = _disclosed(draft)
    if envelope.model != target.id:
        draft = draft.put("model", target.id)
    betas = None if draft.betas == context.betas else draft.betas
    return Rewrite(draft.body, draft.changes, draft.plan, betas, draft.edits, draft.past.notes)


def _disclosed(draft: Draft) -> Draft:
    """Say where a conversation could not be repeated as it was."""
    if draft.past.broken_at is None:
        return draft
    sentence = "What was kept of earlier turns is gone: thinking that was bound to it is left out."
    return draft.note("replay", RewriteClass.emulated, sentence)


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
