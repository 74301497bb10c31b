"""What a Redis store keeps of a migration's evidence: counts, tallies, first failures, documents.

Half of `RedisStore`, which is made of this. All tallies of a scope are one hash, whose ttl every write
renews: as long as anybody counts there, nothing of what others have counted is lost. A document is compared
and set on the epoch that is stored with it, under a key of its own, so that one that is written every second
is in nobody's way.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.types import parse_json, to_json
from gateway.store.backends import keys
from gateway.store.backends.redis_link import Commands, RedisLink
from gateway.store.ports import EVIDENCE, TALLY_KEPT_S, admit
from gateway.tasks import Clock

INDEX_KEPT_S = 86_400
"""How long an index names a process that is gone; clients write its times, and their clocks may differ."""


class RedisEvidence:
    """The evidence of `gateway.store.ports.Fleet`, over one link."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        self._link, self._clock = link, clock

    async def put_counts(self, migration: str, replica_id: str, counts: dict[str, Any], ttl_s: float) -> None:
        """Replace this process's counts."""
        key, index = keys.counts(migration, replica_id), keys.counting(migration)
        await self._put(key, index, replica_id, doc=to_json(counts), ttl_s=ttl_s)

    async def counts(self, migration: str) -> dict[str, dict[str, Any]]:
        """Return every process's counts that have not outlived their ttl."""
        docs = await self._indexed(keys.counting(migration), lambda replica: keys.counts(migration, replica))
        return {replica: parse_json(doc) for replica, doc in docs.items()}

    async def put_tally(self, migration: str, scope: str, replica_id: str, tally: dict[str, Any]) -> None:
        """Replace what this process has counted in one scope, and keep the scope that much longer."""
        key = keys.tally(migration, scope)
        async with self._link.batch(atomic=True) as pipe:
            pipe.hset(key, replica_id, to_json(tally))
            pipe.expire(key, TALLY_KEPT_S)
            await pipe.execute()

    async def tallies(self, migration: str, scope: str) -> dict[str, dict[str, Any]]:
        """Return what every process has counted in a scope, those that are gone included."""
        async with self._link.asking() as redis:
            docs = await redis.hgetall(keys.tally(migration, scope))
            return {replica.decode(): parse_json(doc) for replica, doc in docs.items()}

    async def claim(
        self, migration: str, run: int, replica_id: str, claims: Sequence[tuple[str, str]]
    ) -> list[bool]:
        """Claim first failures, in one round trip: each is set if it is not there, and all are read back."""
        if not claims:
            return []
        key, fields = keys.claims(migration, run), [keys.claimed(*claim) for claim in claims]
        async with self._link.batch(atomic=True) as pipe:
            for field in fields:
                pipe.hsetnx(key, field, replica_id)
            pipe.expire(key, TALLY_KEPT_S)
            pipe.hmget(key, fields)
            claimants = (await pipe.execute())[-1]
            return [claimant == replica_id.encode() for claimant in claimants]

    async def put_document(self, migration: str, name: str, body: bytes, *, epoch: int) -> None:
        """Replace one document unless one of a greater epoch is there."""
        key = keys.document(migration, name)

        async def attempt(pipe: Commands) -> None:
            await _admit(pipe, migration, name, epoch)
            pipe.multi()
            pipe.hset(key, mapping={"epoch": epoch, "body": body})
            pipe.sadd(keys.documents(migration), name)
            await pipe.execute()

        await self._link.compare_and_set(key, attempt)

    async def document(self, migration: str, name: str) -> bytes | None:
        """Return one document, or None."""
        async with self._link.asking() as redis:
            body = await redis.hget(keys.document(migration, name), "body")
            return None if body is None else bytes(body)

    async def documents(self, migration: str, prefix: str) -> dict[str, bytes]:
        """Return the documents whose names begin with `prefix`, by name."""
        async with self._link.asking() as redis:
            every = sorted(name.decode() for name in await redis.smembers(keys.documents(migration)))
            names = [name for name in every if name.startswith(prefix)]
            async with redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hget(keys.document(migration, name), "body")
                bodies = await pipe.execute()
            return {name: bytes(body) for name, body in zip(names, bodies, strict=True) if body is not None}

    # --- what processes write that ends by time -------------------------------------------------------------

    async def _put(self, key: str, index: str, member: str, *, doc: bytes, ttl_s: float) -> None:
        """Write one process's document, and name the process in its index."""
        now = self._clock.now()
        async with self._link.batch(atomic=True) as pipe:
            pipe.set(key, doc, px=in_ms(ttl_s))
            pipe.zadd(index, {member: now + ttl_s})
            pipe.zremrangebyscore(index, "-inf", now - INDEX_KEPT_S)
            await pipe.execute()

    async def _indexed(self, index: str, key_of: Callable[[str], str]) -> dict[str, bytes]:
        """Return the documents of the processes that an index names, without those that have expired."""
        async with self._link.asking() as redis:
            members = [member.decode() for member in await redis.zrange(index, 0, -1)]
            docs = await redis.mget([key_of(member) for member in members]) if members else []
            return {member: doc for member, doc in zip(members, docs, strict=True) if doc is not None}


def in_ms(seconds: float) -> int:
    """Return a ttl as the server takes it, at least one millisecond."""
    return max(1, round(seconds * 1000))


async def admit_term(pipe: Commands, migration: str, term: int) -> None:
    """Raise StaleWrite if somebody has led since `term`; the transaction fails if one does by its end."""
    await pipe.watch(keys.document(migration, EVIDENCE))
    await _admit(pipe, migration, EVIDENCE, term)


async def _admit(pipe: Commands, migration: str, name: str, epoch: int) -> None:
    stored = await pipe.hget(keys.document(migration, name), "epoch")
    admit(migration, name, epoch, stored=int(stored or 0))
