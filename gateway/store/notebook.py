"""What must be repeated in conversations, as one process remembers it, with the store behind it.

An entry is found by a digest of the conversation it belongs to, which only somebody who has that conversation
can name. The store learns neither: it sees a keyed hash of the digest, and a value that is sealed with a key
made of the digest and the fleet's secret. So whoever reads the store, the secret included, reads no word of
any conversation.

Memory answers first; what it does not have is asked of the store within a deadline, and what the store did
not answer for is `unknown`, which is not the same as nothing. An entry that does not open was written under
another secret, or tampered with: it is not there. Answers for which nothing has to be repeated are marked in
memory alone, so that nobody asks for them again.

Writes are remembered at once and reach the store behind the request.
"""

import base64
import logging
import secrets
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.errors import StoreUnavailable
from gateway.store.local.outbox import Health, Outbox, Patience
from gateway.store.ports import Memory
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

TTL_S = 86_400
"""How long a conversation may rest and still be repeated."""
OWN = "@notebook"
"""Where this process asks whether the store is back; no migration can have this name."""

_NONCE_BYTES = 12
_PLAIN, _PACKED = b"\0", b"\1"
_PACK_ABOVE = 512
"""Bytes from which packing is worth its time."""
_CALL_BYTES = 4 << 20
"""Most that one call writes."""
_ENTRY_BYTES = 200
"""What an entry costs in memory besides its data."""

Key = tuple[str, str]
"""Migration and digest."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known for some digests; those in neither have no entry."""

    notes: Mapping[str, bytes] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    """Digests that nobody could answer for."""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """One entry on its way to the store."""

    migration: str
    name: str
    value: bytes
    ttl_s: int


class Seal:
    """Makes of a digest what the store may see."""

    def __init__(self, secret: bytes) -> None:
        key = blake2b(secret, digest_size=32).digest()
        self._name = blake2b(key=key, digest_size=16, person=b"gateway notename")
        self._key = blake2b(key=key, digest_size=32, person=b"gateway noteseal")

    def name(self, migration: str, digest: str) -> str:
        """Return the key under which the store keeps an entry."""
        hashed = self._name.copy()
        hashed.update(f"{migration}:{digest}".encode())
        return base64.urlsafe_b64encode(hashed.digest())[:22].decode()

    def close(self, migration: str, digest: str, data: bytes) -> bytes:
        """Return `data` so that only who knows the digest can read it."""
        packed = zlib.compress(data, 1) if len(data) > _PACK_ABOVE else data
        content = _PACKED + packed if len(packed) < len(data) else _PLAIN + data
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher(migration, digest).encrypt(nonce, content, None)

    def open(self, migration: str, digest: str, value: bytes) -> bytes | None:
        """Return what was closed in `value`; None where it was not closed for this digest."""
        try:
            content = self._cipher(migration, digest).decrypt(
                value[:_NONCE_BYTES], value[_NONCE_BYTES:], None
            )
        except (InvalidTag, ValueError):
            return None
        return zlib.decompress(content[1:]) if content[:1] == _PACKED else content[1:]

    def _cipher(self, migration: str, digest: str) -> ChaCha20Poly1305:
        key = self._key.copy()
        key.update(f"{migration}:{digest}".encode())
        return ChaCha20Poly1305(key.digest())


class _Pages:
    """Entries in memory, bounded by bytes; the one unused for longest goes first. None: nothing to repeat."""

    def __init__(self, capacity_bytes: int) -> None:
        self._entries: OrderedDict[Key, bytes | None] = OrderedDict()
        self._left = self._capacity = capacity_bytes

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, key: Key) -> bytes | None:
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Key, data: bytes | None) -> None:
        self._remove(key)
        self._entries[key] = data
        self._left -= _weight(data)
        while self._left < 0:
            self._remove(next(iter(self._entries)))

    def clear(self) -> None:
        self._entries.clear()
        self._left = self._capacity

    def _remove(self, key: Key) -> None:
        if key in self._entries:
            self._left += _weight(self._entries.pop(key))


def _weight(data: bytes | None) -> int:
    return _ENTRY_BYTES + len(data or b"")


class Notebook:
    """The notes of one process; `start` it in the event loop, `aclose` it after the requests."""

    def __init__(
        self,
        memory: Memory,
        *,
        secret: bytes,
        on_error: Callable[[str], None],
        capacity_bytes: int = 64 << 20,
        backlog_bytes: int = 64 << 20,
        call_s: float = 2.0,
        probe_pauses_s: tuple[float, float] = (0.2, 2.0),
    ) -> None:
        self._memory = memory
        self._secret, self._seal = secret, Seal(secret)
        self._pages = _Pages(capacity_bytes)
        self._patience, self._tasks = Patience(), Tasks()
        self._health = Health(
            self._probe, tasks=self._tasks, on_error=on_error, call_s=call_s, pauses_s=probe_pauses_s,
            probing="read_notes",
        )  # fmt: skip
        self._outbox: Outbox[Key, _Sealed] = Outbox(
            self._send, health=self._health, capacity=backlog_bytes, on_drop=lambda sealed: None,
            operation="write_notes", weigh=lambda sealed: len(sealed.value), batch=_CALL_BYTES,
        )  # fmt: skip
        self.asked = self.late = 0
        """Questions that the store was asked, and that it answered too late."""

    # --- what the data path uses --------------------------------------------------------------------------

    async def read(self, migration: str, digests: Iterable[str], timeout_s: float) -> Found:
        """Return the entries of `digests`, from memory and, for what that lacks, from the store."""
        entries, lacking = self._recall(migration, digests)
        unknown: list[str] = []
        if lacking:
            fetched = await self._ask(migration, lacking, timeout_s)
            meanwhile, still = self._recall(migration, lacking)
            entries |= (fetched or {}) | meanwhile
            unknown = still if fetched is None else []
        notes = {digest: data for digest, data in entries.items() if data is not None}
        return Found(notes, frozenset(unknown))

    async def write(
        self,
        migration: str,
        digests: Iterable[str],
        data: bytes,
        *,
        wait_s: float = 0.0,
        ttl_s: int = TTL_S,
        once: bool = False,
    ) -> None:
        """Remember one entry under each of `digests`, and tell the store behind the request.

        The caller waits `wait_s` for that at most. With `once` an entry that this process knows stays.
        """
        for digest in digests:
            if once and (migration, digest) in self._pages and self._pages.get((migration, digest)):
                continue
            self._pages.put((migration, digest), data)
            name, value = (
                self._seal.name(migration, digest),
                self._seal.close(migration, digest, data),
            )
            self._outbox.put((migration, digest), _Sealed(migration, name, value, ttl_s))
        await self._outbox.wait(wait_s)

    def mark(self, migration: str, digests: Iterable[str]) -> None:
        """Remember that nothing has to be repeated here, so that nobody asks the store for it."""
        for digest in digests:
            self._pages.put((migration, digest), None)

    def renew(self, secret: bytes) -> None:
        """Go on with the fleet's secret; under another than before nothing could be found again."""
        if secret != self._secret:
            self._secret, self._seal = secret, Seal(secret)
            self._pages.clear()
            self._outbox.clear()

    # --- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send what is written."""
        self._tasks.spawn("notebook-flush", self._outbox.run(), endless=True)

    async def aclose(self, deadline_s: float = 2.0) -> None:
        """Send what is left, for `deadline_s` at most."""
        await self._tasks.drain(0)
        if lost := await self._outbox.drain(deadline_s):
            logger.warning("notes were not stored before the end", extra={"entries": lost})
        await self._tasks.drain(0)

    @property
    def away(self) -> bool:
        """The store is known not to answer."""
        return self._health.away

    @property
    def dropped(self) -> int:
        """Entries given up because the store was away for too long."""
        return self._outbox.dropped

    def _recall(self, migration: str, digests: Iterable[str]) -> tuple[dict[str, bytes | None], list[str]]:
        """Return what memory has for some digests, and the others."""
        known: dict[str, bytes | None] = {}
        lacking = []
        for digest in dict.fromkeys(digests):
            if (migration, digest) in self._pages:
                known[digest] = self._pages.get((migration, digest))
            else:
                lacking.append(digest)
        return known, lacking

    # --- the store ----------------------------------------------------------------------------------------

    async def _ask(self, migration: str, digests: Sequence[str], timeout_s: float) -> dict[str, bytes] | None:
        """Return what the store has, opened; None where it did not answer in time."""
        if timeout_s <= 0 or self._health.away or self._patience.exhausted:
            return None
        self.asked += 1
        asking = self._tasks.spawn("notebook-read", self._fetch(migration, digests), endless=True)
        if not await self._patience.wait(asking, timeout_s):
            self.late += 1
            return None
        return None if asking.cancelled() else asking.result()

    async def _fetch(self, migration: str, digests: Sequence[str]) -> dict[str, bytes] | None:
        seal = self._seal
        names = {seal.name(migration, digest): digest for digest in digests}
        try:
            values = await self._health.call("read_notes", self._memory.read_notes(migration, list(names)))
        except StoreUnavailable:
            return None
        opened = {names[name]: seal.open(migration, names[name], value) for name, value in values.items()}
        found = {digest: data for digest, data in opened.items() if data is not None}
        if seal is self._seal:
            for digest, data in found.items():
                if (migration, digest) not in self._pages:
                    self._pages.put((migration, digest), data)
        return found

    async def _send(self, entries: Sequence[_Sealed]) -> None:
        calls: dict[tuple[str, int], dict[str, bytes]] = {}
        for entry in entries:
            calls.setdefault((entry.migration, entry.ttl_s), {})[entry.name] = entry.value
        for (migration, ttl_s), notes in calls.items():
            await self._memory.write_notes(migration, notes, ttl_s)

    async def _probe(self) -> None:
        await self._memory.read_notes(OWN, [OWN])
