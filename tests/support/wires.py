"""Wires for tests, hung up at their end, and the shortest ways to send something."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.proxy.transport.wire import Exchange, Origin, Wire

_WIRES: list[Wire] = []


def wire_to(url: str, *, connect_s: float = 2.0, first_byte_s: float = 5.0, **more: float) -> Wire:
    """Return a wire with deadlines for tests; `hung_up` closes it."""
    wire = Wire(Origin.parse(url), connect_timeout_s=connect_s, first_byte_timeout_s=first_byte_s, **more)
    _WIRES.append(wire)
    return wire


@asynccontextmanager
async def hung_up() -> AsyncIterator[None]:
    """Close every wire at the end, and let both sides notice."""
    yield
    while _WIRES:
        _WIRES.pop().close()
    await others_run()


async def others_run() -> None:
    """Let a reader on this loop take what was written, as a segment of its own."""
    for _ in range(20):
        await asyncio.sleep(0)


async def get(wire: Wire, target: bytes = b"/v1/models") -> Exchange:
    return await wire.send(b"GET", target, [], b"")


async def post(wire: Wire, body: bytes | AsyncIterator[bytes]) -> Exchange:
    return await wire.send(b"POST", b"/v1/messages?beta=true", [(b"x-odd", b"caf\xe9")], body)
