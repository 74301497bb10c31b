"""Which processes that share a disk are still there.

Every process holds a lock on `DATA_DIR/replicas/<its id>` as long as it lives. The kernel lets go of it when
the process ends, however it ends, so a sibling that can have the lock knows that nobody serves under that id
any more; a process that is merely frozen keeps it. Unlike a pid, a lock is never given to somebody else, and
means the same in every container. It proves nothing across machines, so a file that was written under another
boot of a kernel is left alone: what can be said of its process is that its heartbeat ends.

A disk that refuses is no reason not to serve; then nobody can tell earlier than by the heartbeat.
"""

import fcntl
import logging
import os
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "replicas"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Presence:
    """One process among those that share `data_dir`. Its methods touch the disk for a moment."""

    def __init__(self, data_dir: Path, replica_id: str) -> None:
        self._folder, self._id = data_dir / FOLDER, replica_id
        self._held: int | None = None

    def show(self) -> None:
        """Be known to be alive from now on; never fails."""
        if self._held is not None:
            return
        temporary = self._folder / f".{self._id}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._held = descriptor
            os.write(descriptor, _kernel())
            # Locked before it has its name: nobody may find it free while this process lives.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.replace(temporary, self._folder / self._id)
        except OSError as error:
            logger.warning("siblings cannot see whether this process lives", extra={"error": str(error)})
            self.leave(forgotten=False)

    def leave(self, *, forgotten: bool) -> None:
        """Let go; `forgotten` says that the fleet does not wait for this process any more."""
        if self._held is not None:
            if forgotten:
                with suppress(OSError):
                    (self._folder / self._id).unlink(missing_ok=True)
            os.close(self._held)
            self._held = None

    def dead(self, replicas: Iterable[str]) -> frozenset[str]:
        """Return those that certainly have ended: they shared this disk and kernel, and hold no lock."""
        return frozenset(each for each in replicas if each != self._id and self._is_free(self._folder / each))

    def sweep(self, expected: Collection[str]) -> frozenset[str]:
        """Return the dead among `expected`, and remove the files of whom nobody expects any more."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                strange = (
                    path.name != self._id and path.name not in expected and not path.name.startswith(".")
                )
                if strange and (self._is_free(path) or path.read_bytes() != _kernel()):
                    path.unlink()
        return self.dead(expected)

    def _is_free(self, path: Path) -> bool:
        if path.parent != self._folder:
            return False
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if os.read(descriptor, 256) != _kernel():
                return False
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True


def _kernel() -> bytes:
    """Return what names this boot of this machine's kernel."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return socket.gethostname().encode()
