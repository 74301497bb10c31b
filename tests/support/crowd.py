"""Callers who ask at a steady pace in a thread of their own, and remember what each of them met.

A crowd asks on whatever the test does meanwhile, and however long answers take, as applications do. Each
trade is one application with users of its own; what goes wrong for it alone is said in the header that the
simulator reads.
"""

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from time import monotonic, time
from typing import Any

from gateway.core.types import to_json
from gateway.demo.apps import Conversation, load_templates
from gateway.proxy.transport.wire import Origin, Wire
from tests.support.deploy import REPOSITORY, eventually

Json = dict[str, Any]

HEADERS = [
    (b"x-api-key", b"sk-crowd"),
    (b"anthropic-version", b"2023-06-01"),
    (b"content-type", b"application/json"),
]


@dataclass(frozen=True, slots=True)
class Trade:
    """What one application asks, and how often."""

    migration: str
    model: str
    per_s: float = 8.0
    units: int = 120
    streams: bool = False
    task: str = ""
    """`extraction`: asks for JSON, as the demo's application of that name does."""
    fault: str = ""
    """What strikes this trade alone, and which of its models, as the simulator takes it; it may change while
    the crowd is at work (`Crowd.strike`)."""
    rate: float = 1.0
    """The share of the requests that it strikes."""


@dataclass(frozen=True, slots=True)
class Met:
    """One request, as its caller met it."""

    migration: str
    unit: str
    gateway: str
    began_at: float
    """Epoch seconds."""
    took_s: float
    status: int
    """0: no answer at all, or one that broke off."""
    headers: Mapping[str, str]
    error: str = ""
    """What the answer said was wrong, though it began well."""

    @property
    def arm(self) -> str:
        return self.headers.get("x-gateway-arm", "")

    @property
    def well(self) -> bool:
        return self.status == 200 and not self.error


class Crowd:
    """Callers at work. `met` grows; read it from any thread."""

    def __init__(self, gateways: Sequence[str], trades: Sequence[Trade]) -> None:
        self.met: deque[Met] = deque()
        self.gateways = list(gateways)
        """May be changed while the crowd is at work."""
        self._faults = {trade.migration: (trade.fault, trade.rate) for trade in trades}
        self._trades = trades
        self._chance = Random(5)
        self._wires: dict[str, Wire] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="crowd", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def of(self, migration: str, *, since: float = 0.0) -> list[Met]:
        """Return what callers of one migration met, of requests that began since then."""
        return [each for each in list(self.met) if each.migration == migration and each.began_at >= since]

    def until(self, migration: str, more: int, *, within_s: float = 30.0) -> None:
        """Wait until callers of a migration have met that many more answers."""
        goal = len(self.of(migration)) + more
        eventually(lambda: len(self.of(migration)) >= goal, within_s=within_s)

    def strike(self, migration: str, fault: str = "", *, rate: float = 1.0) -> None:
        """Let another fault strike from now on, or none."""
        self._faults[migration] = fault, rate

    def begin(self) -> None:
        """Begin to ask."""
        self._thread.start()
        self._started.wait(10)

    def end(self) -> None:
        """Stop asking, and wait for the last answers."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(40)

    async def _work(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        async with asyncio.TaskGroup() as asking:
            for trade in self._trades:
                asking.create_task(self._ask_on(trade, asking, self._stop))
        for wire in self._wires.values():
            wire.close()

    async def _ask_on(self, trade: Trade, asking: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Ask at a steady pace, however long answers take."""
        due = monotonic()
        for number in itertools.count():
            if stop.is_set():
                return
            url = self.gateways[number % len(self.gateways)]
            asking.create_task(self._ask(trade, url, number))
            due += 1 / trade.per_s
            try:
                await asyncio.wait_for(stop.wait(), max(due - monotonic(), 0.0))
            except TimeoutError:
                continue

    async def _ask(self, trade: Trade, url: str, number: int) -> None:
        unit = f"user-{number * 7 % trade.units}"
        headers = [*HEADERS, (b"x-gateway-unit", unit.encode())]
        if trade.task:
            headers.append((b"x-gateway-task", trade.task.encode()))
        fault, rate = self._faults[trade.migration]
        if fault and self._chance.random() < rate:
            headers.append((b"x-simulator-fault", fault.encode()))
        began_at, began = time(), monotonic()
        answered: dict[str, str] = {}
        status, error = 0, ""
        try:
            body = to_json(_body(trade, unit, number))
            exchange = await self._wire(url).send(b"POST", b"/v1/messages", headers, body)
            answered = {name.decode(): value.decode("latin-1") for name, value in exchange.headers}
            answer = await exchange.read_all(1 << 20)
            status, error = exchange.status, _wrong(answer, streams=trade.streams)
        except Exception as failure:
            error = repr(failure)
        took_s = monotonic() - began
        self.met.append(Met(trade.migration, unit, url, began_at, took_s, status, answered, error))

    def _wire(self, url: str) -> Wire:
        if url not in self._wires:
            self._wires[url] = Wire(Origin.parse(url), connect_timeout_s=5, first_byte_timeout_s=30)
        return self._wires[url]


_EXTRACTION = next(
    template for template in load_templates(REPOSITORY / "config" / "demo") if template.expects == "json"
)


def _body(trade: Trade, unit: str, number: int) -> Json:
    if trade.task == "extraction":
        return {**Conversation(_EXTRACTION, user=unit, number=number, model=trade.model).body}
    turns = [{"role": "user", "content": f"Hello {number} from {unit}"}]
    return {"model": trade.model, "max_tokens": 4000, "stream": trade.streams, "messages": turns}


def _wrong(answer: bytes, *, streams: bool) -> str:
    """Return what an answer says was wrong; empty: it is whole."""
    if not streams:
        return "" if answer.endswith(b"}") else "cut"
    if b"event: error" in answer:
        return "stream_error"
    return "" if b"message_stop" in answer else "cut"


@contextmanager
def crowd(gateways: Sequence[str], *trades: Trade) -> Iterator[Crowd]:
    """Let callers ask until the block ends."""
    callers = Crowd(gateways, trades)
    callers.begin()
    try:
        yield callers
    finally:
        callers.end()
