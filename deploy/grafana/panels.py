"""The vocabulary of the dashboards: queries, panels, and how they are put on the grid.

A panel is the JSON document that Grafana reads. Everything that should look alike is said once, here: which
colour an arm has, how a line is drawn. What is asked stands in `rollout`, `fleet` and `compatibility`.

On a phone Grafana puts panels under each other in the order of the list, so what matters most comes first; on
a wall a row is 24 columns wide.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
MIGRATION = 'migration="$migration"'
"""The selector of every panel about one migration."""

BLUE, ORANGE, GREEN, YELLOW, RED, PURPLE, GREY = (
    "#5794F2", "#FF9830", "#73BF69", "#FADE2A", "#F2495C", "#B877D9", "#8E8E8E",
)  # fmt: skip

ARMS = {"control": BLUE, "candidate": ORANGE}
NAMELESS = {"legend": True, "tooltip": True, "viz": False}
LOUD = [(None, GREEN), (1, RED)]
"""Thresholds of what should be zero."""


def query(expr: str, legend: str = "", *, instant: bool = False) -> Json:
    """Return one question to Prometheus; its letter is given when it is put into a panel."""
    text = " ".join(expr.split())
    how = {"instant": True, "range": False} if instant else {"instant": False, "range": True}
    return {"datasource": DATASOURCE, "editorMode": "code", "expr": text, "legendFormat": legend, **how}


def one_of(metric: str, selector: str, label: str, codes: Mapping[str, int]) -> str:
    """Return an expression that is the code of the label value whose series is 1."""
    given = f"{selector}, " if selector else ""
    return " or ".join(
        f'{code} * ({metric}{{{given}{label}="{value}"}} == 1)' for value, code in codes.items()
    )


def or_none(expr: str, label: str) -> str:
    """Return the expression, or a zero called `none` where it yields nothing; `lines` hides that name."""
    return f'{expr} or on () label_replace(vector(0), "{label}", "none", "", "")'


def mapping(texts: Mapping[int, tuple[str, str]]) -> list[Json]:
    """Return what values are called, and their colours."""
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def thresholds(steps: Iterable[tuple[float | None, str]]) -> Json:
    """Return colours from a value upwards; the first has none."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in steps]}


def colored(pattern: str, color: str) -> Json:
    """Return the rule that series whose name matches have this colour."""
    return _override("byRegexp", pattern, {"color": {"mode": "fixed", "fixedColor": color}})


def dashed(pattern: str) -> Json:
    """Return the rule that series whose name matches are thin and dashed."""
    style = {"fill": "dash", "dash": [6, 6]}
    return _override(
        "byRegexp", pattern, {"custom.lineStyle": style, "custom.lineWidth": 1, "custom.fillOpacity": 0}
    )


def called(name: str, text: str) -> Json:
    """Return the rule that a series is shown under another name."""
    return _override("byName", name, {"displayName": text})


def lines(
    title: str,
    description: str,
    *queries: Json,
    unit: str = "short",
    rules: Sequence[Json] = (),
    stacked: bool = False,
    stepped: bool = False,
    maximum: float | None = None,
) -> Json:
    """Return a graph over time. Every axis begins at zero, so that a height can be compared."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if stepped else "linear",
        "lineWidth": 2,
        "fillOpacity": 40 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    defaults = {"unit": unit, "min": 0, "color": {"mode": "palette-classic"}, "custom": custom}
    if maximum is not None:
        defaults["max"] = maximum
    options = {
        "legend": {
            "displayMode": "list",
            "placement": "bottom",
            "showLegend": True,
            "calcs": ["lastNotNull"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    everywhere = [*rules, _override("byName", "none", {"custom.hideFrom": NAMELESS})]
    return _panel(
        "timeseries", title, description, queries, defaults=defaults, rules=everywhere, options=options
    )


def stat(
    title: str,
    description: str,
    *queries: Json,
    unit: str = "short",
    steps: Sequence[tuple[float | None, str]] = ((None, BLUE),),
    texts: Mapping[int, tuple[str, str]] | None = None,
    names: bool = False,
    empty: str = "-",
    decimals: int | None = None,
) -> Json:
    """Return one number, large; `texts` says it in words, `names` shows each series' name beside it."""
    defaults: Json = {
        "unit": unit,
        "noValue": empty,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": mapping(texts) if texts else [],
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "orientation": "auto",
        "textMode": "value_and_name" if names else "value",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "center",
    }
    return _panel("stat", title, description, queries, defaults=defaults, options=options)


def bars(title: str, description: str, *queries: Json, unit: str = "short", color: str = BLUE) -> Json:
    """Return one horizontal bar per series, for totals over the dashboard's time range."""
    defaults = {
        "unit": unit,
        "min": 0,
        "decimals": 0,
        "color": {"mode": "fixed", "fixedColor": color},
        "thresholds": thresholds([(None, color)]),
    }
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "text",
        "namePlacement": "left",
        "minVizHeight": 16,
    }
    return _panel("bargauge", title, description, queries, defaults=defaults, options=options)


def timeline(title: str, description: str, *queries: Json, texts: Mapping[int, tuple[str, str]]) -> Json:
    """Return one band per series, in the colours of what it was when."""
    defaults = {
        "color": {"mode": "thresholds"},
        "thresholds": thresholds([(None, GREY)]),
        "mappings": mapping(texts),
        "custom": {"fillOpacity": 80, "lineWidth": 0},
    }
    options = {
        "showValue": "auto",
        "rowHeight": 0.85,
        "mergeValues": True,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "tooltip": {"mode": "single"},
    }
    return _panel("state-timeline", title, description, queries, defaults=defaults, options=options)


def grid(rows: Sequence[tuple[str, int, Sequence[Json]]]) -> list[Json]:
    """Return the panels with their places: rows of (heading or "", height, panels of equal width)."""
    placed: list[Json] = []
    y = 0
    for heading, height, panels in rows:
        if heading:
            place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
            placed.append(
                {"type": "row", "title": heading, "collapsed": False, "gridPos": place, "panels": []}
            )
            y += 1
        width = COLUMNS // len(panels)
        for column, panel in enumerate(panels):
            placed.append({**panel, "gridPos": {"x": column * width, "y": y, "w": width, "h": height}})
        y += height
    return [{"id": number, **panel} for number, panel in enumerate(placed, start=1)]


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Json],
    *,
    defaults: Json,
    rules: Sequence[Json] = (),
    options: Json,
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": " ".join(description.split()),
        "datasource": DATASOURCE,
        "targets": [{"refId": chr(ord("A") + index), **each} for index, each in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": list(rules)},
        "options": options,
    }


def _override(matcher: str, value: str, properties: Json) -> Json:
    return {
        "matcher": {"id": matcher, "options": value},
        "properties": [{"id": name, "value": setting} for name, setting in properties.items()],
    }


BY_ARM = [colored(f"/^{arm}/", color) for arm, color in ARMS.items()]
