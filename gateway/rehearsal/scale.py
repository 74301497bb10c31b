"""The copy of a migration that is rehearsed: the same gates and stages, with the days taken out.

What counts in days counts in seconds here, and minimums are no more than the callers of a rehearsal can give.
What cannot be rehearsed is left out: freezes, sinks, checks that a simulated model knows nothing of. Whatever
is not as it was configured is told, one line each; what is not told is as it was.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from gateway.config.shapes import format_duration
from gateway.core.spec import BreakerRule, Check, Gates, Lists, MigrationSpec, OnRollback, Shadow, Stage

USERS = 600
"""Who calls in a rehearsal; each is a unit."""
HOLD_S = 3.0
"""What the longest hold becomes; the others keep their proportion,"""
LEAST_HOLD_S = 1.0
"""but none is shorter."""
WINDOW_S = 30.0
"""What the longest window of a breaker becomes,"""
LEAST_WINDOW_S = 10.0
"""and the shortest."""
SHARE_OF_USERS = 0.3
"""How many of a stage's users may be asked for as `min_units`: the others have not called yet."""
MOST_REQUESTS, MOST_UNITS = 50, 10
"""What a breaker may ask for before it says anything."""
MOST_ISSUES = 10
P95_S = 4.0
"""The highest limit of a p95 that can be gone over within seconds."""
DEARER = 2.5
"""A wordy candidate gets dearer by more than this, and a healthy one by less."""
PATIENCE_S = 120.0
"""Least `max_duration` and deadline: longer than a stage takes here."""
NO_TRAFFIC_S, FRESH_S = 60.0, 15.0

EXTRACTION = "extraction"
"""The task of the application that asks for JSON, where no check names another."""
INTERNAL = "rehearsal"
"""The task of requests that stand for people on a list, where no task is on it."""
UNKNOWN = frozenset({"regex", "max_chars"})
"""Checks on what answers say: a simulated model says what it likes."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A migration as it is rehearsed."""

    spec: MigrationSpec
    changes: tuple[str, ...]
    """What is not as it was configured, one line each."""
    json_task: str
    """What the application that asks for JSON calls its requests."""
    internal_task: str = ""
    """What listed requests call themselves; empty: nothing is on a list."""


def accelerated(spec: MigrationSpec, *, price_ratio: float = 1.0) -> Copy:
    """Return the copy of a migration that can be rehearsed within minutes.

    `price_ratio` is what the candidate's output costs, as a multiple of control's.
    """
    longest_s = max((stage.hold_s for stage in spec.stages), default=0.0)
    internal = (*spec.lists.allow_tasks, INTERNAL)[0] if _listed(spec.lists) else ""
    checks, json_task = _checks(spec.checks)
    copy = replace(
        spec,
        stages=tuple(_stage(stage, longest_s) for stage in spec.stages),
        gates=_gates(spec.gates, price_ratio),
        checks=checks,
        lists=replace(spec.lists, allow_tasks=(internal,)) if internal else spec.lists,
        freeze=(),
        notify=(),
        on_rollback=OnRollback(spec.on_rollback.mode),
        shadow=Shadow(),
        checklist="advisory",
    )
    return Copy(copy, tuple(_changes(spec, copy)), json_task, internal)


def _listed(lists: Lists) -> bool:
    return bool(lists.allow_users or lists.allow_tasks)


def _stage(stage: Stage, longest_s: float) -> Stage:
    hold_s = max(round(stage.hold_s * HOLD_S / longest_s, 1), LEAST_HOLD_S) if stage.hold_s else 0.0
    callers = max(int(USERS * stage.percent / 100 * SHARE_OF_USERS), 1)
    limit_s, deadline_s = stage.max_duration_s, stage.approval_deadline_s
    return replace(
        stage,
        hold_s=min(hold_s, stage.hold_s),
        min_units=min(stage.min_units, callers),
        max_duration_s=None if limit_s is None else PATIENCE_S,
        approval_deadline_s=None if deadline_s is None else PATIENCE_S,
    )


def _gates(gates: Gates, price_ratio: float) -> Gates:
    most = {
        "latency_p95_s": P95_S,
        "quality_issues": float(MOST_ISSUES),
        "cost_ratio": round(DEARER * price_ratio, 3),
    }
    longest_s = max((rule.window_s for rule in gates.breaker.values()), default=0.0)
    return replace(
        gates,
        breaker={
            name: _breaker(rule, longest_s, most.get(name, rule.max)) for name, rule in gates.breaker.items()
        },
        fresh_s=min(gates.fresh_s, FRESH_S),
        no_traffic_s=min(gates.no_traffic_s, NO_TRAFFIC_S),
    )


def _breaker(rule: BreakerRule, longest_s: float, most: float) -> BreakerRule:
    window_s = max(round(rule.window_s * WINDOW_S / longest_s, 1), LEAST_WINDOW_S)
    return BreakerRule(
        min(rule.max, most),
        min(window_s, rule.window_s),
        min(rule.min_requests, MOST_REQUESTS),
        min(rule.min_units, MOST_UNITS),
    )


def _checks(checks: tuple[Check, ...]) -> tuple[tuple[Check, ...], str]:
    """Return the checks that can be rehearsed, and the task whose answers must be JSON."""
    known = [
        replace(check, kind="json", schema="", name=_named(check)) if check.kind == "json_schema" else check
        for check in checks
        if check.kind not in UNKNOWN
    ]
    asked = [check for check in known if check.kind == "json"]
    task = next((check.task for check in asked if check.task), EXTRACTION)
    if not asked:
        known.append(Check("json", EXTRACTION, name=f"{EXTRACTION}-json"))
    return tuple(
        replace(check, task=task, name=_named(check)) if check.kind == "json" and not check.task else check
        for check in known
    ), task


def _named(check: Check) -> str:
    """Return the name of a check that is not what it was, as a document may spell it."""
    return re.sub(r"[^a-z0-9]+", "-", check.name.lower()).strip("-")[:63] or "json"


# --- what was changed ---------------------------------------------------------------------------------------


def _changes(spec: MigrationSpec, copy: MigrationSpec) -> Iterator[str]:
    for before, after in zip(spec.stages, copy.stages, strict=True):
        yield from _line(f"stage {before.name}", before, after)
    for name, rule in spec.gates.breaker.items():
        yield from _line(f"breaker {name}", rule, copy.gates.breaker[name])
    yield from _line("gates", spec.gates, copy.gates)
    yield from _changed_checks(spec.checks, copy.checks)
    if copy.lists != spec.lists:
        yield f"lists: requests of the task {copy.lists.allow_tasks[0]!r} stand for whoever is listed"
    sinks = dict.fromkeys((*spec.notify, *spec.on_rollback.notify))
    if sinks:
        yield f"notify: nobody is told ({', '.join(sinks)})"
    for freeze in spec.freeze:
        yield f"freeze {freeze.name}: left out"
    if spec.checklist == "required":
        yield "checklist: not asked for"


def _line(name: str, before: Any, after: Any) -> Iterator[str]:
    """Yield what differs between two of a kind, as one line; parts that are told elsewhere are left out."""
    parts = [
        f"{field.name.removesuffix('_s')} {_shown(field.name, old)} → {_shown(field.name, new)}"
        for field in fields(before)
        if (old := getattr(before, field.name)) != (new := getattr(after, field.name))
        and not isinstance(old, dict)
    ]
    if parts:
        yield f"{name}: {', '.join(parts)}"


def _shown(name: str, value: Any) -> str:
    return format_duration(value) if name.endswith("_s") else f"{value:g}"


def _changed_checks(before: tuple[Check, ...], after: tuple[Check, ...]) -> Iterator[str]:
    kept = {check.name: check for check in after}
    for check in before:
        now = kept.pop(check.name, None) or kept.pop(_named(check), None)
        if now is None:
            yield f"check {check.name}: left out, since a simulated model knows nothing of {check.kind}"
        elif now.kind != check.kind:
            yield f"check {check.name}: asks for JSON, whatever its schema"
        elif now.task != check.task:
            yield f"check {check.name}: for the task {now.task!r} alone, since others answer in prose"
    for name, check in kept.items():
        yield f"check {name}: added, since no check asks for JSON (task {check.task!r})"
