"""How and where an answer is made (R18): speed, priority capacity, and the place.

Fast mode that the target has not, or not for this request (where it is a beta, the application must have
asked for the beta: not every organisation has it), becomes the usual speed. Where it meant nothing to the
source it is not to mean twice the price to the target. Priority capacity that there is none of for the target
becomes the standard one.

A place is a promise to the application's own users, so it is never dropped: a request that is held to one is
kept from a model that takes no place. `global` means any.
"""

from collections.abc import Iterator, Sequence

from gateway.compat.catalog import Model, loses
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Headers, present, read
from gateway.core.types import Change, RewriteClass

FAST_BETA = "fast-mode-2026-02-01"
_ANYWHERE = "global"


def apply_speed(draft: Draft) -> Draft:
    """Leave out a speed that the target does not have, or that meant nothing before."""
    if "speed" not in draft.fields or not _is_fast(draft.source, draft.betas):
        return draft
    raw, idle = draft.fields["speed"], draft.source.fast_mode == "ignored"
    asked = read(raw, str)
    if present(raw) and asked not in ("fast", "standard"):
        return draft
    ignored = draft.target.fast_mode == "ignored"
    if (idle and ignored) or (not idle and not ignored and _is_fast(draft.target, draft.betas)):
        return draft
    lost = asked == "fast" and not idle
    sentence = f"The answer comes at the usual speed: {draft.target.id} has no fast mode for this request."
    if not lost:
        sentence = f"speed is left out: it changed nothing, and {draft.target.id} is not to be fast either."
    return draft.drop("speed").note("speed", _class(lost), sentence)


def _is_fast(model: Model, betas: Sequence[str]) -> bool:
    """Tell whether a model takes a speed, if only to ignore it."""
    return model.fast_mode in ("yes", "ignored") or (model.fast_mode == "beta" and FAST_BETA in betas)


def apply_tier(draft: Draft) -> Draft:
    """Ask for the capacity that there is."""
    if read(draft.fields.get("service_tier"), str) != "auto":
        return draft
    if not loses(draft.source, draft.target, "priority_tier"):
        return draft
    sentence = f"There is no priority capacity for {draft.target.id}: the standard one is asked for."
    return draft.put("service_tier", "standard_only").note("service_tier", RewriteClass.emulated, sentence)


def apply_place(draft: Draft) -> Draft:
    """Leave out a place that is none."""
    raw = draft.fields.get("inference_geo")
    if raw is None or not loses(draft.source, draft.target, "inference_geo"):
        return draft
    if present(raw) and read(raw, str) != _ANYWHERE:
        return draft
    sentence = f"inference_geo is left out: it names no place, and {draft.target.id} does not take it."
    return draft.drop("inference_geo").note("inference_geo", _class(present(raw)), sentence)


def placed(draft: Draft) -> str:
    """Say why the target cannot be held to a place."""
    raw = draft.fields.get("inference_geo")
    if not present(raw) or read(raw, str) == _ANYWHERE:
        return ""
    if not loses(draft.source, draft.target, "inference_geo"):
        return ""
    return f"inference_geo holds the request to a place, which {draft.target.id} does not take"


def _class(lost: bool) -> RewriteClass:
    return RewriteClass.emulated if lost else RewriteClass.lossless


def violations(envelope: Envelope, model: Model, headers: Headers) -> Iterator[Change]:
    """Name what `model` would reject."""
    fast = read(envelope.fields.get("speed"), str) == "fast"
    if fast and not _is_fast(model, headers.betas):
        yield Change("speed", RewriteClass.unservable, f"{model.id} has no fast mode for this request")
    if present(envelope.fields.get("inference_geo")) and "inference_geo" not in model.features:
        yield Change("inference_geo", RewriteClass.unservable, f"{model.id} takes no place")
