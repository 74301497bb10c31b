"""The pictures say numbers as people do, and draw what a panel's rules say."""

from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.canvas import Canvas, spoken
from deploy.grafana.panels import BY_ARM, called, colored, dashed, lines, query, stat, timeline
from deploy.grafana.sketch import Frame, Series, looks, runs, said, sketch

BOX = (10.0, 10.0, 390.0, 190.0)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1234, "percentunit", "12.3 %"),
        (25, "percent", "25 %"),
        (0, "s", "0 s"),
        (0.00042, "s", "420 us"),
        (0.0123, "s", "12.3 ms"),
        (1.5, "s", "1.5 s"),
        (90, "s", "1.5 min"),
        (1.7e6, "s", "2.81 weeks"),
        (8.579, "currencyUSD", "$8.58"),
        (3.25, "reqps", "3.25/s"),
        (12345.6, "short", "12,346"),
        (7, "short", "7"),
    ],
)
def test_a_number_is_said_in_its_unit(value: float, unit: str, text: str) -> None:
    assert spoken(value, unit) == text


def test_a_series_is_drawn_as_the_rules_of_its_panel_say() -> None:
    rules = [*BY_ARM, dashed("/p50$/"), colored("L", "#000000"), called("L", "lossless")]
    panel = lines("t", "d", query("up"), rules=rules)
    drawn = looks(panel, [Series(name, []) for name in ("candidate p50", "control p95", "L", "other L")])
    assert [(look.name, look.dashed) for look in drawn] == [
        ("candidate p50", True),
        ("control p95", False),
        ("lossless", False),
        ("other L", False),
    ]
    assert drawn[0].color != drawn[1].color
    assert drawn[2].color == "#000000" != drawn[3].color


def test_a_value_that_has_a_word_is_said_by_it() -> None:
    defaults = stat("t", "d", texts={1: ("yes", "#111111")}, steps=[(None, "#222222"), (5, "#333333")])[
        "fieldConfig"
    ]["defaults"]
    assert said(defaults, 1) == ("yes", "#111111")
    assert said(defaults, 4) == ("4", "#222222")
    assert said(defaults, 5) == ("5", "#333333")


def test_what_stayed_the_same_is_one_band_and_a_gap_ends_it() -> None:
    points = [(0.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, 2.0), (9.0, 2.0), (10.0, 2.0)]
    assert runs(points) == [(0, 1, 1), (1, 3, 2), (9, 10, 2)]


@pytest.mark.parametrize(
    "panel",
    [
        lines("t", "d", query("up"), stacked=True),
        lines("t", "d", query("up"), stepped=True, maximum=100),
        stat("t", "d", query("up"), names=True),
        timeline("t", "d", query("up"), texts={1: ("up", "#73BF69")}),
    ],
    ids=lambda panel: panel["type"],
)
@pytest.mark.parametrize("points", [[], [(5.0, 1.0)], [(0.0, 0.0), (5.0, 0.0)], [(0.0, 1.0), (9.0, 3.0)]])
def test_any_panel_can_be_drawn_whatever_was_answered(
    panel: dict[str, Any], points: list[tuple[float, float]], tmp_path: Path
) -> None:
    canvas = Canvas(400, 200)
    sketch(canvas, panel, [Series("a", points)], Frame(BOX, 0.0, 10.0))
    canvas.save(tmp_path / "panel.png")
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")
