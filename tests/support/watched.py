"""A watched fleet under the demo's traffic: two gateways on one Redis, a simulator, and a Prometheus.

The applications of the demo talk to both gateways; what happens to them is told by whoever holds the fleet.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import yaml

from gateway.compat.catalog import Catalogue
from gateway.config import load_catalogue
from gateway.demo.apps import Template, load_templates
from gateway.demo.callers import Callers
from gateway.demo.tally import Seen, Tally
from gateway.tasks import SystemClock
from tests.support.deploy import (
    REPOSITORY,
    STAGES,
    Deployed,
    Simulated,
    deployed,
    eventually,
    migration,
    simulated,
    write_config,
)
from tests.support.prometheus_server import Prometheus, prometheus
from tests.support.redis_server import RedisServer, binaries

NAME = "opus-4-5-to-5-5"
CONTROL, CANDIDATE, REQUESTED = "claude-opus-4-5-20251101", "claude-opus-5-5", "claude-opus-4-5"
UNGOVERNED = "claude-opus-4-8"
"""A model of no migration."""
USERS = 300
IN_A_HURRY = {"fallback_rate": {"max": 0.1, "window": "30s", "min_requests": 20, "min_units": 5}}
"""A breaker that trips within seconds."""


class Talk:
    """The demo's applications at several gateways, in a thread of their own."""

    def __init__(self, urls: list[str], catalogue: Catalogue, *, at_once: int) -> None:
        templates: tuple[Template, ...] = load_templates(REPOSITORY / "config" / "demo")
        clock = SystemClock()
        self.tally = Tally()
        self._crowds = [
            Callers(url, templates, catalogue, clock, model=REQUESTED, users=USERS, at_once=at_once)
            for url in urls
        ]
        self._pool = ThreadPoolExecutor(1)
        self._talking = self._pool.submit(asyncio.run, self._talk())

    def stop(self) -> None:
        """Begin nothing new and wait for the last answers; raises what went wrong."""
        for crowd in self._crowds:
            crowd.stop()
        self._talking.result(60)
        self._pool.shutdown()

    async def _talk(self) -> None:
        async with asyncio.TaskGroup() as group:
            for crowd in self._crowds:
                group.create_task(crowd.talk(lambda: "", self._count))

    def _count(self, _stage: str, seen: Seen) -> None:
        self.tally.add(seen)


@dataclass
class Watched:
    """The fleet, and who watches it."""

    gateways: list[Deployed]
    simulator: Simulated
    redis: RedisServer
    prometheus: Prometheus
    talk: Talk
    began_at: float
    alarming_while_well: list[str] = field(default_factory=list)
    """The alerts that were firing before anything was made to fail."""

    @property
    def first(self) -> Deployed:
        return self.gateways[0]

    def act(self, verb: str, reason: str) -> None:
        """Carry out a verb and wait until every replica obeys."""
        self.first.act(NAME, verb, reason=reason)
        self.first.settle(NAME)

    def phase(self) -> str:
        """Return the migration's phase."""
        return str(self.first.status(NAME)["phase"])

    def events(self) -> list[dict[str, Any]]:
        """Return the audit log."""
        return list(self.first.admin("GET", f"/migrations/{NAME}/events").json()["data"])

    def value(self, expr: str) -> float:
        """Return the only value of an expression; 0 if there is none yet."""
        series = self.prometheus.now(expr)
        return series[0].points[0][1] if series else 0.0

    def sees(self, expr: str, at_least: float, *, within_s: float = 60) -> None:
        """Wait until Prometheus has seen so much of something."""
        eventually(lambda: self.value(expr) >= at_least, within_s=within_s, every_s=0.25)

    def ask(self, model: str) -> Mapping[str, str]:
        """Ask one short question and return the answer's headers."""
        body = {
            "model": model,
            "max_tokens": 8,
            "messages": [{"role": "user", "content": "Good morning!"}],
        }
        headers = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
        answer = httpx2.post(f"{self.first.url}/v1/messages", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.headers

    def store_fails(self) -> None:
        """Let the store hang until a gateway has noticed."""
        self.redis.freeze()
        try:
            eventually(self._store_errors, within_s=30, every_s=0.2)
        finally:
            self.redis.thaw()

    def _store_errors(self) -> bool:
        samples = self.first.metrics().items()
        return sum(value for name, value in samples if name.startswith("gateway_store_errors_total")) >= 5


@contextmanager
def watched(
    directory: Path,
    *,
    speed: float = 0,
    at_once: int = 3,
    stages: Sequence[Mapping[str, Any]] = STAGES,
    breakers: Mapping[str, Any] = IN_A_HURRY,
    retires_in_days: int = 20,
    every_s: int = 1,
    hurry: int = 20,
) -> Iterator[Watched]:
    """Run it all until the block ends; every part is up and talks when this yields.

    `speed` is the simulator's, `at_once` the number of conversations at each gateway; control's model ends
    after so many days, of which the simulator's list of models knows nothing. `every_s` and `hurry` are
    Prometheus's.
    """
    catalogue = _catalogue(directory, retires_in_days)
    more = {"match": {"models": [REQUESTED, CONTROL]}, "gates": {"breaker": breakers}, "stages": stages}
    with ExitStack() as stack:
        simulator = stack.enter_context(simulated(directory, speed=speed))
        document = migration(NAME, CONTROL, CANDIDATE) | more
        config = write_config(directory, simulator.url, document, catalogue=catalogue)
        redis = stack.enter_context(RedisServer(next(iter(binaries().values()))))
        env = {"GATEWAY_UPSTREAM_API_KEY": "sk-test"}
        starting = [
            deployed(config, directory / f"gateway-{n}", store_url=redis.url, env=env) for n in (1, 2)
        ]
        with ThreadPoolExecutor() as together:
            gateways = list(together.map(stack.enter_context, starting))
        addresses = [gateway.url.removeprefix("http://") for gateway in gateways]
        watcher = stack.enter_context(
            prometheus(directory / "prometheus", addresses, every_s=every_s, hurry=hurry)
        )
        began_at = time.time()
        talk = Talk([gateway.url for gateway in gateways], load_catalogue(catalogue), at_once=at_once)
        stack.callback(talk.stop)
        yield Watched(gateways, simulator, redis, watcher, talk, began_at)


def pause(seconds: float) -> None:
    """Let the fleet go on by itself for a while."""
    threading.Event().wait(seconds)


def _catalogue(directory: Path, retires_in_days: int) -> Path:
    """Write a catalogue in which the control model ends soon; return its path."""
    document = yaml.safe_load((REPOSITORY / "config" / "models.yaml").read_text("utf-8"))
    ends = datetime.now(UTC).date() + timedelta(days=retires_in_days)
    (row,) = (row for row in document["models"] if row["id"] == CONTROL)
    row["lifecycle"] = {"status": "deprecated", "retires_on": ends}
    path = directory / "models.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path
