"""Every process is killed and started again: the run goes on where it stood, with the evidence that it had.

On Redis each replica has a disk of its own; on SQLite two processes share one file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.autopilot import Fleet, Json, document, fleet, stage
from tests.support.crowd import Trade, crowd
from tests.support.deploy import Simulated
from tests.support.features import O46, O55

HOLD_S = 45
"""Longer than what a change of leaders counts for at most, so that it is seen to go on after it."""
STAGES = [
    stage("early", 25, hold="1s", min_units=3),
    stage("half", 50, hold=f"{HOLD_S}s"),
    stage("full", 100, hold="10m"),
]


@pytest.fixture(params=["redis", "sqlite"])
def running(request: pytest.FixtureRequest, upstream: Simulated, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(
        tmp_path, upstream, [document("m", (O46, O55), STAGES)], sqlite=request.param == "sqlite"
    ) as it:
        yield it


def counted(status: Json) -> Mapping[str, int]:
    """Return what every comparison has been fed with so far."""
    return {
        f"{row['name']} {arm}": row[f"n_{arm}"]
        for row in status["metrics"]
        for arm in ("control", "candidate")
    }


@pytest.mark.full
@pytest.mark.timeout(180)
def test_after_all_processes_were_killed_the_run_goes_on_with_its_hold_and_its_evidence(
    running: Fleet,
) -> None:
    with crowd(running.urls, Trade("m", O46, fault="kind=refusal", rate=0.05)):
        running.start("m")
        running.until("m", lambda status: status["weight_percent"] == 50)
        before = running.until(
            "m", lambda status: status["watched_s"] >= 6 and status["weight_percent"] == 50
        )
        running.crash(0, 1)
    running.relaunch(0, 1)
    with crowd(running.urls, Trade("m", O46, fault="kind=refusal", rate=0.05)) as callers:
        running.leader(within_s=30)
        after = running.until("m", lambda status: status["watched_s"] > before["watched_s"])
        assert (after["phase"], after["run"], after["weight_percent"]) == ("running", before["run"], 50)
        assert after["stage"] == {**before["stage"], "hold_until": after["stage"]["hold_until"]}
        assert after["watched_s"] < HOLD_S, "the hold has not begun anew, and is not over either"
        fed, was = counted(after), counted(before)
        assert {name for name in was if fed[name] < was[name]} == set()
        assert was["refusal candidate"] > 0
        assert after["enrolled"]["candidate"] >= before["enrolled"]["candidate"] > 3
        advanced = running.until("m", lambda status: status["weight_percent"] == 100, within_s=60)
        callers.until("m", 10)
    assert advanced["phase"] == "running"
    assert [event["after"]["weight_percent"] for event in running.events("m", "automatic-advance")] == [
        50,
        100,
    ]
    assert [met for met in callers.of("m") if not met.well] == []
