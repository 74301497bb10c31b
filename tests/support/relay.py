"""A TCP relay on loopback, for what a server cannot be made to do: TLS, lost answers, silent links."""

import asyncio
import ssl
from pathlib import Path
from typing import Self

CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"
"""Key and certificate of 127.0.0.1, its own authority, for nothing but tests."""


class Relay:
    """Passes bytes between its own port and `target_port`, connection by connection."""

    def __init__(self, target_port: int, *, tls: bool = False) -> None:
        self.target_port = target_port
        self.port = 0
        self.accepted = 0
        """Connections so far."""
        self.received: list[bytes] = []
        """What clients sent, in the pieces in which it came."""
        self.lose_answer_to: bytes | None = None
        """Deliver the next request that holds this, then cut its connection in place of an answer."""
        self._tls = _server_context() if tls else None
        self._silent: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def silence(self) -> None:
        """From here on swallow whatever comes over the present connections, which stay open."""
        self._silent |= self._clients

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self._clients.add(writer)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        try:
            async with asyncio.TaskGroup() as group:
                losing = asyncio.Event()
                group.create_task(self._there(reader, far_writer, writer, losing))
                group.create_task(self._back(far_reader, writer, losing))
        except* (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._clients.discard(writer)
            for end in (writer, far_writer):
                end.close()

    async def _there(
        self,
        reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        losing: asyncio.Event,
    ) -> None:
        while data := await reader.read(65_536):
            self.received.append(data)
            if writer in self._silent:
                continue
            if self.lose_answer_to is not None and self.lose_answer_to in data:
                self.lose_answer_to = None
                losing.set()
            far_writer.write(data)
            await far_writer.drain()
        raise ConnectionResetError("the client has left")

    async def _back(
        self, far_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await far_reader.read(65_536):
            if losing.is_set():
                break
            if writer not in self._silent:
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError("the server has left, or is to seem so")


def _server_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context
