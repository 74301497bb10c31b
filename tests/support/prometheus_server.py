"""A real Prometheus on a copy of the project's configuration, which looks more often than every 15 s."""

import math
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.support.deploy import REPOSITORY, eventually, free_port
from tests.support.programs import program

CONFIGURATION = REPOSITORY / "deploy" / "prometheus"

Labels = dict[str, str]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One answer to a question: labels, and the values at their times."""

    labels: Labels
    points: Points


@dataclass
class Prometheus:
    """One running Prometheus."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    http: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30))

    def get(self, path: str, **parameters: str | float) -> Any:
        """Return the data of one API call; fails with what Prometheus says."""
        answer = self.http.get(f"{self.url}/api/v1/{path}", params=parameters)
        document = answer.json()
        assert document["status"] == "success", f"{parameters}: {document.get('error')}"
        return document["data"]

    def now(self, expr: str) -> list[Series]:
        """Return what an expression is at this moment, without what is no number."""
        data = self.get("query", query=expr)
        if data["resultType"] == "scalar":
            return [Series({}, [(float(data["result"][0]), float(data["result"][1]))])]
        return _series(data["result"], lambda item: [item["value"]])

    def over_time(self, expr: str, since: float, until: float, step_s: float = 1.0) -> list[Series]:
        """Return what an expression was in between, without what is no number."""
        data = self.get("query_range", query=expr, start=since, end=until, step=step_s)
        return _series(data["result"], lambda item: item["values"])

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule, with its health."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> dict[str, list[Labels]]:
        """Return the alerts that are firing: name → labels of each."""
        found: dict[str, list[Labels]] = {}
        for alert in self.get("alerts")["alerts"]:
            if alert["state"] == "firing":
                labels = dict(alert["labels"])
                found.setdefault(labels.pop("alertname"), []).append(labels)
        return found

    def stop(self) -> None:
        """End it."""
        self.http.close()
        self.process.terminate()
        self.process.wait(20)


@contextmanager
def prometheus(
    directory: Path, gateways: Sequence[str], *, every_s: int = 1, hurry: int = 20
) -> Iterator[Prometheus]:
    """Run Prometheus over these gateways (host:port) until the block ends.

    It looks every `every_s` seconds, and alerts have to last `hurry` times less long than by the rules.
    """
    port = free_port()
    config = copy_configuration(directory, gateways, own=f"127.0.0.1:{port}", every_s=every_s, hurry=hurry)
    log = directory / "prometheus.log"
    command = [
        str(program("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    server = Prometheus(f"http://127.0.0.1:{port}", process, log)
    try:
        eventually(lambda: _ready(server), within_s=60)
        yield server
    finally:
        server.stop()


def copy_configuration(
    directory: Path, gateways: Sequence[str], *, own: str, every_s: int, hurry: int
) -> Path:
    """Write the project's configuration with other addresses and shorter times; return its path.

    What decides stays as it is: the expressions and their windows.
    """
    for source in [CONFIGURATION / "prometheus.yml", *(CONFIGURATION / "rules").glob("*.yml")]:
        target = directory / source.relative_to(CONFIGURATION)
        target.parent.mkdir(parents=True, exist_ok=True)
        document = yaml.safe_load(source.read_text("utf-8"))
        for group in document.get("groups", ()):
            for rule in group["rules"]:
                rule |= {"for": f"{_seconds(rule['for']) // hurry}s"} if "for" in rule else {}
        if "scrape_configs" in document:
            document["global"] = dict.fromkeys(document["global"], f"{every_s}s")
            document["scrape_configs"][1]["static_configs"][0]["targets"] = [own]
        target.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    targets = directory / "targets" / "gateways.yml"
    targets.parent.mkdir()
    targets.write_text(yaml.safe_dump([{"targets": list(gateways)}]))
    return directory / "prometheus.yml"


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def _series(result: list[Any], values: Callable[[Any], list[Any]]) -> list[Series]:
    found = []
    for item in result:
        points = [(float(at), float(value)) for at, value in values(item)]
        numbers = [(at, value) for at, value in points if not math.isnan(value)]
        if numbers:
            found.append(Series(dict(item["metric"]), numbers))
    return found


def _ready(server: Prometheus) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    try:
        return server.http.get(f"{server.url}/-/ready").status_code == 200
    except httpx2.TransportError:
        return False
