"""Requests that ended, in few words."""

from typing import Any

from gateway.core.booking import Booking, Checked, Place
from gateway.core.types import Arm, Outcome


def place(
    unit: str | None = "u",
    arm: Arm = Arm.candidate,
    *,
    run: int = 1,
    entry: int = 1,
    enrolled: bool = True,
) -> Place:
    """Return where something of a unit is booked."""
    return Place(arm, run, entry, unit, enrolled)


def ended(
    outcome: Outcome = Outcome.ok,
    unit: str | None = "u",
    arm: Arm = Arm.candidate,
    *,
    run: int = 1,
    entry: int = 1,
    enrolled: bool = True,
    **fields: Any,
) -> Booking:
    """Return a request that ended; `fields` are those of `Booking`."""
    where = place(unit, arm, run=run, entry=entry, enrolled=enrolled)
    given = {"request_id": "req_1", "task": "", "fallback": False, "duration_s": 1.0, **fields}
    return Booking(place=where, outcome=outcome, **given)


def checked(unit: str | None = "u", arm: Arm = Arm.candidate, *, run: int = 1, **passed: bool) -> Checked:
    """Return what the checks found in an answer: check's name → whether it is fulfilled."""
    return Checked(place(unit, arm, run=run), "req_1", "", passed)
