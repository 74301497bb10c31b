"""The processes of `serve --workers N`: a parent that only supervises, and workers that do not outlive it.

uvicorn restarts a worker that died. Three things are added. If a worker dies before any has ever served, the
next would as well: the parent ends, and so does `serve`. A worker whose parent is gone, however it went, ends
in good order, so that no port stays taken by processes that nobody knows of. And what a killed `serve` left
behind in the data directory goes when the next one starts.
"""

import fcntl
import logging
import multiprocessing
import os
import pkgutil
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

_METRICS = "metrics-"
_GLANCE_S = 0.1


class Workers(Multiprocess):
    """The parent."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        if isinstance(config.app, str):
            config.app = Factory(config.app)
        super().__init__(config, [listener])
        self.failed = False
        """Whether a worker died before any had served."""
        self._ready: set[int | None] = set()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died or hang; give up where none has ever served."""
        for index, worker in enumerate(self.processes):
            if self.should_exit.is_set() or self.signal_queue:
                return
            if worker.exitcode is None and self._is_well(worker):
                continue
            worker.kill()
            worker.join()
            if not self._ready:
                self.failed = True
                self.should_exit.set()
                return
            logger.error("a worker ended and is replaced", extra={"exit_code": worker.exitcode})
            self.processes[index] = Process(self.config, self.sockets)
            self.processes[index].start()

    def _is_well(self, worker: Process) -> bool:
        """Whether it serves or is on its way there; how long that takes depends on the machine."""
        if worker.pid in self._ready:
            return worker.is_alive(timeout=self.config.timeout_worker_healthcheck)
        if worker.is_ready(timeout=_GLANCE_S):
            self._ready.add(worker.pid)
        return True


class Factory:
    """What makes the application in a worker; it is sent there from the parent."""

    def __init__(self, app: str) -> None:
        self._app = app

    def __call__(self) -> Any:
        """Return the application; a reason why there is none is one line."""
        _end_with_parent()
        try:
            return pkgutil.resolve_name(self._app)()
        except GatewayError as error:
            logger.error("a worker could not start: %s", error.message)
            raise SystemExit(STARTUP_FAILURE) from None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()  # a pipe that the system closes with the parent, so a kill is noticed as well
        logger.error("the parent of this worker is gone; the worker ends")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextmanager
def metrics_directory(data_dir: Path) -> Iterator[Path]:
    """Give a new directory for what the workers of one `serve` count, and remove it afterwards.

    It is locked for as long as its owner lives. Those that nobody holds any more are removed first: process
    ids would not say that, where containers that share the data directory count from 1 each.
    """
    with _locked(data_dir, fcntl.LOCK_EX):
        for left in data_dir.glob(f"{_METRICS}*"):
            with suppress(OSError), _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(left)
        directory = Path(tempfile.mkdtemp(prefix=_METRICS, dir=data_dir))
        held = os.open(directory, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(held)


@contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
