"""What conversations and units were given, as one process remembers it, with the store behind it.

Requests never wait for the store where memory can answer, wait for a bounded time where only the store can,
and not at all once it is known to be away. What they learn is visible here at once and reaches the store
behind them. Units and conversations are known by keyed hashes only; the key is the fleet's.

When is memory certain? Another replica may have pinned a conversation or moved a unit since we last heard.

- A pin under the first of a conversation's keys is certain: it is the most exact key, first found wins, and
  a conversation keeps the pin it began with. It may be void, though, if it is a candidate pin of an earlier
  run; then the unit's record decides, and the answer is certain only with that.
- A pin under a later key is not: another replica may have pinned the exact one.
- That there is no pin never is, except from an answer of the store itself.
- A record is certain enough where no pin is asked for: a new conversation goes by the hash anyway.

When is the store certain? What it finds, always. That it finds nothing means little after it lost its data,
while the replicas are still putting back what they remember. So for `DOUBT_S` "nothing" is "unknown" then,
and the caller goes by the hash, which every replica computes alike. Each process notices a loss by a pin of
its own, for which it looks every two seconds and when the store comes back.
"""

import asyncio
import base64
import logging
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import takewhile
from typing import Generic, TypeVar

from gateway.core.types import Arm, Pin
from gateway.errors import StoreUnavailable
from gateway.store.local.outbox import BATCH, PIN_RUN, Health, Key, Outbox, Patience, Write
from gateway.store.ports import Enrolment, Memory, PinWrite, Recall, Recollection
from gateway.tasks import Clock, Tasks

logger = logging.getLogger(__name__)

DOUBT_S = 5.0
"""How long the replicas may take to put back what a store lost."""
OWN = "@ledger"
"""Where each process has a pin of its own; no migration can have this name."""

V = TypeVar("V")


@dataclass(slots=True)
class _Pinned:
    pin: Pin
    era: int
    """The migration's era in which it was learnt; an eviction begins a new one."""
    expires_at: float
    refreshed_at: float
    """When the store was last told, or is about to be."""


@dataclass(slots=True)
class _Recorded:
    arm: Arm
    era: int
    written: bool
    """The store knows, or is about to be told."""


class _Lru(Generic[V]):
    """At most `capacity` entries; the one unused for longest goes first."""

    def __init__(self, capacity: int) -> None:
        self._entries: OrderedDict[Key, V] = OrderedDict()
        self._capacity = capacity

    def get(self, key: Key) -> V | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: Key, entry: V) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def slices(self, size: int) -> Iterator[list[tuple[Key, V]]]:
        """Everything that is in here now and still is when its turn comes."""
        keys = list(self._entries)
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            yield [(key, entry) for key in part if (entry := self._entries.get(key)) is not None]

    def clear(self) -> None:
        self._entries.clear()


class Ledger:
    """The pins and records of one process; `start` it in the event loop, `aclose` it after the requests."""

    def __init__(
        self,
        memory: Memory,
        *,
        secret: bytes,
        clock: Clock,
        on_error: Callable[[str], None],
        pin_ttl_s: int = 3600,
        capacity: int = 200_000,
        call_s: float = 2.0,
        watch_s: float = 2.0,
        probe_pauses_s: tuple[float, float] = (0.2, 2.0),
    ) -> None:
        self._memory, self._clock = memory, clock
        self._pin_ttl_s, self._watch_s = pin_ttl_s, watch_s
        self._own = secrets.token_hex(8)
        self._pins: _Lru[_Pinned] = _Lru(capacity)
        self._records: _Lru[_Recorded] = _Lru(capacity)
        self._eras: dict[str, int] = {}
        self._asking: dict[Recall, asyncio.Task[Recollection | None]] = {}
        self._patience = Patience()
        self._tasks = Tasks()
        self._health = Health(
            self._probe,
            tasks=self._tasks,
            on_error=on_error,
            call_s=call_s,
            pauses_s=probe_pauses_s,
        )
        self._outbox: Outbox[Key, Write] = Outbox(
            memory.remember, health=self._health, capacity=capacity, on_drop=self._forget_written
        )
        self._rewriting: asyncio.Task[None] | None = None
        self._lost_at = -math.inf
        self._adopt(secret)
        self.asked = self.late = 0
        """Questions that the store was asked, and that it answered too late."""

    # --- what the planes use ------------------------------------------------------------------------------

    def key(self, text: str) -> str:
        """Return what stands for a unit or conversation outside this process: 128 bits, keyed, URL-safe."""
        digest = self._hash.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return base64.urlsafe_b64encode(digest.digest())[:22].decode()

    def record(self, migration: str, run: int, unit_key: str | None) -> Arm | None:
        """Return the arm that this process knows the unit enrolled in."""
        if unit_key is None:
            return None
        entry = self._records.get((migration, run, unit_key))
        return entry.arm if entry is not None and entry.era == self._era(migration) else None

    def known(self, query: Recall) -> Recollection | None:
        """Answer from memory, or None if memory is not certain (see the module's rules)."""
        record = self.record(query.migration, query.run, query.unit_key)
        complete = query.unit_key is None or record is not None
        pin = self._pin(query.migration, query.pin_keys[0]) if query.pin_keys else None
        if pin is None:
            certain = complete and not query.pin_keys
        else:
            certain = complete or pin.arm is Arm.control or pin.run >= query.run
        if not certain:
            return None
        return Recollection(pin, record)

    async def recall(self, query: Recall, timeout_s: float) -> Recollection | None:
        """Answer from memory or the store; without the store by the best that memory has, if any."""
        certain = self.known(query)
        if certain is not None:
            return certain
        if timeout_s > 0 and not self._health.away and not self._patience.exhausted:
            asking = self._ask(query)
            if not await self._patience.wait(asking, timeout_s):
                self.late += 1
            elif not asking.cancelled() and (answer := asking.result()) is not None:
                return self._unite(query, answer)
        guess = self._remembered(query)
        return guess if guess.pin or guess.record else None

    async def note(self, writes: Sequence[Write], wait_s: float) -> None:
        """Remember at once and tell the store behind the request, which waits `wait_s` for that at most.

        What the store was told lately is not told again.
        """
        news = [self._note(write) for write in writes]
        if any(news):
            await self._outbox.wait(wait_s)

    def forget(self, migration: str) -> None:
        """Drop what is remembered of a migration whose run was evicted; what is queued still goes out."""
        self._eras[migration] = self._era(migration) + 1

    def renew(self, secret: bytes) -> None:
        """Put back what this process remembers into a store that lost it.

        With another secret than before nothing of it could be found again, and it is dropped instead.
        """
        if secret != self._secret:
            self._adopt(secret)
            self._pins.clear()
            self._records.clear()
            self._outbox.clear()
            return
        self._put_back()

    # --- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send what is noted, and to watch whether the store keeps it."""
        self._tasks.spawn("ledger-flush", self._outbox.run(), endless=True)
        self._tasks.spawn("ledger-watch", self._watch(), endless=True)

    async def aclose(self, deadline_s: float = 2.0) -> None:
        """Send what is left, for `deadline_s` at most."""
        await self._tasks.drain(0)
        if lost := await self._outbox.drain(deadline_s):
            logger.warning("pins and records were not stored before the end", extra={"entries": lost})
        await self._tasks.drain(0)

    @property
    def away(self) -> bool:
        """The store is known not to answer."""
        return self._health.away

    @property
    def queued(self) -> int:
        """Entries that the store has yet to be told."""
        return len(self._outbox)

    @property
    def written(self) -> int:
        """Entries that the store was told."""
        return self._outbox.written

    @property
    def dropped(self) -> int:
        """Entries given up because the store was away for too long."""
        return self._outbox.dropped

    @property
    def errors(self) -> int:
        """Calls of the store that failed."""
        return self._health.errors

    # --- asking -------------------------------------------------------------------------------------------

    def _ask(self, query: Recall) -> asyncio.Task[Recollection | None]:
        """Ask the store for what memory lacks; who asks the same meanwhile gets the same answer."""
        lacking = takewhile(lambda key: self._pin(query.migration, key) is None, query.pin_keys)
        question = replace(query, pin_keys=tuple(lacking))
        asking = self._asking.get(question)
        if asking is None:
            self.asked += 1
            asking = self._tasks.spawn("ledger-recall", self._fetch(question), endless=True)
            self._asking[question] = asking
            asking.add_done_callback(lambda _: self._asking.pop(question, None))
        return asking

    async def _fetch(self, question: Recall) -> Recollection | None:
        era = self._era(question.migration)
        try:
            answer = await self._health.call("recall", self._memory.recall(question))
        except StoreUnavailable:
            return None
        if answer.pin is not None and question.pin_keys:
            key = (question.migration, PIN_RUN, question.pin_keys[0])
            if self._pin(question.migration, question.pin_keys[0]) is None:
                self._pins.put(key, _Pinned(answer.pin, era, self._now() + self._pin_ttl_s, -math.inf))
        if answer.record is not None and question.unit_key is not None:
            key = (question.migration, question.run, question.unit_key)
            if key not in self._outbox:
                self._records.put(key, _Recorded(answer.record, era, written=True))
        return answer

    def _unite(self, query: Recall, answer: Recollection) -> Recollection | None:
        """Add to the store's answer what memory has for the keys that it was not asked for."""
        own = self._remembered(query)
        united = Recollection(answer.pin or own.pin, own.record or answer.record)
        doubtful = self._now() - self._lost_at < DOUBT_S
        return None if doubtful and not (united.pin or united.record) else united

    def _remembered(self, query: Recall) -> Recollection:
        pins = (self._pin(query.migration, key) for key in query.pin_keys)
        record = self.record(query.migration, query.run, query.unit_key)
        return Recollection(next((pin for pin in pins if pin is not None), None), record)

    # --- noting -------------------------------------------------------------------------------------------

    def _note(self, write: Write) -> bool:
        """Take one write into memory; True if the store must be told."""
        if isinstance(write, PinWrite):
            return self._note_pin(write)
        return self._note_record(write)

    def _note_pin(self, write: PinWrite) -> bool:
        key, era, now = (write.migration, PIN_RUN, write.key), self._era(write.migration), self._now()
        entry = self._pins.get(key)
        fresh = entry is not None and entry.era == era and entry.expires_at > now and entry.pin == write.pin
        if entry is not None and fresh and now - entry.refreshed_at < write.ttl_s / 4:
            entry.expires_at = now + write.ttl_s
            return False
        self._pins.put(key, _Pinned(write.pin, era, now + write.ttl_s, now))
        self._outbox.put(key, _outliving(write))
        return True

    def _note_record(self, write: Enrolment) -> bool:
        key, era = (write.migration, write.run, write.unit_key), self._era(write.migration)
        entry = self._records.get(key)
        if entry is not None and entry.era == era and entry.arm is write.arm and entry.written:
            return False
        self._records.put(key, _Recorded(write.arm, era, written=True))
        self._outbox.put(key, write)
        return True

    def _forget_written(self, write: Write) -> None:
        """The store will not be told this after all."""
        if isinstance(write, PinWrite):
            pinned = self._pins.get((write.migration, PIN_RUN, write.key))
            if pinned is not None:
                pinned.refreshed_at = -math.inf
        elif (recorded := self._records.get((write.migration, write.run, write.unit_key))) is not None:
            recorded.written = False

    # --- a store that lost its data -----------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._watch_s)
            with suppress(StoreUnavailable):
                await self._look_for_own()

    async def _look_for_own(self) -> None:
        own = PinWrite(OWN, self.key(self._own), Pin(Arm.control, 0, ""), self._pin_ttl_s)
        told = self._pin(OWN, own.key) is not None and (OWN, PIN_RUN, own.key) not in self._outbox
        if told and not self.away:
            await self._health.call("recall", self._probe())
        await self.note([own], 0)

    async def _probe(self) -> None:
        """Ask for what this process left there: is the store back, and is it still the same?"""
        found = await self._memory.recall(Recall(OWN, 0, (self.key(self._own),), None))
        if found.pin is None:
            self._put_back()

    def _put_back(self) -> None:
        logger.warning("the store does not have what it was told; it is told again")
        self._lost_at = self._now()
        if self._rewriting is None or self._rewriting.done():
            self._rewriting = self._tasks.spawn("ledger-rewrite", self._rewrite(), endless=True)

    async def _rewrite(self) -> None:
        """Tell the store everything again, no faster than it takes it."""
        for pins in self._pins.slices(BATCH):
            await self._health.returned()
            for key, pinned in pins:
                left_s = pinned.expires_at - self._now()
                if left_s > 0:
                    write = PinWrite(key[0], key[2], pinned.pin, math.ceil(left_s))
                    self._outbox.put(key, _outliving(write))
            await self._outbox.sent()
        for records in self._records.slices(BATCH):
            await self._health.returned()
            for key, recorded in records:
                self._outbox.put(key, Enrolment(*key, recorded.arm))
            await self._outbox.sent()

    # --- small things -------------------------------------------------------------------------------------

    def _pin(self, migration: str, key: str) -> Pin | None:
        entry = self._pins.get((migration, PIN_RUN, key))
        if entry is None or entry.era != self._era(migration) or entry.expires_at <= self._now():
            return None
        return entry.pin

    def _era(self, migration: str) -> int:
        return self._eras.get(migration, 0)

    def _now(self) -> float:
        return self._clock.monotonic()

    def _adopt(self, secret: bytes) -> None:
        self._secret = secret
        key = blake2b(secret, digest_size=32).digest()
        self._hash = blake2b(key=key, digest_size=16, person=b"gateway ledger")


def _outliving(write: PinWrite) -> PinWrite:
    """Let the store keep a pin for longer by what refreshing it may be put off."""
    return replace(write, ttl_s=math.ceil(write.ttl_s * 1.25))
