"""The fleet of docker-compose.yml without Docker: the same commands in the same environment, on this machine.

The image's tree is made by the Dockerfile's own build commands, and what the containers run is started from
it. Only where a container is a world of its own something is put in its place:

    /app, /data, /tmp       directories of the test
    0.0.0.0, bind :PORT     127.0.0.1 and a free port
    NAME:PORT               the same, of the service with that name
    redis-server            the one at hand, told its port and directory
    haproxy                 Debian's
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.support.compose import Compose, Dockerfile, Ignored, Instruction
from tests.support.deploy import REPOSITORY, eventually, free_port
from tests.support.redis_server import binaries

SECRETS = {
    "REDIS_PASSWORD": "0123456789abcdef",
    "GATEWAY_ADMIN_TOKENS": "ops:admin:fedcba9876543210",
    "GRAFANA_PASSWORD": "secret",
}
ADMIN_TOKEN = SECRETS["GATEWAY_ADMIN_TOKENS"].rpartition(":")[2]
START_S = 90.0
BUILD_S = 300.0


def build_image(tree: Path) -> None:
    """Make `tree` what /app is in the image, by the commands of the Dockerfile's first stage."""
    dockerfile, ignored = (
        Dockerfile.read(REPOSITORY / "Dockerfile"),
        Ignored.read(REPOSITORY / ".dockerignore"),
    )
    env = {**os.environ, **dockerfile.environment(0), "UV_PYTHON": sys.executable}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    env.pop("VIRTUAL_ENV", None)
    env.pop("UV_PROJECT_ENVIRONMENT", None)
    tree.mkdir()
    for instruction in dockerfile.instructions:
        if instruction.stage == 0 and instruction.name == "COPY":
            _copy(instruction, tree, ignored)
        # uv is here already, of the same version.
        elif (
            instruction.stage == 0 and instruction.name == "RUN" and not instruction.value.startswith("pip ")
        ):
            command = instruction.value.replace("/app", shlex.quote(str(tree)))
            subprocess.run(["sh", "-c", command], cwd=tree, env=env, check=True, timeout=BUILD_S)


def _copy(instruction: Instruction, tree: Path, ignored: Ignored) -> None:
    *sources, target = instruction.words
    for source in sources:
        origin = REPOSITORY / source
        for file in [origin] if origin.is_file() else sorted(origin.rglob("*")):
            if file.is_dir() or ignored.covers(file.relative_to(REPOSITORY).as_posix()):
                continue
            inside = file.name if origin.is_file() else str(file.relative_to(origin))
            copy = tree / target / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def program(name: str) -> str:
    """Return the path of a program of the system; a missing one fails with what to do about it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert found is not None, f"{name} is not installed: make deps-deploy"
    return found


@dataclass
class Stack:
    """Services of docker-compose.yml that run here."""

    tree: Path
    """The image's /app."""
    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """Of the person who calls `docker compose`."""
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """By NAME:PORT as the containers know each other."""

    addresses: dict[str, str] = field(default_factory=dict)
    """Where else NAME:PORT is than at that port of this machine."""
    more: dict[str, str] = field(default_factory=dict)
    """What an operator changes in the load balancer's file."""

    def __post_init__(self) -> None:
        self.compose = Compose.read(REPOSITORY, {**SECRETS, **self.env})
        known = ("gateway-1:8080", "gateway-2:8080", "redis:6379", "simulator:8090", "loadbalancer:8080")
        for address in (*known, "loadbalancer:8404"):
            self.ports[address] = free_port()

    def url(self, address: str) -> str:
        """Return where NAME:PORT is here."""
        return f"http://127.0.0.1:{self.ports[address]}"

    def translated(self, text: str) -> str:
        """Return text of the container files as it has to be here."""
        here = {address: f"127.0.0.1:{port}" for address, port in self.ports.items()} | self.addresses
        for address, place in here.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(address)}\b", place, text)
        return text.replace("/app", str(self.tree)).replace("0.0.0.0", "127.0.0.1")

    def start(self, name: str) -> None:
        """Start a service, or start it anew."""
        home = self.directory / name
        (home / "data").mkdir(parents=True, exist_ok=True)
        command = [self.translated(word) for word in self.compose.command(name)]
        env = {key: self.translated(value) for key, value in self.compose.environment(name).items()}
        env = {key: value.replace("/data", str(home / "data")) for key, value in env.items()}
        match name:
            case "redis":
                own = ["--port", str(self.ports["redis:6379"]), "--dir", str(home / "data")]
                command = [str(next(iter(binaries().values()))), *command[1:], "--bind", "127.0.0.1", *own]
            case "loadbalancer":
                command = [program("haproxy"), "-W", "-db", "-f", str(self.configuration())]
            case "gateway-1" | "gateway-2":
                env["GATEWAY_PORT"] = str(self.ports[f"{name}:8080"])
            case "simulator":
                command = [str(self.ports["simulator:8090"]) if word == "8090" else word for word in command]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
        inherited |= {"PATH": f"{self.tree}/.venv/bin:{inherited['PATH']}"}
        env = {key: value for key, value in env.items() if key not in ("PATH", "HOME")} | {"HOME": str(home)}
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=self.tree, env=inherited | env, stdout=log, stderr=log
            )

    def configuration(self) -> Path:
        """Return the load balancer's file with the addresses of this machine."""
        text = (REPOSITORY / "deploy/loadbalancer/haproxy.cfg").read_text("utf-8")
        for port in ("8080", "8404"):
            text = text.replace(f"bind :{port}\n", f"bind loadbalancer:{port}\n")
        for before, after in self.more.items():
            text = text.replace(before, after)
        path = self.directory / "haproxy.cfg"
        path.write_text(self.translated(text))
        return path

    def stop(self, name: str, *, within_s: float = 60.0) -> int:
        """Stop a service as Docker does, and return its exit code."""
        process = self.processes.pop(name)
        asked = self.compose.services[name].get("stop_signal", "SIGTERM")
        process.send_signal(signal.Signals[asked])
        return process.wait(within_s)

    def healthy(self, name: str) -> bool:
        """Whether the image's health check passes for a gateway."""
        env = {**os.environ, "GATEWAY_PORT": str(self.ports[f"{name}:8080"])}
        check = [sys.executable if word == "python" else word for word in self.compose.image.healthcheck]
        return subprocess.run(check, env=env, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def answers(self, address: str, path: str) -> str | None:
        """Return the body of a 200, None of anything else."""
        try:
            answer = httpx2.get(f"{self.url(address)}{path}", timeout=5, trust_env=False)
        except httpx2.TransportError:
            return None
        return answer.text if answer.status_code == 200 else None

    def await_what_it_needs(self, name: str) -> None:
        """Wait until everything of these services is well that a service waits for by its `depends_on`."""
        needed = self.compose.services[name].get("depends_on", {})
        if isinstance(needed, dict):
            self.until_well(*(other for other in needed if other in self.processes))

    def until_well(self, *names: str) -> None:
        """Wait until the gateways among these are ready, and used where the load balancer is one of them."""
        for name in names:
            if name.startswith("gateway-"):
                self.until_ready(name)
        if "loadbalancer" in names:
            self.until_used(sum(name.startswith("gateway-") for name in self.processes))

    def until_used(self, gateways: int) -> None:
        """Wait until the load balancer sends requests to that many gateways."""

        def used() -> bool:
            assert self.processes["loadbalancer"].poll() is None, self.log("loadbalancer")
            return self.answers("loadbalancer:8404", "/ready") == f"{gateways}\n"

        eventually(used, within_s=START_S, every_s=0.1)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds."""
        eventually(condition, within_s=START_S, every_s=0.1)

    def until_ready(self, name: str) -> None:
        """Wait until a gateway is ready."""

        def ready() -> bool:
            assert self.processes[name].poll() is None, self.log(name)
            return self.answers(f"{name}:8080", "/readyz") is not None

        eventually(ready, within_s=START_S, every_s=0.1)

    def run_in(self, name: str, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command as `docker compose exec -e GATEWAY_ADMIN_TOKEN NAME` does."""
        own = {"GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN, "GATEWAY_URL": self.url(f"{name}:8080")}
        path = f"{self.tree}/.venv/bin:{os.environ['PATH']}"
        env = {**os.environ, **own, "PATH": path}
        return subprocess.run(command, cwd=self.tree, env=env, capture_output=True, text=True, check=False)

    def until_counted(self, name: str, series: str, *, at_least: float) -> None:
        """Wait until a gateway's counters whose name begins with `series` add up to that much."""

        eventually(lambda: self.metric(name, series) >= at_least, within_s=START_S, every_s=0.2)

    def metric(self, name: str, series: str) -> float:
        """Return the sum of a gateway's series whose name begins so."""
        page = self.answers(f"{name}:8080", "/metrics") or ""
        return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(series))

    def log(self, name: str) -> str:
        """Return what a service has said."""
        return (self.directory / f"{name}.log").read_text("utf-8", "replace")

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()


@contextmanager
def stack(tree: Path, directory: Path, *services: str, **env: str) -> Iterator[Stack]:
    """Run these services until the block ends; the gateways among them are ready and used when this
    yields."""
    directory.mkdir(parents=True, exist_ok=True)
    running = Stack(tree, directory, env)
    with ExitStack() as leaving:
        leaving.callback(running.end)
        for name in services:
            running.await_what_it_needs(name)
            running.start(name)
        running.until_well(*services)
        yield running
