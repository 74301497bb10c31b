"""Sampling (R1): temperature, top_p and top_k that the target rejects and the source takes are left out.

Leaving out a value that means the default changes nothing; any other value is lost, because newer models
have no substitute for it. What is not a number is left for the upstream to judge, and so is everything under
the API version that knows no sampling: there both models say no.
"""

from collections.abc import Iterator, Mapping

from msgspec import Raw

from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Headers, present, read
from gateway.compat.rules.thinking import wish
from gateway.core.types import Change, RewriteClass

VERSION_WITHOUT = "2026-10-21"
"""The `anthropic-version` under which no model takes any of it."""

PARAMETERS = ("temperature", "top_p", "top_k")

_NEUTRAL: Mapping[str, frozenset[float]] = {
    "temperature": frozenset({1.0}),
    "top_p": frozenset({0.99, 1.0}),
    "top_k": frozenset(),
}
_LEAST_TOP_P_WITH_THINKING = 0.95


def apply(draft: Draft) -> Draft:
    """Leave out what the target rejects."""
    if draft.version == VERSION_WITHOUT:
        return draft
    source, target = draft.source, draft.target
    thought, thinks = _thinks(draft.envelope.fields, source), _thinks(draft.fields, target)
    given = _given(draft.fields)
    for name, value in given.items():
        refused = value is not None and not _accepts(name, value, source, thinks=thought)
        if refused or _accepts(name, value, target, thinks=thinks):
            continue
        draft = draft.drop(name)
        same = value is None or value in _NEUTRAL[name]
        shown = "" if value is None else f" {value:g}"
        draft = draft.note(
            "sampling",
            RewriteClass.lossless if same else RewriteClass.emulated,
            f"{name}{shown} is left out: {target.id} does not take it.",
        )
    both = given.keys() & draft.fields.keys() >= {"temperature", "top_p"}
    if both and source.sampling.both and not target.sampling.both:
        draft = draft.drop("top_p")
        sentence = f"top_p is left out: {target.id} does not take it together with temperature."
        draft = draft.note("sampling", RewriteClass.emulated, sentence)
    return draft


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    given = _given(envelope.fields)
    thinks = _thinks(envelope.fields, model)
    for name, value in given.items():
        if value is not None and not _accepts(name, value, model, thinks=thinks):
            yield Change("sampling", RewriteClass.unservable, f"{model.id} does not take this {name}")
    if given.keys() >= {"temperature", "top_p"} and not model.sampling.both:
        yield Change("sampling", RewriteClass.unservable, f"{model.id} takes temperature or top_p, not both")


def version_violations(envelope: Envelope, model: Model, headers: Headers) -> Iterator[Change]:
    """Name what no model takes under the request's API version."""
    if headers.version == VERSION_WITHOUT:
        for name in PARAMETERS:
            if present(envelope.fields.get(name)):
                sentence = f"{model.id} takes no {name} under API version {VERSION_WITHOUT}"
                yield Change("sampling", RewriteClass.unservable, sentence)


def _given(fields: Mapping[str, Raw]) -> dict[str, float | None]:
    """The parameters that are there, null as None; those that are no numbers are not listed."""
    given: dict[str, float | None] = {}
    for name in PARAMETERS:
        raw = fields.get(name)
        value = read(raw, float)
        if value is not None or (raw is not None and not present(raw)):
            given[name] = value
    return given


def _accepts(name: str, value: float | None, model: Model, *, thinks: bool) -> bool:
    rules = model.sampling
    if rules.accepts == "none":
        return False
    if rules.accepts == "defaults":
        return name in rules.defaults and value in (None, rules.defaults[name])
    if value is None or not thinks:
        return True
    if name == "top_p":
        return value >= _LEAST_TOP_P_WITH_THINKING
    return name == "temperature" and value in _NEUTRAL[name]


def _thinks(fields: Mapping[str, Raw], model: Model) -> bool:
    now = wish(fields, model)
    return now is not None and now.on
