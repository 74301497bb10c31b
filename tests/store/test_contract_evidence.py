"""What every store promises about tallies, first failures and documents."""

import asyncio

import pytest

from gateway.core.types import Event, MigrationState
from gateway.errors import StaleWrite
from gateway.store.ports import EVIDENCE, TALLY_KEPT_S, ReplicaReport
from tests.support.stores import Bench, RealBench

DAY_S = 86_400
BIG = 600_000
"""More than evidence of many gates, and an incident with its timeline."""

ODD = ("a:b", "a*b", "a%b", "a_b", "a{b}", "a b", "ä", "a'b", 'a"b', "a/b", "a\nb", "")
"""Names that mean something to one server or another, or to a pattern."""


# --- tallies ------------------------------------------------------------------------------------------------


async def test_tallies_come_back_by_process(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.put_tally("m", "1", "a", {"arms": {"control": [1, 2.5]}})
    await other.put_tally("m", "1", "b", {"arms": {}})
    assert await other.tallies("m", "1") == {"a": {"arms": {"control": [1, 2.5]}}, "b": {"arms": {}}}


async def test_a_tally_is_replaced_and_not_added(bench: Bench) -> None:
    store = await bench.open()
    await store.put_tally("m", "1", "a", {"ok": 3, "gone": 1})
    for _ in range(2):
        await store.put_tally("m", "1", "a", {"ok": 4})
    assert await store.tallies("m", "1") == {"a": {"ok": 4}}


async def test_scopes_runs_and_migrations_are_counted_apart(bench: Bench) -> None:
    store = await bench.open()
    places = [("m", "1"), ("m", "1.1"), ("m", "1.11"), ("m", "11"), ("m", "11.1"), ("n", "1")]
    for n, place in enumerate(places):
        await store.put_tally(*place, "a", {"n": n})
    assert [await store.tallies(*place) for place in places] == [{"a": {"n": n}} for n in range(6)]
    assert await store.tallies("m", "2") == {}


async def test_what_a_process_counted_outlives_it_as_long_as_anybody_counts_there(bench: Bench) -> None:
    store, heir = await bench.open(), await bench.open()
    await store.report(ReplicaReport("a", 1.0))
    await store.put_tally("m", "1", "a", {"ok": 1})
    await store.deregister("a")
    await store.close()
    for _ in range(4):
        bench.pass_time(TALLY_KEPT_S - DAY_S)
        await heir.put_tally("m", "1", "b", {"ok": 2})
    assert await heir.tallies("m", "1") == {"a": {"ok": 1}, "b": {"ok": 2}}


async def test_a_scope_in_which_nobody_counts_any_more_ends_as_a_whole(bench: Bench) -> None:
    store = await bench.open()
    await store.put_tally("m", "1", "a", {"ok": 1})
    bench.pass_time(TALLY_KEPT_S - 60)
    assert await store.tallies("m", "1") == {"a": {"ok": 1}}
    bench.pass_time(61)
    assert await store.tallies("m", "1") == {}
    await store.put_tally("m", "1", "b", {"ok": 2})
    assert await store.tallies("m", "1") == {"b": {"ok": 2}}


async def test_a_big_tally_comes_back_whole(bench: Bench) -> None:
    store = await bench.open()
    tally = {"durations": {str(n): n for n in range(30_000)}}
    await store.put_tally("m", "1", "a", tally)
    assert await store.tallies("m", "1") == {"a": tally}


# --- first failures -----------------------------------------------------------------------------------------


async def test_the_first_claim_of_a_failure_holds(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    assert await store.claim("m", 1, "a", [("error", "ann"), ("error", "bob")]) == [True, True]
    assert await other.claim("m", 1, "b", [("error", "bob"), ("error", "cy")]) == [False, True]
    assert await store.claim("m", 1, "a", [("error", "cy"), ("error", "ann")]) == [False, True]


async def test_claiming_again_what_one_holds_is_granted_again(bench: Bench) -> None:
    store = await bench.open()
    for _ in range(3):
        assert await store.claim("m", 1, "a", [("error", "ann")]) == [True]
    assert await store.claim("m", 1, "a", [("error", "ann"), ("error", "ann")]) == [True, True]


async def test_a_claim_outlives_its_claimant(bench: Bench) -> None:
    store, other = await bench.open(), await bench.open()
    await store.claim("m", 1, "a", [("error", "ann")])
    await store.close()
    bench.pass_time(30 * DAY_S)
    assert await other.claim("m", 1, "b", [("error", "ann")]) == [False]


async def test_failures_runs_and_migrations_are_claimed_apart(bench: Bench) -> None:
    store = await bench.open()
    assert await store.claim("m", 1, "a", [("error", "ann")]) == [True]
    assert await store.claim("m", 1, "b", [("refused", "ann"), ("check:error", "ann")]) == [True, True]
    assert await store.claim("m", 2, "b", [("error", "ann")]) == [True]
    assert await store.claim("n", 1, "b", [("error", "ann")]) == [True]


async def test_a_failure_and_a_unit_are_not_mixed_up_whatever_they_are_called(bench: Bench) -> None:
    store = await bench.open()
    pairs = [(failure, unit) for failure in ODD for unit in ODD]
    assert await store.claim("m", 1, "a", pairs[::2]) == [True] * len(pairs[::2])
    assert await store.claim("m", 1, "b", pairs) == [False, True] * (len(pairs) // 2)


async def test_nothing_claimed_is_nothing_granted(bench: Bench) -> None:
    assert await (await bench.open()).claim("m", 1, "a", []) == []


async def test_of_many_who_claim_a_failure_one_gets_it(bench: Bench) -> None:
    stores = [await bench.open() for _ in range(4)]
    claims = [("error", f"u{n}") for n in range(50)]
    granted = await asyncio.gather(*(one.claim("m", 1, f"r{n}", claims) for n, one in enumerate(stores)))
    assert [sum(column) for column in zip(*granted, strict=True)] == [1] * 50


# --- documents ----------------------------------------------------------------------------------------------


async def test_a_document_is_there_for_every_store_once_it_was_put(bench: Bench) -> None:
    writer, reader = await bench.open(), await bench.open()
    assert await reader.document("m", "evidence") is None
    await writer.put_document("m", "evidence", b"\x00\xffdata", epoch=1)
    assert await reader.document("m", "evidence") == b"\x00\xffdata"
    assert await reader.document("n", "evidence") is None


async def test_a_document_is_replaced_by_who_leads_and_who_leads_next(bench: Bench) -> None:
    store = await bench.open()
    for epoch, body in ((3, b"first"), (3, b"second"), (4, b"third")):
        await store.put_document("m", "evidence", body, epoch=epoch)
        assert await store.document("m", "evidence") == body


async def test_who_does_not_lead_any_more_is_refused_and_told_so(bench: Bench) -> None:
    store, late = await bench.open(), await bench.open()
    await store.put_document("m", "evidence", b"new", epoch=4)
    with pytest.raises(StaleWrite, match=r"'evidence' of migration 'm' is at epoch 4: a writer of epoch 3"):
        await late.put_document("m", "evidence", b"old", epoch=3)
    assert await store.document("m", "evidence") == b"new"
    await late.put_document("m", "report:2026-01-04", b"its own", epoch=3)
    await late.put_document("n", "evidence", b"its own", epoch=3)


async def test_who_does_not_lead_any_more_cannot_write_the_state_either(bench: Bench) -> None:
    """Not even where nobody has written the state since: that somebody else has led is enough."""
    store, late = await bench.open(), await bench.open()
    decided = Event(0.0, "controller", "automatic-advance", "", {}, {})
    stored = await late.commit(MigrationState("m", epoch=9), decided, expected=(0, 0), term=3)
    await store.put_document("m", EVIDENCE, b"of the next leader", epoch=4)
    with pytest.raises(StaleWrite, match=r"a writer of epoch 3 is too late"):
        await late.commit(stored, decided, expected=stored.order, term=3)
    assert len(await store.events("m")) == 1
    again = await store.commit(stored, decided, expected=stored.order, term=4)
    assert again.version == stored.version + 1
    assert (await late.commit(again, decided, expected=again.order)).version == again.version + 1


async def test_documents_are_found_by_the_beginning_of_their_name(bench: Bench) -> None:
    store = await bench.open()
    for name in ("incident:2", "incident:10", "incidental", "evidence", "report:incident:1"):
        await store.put_document("m", name, name.encode(), epoch=1)
    await store.put_document("n", "incident:3", b"", epoch=1)
    found = await store.documents("m", "incident:")
    assert list(found.items()) == [("incident:10", b"incident:10"), ("incident:2", b"incident:2")]
    assert len(await store.documents("m", "")) == 5
    assert await store.documents("m", "none") == {}


@pytest.mark.parametrize("odd", ODD)
async def test_a_name_means_itself_whatever_is_in_it(bench: Bench, odd: str) -> None:
    store = await bench.open()
    names = [f"notified:{odd}", f"notified:{odd}{odd}:x", "notified:aXb", "notified"]
    for name in dict.fromkeys(names):
        await store.put_document("m", name, name.encode(), epoch=1)
    assert {name: await store.document("m", name) for name in names} == {n: n.encode() for n in names}
    expected = {name for name in names if name.startswith(f"notified:{odd}")}
    assert set(await store.documents("m", f"notified:{odd}")) == expected


async def test_a_big_document_comes_back_whole(bench: Bench) -> None:
    store = await bench.open()
    await store.put_document("m", "incident:1", b"x" * BIG, epoch=1)
    assert await store.document("m", "incident:1") == b"x" * BIG


async def test_documents_stay_and_end_with_the_data_alone(bench: Bench) -> None:
    store = await bench.open()
    await store.put_document("m", "final", b"numbers", epoch=7)
    bench.pass_time(400 * DAY_S)
    assert await store.document("m", "final") == b"numbers"
    bench.empty()
    assert await store.documents("m", "") == {}
    await store.put_document("m", "final", b"again", epoch=1)
    assert await store.document("m", "final") == b"again"


# --- a store that is away -----------------------------------------------------------------------------------


async def test_evidence_survives_that_every_process_begins_anew(shared: RealBench) -> None:
    first = await shared.open()
    await first.put_tally("m", "1", "a", {"ok": 1})
    await first.claim("m", 1, "a", [("error", "ann")])
    await first.put_document("m", "evidence", b"{}", epoch=1)
    await first.close()
    second = await shared.open()
    assert await second.tallies("m", "1") == {"a": {"ok": 1}}
    assert await second.claim("m", 1, "b", [("error", "ann")]) == [False]
    assert await second.document("m", "evidence") == b"{}"
