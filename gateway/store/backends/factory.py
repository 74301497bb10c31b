"""From `GATEWAY_STORE_URL` to a store.

A mistake in the URL is found here, at start; a store that is away is not.
"""

from gateway.errors import ConfigError
from gateway.store.backends.sqlite_store import SqliteStore
from gateway.store.ports import Store
from gateway.tasks import Clock

_SQLITE = "sqlite:///"


def make_store(url: str, *, clock: Clock) -> Store:
    """Return the store that `url` names, not yet opened; raises ConfigError.

    `sqlite:///relative/path`, `sqlite:////absolute/path`, `redis://[user:password@]host[:port][/db]`, or
    `rediss://` for TLS.
    """
    if url.startswith(_SQLITE):
        path = url.removeprefix(_SQLITE)
        if not path.strip("/") or path == ":memory:":
            raise ConfigError(
                "GATEWAY_STORE_URL: sqlite:/// needs the path of a file, which every process can open"
            )
        return SqliteStore(path, clock=clock)
    if url.startswith(("redis://", "rediss://")):
        # A process on SQLite need not pay for importing the Redis client, a good part of the gateway's start.
        from gateway.store.backends.redis_store import RedisStore

        return RedisStore(url, clock=clock)
    # The URL may hold a password, so no part of it is repeated.
    raise ConfigError(
        "GATEWAY_STORE_URL: names no store; use sqlite:///path, redis://host:port/db, or rediss:// for TLS"
    )
