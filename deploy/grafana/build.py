"""Write the dashboards that Grafana is given: `make dashboards`.

The JSON files are kept in the repository, because Grafana reads files; a test says when they are not what
this code makes. So change a panel here, never there and never in the browser.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from deploy.grafana import compatibility, fleet, rollout
from deploy.grafana.panels import DATASOURCE, MIGRATION, PURPLE, RED, Json

FOLDER = Path(__file__).parent / "dashboards"
TAG = "gateway"
STEP = "15s"


def dashboards() -> Mapping[str, Json]:
    """Return every dashboard by its file's name."""
    return {
        "rollout.json": _dashboard(
            "Rollout",
            "Where a migration stands, and how its two arms do.",
            rollout.panels(),
            range_from="now-6h",
        ),
        "gateway.json": _dashboard(
            "Gateway",
            "Whether the replicas are well, agree, and cost nothing.",
            fleet.panels(),
            range_from="now-3h",
        ),
        "compatibility.json": _dashboard(
            "Compatibility",
            "What is rewritten, what stays on control, and what control rescues.",
            compatibility.panels(),
            range_from="now-6h",
        ),
    }


def text(document: Json) -> str:
    """Return a dashboard as it stands in its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every file anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, document in dashboards().items():
        (FOLDER / name).write_text(text(document), "utf-8")


def _dashboard(title: str, description: str, panels: list[Json], *, range_from: str) -> Json:
    return {
        "uid": f"gateway-{title.lower()}",
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": range_from, "to": "now"},
        "timezone": "browser",
        "links": [_links()],
        "templating": {"list": [_datasource(), _migration()]},
        "annotations": {"list": [_changes(), _alerts()]},
        "panels": panels,
    }


def _links() -> Json:
    """Return the links to the other dashboards, which keep the migration and the time range."""
    return {
        "type": "dashboards",
        "title": "Gateway",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "dashboard",
        "tooltip": "",
        "url": "",
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
    }


def _migration() -> Json:
    values = "label_values(gateway_phase, migration)"
    return {
        "name": "migration",
        "label": "Migration",
        "type": "query",
        "datasource": DATASOURCE,
        "definition": values,
        "query": {"query": values, "refId": "migration", "qryType": 1},
        "regex": "",
        "sort": 1,
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 2,  # whenever the time range changes
    }


def _changes() -> Json:
    """Return the marks of the rollout: every change, at the time that the state itself names."""
    # By replica, with phases on the side that may be many: at a change replicas differ for a moment.
    each = "instance, migration"
    phase = f"(gateway_phase{{{MIGRATION}}} == 1)"
    weight = f'count_values by ({each}) ("weight", gateway_weight_percent{{{MIGRATION}}})'
    changed = f"(gateway_changed_timestamp_seconds{{{MIGRATION}}} > 0)"
    joined = f"{phase} * on ({each}) group_left (weight) {weight} * on ({each}) group_left () {changed}"
    expr = f"1000 * max by (migration, phase, weight) ({joined})"
    shown = {"titleFormat": "{{phase}}, {{weight}} %", "textFormat": "{{migration}}", "tagKeys": "phase"}
    return _annotation("Changes of the rollout", PURPLE, expr) | shown | {"useValueForTime": True}


def _alerts() -> Json:
    """Return the marks of alerts; those that go on for days would only colour everything."""
    firing = (
        'alertname=~"Gateway.*", alertname!~"GatewayModelRetires.*|GatewayRolloutStuck", alertstate="firing"'
    )
    expr = f"max by (alertname, severity) (ALERTS{{{firing}}})"
    shown = {"titleFormat": "{{alertname}}", "textFormat": "{{severity}}", "tagKeys": "severity"}
    return _annotation("Firing alerts", RED, expr) | shown


def _annotation(name: str, color: str, expr: str) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": STEP,
        "target": {"expr": expr, "interval": STEP, "refId": "Anno"},
    }


if __name__ == "__main__":
    main()
