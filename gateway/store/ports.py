"""What the planes may ask of a store. Small Protocols; one SQLite and one Redis implementation; one contract
suite.

Every method may raise `StoreUnavailable`; nothing else escapes but `StaleWrite` where it is named. Calls are
bounded in time by the implementation, so that a caller never hangs. Unit and conversation keys arrive here
already hashed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gateway.core.types import Arm, Event, MigrationState, Pin
from gateway.errors import StaleWrite

Order = tuple[int, int]
"""(epoch, version), as in `MigrationState.order`."""

OLD_RUN_KEPT_S = 30 * 86_400
"""How long the enrolments of a run are kept once the next one has begun."""

EVIDENCE = "evidence"
"""The document that the controller writes after every tick, so that who led before is known by it."""

TALLY_KEPT_S = 90 * 86_400
"""How long what was counted in a scope is kept after any process last wrote there."""

REPLICA_TTL_S = 60.0
"""How long a heartbeat counts: a process that has been silent for longer is not expected to acknowledge
anything.
"""


@dataclass(frozen=True, slots=True)
class Recall:
    """What to look up for one request: the conversation's pins (first found wins) and its unit's record."""

    migration: str
    run: int
    pin_keys: tuple[str, ...]
    unit_key: str | None


@dataclass(frozen=True, slots=True)
class Recollection:
    """What the store knew."""

    pin: Pin | None = None
    record: Arm | None = None


@dataclass(frozen=True, slots=True)
class PinWrite:
    """Set or refresh a conversation pin for `ttl_s` more seconds."""

    migration: str
    key: str
    pin: Pin
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A unit was exposed to an arm in a run; idempotent, and a unit has one arm at a time."""

    migration: str
    run: int
    unit_key: str
    arm: Arm


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """The heartbeat of one serving process, which is also its acknowledgement of each migration's version."""

    id: str
    at: float
    versions: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Migration → (epoch, version) that this process obeys."""
    started_at: float = 0.0
    leader: bool = False
    in_flight: int = 0
    gateway_version: str = ""
    snapshot_age_s: float = 0.0
    candidate_sent_at: Mapping[str, float] = field(default_factory=dict)
    """Migration → when this process last sent a request to its candidate, in epoch seconds."""


class StateStore(Protocol):
    """The fleet's agreement about migrations."""

    async def load(self) -> dict[str, MigrationState]:
        """Return every migration that was ever written."""
        ...

    async def commit(
        self, state: MigrationState, event: Event, *, expected: tuple[int, int], term: int | None = None
    ) -> MigrationState:
        """Write state, audit event and publication in one step if the stored (epoch, version) equals
        `expected`.

        (0, 0) means: nothing is stored yet. The stored version becomes expected version + 1; `state.epoch`
        must not be below the stored one. `term` is a leader's fencing epoch: nothing is written if the
        `EVIDENCE` has been written under a greater one. Returns what was stored. Raises StaleWrite.
        """
        ...

    async def restore(self, state: MigrationState) -> bool:
        """Put back a state that the store lost: write it as it is, without an event, if nothing newer is
        stored.
        """
        ...

    async def events(self, migration: str, since: int = 0) -> list[Event]:
        """Return the audit events with seq > since, oldest first, each with its seq."""
        ...

    async def append(self, migration: str, event: Event) -> None:
        """Append an audit event that changes no state."""
        ...

    async def next_epoch(self) -> int:
        """Return a fencing epoch greater than any before it in this store."""
        ...

    async def raise_epoch(self, floor: int) -> None:
        """Make every later `next_epoch` greater than `floor` (after the store lost its counter)."""
        ...

    async def changed(self, timeout_s: float) -> None:
        """Return soon after somebody published a change, or after `timeout_s`; a hint, never a promise."""
        ...


class Memory(Protocol):
    """What conversations and units were given, and what must be repeated in a conversation."""

    async def recall(self, query: Recall) -> Recollection:
        """One round trip."""
        ...

    async def remember(self, writes: Sequence[PinWrite | Enrolment]) -> None:
        """Write a batch in one round trip; later entries win."""
        ...

    async def enrolled(self, migration: str, run: int) -> dict[Arm, int]:
        """Return the exact number of units enrolled in each arm of the run."""
        ...

    async def read_notes(self, migration: str, names: Sequence[str]) -> dict[str, bytes]:
        """Return those notes that are there, in one round trip."""
        ...

    async def write_notes(self, migration: str, notes: Mapping[str, bytes], ttl_s: int) -> None:
        """Keep notes for `ttl_s` seconds from now, in one round trip; one that is there is replaced.

        They arrive sealed: neither their keys nor their values tell anything.
        """
        ...


class Fleet(Protocol):
    """Who serves, who leads, and what each process has counted lately."""

    async def report(self, report: ReplicaReport) -> None:
        """Write this process's heartbeat; kept until deregistered or 60 s after its last."""
        ...

    async def replicas(self) -> list[ReplicaReport]:
        """Return the heartbeats not older than 60 s."""
        ...

    async def deregister(self, replica_id: str) -> None:
        """Forget a process that leaves in good order."""
        ...

    async def acquire_lease(self, holder: str, ttl_s: float) -> int | None:
        """Take the controller lease if it is free: its new fencing epoch, else None."""
        ...

    async def renew_lease(self, holder: str, ttl_s: float) -> bool:
        """Extend the lease if `holder` still has it."""
        ...

    async def release_lease(self, holder: str) -> None:
        """Give the lease back if `holder` has it."""
        ...

    async def put_counts(self, migration: str, replica_id: str, counts: dict[str, Any], ttl_s: float) -> None:
        """Replace this process's counts (absolute numbers, so a retry changes nothing)."""
        ...

    async def counts(self, migration: str) -> dict[str, dict[str, Any]]:
        """Return every process's counts that have not outlived their ttl."""
        ...

    async def put_tally(self, migration: str, scope: str, replica_id: str, tally: dict[str, Any]) -> None:
        """Replace what this process has counted in one scope (`<run>`, or `<run>.<entry>`).

        Kept for `TALLY_KEPT_S` after anybody's last write in the scope, whatever becomes of the process: sums
        over all processes of a run never go back.
        """
        ...

    async def tallies(self, migration: str, scope: str) -> dict[str, dict[str, Any]]:
        """Return what every process has counted in a scope, those that are gone included."""
        ...

    async def claim(
        self, migration: str, run: int, replica_id: str, claims: Sequence[tuple[str, str]]
    ) -> list[bool]:
        """Claim first failures, in one round trip: for each (failure, unit key) whether it is this process's.

        The first claim of a pair in a run holds for ever; claiming again what one holds is True again, so
        that a lost answer loses no count.
        """
        ...

    async def put_document(self, migration: str, name: str, body: bytes, *, epoch: int) -> None:
        """Replace one document of a migration's. Raises StaleWrite if one of a greater epoch is there."""
        ...

    async def document(self, migration: str, name: str) -> bytes | None:
        """Return one document, or None."""
        ...

    async def documents(self, migration: str, prefix: str) -> dict[str, bytes]:
        """Return the documents whose names begin with `prefix`."""
        ...

    async def secret(self) -> bytes:
        """Return the fleet's key for hashing units, made once."""
        ...


class Store(StateStore, Memory, Fleet, Protocol):
    """A whole store."""

    async def open(self) -> None:
        """Prepare (create tables, connect). Must not fail a start: a store that is away is found later."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...


def successor(state: MigrationState, stored: Order | None, expected: Order) -> MigrationState:
    """Return `state` as it is to be stored over `stored`, or raise StaleWrite: what every commit compares.

    A writer says what it read. If anything else is stored by now, or if its fencing epoch is older than the
    one stored, somebody has overtaken it and it must read again.
    """
    present = stored or (0, 0)
    if present != expected:
        raise StaleWrite(
            f"migration {state.name!r} has moved on: version {present[1]} of epoch {present[0]} is stored, "
            f"not version {expected[1]} of epoch {expected[0]}; read it again"
        )
    if state.epoch < present[0]:
        raise StaleWrite(
            f"migration {state.name!r} is at epoch {present[0]}: a writer of epoch {state.epoch} is too late"
        )
    return replace(state, version=expected[1] + 1)


def supersedes(state: MigrationState, stored: Order | None) -> bool:
    """Tell whether a state that somebody still has is newer than what the store has, if it has anything."""
    return stored is None or state.order > stored


def admit(migration: str, name: str, epoch: int, *, stored: int) -> None:
    """Raise StaleWrite if a document of a greater epoch is stored: its writer does not lead any more."""
    if epoch < stored:
        raise StaleWrite(
            f"document {name!r} of migration {migration!r} is at epoch {stored}: "
            f"a writer of epoch {epoch} is too late"
        )
