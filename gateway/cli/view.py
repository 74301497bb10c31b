"""What the gateway answered, drawn for a person.

The first line answers the question that was asked; details follow and may be skipped. Colour repeats what
words already say. Shared by `gateway migration` and the live view of the demo.

Names and reasons are somebody's words. They reach a terminal through `clean`, which leaves them nothing to
steer it with.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import floor, log10
from typing import IO, Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.compat.catalog import Model
from gateway.compat.drift import Drift
from gateway.core.gates.words import spoken

Status = Mapping[str, Any]
T = TypeVar("T")

_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""What a terminal obeys instead of showing it: control characters, and what turns the reading direction."""

PHASE_STYLE = {
    "draft": "dim",
    "running": "bold cyan",
    "paused": "bold yellow",
    "soaking": "bold green",
    "completed": "bold green",
    "rolled_back": "bold red",
}
PHASES_JUDGED = frozenset({"running", "paused", "soaking"})
"""In which gates are judged, so that there is more to say than where it stands."""
PIPE_WIDTH = 200
"""Columns where there is no terminal to ask: no row is folded for the program that reads it."""

VERDICT_STYLE = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "error": "red"}


def console(file: IO[str] | None = None, width: int | None = None) -> Console:
    """Return a console that takes text as it is: names and reasons are somebody's words, never markup."""
    console = Console(file=file, width=width, markup=False, emoji=False, highlight=False)
    if width is None and not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH
    return console


def clean(value: T) -> T:
    """Return a JSON value or a text with a space for whatever a terminal would obey."""
    made: Any = value
    match value:
        case str():
            made = _STEERING.sub(" ", value)
        case Mapping():
            made = {clean(key): clean(item) for key, item in value.items()}
        case list() | tuple():
            made = [clean(item) for item in value]
    return made  # type: ignore[no-any-return]


def percent(value: float) -> str:
    """25 → `25 %`; 12.5 → `12.5 %`."""
    return f"{value:g} %"


def headline(status: Status) -> str:
    """Say in one line where the migration stands."""
    status = clean(status)
    parts = [f"{status['name']}: {standing(status)}"]
    if status["phase"] != "draft":
        parts.append(f"{enrolled(status)} units enrolled")
    parts.append(agreement(status["replicas"]))
    if not status.get("store_available", True):
        parts.append("the store does not answer, so this is what one replica obeys")
    return ", ".join(parts)


def enrolled(status: Status) -> str:
    """Return how many units each arm has, control first."""
    counts = status.get("enrolled")
    return f"{counts['control']} + {counts['candidate']}" if counts else "unknown"


def agreement(replicas: Mapping[str, Any]) -> str:
    """Say how many serving processes obey the same version."""
    expected, acknowledged = replicas["expected"], replicas["acknowledged"]
    said = f"{acknowledged} of {expected} {'replica agrees' if expected == 1 else 'replicas agree'}"
    missing = replicas.get("missing") or []
    return f"{said} (missing: {', '.join(missing)})" if missing else said


def standing(status: Status) -> str:
    """Say phase, stage and share."""
    phase, reason = status["phase"], status.get("reason")
    match phase:
        case "draft":
            return "draft, everything on control"
        case "rolled_back":
            return f"rolled back ({reason}), everything on control"
        case "paused":
            return f"paused ({reason}), {_share(status)}"
        case "running":
            return f"running, {_share(status)}"
        case _:
            return f"{phase} ({percent(status['weight_percent'])})"


def _share(status: Status) -> str:
    weight, stage = status["weight_percent"], status["stage"]
    if weight == stage["percent"]:
        return f"stage {stage['name']} ({percent(weight)})"
    return f"set to {percent(weight)} in stage {stage['name']} ({percent(stage['percent'])})"


def status_report(status: Status) -> RenderableType:
    """Return the whole status: the headline, what it means, then the evidence."""
    status = clean(status)
    head = Text(headline(status), style=PHASE_STYLE.get(status["phase"], ""))
    models = Text.assemble(
        (status["control"], "blue"), " → ", (status["candidate"], "magenta"), f"   run {status['run']}, ",
        f"version {status['version']}", *([f", entered {moment(at)}"] if (at := _entered(status)) else []),
    )  # fmt: skip
    parts: list[RenderableType] = [head, models]
    if named := list(_autopilot(status)):
        parts.append(facts(named))
    if status.get("config_drift"):
        parts.append(
            Text(
                "The file differs from what this run was started with; it counts from the next run.", "yellow"
            )
        )
    if missing := status["replicas"]["missing"]:
        parts.append(
            Text(f"Not heard from: {', '.join(missing)}. They may still serve an older weight.", "bold red")
        )
    if decision := _decision(status):
        parts.append(decision)
    if status.get("metrics"):
        parts.append(_metrics(status["metrics"]))
    if status.get("gates"):
        parts.append(_gates(status["gates"]))
    return Group(*parts)


def migrations_table(statuses: Iterable[Status]) -> Table:
    """Return one row per migration."""
    table = rows("migration", "phase", "stage", "weight>", "control", "candidate", "enrolled>")
    for status in map(clean, statuses):
        phase = status["phase"] + (f" ({status['reason']})" if status.get("reason") else "")
        table.add_row(
            status["name"],
            Text(phase, style=PHASE_STYLE.get(status["phase"], "")),
            (status.get("stage") or {}).get("name") or "",
            percent(status["weight_percent"]),
            status["control"],
            status["candidate"],
            enrolled(status),
        )
    return table


def events_table(events: Iterable[Mapping[str, Any]]) -> Table:
    """Return the audit log, oldest first."""
    table = rows("#>", "when (UTC)", "who", "what", "from", "to", "why")
    for event in map(clean, events):
        table.add_row(
            str(event["seq"]),
            moment(event["at"]),
            event["by"],
            event["verb"],
            _state(event.get("before") or {}),
            _state(event.get("after") or {}),
            event.get("reason") or "",
        )
    return table


def models_table(models: Iterable[Model]) -> Table:
    """Return the catalogue, one row per model; prices are USD per million tokens."""
    table = rows("id", "line", "tier", "lifecycle", "retires", "in>", "out>", "context>")
    for model in models:
        prices = (f"{model.prices.input:g}", f"{model.prices.output:g}") if model.prices else ("?", "?")
        lifecycle = model.lifecycle
        style = {"active": "", "deprecated": "yellow", "retired": "dim"}[lifecycle.status]
        retires = lifecycle.retires_on.isoformat() if lifecycle.retires_on else ""
        table.add_row(
            model.id, model.line, model.decision.tier, lifecycle.status, retires,
            *prices, tokens(model.context_tokens), style=style,
        )  # fmt: skip
    return table


def drifts_table(drifts: Iterable[Drift]) -> Table:
    """Return what the catalogue and the vendor's list say differently, one row each."""
    table = rows("model", "what", "catalogue", "listed")
    for drift in drifts:
        table.add_row(*(clean(text) for text in (drift.model, drift.field, drift.catalogue, drift.live)))
    return table


def facts(named: Iterable[tuple[str, str]]) -> Table:
    """Return two columns: what, and how it is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in named:
        table.add_row(clean(name), clean(value))
    return table


def money(microusd: float) -> str:
    """1 230 000 → `$1.23`; three digits where there are no dollars, none behind the point of thousands."""
    dollars = microusd / 1e6
    if abs(dollars) >= 1000 or dollars == 0:
        return f"${dollars:,.0f}"
    if abs(dollars) >= 1:
        return f"${dollars:.2f}"
    return "$" + f"{dollars:.{2 - floor(log10(abs(dollars)))}f}".rstrip("0")


def tokens(count: int) -> str:
    """1 000 000 → `1M`, 200 000 → `200K`."""
    return f"{count / 1e6:g}M" if count >= 1_000_000 else f"{count / 1e3:g}K"


def moment(at: float) -> str:
    """Return a time of day with its date, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _entered(status: Status) -> float | None:
    at = (status.get("stage") or {}).get("entered_at")
    return float(at) if at else None


def _autopilot(status: Status) -> Iterator[tuple[str, str]]:
    """Yield what automation says and waits for, and what the run has cost."""
    if (summary := status.get("summary")) and status["phase"] in PHASES_JUDGED:
        yield "where it stands", summary
    elif status["phase"] == "rolled_back" and (cause := str(summary or "").partition(" - ")[2]):
        yield "stopped by", cause
    if (watched_s := status.get("watched_s")) is not None and status["phase"] != "soaking":
        yield "watched", spoken(watched_s)
    approval = status.get("approval") or {}
    if approval.get("by"):
        yield "approval", f"by {approval['by']} at {moment(approval['at'])}"
    elif (since := approval.get("waiting_since")) is not None:
        yield "approval", f"is all that is missing, since {moment(since)}: `gateway migration approve`"
    elif approval.get("needed"):
        yield "approval", "will be needed to leave this stage"
    if cost := status.get("cost_microusd"):
        yield "cost so far", ", ".join(f"{money(cost[arm])} {arm}" for arm in ("control", "candidate"))


def _decision(status: Status) -> Text | None:
    decision = status.get("decision")
    if not decision or decision == "none":
        return None
    text = Text(f"decision: {decision}")
    if due := status.get("next_check_at"):
        text.append(f", next look at {moment(due)}", style="dim")
    return text


def _metrics(metrics: Sequence[Mapping[str, Any]]) -> Table:
    table = rows("metric", "control>", "candidate>", "ratio>", "n control>", "n candidate>", "verdict")
    for metric in metrics:
        verdict = str(metric.get("verdict") or "")
        table.add_row(
            str(metric["name"]),
            *(_number(metric.get(key)) for key in ("control", "candidate", "ratio")),
            *(f"{metric.get(key) or 0:,}" for key in ("n_control", "n_candidate")),
            Text(verdict, style=VERDICT_STYLE.get(verdict, "")),
        )
    return table


def _gates(gates: Sequence[Mapping[str, Any]]) -> Table:
    table = rows("gate", "verdict", "why")
    for gate in gates:
        verdict = str(gate.get("verdict") or "")
        table.add_row(
            str(gate["name"]), Text(verdict, style=VERDICT_STYLE.get(verdict, "")), gate.get("reason") or ""
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _state(summary: Mapping[str, Any]) -> str:
    if not summary:
        return ""
    return f"{summary.get('phase', '')} {percent(summary.get('weight_percent', 0))}".strip()


def rows(*columns: str) -> Table:
    """Return an empty table; a column whose name ends in `>` is aligned to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(
            column.removesuffix(">"), justify="right" if column.endswith(">") else "left", overflow="fold"
        )
    return table
