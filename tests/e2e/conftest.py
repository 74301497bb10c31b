"""One simulated upstream for all of these tests; each gateway is a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deploy import Simulated, simulated


@pytest.fixture(scope="session")
def _upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulated(tmp_path_factory.mktemp("upstream")) as simulator:
        yield simulator


@pytest.fixture
def upstream(_upstream: Simulated) -> Iterator[Simulated]:
    """The upstream without faults."""
    _upstream.faults()
    yield _upstream
    _upstream.faults()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A place for configuration and data."""
    return tmp_path
