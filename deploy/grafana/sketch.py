"""One panel's drawing, by its type: a number, lines over time, bars, or bands of what was when."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deploy.grafana.canvas import GRID, MUTED, TEXT, Box, Canvas, Point, spoken

PALETTE = (
    "#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9",
    "#705DA0", "#37872D", "#FADE2A", "#447EBC", "#C15C17", "#890F02", "#6ED0E0",
)  # fmt: skip
LEGEND_PX, AXIS_PX, TIMES_PX = 18, 62, 18
LOW_PX = 22
"""Bands that are no higher have no room for words; their colours say it."""


@dataclass(frozen=True, slots=True)
class Series:
    """What a question was answered: a name, and values at times."""

    name: str
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, or went on for a while."""

    begin: float
    end: float
    text: str
    color: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Where to draw, and which time that is."""

    box: Box
    since: float
    until: float
    marks: Sequence[Mark] = ()

    def x(self, at: float) -> float:
        """Return where a time is."""
        left, _, right, _ = self.box
        return left + (right - left) * (at - self.since) / (self.until - self.since)


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is drawn."""

    name: str
    color: str
    dashed: bool
    named: bool = True
    """Stands in the legend."""


def sketch(canvas: Canvas, panel: Mapping[str, Any], series: Sequence[Series], frame: Frame) -> None:
    """Draw a panel's content."""
    found = [each for each in series if each.points]
    if not found and panel["type"] != "stat":
        left, top, right, bottom = frame.box
        canvas.text(((left + right) / 2, (top + bottom) / 2), "No data", color=MUTED, size=16, anchor="mm")
        return
    {"stat": _stat, "timeseries": _lines, "bargauge": _bars, "state-timeline": _bands}[panel["type"]](
        canvas, panel, found, frame
    )


def _stat(canvas: Canvas, panel: Mapping[str, Any], series: Sequence[Series], frame: Frame) -> None:
    left, top, right, bottom = frame.box
    defaults = panel["fieldConfig"]["defaults"]
    texts = [(each.name, *said(defaults, each.last)) for each in series] or [("", defaults["noValue"], MUTED)]
    width = (right - left) / len(texts)
    for index, (name, text, color) in enumerate(texts):
        middle = left + width * (index + 0.5)
        if panel["options"]["textMode"] == "value_and_name":
            canvas.text((middle, top + 14), canvas.fitting(name, width), anchor="mm", size=14)
        size = 30
        while size > 12 and canvas.width_of(text, size, bold=True) > width:
            size -= 2
        canvas.text((middle, (top + bottom) / 2 + 4), text, color=color, size=size, anchor="mm", bold=True)


def _lines(canvas: Canvas, panel: Mapping[str, Any], series: Sequence[Series], frame: Frame) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    stacked = custom["stacking"]["mode"] == "normal"
    styles = looks(panel, series)
    lines = _stack(series) if stacked else [each.points for each in series]
    left, top, right, bottom = frame.box
    legend = _legend(canvas, panel, series, styles, frame.box)
    plot = Frame(
        (left + AXIS_PX, top, right, bottom - legend - TIMES_PX), frame.since, frame.until, frame.marks
    )
    highest = defaults.get("max") or _ceiling(max(value for points in lines for _, value in points))
    _axes(canvas, plot, highest, defaults["unit"])
    for points, look in reversed(list(zip(lines, styles, strict=True))):
        placed = _placed(plot, points, highest, stepped=custom["lineInterpolation"] == "stepAfter")
        if stacked:
            floor = plot.box[3]
            shape = [(placed[0][0], floor), *placed, (placed[-1][0], floor)]
            canvas.area(shape, look.color, opacity=0.55)
        canvas.line(placed, look.color, width=1 if look.dashed else 1.8, dashed=look.dashed)
    _marked(canvas, plot)


def _bars(canvas: Canvas, panel: Mapping[str, Any], series: Sequence[Series], frame: Frame) -> None:
    left, top, right, bottom = frame.box
    defaults = panel["fieldConfig"]["defaults"]
    names = max(canvas.width_of(each.name) for each in series) + 10
    numbers = 60
    most = max(each.last for each in series) or 1
    height = min(30.0, (bottom - top) / len(series))
    for index, each in enumerate(series):
        y = top + height * index
        end = left + names + (right - left - names - numbers) * each.last / most
        middle = y + height / 2
        canvas.text((left + names - 8, middle), each.name, anchor="rm")
        canvas.box((left + names, y + 3, right - numbers, y + height - 3), GRID)
        canvas.box(
            (left + names, y + 3, max(end, left + names + 1), y + height - 3), defaults["color"]["fixedColor"]
        )
        canvas.text((right - 4, middle), spoken(each.last, defaults["unit"], 0), anchor="rm")


def _bands(canvas: Canvas, panel: Mapping[str, Any], series: Sequence[Series], frame: Frame) -> None:
    left, top, right, bottom = frame.box
    names = max(canvas.width_of(each.name) for each in series) + 10
    plot = Frame((left + names, top, right, bottom - TIMES_PX), frame.since, frame.until, frame.marks)
    height = (plot.box[3] - top) / len(series)
    gap = 4 if height > LOW_PX else 1.5
    for index, each in enumerate(series):
        y = top + height * index
        canvas.text((left + names - 8, y + height / 2), each.name, anchor="rm")
        for begin, end, value in runs(each.points):
            text, color = said(panel["fieldConfig"]["defaults"], value)
            box = (plot.x(begin), y + gap, max(plot.x(end), plot.x(begin) + 1), y + height - gap)
            canvas.box(box, color)
            room = canvas.fitting(text, box[2] - box[0] - 10)
            if len(room) == len(text) and height > LOW_PX:
                canvas.text((box[0] + 6, y + height / 2), text, color="#111217", bold=True)
    _times(canvas, plot)


def _axes(canvas: Canvas, plot: Frame, highest: float, unit: str) -> None:
    left, top, right, bottom = plot.box
    for quarter in range(5):
        y = bottom - (bottom - top) * quarter / 4
        canvas.line([(left, y), (right, y)], GRID, width=0.5)
        if quarter % 2 == 0:
            canvas.text((left - 6, y), spoken(highest * quarter / 4, unit), color=MUTED, size=11, anchor="rm")
    _times(canvas, plot)


def _times(canvas: Canvas, plot: Frame) -> None:
    left, _, right, bottom = plot.box
    count = max(2, int((right - left) // 110))
    for index in range(count + 1):
        at = plot.since + (plot.until - plot.since) * index / count
        anchor = "lm" if index == 0 else "rm" if index == count else "mm"
        clock = f"{datetime.fromtimestamp(at, UTC):%H:%M}"
        canvas.text((plot.x(at), bottom + 9), clock, color=MUTED, size=11, anchor=anchor)


def _marked(canvas: Canvas, plot: Frame) -> None:
    """Draw what happened: a line for a moment, a bar at the foot for a while."""
    _, top, _, bottom = plot.box
    for mark in plot.marks:
        x = plot.x(mark.begin)
        canvas.line([(x, top), (x, bottom)], mark.color, width=0.8, dashed=True)
        if mark.end > mark.begin:
            canvas.box((x, bottom - 3, plot.x(mark.end), bottom), mark.color)


def _legend(
    canvas: Canvas, panel: Mapping[str, Any], series: Sequence[Series], styles: Sequence[Look], box: Box
) -> float:
    """Draw the names with their last values at the foot, and return how high they are."""
    left, _, right, bottom = box
    unit = panel["fieldConfig"]["defaults"]["unit"]
    rows: list[list[tuple[Look, str]]] = [[]]
    x = left
    for look, each in zip(styles, series, strict=True):
        if not look.named:
            continue
        number = spoken(each.last, unit)
        width = canvas.width_of(f"{look.name} {number}", 11) + 34
        if rows[-1] and x + width > right:
            rows.append([])
            x = left
        rows[-1].append((look, number))
        x += width
    for index, row in enumerate(rows):
        x, y = left, bottom - LEGEND_PX * (len(rows) - index - 0.5)
        for look, number in row:
            canvas.line([(x, y), (x + 12, y)], look.color, width=3, dashed=look.dashed)
            canvas.text((x + 16, y), look.name, size=11)
            canvas.text((x + 20 + canvas.width_of(look.name, 11), y), number, size=11, color=MUTED)
            x += canvas.width_of(f"{look.name} {number}", 11) + 34
    return LEGEND_PX * len(rows)


def looks(panel: Mapping[str, Any], series: Sequence[Series]) -> list[Look]:
    """Return how each series is drawn: the rules of the panel over the palette, in the panel's order."""
    styles = []
    for index, each in enumerate(series):
        name, color, dashed, named = each.name, PALETTE[index % len(PALETTE)], False, True
        for rule in panel["fieldConfig"]["overrides"]:
            if not _matches(rule["matcher"], each.name):
                continue
            settings = {item["id"]: item["value"] for item in rule["properties"]}
            color = settings.get("color", {}).get("fixedColor", color)
            dashed = dashed or "custom.lineStyle" in settings
            name = settings.get("displayName", name)
            named = named and not settings.get("custom.hideFrom", {}).get("legend", False)
        styles.append(Look(name, color, dashed, named))
    return styles


def _matches(matcher: Mapping[str, str], name: str) -> bool:
    """Tell whether a rule is about a series, as Grafana reads it: /a pattern/, or the whole name."""
    pattern = matcher["options"]
    if matcher["id"] == "byRegexp" and pattern.startswith("/"):
        return re.search(pattern.strip("/"), name) is not None
    return pattern == name


def said(defaults: Mapping[str, Any], value: float) -> tuple[str, str]:
    """Return a value in words and its colour."""
    for each in defaults["mappings"]:
        option = each["options"].get(f"{value:g}")
        if option:
            return option["text"], option["color"]
    color = TEXT
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return spoken(value, defaults.get("unit", "short"), defaults.get("decimals")), color


def _stack(series: Sequence[Series]) -> list[list[tuple[float, float]]]:
    """Return each line on top of the ones before it."""
    times = sorted({at for each in series for at, _ in each.points})
    total = dict.fromkeys(times, 0.0)
    stacked = []
    for each in series:
        values = dict(each.points)
        total = {at: below + values.get(at, 0.0) for at, below in total.items()}
        stacked.append(list(total.items()))
    return stacked


def _placed(
    plot: Frame, points: Sequence[tuple[float, float]], highest: float, *, stepped: bool
) -> list[Point]:
    _, top, _, bottom = plot.box
    placed: list[Point] = []
    for at, value in points:
        y = bottom - (bottom - top) * min(value / highest, 1.0)
        if stepped and placed:
            placed.append((plot.x(at), placed[-1][1]))
        placed.append((plot.x(at), y))
    return placed if len(placed) > 1 else [*placed, (placed[0][0] + 2, placed[0][1])]


def runs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """Return (begin, end, value) of each while in which the value stayed; a gap ends one, too."""
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(points)]
    step = min(gaps, default=1.0)
    runs: list[tuple[float, float, float]] = []
    for at, value in points:
        if runs and runs[-1][2] == value and at - runs[-1][1] <= 1.5 * step:
            runs[-1] = (runs[-1][0], at, value)
        else:
            begin = runs[-1][1] if runs and at - runs[-1][1] <= 1.5 * step else at
            runs.append((begin, at, value))
    return runs


def _ceiling(value: float) -> float:
    """Return a round number that is at least as high."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        power * step for step in (1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10, 12) if power * step >= 1.05 * value
    )
