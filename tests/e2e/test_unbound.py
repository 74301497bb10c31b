"""A history that its application changed: the candidate rejects the thinking in it, control answers once, and
the candidate goes on without that thinking.

The application asks for thinking itself and edits what it said before. Opus 5 never minded; Opus 5.5 holds
thinking to the conversation before it.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.deploy import Deployed, migration, two_replicas, write_config
from tests.support.redis_server import RedisServer, binaries
from tests.support.talks import HEADERS
from tests.support.upstream import Upstream, running_simulator

O5, O55 = "claude-opus-5", "claude-opus-5-5"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def vendor() -> Iterator[Upstream]:
    with running_simulator(switches=Switches(recent_account=True)) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def replicas(vendor: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Deployed]]:
    """Two gateways on one Redis, everybody on the candidate."""
    directory = tmp_path_factory.mktemp("unbound")
    config = write_config(directory, vendor.url, migration("m", O5, O55))
    with (
        RedisServer(next(iter(binaries().values()))) as redis,
        two_replicas(config, directory, redis.url) as made,
    ):
        yield made


def say(gateway: Deployed, turns: list[Json], text: str) -> dict[str, str]:
    """Say something, take the answer into `turns`, and return the answer's headers."""
    turns.append({"role": "user", "content": text})
    body = {"model": O5, "max_tokens": 2000, "thinking": {"type": "adaptive"}, "messages": turns}
    answer = gateway.http.post(
        f"{gateway.url}/v1/messages", json=body, headers=HEADERS | {"x-gateway-unit": "editor"}
    )
    assert answer.status_code == 200, answer.text
    turns.append({"role": "assistant", "content": answer.json()["content"]})
    return dict(answer.headers)


def test_a_changed_history_is_rescued_once_and_then_goes_on_without_its_thinking(
    vendor: Upstream, replicas: list[Deployed]
) -> None:
    turns: list[Json] = []
    for number in range(2):
        assert "x-gateway-fallback" not in say(replicas[0], turns, f"question {number}")
    turns[0] = {"role": "user", "content": "question 0, put otherwise"}

    assert say(replicas[0], turns, "question 2")["x-gateway-fallback"] == "rejected_by_model"
    for number in range(3, 7):
        headers = say(replicas[number % 2], turns, f"question {number}")
        assert "x-gateway-fallback" not in headers
        assert headers["x-gateway-served-model"] == O55

    sent = vendor.requests()[-1].json["messages"]
    kinds = [[block["type"] for block in turn["content"]] for turn in sent if turn["role"] == "assistant"]
    assert [("thinking" in each) for each in kinds] == [False, False, True, True, True, True]
