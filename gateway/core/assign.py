"""Who is assigned to which arm, and why: one hash, one order of precedence, no I/O.

    bucket = int.from_bytes(sha256(f"{name}:{run}:{unit}")[:8], "big") * 100_000 >> 64

With a candidate share of c points the candidate is [0, c). While c ≤ 50 000 its matched control is [50 000,
50 000 + c) and the rest of the line is control without being enrolled: widening moves nobody between arms,
and both arms enrol at the same time. Above 50 000 everybody else is control and the arms are no longer
compared. Known answers for name `m`, run 1: `alice` → 3440, `bob` → 37642, `user-42` → 70352.

A run that keeps the people of an earlier one hashes with that one's number. One that excludes them keeps
whoever that draw gave to the candidate on control, until control ends.

Precedence, first match wins: killed, denied, unservable, forced, not_running (draft, rolled back), allowed
user or task, holdback, excluded, the conversation's pin, no unit, its unit's record, the hash. A request
without an assistant turn in its history starts afresh: pins and records do not bind it. One that continues
follows its pin; without a pin its unit's record decides; without either it is carried over on control. So no
change of weight switches the model inside a conversation - which is why conversations are pinned to control
as well, even where nothing is compared (draft, rolled back, holdback): later their unit may be given to the
candidate, or control may end. Once completed there is no control to carry over to: only a live pin still
keeps a conversation there.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from gateway.core.spec import Lists
from gateway.core.types import LINE, Arm, MigrationState, Phase, Pin, Reason

HALF = LINE // 2

_SERVING = frozenset({Phase.running, Phase.paused, Phase.soaking})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one request before its arm is."""

    unit: str | None
    """The value that is hashed."""
    names: tuple[str, ...] = ()
    """Values that lists compare with (explicit unit, end user)."""
    task: str | None = None
    unservable: bool = False
    forced: Arm | None = None
    """From an authorised force header."""
    continues: bool = False
    """The history holds an assistant turn."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The answer, and what follows from it."""

    arm: Arm
    reason: Reason
    enrolled: bool = False
    """Enters the statistics and the assignment record."""
    pins: bool = False
    """The conversation is to be pinned to this arm."""
    bucket: int | None = None


def bucket_of(name: str, run: int, unit: str) -> int:
    """Return the unit's place on the line, 0 ≤ bucket < 100 000."""
    return _point(f"{name}:{run}:{unit}")


def in_holdback(name: str, unit: str, percent: float) -> bool:
    """Tell whether the unit is held back; independent of runs and of the arms' hash."""
    return percent > 0 and _point(f"{name}:holdback:{unit}") < round(percent * LINE / 100)


def is_excluded(state: MigrationState, unit: str) -> bool:
    """Tell whether an earlier run gave the unit to the candidate, and this one is to spare it."""
    return any(bucket_of(state.name, seed, unit) < widest for seed, widest in state.excluded)


def served_weight(state: MigrationState) -> int:
    """Return the candidate's share of the line that the phase serves, in points."""
    if state.phase is Phase.completed or state.phase is Phase.soaking:
        return LINE
    return state.weight if state.phase in _SERVING else 0


def by_hash(bucket: int, weight: int) -> tuple[Arm, bool]:
    """Return (arm, enrolled) of a bucket under a candidate share of `weight` points."""
    if bucket < weight:
        return Arm.candidate, True
    if weight > HALF:
        return Arm.control, True
    return Arm.control, HALF <= bucket < HALF + weight


def settle(state: MigrationState, facts: Facts, lists: Lists, holdback_percent: float) -> Assignment | None:
    """Return the assignment where no memory is needed: all that comes before the pin in the precedence."""
    if state.killed:
        return Assignment(Arm.control, Reason.killed, pins=True)
    if any(name in lists.deny_users for name in facts.names):
        return Assignment(Arm.control, Reason.denied)
    if facts.unservable:
        return Assignment(Arm.control, Reason.unservable, pins=not facts.continues)
    if facts.forced is not None:
        return Assignment(facts.forced, Reason.forced)
    if state.phase is Phase.draft or (state.phase is Phase.rolled_back and not _drains(state, facts)):
        return Assignment(Arm.control, Reason.not_running, pins=True)
    if state.phase is not Phase.rolled_back:
        return _listed(state, facts, lists, holdback_percent)
    return None


def remember(state: MigrationState, facts: Facts, pin: Pin | None, record: Arm | None) -> Assignment:
    """Return the assignment from the conversation's pin, its unit's record of this run, or the hash.

    Call it only after `settle` returned None. `pin` and `record` are what the store knew, or None.
    """
    if facts.continues and pin is not None and _holds(state, pin):
        enrolled = pin.run == state.run and record is pin.arm
        return Assignment(pin.arm, Reason.pinned, enrolled=enrolled, pins=True)
    if state.phase is Phase.rolled_back:
        return Assignment(Arm.control, Reason.not_running, pins=True)
    if facts.unit is None:
        return replace(_unassignable(state), pins=True)
    bucket = bucket_of(state.name, state.hash_run, facts.unit)
    if facts.continues and state.phase is not Phase.completed:
        if record is not None:
            return Assignment(record, Reason.recorded, enrolled=True, pins=True, bucket=bucket)
        return Assignment(Arm.control, Reason.carried_over, pins=True, bucket=bucket)
    arm, enrolled = by_hash(bucket, served_weight(state))
    reason = Reason.recorded if record is arm and enrolled else Reason.bucket
    return Assignment(arm, reason, enrolled=enrolled, pins=True, bucket=bucket)


def without_memory(state: MigrationState, facts: Facts) -> Assignment:
    """Return the assignment of a conversation that cannot be looked up: the hash, alike on every replica."""
    if state.phase is Phase.rolled_back:
        return Assignment(Arm.control, Reason.not_running)
    if facts.unit is None:
        return _unassignable(state)
    bucket = bucket_of(state.name, state.hash_run, facts.unit)
    arm, enrolled = by_hash(bucket, served_weight(state))
    return Assignment(arm, Reason.bucket, enrolled=enrolled and not facts.continues, bucket=bucket)


def _point(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") * LINE >> 64


def _unassignable(state: MigrationState) -> Assignment:
    arm = Arm.candidate if state.phase is Phase.completed else Arm.control
    return Assignment(arm, Reason.no_unit)


def _drains(state: MigrationState, facts: Facts) -> bool:
    return state.draining and facts.continues


def _holds(state: MigrationState, pin: Pin) -> bool:
    if pin.arm is Arm.candidate:
        return pin.run > state.evicted_run
    return state.phase is not Phase.rolled_back


def _listed(state: MigrationState, facts: Facts, lists: Lists, holdback_percent: float) -> Assignment | None:
    if any(name in lists.allow_users for name in facts.names):
        return Assignment(Arm.candidate, Reason.allowed_user, pins=True)
    if facts.task is not None and facts.task in lists.allow_tasks:
        return Assignment(Arm.candidate, Reason.allowed_task, pins=True)
    if state.phase is Phase.completed or facts.unit is None:
        return None
    if in_holdback(state.name, facts.unit, holdback_percent):
        return Assignment(Arm.control, Reason.holdback, pins=True)
    if is_excluded(state, facts.unit):
        return Assignment(Arm.control, Reason.excluded, pins=True)
    return None
