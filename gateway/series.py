"""How series are made: labels with closed sets of values, and one page for all workers of a `serve`.

A label's values are given when its metric is made; whatever else comes in is shown as `other`, so no user,
key or text of a caller can become a series.

Several workers of one `serve` share a directory, where each keeps files of its numbers, and whoever is
scraped adds them up. Its path must stand in the environment before a worker imports this module, because that
is when prometheus_client looks: the parent makes the directory with `share` and hands the result to its
workers. Of a gauge that the workers agree on, the newest value counts; of one that each has for itself, the
sum or the worst. What a worker that died had counted stays, what it had gauged goes.
"""

import os
import re
from collections.abc import Container
from pathlib import Path
from typing import Generic, Literal, TypeVar

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import ValueClass

from gateway.errors import ConfigError

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the directory that workers share; unset: this process is alone."""
OTHER = "other"

disable_created_metrics()  # type: ignore[no-untyped-call]

M = TypeVar("M", Counter, Gauge, Histogram)
Merge = Literal["livesum", "livemin", "livemax", "livemostrecent"]
"""How the gauges of several workers become one; `live` leaves out those that have died."""


class Series(Generic[M]):
    """One metric's children, each made once and then found by its label values."""

    __slots__ = ("_allowed", "_children", "_metric")

    def __init__(self, metric: M, allowed: tuple[Container[str], ...]) -> None:
        self._metric: M = metric
        self._allowed = allowed
        self._children: dict[tuple[str, ...], M] = {}

    def __call__(self, *values: str) -> M:
        """Return the child with these label values, in the order of its labels."""
        child = self._children.get(values)
        if child is None:
            known = zip(values, self._allowed, strict=True)
            values = tuple(str(value) if value in allowed else OTHER for value, allowed in known)
            child = self._children.get(values)
            if child is None:
                child = self._metric.labels(*values) if values else self._metric
                self._children[values] = child
        return child


class Page:
    """The metrics of this process, and the page that says them for all workers."""

    def __init__(self) -> None:
        """Begin with nothing; raises ConfigError if the workers' directory was named too late."""
        self._directory = os.environ.get(DIRECTORY_VARIABLE)
        if self._directory is not None and not ValueClass._multiprocess:
            raise ConfigError(f"{DIRECTORY_VARIABLE} must be set before the process starts")
        self._registry = CollectorRegistry()

    def counter(self, name: str, text: str, **labels: Container[str]) -> Series[Counter]:
        """Make a counter; each label comes with the values that it may take."""
        metric = Counter(f"gateway_{name}", text, list(labels), registry=self._registry)
        return Series(metric, (*labels.values(),))

    def histogram(
        self, name: str, text: str, buckets: tuple[float, ...], **labels: Container[str]
    ) -> Series[Histogram]:
        """Make a histogram."""
        metric = Histogram(f"gateway_{name}", text, list(labels), registry=self._registry, buckets=buckets)
        return Series(metric, (*labels.values(),))

    def gauge(self, name: str, text: str, merge: Merge, **labels: Container[str]) -> Series[Gauge]:
        """Make a gauge."""
        metric = Gauge(
            f"gateway_{name}", text, list(labels), registry=self._registry, multiprocess_mode=merge
        )
        return Series(metric, (*labels.values(),))

    def render(self) -> tuple[bytes, str]:
        """Return the page and its content type. Reads the workers' files where there are several."""
        registry = self._registry
        if self._directory is not None:
            _forget_the_dead(Path(self._directory))
            registry = CollectorRegistry()
            MultiProcessCollector(registry, self._directory)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def share(directory: Path) -> dict[str, str]:
    """Make an empty directory for the workers of one `serve`; return what their environment must hold."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink()
    return {DIRECTORY_VARIABLE: str(directory)}


_GAUGE_FILE = re.compile(r"gauge_live[a-z]+_(\d+)\.db")


def _forget_the_dead(directory: Path) -> None:
    """Remove the gauges of workers that are gone; their counters stay, for counters never go down."""
    for file in directory.iterdir():
        match = _GAUGE_FILE.fullmatch(file.name)
        if match is not None and not _is_alive(int(match[1])):
            file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
