"""The connections to Redis: credentials, TLS, and a subscription that survives what links do."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.backends.redis_link import Commands, RedisLink
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.relay import CERTIFICATE, Relay

CHANNEL = "changed"
DEADLINE_S = 10.0


@asynccontextmanager
async def opened(url: str, *, pulse_s: float = 5.0) -> AsyncIterator[RedisLink]:
    link = RedisLink(url, CHANNEL, pulse_s=pulse_s)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


async def wait_until(link: RedisLink, condition: Callable[[], object]) -> None:
    """Keep waiting for publications, in short spells, until something has come of it."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await link.publications.wait(0.02)


async def failure(link: RedisLink) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as refusal:
        async with link.asking() as redis:
            await redis.get("key")
    return refusal.value


async def write_nonsense(link: RedisLink) -> None:
    async with link.batch(atomic=True) as pipe:
        pipe.set("key", "private words")
        pipe.incr("key")
        await pipe.execute()


# --- credentials --------------------------------------------------------------------------------------------


async def test_a_password_opens_the_server_and_appears_in_no_complaint(redis: RedisServer) -> None:
    with redis.client() as client:
        client.config_set("requirepass", "s3cret-right")
    right = f"redis://:s3cret-right@127.0.0.1:{redis.port}/3"
    async with opened(right) as link, link.asking() as commands:
        assert await commands.ping()
        assert link.place == f"redis://127.0.0.1:{redis.port}/3"
    for wrong in (f"redis://:s3cret-wrong@127.0.0.1:{redis.port}", redis.url):
        async with opened(wrong) as link:
            error = await failure(link)
            assert "s3cret" not in "".join(traceback.format_exception(error))
            assert "check that" in error.message


async def test_a_server_that_is_away_is_named_without_the_credentials(redis: RedisServer) -> None:
    redis.kill()
    async with opened(f"redis://ann:s3cret@127.0.0.1:{redis.port}/1") as link:
        error = await failure(link)
    assert f"redis://127.0.0.1:{redis.port}/1" in error.message
    assert "s3cret" not in "".join(traceback.format_exception(error))


async def test_a_failed_batch_does_not_quote_what_was_to_be_written(redis: RedisServer) -> None:
    async with opened(redis.url) as link:
        with pytest.raises(StoreUnavailable, match="not an integer") as refusal:
            await write_nonsense(link)
    assert "private" not in refusal.value.message


async def test_databases_of_one_server_are_kept_apart(redis: RedisServer) -> None:
    async with opened(f"redis://127.0.0.1:{redis.port}/1") as one, one.asking() as commands:
        await commands.set("key", "value")
    async with opened(f"redis://127.0.0.1:{redis.port}/2") as two, two.asking() as commands:
        assert await commands.get("key") is None


# --- failover -----------------------------------------------------------------------------------------------


async def test_connections_to_a_server_that_became_a_replica_are_given_up(redis: RedisServer) -> None:
    async with opened(redis.url) as link:
        with redis.client() as client:
            client.slaveof("127.0.0.1", redis.port)
            with pytest.raises(StoreUnavailable, match="read only"):
                async with link.asking() as commands:
                    await commands.set("key", "value")
            await eventually(lambda: len(client.client_list(_type="normal")) == 1)
            client.slaveof()
        async with link.asking() as commands:
            await commands.set("key", "value")
            assert await commands.get("key") == b"value"


# --- TLS ----------------------------------------------------------------------------------------------------


async def test_rediss_speaks_tls_with_a_server_it_can_verify(redis: RedisServer) -> None:
    async with (
        Relay(redis.port, tls=True) as relay,
        opened(f"rediss://127.0.0.1:{relay.port}/0?ssl_ca_certs={CERTIFICATE}") as link,
    ):
        async with link.asking() as commands:
            await commands.set("key", "private words")
        assert link.place == f"rediss://127.0.0.1:{relay.port}/0"
        with redis.client() as client:
            assert client.get("key") == b"private words"
            waiting = asyncio.create_task(link.publications.wait(60))
            await asyncio.sleep(0)
            client.publish(CHANNEL, "m")
        await asyncio.wait_for(waiting, DEADLINE_S)


async def test_rediss_refuses_a_server_that_it_cannot_verify(redis: RedisServer) -> None:
    async with Relay(redis.port, tls=True) as relay, opened(f"rediss://127.0.0.1:{relay.port}/0") as link:
        assert "certificate" in (await failure(link)).message.lower()


# --- the subscription ---------------------------------------------------------------------------------------


async def test_a_subscription_that_was_cut_is_made_anew_and_counts_as_news(redis: RedisServer) -> None:
    async with opened(redis.url) as link:
        with redis.client() as client:
            client.client_kill_filter(_type="pubsub")
            async with asyncio.timeout(DEADLINE_S):
                await link.publications.wait(60)
            waiting = asyncio.create_task(link.publications.wait(60))
            await asyncio.sleep(0)
            client.publish(CHANNEL, "m")
        await asyncio.wait_for(waiting, DEADLINE_S)


async def test_a_silent_subscription_is_pinged_and_kept_while_it_answers(redis: RedisServer) -> None:
    async with Relay(redis.port) as relay, opened(relay_url(relay), pulse_s=0.05) as link:
        connections = relay.accepted
        await wait_until(link, lambda: sum(b"PING" in data for data in relay.received) >= 5)
        assert relay.accepted == connections


async def test_a_subscription_that_no_longer_answers_is_made_anew(redis: RedisServer) -> None:
    async with Relay(redis.port) as relay, opened(relay_url(relay), pulse_s=0.05) as link:
        connections = relay.accepted
        relay.silence()
        await wait_until(link, lambda: relay.accepted > connections)
        waiting = asyncio.create_task(link.publications.wait(60))
        with redis.client() as client:
            client.publish(CHANNEL, "m")
        await asyncio.wait_for(waiting, DEADLINE_S)


async def test_an_end_leaves_those_who_wait_to_their_timeout_and_opens_nothing(redis: RedisServer) -> None:
    async with Relay(redis.port) as relay, opened(relay_url(relay)) as link:
        waiting = asyncio.create_task(link.publications.wait(0.3))
        await asyncio.sleep(0)
        connections = relay.accepted
        await link.close()
        await asyncio.wait_for(waiting, DEADLINE_S)
        assert relay.accepted == connections


# --- compare and set ----------------------------------------------------------------------------------------


async def test_an_attempt_that_was_overtaken_is_made_again(redis: RedisServer) -> None:
    seen: list[bytes] = []
    async with opened(redis.url) as link:
        with redis.client() as client:
            client.set("key", 1)

            async def attempt(pipe: Commands) -> None:
                value = await pipe.get("key")
                if not seen:
                    client.set("key", 2)
                seen.append(value)
                pipe.multi()
                pipe.set("key", int(value) + 10)
                await pipe.execute()

            await link.compare_and_set("key", attempt)
            assert seen == [b"1", b"2"]
            assert client.get("key") == b"12"


async def test_an_attempt_that_is_always_overtaken_gives_up(redis: RedisServer) -> None:
    async with opened(redis.url) as link:
        with redis.client() as client:

            async def attempt(pipe: Commands) -> None:
                client.incr("key")
                pipe.multi()
                pipe.set("key", 0)
                await pipe.execute()

            with pytest.raises(StoreUnavailable, match="meanwhile"):
                await link.compare_and_set("key", attempt)
            assert int(client.get("key") or 0) >= 2


def relay_url(relay: Relay) -> str:
    return f"redis://127.0.0.1:{relay.port}/0"
