"""Files that outlive a crash and are shared by several processes: what a replica needs without the store.

Whoever reads a file sees the old content or the new, never half of either. Read-modify-write happens under a
lock, so that two processes do not lose each other's changes. Everything here blocks; call it in a thread.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK_ATTEMPTS = 100
LOCK_PAUSE_S = 0.005


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in the place of `path`, durably and in one step, for its owner only; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of `path` among processes and threads; raises OSError if there can be no lock file.

    A holder that was stopped (SIGSTOP, a debugger) never lets go. So patience ends after half a second, and
    the work is done without the lock, which is what False says: overwriting somebody's change is a smaller
    evil than an emergency rollback that waits for ever.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        else:
            return True
    return False


def _sync_directory(directory: Path) -> None:
    """Make the new name durable; file systems that cannot do this have nothing better to offer."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
