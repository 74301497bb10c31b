import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import Phase
from gateway.store.kill import FILE as KILL_FILE
from gateway.store.kill import Kill, KillSwitch
from gateway.store.local.disk import locked
from tests.support.eventually import eventually, others
from tests.support.fleet import RUNNING, Fleet, fleet_on


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_on(tmp_path) as made:
        yield made


async def test_a_local_kill_is_obeyed_here_before_anything_is_written(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    with locked(member.data_dir / KILL_FILE):
        killing = asyncio.ensure_future(member.replica.kill_locally("m", "ann", "bad answers"))
        await others()
        assert member.state.killed
        assert member.served[-1].state("m").weight == 0
        assert not (member.data_dir / KILL_FILE).exists()
    await killing
    assert KillSwitch(member.data_dir).read() == {
        "m": Kill(fleet.clock.now(), "ann", "bad answers", epoch=1, run=1, version=1)
    }


async def test_every_process_on_the_same_disk_obeys_a_kill_and_no_other_does(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    here, sibling, stranger = await fleet.join("a"), await fleet.join("b", disk_of="a"), await fleet.join("c")
    for member in fleet.members:
        member.store.away = True
    await here.replica.kill_locally("m", "ann", "bad answers")
    await eventually(lambda: sibling.state.killed, deadline_s=0.5)
    assert stranger.state == RUNNING


async def test_a_kill_is_pushed_when_the_store_returns_and_then_let_go(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    here, sibling, stranger = await fleet.join("a"), await fleet.join("b", disk_of="a"), await fleet.join("c")
    for member in fleet.members:
        member.store.away = True
    await here.replica.kill_locally("m", "ann", "bad answers")
    for member in fleet.members:
        member.store.away = False
    await eventually(lambda: stranger.state.killed)
    await eventually(lambda: all(member.state == fleet.stored for member in fleet.members))
    await eventually(lambda: KillSwitch(here.data_dir).read() == {})
    assert fleet.stored.epoch > 1
    assert fleet.verbs == ["start", "emergency-rollback"]
    event = fleet.server.data.events["m"][-1]
    assert (event.by, event.reason, event.evidence["pushed_after"]) == ("ann", "bad answers", "store outage")
    assert fleet.stored.cause == "bad answers"
    assert (event.before["phase"], event.after["phase"], event.after["version"]) == (
        "running",
        "rolled_back",
        2,
    )
    assert sibling.saved().state("m").killed


async def test_after_a_push_a_restart_runs_again_everywhere(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    here, sibling = await fleet.join("a"), await fleet.join("b", disk_of="a")
    here.store.away = sibling.store.away = True
    await here.replica.kill_locally("m", "ann", "bad answers")
    await eventually(lambda: sibling.state.killed)
    here.store.away = sibling.store.away = False
    await eventually(lambda: fleet.stored.killed)
    restarted = await fleet.write(replace(RUNNING, run=2, epoch=9))
    await eventually(lambda: here.state == sibling.state == restarted)
    await eventually(lambda: KillSwitch(here.data_dir).read() == {})
    assert fleet.verbs == ["start", "emergency-rollback", "start"]


async def test_a_kill_beats_every_write_of_its_epoch_and_is_pushed_over_it(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "bad answers")
    await fleet.write(replace(RUNNING, weight=50_000))
    seen = len(member.served)
    member.store.away = False
    await eventually(lambda: fleet.stored.killed)
    await eventually(lambda: member.state == fleet.stored)
    assert all(snapshot.state("m").killed for snapshot in member.served[seen:])


async def test_a_kill_beats_a_controller_that_took_the_lease_meanwhile(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "bad answers")
    await fleet.write(replace(RUNNING, weight=50_000, epoch=5))
    seen = len(member.served)
    member.store.away = False
    await eventually(lambda: fleet.stored.killed)
    assert fleet.stored.epoch > 5
    assert all(snapshot.state("m").killed for snapshot in member.served[seen:])


async def test_a_kill_loses_to_a_run_that_was_begun_elsewhere_with_a_newer_epoch(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "bad answers")
    restarted = await fleet.write(replace(RUNNING, run=2, epoch=5))
    member.store.away = False
    await eventually(lambda: member.state == restarted)
    await eventually(lambda: KillSwitch(member.data_dir).read() == {})
    assert fleet.verbs == ["start", "start"]


async def test_a_kill_is_not_pushed_over_an_emergency_rollback_that_reached_the_store(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "bad answers")
    killed = await fleet.write(
        replace(RUNNING, phase=Phase.rolled_back, reason="emergency", weight=0, epoch=2)
    )
    member.store.away = False
    await eventually(lambda: KillSwitch(member.data_dir).read() == {})
    assert fleet.stored == member.state == killed


async def test_a_kill_of_what_was_completed_meanwhile_is_refused_on_record_and_let_go(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "bad answers")
    completed = await fleet.write(replace(RUNNING, phase=Phase.completed, weight=100_000))
    member.store.away = False
    await eventually(lambda: member.state == completed)
    assert KillSwitch(member.data_dir).read() == {}
    event = fleet.server.data.events["m"][-1]
    assert (event.by, event.verb) == ("ann", "emergency-rollback")
    assert "completed" in event.evidence["refused"]
    assert event.before == event.after


async def test_a_migration_that_never_ran_can_be_killed_too(fleet: Fleet) -> None:
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "not today")
    member.store.away = False
    await eventually(lambda: fleet.stored.killed)
    await eventually(lambda: member.state == fleet.stored)


async def test_killing_what_is_killed_changes_nothing(fleet: Fleet) -> None:
    await fleet.write(replace(RUNNING, phase=Phase.rolled_back, reason="emergency", weight=0))
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "again")
    assert KillSwitch(member.data_dir).read() == {}
    assert len(member.served) == 1


async def test_a_kill_that_the_disk_refused_is_written_once_it_takes_it(fleet: Fleet) -> None:
    fleet.path.joinpath("a").write_text("a file where the directory should be")
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    await member.replica.kill_locally("m", "ann", "bad answers")
    assert member.state.killed
    fleet.path.joinpath("a").unlink()
    await eventually(lambda: KillSwitch(member.data_dir).read())


async def test_two_disks_with_kills_make_one_emergency_rollback(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    members = [await fleet.join("a"), await fleet.join("b")]
    for member in members:
        member.store.away = True
        await member.replica.kill_locally("m", "ann", "bad answers")
    for member in members:
        member.store.away = False
    await eventually(lambda: not any(KillSwitch(member.data_dir).read() for member in members))
    assert fleet.verbs == ["start", "emergency-rollback"]
