"""Labels have closed sets of values, and one page answers for all workers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.series import DIRECTORY_VARIABLE, OTHER, Page, share

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
M = {"migration": "m"}
CANDIDATE = {"migration": "m", "arm": "candidate"}


def read(page: bytes) -> Samples:
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name.removeprefix("gateway_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(page: Samples, name: str, **labels: str) -> float | None:
    return page.get((name, frozenset(labels.items())))


def test_a_value_outside_its_label_s_set_is_other() -> None:
    page = Page()
    calls = page.counter("calls_total", "Calls.", operation={"load", "store"})
    for operation in ("load", "burn", "bury"):
        calls(operation).inc()
    read_back = read(page.render()[0])
    assert value(read_back, "calls_total", operation="load") == 1
    assert value(read_back, "calls_total", operation=OTHER) == 2
    assert len(read_back) == 2


def test_a_set_may_grow_and_what_was_other_gets_its_name_from_then_on() -> None:
    page, names = Page(), {"a"}
    shown = page.gauge("shown", "Shown.", "livemax", model=names)
    shown("b").set(1)
    names.add("b")
    shown("b").set(2)
    read_back = read(page.render()[0])
    assert (value(read_back, "shown", model=OTHER), value(read_back, "shown", model="b")) == (1, 2)


def test_a_histogram_has_the_buckets_that_it_is_given() -> None:
    page = Page()
    page.histogram("wait_seconds", "Waited.", (1, 10))().observe(3)
    read_back = read(page.render()[0])
    bounds = {bound: value(read_back, "wait_seconds_bucket", le=bound) for bound in ("1.0", "10.0", "+Inf")}
    assert bounds == {"1.0": 0, "10.0": 1, "+Inf": 1}


def test_a_page_is_plain_text_without_times_of_creation() -> None:
    page = Page()
    page.counter("calls_total", "Calls.")().inc()
    body, kind = page.render()
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert b"_created" not in body


# --- several workers ----------------------------------------------------------------------------------------

WORKER = """
import sys
from gateway.core.types import Arm, MigrationState, Outcome, Phase, Reason
from gateway.metrics import Metrics

metrics = Metrics(["m"])
number = int(sys.argv[1])
for _ in range(number):
    metrics.entered()
    metrics.request("m", Arm.candidate, Arm.candidate, Outcome.ok, duration_s=0.5)
metrics.rollout(MigrationState("m", phase=Phase.running, weight=number * 1000))
metrics.snapshot(number, number)
metrics.leader(number == 2)
print("ready", flush=True)
for line in sys.stdin:
    page = metrics.render()[0] if line == "scrape\\n" else b""
    print(page.decode().replace("\\n", "\\t"), flush=True)
"""


class Worker:
    """A process of its own that counts as many requests as its number says."""

    def __init__(self, number: int, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(number)],
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def scrape(self) -> Samples:
        assert self.process.stdin is not None
        self.process.stdin.write("scrape\n")
        self.process.stdin.flush()
        return read(self._answer().replace("\t", "\n").encode())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().removesuffix("\n")


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Worker, Worker]]:
    env = share(tmp_path / "metrics")
    pair = (Worker(2, env), Worker(3, env))
    yield pair
    for worker in pair:
        worker.kill()


def test_whoever_is_scraped_answers_for_all_workers(workers: tuple[Worker, Worker]) -> None:
    for worker in workers:
        page = worker.scrape()
        assert value(page, "requests_total", **CANDIDATE, served="candidate", outcome="ok") == 5
        assert value(page, "request_duration_seconds_count", **CANDIDATE) == 5
        assert value(page, "in_flight") == 5
        assert value(page, "weight_percent", **M) == 3, "the newest"
        assert value(page, "phase", **M, phase="running") == 1
        assert value(page, "snapshot_version") == 2, "the one that lags behind"
        assert value(page, "snapshot_age_seconds") == 3, "the oldest"
        assert value(page, "leader") == 1


def test_of_a_dead_worker_the_counts_stay_and_the_gauges_go(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    first.kill()
    page = second.scrape()
    assert value(page, "requests_total", **CANDIDATE, served="candidate", outcome="ok") == 5
    assert value(page, "in_flight") == 3
    assert value(page, "leader") == 0
    assert value(page, "snapshot_version") == 3


def test_a_new_serve_starts_from_zero(tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").write_bytes(b"old")
    (tmp_path / "kept.txt").write_text("not ours")
    assert share(tmp_path) == {DIRECTORY_VARIABLE: str(tmp_path)}
    assert [file.name for file in tmp_path.iterdir()] == ["kept.txt"]


def test_a_directory_that_is_named_too_late_is_refused(tmp_path: Path) -> None:
    late = f"import os, gateway.series as s; os.environ[s.DIRECTORY_VARIABLE] = {str(tmp_path)!r}; s.Page()"
    done = subprocess.run(
        [sys.executable, "-c", late], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "must be set before the process starts" in done.stderr
