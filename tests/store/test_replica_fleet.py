import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import Phase
from tests.support.eventually import eventually
from tests.support.fleet import BOOT_S, RUNNING, Fleet, Member, fleet_on


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_on(tmp_path) as made:
        yield made


def end(member: Member) -> None:
    """What the kernel does for a process that dies: it lets go of its files."""
    member.replica._presence.leave(forgotten=False)


# --- acknowledgements -----------------------------------------------------------------------------


async def test_all_live_replicas_are_waited_for(fleet: Fleet) -> None:
    members = [await fleet.join(name) for name in "abc"]
    written = await fleet.write(RUNNING)
    await members[0].replica.refresh()
    acks = await members[0].replica.await_acknowledgements("m", written.order, 5)
    assert (acks.expected, acks.acknowledged, acks.missing) == (("a", "b", "c"), ("a", "b", "c"), ())
    assert all(member.state == written for member in members)


async def test_a_frozen_replica_is_named_missing_and_no_longer_once_it_is_silent_for_a_minute(
    fleet: Fleet,
) -> None:
    here = await fleet.join("a")
    await fleet.member("frozen").replica.boot(BOOT_S)
    written = await fleet.write(RUNNING)
    acks = await here.replica.await_acknowledgements("m", written.order, 0.1)
    assert (acks.acknowledged, acks.missing) == (("a",), ("frozen",))
    fleet.clock.advance(61)
    await eventually(lambda: fleet.server.data.reports["a"][0].at == fleet.clock.now())
    assert (await here.replica.await_acknowledgements("m", written.order, 5)).expected == ("a",)


async def test_a_process_of_this_disk_that_died_is_not_waited_for(fleet: Fleet) -> None:
    here = await fleet.join("a", disk_of="shared")
    died = fleet.member("died", disk_of="shared")
    frozen = fleet.member("frozen", disk_of="shared")
    elsewhere = fleet.member("elsewhere")
    for member in (died, frozen, elsewhere):
        await member.replica.boot(BOOT_S)
    await eventually(lambda: len(here.replica.known_replicas()) == 4)
    end(died)
    assert here.replica.known_replicas() == ("a", "elsewhere", "frozen")
    written = await fleet.write(RUNNING)
    acks = await here.replica.await_acknowledgements("m", written.order, 0.1)
    assert acks.missing == ("elsewhere", "frozen")
    assert sorted(fleet.server.data.reports) == ["a", "elsewhere", "frozen"]


async def test_a_start_takes_leave_for_whom_it_follows(fleet: Fleet) -> None:
    died = fleet.member("died", disk_of="shared")
    await died.replica.boot(BOOT_S)
    end(died)
    await fleet.join("a", disk_of="shared")
    await eventually(lambda: sorted(fleet.server.data.reports) == ["a"])


async def test_who_left_while_the_store_was_away_is_taken_leave_for(fleet: Fleet) -> None:
    here, left = await fleet.join("a", disk_of="shared"), await fleet.join("b", disk_of="shared")
    left.store.away = True
    await left.replica.aclose()
    await eventually(lambda: sorted(fleet.server.data.reports) == ["a"])
    assert here.replica.known_replicas() == ("a",)


async def test_a_replica_that_obeys_something_newer_has_acknowledged(fleet: Fleet) -> None:
    here, there = await fleet.join("a"), await fleet.join("b")
    written = await fleet.write(RUNNING)
    newer = await fleet.write(RUNNING)
    await eventually(lambda: here.state == there.state == newer)
    assert (await here.replica.await_acknowledgements("m", written.order, 5)).missing == ()


async def test_an_acknowledgement_says_when_the_replica_last_sent_a_request_to_the_candidate(
    fleet: Fleet,
) -> None:
    here, there, idle = [await fleet.join(name) for name in "abc"]
    here.candidate_sent_at["m"] = 100.5
    there.candidate_sent_at |= {"m": 200.25, "other": 300.0}
    stopped = replace(RUNNING, phase=Phase.rolled_back, reason="user", version=2)
    written = await fleet.write(stopped)
    await here.replica.refresh()
    acks = await here.replica.await_acknowledgements("m", written.order, 5)
    assert acks.missing == ()
    assert acks.candidate_sent_at == {"a": 100.5, "b": 200.25, "c": 0.0}
    assert idle.state == written


async def test_what_was_sent_after_all_is_in_the_next_heartbeat(fleet: Fleet) -> None:
    here, there = await fleet.join("a"), await fleet.join("b")
    written = await fleet.write(replace(RUNNING, phase=Phase.rolled_back, reason="user"))
    await here.replica.refresh()
    assert (await here.replica.await_acknowledgements("m", written.order, 5)).missing == ()
    there.candidate_sent_at["m"] = 400.0
    await eventually(lambda: fleet.server.data.reports["b"][0].candidate_sent_at == {"m": 400.0})
    acks = await here.replica.await_acknowledgements("m", written.order, 5)
    assert acks.candidate_sent_at == {"a": 0.0, "b": 400.0}


async def test_what_a_silent_replica_sent_last_is_not_made_up(fleet: Fleet) -> None:
    here, frozen = await fleet.join("a"), fleet.member("frozen")
    frozen.candidate_sent_at["m"] = 50.0
    await frozen.replica.boot(BOOT_S)
    frozen.candidate_sent_at["m"] = 60.0
    written = await fleet.write(RUNNING)
    acks = await here.replica.await_acknowledgements("m", written.order, 0.1)
    assert (acks.missing, acks.candidate_sent_at["frozen"]) == (("frozen",), 50.0)


async def test_a_process_that_has_not_obeyed_itself_is_missing(fleet: Fleet) -> None:
    member = fleet.member("a")
    await member.replica.boot(BOOT_S)
    written = await fleet.write(RUNNING)
    assert (await member.replica.await_acknowledgements("m", written.order, 0.02)).missing == ("a",)
    await member.replica.refresh()
    assert (await member.replica.await_acknowledgements("m", written.order, 5)).acknowledged == ("a",)


async def test_with_the_store_away_it_is_still_known_who_is_missing(fleet: Fleet) -> None:
    here, _ = await fleet.join("a"), await fleet.join("b")
    await eventually(lambda: here.replica.known_replicas() == ("a", "b"))
    here.store.away = True
    acks = await here.replica.await_acknowledgements("m", (9, 9), 0.05)
    assert (acks.expected, acks.missing) == (("a", "b"), ("a", "b"))
    assert here.replica.known_replicas() == ("a", "b")


async def test_waiting_for_acknowledgements_ends_in_time_although_the_store_hangs(fleet: Fleet) -> None:
    here, _ = await fleet.join("a"), await fleet.join("b")
    await eventually(lambda: here.replica.known_replicas() == ("a", "b"))
    here.store.hang()
    acks = await asyncio.wait_for(here.replica.await_acknowledgements("m", (0, 0), 0.05), 1)
    assert acks.acknowledged == ("a", "b")


# --- a store that lost something ------------------------------------------------------------------


async def test_a_store_that_comes_back_empty_gets_its_states_back_and_nobody_notices(fleet: Fleet) -> None:
    other = replace(RUNNING, name="other")
    written = await fleet.write(RUNNING), await fleet.write(other)
    members = [await fleet.join("a"), await fleet.join("b")]
    await eventually(lambda: all(member.replica.snapshot.version == 2 for member in members))
    served = [len(member.served) for member in members]
    fleet.server.data.epoch = 7
    fleet.server.lose()
    await eventually(lambda: len(fleet.server.data.states) == 2)
    await eventually(lambda: any(member.losses for member in members))
    assert (fleet.server.data.states["m"], fleet.server.data.states["other"]) == written
    assert [len(member.served) for member in members] == served
    assert await fleet.store.next_epoch() > 1


async def test_what_the_store_lost_is_there_again_when_somebody_wants_to_write_over_it(fleet: Fleet) -> None:
    written = await fleet.write(RUNNING)
    member = await fleet.join("a")
    fleet.server.lose()
    await member.replica.refresh()
    assert fleet.server.data.states["m"] == written


async def test_a_failover_that_lost_the_last_write_does_not_undo_it(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    members = [await fleet.join("a"), await fleet.join("b")]
    secondary = fleet.server.checkpoint()
    killed = await fleet.write(
        replace(RUNNING, phase=Phase.rolled_back, reason="emergency", weight=0, epoch=2)
    )
    await eventually(lambda: all(member.state == killed for member in members))
    fleet.server.lose(down_to=secondary)
    fleet.server.publish()
    await eventually(lambda: fleet.stored == killed)
    assert all(member.state == killed for member in members)
    assert await fleet.store.next_epoch() > 2


async def test_a_lost_kill_is_pushed_again_over_a_state_of_the_same_order(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    secondary = fleet.server.checkpoint()
    await fleet.write(replace(RUNNING, phase=Phase.rolled_back, reason="emergency", weight=0, epoch=2))
    await eventually(lambda: member.state.killed)
    served = len(member.served)
    secondary.states["m"] = replace(RUNNING, run=2, epoch=2, version=2)
    fleet.server.lose(down_to=secondary)
    await eventually(lambda: fleet.stored.killed)
    assert fleet.stored.epoch > 2
    assert all(snapshot.state("m").killed for snapshot in member.served[served:])


async def test_after_a_loss_everybody_hashes_with_one_secret(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    members = [await fleet.join("a"), await fleet.join("b")]
    assert members[0].replica.secret == members[1].replica.secret
    before = members[0].replica.secret
    fleet.server.lose()
    await eventually(lambda: any(member.losses for member in members))
    assert fleet.server.data.secret == before
    assert {loss for member in members for loss in member.losses} == {before}


async def test_a_process_that_began_without_the_store_takes_the_fleets_secret_later(fleet: Fleet) -> None:
    shared = await fleet.store.secret()
    member = fleet.member("a")
    member.store.away = True
    await member.replica.boot(BOOT_S)
    own = member.replica.secret
    assert len(own) == 32
    member.store.away = False
    member.replica.start()
    await eventually(lambda: member.losses == [shared])
    assert own != shared == member.replica.secret


async def test_a_secret_that_another_process_made_after_a_loss_becomes_everybodys(fleet: Fleet) -> None:
    members = [await fleet.join("a"), await fleet.join("b")]
    fleet.server.lose()
    fleet.server.data.secret = b"made by a process that started meanwhile"
    await eventually(lambda: all(member.losses for member in members))
    assert {member.replica.secret for member in members} == {b"made by a process that started meanwhile"}
