"""A row of the catalogue that is wrong: callers get control's answer, and the migration rolls itself back.

The gateway believes that Opus 4.7 takes any sampling and a prefill, so it passes them on; the upstream knows
better and answers 400.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.support.answers import Json, folded, text_of
from tests.support.deploy import (
    REPOSITORY,
    Deployed,
    Simulated,
    deployed,
    eventually,
    migration,
    write_config,
)
from tests.support.features import O45, O47, assistant, user

HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
PLAIN: Json = {"model": O45, "max_tokens": 400, "messages": [user("Say something about rivers.")]}
WRONG = [
    pytest.param({"temperature": 0.2}, id="sampling"),
    pytest.param({"messages": [*PLAIN["messages"], assistant("Rivers are")]}, id="prefill"),
]
FALLBACKS = 'gateway_fallbacks_total{cause="rejected_by_model",migration="m"}'
BREAKER = {"max": 0.2, "window": "60s", "min_requests": 5, "min_units": 5}


def wrong_catalogue(directory: Path) -> Path:
    """The shipped catalogue, but for one row."""
    document = yaml.safe_load((REPOSITORY / "config" / "models.yaml").read_text())
    (row,) = [row for row in document["models"] if row["id"] == O47]
    row |= {"sampling": {"accepts": "any", "both": False}, "prefill": True}
    path = directory / "models.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@contextmanager
def misled(upstream: Simulated, directory: Path) -> Iterator[Deployed]:
    """A gateway with that catalogue, everything sent to the candidate."""
    document = migration("m", O45, O47, gates={"breaker": {"fallback_rate": BREAKER}})
    config = write_config(directory, upstream.url, document, catalogue=wrong_catalogue(directory))
    with deployed(config, directory) as running:
        running.act("m", "start", reason="test")
        running.set_weight("m", 100)
        yield running


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with misled(_upstream, tmp_path_factory.mktemp("misled")) as running:
        yield running


def ask(gateway: Deployed, unit: str, **fields: Any) -> httpx2.Response:
    headers = HEADERS | {"x-gateway-unit": unit}
    return gateway.http.post(f"{gateway.url}/v1/messages", json=PLAIN | fields, headers=headers)


def answered(answer: httpx2.Response) -> Json:
    assert answer.status_code == 200, answer.text
    streamed = answer.headers["content-type"].startswith("text/event-stream")
    message: Json = folded(answer.text) if streamed else answer.json()
    assert text_of(message)
    return message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", WRONG)
def test_callers_get_controls_answer(
    gateway: Deployed, upstream: Simulated, fields: Json, stream: bool
) -> None:
    since = upstream.last_seq()
    answer = ask(gateway, "ada", **fields, stream=stream)
    assert answered(answer)["model"] == O45
    assert answer.headers["x-gateway-arm"] == "candidate"
    assert answer.headers["x-gateway-served-model"] == O45
    assert answer.headers["x-gateway-fallback"] == "rejected_by_model"
    assert [(entry["model"], entry["status"]) for entry in upstream.requests(since)] == [
        (O47, 400),
        (O45, 200),
    ]


def test_a_rejection_is_counted_once_for_each_request(gateway: Deployed) -> None:
    served = 'gateway_requests_total{arm="candidate",migration="m",outcome="ok",served="%s"}'
    series = (FALLBACKS, served % "control", served % "candidate")

    def counts() -> list[float]:
        samples = gateway.metrics()
        return [samples.get(name, 0) for name in series]

    before = counts()
    for number in range(4):
        answered(ask(gateway, "ada", temperature=number / 4))
    answered(ask(gateway, "ada"))
    grown = [count + more for count, more in zip(before, (4, 4, 1), strict=True)]
    eventually(lambda: counts() == grown)


def test_the_callers_own_mistake_is_nobodys_failure(gateway: Deployed) -> None:
    before = gateway.metrics().get(FALLBACKS, 0)
    answer = ask(gateway, "ada", temperature=7)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "temperature: range: 0..1")
    assert gateway.metrics().get(FALLBACKS, 0) == before


def test_the_migration_rolls_itself_back_and_the_candidate_is_left_alone(
    upstream: Simulated, tmp_path: Path
) -> None:
    with misled(upstream, tmp_path) as gateway:
        for number in range(10):
            assert answered(ask(gateway, f"unit-{number}"))["model"] == O47
        judged = eventually(lambda: verdict_on(gateway, requests=10))
        assert judged["verdict"] == "pass"
        rescued = 0
        for number in range(10):
            answer = ask(gateway, f"unit-{number}", temperature=0.2)
            assert answered(answer)["model"] == O45
            rescued += "x-gateway-fallback" in answer.headers
        status = eventually(lambda: rolled_back(gateway))
        assert (status["reason"], status["weight_percent"]) == ("automatic", 0)
        gateway.settle("m")
        since = upstream.last_seq()
        for number in range(10):
            answer = ask(gateway, f"unit-{number}", temperature=0.2)
            assert answered(answer)["model"] == O45
            assert answer.headers["x-gateway-reason"] == "not_running"
            assert "x-gateway-fallback" not in answer.headers
        assert {entry["model"] for entry in upstream.requests(since)} == {O45}
        says_why(gateway, rescued)


def verdict_on(gateway: Deployed, requests: int) -> Json | None:
    """The breaker's verdict, once it has seen that many."""
    gates: dict[str, Json] = {gate["name"]: gate for gate in gateway.status("m")["gates"]}
    found = gates["fallback_rate"]
    return found if found["evidence"].get("requests") == requests else None


def rolled_back(gateway: Deployed) -> Json | None:
    status = gateway.status("m")
    return status if status["phase"] == "rolled_back" else None


def says_why(gateway: Deployed, rescued: int) -> None:
    """The audit log has the numbers, and so do the metrics."""
    event = gateway.admin("GET", "/migrations/m/events").json()["data"][-1]
    assert (event["verb"], event["by"]) == ("automatic-rollback", "controller")
    assert (event["before"]["weight_percent"], event["after"]["weight_percent"]) == (100, 0)
    assert event["after"]["phase"] == "rolled_back"
    (failed,) = event["evidence"]["gates"]
    assert (failed["name"], failed["verdict"]) == ("fallback_rate", "fail")
    assert (
        failed["evidence"]["value"] == failed["evidence"]["failures"] / failed["evidence"]["requests"] > 0.2
    )
    assert "fallback_rate" in event["reason"]
    assert gateway.metrics()[FALLBACKS] == rescued > 2
    eventually(lambda: gateway.metrics()['gateway_phase{migration="m",phase="rolled_back"}'] == 1)
    assert gateway.metrics()['gateway_weight_percent{migration="m"}'] == 0
