"""What every process writes down about once a second, and what whoever leads makes of it."""

import asyncio

import pytest

from gateway.control.autopilot.flusher import ENDED_S, IDLE_TICKS, CountsFlusher
from gateway.core.booking import Booking
from gateway.core.counts import Counts, merge_run, merge_stage
from gateway.core.gates.window import merge
from gateway.core.tally import ArmTotals, Exposure
from gateway.core.types import Arm, Outcome
from gateway.errors import StoreUnavailable
from gateway.tasks import run_every
from tests.support.bookings import ended, place
from tests.support.control import ControlPlane
from tests.support.memory_store import MemoryStore

BAD = [Outcome.timeout] * 10


@pytest.fixture
async def plane() -> ControlPlane:
    """A control plane whose migration is in its first run and entry."""
    plane = ControlPlane()
    await plane.act("start")
    assert plane.state.run == 1
    return plane


class Process:
    """One process's counts and flusher, with a connection of its own."""

    def __init__(self, plane: ControlPlane, name: str = "r1", store: MemoryStore | None = None) -> None:
        self.plane, self.store, self.counts = plane, store or MemoryStore(plane.server), Counts()
        self.errors: list[str] = []
        self.flusher = CountsFlusher(
            self.store,
            plane.replica,
            {"m": self.counts},
            replica_id=name,
            specs=lambda: plane.specs,
            clock=plane.clock,
            on_error=self.errors.append,
        )

    def happens(self, *bookings: Booking) -> None:
        for booking in bookings:
            self.counts.ended(booking, self.plane.clock.now())

    async def second(self) -> None:
        """Let a second go by, and write down what it brought."""
        self.plane.clock.advance(1)
        await self.flusher.tick()


async def candidate(plane: ControlPlane) -> ArmTotals:
    """Return what is known of the candidate over the run, from all processes."""
    return merge_run((await plane.store.tallies("m", "1")).values()).arms[Arm.candidate]


# --- what is written ----------------------------------------------------------------------------------------


async def test_what_processes_count_is_added_up_by_whoever_leads(plane: ControlPlane) -> None:
    for name in ("r1", "r2"):
        process = Process(plane, name)
        process.happens(ended(Outcome.timeout, name), ended(Outcome.ok, "both"))
        await process.second()
    windows = merge((await plane.store.counts("m")).values(), run=1)
    assert windows[60][Arm.candidate].errors == 2
    counted = await candidate(plane)
    assert (counted.requests, counted.exposure["error"]) == (4, Exposure(4, 2))
    stage = merge_stage((await plane.store.tallies("m", "1.1")).values())
    assert stage.arms[Arm.candidate].requests == 4


async def test_every_write_has_a_greater_number_with_or_without_traffic(plane: ControlPlane) -> None:
    process, numbers = Process(plane), []
    for _ in range(3):
        await process.second()
        numbers.append((await plane.store.counts("m"))["r1"]["flush"])
    assert numbers == sorted(set(numbers))


async def test_what_has_not_changed_is_not_written_again(plane: ControlPlane) -> None:
    process = Process(plane)
    process.happens(ended())
    await process.second()
    before = process.store.calls["put_tally"]
    await process.second()
    assert (before, process.store.calls["put_tally"]) == (2, 2)
    assert process.store.calls["claim"] == 0, "nobody has failed"


async def test_numbers_are_absolute_so_that_writing_twice_changes_nothing(plane: ControlPlane) -> None:
    process = Process(plane)
    process.happens(ended(Outcome.timeout))
    for _ in range(3):
        process.counts.unwritten()
        await process.second()
    counted = await candidate(plane)
    assert (counted.requests, counted.exposure["error"]) == (1, Exposure(1, 1))


async def test_a_complaint_reaches_the_breakers_with_the_next_write(plane: ControlPlane) -> None:
    process = Process(plane)
    process.counts.complained(place(), "req_1", plane.clock.now())
    await process.second()
    await process.second()
    windows = merge((await plane.store.counts("m")).values(), run=1)
    assert windows[60][Arm.candidate].issues == 1
    assert (await candidate(plane)).issues == 1


async def test_a_process_that_ends_writes_what_its_last_second_brought(plane: ControlPlane) -> None:
    process = Process(plane)
    process.happens(ended(Outcome.timeout))
    await process.flusher.close()
    assert (await candidate(plane)).exposure["error"] == Exposure(1, 1)


async def test_a_unit_that_fails_in_two_processes_or_before_and_after_a_restart_fails_once(
    plane: ControlPlane,
) -> None:
    for name in ("r1", "r2", "r1-after-its-restart"):
        process = Process(plane, name)
        process.happens(ended(Outcome.refused))
        await process.second()
    assert (await candidate(plane)).exposure["refusal"].failed == 1


# --- what is not --------------------------------------------------------------------------------------------


async def test_before_the_first_run_it_is_written_seldom_what_control_is_like() -> None:
    plane = ControlPlane()
    process = Process(plane)
    for _ in range(2 * IDLE_TICKS):
        process.happens(ended(arm=Arm.control, run=0, enrolled=False))
        await process.second()
    assert process.store.calls == {"put_counts": 2, "put_tally": 2}
    await process.flusher.close()
    before = merge_run((await plane.store.tallies("m", "0")).values())
    assert before.arms[Arm.control].requests == 2 * IDLE_TICKS
    assert merge((await plane.store.counts("m")).values(), run=0)[60][Arm.control].requests == 2 * IDLE_TICKS


async def test_what_nothing_describes_any_more_is_not_written() -> None:
    plane = ControlPlane({})
    process = Process(plane)
    process.happens(ended(run=0))
    await process.second()
    assert sum(process.store.calls.values()) == 0


async def test_a_run_that_has_ended_is_written_for_a_little_longer(plane: ControlPlane) -> None:
    process = Process(plane)
    await process.second()
    await plane.act("rollback")
    process.happens(ended())
    await process.second()
    assert (await candidate(plane)).requests == 1
    plane.clock.advance(ENDED_S)
    process.happens(ended())
    await process.second()
    assert (await candidate(plane)).requests == 1


async def test_after_a_run_its_traffic_is_told_and_the_run_stays_as_it_ended(plane: ControlPlane) -> None:
    process = Process(plane)
    await plane.act("rollback")
    for _ in range(2 * IDLE_TICKS):
        process.happens(ended())
        await process.second()
    assert (await candidate(plane)).requests == 0
    assert merge((await plane.store.counts("m")).values(), run=1)[60][Arm.candidate].requests > 0


# --- a store that is away -----------------------------------------------------------------------------------


async def test_counts_that_cannot_be_written_are_written_next_time(plane: ControlPlane) -> None:
    process = Process(plane)
    process.happens(ended(Outcome.timeout))
    process.store.away = True
    for second in range(3):
        await process.second()
        assert process.flusher.away_s == second
    assert process.errors == ["put_counts"] * 3
    process.store.away = False
    await process.second()
    assert process.flusher.away_s == 0
    assert (await candidate(plane)).exposure["error"] == Exposure(1, 1)


class Lossy(MemoryStore):
    """A store that carries an operation out and loses the answer, once."""

    losing = ""

    async def claim(self, *args: object, **more: object) -> list[bool]:
        answers = await super().claim(*args, **more)  # type: ignore[arg-type]
        self._lose("claim")
        return answers

    async def put_tally(self, *args: object, **more: object) -> None:
        await super().put_tally(*args, **more)  # type: ignore[arg-type]
        self._lose("put_tally")

    def _lose(self, operation: str) -> None:
        if self.losing == operation:
            self.losing = ""
            raise StoreUnavailable("the answer was lost, says the test")


@pytest.mark.parametrize("operation", ["claim", "put_tally"])
async def test_an_answer_that_was_lost_loses_nothing_and_doubles_nothing(
    operation: str, plane: ControlPlane
) -> None:
    store = Lossy(plane.server)
    process = Process(plane, store=store)
    process.happens(ended(Outcome.timeout))
    store.losing = operation
    await process.second()
    assert process.errors == [operation]
    await process.second()
    await process.second()
    counted = await candidate(plane)
    assert (counted.requests, counted.exposure["error"]) == (1, Exposure(1, 1))


class Leaving(MemoryStore):
    """The store of a process whose tick is cancelled within its first tally."""

    async def put_tally(self, *args: object, **more: object) -> None:
        if not self.calls["put_tally"]:
            self.calls["put_tally"] += 1
            raise asyncio.CancelledError
        await super().put_tally(*args, **more)  # type: ignore[arg-type]


async def test_what_a_cancelled_tick_did_not_write_is_written_at_the_end(plane: ControlPlane) -> None:
    process = Process(plane, store=Leaving(plane.server))
    process.happens(ended(), ended(entry=2))
    with pytest.raises(asyncio.CancelledError):
        await process.second()
    await process.flusher.close()
    assert (await candidate(plane)).requests == 2
    assert await plane.store.tallies("m", "1.2")


async def test_a_run_that_begins_during_a_write_claims_nothing_of_the_one_before(
    plane: ControlPlane,
) -> None:
    process = Process(plane)
    process.store.hang()
    writing = asyncio.create_task(process.flusher.close())
    await asyncio.sleep(0)
    process.happens(ended(Outcome.timeout, "both", run=2))
    process.store.resume()
    await writing
    assert await plane.store.claim("m", 1, "r2", [("error", "both")]) == [True]
    assert await plane.store.claim("m", 2, "r2", [("error", "both")]) == [False]


async def test_a_store_that_lost_its_data_is_told_everything_again(plane: ControlPlane) -> None:
    process = Process(plane)
    process.happens(ended(), ended(entry=2))
    await process.second()
    process.store.away = True
    await process.second()
    plane.server.lose()
    process.store.away = False
    await process.second()
    assert (await candidate(plane)).requests == 2
    assert set(await plane.store.tallies("m", "1.1")) == {"r1"}


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
