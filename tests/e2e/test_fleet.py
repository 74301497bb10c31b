"""Three replicas of two workers each on one Redis, under load: the promises that a fleet must keep."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.support.deploy import (
    ADMIN_TOKEN,
    Deployed,
    Simulated,
    deployed,
    eventually,
    migration,
    write_config,
)
from tests.support.load import load
from tests.support.redis_server import RedisServer, binaries

CONTROL, CANDIDATE = "claude-opus-4-5-20251101", "claude-opus-4-6"
AUTHORIZED = {"authorization": f"Bearer {ADMIN_TOKEN}"}
PROCESSES = 6


@dataclass
class Fleet:
    """Three gateways of two workers, each with a disk of its own."""

    replicas: list[Deployed]
    redis: RedisServer
    upstream: Simulated

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas]

    def candidate_requests(self, since: int) -> list[dict[str, Any]]:
        return [entry for entry in self.upstream.requests(since) if entry["model"] == CANDIDATE]

    def agree(self, weight: float) -> bool:
        """Every process of the fleet obeys the same version and every gateway says the same weight."""
        statuses = [replica.status("m") for replica in self.replicas]
        return all(
            status["weight_percent"] == weight
            and status["replicas"] == {"expected": PROCESSES, "acknowledged": PROCESSES, "missing": []}
            for status in statuses
        )


@pytest.fixture(scope="module")
def _fleet(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("fleet")
    config = write_config(directory, _upstream.url, migration("m", CONTROL, CANDIDATE))
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(next(iter(binaries().values()))))
        starting = [
            deployed(config, directory / f"replica-{number}", store_url=redis.url, workers=2)
            for number in range(3)
        ]
        with ThreadPoolExecutor() as together:
            replicas = list(together.map(stack.enter_context, starting))
        replicas[0].act("m", "start", reason="test")
        yield Fleet(replicas, redis, _upstream)


@pytest.fixture
def fleet(_fleet: Fleet) -> Fleet:
    """The fleet with its candidate at 40 %, whatever the test before did to it."""
    first = _fleet.replicas[0]
    if first.status("m")["phase"] == "rolled_back":
        first.act("m", "restart", reason="next test")
    first.set_weight("m", 40)
    eventually(lambda: _fleet.agree(40.0), within_s=20)
    return _fleet


async def emergency(url: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=10) as client:
        return await client.post(
            f"{url}/admin/migrations/m/actions/emergency-rollback",
            json={"reason": "test"},
            headers=AUTHORIZED,
        )


async def test_after_an_emergency_rollback_has_answered_nothing_reaches_the_candidate(fleet: Fleet) -> None:
    since = fleet.upstream.last_seq()
    async with load(fleet.urls, model=CONTROL) as crowd:
        await crowd.until(400)
        answer = await emergency(fleet.urls[1])
        answered_at = time.time()
        await crowd.until(400)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert result["status"] == "rolled_back"
    assert result["replicas"] == {"expected": PROCESSES, "acknowledged": PROCESSES, "missing": []}
    candidates = fleet.candidate_requests(since)
    assert len(candidates) > 50
    assert [entry["at"] - answered_at for entry in candidates if entry["at"] > answered_at] == []
    assert [each.headers for each in crowd.failed] == []
    assert {each.headers["x-gateway-reason"] for each in crowd.met if each.began_at > answered_at} == {
        "killed"
    }


async def test_a_frozen_replica_is_named_missing_and_the_rest_obeys(fleet: Fleet) -> None:
    pid = fleet.replicas[2].workers()[0]
    listed = fleet.replicas[0].admin("GET", "/replicas").json()["data"]
    frozen = [entry["id"] for entry in listed if f"-{pid}-" in entry["id"]]
    assert len(frozen) == 1
    with fleet.replicas[2].frozen(pid):
        answer = (await emergency(fleet.urls[0])).json()
    assert answer["replicas"] == {"expected": PROCESSES, "acknowledged": PROCESSES - 1, "missing": frozen}
    assert 1900 < answer["took_ms"] < 4000
    eventually(lambda: fleet.agree(0.0))


async def test_without_redis_nothing_fails_no_arm_changes_and_the_fleet_heals_by_itself(fleet: Fleet) -> None:
    async with load(fleet.urls, model=CONTROL) as crowd:
        await crowd.until(600)
        before = crowd.arms()
        assert {len(arms) for arms in before.values()} == {1}, "every replica says the same of a unit"
        killed_at = time.time()
        fleet.redis.kill()
        await crowd.until(600)
        answer = await emergency(fleet.urls[0])
        answered_at = time.time()
        await crowd.until(300)
        fleet.redis.start()
        await asyncio.to_thread(eventually, lambda: fleet.agree(0.0), within_s=20)
        await crowd.until(100)
    assert [each.headers for each in crowd.failed] == []
    assert max(each.took_s for each in crowd.met) < 1.0
    during = {
        unit: {
            each.arm
            for each in crowd.met
            if each.unit == unit and killed_at < each.began_at < answered_at - 1
        }
        for unit in before
    }
    assert {unit for unit, arms in during.items() if arms - before[unit]} == set()
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "rolled_back_locally"
    assert len(answer.json()["replicas"]["missing"]) >= 4
    stopped = [
        each for each in crowd.met if each.gateway == fleet.urls[0] and each.began_at > answered_at + 0.1
    ]
    assert {each.arm for each in stopped} == {"control"}
    statuses = [replica.status("m") for replica in fleet.replicas]
    assert {(status["phase"], status["reason"]) for status in statuses} == {("rolled_back", "emergency")}
