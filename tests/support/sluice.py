"""A TCP relay in threads whose gate can be shut on a certain request: it is let through later, or never.

So a write can be under way for longer than its writer is alive, or believes to be: what is sent while the
gate is shut waits in here, in order, and reaches the server when it is opened.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Sluice:
    """Passes bytes between its own port and `target_port`, connection by connection."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.held = threading.Event()
        """Something waits in front of the gate."""
        self._wanted: tuple[bytes, ...] = ()
        self._open = threading.Event()
        self._open.set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, name="sluice", daemon=True).start()

    def shut(self, *words: bytes) -> None:
        """Hold the next request that has all of these words in it, and whatever follows on its connection."""
        self._wanted = words
        self._open.clear()

    def open(self) -> None:
        """Let through what waits."""
        self._wanted = ()
        self._open.set()

    def close(self) -> None:
        """Cut every connection."""
        self.open()
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target_port))
                self._ends += [near, far]
                for work in (self._there, self._back):
                    threading.Thread(target=work, args=(near, far), daemon=True).start()

    def _there(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65_536):
                if self._wanted and all(word in data for word in self._wanted):
                    self._wanted = ()
                    self.held.set()
                    self._open.wait()
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)

    def _back(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65_536):
                near.sendall(data)
            near.shutdown(socket.SHUT_WR)


@contextmanager
def sluice(target_port: int) -> Iterator[Sluice]:
    """Relay until the block ends."""
    gate = Sluice(target_port)
    try:
        yield gate
    finally:
        gate.close()
