import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.core.types import MigrationState, Phase
from gateway.store.kill import FILE, Kill, KillSwitch

KILL = Kill(at=100.0, by="ann", reason="bad answers", epoch=3, run=1, version=7)
RUNNING = MigrationState("m", Phase.running, weight=25_000, run=1, version=7, epoch=3)
ROLLED_BACK = replace(RUNNING, phase=Phase.rolled_back, reason="emergency", weight=0)


@pytest.mark.parametrize(
    ("state", "stands"),
    [
        (RUNNING, True),
        (replace(RUNNING, version=99), True),
        (replace(RUNNING, epoch=2), True),
        (replace(RUNNING, epoch=4, run=2), False),
        (replace(ROLLED_BACK, epoch=4), False),
        (replace(ROLLED_BACK, epoch=3), True),
        (replace(RUNNING, epoch=3, run=2), True),
        (replace(RUNNING, epoch=4), True),
        (replace(ROLLED_BACK, epoch=4, reason="automatic", draining=True), True),
        (MigrationState("m"), True),
    ],
    ids=[
        "the state it was set on",
        "a newer version of the same epoch",
        "an older epoch",
        "a new run with a newer epoch",
        "its own emergency rollback, pushed to the store",
        "a rollback of the same epoch, which may be from before",
        "a run of the same epoch, which cannot be a new start",
        "a newer epoch of the same run: some controller took the lease",
        "a newer epoch of the same run, still draining",
        "nothing written",
    ],
)
def test_a_kill_stands_until_something_newer_answers_it(state: MigrationState, stands: bool) -> None:
    assert KILL.stands_over(state) is stands


def test_nobody_has_killed_anything_at_first(tmp_path: Path) -> None:
    assert KillSwitch(tmp_path).read() == {}


def test_a_kill_is_known_at_once_here_and_once_written_everywhere(tmp_path: Path) -> None:
    here, there = KillSwitch(tmp_path), KillSwitch(tmp_path)
    here.set("m", KILL)
    assert (here.read(), there.read()) == ({"m": KILL}, {})
    assert here.persist()
    assert there.read() == {"m": KILL}


def test_a_kill_survives_a_restart(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    switch.set("m", KILL)
    switch.persist()
    assert KillSwitch(tmp_path).read() == {"m": KILL}


def test_reading_an_unchanged_file_gives_the_same_object(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    switch.set("m", KILL)
    switch.persist()
    first = switch.read()
    assert switch.read() is first


def test_two_processes_do_not_lose_each_others_kills(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gateway.store.kill import Kill, KillSwitch\n"
        "switch = KillSwitch(Path(sys.argv[1]))\n"
        "for n in range(20):\n"
        "    switch.set(f'{sys.argv[2]}-{n}', Kill(1.0, 'ann', '', 1, 1, 1)); assert switch.persist()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name]) for name in "ab"]
    assert [process.wait(timeout=30) for process in running] == [0, 0]
    assert len(KillSwitch(tmp_path).read()) == 40


def test_the_kill_of_the_newer_epoch_is_kept_and_of_two_alike_the_first(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    newer, again = replace(KILL, epoch=5, by="bob"), replace(KILL, epoch=5, by="cid")
    for kill in (KILL, newer, KILL, again):
        switch.set("m", kill)
        switch.persist()
    assert switch.read() == KillSwitch(tmp_path).read() == {"m": newer}


def test_a_cleared_kill_is_gone_from_memory_and_disk(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    for name in ("m", "other"):
        switch.set(name, KILL)
    switch.persist()
    switch.clear("m", KILL)
    assert switch.read() == KillSwitch(tmp_path).read() == {"other": KILL}


def test_clearing_an_old_kill_leaves_one_that_was_set_since(tmp_path: Path) -> None:
    here, there = KillSwitch(tmp_path), KillSwitch(tmp_path)
    here.set("m", KILL)
    here.persist()
    newer = replace(KILL, epoch=9)
    there.set("m", newer)
    there.persist()
    here.clear("m", KILL)
    assert here.read() == KillSwitch(tmp_path).read() == {"m": newer}


def test_a_process_that_saw_a_kill_keeps_it_until_it_clears_it_itself(tmp_path: Path) -> None:
    here, there = KillSwitch(tmp_path), KillSwitch(tmp_path)
    here.set("m", KILL)
    here.persist()
    assert there.read() == {"m": KILL}
    here.clear("m", KILL)
    assert there.read() == {"m": KILL}
    there.clear("m", KILL)
    assert there.read() == {}


@pytest.mark.parametrize("damage", ["", "{", '{"m": {"at": "noon"}}', "[]"])
def test_an_unreadable_file_forgets_nothing_that_is_known(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    switch = KillSwitch(tmp_path)
    switch.set("m", KILL)
    switch.persist()
    switch.read()
    (tmp_path / FILE).write_text(damage)
    assert [switch.read(), switch.read()] == [{"m": KILL}] * 2
    complaints = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(complaints) == 1


def test_a_file_that_vanished_forgets_nothing_that_is_known(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    switch.set("m", KILL)
    switch.persist()
    switch.read()
    os.unlink(tmp_path / FILE)
    assert switch.read() == {"m": KILL}


def test_a_new_kill_replaces_an_unreadable_file_with_all_that_is_known(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    switch.set("m", KILL)
    switch.persist()
    (tmp_path / FILE).write_text("{")
    switch.set("other", KILL)
    assert switch.persist()
    assert set(json.loads((tmp_path / FILE).read_text())) == {"m", "other"}


def test_a_repaired_file_is_read_again(tmp_path: Path) -> None:
    other, switch = KillSwitch(tmp_path), KillSwitch(tmp_path)
    (tmp_path / FILE).write_text("{")
    assert switch.read() == {}
    other.set("m", KILL)
    other.persist()
    assert switch.read() == {"m": KILL}


def test_a_kill_holds_in_memory_where_the_disk_refuses_and_is_written_when_it_no_longer_does(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "data"
    data_dir.write_text("a file where a directory should be")
    switch = KillSwitch(data_dir)
    switch.set("m", KILL)
    assert not switch.persist()
    assert switch.read() == {"m": KILL}
    data_dir.unlink()
    assert switch.persist()
    assert KillSwitch(data_dir).read() == {"m": KILL}
