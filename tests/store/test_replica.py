import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import MigrationState, Phase
from gateway.errors import StoreUnavailable
from gateway.store import snapshot as disk
from gateway.store.kill import FILE as KILL_FILE
from gateway.store.local.disk import locked
from gateway.store.replica import Replica
from gateway.store.snapshot import Snapshot
from tests.support.eventually import eventually
from tests.support.fleet import BOOT_S, RUNNING, Fleet, fleet_on
from tests.support.memory_store import MemoryStore


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with fleet_on(tmp_path) as made:
        yield made


# --- boot -----------------------------------------------------------------------------------------


async def test_a_start_takes_the_stores_word(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = fleet.member("a")
    before = member.replica.ready
    assert await member.replica.boot(BOOT_S) == "store"
    assert (before, member.replica.ready) == (False, True)
    assert member.state == RUNNING
    assert [snapshot.state("m") for snapshot in member.served] == [RUNNING]


async def test_a_start_without_the_store_goes_on_with_what_was_obeyed_before(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    first = await fleet.join("a")
    await first.replica.aclose()
    again = fleet.member("a")
    again.store.away = True
    fleet.clock.advance(60)
    assert await again.replica.boot(BOOT_S) == "disk"
    assert (again.state, again.replica.snapshot.origin) == (RUNNING, "disk")
    assert again.replica.snapshot_age_s == 60
    assert again.replica.secret == first.replica.secret


async def test_a_start_with_neither_store_nor_disk_sends_everything_to_control_and_is_ready(
    fleet: Fleet,
) -> None:
    await fleet.write(RUNNING)
    member = fleet.member("a")
    member.store.away = True
    assert await member.replica.boot(BOOT_S) == "none"
    assert member.replica.ready
    assert member.state == MigrationState("m")
    assert len(member.served) == 1


async def test_a_corrupt_disk_is_as_good_as_none(fleet: Fleet) -> None:
    member = fleet.member("a")
    member.data_dir.mkdir()
    (member.data_dir / disk.FILE).write_bytes(b"gateway-snapshot/1 abc\n{}")
    (member.data_dir / KILL_FILE).write_bytes(b"{")
    member.store.away = True
    assert await member.replica.boot(BOOT_S) == "none"


async def test_a_store_that_hangs_delays_a_start_only_a_little(fleet: Fleet) -> None:
    member = fleet.member("a")
    member.store.hang()
    assert await asyncio.wait_for(member.replica.boot(0.01), 5) == "none"
    assert member.replica.ready


async def test_a_process_is_expected_to_acknowledge_before_it_reads_what_to_obey(fleet: Fleet) -> None:
    member = fleet.member("a")
    member.store.hang()
    booting = asyncio.ensure_future(member.replica.boot(BOOT_S))
    await eventually(lambda: member.store.calls["report"])
    assert member.store.calls["load"] == 0
    member.store.resume()
    await booting
    assert list(fleet.server.data.reports) == ["a"]


async def test_a_store_that_knows_nothing_of_a_migration_does_not_get_it_from_an_old_disk(
    fleet: Fleet,
) -> None:
    await fleet.write(RUNNING)
    await (await fleet.join("a")).replica.aclose()
    fleet.server.lose()
    again = await fleet.join("a")
    assert again.state == MigrationState("m")
    await eventually(lambda: again.saved().origin == "disk" and not again.saved().states)
    assert fleet.stored == MigrationState("m")


async def test_a_store_that_lost_its_last_write_is_corrected_by_the_disk_of_a_start(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    secondary = fleet.server.checkpoint()
    await fleet.write(replace(RUNNING, phase=Phase.rolled_back, reason="emergency", weight=0, epoch=2))
    await (await fleet.join("a")).replica.aclose()
    fleet.server.lose(down_to=secondary)
    again = await fleet.join("a")
    assert again.state.killed
    await eventually(lambda: fleet.stored.killed)


async def test_a_kill_survives_a_restart_without_the_store(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    first = await fleet.join("a")
    first.store.away = True
    await first.replica.kill_locally("m", "ann", "bad answers")
    await first.replica.aclose()
    again = fleet.member("a")
    again.store.away = True
    assert await again.replica.boot(BOOT_S) == "disk"
    assert again.state.killed
    assert again.served[-1].state("m").killed


# --- following ------------------------------------------------------------------------------------


async def test_a_write_is_obeyed_acknowledged_and_saved(fleet: Fleet) -> None:
    member = await fleet.join("a")
    written = await fleet.write(RUNNING)
    await eventually(lambda: member.state == written)
    await eventually(lambda: fleet.server.data.reports["a"][0].versions == {"m": (1, 1)})
    await eventually(lambda: member.saved().states == {"m": written})
    assert member.replica.snapshot.origin == "store"


async def test_a_version_is_obeyed_before_it_is_acknowledged(fleet: Fleet) -> None:
    member = await fleet.join("a")
    acknowledged_at_change: list[object] = []
    obey = member.served.append

    def on_change(snapshot: Snapshot) -> None:
        acknowledged_at_change.append(fleet.server.data.reports["a"][0].versions.get("m"))
        obey(snapshot)

    late = Replica(
        member.store,
        id="a",
        data_dir=member.data_dir,
        clock=fleet.clock,
        on_change=on_change,
        in_flight=lambda: 0,
    )
    await late.boot(BOOT_S)
    await fleet.write(RUNNING)
    await late.refresh()
    assert acknowledged_at_change == [None, None]
    assert fleet.server.data.reports["a"][0].versions == {"m": (1, 1)}
    await late.aclose()


async def test_a_change_that_the_data_path_could_not_take_is_not_acknowledged_and_tried_again(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[Snapshot] = []

    def on_change(snapshot: Snapshot) -> None:
        attempts.append(snapshot)
        if len(attempts) == 2:
            raise ValueError("no such model")

    picky = Replica(
        MemoryStore(fleet.server),
        id="p",
        data_dir=fleet.path,
        clock=fleet.clock,
        on_change=on_change,
        poll_s=0.01,
    )
    await picky.boot(BOOT_S)
    await fleet.write(RUNNING)
    with pytest.raises(ValueError, match="no such model"):
        await picky.refresh()
    assert picky.snapshot.state("m") == MigrationState("m")
    assert fleet.server.data.reports["p"][0].versions == {}
    picky.start()
    await eventually(lambda: fleet.server.data.reports["p"][0].versions == {"m": (1, 1)})
    await picky.aclose()


async def test_nothing_is_announced_while_nothing_changes(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    loads = member.store.calls["load"]
    await eventually(lambda: member.store.calls["load"] > loads + 3)
    assert len(member.served) == 1


async def test_a_change_is_found_by_the_poll_although_its_publication_was_lost(fleet: Fleet) -> None:
    member = await fleet.join("a")
    fleet.server.data.states["m"] = RUNNING
    await eventually(lambda: member.state == RUNNING)


async def test_a_refresh_obeys_at_once_and_fails_where_the_store_does(fleet: Fleet) -> None:
    member = fleet.member("a")
    await member.replica.boot(BOOT_S)
    written = await fleet.write(RUNNING)
    await member.replica.refresh()
    assert member.state == written
    member.store.away = True
    with pytest.raises(StoreUnavailable):
        await member.replica.refresh()


async def test_the_heartbeat_says_how_the_process_is(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    await fleet.join("a")
    fleet.clock.advance(5)
    await eventually(lambda: fleet.server.data.reports["a"][0].at == fleet.clock.now())
    report, _ = fleet.server.data.reports["a"]
    assert (report.leader, report.in_flight, report.started_at) == (True, 7, fleet.clock.now() - 5)


async def test_an_older_report_never_overtakes_a_newer_one(fleet: Fleet) -> None:
    member = fleet.member("a")
    await member.replica.boot(BOOT_S)
    member.store.hang()
    await fleet.write(RUNNING)
    beating = [asyncio.ensure_future(member.replica.refresh()) for _ in range(5)]
    await eventually(lambda: member.store.calls["load"] == 6)
    await fleet.write(RUNNING)
    member.store.resume()
    await asyncio.gather(*beating)
    assert fleet.server.data.reports["a"][0].versions == {"m": (1, 2)}


async def test_a_store_that_is_away_changes_nothing_but_the_age_and_is_counted(fleet: Fleet) -> None:
    await fleet.write(RUNNING)
    member = await fleet.join("a")
    member.store.away = True
    await eventually(lambda: len(member.failed) > 3)
    fleet.clock.advance(100)
    assert member.state == RUNNING
    assert member.replica.snapshot_age_s >= 100
    assert set(member.failed) <= {"load", "report", "replicas", "changed"}
    written = await fleet.write(RUNNING)
    member.store.away = False
    await eventually(lambda: member.state == written)
    assert member.replica.snapshot_age_s < 100


async def test_a_store_that_hangs_is_given_up_and_found_again(fleet: Fleet) -> None:
    member = await fleet.join("a")
    member.store.hang()
    await eventually(lambda: member.failed)
    written = await fleet.write(RUNNING)
    member.store.resume()
    await eventually(lambda: member.state == written)


async def test_saving_holds_up_neither_the_event_loop_nor_the_acknowledgement(fleet: Fleet) -> None:
    member = await fleet.join("a")
    await eventually((member.data_dir / disk.FILE).exists)
    with locked(member.data_dir / disk.FILE):
        await fleet.write(RUNNING)
        await eventually(lambda: fleet.server.data.reports["a"][0].versions)
        assert not member.saved().states
    await eventually(lambda: member.saved().states)


async def test_a_process_that_leaves_is_no_longer_expected(fleet: Fleet) -> None:
    here, there = await fleet.join("a"), await fleet.join("b")
    assert set(fleet.server.data.reports) == {"a", "b"}
    await there.replica.aclose()
    acks = await here.replica.await_acknowledgements("m", (0, 0), 5)
    assert acks.expected == ("a",)


async def test_leaving_while_the_store_is_away_ends_in_time(fleet: Fleet) -> None:
    member = await fleet.join("a")
    member.store.hang()
    await asyncio.wait_for(member.replica.aclose(0.05), 5)
    assert list(fleet.server.data.reports) == ["a"]
