"""docs/compatibility.md, written from the tables: what becomes of every feature between every two models.

The letter of a cell is the gravest class of what is done for the feature itself. A plain question may need
something too (a model that cannot be told not to think, a default that must be named); that stands in the
line `thinking omitted` and is not repeated under every other feature, those of thinking and effort apart.
Everything is computed with the default policy, by the very rules that serve.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.compat.catalog import Model
from gateway.compat.envelope import Envelope, Headers, encode, parse
from gateway.compat.explain.features import GROUPS, Feature, body_for
from gateway.compat.request import (
    GRAVITY,
    GUARDS,
    RULES,
    Context,
    obstacle,
    rewrite,
    violations,
)
from gateway.core.spec import CompatPolicy
from gateway.core.types import Change

POLICY = CompatPolicy()
AS_IS, UNKNOWN = "·", ""
"""Letters besides the classes: nothing is done; the source does not take it either, so nobody asks for it."""
WHOLE = frozenset({"Thinking", "Effort and budgets"})
"""Groups whose cells hold everything that is done, because a plain question already says something here."""

_CODE = re.compile(r" \(R\d+\)")
_HEAD = """<!-- Written by `gateway models matrix`; a test says when it is out of date. Do not edit. -->
# What becomes of a request

Every way from one current model to another, for {features} features of a request, with the default `compat:`
policy. Computed from the same tables that serve ({models} models, {ways} ways), so it cannot promise what
the gateway does not do. `gateway explain-request --from A --to B FILE` shows one request of yours.

| cell | meaning |
|---|---|
| · | goes on as it is |
| L | lossless: other words, the same meaning |
| E | emulated: the gateway keeps the contract; behaviour may differ a little |
| P | approximated by words to the model |
| X | cannot be served: the request stays on the old model, for both arms alike |
| empty | the old model does not take it either |

A plain question may already need something; that stands in the line *thinking omitted* and is not repeated
in the other lines, those about thinking and effort apart. The last column names the rules, as
`x-gateway-rewrites` and the metric `gateway_rewrites_total` do.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one feature on the way between two models."""

    letter: str
    changes: tuple[Change, ...] = ()
    """What is done for it, or the obstacle."""


def outcome(feature: Feature, source: Model, target: Model, *, whole: bool = True) -> Outcome:
    """Return what becomes of a feature; `whole`: with what is done for a plain question too."""
    return _Asked.of(feature, source).on(target, () if whole else _plain(source, target))


def document(models: Iterable[Model]) -> str:
    """Return the whole document for the models that are not retired."""
    current = [model for model in models if model.lifecycle.status != "retired"]
    reasons = {feature.name: dict[str, None]() for group in GROUPS.values() for feature in group}
    tables = [line for source in current for line in _Table.of(source, current).lines(reasons)]
    head = _HEAD.format(features=len(reasons), models=len(current), ways=len(current) * (len(current) - 1))
    return "\n".join([head, *_rules(), *tables, *_told(reasons)]) + "\n"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One feature asked of one model, read once for all ways from it."""

    envelope: Envelope
    source: Model
    context: Context
    accepted: bool

    @classmethod
    def of(cls, feature: Feature, source: Model) -> "_Asked":
        envelope = parse(bytes(encode(body_for(source.id, feature))))
        context = Context(betas=feature.betas, version=feature.version)
        return cls(
            envelope,
            source,
            context,
            not violations(envelope, source, Headers(feature.betas, feature.version)),
        )

    def on(self, target: Model, plain: Sequence[Change]) -> Outcome:
        if not self.accepted:
            return Outcome(UNKNOWN)
        hindrance = obstacle(self.envelope, self.source, target, POLICY, self.context)
        if hindrance is not None:
            return Outcome(str(hindrance.change.rewrite_class), (hindrance.change,))
        done = rewrite(self.envelope, self.source, target, POLICY, self.context)
        changes = tuple(change for change in done.changes if change not in plain)
        if not changes:
            return Outcome(AS_IS)
        return Outcome(str(max((change.rewrite_class for change in changes), key=GRAVITY.index)), changes)


def _plain(source: Model, target: Model) -> tuple[Change, ...]:
    return outcome(Feature("a plain question", {}), source, target).changes


# --- how it is written ------------------------------------------------------------------------------------


def _rules() -> Iterator[str]:
    yield "## The rules\n"
    yield "In their order. The code is the one that `gateway explain-request` shows.\n"
    yield "| code | rule | what it does |\n|---|---|---|"
    for rule in RULES:
        yield f"| {rule.code} | `{rule.name}` | {_first_words(rule.apply.__doc__)} |"
    yield "\nWhat keeps a request on the old model:\n"
    yield "| code | obstacle | what is asked |\n|---|---|---|"
    for guard in GUARDS:
        yield f"| {guard.code} | `{guard.name}` | {_first_words(guard.reason.__doc__)} |"


def _first_words(docstring: str | None) -> str:
    return _CODE.sub("", " ".join((docstring or "").partition("\n\n")[0].split()))


@dataclass(frozen=True, slots=True)
class _Table:
    """All ways from one model."""

    source: Model
    targets: Sequence[Model]
    plain: Mapping[str, Sequence[Change]]
    """By target: what a plain question needs."""

    @classmethod
    def of(cls, source: Model, current: Sequence[Model]) -> "_Table":
        targets = [model for model in current if model is not source]
        return cls(source, targets, {target.id: _plain(source, target) for target in targets})

    def lines(self, reasons: Mapping[str, dict[str, None]]) -> Iterator[str]:
        """Write the section; what is done is added to `reasons`, by feature."""
        yield f"\n## From {self.source.display_name}\n"
        yield f"| | {' | '.join(map(short, self.targets))} | rules |"
        yield f"|---{'|:-:' * len(self.targets)}|---|"
        for title, group in GROUPS.items():
            rows = [(feature, self._outcomes(feature, whole=title in WHOLE)) for feature in group]
            if not any(outcomes for _, outcomes in rows):
                continue
            yield f"| **{title}** |{' |' * (len(self.targets) + 1)}"
            for feature, outcomes in rows:
                if outcomes:
                    yield _row(feature, outcomes)
                    told = (_general(change.sentence, self) for each in outcomes for change in each.changes)
                    reasons[feature.name].update(dict.fromkeys(told))

    def _outcomes(self, feature: Feature, *, whole: bool) -> list[Outcome]:
        """Return one outcome a target; nothing where the source does not take the feature."""
        asked = _Asked.of(feature, self.source)
        if not asked.accepted:
            return []
        return [asked.on(target, () if whole else self.plain[target.id]) for target in self.targets]


def _row(feature: Feature, outcomes: Sequence[Outcome]) -> str:
    rules = dict.fromkeys(f"`{change.rule}`" for each in outcomes for change in each.changes)
    return f"| {feature.name} | {' | '.join(each.letter for each in outcomes)} | {' '.join(rules)} |"


def short(model: Model) -> str:
    """Return a model's name in a letter and a number."""
    last = model.display_name.split()[-1]
    return model.line[0].upper() + (last if last[0].isdigit() else last[0])


def _general(sentence: str, table: _Table) -> str:
    """Return a sentence without the names of models and their limits."""
    for model in table.targets:
        sentence = re.sub(rf"(?<![\w-]){re.escape(model.id)}(?![\w-]|\.\d)", "the new model", sentence)
    return sentence


def _told(reasons: Mapping[str, Iterable[str]]) -> Iterator[str]:
    yield "\n## What is done, by feature\n"
    yield "In the words of the log and of `gateway explain-request`.\n"
    for name, sentences in reasons.items():
        if told := sorted(sentences):
            yield f"**{name}**\n"
            yield from (f"- {sentence}" for sentence in told)
            yield ""
