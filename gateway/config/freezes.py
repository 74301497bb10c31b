"""The shapes of `freeze:`: times in which nothing advances, every week or once.

A weekly one has `days`, a dated one `since` and `until`; times are the clock of `timezone`. Freezes may
overlap: nothing advances while one of them lasts.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, model_validator

from gateway.config.shapes import Document, Name
from gateway.core.gates.freeze import zone
from gateway.core.spec import Freeze, Weekday

WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_DAY = 24 * 60


def _clock(text: object) -> object:
    if not isinstance(text, str) or not _CLOCK.fullmatch(text):
        raise ValueError('a time of day is written "18:00"')
    return text


def _moment(value: object) -> object:
    """Return a date or time without a zone as ISO text, whatever YAML made of it."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value) if len(value) > 10 else date.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, datetime) and value.tzinfo is not None:
        raise ValueError("the zone goes into timezone, not into the time")
    if not isinstance(value, date):
        raise ValueError("a date is written 2026-12-20, a time 2026-12-20T18:00")
    return value.isoformat()


def _zone(name: str) -> str:
    try:
        zone(name)
    except ValueError:
        places = [known for known in available_timezones() if "/" in known]  # who writes CEST means no EST
        close = get_close_matches(name, places, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; it is written Europe/Berlin or UTC"
        raise ValueError(f"there is no time zone {name!r} on this machine{hint}") from None
    return name


Clock = Annotated[str, BeforeValidator(_clock)]
Moment = Annotated[str, BeforeValidator(_moment)]


class FreezeDocument(Document):
    """One freeze."""

    name: Name
    days: tuple[Weekday, ...] = ()
    starts: Clock = "00:00"
    ends: Clock = "00:00"
    since: Moment = ""
    until: Moment = ""
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"

    @model_validator(mode="after")
    def _weekly_or_once(self) -> "FreezeDocument":
        given = self.model_fields_set
        dated = bool({"since", "until"} & given)
        if dated and {"days", "starts", "ends"} & given:
            raise ValueError("is weekly (days, starts, ends) or has dates (since, until), not both")
        if not dated and not self.days:
            raise ValueError("needs days, or since and until")
        if dated and not (self.since and self.until):
            raise ValueError("needs both since and until")
        if dated and _time(self.since) >= _time(self.until):
            raise ValueError("until must be after since")
        return self


def to_freezes(documents: Iterable[FreezeDocument]) -> tuple[Freeze, ...]:
    """Return the freezes that documents describe."""
    return tuple(Freeze(**document.model_dump()) for document in documents)


def repeated(freezes: Sequence[Freeze]) -> Iterator[str]:
    """Yield the names that stand twice."""
    names = [freeze.name for freeze in freezes]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"freeze[{index}].name: {name!r} stands twice"


def unwise_freezes(freezes: Sequence[Freeze], now: datetime) -> Iterator[str]:
    """Yield which freezes never end, and which are over; `now` has a zone."""
    for index, freeze in enumerate(freezes):
        there = now.astimezone(zone(freeze.timezone)).replace(tzinfo=None)
        if freeze.until and _time(freeze.until) <= there:
            yield f"freeze[{index}] ({freeze.name}): is over since {freeze.until}"
    for place in dict.fromkeys(freeze.timezone for freeze in freezes):
        frozen = {minute for freeze in freezes if freeze.timezone == place for minute in _minutes(freeze)}
        if len(frozen) == 7 * _DAY:
            yield "freeze: leaves no minute of the week, so nothing ever advances"


def _minutes(freeze: Freeze) -> Iterator[int]:
    """Yield the minutes of the week that a weekly freeze covers."""
    begin, end = (int(text[:2]) * 60 + int(text[3:]) for text in (freeze.starts, freeze.ends))
    length = end - begin if end > begin else end - begin + _DAY
    for day in freeze.days:
        first = WEEKDAYS.index(day) * _DAY + begin
        yield from (minute % (7 * _DAY) for minute in range(first, first + length))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
