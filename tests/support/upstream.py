"""The simulator behind a real socket: the upstream of every test that sends requests.

    with running_simulator() as upstream:
        ... upstream.url ...
        upstream.set_faults("kind=overloaded,model=claude-opus-5-5,rate=0.5")
        [request] = upstream.requests(model="claude-opus-5-5")

It is served by uvicorn on an event loop in a thread of its own, so it goes on while a test blocks, and it
answers without waiting (`speed=0`) and without refusals of its own (`refusals=0`), unless told otherwise.
`stop` and `start` take the upstream away and bring it back on the same port.
"""

import asyncio
import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from gateway.compat.catalog import Catalogue
from gateway.config import load_catalogue
from gateway.simulator.app import Simulator, build_simulator
from gateway.simulator.faults import parse_fault
from gateway.simulator.rules.switches import Switches
from gateway.tasks import Clock, SystemClock

CATALOGUE_FILE = Path(__file__).parents[2] / "config" / "models.yaml"
DEADLINE_S = 10.0


def shipped_catalogue() -> Catalogue:
    """The catalogue that is shipped."""
    return load_catalogue(CATALOGUE_FILE)


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as the upstream saw it."""

    seq: int
    at: float
    """Arrival of the request's head, epoch seconds."""
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    """In the order of arrival, names in lower case."""
    model: str | None
    status: int | None
    """None while there is no answer, or if there never was one."""
    fault: str | None
    body: bytes
    """At most its first 64 KiB."""
    body_bytes: int
    body_sha256: str
    hung_up: bool
    """Whether the client left before the answer was complete."""
    finished_at: float | None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for key, value in self.headers if key == name.lower()), None)


class Upstream:
    """A simulator on a loopback port."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._port = 0
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen; on the same port as before, if there was one."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(1024)
        self._port = listener.getsockname()[1]
        self._server = _Server(self.simulator, listener)

    def stop(self) -> None:
        """Close the port and every connection at once; the log stays."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def set_faults(self, *specs: str) -> None:
        """Put these faults in force, and no others."""
        self.call("PUT", "/simulator/faults", {"faults": specs})

    def requests(
        self, *, since: int = 0, path: str | None = None, model: str | None = None
    ) -> list[LoggedRequest]:
        """The log, oldest first: requests after `since`, of one path or requested model if given."""
        found: list[LoggedRequest] = []
        while True:
            page = self.call("GET", f"/simulator/requests?since={since}")
            found += [_logged(entry) for entry in page["data"]]
            since = page["last_seq"]
            if not page["has_more"]:
                break
        return [
            request for request in found if path in (None, request.path) and model in (None, request.model)
        ]

    def wait_for(
        self, condition: Callable[[list[LoggedRequest]], object], *, deadline_s: float = DEADLINE_S
    ) -> list[LoggedRequest]:
        """Block until the log meets a condition, and return it; TimeoutError after the deadline."""
        pause, give_up_at = threading.Event(), time.monotonic() + deadline_s
        while not condition(found := self.requests()):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the upstream's log still does not meet the condition: {found}")
            pause.wait(0.005)
        return found

    def forget_requests(self) -> None:
        """Empty the log."""
        self.call("DELETE", "/simulator/requests")

    def stats(self) -> Any:
        """Counts by requested model."""
        return self.call("GET", "/simulator/stats")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call one of the simulator's own endpoints and return its JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_S)
        with closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            value = json.load(answer)
        if answer.status != 200:
            raise ValueError(value["error"]["message"])
        return value


@contextmanager
def running_simulator(
    catalogue: Catalogue | None = None,
    *,
    faults: Iterable[str] = (),
    speed: float = 0.0,
    seed: int = 0,
    switches: Switches | None = None,
    refusals: float = 0.0,
    clock: Clock | None = None,
) -> Iterator[Upstream]:
    """A simulator on a free loopback port, with the shipped catalogue unless another is given."""
    simulator = build_simulator(
        catalogue or shipped_catalogue(),
        clock=clock or SystemClock(),
        faults=[parse_fault(spec) for spec in faults],
        speed=speed,
        seed=seed,
        switches=switches,
        refusals=refusals,
    )
    upstream = Upstream(simulator)
    upstream.start()
    try:
        yield upstream
    finally:
        upstream.stop()


class _Server:
    """uvicorn on a loop of its own, without its signal handling and its once-a-tenth-of-a-second wake-ups."""

    def __init__(self, simulator: Simulator, listener: socket.socket) -> None:
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(simulator, lifespan="off", log_config=None, access_log=False, ws="none")
        )
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()
        if not self._started.wait(DEADLINE_S):
            raise TimeoutError("the simulator did not start")

    def stop(self) -> None:
        if self._loop is None or self._stopping is None:
            raise RuntimeError("the simulator did not start")
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(DEADLINE_S)
        if self._thread.is_alive():
            raise TimeoutError("the simulator did not stop")

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        config = self._server.config
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup(sockets=[self._listener])
        self._started.set()
        await self._stopping.wait()
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        for server in self._server.servers:
            await server.wait_closed()
        while tasks := set(self._server.server_state.tasks):
            await asyncio.wait(tasks)
        self._listener.close()


def _logged(entry: dict[str, Any]) -> LoggedRequest:
    headers = tuple((name, value) for name, value in entry.pop("headers"))
    return LoggedRequest(headers=headers, **(entry | {"body": base64.b64decode(entry["body"])}))
