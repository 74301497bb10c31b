"""Fallbacks (R18): models that answer when the one that was asked declines.

A list keeps the models that the target may hand over to; without any, or where the target takes none, the
field is left out and a declined request stays declined. What the application did not ask for is not added.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from gateway.compat.catalog import Model, loses
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, read
from gateway.core.types import Change, RewriteClass

RULE = "fallbacks"


class _Fallback(msgspec.Struct, frozen=True):
    model: str


def apply(draft: Draft) -> Draft:
    """Keep what the target can hand over to."""
    raw, target = draft.fields.get("fallbacks"), draft.target
    if raw is None:
        return draft
    if read(raw, str) is not None:
        lost = loses(draft.source, target, "fallbacks_default") and read(raw, str) == "default"
        return _without(draft) if lost else draft
    entries = _entries(raw)
    named = {entry.model for _, entry in entries}
    if not named or not named <= {*draft.source.fallbacks}:
        return draft
    kept = [each for each, entry in entries if entry.model in target.fallbacks]
    if len(kept) == len(entries):
        return draft
    if not kept:
        return _without(draft)
    sentence = f"Fewer models answer if {target.id} declines: it hands over to {', '.join(target.fallbacks)}."
    return draft.put("fallbacks", kept).note(RULE, RewriteClass.emulated, sentence)


def _without(draft: Draft) -> Draft:
    sentence = f"No other model answers if {draft.target.id} declines: it does not hand over to those named."
    return draft.drop("fallbacks").note(RULE, RewriteClass.emulated, sentence)


def _entries(raw: Raw | None) -> list[tuple[Raw, _Fallback]]:
    """Return the entries of a list, none where one of them is malformed."""
    entries = read(raw, list[_Fallback]) or []
    return list(zip(read(raw, list[Raw]) or [], entries, strict=False))


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    raw = envelope.fields.get("fallbacks")
    default = read(raw, str) == "default" and "fallbacks_default" not in model.features
    named = {entry.model for _, entry in _entries(raw)}
    if default or not named <= {*model.fallbacks}:
        yield Change(RULE, RewriteClass.unservable, f"{model.id} does not hand over to these models")
