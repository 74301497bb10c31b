"""The dashboards are what their code makes, ask for what exists, fit on a screen, and are explained."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import build
from deploy.grafana.ask import fill, marks, questions
from deploy.grafana.panels import COLUMNS
from gateway.metrics import Metrics

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = build.dashboards()
GUIDE = (ROOT / "docs" / "operations.md").read_text("utf-8")
VARIABLES = {"migration": "m", "__rate_interval": "1m", "__range": "6h"}
NAME = re.compile(r"\b(?:gateway_\w+|(?:gateway|migration|operation)\w*:[\w:]+)")


def exposed() -> set[str]:
    """Every series of a gateway's page."""
    page = Metrics(["m"]).render()[0].decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE))
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix for name, kind in kinds.items() for suffix in suffixes.get(kind, ("",))}


def recorded() -> set[str]:
    """Every series that a rule records."""
    return {rule["record"] for rule in rules() if "record" in rule}


def rules() -> list[dict[str, Any]]:
    files = sorted((PROMETHEUS / "rules").glob("*.yml"))
    groups = [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def panels(name: str) -> list[dict[str, Any]]:
    """The panels of a dashboard that show something."""
    return [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_code_makes() -> None:
    files = {file.name: file.read_text("utf-8") for file in (GRAFANA / "dashboards").iterdir()}
    made = {name: build.text(document) for name, document in DASHBOARDS.items()}
    assert files.keys() == made.keys()
    assert [name for name in files if files[name] != made[name]] == [], "run `make dashboards`"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_whatever_a_dashboard_asks_for_is_exposed_or_recorded(name: str) -> None:
    document = DASHBOARDS[name]
    asked = [*questions(document, VARIABLES), *marks(document, VARIABLES)]
    unknown = {series for each in asked for series in NAME.findall(each.expr)} - exposed() - recorded()
    assert unknown == set()


def test_whatever_a_rule_asks_for_is_exposed_or_recorded() -> None:
    assert {series for rule in rules() for series in NAME.findall(rule["expr"])} <= exposed() | recorded()


def test_nothing_is_recorded_for_nobody() -> None:
    exprs = [each.expr for document in DASHBOARDS.values() for each in questions(document, VARIABLES)]
    asked = {
        series for expr in [*exprs, *(rule["expr"] for rule in rules())] for series in NAME.findall(expr)
    }
    assert recorded() - asked == set()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_rows_fill_the_screen_and_nothing_overlaps(name: str) -> None:
    rows: dict[int, list[dict[str, int]]] = {}
    for panel in DASHBOARDS[name]["panels"]:
        rows.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    expected_y = 0
    for y, places in sorted(rows.items()):
        assert y == expected_y
        assert [place["x"] for place in places] == [index * places[0]["w"] for index in range(len(places))]
        assert sum(place["w"] for place in places) == COLUMNS
        assert len({place["h"] for place in places}) == 1
        expected_y += places[0]["h"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_is_too_narrow_to_read_or_too_much_to_scroll(name: str) -> None:
    for panel in panels(name):
        assert panel["gridPos"]["w"] >= (4 if panel["type"] == "stat" else 8), panel["title"]
        assert 4 <= panel["gridPos"]["h"] <= 10, panel["title"]
        assert len(panel["title"]) <= 30, panel["title"]
    assert len(panels(name)) <= 24


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_panel_says_what_it_shows_in_which_unit(name: str) -> None:
    document = DASHBOARDS[name]
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    assert len({panel["title"] for panel in panels(name)}) == len(panels(name))
    for panel in panels(name):
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["type"] == "state-timeline" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_a_dashboard_leads_to_the_others_and_keeps_migration_and_time() -> None:
    assert len({document["uid"] for document in DASHBOARDS.values()}) == len(DASHBOARDS) == 3
    for document in DASHBOARDS.values():
        (link,) = document["links"]
        assert link["type"] == "dashboards"
        assert all(set(link["tags"]) <= set(other["tags"]) for other in DASHBOARDS.values())
        assert link["includeVars"]
        assert link["keepTime"]
        assert [each["name"] for each in document["templating"]["list"]] == ["datasource", "migration"]


def test_changes_and_alerts_are_marked_on_every_dashboard() -> None:
    for document in DASHBOARDS.values():
        names = [mark["name"] for mark in document["annotations"]["list"]]
        assert names == ["Changes of the rollout", "Firing alerts"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_guide_explains_every_panel(name: str) -> None:
    assert [panel["title"] for panel in panels(name) if f"**{panel['title']}**" not in GUIDE] == []


def test_a_variable_that_grafana_does_not_know_is_noticed() -> None:
    with pytest.raises(KeyError):
        fill("up{a='$gone'}", VARIABLES)


def test_what_is_provisioned_is_where_compose_puts_it() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/gateway.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    volumes = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    assert volumes["./deploy/grafana/dashboards"] == provider["options"]["path"]
    assert volumes["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
    targets = yaml.safe_load((PROMETHEUS / "targets/gateways.yml").read_text("utf-8"))[0]["targets"]
    assert {target.partition(":")[0] for target in targets} == {
        each for each in compose if "gateway-" in each
    }


def test_the_files_are_json_that_says_which_dashboard_it_is() -> None:
    for name in DASHBOARDS:
        document = json.loads((GRAFANA / "dashboards" / name).read_text("utf-8"))
        assert document["uid"] == f"gateway-{Path(name).stem}"
