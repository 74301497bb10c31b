import fcntl
import os
import stat
from pathlib import Path

import pytest

from gateway.store.local.disk import locked, replace_file


def test_a_replaced_file_has_the_new_content_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    replace_file(tmp_path / "a" / "b" / "state.json", b"1")
    assert (tmp_path / "a" / "b" / "state.json").read_bytes() == b"1"


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "inside").write_bytes(b"")
    with pytest.raises(OSError, match="taken"):
        replace_file(taken, b"a file cannot replace a directory")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_a_reader_never_sees_half_of_a_write(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old")
    with path.open("rb") as reader:
        replace_file(path, b"much longer than before")
        assert reader.read() == b"old"


def test_the_lock_keeps_a_second_holder_out_and_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with locked(path) as alone:
        assert alone
        rival = os.open(tmp_path / ".state.json.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(rival)


def test_a_holder_that_never_lets_go_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    with locked(path) as first, locked(path) as second:
        assert (first, second) == (True, False)
