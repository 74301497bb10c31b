"""A page of metrics, read: every sample by its name and labels, and one metric by the labels that matter."""

from collections import Counter
from collections.abc import Mapping

Samples = Mapping[str, float]


def read_page(page: str) -> dict[str, float]:
    """Return every sample of a Prometheus page."""
    lines = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def labelled(samples: Samples, metric: str, *labels: str, **where: str) -> "Counter[str]":
    """Return one metric (without `gateway_`) summed by the values of `labels`, zeros left out; `where` picks
    samples by other labels.
    """
    found: Counter[str] = Counter()
    for name, value in samples.items():
        head, _, rest = name.partition("{")
        given = {
            key: text.strip('"') for key, _, text in (pair.partition("=") for pair in rest[:-1].split(","))
        }
        if head == f"gateway_{metric}" and where.items() <= given.items() and value:
            found[" ".join(given[label] for label in labels)] += value  # type: ignore[assignment]
    return found
