"""A process that ended is told from one that is frozen, busy or on another machine."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.store.local.presence import FOLDER, Presence

ROOT = Path(__file__).parents[3]
PROCESS = """
import sys
from pathlib import Path
from gateway.store.local.presence import Presence

Presence(Path(sys.argv[1]), "other").show()
print("here", flush=True)
sys.stdin.read()
"""


@contextmanager
def other(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process on this disk."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(data_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"here\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_process_that_was_killed_is_dead_and_a_frozen_one_is_not(tmp_path: Path) -> None:
    here = Presence(tmp_path, "here")
    here.show()
    with other(tmp_path) as process:
        assert here.dead(["here", "other", "elsewhere"]) == frozenset()
        process.send_signal(signal.SIGSTOP)
        assert here.dead(["other"]) == frozenset()
        process.kill()
        process.wait()
        assert here.dead(["here", "other", "elsewhere"]) == {"other"}


def test_only_what_nobody_expects_any_more_is_swept_away(tmp_path: Path) -> None:
    here, gone, left = (Presence(tmp_path, name) for name in ("here", "gone", "left"))
    for each in (here, gone, left):
        each.show()
    gone.leave(forgotten=False)
    left.leave(forgotten=False)
    assert here.sweep(["here", "gone"]) == {"gone"}
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == ["gone", "here"]
    assert here.sweep(["here"]) == frozenset()
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["here"]


def test_of_another_machine_or_boot_nothing_is_said_until_it_is_no_longer_expected(tmp_path: Path) -> None:
    here = Presence(tmp_path, "here")
    here.show()
    (tmp_path / FOLDER / "far").write_bytes(b"another kernel")
    assert here.sweep(["here", "far"]) == frozenset()
    assert (tmp_path / FOLDER / "far").exists()
    here.sweep(["here"])
    assert not (tmp_path / FOLDER / "far").exists()


def test_who_takes_leave_leaves_nothing(tmp_path: Path) -> None:
    here = Presence(tmp_path, "here")
    here.show()
    here.leave(forgotten=True)
    here.leave(forgotten=True)
    assert list((tmp_path / FOLDER).iterdir()) == []


@pytest.mark.parametrize("strange", ["", ".", "..", "../secret", "/etc/passwd"])
def test_a_strange_id_reaches_no_other_file(tmp_path: Path, strange: str) -> None:
    (tmp_path / "secret").write_bytes(b"")
    assert Presence(tmp_path, "here").dead([strange]) == frozenset()


def test_a_disk_that_refuses_is_no_reason_not_to_serve(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FOLDER).write_bytes(b"a file where the folder should be")
    here = Presence(tmp_path, "here")
    here.show()
    assert here.sweep(["here", "other"]) == frozenset()
    here.leave(forgotten=True)
    assert "siblings cannot see" in caplog.text
