"""The stores that the contract suite runs on: SQLite, and Redis on every redis-server of this machine."""

import platform
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import redis_server
from tests.support.redis_server import RedisServer
from tests.support.stores import Bench, RedisBench, SqliteBench

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
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, servers: dict[Path, RedisServer]
) -> AsyncIterator[Bench]:
    """An empty store, as often as a test wants to open it."""
    made: Bench
    if request.param == "sqlite":
        made = SqliteBench(tmp_path)
    else:
        if request.param not in servers:
            servers[request.param] = RedisServer(request.param)
            servers[request.param].start()
        made = RedisBench(servers[request.param])
    made.empty()
    async with made:
        yield made


@pytest.fixture(params=["sqlite", *REDIS])
async def fragile(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """An empty store that the test may break and mend."""
    if request.param == "sqlite":
        async with SqliteBench(tmp_path) as made:
            yield made
    else:
        with RedisServer(request.param) as server:
            async with RedisBench(server) as made:
                yield made


@pytest.fixture(params=REDIS)
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of the test's own."""
    with RedisServer(request.param) as server:
        yield server
