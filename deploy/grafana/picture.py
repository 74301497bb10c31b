"""Draw the dashboards from a Prometheus, without Grafana: one PNG each.

    python -m deploy.grafana.picture --prometheus URL --migration opus-4-5-to-5-5 --minutes 30

What is drawn is what the JSON files ask, in the places, units and colours that they say. It is a likeness for
documents and for looking at a run afterwards, not a copy of Grafana.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from deploy.grafana import build
from deploy.grafana.ask import Question, asked, marks, named
from deploy.grafana.canvas import BORDER, MUTED, PANEL, Box, Canvas
from deploy.grafana.sketch import Frame, Mark, Series, sketch

COLUMN_PX, ROW_PX, GAP_PX, HEADER_PX = 52, 28, 4, 56
POINTS = 300
"""How many moments a line is made of."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Where answers come from, and for which time."""

    url: str
    since: float
    until: float

    @property
    def step_s(self) -> float:
        """From one moment of a line to the next; whole seconds, as Grafana's."""
        return max(1.0, round((self.until - self.since) / POINTS))

    def to(self, question: Question) -> list[Series]:
        """Return every series of the answer."""
        path, parameters = "query_range", {"start": self.since, "end": self.until, "step": self.step_s}
        if question.instant:
            path, parameters = "query", {"time": self.until}
        answer = httpx2.post(
            f"{self.url}/api/v1/{path}", data={"query": question.expr, **parameters}, timeout=60
        )
        document = answer.json()
        if document["status"] != "success":
            raise SystemExit(f"{question}: {document.get('error')}")
        return [_series(question, item) for item in document["data"]["result"]]


def draw(document: Mapping[str, Any], answers: Answers, variables: Mapping[str, str]) -> Canvas:
    """Return a dashboard's picture."""
    panels = document["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    canvas = Canvas(24 * COLUMN_PX + 2 * GAP_PX, HEADER_PX + rows * ROW_PX + GAP_PX)
    _header(canvas, document, answers, variables)
    events = _events(document, answers, variables)
    for panel in panels:
        box = _place(panel["gridPos"])
        if panel["type"] == "row":
            canvas.text((box[0] + 4, (box[1] + box[3]) / 2), panel["title"], size=15, bold=True)
            continue
        canvas.box(box, PANEL, BORDER)
        canvas.text((box[0] + 10, box[1] + 15), panel["title"], size=13, bold=True)
        series = [each for question in asked("", panel, variables) for each in answers.to(question)]
        inside = (box[0] + 10, box[1] + 30, box[2] - 10, box[3] - 8)
        sketch(canvas, panel, series, Frame(inside, answers.since, answers.until, events))
    return canvas


def main() -> None:
    """Draw every dashboard into a folder."""
    parser = argparse.ArgumentParser(description="Draw the dashboards from a Prometheus.")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its URL")
    parser.add_argument("--migration", required=True)
    parser.add_argument("--minutes", type=float, default=60, help="how far back")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    now = time.time()
    save(Answers(given.prometheus, now - 60 * given.minutes, now), given.migration, given.folder)


def save(answers: Answers, migration: str, folder: Path) -> None:
    """Write every dashboard's picture."""
    folder.mkdir(parents=True, exist_ok=True)
    variables = {
        "migration": migration,
        # Four scrapes at the least, as Grafana has it.
        "__rate_interval": f"{max(60, round(4 * answers.step_s))}s",
        "__range": f"{round(answers.until - answers.since)}s",
    }
    for name, document in build.dashboards().items():
        draw(document, answers, variables).save(folder / f"{Path(name).stem}.png")


def _header(
    canvas: Canvas, document: Mapping[str, Any], answers: Answers, variables: Mapping[str, str]
) -> None:
    canvas.text((12, 26), document["title"], size=22, bold=True)
    x = 24 + canvas.width_of(document["title"], 22, bold=True)
    canvas.text((x, 28), variables["migration"], color=MUTED, size=15)
    begin, end = (datetime.fromtimestamp(each, UTC) for each in (answers.since, answers.until))
    canvas.text(
        (24 * COLUMN_PX - 8, 28),
        f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M} UTC",
        color=MUTED,
        size=14,
        anchor="rm",
    )


def _place(grid: Mapping[str, int]) -> Box:
    left, top = grid["x"] * COLUMN_PX + 2 * GAP_PX, HEADER_PX + grid["y"] * ROW_PX
    return left, top, left + grid["w"] * COLUMN_PX - GAP_PX, top + grid["h"] * ROW_PX - GAP_PX


def _events(document: Mapping[str, Any], answers: Answers, variables: Mapping[str, str]) -> list[Mark]:
    """Return the marks, as Grafana makes them: a value that is a time, or a region while it is above 0."""
    events: list[Mark] = []
    annotations = document["annotations"]["list"]
    for mark, question in zip(annotations, marks(document, variables), strict=True):
        for series in answers.to(question):
            if mark.get("useValueForTime"):
                times = sorted({value / 1000 for _, value in series.points})
                events += [
                    Mark(at, at, series.name, mark["iconColor"]) for at in times if at >= answers.since
                ]
            elif series.points:
                begin, end = series.points[0][0], series.points[-1][0]
                events.append(Mark(begin, end, series.name, mark["iconColor"]))
    return events


def _series(question: Question, item: Mapping[str, Any]) -> Series:
    points = item["values"] if "values" in item else [item["value"]]
    numbers = [(float(at), float(value)) for at, value in points if value not in {"NaN", "+Inf", "-Inf"}]
    return Series(named(question.legend, item["metric"]), numbers)


if __name__ == "__main__":
    main()
