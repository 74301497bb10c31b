"""What is legal but unwise in a set of documents: one sentence each, and nothing of it stops a start."""

import re
from collections.abc import Iterator
from datetime import date, timedelta

from gateway.compat.catalog import Model
from gateway.config.catalogue import suggestion
from gateway.config.compat import pointless, unwise
from gateway.config.loading import Config, arms
from gateway.core.spec import MigrationSpec

NOTICE = timedelta(days=60)
"""How long before a model's retirement a warning begins."""

_JUDGED_BREAKERS = frozenset({"error_rate", "fallback_rate"})
_DATED = re.compile(r"-\d{8}$")


def warnings(config: Config, today: date) -> list[str]:
    """Return what is legal but unwise, one sentence each; nothing of it stops a start."""
    return [
        *(f"{spec.name}: {each}" for spec in config.migrations for each in _warnings(spec, config, today)),
        *unwise(config.prompts, config.migrations),
    ]


def _warnings(spec: MigrationSpec, config: Config, today: date) -> Iterator[str]:
    find = config.catalogue.find
    control, candidate = find(spec.control), find(spec.candidate)
    for role, asked, model in arms(spec, config.catalogue):
        if model is not None:
            yield from (f"{role}: {each}" for each in _about(asked, model, today))
    for model_id in spec.models:
        model = find(model_id)
        if model is None:
            hint = suggestion(model_id, config.catalogue)
            yield f"match.models: {model_id!r} is not in the catalogue{hint}"
        elif model is not find(spec.control):
            yield f"match.models: {model_id!r} is {model.id}, not control; its requests go to {spec.control}"
    if spec.holdback.percent and spec.holdback.until and date.fromisoformat(spec.holdback.until) < today:
        yield f"holdback.until: {spec.holdback.until} has passed, and units are still held back"
    if control is not None and candidate is not None:
        yield from pointless(spec.compat, control, candidate)
    if unjudged := _not_judged(spec):
        yield f"read and kept with the run, but nothing acts on it yet: {', '.join(unjudged)}"


def _about(asked: str, model: Model, today: date) -> Iterator[str]:
    if asked != model.id and _DATED.search(model.id):
        yield f"{asked!r} is an alias that may move; name the dated id {model.id!r}"
    retires_on = model.lifecycle.retires_on
    if model.lifecycle.status == "retired" or (retires_on is not None and retires_on <= today):
        yield f"{asked!r} is retired since {retires_on}; every request to it fails"
    elif retires_on is not None and retires_on - today <= NOTICE:
        days = (retires_on - today).days
        yield f"{asked!r} retires on {retires_on}, in {days} day{'s' if days > 1 else ''}"
    elif model.lifecycle.status == "deprecated":
        yield f"{asked!r} is deprecated; {model.lifecycle.note or f'it retires on {retires_on}'}"
    if model.prices is None:
        yield f"{asked!r} has no price, so its cost is not counted"


def _not_judged(spec: MigrationSpec) -> list[str]:
    """Return what is in force by the document, or by default, although people still advance, compare and
    tell."""
    options = {
        "stages: hold": any(stage.hold_s for stage in spec.stages),
        "stages: min_units": any(stage.min_units for stage in spec.stages),
        "stages: max_regression": any(stage.max_regression is not None for stage in spec.stages),
        "stages: approval": any(stage.approval for stage in spec.stages),
        **{f"gates.breaker.{name}": name not in _JUDGED_BREAKERS for name in spec.gates.breaker},
        "gates.rollback": spec.gates.rollback,
        "gates.hold": spec.gates.hold,
        "on_rollback.notify": spec.on_rollback.notify,
    }
    return [option for option, is_set in options.items() if is_set]
