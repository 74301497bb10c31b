"""The comparisons of a rollout as lines of text: both arms, their ratio as a mark on an axis, the evidence.

All rows share one logarithmic axis, so that half and double are equally far from the middle:

    ÷2       1       ×2
    ·   ├────●─┤ │    ·      ● the ratio, ├ ┤ its bounds, │ the highest tolerated ratio, ┊ alike

Bounds that lie beyond the axis end in < or >. The gauge is the evidence on its way to a stop: full, it rolls
back, or holds where the metric only holds (the means); theirs is the lower bound on its way from alike to
the margin. What a colour says a word says too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any

from rich.text import Text

from gateway.cli.rollout.words import count, fit, measured, padded
from gateway.cli.view import VERDICT_STYLE
from gateway.core.gates.verdict import MEANS

Row = Mapping[str, Any]

WIDE = 100
"""From so many columns on there is room for the numbers of units and for whole words."""
SCALES = (2, 4, 10)
"""The axis goes from 1/k to k, for the smallest k that holds every ratio and margin."""
VERDICTS = {"pass": "pass", "fail": "FAIL", "inconclusive": "unsure", "error": "error"}
LEGEND = "● ratio  ├ ┤ its bounds  │ tolerated  ┊ alike  to a stop: evidence gathered"


@dataclass(frozen=True, slots=True)
class Columns:
    """How wide everything is."""

    name: int
    value: int
    n: int
    """0: not shown."""
    ratio: int
    band: int
    gauge: int
    verdict: int


def columns(width: int) -> Columns:
    """Return the columns that fill a line of `width`."""
    wide = width >= WIDE
    name, value, n, ratio, gauge, verdict = (18, 9, 7, 6, 8, 12) if wide else (13, 8, 0, 5, 6, 6)
    taken = name + 2 * (value + 1) + 2 * (n + 1 if n else 0) + ratio + 1 + 2 + 1 + gauge + 6 + 1 + verdict
    room = max(width - taken, 9)
    # An odd number has a middle, where the arms are alike.
    return Columns(name, value, n, ratio, room - (room + 1) % 2, gauge, verdict)


def lines(rows: Sequence[Row], width: int, most: int) -> list[Text]:
    """Return a heading and the rows, in at most `most` lines; what is left out is the least worrying."""
    shown = _shown(rows, most - 1)
    if not shown:
        return []
    into, scale = columns(width), scale_of(rows)
    drawn = [_heading(into, scale), *(_line(row, into, scale) for row in shown)]
    if left := [str(row["name"]) for row in rows if row not in shown]:
        drawn.append(Text(fit(f"{len(left)} more, further from a stop: {', '.join(left)}", width), "dim"))
    return drawn


def scale_of(rows: Sequence[Row]) -> int:
    """Return how far the axis reaches on both sides of 1."""
    known = [float(row[key]) for row in rows for key in ("ratio", "margin") if row.get(key)]
    furthest = max((abs(log(value)) for value in known), default=0.0)
    return next((scale for scale in SCALES if furthest < log(scale)), SCALES[-1])


def band(row: Row, width: int, scale: int) -> str:
    """Return the axis with one row's marks."""
    axis = [" "] * width
    lower, ratio, upper = (row.get(key) for key in ("lower", "ratio", "upper"))
    axis[width // 2] = "┊"
    limit = float(row["margin"])
    margin = _column(limit, width, scale)
    if lower is not None or upper is not None:
        first = _beside(lower or 0.0, limit, width, scale)
        last = _beside(inf if upper is None else upper, limit, width, scale)
        for column in range(max(first, 0), min(last, width - 1) + 1):
            axis[column] = "─"
        axis[_inside(first, width)] = "├" if first >= 0 else "<"
        axis[_inside(last, width)] = "┤" if last < width else ">"
    if ratio is not None:
        axis[_inside(_beside(ratio, limit, width, scale), width)] = "●"
    if 0 <= margin < width:
        axis[margin] = "│"
    return "".join(axis)


def evidence_of(row: Row) -> float:
    """Return how near a stop a row is, 0 to 1: none at all for a mean that may well be alike."""
    lower, margin = row.get("lower"), float(row["margin"])
    if row["name"] not in MEANS or lower is None or margin <= 1:
        return float(row.get("evidence") or 0)
    return min(max(log(lower) / log(margin), 0.0), 1.0) if lower > 0 else 0.0


def gauge(evidence: float, width: int) -> str:
    """Return a bar that is full when the evidence suffices."""
    filled = min(max(int(evidence * width), 0), width)
    return "█" * filled + "░" * (width - filled)


def _shown(rows: Sequence[Row], most: int) -> list[Row]:
    if len(rows) <= most:
        return list(rows)
    ranked = sorted(rows, key=lambda row: (row.get("verdict") != "fail", -evidence_of(row)))
    kept = ranked[: max(most - 1, 0)]
    return [row for row in rows if row in kept]


def _heading(into: Columns, scale: int) -> Text:
    words = [padded("metric", into.name), *(padded(arm, into.value, right=True) for arm in _arms(into))]
    if into.n:
        words += [padded(each, into.n, right=True) for each in ("n ctrl", "n cand")]
    ends = into.band // 2
    axis = f"{padded(f'÷{scale}', ends)}1{padded(f'×{scale}', ends, right=True)}"
    words += [padded("ratio", into.ratio, right=True), f" {axis}", padded("to a stop", into.gauge + 6)]
    return Text(" ".join([*words, "verdict" if into.n else ""]).rstrip(), "dim")


def _arms(into: Columns) -> tuple[str, str]:
    return ("control", "candidate" if into.value > 8 else "candid.")


def _line(row: Row, into: Columns, scale: int) -> Text:
    name, verdict = str(row["name"]), str(row.get("verdict") or "")
    evidence = evidence_of(row)
    ratio = row.get("ratio")
    words = [padded(name, into.name)]
    words += [
        padded(measured(name, row.get(arm)), into.value, right=True) for arm in ("control", "candidate")
    ]
    if into.n:
        words += [
            padded(count(row.get(key) or 0), into.n, right=True) for key in ("n_control", "n_candidate")
        ]
    words.append(padded("-" if ratio is None else f"{ratio:.2f}"[:5], into.ratio, right=True))
    text = Text(" ".join([*words, f" {band(row, into.band, scale)} "]))
    text.append(f"{gauge(evidence, into.gauge)} {evidence * 100:3.0f} % ")
    word = verdict if into.n and verdict != "fail" else VERDICTS.get(verdict, verdict)
    text.append(fit(word, into.verdict), VERDICT_STYLE.get(verdict, ""))
    return text


def _column(ratio: float, width: int, scale: int) -> int:
    """Return where a ratio lies on the axis; outside of it where it lies outside."""
    if ratio <= 0 or ratio == inf:
        return -1 if ratio <= 0 else width
    place = (log(ratio) / log(scale) + 1) / 2
    return -1 if place < 0 else width if place > 1 else round(place * (width - 1))


def _beside(ratio: float, limit: float, width: int, scale: int) -> int:
    """Return where a mark lies; never on the margin, for on which side of it is what matters."""
    column = _column(ratio, width, scale)
    if column != _column(limit, width, scale):
        return column
    return column + 1 if ratio > limit else column - 1


def _inside(column: int, width: int) -> int:
    return min(max(column, 0), width - 1)
