"""Migrations that run themselves, as people would watch them: a fleet of real processes, and its callers.

A `Fleet` is some `gateway serve` on one store (a redis-server, or SQLite on one machine), each of which can
be killed, frozen and started again on the same port. A crowd asks at a steady pace in a thread of its own,
whatever the test does meanwhile, and remembers what each caller met. Time is compressed: stages hold for a
second or two, and gates are content with few requests (`document`).
"""

import asyncio
import itertools
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic, time
from typing import Any

from gateway.core.types import parse_json, to_json
from gateway.demo.apps import Conversation, load_templates
from gateway.proxy.transport.wire import Origin, Wire
from tests.support.deploy import REPOSITORY, Deployed, Simulated, deployed, eventually, write_config
from tests.support.redis_server import RedisServer, binaries

Json = dict[str, Any]

OPERATOR = "e2e-operator-token"
"""Of olga's, who starts nothing here and may therefore approve."""
SOON = {"window": "30s", "min_requests": 10, "min_units": 5}
BREAKERS: Json = {
    "error_rate": {"max": 0.2, **SOON},
    "fallback_rate": {"max": 0.2, **SOON},
    "latency_p95_s": {"max": 30, "window": "30s", "min_requests": 10},
    "quality_issues": {"max": 3, "window": "60s"},
    "cost_ratio": None,
}
"""Cost is compared where a test asks for it: the models of a pair differ in price."""
UNHELD: Json = {"ttft": None, "slow_share": None, "cost": None, "output_tokens": None}
"""No comparison that holds: for the same reason, and because they differ in pace."""
HEADERS = [
    (b"x-api-key", b"sk-crowd"),
    (b"anthropic-version", b"2023-06-01"),
    (b"content-type", b"application/json"),
]


def stage(name: str, percent: float, **more: Any) -> Json:
    """Return a stage as a document has it."""
    return {"name": name, "percent": percent, **more}


HALF = [stage("half", 50, hold="10m"), stage("full", 100)]
"""A stage that is not left while a test lasts, and the one behind it."""


def document(name: str, pair: tuple[str, str], stages: Sequence[Json] = HALF, **more: Any) -> Json:
    """Return a migration of `pair` that is judged within seconds; `breaker` changes its absolute limits."""
    gates: Json = {"breaker": {**BREAKERS, **more.pop("breaker", {})}, "hold": UNHELD}
    control, candidate = pair
    return {
        "name": name,
        "control": control,
        "candidate": candidate,
        "match": {"models": [control]},
        "stages": list(stages),
        "gates": {**gates, **more.pop("gates", {})},
        "checklist": "advisory",
        **more,
    }


# --- callers ------------------------------------------------------------------------------------------------


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


# --- the fleet ----------------------------------------------------------------------------------------------


@dataclass
class Fleet:
    """Some gateways on one store."""

    config: Path
    directory: Path
    store_url: str
    upstream: Simulated
    redis: RedisServer | None
    replicas: list[Deployed] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas]

    @property
    def first(self) -> Deployed:
        """The first replica that runs and is not frozen, as far as this knows."""
        return next(replica for replica in self.replicas if replica.process.poll() is None)

    def launch(self, count: int) -> None:
        """Start so many replicas at once."""
        with ThreadPoolExecutor() as together:
            self.replicas = list(together.map(self._launch, range(count)))

    def relaunch(self, *numbers: int) -> None:
        """Start replicas again that were killed: on the same ports, with the same disks."""
        with ThreadPoolExecutor() as together:
            again = list(together.map(self._launch, numbers))
        for number, replica in zip(numbers, again, strict=True):
            self.replicas[number] = replica

    def _launch(self, number: int) -> Deployed:
        port = int(self.replicas[number].url.rpartition(":")[2]) if number < len(self.replicas) else None
        place = self.directory / (f"replica-{number}" if self.redis else "shared")
        running = deployed(self.config, place, store_url=self.store_url, port=port)
        return self._stack.enter_context(running)

    def crash(self, *numbers: int) -> None:
        """Kill replicas (SIGKILL), and wait until they are gone."""
        for number in numbers:
            self.replicas[number].process.send_signal(signal.SIGKILL)
        for number in numbers:
            self.replicas[number].process.wait(10)

    def start(self, *names: str) -> None:
        """Start these migrations, as root."""
        with ThreadPoolExecutor() as together:
            list(together.map(lambda name: self.first.act(name, "start", reason="test"), names))

    def status(self, name: str) -> Json:
        return self.first.status(name)

    def phase(self, name: str, *phases: str, within_s: float = 20.0) -> Json:
        """Wait until a migration is in one of these phases; return its status."""
        return self.until(name, lambda status: status["phase"] in phases, within_s=within_s)

    def until(self, name: str, holds: Callable[[Json], object], *, within_s: float = 20.0) -> Json:
        """Wait until a migration's status is as wanted, and return it."""
        seen: Json = {}

        def there() -> bool:
            seen.clear()
            seen.update(self.status(name))
            return bool(holds(seen))

        try:
            eventually(there, within_s=within_s, every_s=0.1)
        except AssertionError as late:
            raise AssertionError(f"{name}: {late}; {_shown(seen)}") from None
        return seen

    def events(self, name: str, *verbs: str) -> list[Json]:
        """Return the audit log, or what it has of these verbs."""
        found: list[Json] = self.first.admin("GET", f"/migrations/{name}/events").json()["data"]
        return [event for event in found if not verbs or event["verb"] in verbs]

    def incidents(self, name: str) -> list[Json]:
        found: list[Json] = self.first.admin("GET", f"/migrations/{name}/incidents").json()["data"]
        return found

    def leaders(self) -> list[int]:
        """Return the numbers of the replicas that say by their own metrics that they lead."""
        return [
            number
            for number, replica in enumerate(self.replicas)
            if replica.process.poll() is None and replica.metrics().get("gateway_leader") == 1
        ]

    def leader(self, *, within_s: float = 20.0) -> int:
        """Wait until there is exactly one, and return its number."""
        (number,) = eventually(
            lambda: [*found] if len(found := self.leaders()) == 1 else None, within_s=within_s
        )
        return int(number)

    def evidence(self, name: str) -> Json:
        """Return what the leader has written down, and under which epoch, as it lies in Redis."""
        assert self.redis is not None
        with self.redis.client() as client:
            kept = client.hgetall(f"gw:{{{name}}}:document:evidence")
        return {"epoch": int(kept[b"epoch"]), **parse_json(kept[b"body"])}


@contextmanager
def fleet(
    directory: Path,
    upstream: Simulated,
    documents: Sequence[Json],
    *,
    replicas: int = 2,
    shares_redis: bool = True,
    **sections: Json,
) -> Iterator[Fleet]:
    """Run so many gateways with these migrations until the block ends, on a Redis of their own or on
    SQLite; `sections` are gateway.yaml's."""
    config = write_config(directory, upstream.url, *documents, catalogue=None, **sections)
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(next(iter(binaries().values())))) if shares_redis else None
        store_url = redis.url if redis else f"sqlite:///{directory}/gateway.db"
        running = Fleet(config, directory, store_url, upstream, redis, _stack=stack)
        running.launch(replicas)
        yield running


def gate(status: Json, name: str) -> Json:
    """Return one gate of a status."""
    found: list[Json] = [each for each in status["gates"] if each["name"] == name]
    assert found, f"there is no {name}: {_shown(status)}"
    return found[0]


def failed_gates(event: Json) -> list[str]:
    """Return the gates that a rollback names as its cause."""
    return [each["name"] for each in event["evidence"]["gates"]]


def _shown(status: Json) -> str:
    gates = (f"{each['name']} {each['verdict']}: {each['reason']}" for each in status.get("gates", ()))
    told = (
        f"{key}={status.get(key)}" for key in ("phase", "reason", "weight_percent", "decision", "summary")
    )
    return "\n  ".join((" ".join(told), *gates))
