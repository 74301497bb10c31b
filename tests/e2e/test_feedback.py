"""Checks and feedback on a fleet: served by one replica, complained about to another, counted by both."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.apps import Conversation, load_templates
from tests.support.deploy import Deployed, Simulated, eventually, migration, two_replicas, write_config
from tests.support.samples import labelled

O45, O55 = "claude-opus-4-5-20251101", "claude-opus-5-5"
KEY = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "x-gateway-task": "extraction"}
CHECKS = [{"kind": "json", "task": "extraction"}]
TEMPLATE = next(
    each for each in load_templates(Path(__file__).parents[2] / "config" / "demo") if each.expects == "json"
)


@pytest.fixture(scope="module")
def _fleet(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Deployed]]:
    directory = tmp_path_factory.mktemp("fleet")
    config = write_config(directory, _upstream.url, migration("m", O45, O55, checks=CHECKS))
    with two_replicas(config, directory, f"sqlite:///{directory}/fleet.db") as made:
        yield made


@pytest.fixture
def fleet(_fleet: list[Deployed], upstream: Simulated) -> list[Deployed]:
    return _fleet


def ask(gateway: Deployed, number: int, *, model: str = O45) -> str:
    """Send an extraction; the id that its answer bears."""
    body: dict[str, Any] = Conversation(TEMPLATE, user=f"u{number}", number=number, model=model).body
    answer = gateway.http.post(f"{gateway.url}/v1/messages", json={**body, "stream": True}, headers=KEY)
    assert answer.status_code == 200
    return answer.headers["x-gateway-request-id"]


def told(gateway: Deployed, **doc: Any) -> tuple[int, dict[str, Any]]:
    answer = gateway.http.post(f"{gateway.url}/gateway/feedback", json=doc)
    return answer.status_code, answer.json()


def counted(gateway: Deployed, metric: str, *labels: str) -> dict[str, float]:
    return {name: value for name, value in labelled(gateway.metrics(), metric, *labels).items() if value}


def test_broken_json_is_noticed_by_the_checks_of_the_file(fleet: list[Deployed], upstream: Simulated) -> None:
    gateway = fleet[0]
    ask(gateway, 1)
    eventually(lambda: counted(gateway, "checks_total", "arm", "result") == {"candidate passed": 1})
    upstream.faults(f"kind=bad_json,model={O55}")
    ask(gateway, 2)
    both = {"candidate passed": 1, "candidate failed": 1}
    eventually(lambda: counted(gateway, "checks_total", "arm", "result") == both)


def test_any_replica_takes_what_is_said_of_an_answer(fleet: list[Deployed]) -> None:
    request_id = ask(fleet[0], 3)
    assert told(fleet[1], request_id=request_id, kind="issue") == (
        202,
        {"status": "accepted", "counted": True},
    )
    assert told(fleet[1], request_id=request_id, kind="rating", score=0.2)[0] == 202
    assert counted(fleet[1], "feedback_total", "kind") == {"issue": 1, "rating": 1}
    assert counted(fleet[0], "feedback_total", "kind") == {}


def test_the_id_of_the_log_is_the_beginning_of_what_the_caller_was_told(fleet: list[Deployed]) -> None:
    short, _, seal = ask(fleet[0], 4).partition(".")
    assert len(seal) == 60

    def logged() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in fleet[0].log.read_text().splitlines() if short in line]
        return [line for line in lines if line.get("outcome") == "ok"]

    eventually(logged)
    assert seal not in fleet[0].log.read_text()


def test_an_id_that_was_made_up_is_refused_in_the_apis_envelope(fleet: list[Deployed]) -> None:
    request_id = ask(fleet[0], 5)
    status, answer = told(fleet[1], request_id=request_id.swapcase(), kind="issue")
    assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")
    answer = fleet[1].http.get(f"{fleet[1].url}/gateway/feedback").json()
    assert answer["error"]["message"] == "/gateway/feedback takes POST, not GET"
