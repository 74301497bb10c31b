"""Request ids that say where their request is booked, so that nothing has to be stored for feedback.

A request has its short id from the start: `gw_` and 24 hexadecimal digits; logs know it by that. The client
is told the same id with a seal behind a dot: arm, run, entry, the unit's keyed hash and the time, under a MAC
made with the fleet's secret. Whoever gives it back within a day is believed, on any replica; nothing in it is
secret, and nothing in it can be changed. What no migration governs keeps its short id and has no seal.

The seal names the key that made it by two bytes of the key's hash. So an id from before the fleet's secret
was known (a start without the store), or from before the store was replaced, is told apart from a forged one.
"""

import base64
import re
import secrets
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from gateway.core.booking import Place
from gateway.core.types import Arm
from gateway.errors import BadRequest

VALID_S = 86_400.0
"""How long an id is taken for feedback."""
AHEAD_S = 300.0
"""How far the clock of the replica that made it may be ahead."""

_ID = re.compile(r"(gw_[0-9a-f]{24})(?:\.([A-Za-z0-9_-]{60}))?")
_FIELDS = struct.Struct(">B2sI4sIH16s")
_MAC_BYTES = 12
_CANDIDATE, _ENROLLED, _HAS_UNIT, _COUNTED = 1, 2, 4, 8
_MOST_ENTRIES = 0xFFFF


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request id says about its request."""

    request_id: str
    """The short one, as the log has it."""
    migration: str = ""
    """Empty: none governed it, or none that is known here."""
    place: Place | None = None
    counted: bool = False
    """False: an operator forced its arm, so nothing that comes of it is counted."""


class Receipts:
    """Seals ids and reads them again, under the fleet's secret."""

    def __init__(self, secret: bytes | None = None) -> None:
        """Without a secret, ids are good for this process until `renew`."""
        self._hashes: dict[str, bytes] = {}
        self.renew(secret or secrets.token_bytes(32))

    def renew(self, secret: bytes) -> None:
        """Go on with the fleet's secret."""
        key = blake2b(secret, digest_size=32, person=b"gateway receipts").digest()
        self._mac = blake2b(key=key, digest_size=_MAC_BYTES)
        self._key_id = blake2b(key, digest_size=2, person=b"key id").digest()

    def seal(self, request_id: str, migration: str, place: Place, *, counted: bool, at: float) -> str:
        """Return the id that the client is told."""
        unit = base64.urlsafe_b64decode(f"{place.unit_key}==") if place.unit_key else b""
        flags = _CANDIDATE * (place.arm is Arm.candidate) | _ENROLLED * place.enrolled
        flags |= _HAS_UNIT * bool(unit) | _COUNTED * counted
        entry = min(place.entry, _MOST_ENTRIES)
        fields = _FIELDS.pack(
            flags, self._key_id, int(at), self._hash(migration), place.run, entry, unit.ljust(16, b"\0")
        )
        return f"{request_id}.{base64.urlsafe_b64encode(fields + self._sign(request_id, fields)).decode()}"

    def read(self, text: str, *, migrations: Iterable[str], now: float) -> Receipt:
        """Return what an id says; raises BadRequest for one that is not to be believed."""
        match = _ID.fullmatch(text)
        if match is None:
            raise BadRequest("request_id: send x-gateway-request-id as it stood in the answer, all of it")
        request_id, seal = match.groups()
        if seal is None:
            return Receipt(request_id)
        sealed = base64.urlsafe_b64decode(seal)
        fields, mac = sealed[:-_MAC_BYTES], sealed[-_MAC_BYTES:]
        flags, key_id, at, hashed, run, entry, unit = _FIELDS.unpack(fields)
        if key_id != self._key_id:
            raise BadRequest(
                "request_id: it was made under another key than the fleet's: the gateway was without its "
                "store then, or the store has been replaced since"
            )
        if not compare_digest(mac, self._sign(request_id, fields)):
            raise BadRequest("request_id: it was changed on its way; send it as it stood in the answer")
        if not -AHEAD_S <= now - at <= VALID_S:
            raise BadRequest("request_id: it is older than 24 hours; feedback is taken for one day")
        migration = next((name for name in migrations if self._hash(name) == hashed), "")
        unit_key = base64.urlsafe_b64encode(unit)[:22].decode() if flags & _HAS_UNIT else None
        arm = Arm.candidate if flags & _CANDIDATE else Arm.control
        place = Place(arm, run, entry, unit_key, bool(flags & _ENROLLED))
        return Receipt(request_id, migration, place, counted=bool(flags & _COUNTED))

    def _sign(self, request_id: str, fields: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(request_id.encode() + fields)
        return mac.digest()

    def _hash(self, migration: str) -> bytes:
        known = self._hashes.get(migration)
        if known is None:
            known = self._hashes[migration] = blake2b(migration.encode(), digest_size=4).digest()
        return known
