"""What every process does by itself: counting for the leader, and deciding alone while nobody can lead."""

import pytest

from gateway.control.autopilot.controller import Controller
from gateway.control.autopilot.flusher import CountsFlusher
from gateway.control.autopilot.local import AWAY_S, LocalBreaker
from gateway.core.gates.window import Window
from gateway.core.types import Arm, Outcome, Phase
from gateway.errors import StoreUnavailable
from gateway.tasks import run_every
from tests.support.control import ControlPlane, fill

BAD = [Outcome.timeout] * 10
GOOD = [Outcome.ok] * 10


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


async def serving(plane: ControlPlane) -> None:
    await plane.act("start", "advance")


def controller(plane: ControlPlane) -> Controller:
    return Controller(plane.store, plane.service, holder="r1", clock=plane.clock, on_error=[].append)


# --- counting -----------------------------------------------------------------------------------------------


def flusher(
    plane: ControlPlane, windows: dict[str, Window], errors: list[str] | None = None
) -> CountsFlusher:
    heard = errors if errors is not None else []
    return CountsFlusher(
        plane.store, plane.replica, windows, replica_id="r1", specs=lambda: plane.specs, clock=plane.clock,
        on_error=heard.append,
    )  # fmt: skip


async def test_what_a_process_counts_is_judged_by_the_leader(plane: ControlPlane) -> None:
    await serving(plane)
    windows = {"m": plane.window(*BAD)}
    await flusher(plane, windows).tick()
    await controller(plane).tick()
    assert plane.state.phase is Phase.rolled_back


async def test_counts_are_absolute_so_that_writing_twice_changes_nothing(plane: ControlPlane) -> None:
    await serving(plane)
    flush = flusher(plane, {"m": plane.window(*BAD[:5])})
    for _ in range(3):
        await flush.tick()
    await controller(plane).tick()
    assert plane.state.phase is Phase.running


async def test_only_what_is_judged_is_written(plane: ControlPlane) -> None:
    await flusher(plane, {"m": plane.window(*BAD), "unknown": Window()}).tick()
    assert plane.store.calls["put_counts"] == 0


async def test_counts_that_cannot_be_written_are_written_next_time(plane: ControlPlane) -> None:
    await serving(plane)
    errors: list[str] = []
    flush = flusher(plane, {"m": plane.window(*BAD)}, errors)
    plane.store.away = True
    for second in range(3):
        await flush.tick()
        assert flush.away_s == second
        plane.clock.advance(1)
    assert errors == ["put_counts"] * 3
    plane.store.away = False
    await flush.tick()
    assert flush.away_s == 0
    assert list(await plane.store.counts("m")) == ["r1"]


# --- alone --------------------------------------------------------------------------------------------------


def local(plane: ControlPlane, window: Window, away_s: float) -> LocalBreaker:
    return LocalBreaker(
        plane.replica, {"m": window}, away_s=lambda: away_s, specs=lambda: plane.specs, clock=plane.clock
    )


async def test_while_the_store_is_away_a_failing_candidate_is_dropped_here_once(plane: ControlPlane) -> None:
    await serving(plane)
    breaker = local(plane, plane.window(*BAD), AWAY_S)
    for _ in range(3):
        await breaker.tick()
    assert plane.replica.kills == [("m", "local breaker", "error_rate: 100.0% of 10 requests, above 10.0%")]
    assert plane.replica.snapshot.state("m").killed


@pytest.mark.parametrize(
    ("outcomes", "run", "away_s"),
    [(BAD, 1, 0.0), (BAD, 1, AWAY_S - 0.1), (GOOD, 1, 60.0), (BAD[:9], 1, 60.0), (BAD, 0, 60.0)],
)
async def test_otherwise_a_process_decides_nothing_alone(
    outcomes: list[Outcome], run: int, away_s: float, plane: ControlPlane
) -> None:
    await serving(plane)
    await local(plane, plane.window(*outcomes, run=run), away_s).tick()
    assert plane.replica.kills == []


async def test_alone_too_trouble_that_control_shares_is_the_providers(plane: ControlPlane) -> None:
    await serving(plane)
    window = plane.window(*BAD)
    fill(window, *BAD, arm=Arm.control, now=plane.clock.now)
    await local(plane, window, 60.0).tick()
    assert plane.replica.kills == []


# --- ticking ------------------------------------------------------------------------------------------------


async def test_ticks_come_at_their_interval_and_survive_one_that_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Enough(Exception):
        """Ends the loop."""

    ticks: list[int] = []
    pauses: list[float] = []

    async def tick() -> None:
        ticks.append(len(ticks))
        if len(ticks) == 1:
            raise StoreUnavailable("once")

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise Enough

    with pytest.raises(Enough):
        await run_every(0.5, tick, sleep=pause)
    assert (ticks, pauses) == ([0, 1, 2], [0.5, 0.5, 0.5])
    assert [record.getMessage() for record in caplog.records] == ["a tick failed"]
