"""When no stage is advanced: freeze windows, weekly or once, in their own timezone.

A window is a span of wall-clock time there, so that "until eight" stays eight o'clock when clocks change.
Windows that touch are one: a freeze of Saturday and one of Sunday end on Monday.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import get_args
from zoneinfo import ZoneInfo

from gateway.core.spec import Freeze, Weekday

_DAYS = get_args(Weekday)
_MOST = 60
"""Windows that are looked at one after the other: weekly ones that touch for so long never end."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze that is in force."""

    name: str
    until: float | None
    """Epoch seconds; None: nobody said, or never."""


def frozen(freezes: Iterable[Freeze], now: float) -> Frozen | None:
    """Return the freeze in force at `now`, and when it is over for good; raises ValueError if one is none."""
    every, name, until = tuple(freezes), "", now
    for _ in range(_MOST):
        ends = [(end, each.name) for each in every for end in _ends(each, until)]
        if not ends:
            break
        end, last = max(ends, key=lambda one: float("inf") if one[0] is None else one[0])
        name = name or last
        if end is None:
            return Frozen(name, None)
        until = end
    else:
        return Frozen(name, None)
    return Frozen(name, until) if name else None


def zone(name: str) -> tzinfo:
    """Return a timezone by its name; raises ValueError."""
    if name == "UTC":  # Known also where the machine has no timezone database.
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{name!r} is not a timezone that is known here") from error


def _ends(freeze: Freeze, now: float) -> Iterator[float | None]:
    """Yield the end of each of its windows that holds `now`."""
    tz = zone(freeze.timezone)
    if freeze.since or freeze.until:
        begin, end = (_moment(each, tz) if each else None for each in (freeze.since, freeze.until))
        if (begin is None or begin <= now) and (end is None or now < end):
            yield end
    if freeze.days:
        starts, ends = time.fromisoformat(freeze.starts), time.fromisoformat(freeze.ends)
        today = datetime.fromtimestamp(now, tz).date()
        for day in (today - timedelta(days=1), today):
            if _DAYS[day.weekday()] in freeze.days:
                begin = min(_both(datetime.combine(day, starts, tz)))
                last = day + timedelta(days=1) if ends <= starts else day
                end = max(_both(datetime.combine(last, ends, tz)))
                if begin <= now < end:
                    yield end


def _both(moment: datetime) -> tuple[float, float]:
    """Return what a time of day means where clocks change at that very hour: it may come twice, or never."""
    return moment.timestamp(), moment.replace(fold=1).timestamp()


def _moment(text: str, tz: tzinfo) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=tz)).timestamp()
