"""The stores that the contract suite runs on: SQLite, and Redis on every redis-server of this machine.

And the stand-in that other tests use, so that what holds against it holds against a store.
"""

import platform
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import redis_server
from tests.support.redis_server import RedisServer
from tests.support.stores import Bench, MemoryBench, RealBench, RedisBench, SqliteBench

SERVERS = redis_server.binaries()


def _redis_params() -> list[object]:
    if SERVERS:
        return [pytest.param(binary, id=f"redis-{origin}") for origin, binary in SERVERS.items()]
    bundled = sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 13)
    mark = () if bundled else pytest.mark.skip("no redis-server here; install one to test the Redis store")
    return [pytest.param(Path("redis-server-is-missing"), id="redis", marks=mark)]


REDIS = _redis_params()


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[Path, RedisServer]]:
    """The servers that are running, each started by the first test that asks for it."""
    running: dict[Path, RedisServer] = {}
    yield running
    for server in running.values():
        server.close()


@pytest.fixture(params=["sqlite", *REDIS])
async def shared(
    request: pytest.FixtureRequest, tmp_path: Path, servers: dict[Path, RedisServer]
) -> AsyncIterator[RealBench]:
    """An empty store that other processes can open too."""
    async with _real(request.param, tmp_path, servers) as made:
        yield made


@pytest.fixture(params=["memory", "sqlite", *REDIS])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, servers: dict[Path, RedisServer]
) -> AsyncIterator[Bench]:
    """An empty store, as often as a test wants to open it."""
    made = MemoryBench() if request.param == "memory" else _real(request.param, tmp_path, servers)
    async with made:
        yield made


@pytest.fixture(params=["sqlite", *REDIS])
async def fragile(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RealBench]:
    """An empty store that the test may break and mend."""
    own: dict[Path, RedisServer] = {}
    try:
        async with _real(request.param, tmp_path, own) as made:
            yield made
    finally:
        for server in own.values():
            server.close()


@pytest.fixture(params=REDIS)
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the test's own."""
    with RedisServer(request.param) as server:
        yield server


def _real(param: str | Path, directory: Path, running: dict[Path, RedisServer]) -> SqliteBench | RedisBench:
    if not isinstance(param, Path):
        return SqliteBench(directory)
    if param not in running:
        running[param] = RedisServer(param)
        running[param].start()
    running[param].empty()
    return RedisBench(running[param])
