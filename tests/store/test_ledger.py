import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from gateway.core.types import Arm
from gateway.store.ledger import DOUBT_S
from gateway.store.ports import PinWrite, Recall, Recollection
from tests.support.eventually import eventually
from tests.support.ledgers import (
    CANDIDATE,
    CONTROL,
    TTL_S,
    WAIT_S,
    Ledgers,
    ask,
    enrolled,
    ledgers_of_a_fleet,
    pinned,
)


@pytest.fixture
async def fleet() -> AsyncIterator[Ledgers]:
    async with ledgers_of_a_fleet() as made:
        yield made


# --- keys ---------------------------------------------------------------------------------------------------


async def test_a_key_is_the_same_for_all_replicas_and_tells_nothing(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    stranger, _ = fleet.join(secret=b"another fleet")
    key = here.key("alice@example.com")
    assert key == there.key("alice@example.com") != stranger.key("alice@example.com")
    assert key != here.key("bob@example.com")
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", key)


async def test_text_that_is_no_valid_unicode_has_a_key_too(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    assert ledger.key("\ud800") != ledger.key("\ud801")


# --- what memory is certain of ------------------------------------------------------------------------------


async def test_nothing_is_known_at_first(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    assert ledger.known(ask("c")) is None
    assert ledger.known(ask()) is None
    assert ledger.record("m", 1, "u") is None


async def test_what_was_noted_is_known_at_once_even_if_the_store_is_away(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    store.away = True
    await ledger.note([pinned("c"), enrolled()], WAIT_S)
    assert ledger.known(ask("c")) == Recollection(CONTROL, Arm.control)
    assert ledger.record("m", 1, "u") is Arm.control


async def test_the_pin_of_the_exact_key_is_certain_but_that_of_a_later_key_is_not(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("session")], WAIT_S)
    assert ledger.known(ask("session", "other")) == Recollection(CONTROL)
    assert ledger.known(ask("exact", "session")) is None


async def test_a_candidate_pin_of_an_earlier_run_is_certain_only_with_the_units_record(
    fleet: Ledgers,
) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("c", CANDIDATE), pinned("d", CONTROL)], WAIT_S)
    assert ledger.known(ask("c", run=2)) is None
    assert ledger.known(ask("d", run=2)) == Recollection(CONTROL)
    assert ledger.known(ask("c", unit=None, run=2)) == Recollection(CANDIDATE)
    await ledger.note([enrolled(arm=Arm.candidate, run=2)], WAIT_S)
    assert ledger.known(ask("c", run=2)) == Recollection(CANDIDATE, Arm.candidate)


async def test_without_a_conversation_the_record_is_enough(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    await ledger.note([enrolled(arm=Arm.candidate)], WAIT_S)
    assert ledger.known(ask()) == Recollection(None, Arm.candidate)
    assert ledger.known(ask(unit=None)) == Recollection()


async def test_a_record_counts_in_its_own_run_only(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    await ledger.note([enrolled()], WAIT_S)
    assert (ledger.record("m", 2, "u"), ledger.record("other", 1, "u")) == (None, None)


async def test_a_pin_expires_after_its_last_use(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S - 1)
    await ledger.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S - 1)
    assert ledger.known(ask("c")) == Recollection(CONTROL)
    fleet.clock.advance(1)
    assert ledger.known(ask("c")) is None


async def test_an_eviction_makes_memory_forget_that_migration_only(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("c"), enrolled(), PinWrite("other", "c", CONTROL, TTL_S)], WAIT_S)
    ledger.forget("m")
    assert (ledger.known(ask("c")), ledger.record("m", 1, "u")) == (None, None)
    assert ledger.known(Recall("other", 1, ("c",), None)) == Recollection(CONTROL)


async def test_the_least_recently_used_entry_leaves_when_memory_is_full(fleet: Ledgers) -> None:
    ledger, _ = fleet.join(capacity=2)
    await ledger.note([pinned("a"), pinned("b")], WAIT_S)
    ledger.known(ask("a"))
    await ledger.note([pinned("c")], WAIT_S)
    assert [ledger.known(ask(key, unit=None)) is not None for key in "abc"] == [True, False, True]


# --- asking the store ---------------------------------------------------------------------------------------


async def test_another_replicas_pin_and_record_are_recalled_once_and_then_known(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c", CANDIDATE), enrolled(arm=Arm.candidate)], WAIT_S)
    assert await there.recall(ask("c"), WAIT_S) == Recollection(CANDIDATE, Arm.candidate)
    assert await there.recall(ask("c"), WAIT_S) == Recollection(CANDIDATE, Arm.candidate)
    assert store.calls["recall"] == 1
    assert there.asked == 1


async def test_what_the_store_does_not_have_is_answered_as_nothing_and_asked_again(fleet: Ledgers) -> None:
    here, store = fleet.join()
    there, _ = fleet.join()
    assert await here.recall(ask("c"), WAIT_S) == Recollection()
    await there.note([pinned("c")], WAIT_S)
    assert await here.recall(ask("c"), WAIT_S) == Recollection(CONTROL)
    assert store.calls["recall"] == 2


async def test_a_pin_found_under_the_session_is_from_then_on_that_conversations(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    await here.note([pinned("session", CANDIDATE)], WAIT_S)
    assert await there.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)
    assert there.known(ask("exact", "session")) == Recollection(CANDIDATE)


async def test_the_exact_pin_of_another_replica_outranks_our_pin_of_the_session(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    await here.note([pinned("exact", CANDIDATE)], WAIT_S)
    await there.note([pinned("session", CONTROL)], WAIT_S)
    assert await there.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)


async def test_our_pin_of_the_session_answers_where_the_store_has_no_exact_one(fleet: Ledgers) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("session", CANDIDATE)], WAIT_S)
    assert await ledger.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)


async def test_a_record_that_another_replica_moved_is_followed_but_our_own_unsent_one_is_not_undone(
    fleet: Ledgers,
) -> None:
    here, store = fleet.join()
    there, _ = fleet.join()
    await here.note([enrolled()], WAIT_S)
    await there.note([enrolled(arm=Arm.candidate)], WAIT_S)
    assert await here.recall(ask("c"), WAIT_S) == Recollection(None, Arm.candidate)
    store.hang()
    asking = asyncio.ensure_future(here.recall(ask("d"), WAIT_S))
    await eventually(lambda: store.calls["recall"] == 2)
    await here.note([enrolled()], 0)
    store.resume()
    assert await asking == Recollection(None, Arm.control)


async def test_the_same_question_is_asked_once_at_a_time(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c")], WAIT_S)
    answers = await asyncio.gather(*(there.recall(ask("c"), WAIT_S) for _ in range(10)))
    assert answers == [Recollection(CONTROL)] * 10
    assert store.calls["recall"] == 1


async def test_one_who_leaves_does_not_take_the_answer_from_the_others(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c")], WAIT_S)
    store.hang()
    leaving, staying = (asyncio.ensure_future(there.recall(ask("c"), WAIT_S)) for _ in range(2))
    await eventually(lambda: store.calls["recall"])
    leaving.cancel()
    store.resume()
    assert await staying == Recollection(CONTROL)


async def test_a_hanging_store_costs_the_first_request_its_patience_and_the_next_ones_nothing(
    fleet: Ledgers,
) -> None:
    ledger, store = fleet.join()
    store.hang()
    assert await ledger.recall(ask("c"), 0.01) is None
    assert await asyncio.wait_for(ledger.recall(ask("d"), 3600), 1) is None
    assert (store.calls["recall"], ledger.late) == (1, 1)


async def test_a_late_answer_restores_confidence_and_is_not_wasted(fleet: Ledgers) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c"), pinned("d", CANDIDATE)], WAIT_S)
    store.hang()
    assert await there.recall(ask("c"), 0.001) is None
    store.resume()
    await eventually(lambda: there.known(ask("c")))
    assert await there.recall(ask("d"), WAIT_S) == Recollection(CANDIDATE)
    assert not there.away


async def test_a_store_that_is_away_is_not_waited_for_until_a_probe_succeeds(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    store.away = True
    assert await ledger.recall(ask("c"), WAIT_S) is None
    assert ledger.away
    asked = ledger.asked
    assert await ledger.recall(ask("c"), WAIT_S) is None
    assert ledger.asked == asked
    store.away = False
    await eventually(lambda: not ledger.away)
    fleet.clock.advance(DOUBT_S)
    assert await ledger.recall(ask("c"), WAIT_S) == Recollection()
    assert fleet.failed[0] == "recall"
    assert ledger.errors == len(fleet.failed)


async def test_without_the_store_the_best_that_memory_has_is_used(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("session", CANDIDATE), enrolled("v", Arm.candidate)], WAIT_S)
    store.away = True
    assert await ledger.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)
    assert await ledger.recall(ask("elsewhere", unit="v"), WAIT_S) == Recollection(None, Arm.candidate)
    assert await ledger.recall(ask("elsewhere"), WAIT_S) is None


async def test_no_patience_means_no_question(fleet: Ledgers) -> None:
    ledger, store = fleet.join()
    assert await ledger.recall(ask("c"), 0) is None
    assert store.calls["recall"] == 0
