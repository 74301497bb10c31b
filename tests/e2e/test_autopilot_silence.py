"""A stage to which nobody comes, on one real process with SQLite: it pauses until somebody does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.autopilot import Fleet, document, fleet, gate, stage
from tests.support.crowd import Trade, crowd
from tests.support.deploy import Simulated
from tests.support.features import O46, O55

STAGES = [stage("half", 50, hold="1s"), stage("full", 100, hold="10m")]


@pytest.fixture
def running(upstream: Simulated, tmp_path: Path) -> Iterator[Fleet]:
    silent = document("m", (O46, O55), STAGES, gates={"no_traffic": "60s"})
    with fleet(tmp_path, upstream, [silent], replicas=1, sqlite=True) as it:
        yield it


@pytest.mark.full
@pytest.mark.timeout(150)
def test_a_stage_without_traffic_pauses_and_goes_on_when_somebody_comes(running: Fleet) -> None:
    running.start("m")
    status = running.phase("m", "paused", within_s=90)
    assert (status["reason"], status["weight_percent"]) == ("no_data", 50)
    assert gate(status, "traffic")["evidence"]["quiet_s"] >= 60
    assert [event["verb"] for event in running.events("m")] == ["start", "automatic-pause"]
    with crowd(running.urls, Trade("m", O46)):
        running.until("m", lambda status: status["weight_percent"] == 100)
    *between, last = [event["verb"] for event in running.events("m")][2:]
    assert last == "automatic-advance"
    assert set(between) <= {"automatic-pause", "automatic-resume"}, "it may wait for the first units' counts"
