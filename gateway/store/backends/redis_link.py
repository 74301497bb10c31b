"""The connections to a Redis server: bounded in time, and quick to say that the server is away.

Nothing here waits long or tries again behind the caller's back. Connecting, each answer and each whole
operation are bounded; the caller gets `StoreUnavailable` and knows what it can do without the store. The one
thing tried again is a compare-and-set that lost a race it may still win. No commands newer than Redis 6.2 and
no scripts, since managed servers may forbid them. The URL's credentials appear in no message.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, WatchError

from gateway.errors import ConfigError, StoreUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

Commands: TypeAlias = Any
"""A redis-py client or pipeline. Its annotations leave open what its answers are; here they are bytes."""

CONNECT_S = 0.5
COMMAND_S = 1.0
OPERATION_S = 1.5
"""All round trips of one operation together."""
POOL_WAIT_S = 0.5
MAX_CONNECTIONS = 32
ATTEMPTS = 5
"""How often a compare-and-set may be overtaken between its read and its write."""

RESUBSCRIBE_S = 0.1
"""Between two attempts to get a lost subscription back."""
PULSE_S = 5.0
"""How long a subscription may be silent before it is pinged, and then again before it counts as lost."""


class RedisLink:
    """A pool of connections for commands, and one connection that listens."""

    def __init__(self, url: str, channel: str, *, pulse_s: float = PULSE_S) -> None:
        pool = _pool(url)
        self.place = _place(pool)
        self.publications = Publications(pool, channel, pulse_s=pulse_s)
        self._redis: Redis = Redis.from_pool(pool)
        self._closed = False

    async def open(self) -> None:
        """Connect and subscribe; without a server, say so and go on."""
        try:
            async with self.asking() as redis:
                await redis.ping()
                await self.publications.subscribe()
        except StoreUnavailable as error:
            logger.warning("the store is away at start", extra={"reason": error.message})

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        await self.publications.close()
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Commands]:
        """Bound what happens inside in time, and turn whatever goes wrong into StoreUnavailable."""
        if self._closed:
            raise StoreUnavailable(f"the store at {self.place} is closed: this process is shutting down")
        try:
            async with asyncio.timeout(OPERATION_S):
                yield self._redis
        except (RedisError, OSError, ValueError) as error:
            if isinstance(error, ReadOnlyError):
                await self._leave_replica()
            raise StoreUnavailable(
                f"the store at {self.place} failed ({_reason(error)}); check that the server is up, "
                "reachable and writable, and that GATEWAY_STORE_URL names it"
            ) from error

    async def _leave_replica(self) -> None:
        """After a failover the URL's name may lead to the new primary, which only new connections find."""
        with suppress(RedisError, OSError):
            await self._redis.connection_pool.disconnect(inuse_connections=False)

    @asynccontextmanager
    async def batch(self, *, atomic: bool) -> AsyncIterator[Commands]:
        """Collect commands for one round trip, which `execute` makes; `atomic` makes it a transaction."""
        async with self.asking() as redis, redis.pipeline(transaction=atomic) as pipe:
            yield pipe

    async def compare_and_set(self, key: str, attempt: Callable[[Commands], Awaitable[T]]) -> T:
        """Run `attempt` until nobody writes `key` between its read and its write.

        It gets a pipeline that watches the key: it reads at once, calls `multi`, collects its writes, and
        calls `execute`.
        """
        async with self.asking() as redis:
            for _ in range(ATTEMPTS):
                async with redis.pipeline() as pipe:
                    try:
                        await pipe.watch(key)
                        return await attempt(pipe)
                    except WatchError:
                        continue
            raise WatchError(f"{key} was written {ATTEMPTS} times meanwhile")


class Publications:
    """The publication channel, on a connection of its own that is replaced whenever it is lost.

    A caller is woken by a publication and also by a new subscription, since nobody knows what was published
    before it. A link that dies without a word is found by asking: a subscription that stays silent is pinged,
    which also keeps address translators from forgetting it.
    """

    def __init__(self, pool: BlockingConnectionPool, channel: str, *, pulse_s: float) -> None:
        self._make_connection: Callable[[], Any] = pool.make_connection
        self._channel = channel
        self._pulse_s = pulse_s
        self._connection: Any = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._heard = 0
        self._heard_at = 0.0
        self._asked_at: float | None = None

    async def wait(self, timeout_s: float) -> None:
        """Return after news, or after `timeout_s`; all who wait are woken by the same news."""
        heard = self._heard
        try:
            async with asyncio.timeout(timeout_s), self._lock:
                while self._heard == heard:
                    await self._listen(timeout_s)
        except TimeoutError:
            await self._feel_pulse()

    async def subscribe(self) -> None:
        """Subscribe on a new connection."""
        await self.drop()
        if self._closed:
            raise ConnectionError("this process is shutting down")
        connection = self._make_connection()
        try:
            await connection.connect()
            await connection.send_command("SUBSCRIBE", self._channel)
            await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        self._alive()

    async def close(self) -> None:
        """Unsubscribe for good; whoever still waits is left to the timeout."""
        self._closed = True
        await self.drop()

    async def drop(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)

    async def _listen(self, timeout_s: float) -> None:
        """Take one step: subscribe anew, hear one message, or pause because neither was possible."""
        try:
            if self._connection is None:
                await self.subscribe()
                self._heard += 1
                return
            message = await self._connection.read_response(timeout=timeout_s, disconnect_on_error=False)
        except (RedisError, OSError):
            await self.drop()
            await asyncio.sleep(RESUBSCRIBE_S)
        else:
            if message is not None:
                self._alive()
                self._heard += message[0] == b"message"

    async def _feel_pulse(self) -> None:
        """Ping a subscription that has been silent for long; give it up if the answer takes as long again."""
        now = asyncio.get_running_loop().time()
        if self._connection is None or self._lock.locked():
            return
        if self._asked_at is not None and now - self._asked_at > self._pulse_s:
            await self.drop()
        elif self._asked_at is None and now - self._heard_at > self._pulse_s:
            self._asked_at = now
            try:
                await self._connection.send_command("PING")
            except (RedisError, OSError):
                await self.drop()

    def _alive(self) -> None:
        self._heard_at, self._asked_at = asyncio.get_running_loop().time(), None


def _pool(url: str) -> BlockingConnectionPool:
    # What is wrong with a URL is found by making a connection object, which connects to nothing. The reason
    # is not passed on: it may quote the password.
    with suppress(ValueError, TypeError, RedisError):
        pool = BlockingConnectionPool.from_url(
            url,
            protocol=2,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_S,
            socket_timeout=COMMAND_S,
            max_connections=MAX_CONNECTIONS,
            timeout=POOL_WAIT_S,
        )
        pool.connection_class(**pool.connection_kwargs)
        return pool
    raise ConfigError(
        "GATEWAY_STORE_URL: not a Redis URL; write redis://[user:password@]host[:port][/db], or rediss:// "
        "for TLS, and percent-encode what is special in the password"
    )


def _place(pool: BlockingConnectionPool) -> str:
    """Name the server as its URL does, without the credentials."""
    scheme = "rediss" if issubclass(pool.connection_class, SSLConnection) else "redis"
    known = pool.connection_kwargs
    return f"{scheme}://{known.get('host', 'localhost')}:{known.get('port', 6379)}/{known.get('db', 0)}"


def _reason(error: BaseException) -> str:
    """Say what failed, without the command that the client quotes when it failed in a pipeline."""
    text = str(error).rpartition("of pipeline caused error: ")[2]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
