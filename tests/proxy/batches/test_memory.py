"""What is kept of a batch for its results: for how long, for whom, and what a part that is missing means."""

import pytest

from gateway.compat.answer.plan import PLAIN, AnswerPlan
from gateway.compat.batch import PAGE_MEMBERS, Group, Register
from gateway.proxy.batches.memory import BATCHES, find, keep, lasts_s
from tests.support.eventually import eventually
from tests.support.notebooks import notebooks_of_a_fleet

DAY = 86_400
REGISTER = Register(
    [Group("m", "candidate", AnswerPlan(prefill="{")), Group("m", "control", PLAIN)],
    {f"my-item-{n}": n % 2 for n in range(PAGE_MEMBERS + 5)},
)


async def test_another_process_finds_it_by_the_batch_s_id() -> None:
    async with notebooks_of_a_fleet() as fleet:
        (mine, _), (other, _) = fleet.join(), fleet.join()
        assert await keep(REGISTER, "msgbatch_1", 100, mine)
        assert await find("msgbatch_1", other) == REGISTER
        assert await find("msgbatch_2", other) is None


async def test_the_store_learns_neither_names_nor_plans_nor_the_batch() -> None:
    async with notebooks_of_a_fleet() as fleet:
        mine, store = fleet.join()
        await keep(REGISTER, "msgbatch_1", 100, mine)
        kept = repr(store.server.data)
        assert BATCHES in kept
        assert not [word for word in ("msgbatch", "my-item", "prefill", "candidate") if word in kept]


async def test_it_is_kept_for_as_long_as_was_said() -> None:
    async with notebooks_of_a_fleet() as fleet:
        (mine, _), (other, _) = fleet.join(), fleet.join()
        await keep(REGISTER, "msgbatch_1", 100, mine)
        fleet.clock.advance(99)
        assert await find("msgbatch_1", other) == REGISTER
        later, _ = fleet.join()
        fleet.clock.advance(2)
        assert await find("msgbatch_1", later) is None


async def test_without_the_store_only_this_process_knows_it_and_that_is_said() -> None:
    async with notebooks_of_a_fleet() as fleet:
        (mine, store), (other, _) = fleet.join(), fleet.join()
        store.away = True
        assert not await keep(REGISTER, "msgbatch_1", 100, mine)
        await eventually(lambda: mine.away)
        assert await find("msgbatch_1", mine) == REGISTER
        assert await find("msgbatch_1", other) is None


async def test_of_a_batch_without_an_id_nothing_is_kept() -> None:
    async with notebooks_of_a_fleet() as fleet:
        mine, store = fleet.join()
        assert not await keep(REGISTER, "", 100, mine)
        assert store.calls["write_notes"] == 0


async def test_a_register_of_which_a_page_is_missing_is_none() -> None:
    async with notebooks_of_a_fleet() as fleet:
        (mine, store), (other, _) = fleet.join(), fleet.join()
        await keep(REGISTER, "msgbatch_1", 100, mine)
        notes = store.server.data.notes
        largest = max(notes, key=lambda key: len(notes[key][0]))
        del notes[largest]
        assert await find("msgbatch_1", other) is None


@pytest.mark.parametrize(
    ("created", "expires", "expected"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", 30 * DAY),
        ("2026-01-01T00:00:00.5+00:00", "2026-01-04T00:00:00.5Z", 32 * DAY),
        ("", "", 30 * DAY),
        ("yesterday", "2026-01-02T00:00:00Z", 30 * DAY),
        ("2026-01-01T00:00:00", "2026-01-02T00:00:00Z", 30 * DAY),
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", 30 * DAY),
        ("2026-01-01T00:00:00Z", "9026-01-01T00:00:00Z", 60 * DAY),
    ],
)
def test_results_can_be_fetched_for_29_days_after_the_batch_expired(
    created: str, expires: str, expected: int
) -> None:
    assert lasts_s(created, expires) == expected
