"""Marks lie where the numbers say, on one axis for all rows; on which side of the margin is never hidden."""

from typing import Any

import pytest
from rich.cells import cell_len

from gateway.cli.rollout.comparisons import (
    LEGEND,
    SCALES,
    band,
    columns,
    evidence_of,
    gauge,
    lines,
    scale_of,
)
from tests.support.looks import ROWS, row

WIDTH = 21


def drawn(ratio: float | None, lower: float | None, upper: float | None, margin: float = 1.25) -> str:
    return band(row("error", ratio, lower, upper, margin=margin), WIDTH, 2)


@pytest.mark.parametrize(
    ("marks", "axis"),
    [
        ((None, None, None), "          ┊  │       "),
        ((1.0, 0.8, 1.2), "       ├──●─┤│       "),
        ((1.0, 0.1, 1.9), "<─────────●──│─────┤ "),
        ((1.5, 1.3, 9.0), "          ┊  │├─●───>"),
        ((1.5, 1.3, None), "          ┊  │├─●───>"),
        ((0.0, 0.0, 0.9), "●───────┤ ┊  │       "),
        ((9.0, 1.9, 99.0), "          ┊  │     ├●"),
    ],
)
def test_a_band(marks: tuple[float | None, float | None, float | None], axis: str) -> None:
    assert drawn(*marks) == axis


@pytest.mark.parametrize(("ratio", "order"), [(1.249, "●│"), (1.25, "●│"), (1.251, "│●")])
def test_a_ratio_next_to_the_margin_lies_on_its_side_of_it(ratio: float, order: str) -> None:
    assert order in drawn(ratio, None, None)


@pytest.mark.parametrize("width", [9, 21, 29, 37])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("ratio", [None, 0.0, 0.001, 0.5, 1.0, 1.25, 2.0, 500.0])
def test_every_band_is_as_wide_as_its_axis(ratio: float | None, scale: int, width: int) -> None:
    assert len(band(row("error", ratio, ratio, ratio), width, scale)) == width


@pytest.mark.parametrize(
    ("ratios", "scale"),
    [([1.0, 0.8], 2), ([0.3], 4), ([1.0, 3.0], 4), ([6.0], 10), ([0.0, None], 2), ([99.0], 10), ([], 2)],
)
def test_the_axis_holds_every_ratio_that_it_can(ratios: list[float | None], scale: int) -> None:
    assert scale_of([row("error", ratio) for ratio in ratios]) == scale


@pytest.mark.parametrize(
    ("part", "bar"),
    [(0.0, "░░░░"), (0.24, "░░░░"), (0.5, "██░░"), (0.99, "███░"), (1.0, "████"), (7, "████")],
)
def test_a_gauge_is_full_only_at_the_end(part: float, bar: str) -> None:
    assert gauge(part, 4) == bar


def test_the_evidence_of_a_mean_begins_where_the_arms_are_alike() -> None:
    def mean(lower: float | None, **more: Any) -> float:
        return evidence_of(row("cost", 1.0, lower, 2.0, margin=1.21, evidence=0.7, **more))

    assert (mean(0.9), mean(0.0), mean(1.0), mean(1.21), mean(1.5)) == (0, 0, 0, 1, 1)
    assert mean(1.1) == pytest.approx(0.5)
    assert mean(None) == 0.7
    assert evidence_of(row("error", evidence=0.4)) == 0.4


@pytest.mark.parametrize("width", [70, 80, 99, 100, 120])
def test_the_columns_fill_the_line_and_the_axis_has_a_middle(width: int) -> None:
    drawn = lines(ROWS, width, 30)
    assert len(drawn) == len(ROWS) + 1
    assert max(cell_len(line.plain) for line in drawn) <= width
    assert columns(width).band % 2 == 1
    # Everything stands below its heading: the middle of the axis is the 1 of the heading.
    middle = drawn[0].plain.index("1", drawn[0].plain.index("÷"))
    assert drawn[4].plain[middle] == "┊"


def test_the_legend_fits_the_narrowest_terminal() -> None:
    assert cell_len(LEGEND) <= 80


def test_too_many_rows_leave_out_what_is_furthest_from_a_stop() -> None:
    drawn = [line.plain for line in lines(ROWS, 80, 5)]
    assert [line.split()[0] for line in drawn] == ["metric", "tool_error", "incomplete", "check:extrac…", "7"]
    assert drawn[-1].startswith("7 more, further from a stop: error, fallback")


def test_there_is_nothing_to_draw_without_rows_or_room() -> None:
    assert lines([], 80, 9) == []
    assert lines(ROWS, 80, 1) == []


def test_numbers_of_units_and_whole_words_need_a_wide_terminal() -> None:
    wide, narrow = (lines([row("error", verdict="inconclusive")], width, 9)[1].plain for width in (120, 80))
    assert ("640" in wide, "inconclusive" in wide) == (True, True)
    assert ("640" in narrow, "unsure" in narrow) == (False, True)
