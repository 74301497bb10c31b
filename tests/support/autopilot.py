"""Migrations that run themselves, as people would watch them: a fleet of real processes.

A `Fleet` is some `gateway serve` on one store (a redis-server, or SQLite on one machine), each of which can
be killed, frozen and started again on the same port. Time is compressed: stages hold for a second or two, and
gates are content with few requests (`document`).
"""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.types import parse_json
from tests.support.deploy import Deployed, Simulated, deployed, eventually, write_config
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


# --- the fleet ----------------------------------------------------------------------------------------------


@dataclass
class Fleet:
    """Some gateways on one store."""

    config: Path
    directory: Path
    store_url: str
    upstream: Simulated
    redis: RedisServer | None
    env: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[int, str] = field(default_factory=dict)
    """Where a replica finds the store, if it is to be by a way of its own."""
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
        store_url = self.links.get(number, self.store_url)
        running = deployed(self.config, place, store_url=store_url, port=port, env=self.env)
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

    def evidence(self, name: str, *, watched_s: float = 0.0, epoch: int = 0) -> Json:
        """Return what the leader has written down, and under which epoch, as it lies in Redis; empty until a
        stage has been watched for so long, under such an epoch."""
        assert self.redis is not None
        with self.redis.client() as client:
            kept = client.hgetall(f"gw:{{{name}}}:document:evidence")
        if not kept:
            return {}
        found = {"epoch": int(kept[b"epoch"]), **parse_json(kept[b"body"])}
        return found if found["watched_s"] >= watched_s and found["epoch"] >= epoch else {}


@contextmanager
def fleet(
    directory: Path,
    upstream: Simulated,
    documents: Sequence[Json],
    *,
    replicas: int = 2,
    redis: RedisServer | None = None,
    sqlite: bool = False,
    env: Mapping[str, str] | None = None,
    links: Mapping[int, str] | None = None,
    **sections: Json,
) -> Iterator[Fleet]:
    """Run so many gateways with these migrations until the block ends: on a Redis of their own unless one is
    given, or on SQLite; `sections` are gateway.yaml's."""
    config = write_config(directory, upstream.url, *documents, catalogue=None, **sections)
    with ExitStack() as stack:
        if redis is None and not sqlite:
            redis = stack.enter_context(RedisServer(next(iter(binaries().values()))))
        store_url = redis.url if redis else f"sqlite:///{directory}/gateway.db"
        running = Fleet(config, directory, store_url, upstream, redis, env or {}, links or {}, _stack=stack)
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
