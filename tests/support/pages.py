"""A page of metrics, read back."""

from prometheus_client.parser import text_string_to_metric_families

Page = dict[tuple[str, frozenset[tuple[str, str]]], float]
M = {"migration": "m"}
CANDIDATE = {"migration": "m", "arm": "candidate"}


def read(page: bytes) -> Page:
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name.removeprefix("gateway_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(page: Page, name: str, **labels: str) -> float | None:
    return page.get((name, frozenset(labels.items())))
