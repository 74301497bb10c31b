"""Gateways that send all they can to the candidates: every migration that is promised, and the way back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.support.answers import Json
from tests.support.deploy import Deployed, Simulated, deployed, migration, write_config
from tests.support.features import H45, H55, O5, O45, O46, O47, O48, O55, PLAIN, S45, S55

Pair = tuple[str, str]

HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "x-gateway-unit": "tester"}
BY_CONTROL = {"x_gateway_force_arm": "control", "x_gateway_token": "e2e-operator-token"}
"""Headers of `Line.through` that have control answer whatever the weight is."""
MESSAGES = "/v1/messages"

# A requested id belongs to one migration, so every candidate of Opus 4.5 needs a gateway of its own.
MOVES: dict[str, list[Pair]] = {
    "first": [(O45, O46), (S45, S55), (H45, H55)],
    "second": [(O45, O47)],
    "third": [(O45, O48)],
    "fourth": [(O45, O5)],
    "fifth": [(O45, O55)],
}
PAIRS = {gateway: [*pairs, *((to, origin) for origin, to in pairs)] for gateway, pairs in MOVES.items()}


def name_of(pair: Pair) -> str:
    """The name of the migration."""
    control, candidate = (model.removeprefix("claude-") for model in pair)
    return f"{control}-to-{candidate}"


@dataclass(frozen=True)
class Line:
    """A gateway, and the upstream behind it."""

    gateway: Deployed
    upstream: Simulated

    def directly(self, body: Json, path: str = MESSAGES, **headers: str) -> httpx2.Response:
        """Ask the upstream without the gateway; a header's underscores are dashes."""
        return self.upstream.http.post(self.upstream.url + path, json=body, headers=_headers(headers))

    def through(self, body: Json, path: str = MESSAGES, **headers: str) -> httpx2.Response:
        """Ask the gateway."""
        return self.gateway.http.post(self.gateway.url + path, json=body, headers=_headers(headers))


def _headers(more: dict[str, str]) -> dict[str, str]:
    return HEADERS | {name.replace("_", "-"): value for name, value in more.items()}


class Lines:
    """The gateways, each started when one of its pairs is first asked for."""

    def __init__(self, upstream: Simulated, directory: Path) -> None:
        self._upstream = upstream
        self._directory = directory
        self._running: dict[str, Line] = {}
        self.stack = ExitStack()

    def of(self, pair: Pair) -> Line:
        """Return the gateway that carries the pair."""
        name = next(name for name, pairs in PAIRS.items() if pair in pairs)
        if name not in self._running:
            self._running[name] = self.stack.enter_context(self._start(name))
        return self._running[name]

    @contextmanager
    def _start(self, name: str) -> Iterator[Line]:
        """Send everything to the candidates, and enrol the unit of these tests there."""
        directory = self._directory / name
        migrations = (migration(name_of(pair), *pair) for pair in PAIRS[name])
        with deployed(write_config(directory, self._upstream.url, *migrations), directory) as gateway:
            line = Line(gateway, self._upstream)
            for pair in PAIRS[name]:
                gateway.act(name_of(pair), "start", reason="test")
                gateway.set_weight(name_of(pair), 100)
                first = line.through({"model": pair[0], **PLAIN})
                assert first.headers["x-gateway-served-model"] == pair[1]
            yield line
