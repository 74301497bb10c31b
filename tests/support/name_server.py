"""A name server with the few answers that a test gives it: A records over UDP, nothing else."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

ANSWER, NO_SUCH_NAME, TYPE_A, CLASS_IN = 0x8180, 0x8183, 1, 1
QUESTION_AT = 12


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """Answers who is known, and that all others do not exist."""

    known: dict[str, str] = field(default_factory=dict)
    """IPv4 address by name."""
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, after = _name(data)
        kind = struct.unpack_from("!H", data, after)[0]
        address = self.known.get(name) if kind == TYPE_A else None
        flags = NO_SUCH_NAME if name not in self.known else ANSWER
        reply = data[:2] + struct.pack("!HHHHH", flags, 1, int(address is not None), 0, 0)
        reply += data[QUESTION_AT : after + 4]
        if address is not None:
            reply += struct.pack("!HHHIH", 0xC000 | QUESTION_AT, TYPE_A, CLASS_IN, 1, 4)
            reply += socket.inet_aton(address)
        if self._transport is not None:
            self._transport.sendto(reply, addr)


def _name(query: bytes) -> tuple[str, int]:
    labels, at = [], QUESTION_AT
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode("ascii"))
        at += 1 + size
    return ".".join(labels), at + 1


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """Run a name server on loopback until the block ends."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
