"""The live view of the demo: both arms side by side, and where the rollout stands.

A `Screen` of the demo comes in two kinds: one that redraws a panel in place, and one that writes a line now
and then, for pipes and CI.
"""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.cli import view
from gateway.core.types import Arm
from gateway.demo.act import Scene
from gateway.demo.tally import ArmTally

ARM_STYLE = {Arm.control: "blue", Arm.candidate: "magenta"}
WIDTH = 100
"""The panel grows no wider."""
BAR = 20


class LiveScreen:
    """Redraws one panel per act in place; what is said stays above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._act = 0

    def show(self, scene: Scene) -> None:
        """Draw the moment; a new act begins a new panel below the last one."""
        if scene.number != self._act:
            self.close()
            self._act = scene.number
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        if self._live is not None:
            self._live.update(panel(scene, self._console.width), refresh=True)

    def say(self, line: str) -> None:
        """Write above the panel, so that it stays."""
        self._console.print(f"  {line}", style="dim")

    def close(self) -> None:
        """Leave the last panel as it is."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class PlainScreen:
    """Writes what is said, and one line about the moment every few seconds."""

    EVERY_S = 2.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._act = 0
        self._next_s = 0.0

    def show(self, scene: Scene) -> None:
        """Write a line if it is time for one."""
        if scene.number != self._act:
            self._act, self._next_s = scene.number, 0.0
            self._console.print(f"act {scene.number}: {scene.title}")
        if scene.status and scene.elapsed_s >= self._next_s:
            self._next_s = scene.elapsed_s + self.EVERY_S
            self._console.print(f"  {scene.elapsed_s:4.0f} s  {moment(scene)}")

    def say(self, line: str) -> None:
        """Write a line."""
        self._console.print(f"  {line}")

    def close(self) -> None:
        """Nothing is left open."""


def moment(scene: Scene) -> str:
    """Return the moment in one line."""
    stage, total = scene.stage, scene.total
    share = stage.candidate_share
    began = "-" if share is None else f"{100 * share:.0f} %"
    return (
        f"{scene.plan.name}: {view.standing(scene.status)}; the candidate began {began} of {stage.begun} "
        f"conversations; {total.requests} requests, {total.failed} failed, {total.candidate.rescued} rescued"
    )


def panel(scene: Scene, width: int) -> RenderableType:
    """Return the moment as a panel."""
    width = min(width, WIDTH)
    style = view.PHASE_STYLE.get(scene.status.get("phase", ""), "dim")
    head = Text(scene.plan.name, style="bold")
    if scene.status:
        head.append(f"  {view.standing(scene.status)}", style=style)
    return Panel(
        Group(head, Text(), ramp(scene, width - 4), Text(), arms(scene), Text(), footer(scene)),
        title=f"act {scene.number} of 2 · {scene.title}",
        title_align="left",
        subtitle=f"{scene.elapsed_s:.0f} s",
        subtitle_align="right",
        width=width,
        border_style=style,
    )


def ramp(scene: Scene, width: int) -> RenderableType:
    """Return the stages, and a line of which the candidate's share is drawn heavy."""
    status = scene.status
    phase = status.get("phase", "draft")
    present = -1 if phase == "draft" else status["stage"]["index"]
    here = ("✗", "bold red") if phase == "rolled_back" else ("▶", "bold")
    labels = Text()
    if phase in ("soaking", "completed"):
        present = len(scene.plan.stages)
    for index, stage in enumerate(scene.plan.stages):
        mark, style = here if index == present else ("✓", "green") if index < present else ("·", "dim")
        labels.append(f"{mark} {stage.name} {view.percent(stage.percent)}  ", style=style)
    heavy = round(width * float(status.get("weight_percent", 0)) / 100)
    line = Text.assemble(
        ("━" * heavy, ARM_STYLE[Arm.candidate]), ("╌" * (width - heavy), ARM_STYLE[Arm.control])
    )
    return Group(labels, line)


def arms(scene: Scene) -> Table:
    """Return the two arms side by side."""
    stage, total, plan = scene.stage, scene.total, scene.plan
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True, min_width=17)
    for arm in (Arm.control, Arm.candidate):
        table.add_column(no_wrap=True, min_width=26, style=ARM_STYLE[arm])
    share = stage.candidate_share
    sides = (total.control, total.candidate)
    table.add_row("", "control", "candidate", style="bold")
    table.add_row("model", plan.control, plan.candidate)
    table.add_row(
        "new conversations",
        *(_bar(None if share is None else part) for part in (1 - (share or 0), share or 0)),
    )
    table.add_row("requests", *(f"{side.requests:,}" for side in sides))
    table.add_row("failed", *(_alarm(side.failed) for side in sides))
    table.add_row("rescued", "-", _rescued(total.candidate))
    table.add_row("p50 / p95", *(_latency(side) for side in sides))
    table.add_row("$ per 1,000", _cost(total.control), _cost(total.candidate, against=total.control))
    enrolled = scene.status.get("enrolled") or {}
    table.add_row(
        "units enrolled", *(f"{enrolled.get(arm.value, 0):,}" for arm in (Arm.control, Arm.candidate))
    )
    return table


def footer(scene: Scene) -> Table:
    """Return what was rewritten, what could not be, and what the callers say."""
    return view.facts(_footer_rows(scene))


def _footer_rows(scene: Scene) -> Iterator[tuple[str, str]]:
    total = scene.total
    rules = " · ".join(f"{rule} {count:,}" for rule, count in total.rewrites.most_common(6))
    yield "rewritten        ", rules or "-"
    kept = " · ".join(f"{name} {count:,}" for name, count in total.unservable.most_common(3))
    yield "left on control", f"{kept} (the candidate rejects what it asks)" if kept else "-"
    yield "autopilot", scene.note or scene.status.get("summary") or "-"
    yield "callers", f"{scene.users:,} users, {total.requests:,} requests, {total.failed:,} failed"


def _bar(part: float | None) -> Text:
    if part is None:
        return Text("-")
    filled = round(BAR * part)
    return Text("█" * filled + "░" * (BAR - filled) + f" {100 * part:3.0f} %")


def _alarm(count: int) -> Text:
    return Text(f"{count:,}", style="bold red" if count else "")


def _rescued(side: ArmTally) -> str:
    return f"{side.rescued:,} answered by control" if side.rescued else "0"


def _latency(side: ArmTally) -> str:
    middle, slow = side.latency_s(0.5), side.latency_s(0.95)
    return "-" if middle is None or slow is None else f"{1000 * middle:,.0f} / {1000 * slow:,.0f} ms"


def _cost(side: ArmTally, *, against: ArmTally | None = None) -> str:
    mine, theirs = side.usd_per_1k, against.usd_per_1k if against else None
    if mine is None:
        return "-"
    return f"{mine:,.2f}" + (f"  ({100 * (mine / theirs - 1):+.0f} %)" if theirs else "")
