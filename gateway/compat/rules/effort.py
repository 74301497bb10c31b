"""Effort (R6): the application goes on getting the effort that it counts on, as far as the target knows it.

With `effort: preserve` the source's default is named where the target's is another, a level that the target
does not know becomes the next lower one, and where the parameter itself is unknown it is left out. With
`target_default` an effort that nobody asked for is the target's own. Names of levels are not comparable
across models, so `map` says for each effort in force on the source, asked for or by default, what to ask of
the target; a model that knows no effort counts as one that spends it as `high`, and an effort that the map
does not name is preserved. An effort that another rule chose (for a budget, or so that there is little
thinking) is not mapped.

Whatever it is, it is at most what the target takes while thinking is off, where it is. `xhigh` and `max` want
a large `max_tokens`; that stays as the application gave it, because it is what the application pays.
"""

from collections.abc import Iterator, Mapping

from msgspec import Raw

from gateway.compat.catalog import EFFORTS, Effort, Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Fields, encode, present, read
from gateway.compat.rules.thinking import at_most, wish
from gateway.core.types import Change, RewriteClass


def apply(draft: Draft) -> Draft:
    """Ask for the effort that policy wants, within what the target knows."""
    options = draft.options("output_config")
    if options is None:
        return draft
    raw, target = options.get("effort"), draft.target
    asked = _level(raw)
    if present(raw) and asked is None:
        return draft
    if not target.effort.levels:
        return _left_out(draft, options, asked)
    wanted = _wanted(draft, asked)
    cap = _cap(draft.fields, target)
    capped = cap is not None and _is_above(wanted or target.effort.default, cap)
    if capped:
        wanted = cap
    level = at_most(wanted, target.effort.levels) if wanted else None
    if level is None or level == asked:
        return draft
    draft = draft.put("output_config", options | {"effort": encode(level)})
    if capped:
        sentence = f"Effort is {level}, the most that {target.id} takes while thinking is off."
    elif asked is None and level == draft.source.effort.default:
        sentence = f"Effort {level}, the default, is named for {target.id}."
        return draft.note("effort", RewriteClass.lossless, sentence)
    else:
        sentence = f"Effort {asked or draft.source.effort.default or 'high'} is {level} on {target.id}."
    return draft.note("effort", RewriteClass.emulated, sentence)


def _wanted(draft: Draft, asked: Effort | None) -> Effort | None:
    """Return the effort to ask for; None where the target's own default is meant."""
    policy, default, theirs = draft.policy, draft.source.effort.default, draft.target.effort.default
    if policy.effort == "map" and asked == _asked(draft.envelope.fields):
        mapped = _known(policy.effort_map.get(asked or default or "high"))
        if mapped is not None:
            return None if asked is None and mapped == theirs else mapped
    if asked is None and (policy.effort == "target_default" or default == theirs):
        return None
    return asked or default


def _left_out(draft: Draft, options: Fields, asked: Effort | None) -> Draft:
    if "effort" not in options:
        return draft
    rest = {key: value for key, value in options.items() if key != "effort"}
    draft = draft.put("output_config", rest) if rest else draft.drop("output_config")
    same = asked is None or asked == draft.source.effort.default
    rewrite_class = RewriteClass.lossless if same else RewriteClass.emulated
    return draft.note("effort", rewrite_class, f"Effort is left out: {draft.target.id} does not know it.")


def _cap(fields: Mapping[str, Raw], model: Model) -> Effort | None:
    """Return the highest effort that a model takes with a request's thinking; None where any passes."""
    now = wish(fields, model)
    return model.thinking.off_max_effort if now is not None and now.explicit and not now.on else None


def _is_above(level: Effort | None, cap: Effort) -> bool:
    return level is not None and EFFORTS.index(level) > EFFORTS.index(cap)


def _asked(fields: Mapping[str, Raw]) -> Effort | None:
    return _level((read(fields.get("output_config"), Fields) or {}).get("effort"))


def _level(raw: Raw | None) -> Effort | None:
    return _known(read(raw, str))


def _known(name: str | None) -> Effort | None:
    return next((level for level in EFFORTS if level == name), None)


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    options = read(envelope.fields.get("output_config"), Fields) or {}
    asked = _level(options.get("effort"))
    if present(options.get("effort")) and asked not in model.effort.levels:
        yield Change("effort", RewriteClass.unservable, f"{model.id} does not take this effort")
    cap, in_force = _cap(envelope.fields, model), asked or model.effort.default
    if cap is not None and _is_above(in_force, cap):
        yield Change("effort", RewriteClass.unservable, f"effort {in_force} with thinking off")
