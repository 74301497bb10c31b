"""One simulated upstream for all of these tests; a gateway is a test's own, or one of `lines`."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from anthropic import Anthropic, AsyncAnthropic

from tests.support.deploy import Deployed, Simulated, simulated
from tests.support.moves import Line, Lines, Pair
from tests.support.talks import KEY


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


@pytest.fixture(scope="session")
def lines(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lines]:
    """A gateway for every pair of models, each started when it is first asked for."""
    lines = Lines(_upstream, tmp_path_factory.mktemp("lines"))
    with lines.stack:
        yield lines


@pytest.fixture
def line(lines: Lines, pair: Pair) -> Line:
    """The gateway of the test's `pair`."""
    return lines.of(pair)


@pytest.fixture
def client(gateway: Deployed) -> Iterator[Anthropic]:
    """The official SDK at the test's own `gateway`."""
    with Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        yield client


@pytest.fixture
async def patient(gateway: Deployed) -> AsyncIterator[AsyncAnthropic]:
    """The asynchronous client."""
    async with AsyncAnthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        yield client


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A place for configuration and data."""
    return tmp_path
