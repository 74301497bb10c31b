import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import MigrationState, Phase
from gateway.store.kill import Kill
from gateway.store.snapshot import Snapshot, corrected, load, merge, obey, save

SPEC = MigrationSpec("m", "old", "new", ("old",), (Stage("canary", 5.0), Stage("full", 100.0)))
RUNNING = MigrationState("m", Phase.running, weight=5_000, run=1, version=7, epoch=3, spec=SPEC)
KILLED = replace(RUNNING, phase=Phase.rolled_back, reason="emergency", weight=0, evicted_run=1)
KILL = Kill(at=100.0, by="ann", reason="bad answers", epoch=3, run=1, version=7)


def holding(*states: MigrationState, taken_at: float = 1.0) -> Snapshot:
    return Snapshot({state.name: state for state in states}, taken_at, "store")


def test_a_migration_that_was_never_written_is_a_draft() -> None:
    assert Snapshot().state("m") == MigrationState("m")
    assert holding(RUNNING).state("m") is RUNNING


def test_the_version_is_the_sum_over_migrations() -> None:
    assert Snapshot().version == 0
    assert holding(RUNNING, replace(RUNNING, name="other", version=5)).version == 12


# --- merge --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "loaded", "wins"),
    [
        ((3, 7), (3, 8), "loaded"),
        ((3, 8), (3, 7), "held"),
        ((4, 1), (3, 99), "held"),
        ((3, 99), (4, 1), "loaded"),
        ((3, 7), (3, 7), "loaded"),
    ],
)
def test_the_newer_state_wins_by_epoch_and_then_version(
    held: tuple[int, int], loaded: tuple[int, int], wins: str
) -> None:
    ours = replace(RUNNING, epoch=held[0], version=held[1], updated_by="held")
    theirs = replace(RUNNING, epoch=loaded[0], version=loaded[1], updated_by="loaded")
    assert merge(holding(ours), holding(theirs)).state("m").updated_by == wins


def test_each_migration_is_judged_by_itself_and_a_lost_one_is_kept() -> None:
    other, lost = replace(RUNNING, name="other"), replace(RUNNING, name="lost")
    merged = merge(
        holding(RUNNING, other, lost),
        holding(replace(RUNNING, version=6), replace(other, version=8), taken_at=2.0),
    )
    assert {name: state.version for name, state in merged.states.items()} == {"m": 7, "other": 8, "lost": 7}
    assert (merged.taken_at, merged.origin) == (2.0, "store")


def test_of_two_states_of_one_order_the_killed_one_wins() -> None:
    assert merge(holding(KILLED), holding(RUNNING)).state("m").killed
    assert merge(holding(RUNNING), holding(KILLED)).state("m").killed


def test_a_store_that_has_lost_writes_is_corrected_by_the_disk_but_a_new_one_wakes_nothing() -> None:
    disk = holding(replace(RUNNING, version=9), replace(RUNNING, name="of another store"))
    states = corrected(holding(RUNNING), disk).states
    assert {name: state.version for name, state in states.items()} == {"m": 9}


# --- kills --------------------------------------------------------------------------------


def test_a_killed_migration_is_served_as_after_an_emergency_rollback() -> None:
    draining = replace(RUNNING, phase=Phase.soaking, draining=True)
    served = obey(holding(draining), {"m": KILL}).state("m")
    assert served.killed
    assert (served.weight, served.evicted_run, served.draining) == (0, 1, False)
    assert (served.updated_by, served.updated_at, served.order) == ("ann", 100.0, draining.order)


def test_a_kill_touches_no_other_migration_and_not_the_agreed_view() -> None:
    agreed = holding(RUNNING, replace(RUNNING, name="other"))
    assert obey(agreed, {"m": KILL}).state("other") is agreed.state("other")
    assert agreed.state("m") is RUNNING


def test_a_kill_holds_where_nothing_was_ever_written() -> None:
    assert obey(Snapshot(), {"m": replace(KILL, epoch=0, run=0)}).state("m").killed


def test_a_kill_loses_to_a_new_run_of_a_newer_epoch() -> None:
    restarted = replace(RUNNING, epoch=4, run=2)
    assert obey(holding(restarted), {"m": KILL}).state("m") is restarted


def test_without_kills_the_agreed_view_is_served() -> None:
    agreed = holding(RUNNING)
    assert obey(agreed, {}) is agreed


# --- disk --------------------------------------------------------------------------------


def test_a_saved_snapshot_is_loaded_whole_and_says_where_it_is_from(tmp_path: Path) -> None:
    snapshot = holding(RUNNING, KILLED, taken_at=123.5)
    save(tmp_path / "snapshot.json", snapshot)
    assert load(tmp_path / "snapshot.json") == replace(snapshot, origin="disk")
    assert stat.S_IMODE((tmp_path / "snapshot.json").stat().st_mode) == 0o600


def test_no_file_is_no_snapshot(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(tmp_path / "snapshot.json") is None
    assert caplog.records == []


def damaged(data: bytes, how: str) -> bytes:
    match how:
        case "cut short":
            return data[:-20]
        case "one bit flipped":
            return data[:-10] + bytes([data[-10] ^ 1]) + data[-9:]
        case "of another format":
            return data.replace(b"/1 ", b"/2 ", 1)
        case "not a snapshot":
            return b"\xff\xfe hello"
    return b""


@pytest.mark.parametrize(
    "how", ["cut short", "one bit flipped", "of another format", "not a snapshot", "empty"]
)
def test_a_damaged_file_is_no_snapshot_and_is_logged(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "snapshot.json"
    save(path, holding(RUNNING))
    path.write_bytes(damaged(path.read_bytes(), how))
    assert load(path) is None
    assert [record.getMessage() for record in caplog.records] == ["the snapshot on disk is not used"]


def test_an_unreadable_file_is_no_snapshot(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "snapshot.json")
    assert load(tmp_path / "snapshot.json") is None


def test_a_process_that_lags_does_not_undo_what_its_sibling_saved(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    save(path, holding(replace(KILLED, epoch=4, version=8)))
    save(path, holding(RUNNING))
    saved = load(path)
    assert saved is not None
    assert saved.state("m").killed


def test_a_damaged_file_is_replaced_by_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(b"rubbish")
    save(path, holding(RUNNING))
    saved = load(path)
    assert saved is not None
    assert saved.state("m") == RUNNING
