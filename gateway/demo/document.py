"""A migration that was made up in Python, as the document that an operator would have written.

What `document_of` returns may stand in `config/migrations/*.yaml`, and means the same when it is read again:
the gateway that it is meant for gets it the way it gets every other.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gateway.config.shapes import format_duration
from gateway.core.spec import BreakerRule, Check, CompatPolicy, Freeze, Gates, MigrationSpec, Stage
from gateway.core.types import parse_json


def document_of(spec: MigrationSpec) -> dict[str, Any]:
    """Return the document of a migration, as plain data."""
    return {
        "name": spec.name,
        "control": spec.control,
        "candidate": spec.candidate,
        "match": {"models": list(spec.models)},
        "stages": [_stage(stage) for stage in spec.stages],
        "unit": list(spec.unit),
        "lists": {key: list(value) for key, value in asdict(spec.lists).items()},
        "compat": _policy(spec.compat) | {"tasks": {t: _policy(p) for t, p in spec.compat.tasks.items()}},
        "gates": _gates(spec.gates),
        "checks": [_check(check) for check in spec.checks],
        "freeze": [_freeze(freeze) for freeze in spec.freeze],
        "on_rollback": {"mode": spec.on_rollback.mode, "notify": list(spec.on_rollback.notify)},
        "holdback": asdict(spec.holdback),
        "shadow": asdict(spec.shadow),
        "notify": list(spec.notify),
        "checklist": spec.checklist,
    }


def _stage(stage: Stage) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": stage.name,
        "percent": stage.percent,
        "hold": format_duration(stage.hold_s),
        "min_units": stage.min_units,
        "max_regression": stage.max_regression,
        "approval": stage.approval and _terms(stage),
        "require": stage.require,
    }
    if stage.max_duration_s is not None:
        row["max_duration"] = format_duration(stage.max_duration_s)
        row["on_max_duration"] = stage.on_max_duration
    return row


def _terms(stage: Stage) -> dict[str, Any]:
    by_another = {"by_another": stage.approval_by_another}
    if stage.approval_deadline_s is None:
        return by_another
    deadline = {"deadline": format_duration(stage.approval_deadline_s), "on_deadline": stage.on_deadline}
    return deadline | by_another


def _policy(policy: CompatPolicy) -> dict[str, Any]:
    row = asdict(policy)
    del row["tasks"]
    levels = row.pop("effort_map")
    return row | ({"effort": {"map": levels}} if policy.effort == "map" else {})


def _gates(gates: Gates) -> dict[str, Any]:
    default = Gates()
    return {
        "breaker": {name: _breaker(gates.breaker.get(name)) for name in default.breaker},
        "rollback": _ratios(gates.rollback, default.rollback) | {"alpha": gates.alpha},
        "hold": _ratios(gates.hold, default.hold),
        "fresh": format_duration(gates.fresh_s),
        "no_traffic": format_duration(gates.no_traffic_s),
    }


def _breaker(rule: BreakerRule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    row = asdict(rule)
    return {"window": format_duration(row.pop("window_s")), **row}


def _ratios(ratios: Mapping[str, float], known: Mapping[str, float]) -> dict[str, Any]:
    return {name: {"max_ratio": ratios[name]} if name in ratios else None for name in known}


def _check(check: Check) -> dict[str, Any]:
    row = {"kind": check.kind, "task": check.task}
    if check.name != f"{check.task or 'all'}-{check.kind}":  # Its name as long as nobody gave it one.
        row["name"] = check.name
    judged = {"min_pass": check.min_pass, "max_ratio": check.max_ratio}
    needs: dict[str, Any] = {"pattern": check.pattern, "max_chars": check.max_chars}
    if check.schema:
        needs["schema"] = parse_json(check.schema)
    return row | judged | _filled(needs)


def _freeze(freeze: Freeze) -> dict[str, Any]:
    row = _filled(asdict(freeze))
    return row if freeze.days else {key: row[key] for key in row.keys() - {"starts", "ends"}}


def _filled(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value}
