"""What is legal but unwise in a set of documents: one sentence each, and nothing of it stops a start."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches

from gateway.compat.catalog import Model
from gateway.config.catalogue import suggestion
from gateway.config.compat import pointless, unwise
from gateway.config.freezes import unwise_freezes
from gateway.config.loading import Config, arms
from gateway.core.spec import MigrationSpec

NOTICE = timedelta(days=60)
"""How long before a model's retirement a warning begins."""

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
    for path, names in (("notify", spec.notify), ("on_rollback.notify", spec.on_rollback.notify)):
        for name in names:
            if name not in {sink.name for sink in config.sinks}:
                yield f"{path}: {name!r} is not configured under notify in gateway.yaml; it hears of nothing"
    yield from _stages(spec)
    yield from _checks(spec, config)
    yield from unwise_freezes(spec.freeze, datetime.combine(today, time(), UTC))


def _stages(spec: MigrationSpec) -> Iterator[str]:
    """Yield what a stage asks for and cannot get."""
    for index, stage in enumerate(spec.stages):
        place = f"stages[{index}] ({stage.name})"
        if spec.automatic and not stage.advances and stage is not spec.stages[-1]:
            lacks = "has no hold, and min_units is not asked for" if stage.min_units else ""
            lacks = lacks or "has neither hold nor min_units"
            yield f"{place}: {lacks}, so it waits until a person advances"
        if not 0 < stage.percent <= 50:
            why = "the arms are compared above 0 % and up to 50 %, and units are counted there"
            if stage.min_units:
                yield f"{place}: min_units is never asked for at {stage.percent:g} %: {why}"
            if stage.require == "non_inferior":
                yield f"{place}: require: non_inferior cannot be shown at {stage.percent:g} %: {why}"
    limited = [stage.name for stage in spec.stages if stage.max_regression is not None]
    if limited and not spec.checks:
        names = ", ".join(limited)
        yield f"stages ({names}): max_regression is a share of failed checks, and there are no checks"


def _checks(spec: MigrationSpec, config: Config) -> Iterator[str]:
    """Yield which checks see nothing, and which change nothing."""
    known = {*spec.lists.allow_tasks, *spec.compat.tasks}
    known |= {task for variant in config.prompts for task in variant.tasks}
    limited = any(stage.max_regression is not None for stage in spec.stages)
    for index, check in enumerate(spec.checks):
        place = f"checks[{index}] ({check.name})"
        if check.task and known and check.task not in known:
            close = get_close_matches(check.task, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            yield f"{place}: task {check.task!r} is named nowhere else in the configuration{hint}"
        if check.min_pass is None and check.max_ratio is None and not limited:
            yield f"{place}: has neither min_pass nor max_ratio, and no stage has max_regression"


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
