"""A request written for one model, said to another.

The rules stand in one table and run in its order: thinking, effort and display, sampling, prefill, what the
answer must not show, `max_tokens`. Each is a pure function of the request and the two models' rows, so the
same conversation is said to the same model in the same words for as long as the ruleset does not change;
that is why its version is pinned with a conversation.

A rule fires only where the source takes something that the target does not, or means something else by it.
What the source would reject too is not repaired: both models are to give the caller the same error.
Applying the rules to their own result changes nothing, an `effort: map` apart: it cannot tell the rules'
words from the application's. Nothing is ever rewritten twice.

Guards stand in a second table. They name what no rule can say to the target: an obstacle, to be judged
before arms are drawn, for both alike. Judges, in a third, say what a model would reject. Whatever the rules
made of a request is judged once more before it is sent: `Rewrite.violations` is what the target would
reject and the source would not have, so it names a hole in the rules, and control can answer instead. That
costs some twenty microseconds: what is known of the messages is not read again.

Some rewrites of the reference are no row here. Thinking blocks stay where they are (R11), because the API
drops what a model cannot read and stripping them would break a chain. The client's API version goes on as it
came (§7): it is the same for both models.

Each row of a table names what it looks at, so that a request which has nothing of it passes by for the price
of a look-up; and which rows are left between two models is found out once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.compat.answer.plan import PLAIN, AnswerPlan
from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import BARE, Envelope, Headers, parse
from gateway.compat.prompts import PromptVariant, number_of
from gateway.compat.replay import NOTHING, Edit, Replay
from gateway.compat.rules import (
    effort,
    forced,
    limits,
    prefill,
    prompt,
    sampling,
    shown,
    system_turns,
    thinking,
    tool_versions,
    tools,
)
from gateway.compat.rules.headers import betas, versions
from gateway.compat.rules.services import advisor, fallbacks, long_work, outputs, tiers
from gateway.core.spec import CompatPolicy
from gateway.core.types import Change, RewriteClass

RULESET = "2"
"""Version of all rules together; a change to what any of them writes is a new version."""

GRAVITY = (RewriteClass.lossless, RewriteClass.emulated, RewriteClass.prompt, RewriteClass.unservable)
"""From the least to the gravest."""


def _any(source: Model, target: Model) -> bool:
    return True


def _fields(*names: str) -> frozenset[str]:
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a pure function of the draft."""

    code: str
    """As in the reference's list of rewrites, §4.1."""
    name: str
    """As in `x-gateway-rewrites`."""
    apply: Callable[[Draft], Draft]
    since: str = "1"
    """The first ruleset that has it, a number."""
    reads: frozenset[str] = frozenset()
    """Without any of these fields it does nothing; empty: it may act on what is missing."""
    between: Callable[[Model, Model], bool] = _any
    """False where it never does anything on the way from the one to the other."""


PROMPT = Rule("", "prompt", prompt.apply, since="2")
"""Applied to one's own model too; the reference has no code for it."""

MODEL_FIELD = Rule("R15", "model_field", shown.name_model, since="2")
"""Applied to one's own model too: which of the two served must not be seen from the answer."""

RULES: tuple[Rule, ...] = (
    Rule("R18", "speed", tiers.apply_speed, since="2", reads=_fields("speed")),
    Rule("R16", "betas", betas.apply, since="2"),
    Rule(
        "R10",
        "tool_version",
        tool_versions.apply,
        since="2",
        reads=_fields("tools"),
        between=tool_versions.differ,
    ),
    Rule("R18", "advisor", advisor.apply, since="2", reads=_fields("tools"), between=advisor.differ),
    Rule("", "strict", outputs.apply_strict, since="2", reads=_fields("tools")),
    Rule("", "output_format", outputs.apply_format, since="2", reads=_fields("output_format")),
    Rule("R18", "task_budget", long_work.apply_budget, since="2", reads=_fields("output_config")),
    Rule("R18", "compaction", long_work.apply_compaction, since="2", reads=_fields("context_management")),
    Rule("R18", "fallbacks", fallbacks.apply, since="2", reads=_fields("fallbacks")),
    Rule("R18", "service_tier", tiers.apply_tier, since="2", reads=_fields("service_tier")),
    Rule("R18", "inference_geo", tiers.apply_place, since="2", reads=_fields("inference_geo")),
    Rule("R3", "thinking", thinking.pin),
    Rule("R2", "thinking", thinking.convert),
    Rule("R7", "display", thinking.show),
    Rule("R6", "effort", effort.apply),
    Rule("R1", "sampling", sampling.apply, reads=_fields(*sampling.PARAMETERS)),
    Rule("R5", "forced_tool", forced.apply, since="2", reads=_fields("tool_choice")),
    Rule("R4", "prefill", prefill.apply),
    Rule("R9", "system_turns", system_turns.apply, since="2"),
    Rule("R12", "unasked_thinking", shown.hide_thinking),
    Rule("R13", "progress_notes", shown.show_notes, since="2", reads=_fields("tools", "thread")),
    Rule("R14", "stop_reasons", shown.name_stops, since="2"),
    Rule("R8", "max_tokens", limits.apply, reads=_fields("max_tokens")),
    PROMPT,
    MODEL_FIELD,
)
"""In the order in which they are applied. Speed stands before the betas, because it asks for one of them."""
_AT_HOME = (PROMPT, MODEL_FIELD)


@dataclass(frozen=True, slots=True)
class Guard:
    """Something that no rule can say to the target."""

    code: str
    """As in §4.1; empty where the reference has none."""
    name: str
    """As in `unservable_total`."""
    reason: Callable[[Draft], str]
    """Why the target cannot serve the request, which no rule has touched yet; empty where it can."""
    policy: Literal["prefill", "forced_tool"] | None = None
    """The policy whose `control` or `reject` goes before what is said for all."""
    reads: frozenset[str] = frozenset()
    """As a rule's."""
    between: Callable[[Model, Model], bool] = _any
    """As a rule's."""


GUARDS: tuple[Guard, ...] = (
    Guard("R5", "forced_tool", forced.unsayable, policy="forced_tool", reads=_fields("tool_choice")),
    Guard("R4", "prefill", prefill.unsayable, policy="prefill"),
    Guard("R9", "tool_changes", system_turns.unsayable),
    Guard(
        "R10", "tool_version", tool_versions.unswappable, reads=_fields("tools"), between=tool_versions.differ
    ),
    Guard("R18", "advisor", advisor.advised, reads=_fields("tools"), between=advisor.differ),
    Guard("", "structured_output", outputs.unformattable, reads=_fields("output_config", "output_format")),
    Guard("R18", "compaction", long_work.compacted),
    Guard("", "inference_geo", tiers.placed, reads=_fields("inference_geo")),
    Guard("R17", "context_window", limits.over_window),
)
"""The first that has a reason names the obstacle."""


@dataclass(frozen=True, slots=True)
class Judge:
    """One family of what a model would reject."""

    find: Callable[[Envelope, Model], Iterator[Change]]
    reads: frozenset[str] = frozenset()
    """Without any of these fields it finds nothing; empty: it may."""


JUDGES: tuple[Judge, ...] = (
    Judge(thinking.violations, reads=_fields("thinking", "tool_choice")),
    Judge(effort.violations, reads=_fields("output_config", "thinking")),
    Judge(sampling.violations, reads=_fields(*sampling.PARAMETERS)),
    Judge(tool_versions.violations, reads=_fields("tools")),
    Judge(tools.violations, reads=_fields("tool_choice")),
    Judge(prefill.violations, reads=_fields("messages")),
    Judge(limits.violations),
    Judge(system_turns.violations, reads=_fields("messages")),
    Judge(advisor.violations, reads=_fields("tools")),
    Judge(outputs.violations),
    Judge(long_work.violations),
    Judge(fallbacks.violations, reads=_fields("fallbacks")),
)
"""What a model would reject, as far as its row tells."""

HEADER_JUDGES: tuple[Callable[[Envelope, Model, Headers], Iterator[Change]], ...] = (
    sampling.version_violations,
    versions.violations,
    betas.violations,
    tiers.violations,
)
"""The same, where it depends on betas or the API version."""


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
    past: Replay = NOTHING
    """What was repeated of earlier answers."""
    violations: tuple[Change, ...] = ()
    """What the target would reject in it and the source would not have: it is better not sent."""


@dataclass(frozen=True, slots=True)
class Context:
    """What else a rewriting depends on, besides the request, the models and the policy."""

    betas: tuple[str, ...] = ()
    """Values of the request's `anthropic-beta`."""
    version: str = ""
    """The request's `anthropic-version`."""
    ruleset: str = RULESET
    """The one that the conversation is pinned to."""
    variant: PromptVariant | None = None
    """The prompt variant that the ruleset names."""
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


def rewrite(
    envelope: Envelope, source: Model, target: Model, policy: CompatPolicy, context: Context = PLAINLY
) -> Rewrite:
    """Say a request that was written for `source` to `target`.

    To one's own model nothing but the id changes, unless the model has a prompt variant.
    """
    draft = drafted(envelope, source, target, policy, context)
    for rule in _way(source, target, context.ruleset).rules:
        if not rule.reads or not draft.fields.keys().isdisjoint(rule.reads):
            draft = rule.apply(draft)
    draft = _disclosed(draft)
    if envelope.model != target.id:
        draft = draft.put("model", target.id)
    sent = draft.sent
    return Rewrite(
        sent.body,
        draft.changes,
        draft.plan,
        betas=None if draft.betas == context.betas else draft.betas,
        edits=draft.edits,
        past=draft.past,
        violations=_introduced(sent, draft, context) if _foreign(source, target) else (),
    )


def in_force(ruleset: str) -> tuple[Rule, ...]:
    """Return the rules of a ruleset, whose number may be followed by the variant of a prompt."""
    number = number_of(ruleset)
    return tuple(rule for rule in RULES if int(rule.since) <= number)


def rules_between(source: Model, target: Model, ruleset: str) -> tuple[Rule, ...]:
    """Return the rules of a ruleset that are applied on the way from `source` to `target`, in their order."""
    rules = in_force(ruleset)
    return rules if _foreign(source, target) else tuple(rule for rule in rules if rule in _AT_HOME)


@dataclass(frozen=True, slots=True)
class _Way:
    """What is left of the tables between two models."""

    models: tuple[Model, Model]
    """Kept, so that nothing else gets their ids."""
    rules: tuple[Rule, ...]
    guards: tuple[Guard, ...]


_WAYS: dict[tuple[int, int, str], _Way] = {}
_MOST_WAYS = 1024
"""More are not kept; a fleet has some dozens."""


def _way(source: Model, target: Model, ruleset: str) -> _Way:
    """Find out once what can do anything between two models; they are frozen, so it stays so."""
    key = (id(source), id(target), ruleset.partition(";")[0])
    way = _WAYS.get(key)
    if way is None:
        if len(_WAYS) >= _MOST_WAYS:
            _WAYS.clear()
        rules = (rule for rule in rules_between(source, target, ruleset) if rule.between(source, target))
        guards = (guard for guard in GUARDS if guard.between(source, target))
        way = _WAYS[key] = _Way((source, target), tuple(rules), tuple(guards))
    return way


def _foreign(source: Model, target: Model) -> bool:
    return target.id not in (source.id, *source.aliases)


def drafted(
    envelope: Envelope, source: Model, target: Model, policy: CompatPolicy, context: Context = PLAINLY
) -> Draft:
    """Return a request that no rule has touched yet."""
    return Draft(
        envelope,
        source,
        target,
        policy,
        envelope.fields,
        betas=context.betas,
        version=context.version,
        counting=context.counting,
        insists=context.insists,
        ruleset=context.ruleset,
        variant=context.variant,
        past=context.past,
    )


def _introduced(sent: Envelope, draft: Draft, context: Context) -> tuple[Change, ...]:
    """Return what the target rejects, less what the source would have rejected for the same reason."""
    wrong = violations(sent, draft.target, Headers(draft.betas, draft.version))
    if not wrong:
        return ()
    came = Headers(context.betas, context.version)
    known = {change.rule for change in violations(draft.envelope, draft.source, came)}
    return tuple(change for change in wrong if change.rule not in known)


def _disclosed(draft: Draft) -> Draft:
    """Say what of earlier turns is done again, and where that could not be."""
    if draft.past.edits or draft.past.left_out:
        sentence = "What was done to earlier turns of the conversation is done to them again."
        draft = draft.note("repeated", RewriteClass.emulated, sentence)
    if draft.past.broken_at is None:
        return draft
    sentence = "What was kept of earlier turns is gone: thinking that was bound to it is left out."
    return draft.note("replay", RewriteClass.emulated, sentence)


def obstacle(
    envelope: Envelope, source: Model, target: Model, policy: CompatPolicy, context: Context = PLAINLY
) -> Obstacle | None:
    """Return why `target` cannot serve what `source` can; None where it can, as is or rewritten."""
    draft = drafted(envelope, source, target, policy, context)
    given = envelope.fields.keys()
    for guard in _way(source, target, context.ruleset).guards:
        if guard.reads and given.isdisjoint(guard.reads):
            continue
        if reason := guard.reason(draft):
            change = Change(guard.name, RewriteClass.unservable, f"{reason}.")
            choice = getattr(policy, guard.policy) if guard.policy else "emulate"
            reject = (policy.unservable if choice == "emulate" else choice) == "reject"
            return Obstacle(change, reject)
    return None


def violations(envelope: Envelope | bytes, model: Model, headers: Headers = BARE) -> list[Change]:
    """Name everything in a request that `model` would reject, as far as its row tells."""
    envelope = parse(envelope) if isinstance(envelope, bytes) else envelope
    given = envelope.fields.keys()
    asked = [judge for judge in JUDGES if not (judge.reads and given.isdisjoint(judge.reads))]
    found = [change for judge in asked for change in judge.find(envelope, model)]
    return found + [change for judge in HEADER_JUDGES for change in judge(envelope, model, headers)]


def header(changes: Iterable[Change]) -> str:
    """Return `rule=class` for every rule that did something, in order, each with its gravest class."""
    gravest: dict[str, RewriteClass] = {}
    for change in changes:
        known = gravest.get(change.rule, change.rewrite_class)
        gravest[change.rule] = max(known, change.rewrite_class, key=GRAVITY.index)
    return ",".join(f"{rule}={rewrite_class}" for rule, rewrite_class in gravest.items())
