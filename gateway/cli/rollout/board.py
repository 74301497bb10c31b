"""One look at a rollout, drawn: where it stands, how far it is, how the arms compare, what it costs.

Everything is a line of text that is made to fit, so that a board has as many lines as it says and no row is
ever folded. It fits 80 columns and 24 lines. Where there is less room than there is to say, what worries
least is left out and counted; blank lines go first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text

from gateway.cli import view
from gateway.cli.rollout import comparisons
from gateway.cli.rollout.words import clock, count, fit, folded, padded
from gateway.core.gates.words import spoken

MONTH_MIN = 30 * 24 * 60
WIDEST, NARROWEST = 120, 70
"""On a narrower terminal every line is cut where it ends."""
LOWEST = 16
EVENTS = 3
GATES = 3
"""As many gates that are not green are shown where there is little room, and as many events."""
LABEL = 7
_SPACED = (2, 4, 3, 1)
"""Blocks that a blank line goes before, the first one first."""

_UNCOMPARED = "no comparisons at 0 % and above 50 %: breakers and checks go on"
_WORRIES = {"fail": 0, "error": 1, "inconclusive": 2}
_MARKS = {"fail": "✗", "error": "!", "inconclusive": "?"}
_DRAWN = frozenset({"hold", "min_units"})
"""Gates that have a bar of their own."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was answered at one moment, cleaned of what a terminal obeys."""

    at: float
    status: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...] = ()
    """The last ones, oldest first."""
    plan: Mapping[str, Any] | None = None
    """What the stages were planned with; None where it is not known."""
    trouble: str = ""
    """Why this is not how it stands now: the gateway did not answer."""


def board(look: Look, width: int, height: int) -> Group:
    """Return the board in at most `width` columns and `height` lines."""
    width, height = max(min(width, WIDEST), NARROWEST), max(height, LOWEST)
    head, progress, cost = list(_head(look, width)), list(_progress(look, width)), list(_cost(look, width))
    rows = len(look.status.get("metrics") or ()) + 1
    room = height - len(head) - len(progress) - len(cost)
    gates, events = _gates(look, width, 2), _events(look, width, 2)
    if rows + len(gates) + len(events) > room - len(_SPACED):
        gates, events = _gates(look, width, 1), _events(look, width, 1)
    room -= len(events)
    worries = _cut(gates, max(min(len(gates), GATES), room - rows), width)
    compared = _compared(look, width, room - len(worries))
    blocks = [head, progress, compared, worries, [*cost, *events]]
    spare = height - sum(map(len, blocks))
    if spare > len(_SPACED) and look.status.get("metrics"):
        compared.append(Text(fit(comparisons.LEGEND, width), "dim"))
        spare -= 1
    for index in [index for index in _SPACED if blocks[index]][: max(spare, 0)]:
        blocks[index].insert(0, Text())
    lines = [line for block in blocks for line in block][:height]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def sentence(look: Look) -> str:
    """Return where it stands in one line, for whoever reads lines."""
    status = look.status
    told = f"{status['name']}: {status.get('summary') or view.standing(status)}"
    return f"{told} [not now: {look.trouble}]" if look.trouble else told


# --- where it stands --------------------------------------------------------------------------------------


def _head(look: Look, width: int) -> Iterator[Text]:
    status = look.status
    style = view.PHASE_STYLE.get(status["phase"], "")
    at = f"{clock(look.at, look.at)} UTC"
    name = fit(f"{status['name']}: {view.standing(status)}", width - len(at) - 2)
    yield _ends(Text(name, style), Text(at, "dim"), width)
    summary = str(status.get("summary") or "")
    stopped = list(_stopped_by(look, width)) if status["phase"] == "rolled_back" else []
    if stopped:  # the summary ends with it
        summary = summary.partition(" - ")[0]
    # Where nothing is judged it repeats the line above, as long as nothing is added.
    if status["phase"] in view.PHASES_JUDGED or "," in summary:
        yield from (Text(line) for line in folded(summary, width, 2))
    yield from stopped
    run = f"run {status['run']}, " if status["run"] else ""
    said = Text(run + view.agreement({**status["replicas"], "missing": ()}), "dim")
    models = fit(f"{status['control']} → {status['candidate']}", width - cell_len(said.plain) - 2)
    yield _ends(Text(models), said, width)
    for warning in _warnings(look):
        yield Text(fit(f"! {warning}", width), "bold red")


def _stopped_by(look: Look, width: int) -> Iterator[Text]:
    """Yield why it was rolled back, in the words of the audit log."""
    for event in reversed(look.events):
        if (event.get("after") or {}).get("phase") == "rolled_back" and event.get("reason"):
            yield from (Text(line) for line in folded(f"stopped by {event['reason']}", width, 3))
            return


def _warnings(look: Look) -> Iterator[str]:
    status = look.status
    if look.trouble:
        yield f"as it was at {clock(look.at, look.at)}: {look.trouble}"
    if missing := status["replicas"].get("missing"):
        yield f"not heard from: {', '.join(missing)}"
    if status.get("config_drift"):
        yield "the file differs from what this run goes by; the next run will take the file"


def _ends(left: Text, right: Text, width: int) -> Text:
    return Text.assemble(left, " " * max(width - cell_len(left.plain) - cell_len(right.plain), 1), right)


# --- how far it is ----------------------------------------------------------------------------------------


def _progress(look: Look, width: int) -> Iterator[Text]:
    yield from timeline(look.status, width)
    gates = {gate["name"]: gate for gate in look.status.get("gates") or ()}
    half = (width - 2) // 2
    bars = []
    if hold := gates.get("hold"):
        told = hold["evidence"]
        bars.append(_bar("hold", told["watched_s"] / told["hold_s"], hold["reason"], half))
    if units := gates.get("min_units"):
        told = units["evidence"]
        fewest = min(told["candidate"], told["control"])
        bars.append(_bar("units", fewest / told["min_units"], units["reason"].removesuffix(" units"), half))
    if bars:
        yield Text("  ").join(bars)
    if look.status["phase"] != "draft":
        yield _share(look.status, gates.get("sample_ratio"), half, width)


def timeline(status: view.Status, width: int) -> list[Text]:
    """Return the stages in at most two lines; if they do not fit, those that are done become a number."""
    steps = _steps(status)
    lines = _packed(steps, width)
    done = sum(mark == "✓" for mark, _, _ in steps)
    if len(lines) > 2 and done > 1:
        steps = [("✓", f"{done} stages", "green"), *steps[done:]]
        lines = _packed(steps, width)
    while len(lines) > 2:
        ahead = sum(mark == "·" for mark, _, _ in steps)
        last = int(steps[-1][1].split()[0]) if steps[-1][1].endswith(" more") else 1
        if ahead < 2:
            return lines[:2]
        steps = [*steps[:-2], ("·", f"{last + 1} more", "dim")]
        lines = _packed(steps, width)
    return lines


def _steps(status: view.Status) -> list[tuple[str, str, str]]:
    """Return (mark, words, style) for each stage, and for what comes after them."""
    phase, present = status["phase"], status["stage"]["index"]
    here = {"rolled_back": ("✗", "bold red"), "paused": ("‖", "bold yellow")}.get(phase, ("▶", "bold cyan"))
    if phase == "draft":
        present = -1
    elif phase in ("soaking", "completed"):
        present = len(status.get("stages") or ())
    stages = [(stage["name"], stage["percent"]) for stage in status.get("stages") or ()]
    if not stages:
        stages, present = [(status["stage"]["name"], status["stage"]["percent"])], min(present, 0)
    steps = []
    for index, (name, share) in enumerate(stages):
        mark, style = here if index == present else ("✓", "green") if index < present else ("·", "dim")
        steps.append((mark, f"{name} {view.percent(share)}", style))
    if phase == "soaking":
        steps.append(("▶", f"soaking {view.percent(status['weight_percent'])}", "bold green"))
    elif phase == "completed":
        steps.append(("✓", "completed", "bold green"))
    return steps


def _packed(steps: Sequence[tuple[str, str, str]], width: int) -> list[Text]:
    lines = [Text()]
    for mark, words, style in steps:
        step = Text(fit(f"{mark} {words}", width), style)
        gap = "   " if lines[-1].plain else ""
        if cell_len(lines[-1].plain + gap + step.plain) > width:
            lines.append(Text())
            gap = ""
        lines[-1].append(gap).append_text(step)
    return lines


def _bar(label: str, part: float, words: str, width: int) -> Text:
    """Return a label, a bar and words in exactly `width` columns."""
    bar = max(min(20, width // 2 - LABEL), 6)
    words = padded(words, width - LABEL - bar - 1)
    return Text.assemble((padded(label, LABEL), "dim"), comparisons.gauge(part, bar), " ", words)


def _share(status: view.Status, ratio: Mapping[str, Any] | None, half: int, width: int) -> Text:
    weight = float(status["weight_percent"])
    left = _bar("share", weight / 100, f"{view.percent(weight)} candidate", half)
    enrolled = status.get("enrolled")
    if not enrolled:
        return left + Text("  enrolled: not known")
    units = f"{count(enrolled['control'])} control + {count(enrolled['candidate'])} candidate"
    told = {"pass": "even: ", "fail": "UNEVEN: "}.get(str((ratio or {}).get("verdict")), "")
    return left + Text("  " + fit(told + units, width - half - 2))


# --- how the arms compare, and what stands in the way -------------------------------------------------------


def _compared(look: Look, width: int, most: int) -> list[Text]:
    status = look.status
    if rows := status.get("metrics"):
        return comparisons.lines(rows, width, most)
    if status["phase"] in ("running", "paused") and status.get("store_available", True):
        return [Text(fit(_UNCOMPARED, width), "dim")]
    return [Text(line, "dim") for line in _planned(look, width)] if status["phase"] == "draft" else []


def _planned(look: Look, width: int) -> Iterator[str]:
    if look.plan is None:
        return
    takes = look.plan.get("takes_s")
    ends = f"over {spoken(takes)} after the start at the earliest" if takes else "people advance it"
    warnings = len(look.plan.get("warnings") or ())
    warnings += sum(len(stage.get("warnings") or ()) for stage in look.plan.get("stages") or ())
    minded = f"; {warnings} warnings: see `gateway migration plan`" if warnings else ""
    yield from folded(f"planned: {ends}{minded}", width, 2)


def _gates(look: Look, width: int, most: int) -> list[Text]:
    """Return the gates that are not green, the worst first, each in at most `most` lines."""
    gates = look.status.get("gates") or ()
    open_ones = [gate for gate in gates if gate["verdict"] != "pass"]
    if gates and not open_ones:
        return [Text(f"every gate is green ({len(gates)})", "green")]
    lines = []
    compared = {row["name"] for row in look.status.get("metrics") or ()}
    # What has a row of its own above comes last: its verdict stands there.
    open_ones.sort(key=lambda gate: (_WORRIES.get(gate["verdict"], 3), gate["name"] in compared))
    for gate in open_ones:
        verdict = str(gate["verdict"])
        head = f"{_MARKS.get(verdict, '?')} {padded(gate['name'], 13)} {padded(verdict, 12)} "
        if gate["name"] not in _DRAWN:
            head_text = Text(head, view.VERDICT_STYLE.get(verdict, ""))
            lines += _hanging(head_text, str(gate.get("reason") or ""), width, most)
    return lines


def _hanging(head: Text, words: str, width: int, most: int) -> list[Text]:
    """Return words behind a head; what is folded stands below the words."""
    column = cell_len(head.plain)
    first, *more = folded(words, width - column, most) or [""]
    return [head.append(first, "none"), *(Text(" " * column + line) for line in more)]


def _cut(lines: list[Text], most: int, width: int) -> list[Text]:
    if len(lines) <= most:
        return lines
    kept = lines[: max(most - 1, 1)]
    names = ", ".join(line.plain.split()[1] for line in lines[len(kept) :])
    return [*kept, Text(fit(f"? {len(lines) - len(kept)} more: {names}", width), "dim")]


# --- what it costs, and what happened -----------------------------------------------------------------------


def _cost(look: Look, width: int) -> Iterator[Text]:
    """Yield the cost so far and what it will be, in the longest words that fit."""
    cost, month = look.status.get("cost_microusd"), _month(look.plan)
    short, long = [], []
    if cost:
        short.append(f"{view.money(cost['control'])} control, {view.money(cost['candidate'])} candidate")
        long.append(f"{short[0]} so far")
    if month is not None:
        short.append(f"at 100 % {view.money(month[1])} a month, {100 * (month[1] / month[0] - 1):+.0f} %")
        long.append(f"{short[-1]} of control's {view.money(month[0])}")
    words = "; ".join(long)
    if cell_len(words) > width - LABEL:
        words = "; ".join(short)
    if words:
        yield Text.assemble((padded("cost", LABEL), "dim"), fit(words, width - LABEL))


def _month(plan: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """Return what a month costs with everything on control, and on the candidate; None if not known."""
    traffic = (plan or {}).get("traffic") or {}
    per_min = traffic.get("requests_per_min")
    costs = traffic.get("control_cost_microusd"), traffic.get("candidate_cost_microusd")
    if not per_min or not costs[0] or costs[1] is None:
        return None
    return costs[0] * per_min * MONTH_MIN, costs[1] * per_min * MONTH_MIN


def _events(look: Look, width: int, most: int) -> list[Text]:
    lines = []
    for event in look.events[-EVENTS:]:
        lines += _hanging(Text(f"{clock(event['at'], look.at):<12}", "dim"), _event(event), width, most)
    return lines


def _event(event: Mapping[str, Any]) -> str:
    """Return what happened, whom it came from and why; what nobody ordered is by the gateway itself."""
    before, after = event.get("before") or {}, event.get("after") or {}
    shares = [view.percent(state.get("weight_percent", 0)) for state in (before, after) if state]
    moved = f" {' → '.join(shares)}" if len(set(shares)) > 1 else ""
    by = "" if str(event["verb"]).startswith("automatic") else f" by {event['by']}"
    why = f": {event['reason']}" if event.get("reason") else ""
    return f"{event['verb']}{moved}{by}{why}"
