"""The store of a fleet: Redis 6.2 or newer, or anything that speaks its protocol.

Compare-and-set is WATCH, read, MULTI, write. Whatever ends by time is a key with a ttl, so that the server's
clock decides for all replicas and skewed clocks do no harm. The answer to a commit may get lost after the
server has applied it; each commit therefore writes an id of its own, by which its next attempt recognises it.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.types import Arm, Event, MigrationState, Pin, from_json, to_json
from gateway.store.backends import keys
from gateway.store.backends.redis_evidence import RedisEvidence, admit_term, in_ms
from gateway.store.backends.redis_link import Commands, RedisLink
from gateway.store.ports import (
    OLD_RUN_KEPT_S,
    REPLICA_TTL_S,
    Enrolment,
    Order,
    PinWrite,
    Recall,
    Recollection,
    ReplicaReport,
    successor,
    supersedes,
)
from gateway.tasks import Clock

NOTES_AT_ONCE = 500
"""Most keys of one MGET: the server does nothing else meanwhile."""


class RedisStore(RedisEvidence):
    """The ports of `gateway.store.ports` on a Redis server."""

    def __init__(self, url: str, *, clock: Clock) -> None:
        super().__init__(RedisLink(url, keys.CHANGED), clock)
        self._secret: bytes | None = None

    async def open(self) -> None:
        """Connect, and subscribe to publications; without a server, say so and go on."""
        await self._link.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._link.close()

    # --- the fleet's agreement ------------------------------------------------------------------------------

    async def load(self) -> dict[str, MigrationState]:
        """Return every migration that was ever written."""
        async with self._link.asking() as redis:
            names = sorted(name.decode() for name in await redis.smembers(keys.MIGRATIONS))
            async with redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hget(keys.state(name), "doc")
                docs = await pipe.execute()
            return {
                name: from_json(doc, MigrationState)
                for name, doc in zip(names, docs, strict=True)
                if doc is not None
            }

    async def commit(
        self, state: MigrationState, event: Event, *, expected: Order, term: int | None = None
    ) -> MigrationState:
        """Write state, audit event and publication in one step if `expected` is what is stored."""
        write_id = secrets.token_bytes(8)

        async def attempt(pipe: Commands) -> MigrationState:
            stored = await _stored(pipe, state.name)
            if stored is not None and stored.write_id == write_id:
                return replace(state, version=expected[1] + 1)
            after = successor(state, stored.order if stored else None, expected)
            if term is not None:
                await admit_term(pipe, after.name, term)
            await _enter(pipe, after.name)
            _stage_state(pipe, after, write_id)
            pipe.rpush(keys.events(after.name), to_json(event))
            if stored is not None and after.run > stored.run:
                for arm in Arm:
                    pipe.expire(keys.enrolled(after.name, stored.run, arm), OLD_RUN_KEPT_S)
                pipe.expire(keys.claims(after.name, stored.run), OLD_RUN_KEPT_S)
            await pipe.execute()
            return after

        return await self._link.compare_and_set(keys.state(state.name), attempt)

    async def restore(self, state: MigrationState) -> bool:
        """Put back a state that the store lost, and with it the epoch and the secret."""
        await self.raise_epoch(state.epoch)
        if self._secret is not None:
            await self.secret()

        async def attempt(pipe: Commands) -> bool:
            stored = await _stored(pipe, state.name)
            if not supersedes(state, stored.order if stored else None):
                return False
            await _enter(pipe, state.name)
            _stage_state(pipe, state, secrets.token_bytes(8))
            await pipe.execute()
            return True

        return await self._link.compare_and_set(keys.state(state.name), attempt)

    async def events(self, migration: str, since: int = 0) -> list[Event]:
        """Return the audit events with seq > since, oldest first."""
        first = max(0, since)
        async with self._link.asking() as redis:
            docs = await redis.lrange(keys.events(migration), first, -1)
            return [replace(from_json(doc, Event), seq=first + n) for n, doc in enumerate(docs, start=1)]

    async def append(self, migration: str, event: Event) -> None:
        """Append an audit event that changes no state."""
        async with self._link.asking() as redis:
            await redis.rpush(keys.events(migration), to_json(event))

    async def next_epoch(self) -> int:
        """Return a fencing epoch greater than any before it."""
        async with self._link.asking() as redis:
            return int(await redis.incr(keys.EPOCH))

    async def raise_epoch(self, floor: int) -> None:
        """Make every later `next_epoch` greater than `floor`."""

        async def attempt(pipe: Commands) -> None:
            if int(await pipe.get(keys.EPOCH) or 0) < floor:
                pipe.multi()
                pipe.set(keys.EPOCH, floor)
                await pipe.execute()

        await self._link.compare_and_set(keys.EPOCH, attempt)

    async def changed(self, timeout_s: float) -> None:
        """Return soon after a publication or a new subscription, or after `timeout_s`."""
        await self._link.publications.wait(timeout_s)

    # --- what conversations and units were given ------------------------------------------------------------

    async def recall(self, query: Recall) -> Recollection:
        """Return the first pin found and the unit's record, in one round trip."""
        async with self._link.batch(atomic=False) as pipe:
            for key in query.pin_keys:
                pipe.get(keys.pin(query.migration, key))
            if query.unit_key is not None:
                for arm in Arm:
                    pipe.sismember(keys.enrolled(query.migration, query.run, arm), query.unit_key)
            answers = await pipe.execute()
            pins, records = answers[: len(query.pin_keys)], answers[len(query.pin_keys) :]
            return Recollection(
                pin=next((_pin(value) for value in pins if value is not None), None),
                record=next((arm for arm, member in zip(Arm, records, strict=False) if member), None),
            )

    async def remember(self, writes: Sequence[PinWrite | Enrolment]) -> None:
        """Write a batch in one round trip, a transaction for each migration: no unit is ever in two arms."""
        by_migration: dict[str, list[PinWrite | Enrolment]] = {}
        for write in writes:
            by_migration.setdefault(write.migration, []).append(write)
        async with self._link.batch(atomic=False) as pipe:
            for group in by_migration.values():
                pipe.execute_command("MULTI")
                for write in group:
                    _stage(pipe, write)
                pipe.execute_command("EXEC")
            _raise_nested(await pipe.execute())

    async def enrolled(self, migration: str, run: int) -> dict[Arm, int]:
        """Return the exact number of units enrolled in each arm of the run."""
        async with self._link.batch(atomic=True) as pipe:
            for arm in Arm:
                pipe.scard(keys.enrolled(migration, run, arm))
            return dict(zip(Arm, await pipe.execute(), strict=True))

    async def read_notes(self, migration: str, names: Sequence[str]) -> dict[str, bytes]:
        """Return those notes that are there, in one round trip."""
        if not names:
            return {}
        async with self._link.batch(atomic=False) as pipe:
            for start in range(0, len(names), NOTES_AT_ONCE):
                pipe.mget([keys.note(migration, key) for key in names[start : start + NOTES_AT_ONCE]])
            found = [value for part in await pipe.execute() for value in part]
            return {key: bytes(value) for key, value in zip(names, found, strict=True) if value is not None}

    async def write_notes(self, migration: str, notes: Mapping[str, bytes], ttl_s: int) -> None:
        """Keep notes for `ttl_s` seconds, in one round trip."""
        if not notes:
            return
        async with self._link.batch(atomic=False) as pipe:
            for key, value in notes.items():
                pipe.set(keys.note(migration, key), value, ex=ttl_s)
            await pipe.execute()

    # --- who serves, who leads ------------------------------------------------------------------------------

    async def report(self, report: ReplicaReport) -> None:
        """Write this process's heartbeat."""
        await self._put(
            keys.replica(report.id), keys.REPLICAS, report.id, doc=to_json(report), ttl_s=REPLICA_TTL_S
        )

    async def replicas(self) -> list[ReplicaReport]:
        """Return the heartbeats that still count, by id."""
        docs = await self._indexed(keys.REPLICAS, keys.replica)
        return [from_json(doc, ReplicaReport) for _, doc in sorted(docs.items())]

    async def deregister(self, replica_id: str) -> None:
        """Forget a process that leaves in good order."""
        async with self._link.batch(atomic=True) as pipe:
            pipe.delete(keys.replica(replica_id))
            pipe.zrem(keys.REPLICAS, replica_id)
            await pipe.execute()

    async def acquire_lease(self, holder: str, ttl_s: float) -> int | None:
        """Take the lease if it is free, and its new epoch in the same step."""

        async def attempt(pipe: Commands) -> int | None:
            if await pipe.get(keys.LEASE) is not None:
                return None
            pipe.multi()
            pipe.set(keys.LEASE, holder, px=in_ms(ttl_s))
            pipe.incr(keys.EPOCH)
            return int((await pipe.execute())[1])

        return await self._link.compare_and_set(keys.LEASE, attempt)

    async def renew_lease(self, holder: str, ttl_s: float) -> bool:
        """Extend the lease if `holder` still has it."""

        async def attempt(pipe: Commands) -> bool:
            if await pipe.get(keys.LEASE) != holder.encode():
                return False
            pipe.multi()
            pipe.pexpire(keys.LEASE, in_ms(ttl_s))
            return bool((await pipe.execute())[0])

        return await self._link.compare_and_set(keys.LEASE, attempt)

    async def release_lease(self, holder: str) -> None:
        """Give the lease back if `holder` has it."""

        async def attempt(pipe: Commands) -> None:
            if await pipe.get(keys.LEASE) == holder.encode():
                pipe.multi()
                pipe.delete(keys.LEASE)
                await pipe.execute()

        await self._link.compare_and_set(keys.LEASE, attempt)

    async def secret(self) -> bytes:
        """Return the fleet's key for hashing units.

        If the server lost it, the one that this process has known becomes the fleet's again.
        """
        async with self._link.asking() as redis:
            await redis.set(keys.SECRET, self._secret or secrets.token_bytes(32), nx=True)
            stored = await redis.get(keys.SECRET)
            if stored is None:
                raise ValueError("the secret was lost while it was read")
            self._secret = bytes(stored)
            return self._secret


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the server has of a migration's state, as far as deciding about a write needs it."""

    order: Order
    run: int
    write_id: bytes


async def _stored(pipe: Commands, migration: str) -> _Stored | None:
    epoch, version, run, write_id = await pipe.hmget(
        keys.state(migration), ["epoch", "version", "run", "write_id"]
    )
    return None if epoch is None else _Stored((int(epoch), int(version)), int(run), write_id)


async def _enter(pipe: Commands, migration: str) -> None:
    """Name the migration in the index before its state is written: a state that it does not name is lost."""
    await pipe.sadd(keys.MIGRATIONS, migration)


def _stage_state(pipe: Commands, state: MigrationState, write_id: bytes) -> None:
    pipe.multi()
    fields = {"epoch": state.epoch, "version": state.version, "run": state.run, "write_id": write_id}
    pipe.hset(keys.state(state.name), mapping={**fields, "doc": to_json(state)})
    pipe.publish(keys.CHANGED, state.name)


def _stage(pipe: Commands, write: PinWrite | Enrolment) -> None:
    match write:
        case PinWrite(migration, key, pin, ttl_s):
            pipe.set(keys.pin(migration, key), f"{pin.arm.value}|{pin.run}|{pin.ruleset}", ex=ttl_s)
        case Enrolment(migration, run, unit_key, arm):
            for other in Arm:
                add_or_remove = pipe.sadd if other is arm else pipe.srem
                add_or_remove(keys.enrolled(migration, run, other), unit_key)


def _raise_nested(answers: Iterable[Any]) -> None:
    """Raise the first error inside the answer to an EXEC, where the client does not look."""
    for answer in answers:
        if isinstance(answer, list):
            for error in answer:
                if isinstance(error, Exception):
                    raise error


def _pin(value: bytes) -> Pin:
    arm, run, ruleset = value.decode().split("|", 2)
    return Pin(Arm(arm), int(run), ruleset)
