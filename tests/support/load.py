"""Callers in a crowd: conversations sent at several gateways at once, and what each of them met."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.core.types import to_json
from gateway.proxy.transport.wire import Origin, Wire

HEADERS = [
    (b"x-api-key", b"sk-load"),
    (b"anthropic-version", b"2023-06-01"),
    (b"content-type", b"application/json"),
]


@dataclass(frozen=True, slots=True)
class Met:
    """One request, as its caller met it."""

    unit: str
    gateway: str
    began_at: float
    """Epoch seconds."""
    took_s: float
    status: int
    """0: no answer at all."""
    headers: dict[str, str]

    @property
    def arm(self) -> str:
        return self.headers.get("x-gateway-arm", "")


@dataclass
class Load:
    """A crowd at work."""

    met: list[Met] = field(default_factory=list)
    stop: bool = False
    _answered: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def add(self, met: Met) -> None:
        """Note what a caller met."""
        async with self._answered:
            self.met.append(met)
            self._answered.notify_all()

    @property
    def failed(self) -> list[Met]:
        return [each for each in self.met if each.status != 200]

    async def until(self, more: int, *, within_s: float = 30.0) -> None:
        """Wait until the crowd has met that many more answers."""
        goal = len(self.met) + more
        async with asyncio.timeout(within_s), self._answered:
            await self._answered.wait_for(lambda: len(self.met) >= goal)

    def arms(self, *, since: float = 0.0) -> dict[str, set[str]]:
        """Return the arms that each unit met since then."""
        found: dict[str, set[str]] = {}
        for each in self.met:
            if each.began_at >= since and each.status == 200:
                found.setdefault(each.unit, set()).add(each.arm)
        return found


@asynccontextmanager
async def load(
    gateways: Sequence[str], *, model: str, callers: int = 8, units: int = 200, stream_every: int = 4
) -> AsyncIterator[Load]:
    """Keep `callers` asking in turn for `units` units, at every gateway alike, until the block ends."""
    crowd, numbers = Load(), itertools.count()
    wires = {url: Wire(Origin.parse(url), connect_timeout_s=5, first_byte_timeout_s=30) for url in gateways}

    async def caller() -> None:
        while not crowd.stop:
            number = next(numbers)
            url = gateways[number % len(gateways)]
            unit = f"user-{number * 7 % units}"
            streams = number % stream_every == 0
            await crowd.add(await _ask(wires[url], url, model, unit, streams=streams))

    asking = [asyncio.get_running_loop().create_task(caller()) for _ in range(callers)]
    try:
        yield crowd
    finally:
        crowd.stop = True
        await asyncio.gather(*asking)
        for wire in wires.values():
            wire.close()


async def _ask(wire: Wire, url: str, model: str, unit: str, *, streams: bool) -> Met:
    body = to_json(
        {
            "model": model,
            "max_tokens": 64,
            "temperature": 0.5,
            "stream": streams,
            "messages": [{"role": "user", "content": f"Hello from {unit}"}],
        }
    )
    began_at, began = time.time(), time.monotonic()
    headers: dict[str, str] = {}
    try:
        exchange = await wire.send(
            b"POST", b"/v1/messages", [*HEADERS, (b"x-gateway-unit", unit.encode())], body
        )
        headers = {name.decode(): value.decode("latin-1") for name, value in exchange.headers}
        answer = await exchange.read_all(1 << 20)
        whole = b"message_stop" in answer if streams else answer.endswith(b"}")
        status = exchange.status if whole else 0
    except Exception as error:
        headers["x-test-error"] = repr(error)
        status = 0
    return Met(unit, url, began_at, time.monotonic() - began, status, headers)
