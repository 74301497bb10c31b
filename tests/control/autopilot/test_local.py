"""What a process decides alone while nobody can lead."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.control.autopilot.local import AWAY_S, LocalBreaker
from gateway.core.counts import Counts
from gateway.core.spec import BreakerRule, Gates, MigrationSpec
from gateway.core.types import Arm, Outcome
from tests.support.bookings import ended, place
from tests.support.control import SPEC, ControlPlane, fill

BAD = [Outcome.timeout] * 10
GOOD = [Outcome.ok] * 10


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


async def serving(plane: ControlPlane) -> None:
    await plane.act("start", "advance")


def local(plane: ControlPlane, counts: Counts, away_s: float) -> LocalBreaker:
    return LocalBreaker(
        plane.replica, {"m": counts}, away_s=lambda: away_s, specs=lambda: plane.specs, clock=plane.clock
    )


async def test_while_the_store_is_away_a_failing_candidate_is_dropped_here_once(plane: ControlPlane) -> None:
    await serving(plane)
    breaker = local(plane, plane.counts(*BAD), AWAY_S)
    for _ in range(3):
        await breaker.tick()
    ((name, by, reason),) = plane.replica.kills
    assert (name, by) == ("m", "local breaker")
    assert reason.startswith("error_rate: 100.0% of 10 requests, above 10.0%")
    assert plane.replica.snapshot.state("m").killed


@pytest.mark.parametrize(
    ("outcomes", "run", "away_s"),
    [(BAD, 1, 0.0), (BAD, 1, AWAY_S - 0.1), (GOOD, 1, 60.0), (BAD[:9], 1, 60.0), (BAD, 0, 60.0)],
)
async def test_otherwise_a_process_decides_nothing_alone(
    outcomes: list[Outcome], run: int, away_s: float, plane: ControlPlane
) -> None:
    await serving(plane)
    await local(plane, plane.counts(*outcomes, run=run), away_s).tick()
    assert plane.replica.kills == []


async def test_alone_too_trouble_that_control_shares_is_the_providers(plane: ControlPlane) -> None:
    await serving(plane)
    counts = plane.counts(*BAD)
    fill(counts, *BAD, arm=Arm.control, now=plane.clock.now)
    await local(plane, counts, 60.0).tick()
    assert plane.replica.kills == []


def slow(counts: Counts, now: float) -> None:
    for n in range(5):
        counts.ended(ended(unit=f"u{n}", duration_s=61.0), now)


def complaining(counts: Counts, now: float) -> None:
    counts.ended(ended(), now)
    for n in range(4):
        counts.complained(place(f"u{n}"), f"req_{n}", now)
    counts.settle([True] * len(counts.due(now + 1)))


def dear(counts: Counts, now: float) -> None:
    for arm, cost in ((Arm.control, 100), (Arm.candidate, 300)):
        for n in range(5):
            counts.ended(ended(unit=f"u{n}", arm=arm, cost_microusd=cost), now)


@pytest.mark.parametrize(
    ("happens", "gate"),
    [(slow, "latency_p95_s"), (complaining, "quality_issues"), (dear, "cost_ratio")],
)
async def test_every_breaker_is_judged_alone(happens: Callable[[Counts, float], None], gate: str) -> None:
    rules = {
        "latency_p95_s": BreakerRule(60, 600, 5),
        "quality_issues": BreakerRule(3, 3600),
        "cost_ratio": BreakerRule(2.0, 3600, 5),
    }
    plane = ControlPlane({"m": _with(rules)})
    await serving(plane)
    counts = Counts()
    happens(counts, plane.clock.now())
    await local(plane, counts, AWAY_S).tick()
    assert [reason.partition(":")[0] for _, _, reason in plane.replica.kills] == [gate]


async def test_what_control_cost_before_stands_in_where_the_window_has_none() -> None:
    plane = ControlPlane({"m": _with({"cost_ratio": BreakerRule(2.0, 60, 5)})})
    await serving(plane)
    counts = Counts()
    dear(counts, plane.clock.now())
    plane.clock.advance(100)
    for n in range(5):
        counts.ended(ended(unit=f"u{n}", cost_microusd=300), plane.clock.now())
    await local(plane, counts, AWAY_S).tick()
    assert [reason.partition(":")[0] for _, _, reason in plane.replica.kills] == ["cost_ratio"]


def _with(rules: dict[str, BreakerRule]) -> MigrationSpec:
    return replace(SPEC, gates=Gates(breaker=rules))
