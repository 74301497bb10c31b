"""A real Prometheus watches real gateways climb and fall: every panel, rule and alert has an answer."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana import build
from deploy.grafana.ask import Question, marks, named, questions
from deploy.grafana.picture import Answers, save
from tests.support.deploy import ADMIN_TOKEN, GATEWAY, REPOSITORY, eventually
from tests.support.prometheus_server import Series
from tests.support.watched import CANDIDATE, CONTROL, NAME, REQUESTED, UNGOVERNED, Watched, watched

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(240)]

GUIDE = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
DEADLINE_S = 60.0
"""By when the last question must have its answer, once everything has happened."""
SOAKING = 'gate="drift"'
"""What is judged while a migration soaks alone, which this fleet's never does."""
SELECTOR = re.compile(r"\b(up|gateway_\w+|(?:gateway|migration|operation)\w*:[\w:]+)\b(\{[^}]*\})?")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A fleet whose migration has climbed, failed, and been rolled back by itself."""
    with watched(tmp_path_factory.mktemp("watched"), speed=20) as world:
        world.simulator.faults("kind=refusal,rate=0.05", f"model={CONTROL},kind=stream_error,rate=0.02")
        world.act("start", "to be watched")
        world.ask(UNGOVERNED)
        world.sees(f'sum(gateway_requests_total{{migration="{NAME}",arm="control"}})', 20)
        for percent in (20, 60):
            world.act("advance", "nothing failed")
            # What changes again before it was scraped leaves no mark.
            world.sees(f'min(gateway_weight_percent{{migration="{NAME}"}})', percent)
        world.sees('sum(gateway_requests_total{arm="candidate",served="candidate"})', 20)
        world.ask(UNGOVERNED)
        world.alarming_while_well = list(world.prometheus.firing())
        world.simulator.faults(f"model={CANDIDATE},kind=overloaded,rate=0.6")
        eventually(lambda: world.phase() == "rolled_back", within_s=60, every_s=0.25)
        world.sees(f'max(gateway_phase{{migration="{NAME}",phase="rolled_back"}})', 1)
        world.simulator.faults()
        world.store_fails()
        yield world


def variables(fleet: Watched) -> dict[str, str]:
    return {
        "migration": NAME,
        "__rate_interval": "10s",
        "__range": f"{int(time.time() - fleet.began_at) + 1}s",
    }


def answer(fleet: Watched, question: Question) -> list[Series]:
    if question.instant:
        return fleet.prometheus.now(question.expr)
    return fleet.prometheus.over_time(question.expr, fleet.began_at, time.time())


def all_questions(fleet: Watched) -> list[Question]:
    documents = build.dashboards().values()
    return [question for document in documents for question in questions(document, variables(fleet))]


def test_every_question_of_every_panel_has_an_answer(fleet: Watched) -> None:
    def unanswered() -> list[str]:
        return [str(question) for question in all_questions(fleet) if not answer(fleet, question)]

    open_questions: list[list[str]] = []

    def answered() -> bool:
        open_questions.append(unanswered())
        return not open_questions[-1]

    try:
        eventually(answered, within_s=DEADLINE_S, every_s=1)
    except AssertionError:
        pytest.fail("without data:\n" + "\n".join(open_questions[-1]))


def test_every_series_has_a_name_of_its_own_in_its_panel(fleet: Watched) -> None:
    seen: dict[tuple[str, str], list[str]] = {}
    for question in all_questions(fleet):
        names = [named(question.legend, series.labels) for series in answer(fleet, question)]
        assert not [name for name in names if "{{" in name], question
        seen.setdefault((question.dashboard, question.panel), []).extend(names)
    assert {place: names for place, names in seen.items() if len(set(names)) < len(names)} == {}


def test_every_recorded_series_has_data(fleet: Watched) -> None:
    recorded = {rule["name"] for rule in fleet.prometheus.rules() if rule["type"] == "recording"}
    assert recorded
    prometheus = fleet.prometheus
    eventually(lambda: all(map(prometheus.now, recorded)), within_s=DEADLINE_S, every_s=0.5)


def test_every_rule_is_evaluated_without_complaint(fleet: Watched) -> None:
    rules = fleet.prometheus.rules()
    assert {rule["type"] for rule in rules} == {"recording", "alerting"}
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []


def test_whatever_an_alert_looks_at_exists(fleet: Watched) -> None:
    for rule in fleet.prometheus.rules():
        if rule["type"] != "alerting":
            continue
        selectors = [match[0] for match in SELECTOR.finditer(rule["query"])]
        assert selectors, rule["query"]
        for selector in (each for each in selectors if SOAKING not in each):
            assert fleet.prometheus.now(f"last_over_time({selector}[10m])"), f"{rule['name']}: {selector}"


def test_nothing_but_the_end_of_the_model_was_alarming_while_all_was_well(fleet: Watched) -> None:
    # The end that the catalogue knows of is not on the upstream's list of models.
    assert set(fleet.alarming_while_well) == {"GatewayModelRetiresSoon", "GatewayCatalogueDrift"}


def test_a_rollback_and_a_store_that_hangs_are_told(fleet: Watched) -> None:
    def told() -> dict[str, Any]:
        return {name: labels for name, labels in fleet.prometheus.firing().items() if name in wanted}

    wanted = {"GatewayRolledBack", "GatewayStoreErrors", "GatewayModelRetiresSoon"}
    eventually(lambda: told().keys() == wanted, within_s=DEADLINE_S, every_s=0.5)
    assert told()["GatewayRolledBack"] == [{"migration": NAME, "reason": "automatic", "severity": "warning"}]


def test_what_the_catalogue_says_otherwise_than_the_upstream_is_told(fleet: Watched) -> None:
    drift = fleet.prometheus.firing()["GatewayCatalogueDrift"]
    assert {(labels["model"], labels["field"]) for labels in drift} == {
        (CONTROL, "lifecycle"),
        (CONTROL, "retires_on"),
    }


def test_each_change_of_the_rollout_is_marked_at_its_time(fleet: Watched) -> None:
    (question,) = (
        mark
        for mark in marks(build.dashboards()["rollout.json"], variables(fleet))
        if mark.panel == "Changes of the rollout"
    )

    def marked() -> dict[int, str]:
        return {
            round(value): named(question.legend, series.labels)
            for series in answer(fleet, question)
            for _, value in series.points
        }

    written: dict[str, list[int]] = {}
    for event in fleet.events():
        text = f"{event['after']['phase']}, {event['after']['weight_percent']:g} %"
        written.setdefault(text, []).append(round(event["at"] * 1000))
    assert list(written)[-1].startswith("rolled_back")
    eventually(lambda: written.keys() <= set(marked().values()), within_s=DEADLINE_S, every_s=0.5)
    for at, text in marked().items():  # of two writes between two scrapes, the later one is seen
        assert min(abs(at - other) for other in written[text]) <= 1


def test_both_replicas_are_found_by_the_file_that_names_them(fleet: Watched) -> None:
    targets = fleet.prometheus.get("targets")["activeTargets"]
    up = {target["labels"]["instance"]: target["health"] for target in targets}
    addresses = {gateway.url.removeprefix("http://") for gateway in fleet.gateways}
    assert {
        target["labels"]["instance"] for target in targets if target["labels"]["job"] == "gateway"
    } == addresses
    assert set(up.values()) == {"up"}


def test_streams_are_counted_while_they_are_open(fleet: Watched) -> None:
    assert fleet.value("max_over_time(sum(gateway_streams)[10m:1s])") >= 1
    assert fleet.value("max_over_time(sum(gateway_in_flight)[10m:1s])") >= 1


def test_the_dashboards_can_be_drawn(fleet: Watched, tmp_path: Path) -> None:
    save(Answers(fleet.prometheus.url, fleet.began_at, time.time()), NAME, tmp_path)
    drawn = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert drawn.keys() == {"rollout.png", "gateway.png", "compatibility.png"}
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 20_000 for picture in drawn.values())


def test_the_page_for_three_in_the_morning_is_true(fleet: Watched) -> None:
    fleet.act("restart", "to be stopped")
    fleet.sees(f'min(gateway_phase{{migration="{NAME}",phase="running"}})', 1)
    (command,) = re.findall(r"^gateway (migration emergency-rollback .*)$", GUIDE, re.MULTILINE)
    done = subprocess.run(
        [GATEWAY, *shlex.split(command), "--url", fleet.first.url],
        env={**os.environ, "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (shown,) = re.findall(rf"^{NAME}: (STOPPED.*?) after \d+ ms", GUIDE, re.MULTILINE)
    assert shown in " ".join(done.stdout.split())
    headers = fleet.ask(REQUESTED)
    assert (headers["x-gateway-arm"], headers["x-gateway-reason"]) == ("control", "killed")
    fleet.sees(f'min(gateway_phase_reason{{migration="{NAME}",reason="emergency"}})', 1)
    assert fleet.value(f'max(gateway_weight_percent{{migration="{NAME}"}})') == 0
    assert "answers in French" in [event["reason"] for event in fleet.events()]
