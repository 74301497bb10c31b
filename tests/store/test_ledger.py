import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from gateway.core.types import Arm, Pin
from gateway.store.ledger import DOUBT_S, Ledger
from gateway.store.ports import Enrolment, PinWrite, Recall, Recollection
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.memory_store import MemoryServer, MemoryStore

TTL_S = 3600
WAIT_S = 5.0
CONTROL, CANDIDATE = Pin(Arm.control, 1, "r1"), Pin(Arm.candidate, 1, "r1")


def ask(*keys: str, unit: str | None = "u", run: int = 1) -> Recall:
    return Recall("m", run, keys, unit)


def pinned(key: str, pin: Pin = CONTROL) -> PinWrite:
    return PinWrite("m", key, pin, TTL_S)


def enrolled(unit: str = "u", arm: Arm = Arm.control, run: int = 1) -> Enrolment:
    return Enrolment("m", run, unit, arm)


class Fleet:
    """One server, and a ledger for each process."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.server = MemoryServer(self.clock)
        self.failed: list[str] = []
        self.ledgers: list[Ledger] = []

    def join(self, *, capacity: int = 1000, secret: bytes = b"fleet") -> tuple[Ledger, MemoryStore]:
        store = MemoryStore(self.server)
        ledger = Ledger(
            store,
            secret=secret,
            clock=self.clock,
            on_error=self.failed.append,
            pin_ttl_s=TTL_S,
            capacity=capacity,
            call_s=0.2,
            probe_pauses_s=(0.001, 0.002),
        )
        ledger.start()
        self.ledgers.append(ledger)
        return ledger, store


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    made = Fleet()
    yield made
    for ledger in made.ledgers:
        await ledger.aclose(0.1)


# --- keys ---------------------------------------------------------------------------------------------------


async def test_a_key_is_the_same_for_all_replicas_and_tells_nothing(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    stranger, _ = fleet.join(secret=b"another fleet")
    key = here.key("alice@example.com")
    assert key == there.key("alice@example.com") != stranger.key("alice@example.com")
    assert key != here.key("bob@example.com")
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", key)


async def test_text_that_is_no_valid_unicode_has_a_key_too(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    assert ledger.key("\ud800") != ledger.key("\ud801")


# --- what memory is certain of ------------------------------------------------------------------------------


async def test_nothing_is_known_at_first(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    assert ledger.known(ask("c")) is None
    assert ledger.known(ask()) is None
    assert ledger.record("m", 1, "u") is None


async def test_what_was_noted_is_known_at_once_even_if_the_store_is_away(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    store.away = True
    await ledger.note([pinned("c"), enrolled()], WAIT_S)
    assert ledger.known(ask("c")) == Recollection(CONTROL, Arm.control)
    assert ledger.record("m", 1, "u") is Arm.control


async def test_the_pin_of_the_exact_key_is_certain_but_that_of_a_later_key_is_not(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("session")], WAIT_S)
    assert ledger.known(ask("session", "other")) == Recollection(CONTROL)
    assert ledger.known(ask("exact", "session")) is None


async def test_a_candidate_pin_of_an_earlier_run_is_certain_only_with_the_units_record(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("c", CANDIDATE), pinned("d", CONTROL)], WAIT_S)
    assert ledger.known(ask("c", run=2)) is None
    assert ledger.known(ask("d", run=2)) == Recollection(CONTROL)
    assert ledger.known(ask("c", unit=None, run=2)) == Recollection(CANDIDATE)
    await ledger.note([enrolled(arm=Arm.candidate, run=2)], WAIT_S)
    assert ledger.known(ask("c", run=2)) == Recollection(CANDIDATE, Arm.candidate)


async def test_without_a_conversation_the_record_is_enough(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    await ledger.note([enrolled(arm=Arm.candidate)], WAIT_S)
    assert ledger.known(ask()) == Recollection(None, Arm.candidate)
    assert ledger.known(ask(unit=None)) == Recollection()


async def test_a_record_counts_in_its_own_run_only(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    await ledger.note([enrolled()], WAIT_S)
    assert (ledger.record("m", 2, "u"), ledger.record("other", 1, "u")) == (None, None)


async def test_a_pin_expires_after_its_last_use(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S - 1)
    await ledger.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S - 1)
    assert ledger.known(ask("c")) == Recollection(CONTROL)
    fleet.clock.advance(1)
    assert ledger.known(ask("c")) is None


async def test_an_eviction_makes_memory_forget_that_migration_only(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("c"), enrolled(), PinWrite("other", "c", CONTROL, TTL_S)], WAIT_S)
    ledger.forget("m")
    assert (ledger.known(ask("c")), ledger.record("m", 1, "u")) == (None, None)
    assert ledger.known(Recall("other", 1, ("c",), None)) == Recollection(CONTROL)


async def test_the_least_recently_used_entry_leaves_when_memory_is_full(fleet: Fleet) -> None:
    ledger, _ = fleet.join(capacity=2)
    await ledger.note([pinned("a"), pinned("b")], WAIT_S)
    ledger.known(ask("a"))
    await ledger.note([pinned("c")], WAIT_S)
    assert [ledger.known(ask(key, unit=None)) is not None for key in "abc"] == [True, False, True]


# --- asking the store ---------------------------------------------------------------------------------------


async def test_another_replicas_pin_and_record_are_recalled_once_and_then_known(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c", CANDIDATE), enrolled(arm=Arm.candidate)], WAIT_S)
    assert await there.recall(ask("c"), WAIT_S) == Recollection(CANDIDATE, Arm.candidate)
    assert await there.recall(ask("c"), WAIT_S) == Recollection(CANDIDATE, Arm.candidate)
    assert store.calls["recall"] == 1
    assert (there.asked, there.hits) == (1, 1)


async def test_what_the_store_does_not_have_is_answered_as_nothing_and_asked_again(fleet: Fleet) -> None:
    here, store = fleet.join()
    there, _ = fleet.join()
    assert await here.recall(ask("c"), WAIT_S) == Recollection()
    await there.note([pinned("c")], WAIT_S)
    assert await here.recall(ask("c"), WAIT_S) == Recollection(CONTROL)
    assert store.calls["recall"] == 2


async def test_a_pin_found_under_the_session_is_from_then_on_that_conversations(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    await here.note([pinned("session", CANDIDATE)], WAIT_S)
    assert await there.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)
    assert there.known(ask("exact", "session")) == Recollection(CANDIDATE)


async def test_the_exact_pin_of_another_replica_outranks_our_pin_of_the_session(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    await here.note([pinned("exact", CANDIDATE)], WAIT_S)
    await there.note([pinned("session", CONTROL)], WAIT_S)
    assert await there.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)


async def test_our_pin_of_the_session_answers_where_the_store_has_no_exact_one(fleet: Fleet) -> None:
    ledger, _ = fleet.join()
    await ledger.note([pinned("session", CANDIDATE)], WAIT_S)
    assert await ledger.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)


async def test_a_record_that_another_replica_moved_is_followed_but_our_own_unsent_one_is_not_undone(
    fleet: Fleet,
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


async def test_the_same_question_is_asked_once_at_a_time(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c")], WAIT_S)
    answers = await asyncio.gather(*(there.recall(ask("c"), WAIT_S) for _ in range(10)))
    assert answers == [Recollection(CONTROL)] * 10
    assert store.calls["recall"] == 1


async def test_one_who_leaves_does_not_take_the_answer_from_the_others(fleet: Fleet) -> None:
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
    fleet: Fleet,
) -> None:
    ledger, store = fleet.join()
    store.hang()
    assert await ledger.recall(ask("c"), 0.01) is None
    assert await asyncio.wait_for(ledger.recall(ask("d"), 3600), 1) is None
    assert (store.calls["recall"], ledger.late) == (1, 1)


async def test_a_late_answer_restores_confidence_and_is_not_wasted(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c"), pinned("d", CANDIDATE)], WAIT_S)
    store.hang()
    assert await there.recall(ask("c"), 0.001) is None
    store.resume()
    await eventually(lambda: there.known(ask("c")))
    assert await there.recall(ask("d"), WAIT_S) == Recollection(CANDIDATE)
    assert not there.away


async def test_a_store_that_is_away_is_not_waited_for_until_a_probe_succeeds(fleet: Fleet) -> None:
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


async def test_without_the_store_the_best_that_memory_has_is_used(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("session", CANDIDATE), enrolled("v", Arm.candidate)], WAIT_S)
    store.away = True
    assert await ledger.recall(ask("exact", "session"), WAIT_S) == Recollection(CANDIDATE)
    assert await ledger.recall(ask("elsewhere", unit="v"), WAIT_S) == Recollection(None, Arm.candidate)
    assert await ledger.recall(ask("elsewhere"), WAIT_S) is None


async def test_no_patience_means_no_question(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    assert await ledger.recall(ask("c"), 0) is None
    assert store.calls["recall"] == 0


# --- telling the store --------------------------------------------------------------------------------------


async def test_a_note_is_in_the_store_when_its_wait_ends(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("c"), enrolled()], WAIT_S)
    assert await store.recall(ask("c")) == Recollection(CONTROL, Arm.control)
    assert (ledger.written, ledger.queued) == (2, 0)


async def test_returning_units_cost_no_store_command(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    for _ in range(100):
        await ledger.note([pinned("c"), enrolled()], WAIT_S)
    assert store.calls["remember"] == 1


async def test_a_unit_that_was_recalled_is_not_enrolled_again(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([enrolled()], WAIT_S)
    await there.recall(ask("c"), WAIT_S)
    await there.note([enrolled()], WAIT_S)
    assert store.calls["remember"] == 0


async def test_a_unit_that_moves_is_written_again(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    await ledger.note([enrolled()], WAIT_S)
    await ledger.note([enrolled(arm=Arm.candidate)], WAIT_S)
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: 1}


async def test_a_pin_in_use_is_refreshed_once_a_quarter_of_its_life_and_never_expires_in_the_store(
    fleet: Fleet,
) -> None:
    ledger, store = fleet.join()
    for _ in range(20):
        await ledger.note([pinned("c")], WAIT_S)
        fleet.clock.advance(TTL_S / 4 - 1)
    assert store.calls["remember"] == 10
    fleet.clock.advance(TTL_S * 3 / 4)
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_a_pin_that_was_recalled_is_refreshed_with_its_first_use_here(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S)
    await there.recall(ask("c"), WAIT_S)
    await there.note([pinned("c")], WAIT_S)
    fleet.clock.advance(TTL_S)
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_notes_of_many_requests_share_a_call(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    await asyncio.gather(*(ledger.note([enrolled(f"u{n}")], WAIT_S) for n in range(100)))
    assert store.calls["remember"] == 1


async def test_a_note_does_not_wait_longer_than_it_may(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    store.hang()
    await asyncio.wait_for(ledger.note([pinned("c")], 0.001), 1)
    await asyncio.wait_for(ledger.note([pinned("d")], 3600), 1)
    assert await asyncio.wait_for(ledger.recall(ask("c", unit=None), 3600), 1) == Recollection(CONTROL)


async def test_a_slow_write_does_not_keep_a_question_from_being_asked(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await here.note([pinned("c")], WAIT_S)
    store.hang()
    await there.note([pinned("d")], 0.001)
    asking = asyncio.ensure_future(there.recall(ask("c"), WAIT_S))
    await eventually(lambda: store.calls["recall"])
    store.resume()
    assert await asking == Recollection(CONTROL)


async def test_an_outage_loses_no_write(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    store.away = True
    for n in range(50):
        await ledger.note([pinned(f"c{n}"), enrolled(f"u{n}")], WAIT_S)
    assert ledger.queued == 100
    store.away = False
    await eventually(lambda: ledger.queued == 0)
    assert await store.enrolled("m", 1) == {Arm.control: 50, Arm.candidate: 0}
    assert (await store.recall(ask("c49"))).pin == CONTROL


async def test_what_was_dropped_in_a_long_outage_is_written_with_its_next_use(fleet: Fleet) -> None:
    ledger, store = fleet.join(capacity=2)
    store.away = True
    await ledger.note([enrolled("a"), pinned("c"), enrolled("b"), pinned("d")], 0)
    assert (ledger.queued, ledger.dropped) == (2, 2)
    store.away = False
    await eventually(lambda: ledger.queued == 0)
    await ledger.note([enrolled("a"), pinned("c")], WAIT_S)
    assert await store.enrolled("m", 1) == {Arm.control: 2, Arm.candidate: 0}
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_closing_sends_what_is_left(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("c")], 0)
    await ledger.aclose(WAIT_S)
    assert (await store.recall(ask("c"))).pin == CONTROL


async def test_closing_without_the_store_ends_and_says_what_was_lost(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    ledger, store = fleet.join()
    store.hang()
    await ledger.note([pinned("c")], 0)
    await asyncio.wait_for(ledger.aclose(0.01), 5)
    assert "were not stored before the end" in caplog.text


# --- a store that lost its data -----------------------------------------------------------------------------


async def test_what_the_replicas_remember_is_put_back(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    for n in range(600):
        await here.note([pinned(f"c{n}", CANDIDATE)], 0)
    await there.note([enrolled(arm=Arm.candidate), pinned("gone")], WAIT_S)
    await eventually(lambda: here.queued == 0)
    fleet.clock.advance(TTL_S - 10)
    await here.note([pinned(f"c{n}", CANDIDATE) for n in range(599)], WAIT_S)
    fleet.clock.advance(20)
    fleet.server.lose()
    for ledger in (here, there):
        ledger.renew(b"fleet")
    await eventually(lambda: len(fleet.server.data.pins) == 599 and fleet.server.data.records)
    assert fleet.server.data.records == {("m", 1, "u"): Arm.candidate}
    assert set(fleet.server.data.pins) == {("m", f"c{n}") for n in range(599)}


async def test_putting_back_goes_on_after_another_outage(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    await ledger.note([pinned("c"), enrolled()], WAIT_S)
    fleet.server.lose()
    store.away = True
    ledger.renew(b"fleet")
    await eventually(lambda: ledger.away)
    store.away = False
    await eventually(lambda: fleet.server.data.pins and fleet.server.data.records)
    assert await store.recall(ask("c")) == Recollection(CONTROL, Arm.control)


async def test_nothing_found_is_not_believed_while_others_are_still_putting_back(fleet: Fleet) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    await here.note([pinned("c", CANDIDATE)], WAIT_S)
    fleet.server.lose()
    there.renew(b"fleet")
    assert await there.recall(ask("c"), WAIT_S) is None
    here.renew(b"fleet")
    await eventually(lambda: fleet.server.data.pins)
    assert await there.recall(ask("c"), WAIT_S) == Recollection(CANDIDATE)
    fleet.clock.advance(DOUBT_S)
    assert await there.recall(ask("new"), WAIT_S) == Recollection()


async def test_nothing_found_is_not_believed_right_after_an_outage(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    store.away = True
    await ledger.recall(ask("c"), WAIT_S)
    store.away = False
    await eventually(lambda: not ledger.away)
    assert await ledger.recall(ask("c"), WAIT_S) is None
    fleet.clock.advance(DOUBT_S)
    assert await ledger.recall(ask("c"), WAIT_S) == Recollection()


async def test_another_secret_makes_all_that_is_remembered_unfindable(fleet: Fleet) -> None:
    ledger, store = fleet.join()
    old = ledger.key("alice")
    store.away = True
    await ledger.note([pinned(old), enrolled(old)], 0)
    ledger.renew(b"another")
    store.away = False
    assert ledger.key("alice") != old
    assert (ledger.queued, ledger.known(ask(old, unit=None))) == (0, None)
    await ledger.note([enrolled()], WAIT_S)
    assert set(fleet.server.data.records) <= {("m", 1, "u")}
