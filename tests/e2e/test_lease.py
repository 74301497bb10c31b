"""Who leads, on real processes: one that was held for longer than its lease changes nothing any more.

The leader is held where it hurts most: its write of the evidence is under way to Redis when the process is
stopped (SIGSTOP), arrives there after another one has begun to lead, and is answered when it goes on.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.autopilot import Fleet, document, fleet, stage
from tests.support.crowd import Trade, crowd
from tests.support.deploy import Simulated, eventually
from tests.support.features import O46, O55
from tests.support.redis_server import RedisServer, binaries
from tests.support.sluice import Sluice, sluice
from tests.support.webhook import Receiver, receiver

HOLD_S = 24
STAGES = [
    stage("early", 25, hold=f"{HOLD_S}s", min_units=5),
    stage("half", 50, hold="10m"),
    stage("full", 100),
]


@dataclass
class Held:
    """Two replicas, each behind a sluice of its own, and somebody who is told."""

    fleet: Fleet
    sluices: list[Sluice]
    told: Receiver


@pytest.fixture
def held(upstream: Simulated, tmp_path: Path) -> Iterator[Held]:
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(next(iter(binaries().values()))))
        sluices = [stack.enter_context(sluice(redis.port)) for _ in range(2)]
        links = {number: f"redis://127.0.0.1:{each.port}/0" for number, each in enumerate(sluices)}
        told = stack.enter_context(receiver())
        running = stack.enter_context(
            fleet(
                tmp_path,
                upstream,
                [document("m", (O46, O55), STAGES, notify=["ops"])],
                redis=redis,
                links=links,
                env={"OPS_URL": told.url, "OPS_SECRET": "s3cret"},
                notify={"ops": {"kind": "webhook", "url_env": "OPS_URL", "secret_env": "OPS_SECRET"}},
            )
        )
        yield Held(running, sluices, told)


def epochs_seen(held: Held, looks: int = 1000) -> set[int]:
    """Return under which epochs the evidence lay in Redis, at many looks in a row."""
    assert held.fleet.redis is not None
    with held.fleet.redis.client() as client:
        return {int(client.hget("gw:{m}:document:evidence", "epoch")) for _ in range(looks)}


@pytest.mark.full
@pytest.mark.timeout(120)
def test_a_leader_that_was_stopped_past_its_lease_changes_nothing_when_it_goes_on(held: Held) -> None:
    fleet = held.fleet
    old = fleet.leader()
    new = 1 - old
    with crowd(fleet.urls, Trade("m", O46)) as callers:
        fleet.replicas[new].act("m", "start", reason="test")
        before = eventually(lambda: fleet.evidence("m", watched_s=3))
        held.sluices[old].shut(b"document:evidence", b"EXEC")
        assert held.sluices[old].held.wait(5)
        with fleet.replicas[old].frozen(fleet.replicas[old].process.pid):
            callers.gateways = [fleet.urls[new]]
            led = eventually(lambda: fleet.evidence("m", epoch=before["epoch"] + 1), within_s=25)
            assert led["watched_s"] >= before["watched_s"]
            assert all(
                led["tests"][name]["at_risk"][arm] >= before["tests"][name]["at_risk"][arm]
                for name in before["tests"]
                for arm in (0, 1)
            )
            held.sluices[old].open()
            assert epochs_seen(held) == {led["epoch"]}, "its write has arrived, and changed nothing"
        assert epochs_seen(held) == {led["epoch"]}
        callers.gateways = fleet.urls
        eventually(lambda: fleet.replicas[old].metrics()["gateway_leader"] == 0)
        assert fleet.leader() == new
        advanced = eventually(lambda: fleet.events("m", "automatic-advance"), within_s=40, every_s=0.2)
        callers.until("m", 20)
        assert fleet.evidence("m")["epoch"] == led["epoch"]
        assert len(fleet.events("m", "automatic-advance")) == len(advanced) == 1
        assert [met for met in callers.of("m") if not met.well and met.gateway == fleet.urls[new]] == []
        eventually(lambda: held.told.changes() == ["started", "stage"])
        assert len({delivery.id for delivery in held.told.deliveries}) == 2
        assert all(delivery.signature for delivery in held.told.deliveries)
        complaint = "is too late" in fleet.replicas[old].log.read_text()
        gave_up = fleet.replicas[old].metrics()['gateway_store_errors_total{operation="put_document"}']
        assert complaint or gave_up, "it was refused, or had stopped to wait for the answer"
