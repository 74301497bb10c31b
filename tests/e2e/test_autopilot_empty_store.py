"""A Redis that comes back empty: what is asked of a gateway then is asked of what the fleet knows."""

from collections.abc import Iterator

import pytest

from tests.support.autopilot import Fleet, document, fleet
from tests.support.crowd import Trade, crowd
from tests.support.deploy import Simulated, eventually
from tests.support.features import O46, O55


@pytest.fixture
def running(upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("empty"), upstream, [document("m", (O46, O55))]) as it:
        yield it


@pytest.mark.full
def test_an_emergency_rollback_right_after_redis_came_back_empty_is_not_lost(running: Fleet) -> None:
    assert running.redis is not None
    running.start("m")
    with crowd(running.urls, Trade("m", O46)) as callers:
        callers.until("m", 20)
        running.redis.kill()
        eventually(lambda: not running.status("m")["store_available"])
        callers.until("m", 20)
        running.redis.start()
        answer = running.first.admin("POST", "/migrations/m/actions/emergency-rollback", json={"reason": "x"})
        assert answer.json()["status"] == "rolled_back", answer.text
        callers.until("m", 30)
        statuses = [replica.status("m") for replica in running.replicas]
    assert [(status["phase"], status["reason"], status["run"]) for status in statuses] == [
        ("rolled_back", "emergency", 1)
    ] * 2
