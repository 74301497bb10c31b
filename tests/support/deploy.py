"""The product as people run it: `gateway serve` and `gateway simulate` on free ports, ended by pid."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

from tests.support.samples import read_page

ADMIN_TOKEN = "e2e-admin-token"
ADMIN_TOKENS = f"root:admin:{ADMIN_TOKEN},olga:operator:e2e-operator-token,vera:viewer:e2e-viewer-token"
REPOSITORY = Path(__file__).parents[2]
GATEWAY = Path(sys.executable).with_name("gateway")

STAGES = [
    {"name": "none", "percent": 0},
    {"name": "twenty", "percent": 20},
    {"name": "sixty", "percent": 60},
    {"name": "full", "percent": 100},
]


def migration(name: str, control: str, candidate: str, **more: Any) -> dict[str, Any]:
    """Return a migration document with stages 0, 20, 60, 100."""
    return {
        "name": name,
        "control": control,
        "candidate": candidate,
        "match": {"models": [control]},
        "stages": STAGES,
        "checklist": "advisory",
        **more,
    }


def write_config(
    directory: Path,
    upstream: str,
    /,
    *migrations: dict[str, Any],
    catalogue: Path | None = None,
    **sections: dict[str, Any],
) -> Path:
    """Write a configuration for these migrations and return its path; `sections` are gateway.yaml's own."""
    (directory / "migrations").mkdir(parents=True, exist_ok=True)
    for document in migrations:
        (directory / "migrations" / f"{document['name']}.yaml").write_text(yaml.safe_dump(document))
    path = directory / "gateway.yaml"
    models = catalogue or REPOSITORY / "config" / "models.yaml"
    document = {"catalogue": str(models), **sections}
    document["upstream"] = {"url": upstream, **sections.get("upstream", {})}
    path.write_text(yaml.safe_dump(document))
    return path


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def eventually(condition: Callable[[], Any], *, within_s: float = 10.0, every_s: float = 0.02) -> Any:
    """Return the first true value of `condition`, or fail after `within_s` with its last value."""
    deadline, pause = time.monotonic() + within_s, Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s; last seen: {value!r}"
        pause.wait(every_s)
    return value


@dataclass
class Deployed:
    """One running `gateway serve`."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    token: str = ADMIN_TOKEN
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30))

    def admin(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx2.Response:
        """Call the admin API as root, or as whoever `token` is."""
        headers = {"authorization": f"Bearer {token or self.token}", **more.pop("headers", {})}
        return self.http.request(method, f"{self.url}/admin{path}", headers=headers, **more)

    def act(self, name: str, verb: str, **body: Any) -> dict[str, Any]:
        """Carry out a verb and return the answer; fails unless it is 200."""
        answer = self.admin("POST", f"/migrations/{name}/actions/{verb}", json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result

    def set_weight(self, name: str, percent: float) -> None:
        """Set the candidate's share and wait until every replica serves it."""
        answer = self.admin("PUT", f"/migrations/{name}/weight", json={"percent": percent, "reason": "test"})
        assert answer.status_code == 200, answer.text
        self.settle(name)

    def settle(self, name: str) -> None:
        """Wait until no live replica is behind."""
        eventually(lambda: not self.status(name)["replicas"]["missing"])

    def status(self, name: str) -> dict[str, Any]:
        """Return the status object."""
        result: dict[str, Any] = self.admin("GET", f"/migrations/{name}").json()
        return result

    def metrics(self) -> dict[str, float]:
        """Return every sample of /metrics by its name and labels."""
        return read_page(self.http.get(f"{self.url}/metrics").text)

    def workers(self) -> list[int]:
        """Return the pids of its serving processes, where there are several."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [pid for pid in map(int, children.read_text().split()) if b"spawn_main" in _command(pid)]

    @contextmanager
    def frozen(self, pid: int) -> Iterator[None]:
        """Hold one of its processes where it is (SIGSTOP) while the block lasts."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def until_deaf(self, *, within_s: float = 30.0) -> None:
        """Wait until nobody listens on its port."""
        eventually(lambda: not _listens(urlsplit(self.url).port), within_s=within_s)

    def stop(self) -> int:
        """End it in good order and return its exit code."""
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(10)


def _listens(port: int | None) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port or 80)) == 0


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@contextmanager
def deployed(
    config: Path,
    directory: Path,
    *,
    store_url: str | None = None,
    workers: int = 1,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Deployed]:
    """Run `gateway serve` until the block ends; it is ready when this yields."""
    directory.mkdir(parents=True, exist_ok=True)
    port, log = port or free_port(), directory / "serve.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    settings = {
        "GATEWAY_DATA_DIR": str(directory / "data"),
        "GATEWAY_STORE_URL": store_url or f"sqlite:///{directory}/data/gateway.db",
        "GATEWAY_ADMIN_TOKENS": ADMIN_TOKENS,
        "COLUMNS": "400",
        **(env or {}),
    }
    command = [str(GATEWAY), "serve", "--config", str(config), "--port", str(port), "--workers", str(workers)]
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=inherited | settings, stdout=out, stderr=out)
    gateway = Deployed(f"http://127.0.0.1:{port}", process, log)
    try:
        eventually(lambda: _ready(gateway), within_s=90)
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def two_replicas(config: Path, directory: Path, store_url: str) -> Iterator[list[Deployed]]:
    """Run two gateways on one store until the block ends; everybody of migration `m` is on the candidate."""
    with ExitStack() as stack:
        made = [
            stack.enter_context(deployed(config, directory / f"replica-{number}", store_url=store_url))
            for number in range(2)
        ]
        made[0].act("m", "start", reason="test")
        made[0].set_weight("m", 100)
        yield made


@dataclass
class Simulated:
    """One running `gateway simulate`: the upstream, and its own log."""

    url: str
    process: "subprocess.Popen[bytes]"
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30))

    def faults(self, *specs: str) -> None:
        """Replace every fault."""
        answer = self.http.put(f"{self.url}/simulator/faults", json={"faults": list(specs)})
        assert answer.status_code == 200, answer.text

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Return what reached the upstream after `since`, oldest first."""
        found: list[dict[str, Any]] = []
        while page := self.http.get(f"{self.url}/simulator/requests", params={"since": since}).json()["data"]:
            found += page
            since = page[-1]["seq"]
        return found

    def last_seq(self) -> int:
        """Return the number of the newest request."""
        seq: int = self.http.get(f"{self.url}/simulator/stats").json()["seq"]
        return seq

    def stop(self) -> None:
        """End it."""
        self.http.close()
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def simulated(directory: Path, *, speed: float = 0) -> Iterator[Simulated]:
    """Run `gateway simulate` until the block ends."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = write_config(directory / "simulator", "http://127.0.0.1:9")
    command = [
        str(GATEWAY),
        "simulate",
        "--config",
        str(config),
        "--port",
        str(port),
        "--speed",
        str(speed),
        "--refusals",
        "0",
    ]
    with (directory / "simulate.log").open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    simulator = Simulated(f"http://127.0.0.1:{port}", process)
    try:
        eventually(lambda: _answers(simulator), within_s=90)
        yield simulator
    finally:
        simulator.stop()


def _answers(simulator: Simulated) -> bool:
    assert simulator.process.poll() is None
    try:
        return simulator.http.get(f"{simulator.url}/simulator/faults").status_code == 200
    except httpx2.TransportError:
        return False


def _ready(gateway: Deployed) -> bool:
    assert gateway.process.poll() is None, gateway.log.read_text()
    try:
        return gateway.http.get(f"{gateway.url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False
