import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.notebook import TTL_S, Found, Notebook, Seal
from tests.support.eventually import eventually
from tests.support.notebooks import Notebooks, notebooks_of_a_fleet

WAIT_S = 5.0
SECRET_TEXT = b"what the model thought about Mrs Miller"


@pytest.fixture
async def fleet() -> AsyncIterator[Notebooks]:
    async with notebooks_of_a_fleet() as made:
        yield made


async def noted(notebook: Notebook, *digests: str, data: bytes = SECRET_TEXT) -> None:
    await notebook.write("m", digests, data, wait_s=WAIT_S)


# --- sealing --------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=3000), secret=st.binary(max_size=64))
def test_what_was_closed_opens_for_its_digest_migration_and_secret_only(data: bytes, secret: bytes) -> None:
    seal = Seal(secret)
    value = seal.close("m", "digest", data)
    assert seal.open("m", "digest", value) == data
    assert seal.open("m", "another", value) is None
    assert seal.open("other", "digest", value) is None
    assert Seal(secret + b"!").open("m", "digest", value) is None


def test_what_was_tampered_with_or_cut_does_not_open() -> None:
    seal = Seal(b"fleet")
    value = seal.close("m", "digest", SECRET_TEXT)
    for broken in (value[:-1], b"", value[:5], bytes([value[0] ^ 1]) + value[1:], value + b"x"):
        assert seal.open("m", "digest", broken) is None


def test_closing_twice_gives_different_values_and_long_ones_are_packed() -> None:
    seal = Seal(b"fleet")
    assert seal.close("m", "digest", SECRET_TEXT) != seal.close("m", "digest", SECRET_TEXT)
    assert len(seal.close("m", "digest", SECRET_TEXT * 100)) < len(SECRET_TEXT) * 10


def test_names_tell_nothing_and_are_the_same_for_all_replicas() -> None:
    assert Seal(b"fleet").name("m", "digest") == Seal(b"fleet").name("m", "digest")
    names = [Seal(b"fleet").name("m", "digest"), Seal(b"fleet").name("m", "digest2")]
    names += [Seal(b"fleet").name("other", "digest"), Seal(b"other").name("m", "digest")]
    assert len(set(names)) == 4
    assert all(len(name) == 22 and "digest" not in name for name in names)


async def test_nothing_that_was_written_can_be_read_in_the_store(fleet: Notebooks) -> None:
    notebook, _ = fleet.join()
    await noted(notebook, "digest-of-a-conversation")
    ((migration, name), (value, _)) = next(iter(fleet.server.data.notes.items()))
    assert migration == "m"
    assert "digest" not in name
    assert not any(word in value for word in SECRET_TEXT.split() if len(word) > 3)


# --- reading and writing ------------------------------------------------------------------------------------


async def test_what_was_written_is_known_here_without_asking_and_elsewhere_by_asking_once(
    fleet: Notebooks,
) -> None:
    here, _ = fleet.join()
    there, _ = fleet.join()
    await noted(here, "a", "b")
    assert await here.read("m", ["a", "b"], WAIT_S) == Found({"a": SECRET_TEXT, "b": SECRET_TEXT})
    for _ in range(2):
        assert await there.read("m", ["a", "b"], WAIT_S) == Found({"a": SECRET_TEXT, "b": SECRET_TEXT})
    assert (here.asked, there.asked) == (0, 1)


async def test_what_nobody_wrote_is_nothing_and_not_unknown(fleet: Notebooks) -> None:
    notebook, _ = fleet.join()
    await noted(notebook, "a")
    assert await notebook.read("m", ["a", "z"], WAIT_S) == Found({"a": SECRET_TEXT})
    assert await notebook.read("other", ["a"], WAIT_S) == Found()


async def test_only_what_memory_lacks_is_asked_of_the_store(fleet: Notebooks) -> None:
    here, _ = fleet.join()
    there, store = fleet.join()
    await noted(here, "a")
    there.mark("m", ["b"])
    assert await there.read("m", ["b"], WAIT_S) == Found()
    assert store.calls["read_notes"] == 0
    assert await there.read("m", ["a", "b"], WAIT_S) == Found({"a": SECRET_TEXT})
    assert await there.read("m", [], WAIT_S) == Found()
    assert store.calls["read_notes"] == 1


async def test_a_later_entry_replaces_an_earlier_one(fleet: Notebooks) -> None:
    here, _ = fleet.join()
    await noted(here, "a", data=b"first")
    await noted(here, "a", data=b"second")
    there, _ = fleet.join()
    for notebook in (here, there):
        assert await notebook.read("m", ["a"], WAIT_S) == Found({"a": b"second"})


async def test_an_entry_that_is_written_once_stays_as_it_was_first(fleet: Notebooks) -> None:
    here, _ = fleet.join()
    here.mark("m", ["a"])
    for data in (b"first", b"second"):
        await here.write("m", ["a"], data, wait_s=WAIT_S, once=True)
    there, _ = fleet.join()
    for notebook in (here, there):
        assert await notebook.read("m", ["a"], WAIT_S) == Found({"a": b"first"})


async def test_an_entry_lives_for_its_ttl(fleet: Notebooks) -> None:
    here, _ = fleet.join()
    await noted(here, "a")
    await here.write("m", ["batch:1"], b"plans", wait_s=WAIT_S, ttl_s=30 * TTL_S)
    fleet.clock.advance(TTL_S + 1)
    there, _ = fleet.join()
    assert await there.read("m", ["a", "batch:1"], WAIT_S) == Found({"batch:1": b"plans"})


async def test_what_another_fleet_wrote_or_somebody_changed_is_not_there(fleet: Notebooks) -> None:
    here, _ = fleet.join()
    await noted(here, "a")
    stranger, _ = fleet.join(secret=b"another fleet")
    assert await stranger.read("m", ["a"], WAIT_S) == Found()
    fleet.server.data.notes = {key: (b"x" * 40, until) for key, (_, until) in fleet.server.data.notes.items()}
    there, _ = fleet.join()
    assert await there.read("m", ["a"], WAIT_S) == Found()


async def test_memory_is_bounded_by_bytes_and_what_left_it_is_asked_again(fleet: Notebooks) -> None:
    notebook, store = fleet.join(capacity_bytes=2500)
    for digest in "abc":
        await noted(notebook, digest, data=digest.encode() * 1000)
    found = await notebook.read("m", ["a", "b", "c"], WAIT_S)
    assert found == Found({digest: digest.encode() * 1000 for digest in "abc"})
    assert store.calls["read_notes"] == 1


async def test_an_entry_larger_than_memory_is_still_written_and_read(fleet: Notebooks) -> None:
    notebook, _ = fleet.join(capacity_bytes=300)
    await noted(notebook, "a", data=b"x" * 1000)
    assert await notebook.read("m", ["a"], WAIT_S) == Found({"a": b"x" * 1000})


# --- without the store --------------------------------------------------------------------------------------


async def test_without_the_store_memory_answers_and_the_rest_is_unknown(fleet: Notebooks) -> None:
    notebook, store = fleet.join()
    store.away = True
    await notebook.write("m", ["a"], SECRET_TEXT)
    notebook.mark("m", ["b"])
    found = await notebook.read("m", ["a", "b", "c"], WAIT_S)
    assert found == Found({"a": SECRET_TEXT}, frozenset({"c"}))


async def test_once_it_is_known_to_be_away_nobody_waits_for_it(fleet: Notebooks) -> None:
    notebook, store = fleet.join()
    store.away = True
    await notebook.read("m", ["a"], WAIT_S)
    assert notebook.away
    store.hang()
    async with asyncio.timeout(1):
        assert (await notebook.read("m", ["a"], 3600)).unknown == {"a"}
        await notebook.write("m", ["b"], b"x", wait_s=3600)
    assert notebook.asked == 1


async def test_a_store_that_is_slow_is_unknown_at_the_deadline_and_nobody_else_waits_for_it(
    fleet: Notebooks,
) -> None:
    here, _ = fleet.join()
    await noted(here, "a")
    there, store = fleet.join()
    store.hang()
    assert (await there.read("m", ["a"], 0.001)).unknown == {"a"}
    async with asyncio.timeout(1):
        assert (await there.read("m", ["a"], 3600)).unknown == {"a"}
    assert (there.asked, there.late) == (1, 1)
    store.resume()
    await eventually(lambda: not there._patience.exhausted)
    assert await there.read("m", ["a"], 0) == Found({"a": SECRET_TEXT})


async def test_what_was_written_during_an_outage_arrives_when_the_store_is_back(fleet: Notebooks) -> None:
    here, store = fleet.join()
    store.away = True
    await noted(here, "a")
    assert fleet.failed[0] == "write_notes"
    store.away = False
    await eventually(lambda: fleet.server.data.notes)
    there, _ = fleet.join()
    assert await there.read("m", ["a"], WAIT_S) == Found({"a": SECRET_TEXT})
    assert set(fleet.failed) <= {"write_notes", "read_notes"}


async def test_another_secret_clears_memory_and_the_same_does_not(fleet: Notebooks) -> None:
    notebook, store = fleet.join()
    await noted(notebook, "a")
    notebook.renew(b"fleet")
    await notebook.read("m", ["a"], WAIT_S)
    assert store.calls["read_notes"] == 0
    store.away = True
    await notebook.write("m", ["b"], b"never sent")
    notebook.renew(b"another")
    store.away = False
    await eventually(lambda: not notebook.away)
    assert await notebook.read("m", ["a", "b"], WAIT_S) == Found()


async def test_the_end_sends_what_is_left_and_says_what_cannot_be_sent(
    fleet: Notebooks, caplog: pytest.LogCaptureFixture
) -> None:
    notebook, store = fleet.join()
    await notebook.write("m", ["a"], SECRET_TEXT)
    await notebook.aclose()
    assert len(fleet.server.data.notes) == 1
    store.away = True
    await notebook.write("m", ["b"], SECRET_TEXT)
    await notebook.aclose(0.05)
    assert "notes were not stored before the end" in caplog.text
    assert "Miller" not in caplog.text
