"""The shapes of what compat may do: a migration's policies (`compat:`), and prompt variants.

A task's policy is the migration's with the task's own words in the place of some of its, and is kept whole.
What is legal but cannot matter is a sentence from `pointless` or `unwise`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from gateway.compat.catalog import Catalogue, Effort, Model, loses
from gateway.compat.prompts import PromptVariant
from gateway.config.shapes import SOME, UNION, Count, Document, Name, Text
from gateway.core.spec import CompatPolicy, MigrationSpec

_FORCES: Mapping[str, int] = {"never": 0, "thinking_off": 1, "always": 2}


class EffortMapDocument(Document):
    """Level in force on control → level asked of the candidate; what is missing is preserved."""

    map: Annotated[dict[Effort, Effort], Field(min_length=1)]


def _spelling(effort: object) -> str:
    return f"{UNION}map" if isinstance(effort, Mapping | EffortMapDocument) else f"{UNION}word"


EffortChoice = Annotated[
    Annotated[Literal["preserve", "target_default"], Tag(f"{UNION}word")]
    | Annotated[EffortMapDocument, Tag(f"{UNION}map")],
    Discriminator(_spelling),
]


class PolicyDocument(Document):
    """How far the gateway may go; what is left out keeps its default, or the migration's word for a task."""

    prefill: Literal["emulate", "control", "reject"] = "emulate"
    forced_tool: Literal["emulate", "control", "reject"] = "emulate"
    unservable: Literal["control", "reject"] = "control"
    effort: EffortChoice = "preserve"
    thinking: Literal["preserve", "adopt"] = "preserve"
    unasked_thinking: Literal["hide", "show"] = "hide"
    model_field: Literal["served", "requested"] = "served"
    progress_notes: Literal["pass", "text"] = "pass"
    stop_reasons: Literal["pass", "classic"] = "pass"
    max_tokens_headroom: Count = CompatPolicy().max_tokens_headroom


class CompatDocument(PolicyDocument):
    """`compat:` of a migration."""

    tasks: Mapping[Text, PolicyDocument] = Field(default_factory=dict)
    """By `x-gateway-task`."""


def to_policy(document: CompatDocument) -> CompatPolicy:
    """Return the frozen policy with every task's own, whole."""
    own = replace(CompatPolicy(), **_written(document))
    tasks = {task: replace(own, **_written(words)) for task, words in document.tasks.items()}
    return replace(own, tasks=tasks)


def _written(document: PolicyDocument) -> dict[str, Any]:
    words = {name: getattr(document, name) for name in document.model_fields_set - {"tasks"}}
    effort = words.get("effort")
    if isinstance(effort, EffortMapDocument):
        return {**words, "effort": "map", "effort_map": dict(effort.map)}
    return {**words, "effort_map": {}} if effort else words


def pointless(policy: CompatPolicy, control: Model, candidate: Model) -> Iterator[str]:
    """Yield what a policy says although it cannot matter between these two models."""
    yield from (f"compat.{line}" for line in _pointless(policy, CompatPolicy(), control, candidate))
    for task, own in policy.tasks.items():
        lines = list(_pointless(own, policy, control, candidate))
        yield from (f"compat.tasks.{task}.{line}" for line in lines)
        if replace(own, tasks={}) == replace(policy, tasks={}):
            yield f"compat.tasks.{task}: says nothing but what holds without it"


def _pointless(policy: CompatPolicy, known: CompatPolicy, control: Model, candidate: Model) -> Iterator[str]:
    """`known` is what need not be named again."""
    same = f"makes no difference: {candidate.id}"
    never = {
        "prefill": (
            not control.prefill or candidate.prefill,
            f"{same} rejects no prefill that control takes",
        ),
        "forced_tool": (
            _FORCES[candidate.forced_tool] >= _FORCES[control.forced_tool],
            f"{same} takes every forced tool that control does",
        ),
        "thinking": (
            candidate.thinking.omitted == control.thinking.omitted,
            f"{same} means the same by leaving it out as control",
        ),
        "unasked_thinking": (
            _keeps_still(control, candidate, policy),
            f"{same} never has to think unasked",
        ),
        "max_tokens_headroom": (_can_be_off(candidate), f"{same} never has to think unasked"),
        "progress_notes": (
            control.thinking.updates or not _writes_notes(candidate),
            f"{same} writes no notes that control does not",
        ),
    }
    for name, (is_so, sentence) in never.items():
        value = getattr(policy, name)
        if is_so and value not in (getattr(known, name), getattr(CompatPolicy(), name)):
            yield f"{name}: {value!r} {sentence}"
    if policy.effort != known.effort or policy.effort_map != known.effort_map:
        yield from _useless_levels(policy.effort_map, control, candidate)


def _can_be_off(model: Model) -> bool:
    return "disabled" in model.thinking.types and model.thinking.off_max_effort is None


def _keeps_still(control: Model, candidate: Model, policy: CompatPolicy) -> bool:
    """Tell whether the candidate never thinks where control would not."""
    adopted = policy.thinking == "adopt" and candidate.thinking.omitted != "off"
    calls = loses(control, candidate, "unthinking_calls")
    return _can_be_off(candidate) and not adopted and not calls


def _writes_notes(model: Model) -> bool:
    return model.thinking.updates or "between_tools" in model.thinking.types


def _useless_levels(levels: Mapping[str, str], control: Model, candidate: Model) -> Iterator[str]:
    if levels and not candidate.effort.levels:
        yield f"effort.map: makes no difference: {candidate.id} knows no effort"
        return
    for asked, given in levels.items():
        if asked not in (control.effort.levels or ("high",)):  # a model without levels counts as `high`
            yield f"effort.map.{asked}: is no level of {control.id}, so it is never in force there"
        elif given not in candidate.effort.levels:
            yield f"effort.map.{asked}: {given!r} is no level of {candidate.id}; the nearest is taken"


# --- prompt variants --------------------------------------------------------------------------------------


class PromptVersionDocument(Document):
    """What one version of a variant says."""

    version: Annotated[int, Field(ge=1)]
    mode: Literal["append", "replace"]
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class PromptMatchDocument(Document):
    """Which requests get it: all conditions that are given hold; none given means every request."""

    tasks: Annotated[frozenset[Text], SOME] | None = None
    system_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class PromptDocument(Document):
    """config/prompts/*.yaml, one variant with its versions each."""

    name: Name
    models: Annotated[tuple[Text, ...], SOME]
    match: PromptMatchDocument = PromptMatchDocument()
    versions: Annotated[tuple[PromptVersionDocument, ...], SOME]


def to_variants(document: PromptDocument, catalogue: Catalogue) -> tuple[PromptVariant, ...]:
    """Return a variant's versions, for every name of the models that it names."""
    rows = [row for row in map(catalogue.find, document.models) if row is not None]
    names = frozenset(name for row in rows for name in (row.id, *row.aliases))
    match = document.match
    return tuple(
        PromptVariant(
            name=document.name,
            version=each.version,
            models=names,
            tasks=match.tasks or frozenset(),
            system_sha256=match.system_sha256,
            mode=each.mode,
            text=each.text,
        )
        for each in document.versions
    )


def repetitions(document: PromptDocument) -> Iterator[str]:
    """Yield what stands twice in one document, each with its path."""
    versions = [each.version for each in document.versions]
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield f"versions[{index}].version: {version} stands twice"


def collisions(sources: Sequence[tuple[Path, tuple[PromptVariant, ...]]]) -> Iterator[str]:
    """Yield why two documents cannot both stand: one name, or the same requests of the same model."""
    for (before, ours), (file, theirs) in combinations([each for each in sources if each[1]], 2):
        one, two = ours[0], theirs[0]
        if one.name == two.name:
            yield f"{file}: name: {two.name!r} is taken by {before}"
        elif _compete(one, two):
            yield f"{file}: match: the same requests have the variant {one.name!r} already, in {before}"


def _compete(one: PromptVariant, two: PromptVariant) -> bool:
    if not one.models & two.models or one.system_sha256 != two.system_sha256:
        return False
    return bool(one.tasks & two.tasks) or one.tasks == two.tasks


def unwise(variants: Sequence[PromptVariant], specs: Sequence[MigrationSpec]) -> Iterator[str]:
    """Yield what is legal about variants, and probably not meant."""
    served = {model for spec in specs for model in (spec.control, spec.candidate)}
    for variant in {each.name: each for each in variants}.values():
        if not variant.models & served:
            yield f"prompts: {variant.name}: is for models that no migration serves"
        if not variant.tasks and variant.system_sha256 is None:
            yield f"prompts: {variant.name}: has no match, so every request of its models gets it"
