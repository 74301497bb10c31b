"""What the dashboards ask, read back from their JSON: every question with its variables filled in.

For whoever wants the answers without Grafana: the tests, which demand one from each, and the pictures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template
from typing import Any


@dataclass(frozen=True, slots=True)
class Question:
    """One query of one panel, or of the marks that lie over all of them."""

    dashboard: str
    panel: str
    expr: str
    legend: str = ""
    instant: bool = False
    """Asked of one moment rather than of the whole time range."""

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel}: {self.expr}"


def questions(document: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Question]:
    """Yield what every panel of a dashboard asks; a variable that is not given is a KeyError."""
    for panel in document["panels"]:
        yield from asked(document["title"], panel, variables)


def asked(dashboard: str, panel: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Question]:
    """Yield what one panel asks."""
    for target in panel.get("targets", ()):
        yield Question(
            dashboard,
            panel["title"],
            fill(target["expr"], variables),
            target["legendFormat"],
            target["instant"],
        )


def marks(document: Mapping[str, Any], variables: Mapping[str, str]) -> Iterator[Question]:
    """Yield what the marks over all panels ask."""
    for mark in document["annotations"]["list"]:
        expr = fill(mark["target"]["expr"], variables)
        yield Question(document["title"], mark["name"], expr, mark["titleFormat"])


def fill(expr: str, variables: Mapping[str, str]) -> str:
    """Put the variables' values in; Grafana's own ones begin with two underscores."""
    return Template(expr).substitute(variables)


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Return what a series is called."""
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend
