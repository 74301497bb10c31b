import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.core.types import Arm
from gateway.errors import StoreUnavailable
from gateway.store.local.outbox import BATCH, Health, Key, Outbox, Patience, Write
from gateway.store.ports import Enrolment
from gateway.tasks import Tasks
from tests.support.eventually import eventually, others


class Scribe:
    """Takes batches, or refuses them while `broken`, or keeps them waiting while not `going`."""

    def __init__(self) -> None:
        self.batches: list[list[Write]] = []
        self.broken: Exception | None = None
        self.attempts = 0
        self.going = asyncio.Event()
        self.going.set()

    async def remember(self, writes: Sequence[Write]) -> None:
        self.attempts += 1
        await self.going.wait()
        if self.broken is not None:
            raise self.broken
        self.batches.append(list(writes))

    async def probe(self) -> None:
        if self.broken is not None:
            raise self.broken


class Bench:
    """An outbox with everything around it."""

    def __init__(self, capacity: int = 10_000) -> None:
        self.scribe, self.tasks = Scribe(), Tasks()
        self.failed: list[str] = []
        self.dropped: list[Write] = []
        self.health = Health(
            self.scribe.probe,
            tasks=self.tasks,
            on_error=self.failed.append,
            call_s=0.05,
            pauses_s=(0.001, 0.002),
        )
        self.outbox: Outbox[Key, Write] = Outbox(
            self.scribe.remember, health=self.health, capacity=capacity, on_drop=self.dropped.append
        )

    def start(self) -> None:
        self.tasks.spawn("flush", self.outbox.run(), endless=True)

    def put(self, *units: str, arm: Arm = Arm.control) -> None:
        for unit in units:
            self.outbox.put(("m", 1, unit), Enrolment("m", 1, unit, arm))

    @property
    def sent(self) -> list[list[str]]:
        return [
            [write.unit_key for write in batch if isinstance(write, Enrolment)]
            for batch in self.scribe.batches
        ]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.tasks.drain(0)


async def test_everything_queued_goes_out_in_one_call(bench: Bench) -> None:
    bench.put("a", "b", "c")
    bench.start()
    await bench.outbox.wait(5)
    assert bench.sent == [["a", "b", "c"]]
    assert (len(bench.outbox), bench.outbox.written) == (0, 3)


async def test_what_is_queued_during_a_call_goes_out_in_the_next_one(bench: Bench) -> None:
    bench.scribe.going.clear()
    bench.start()
    bench.put("a")
    await eventually(lambda: bench.scribe.attempts)
    bench.put("b", "c")
    bench.scribe.going.set()
    await bench.outbox.wait(5)
    assert bench.sent == [["a"], ["b", "c"]]


async def test_of_several_writes_to_one_key_the_last_is_sent(bench: Bench) -> None:
    bench.put("a", "b")
    bench.put("a", arm=Arm.candidate)
    bench.start()
    await bench.outbox.wait(5)
    assert bench.scribe.batches == [
        [Enrolment("m", 1, "b", Arm.control), Enrolment("m", 1, "a", Arm.candidate)],
    ]


async def test_a_write_that_changes_while_it_is_sent_is_sent_again(bench: Bench) -> None:
    bench.scribe.going.clear()
    bench.start()
    bench.put("a")
    await eventually(lambda: bench.scribe.attempts)
    bench.put("a", arm=Arm.candidate)
    bench.scribe.going.set()
    await bench.outbox.wait(5)
    assert [batch[0] for batch in bench.scribe.batches] == [
        Enrolment("m", 1, "a", Arm.control),
        Enrolment("m", 1, "a", Arm.candidate),
    ]


async def test_a_backlog_goes_out_in_calls_of_bounded_size(bench: Bench) -> None:
    bench.put(*(f"u{n}" for n in range(2 * BATCH + 1)))
    bench.start()
    await bench.outbox.wait(5)
    assert [len(batch) for batch in bench.sent] == [BATCH, BATCH, 1]


async def test_a_waiter_waits_no_longer_than_it_says(bench: Bench) -> None:
    bench.scribe.going.clear()
    bench.start()
    bench.put("a")
    await bench.outbox.wait(0.001)
    assert bench.sent == []


async def test_nobody_waits_behind_one_that_waited_in_vain_until_the_call_ends(bench: Bench) -> None:
    bench.scribe.going.clear()
    bench.start()
    bench.put("a")
    await bench.outbox.wait(0.001)
    bench.put("b")
    await asyncio.wait_for(bench.outbox.wait(3600), 0.02)
    bench.scribe.going.set()
    await eventually(lambda: len(bench.sent) == 2)
    await others()
    bench.put("c")
    await bench.outbox.wait(5)
    assert bench.sent == [["a"], ["b"], ["c"]]


async def test_an_outage_loses_nothing_and_is_reported_once_per_attempt(bench: Bench) -> None:
    bench.scribe.broken = StoreUnavailable("away")
    bench.start()
    bench.put("a")
    await asyncio.wait_for(bench.outbox.wait(3600), 5)
    assert bench.health.away
    assert bench.failed[0] == "remember"
    bench.put("b")
    await eventually(lambda: bench.failed.count("recall") >= 3)
    assert bench.failed.count("remember") == 1
    bench.scribe.broken = None
    await eventually(lambda: bench.sent == [["a", "b"]])
    assert not bench.health.away


async def test_a_call_that_hangs_is_given_up_and_its_writes_are_kept(bench: Bench) -> None:
    bench.scribe.going.clear()
    bench.start()
    bench.put("a")
    await eventually(lambda: bench.failed)
    assert len(bench.outbox) == 1
    bench.scribe.going.set()
    await eventually(lambda: bench.sent == [["a"]])


async def test_an_unknown_error_is_logged_and_the_flusher_lives_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.scribe.broken = TypeError("a bug")
    bench.start()
    bench.put("a")
    await eventually(lambda: bench.failed)
    assert "a bug" in caplog.text
    bench.scribe.broken = None
    await eventually(lambda: bench.sent == [["a"]])


async def test_beyond_its_bound_the_oldest_write_is_dropped_and_told() -> None:
    bench = Bench(capacity=2)
    bench.put("a", "b", "c")
    assert (len(bench.outbox), bench.outbox.dropped) == (2, 1)
    assert bench.dropped == [Enrolment("m", 1, "a", Arm.control)]
    assert await bench.outbox.drain(5) == 0
    assert bench.sent == [["b", "c"]]


async def test_what_is_queued_and_sent_at_once_is_bounded_by_weight() -> None:
    bench = Bench()
    sent: list[list[str]] = []

    async def write(texts: Sequence[str]) -> None:
        sent.append(list(texts))

    dropped: list[str] = []
    outbox: Outbox[int, str] = Outbox(
        write, health=bench.health, capacity=10, on_drop=dropped.append, weigh=len, batch=4
    )
    for key, text in enumerate(["aaaa", "bb", "cc", "ddd"]):
        outbox.put(key, text)
    assert dropped == ["aaaa"]
    outbox.put(1, "b")
    assert await outbox.drain(5) == 0
    assert sent == [["cc"], ["ddd", "b"]]


async def test_a_write_that_weighs_more_than_a_call_takes_goes_out_alone() -> None:
    bench = Bench()
    sent: list[list[str]] = []

    async def write(texts: Sequence[str]) -> None:
        sent.append(list(texts))

    outbox: Outbox[int, str] = Outbox(
        write, health=bench.health, capacity=2, on_drop=lambda text: None, weigh=len, batch=4
    )
    outbox.put(1, "eeeeeeee")
    assert await outbox.drain(5) == 0
    assert sent == [["eeeeeeee"]]


async def test_draining_sends_what_is_left_and_counts_what_cannot_be_sent(bench: Bench) -> None:
    bench.put("a")
    bench.scribe.broken = StoreUnavailable("away")
    assert await bench.outbox.drain(5) == 1
    bench.scribe.broken = None
    assert await bench.outbox.drain(5) == 0
    assert bench.sent == [["a"]]


async def test_draining_ends_at_its_deadline(bench: Bench) -> None:
    bench.scribe.going.clear()
    bench.put("a")
    assert await asyncio.wait_for(bench.outbox.drain(0.001), 5) == 1


async def test_a_cleared_queue_sends_nothing_and_releases_who_waits(bench: Bench) -> None:
    bench.put("a")
    waiter = asyncio.ensure_future(bench.outbox.wait(3600))
    await others()
    bench.outbox.clear()
    await asyncio.wait_for(waiter, 5)
    bench.start()
    bench.put("b")
    await bench.outbox.wait(5)
    assert bench.sent == [["b"]]


async def test_patience_returns_at_once_with_what_is_done() -> None:
    patience, done = Patience(), asyncio.get_running_loop().create_future()
    done.set_result(None)
    assert await patience.wait(done, 3600)
    assert not patience.exhausted


async def test_patience_comes_back_when_the_late_work_ends() -> None:
    patience, work = Patience(), asyncio.get_running_loop().create_future()
    assert not await patience.wait(work, 0.001)
    assert patience.exhausted
    work.set_result(None)
    await others()
    assert not patience.exhausted


async def test_the_probe_pauses_longer_each_time_up_to_a_bound(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    asked_at: list[float] = []

    async def probe() -> None:
        asked_at.append(loop.time())
        if len(asked_at) < 5:
            raise StoreUnavailable("away")

    async def fail() -> None:
        raise StoreUnavailable("away")

    health = Health(
        probe,
        tasks=bench.tasks,
        on_error=bench.failed.append,
        call_s=1,
        pauses_s=(0.01, 0.04),
    )
    began_at = loop.time()
    with pytest.raises(StoreUnavailable):
        await health.call("recall", fail())
    await asyncio.wait_for(health.returned(), 5)
    assert len(asked_at) == 5
    assert asked_at[-1] - began_at >= 0.01 + 0.02 + 0.04 + 0.04 + 0.04
    assert health.errors == 5
