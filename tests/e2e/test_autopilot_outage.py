"""Redis is killed while migrations stand at every stage there is, on two real processes.

Each migration has callers of its own. Without the store everybody keeps his arm and nothing advances; the one
candidate that begins to fail meanwhile is dropped by each process alone. The new server is empty: what the
processes remember is what the fleet agrees on from then on.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from time import time

import pytest

from tests.support.autopilot import Fleet, Json, document, fleet, stage
from tests.support.crowd import Crowd, Trade, crowd
from tests.support.deploy import Simulated, eventually
from tests.support.features import H45, O5, O45, O46, O47, O48, O55, S5, S46

RAMP = [stage("early", 25, hold="10m"), stage("half", 50, hold="10m"), stage("full", 100)]
DUE = [stage("early", 25, hold="6s"), stage("half", 50, hold="10m"), stage("full", 100)]
CONTROLS = {
    "draft": O45, "early": O46, "half": O47, "paused": O48,
    "soaking": S46, "gone": S5, "failing": O5, "due": H45,
}  # fmt: skip
STANDING: Mapping[str, tuple[str, str, float]] = {
    "draft": ("draft", "", 0),
    "early": ("running", "", 25),
    "half": ("running", "", 50),
    "paused": ("paused", "user", 40),
    "soaking": ("soaking", "", 100),
    "gone": ("rolled_back", "user", 0),
    "failing": ("running", "", 50),
    "due": ("running", "", 25),
}
"""Migration → phase, reason and weight when the store goes away."""


@pytest.fixture
def standing(upstream: Simulated, tmp_path: Path) -> Iterator[Fleet]:
    """Migrations at every stage."""
    documents = [
        document(name, (control, O55), DUE if name == "due" else RAMP) for name, control in CONTROLS.items()
    ]
    with fleet(tmp_path, upstream, documents) as running:
        running.start(*(name for name in CONTROLS if name not in ("draft", "due")))
        for name, advances in {"half": 1, "failing": 1, "soaking": 3}.items():
            for _ in range(advances):
                running.first.act(name, "advance", reason="test")
        running.first.set_weight("paused", 40)
        running.first.act("gone", "rollback", reason="test")
        yield running


def seen(status: Json) -> tuple[str, str, float]:
    return status["phase"], status["reason"], status["weight_percent"]


def arms(callers: Crowd, name: str, *, since: float = 0.0, until: float = 1e12) -> dict[str, set[str]]:
    """Return the arms that each unit of a migration met in that time."""
    found: dict[str, set[str]] = {}
    for met in callers.of(name, since=since):
        if met.began_at < until:
            found.setdefault(met.unit, set()).add(met.arm)
    return found


def moved(before: dict[str, set[str]], after: dict[str, set[str]]) -> set[str]:
    """Return the units that met another arm than before."""
    known = before.keys() & after.keys()
    assert len(known) >= 15, "enough of them came back"
    return {unit for unit in known if len(before[unit] | after[unit]) > 1}


@pytest.mark.full
@pytest.mark.timeout(120)
def test_without_redis_every_arm_stays_nothing_advances_and_a_failing_candidate_is_dropped(
    standing: Fleet,
) -> None:
    assert standing.redis is not None
    trades = [Trade(name, control, units=41) for name, control in CONTROLS.items()]
    with crowd(standing.urls, *trades) as callers:
        standing.start("due")
        standing.until("due", lambda status: status["watched_s"] >= 2)
        for name in CONTROLS:
            callers.until(name, 1)
        killed_at = time()
        standing.redis.kill()
        callers.strike("failing", f"kind=overloaded,model={O55}")
        eventually(lambda: dropped(callers, standing), within_s=20)
        dropped_at = time()
        eventually(lambda: time() > killed_at + 8)
        for name in STANDING.keys() - {"failing"}:
            status = standing.status(name)
            assert (seen(status), status["store_available"]) == (STANDING[name], False)
        away_until = time()
        standing.redis.start()
        for name in STANDING.keys() - {"failing", "due"}:
            standing.until(
                name, lambda status: status["store_available"] and seen(status) == STANDING[status["name"]]
            )
        after_at = time()
        status = standing.phase("failing", "rolled_back")
        advanced = standing.until("due", lambda status: status["weight_percent"] == 50, within_s=30)
        callers.until("early", 40)
    assert advanced["phase"] == "running"
    assert status["weight_percent"] == 0
    (kill,) = [event for event in standing.events("failing") if "local" in f"{event['by']} {event['reason']}"]
    assert "fallback_rate" in kill["reason"], kill
    for name in STANDING.keys() - {"failing", "due"}:
        before, during = (
            arms(callers, name, until=killed_at),
            arms(callers, name, since=killed_at, until=away_until),
        )
        assert moved(before, during) == set(), name
        assert moved(before, arms(callers, name, since=after_at)) == set(), name
    assert (
        moved(arms(callers, "due", until=killed_at), arms(callers, "due", since=killed_at, until=away_until))
        == set()
    )
    late = [met for met in callers.of("failing", since=dropped_at + 1) if met.arm != "control"]
    assert late == []
    assert [met for met in callers.met if not met.well] == []


def dropped(callers: Crowd, standing: Fleet) -> bool:
    """Tell whether each process has stopped sending to the failing candidate."""
    last = {met.gateway: met.headers.get("x-gateway-reason") for met in callers.of("failing")}
    return last == dict.fromkeys(standing.urls, "killed")
