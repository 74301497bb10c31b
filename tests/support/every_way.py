"""One real gateway that carries every ordered pair of current models, and a crowd that asks through it.

A requested id belongs to one migration, so an application names the way that it takes: `app-opus-4-5-to-…`.
All migrations are at 100 %. They are started in the store before the gateway is: one after the other through
the admin API, each of 342 starts would publish them all.

    with every_way(upstream, directory) as gateway:
        asking = Asking(gateway.url, betas=…)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from gateway.compat.catalog import Model
from gateway.config import load
from gateway.core.rollout import Order, carry_out
from gateway.core.spec import MigrationSpec
from gateway.core.types import Event, MigrationState, parse_json, to_json
from gateway.proxy.transport.wire import Origin, Wire
from gateway.store.backends.sqlite_store import SqliteStore
from gateway.tasks import SystemClock
from tests.support.answers import Json, folded
from tests.support.deploy import Deployed, Simulated, deployed, write_config
from tests.support.rows import CATALOGUE, EVERY_PAIR

Way = tuple[Model, Model]
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
MODELS = [model for model in CATALOGUE.models if model.lifecycle.status != "retired"]
AT_ONCE = 12
"""Requests on their way at a time."""
_LIMIT = 4 << 20
Item = TypeVar("Item")


def way_name(way: Way) -> str:
    """Return the name of a way's migration."""
    source, target = (model.id.removeprefix("claude-") for model in way)
    return f"{source}-to-{target}"


def application(way: Way) -> str:
    """Return the model id that an application on this way asks for."""
    return f"app-{way_name(way)}"


@contextmanager
def every_way(
    upstream: Simulated, directory: Path, ways: Iterable[Way] = tuple(EVERY_PAIR)
) -> Iterator[Deployed]:
    """Run a gateway with a migration a way, everybody on the candidates."""
    config = write_config(directory, upstream.url, *map(_document, ways))
    database = directory / "gateway.db"
    asyncio.run(_start(load(config).migrations, database))
    with deployed(config, directory, store_url=f"sqlite:///{database}") as gateway:
        yield gateway


def _document(way: Way) -> Json:
    source, target = way
    return {
        "name": way_name(way),
        "control": source.id,
        "candidate": target.id,
        "match": {"models": [application(way)]},
        "stages": [{"name": "full", "percent": 100}],
    }


async def _start(specs: Iterable[MigrationSpec], database: Path) -> None:
    store = SqliteStore(str(database), clock=SystemClock())
    await store.open()
    try:
        for spec in specs:
            order = Order("start", "test", time.time())
            state = carry_out(MigrationState(spec.name), order, spec)
            event = Event(order.at, order.by, order.verb, "test", {}, {})
            await store.commit(state, event, expected=(0, 0))
    finally:
        await store.close()


# --- asking -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body of an answer that is no stream."""
        return parse_json(self.body)

    @cached_property
    def message(self) -> Json:
        """The message, told as a stream or not."""
        streamed = self.headers.get("content-type", "").startswith("text/event-stream")
        message: Json = folded(self.body.decode()) if streamed else self.json
        return message

    @property
    def rewrites(self) -> dict[str, str]:
        """What was done: rule → class.

        Whether something of earlier turns was lost is left out: where a history was written by the
        application, a store that is slow (on a busy machine) may not have said in time that it kept nothing.
        """
        told = self.headers.get("x-gateway-rewrites", "")
        done = dict(part.split("=") for part in told.split(",") if part)
        return {rule: letter for rule, letter in done.items() if rule != "replay"}


@dataclass
class Asking:
    """Somebody who asks one server, over connections that stay."""

    url: str
    asked: int = 0
    _wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        self._wire = Wire(Origin.parse(self.url), connect_timeout_s=10, first_byte_timeout_s=120)

    async def ask(self, body: Json, path: str = MESSAGES, **headers: str) -> Answer:
        """Send a request; a header's underscores are dashes, and one without a value is left out."""
        named = {
            "x-api-key": "sk-test",
            "anthropic-version": "2023-06-01",
            "content-type": "application/json",
        }
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = [(name.encode(), value.encode()) for name, value in named.items() if value]
        exchange = await self._wire.send(b"POST", path.encode(), raw, to_json(body))
        told = {name.decode().lower(): value.decode("latin-1") for name, value in exchange.headers}
        self.asked += 1
        try:
            return Answer(exchange.status, told, await exchange.read_all(_LIMIT))
        finally:
            exchange.close()

    def close(self) -> None:
        self._wire.close()


@asynccontextmanager
async def asking(*urls: str) -> AsyncIterator[list[Asking]]:
    """Ask several servers."""
    made = [Asking(url) for url in urls]
    try:
        yield made
    finally:
        for each in made:
            each.close()


async def all_of(items: Iterable[Item], work: Callable[[Item], Awaitable[None]]) -> None:
    """Do something for every item, `AT_ONCE` at a time; the first error ends it."""
    queue = iter(list(items))

    async def worker() -> None:
        for item in queue:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
