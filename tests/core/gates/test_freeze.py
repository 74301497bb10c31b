"""Freeze windows keep to the wall clock of their own place."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.gates.freeze import Frozen, frozen, zone
from gateway.core.spec import Freeze

WEEKEND = Freeze("weekend", days=("sat", "sun"))
NIGHT = Freeze("night", days=("mon", "tue", "wed", "thu", "fri"), starts="18:00", ends="08:00")
YEAR_END = Freeze("year end", since="2026-12-20", until="2027-01-04T09:30")


def at(text: str) -> float:
    """Epoch seconds of a time in UTC; 2026-11-16 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("freeze", "now", "until"),
    [
        (WEEKEND, "2026-11-20T23:59:59", None),
        (WEEKEND, "2026-11-21T00:00", "2026-11-23T00:00"),
        (WEEKEND, "2026-11-22T23:59:59", "2026-11-23T00:00"),
        (WEEKEND, "2026-11-23T00:00", None),
        (NIGHT, "2026-11-16T17:59", None),
        (NIGHT, "2026-11-16T18:00", "2026-11-17T08:00"),
        (NIGHT, "2026-11-17T07:59", "2026-11-17T08:00"),
        (NIGHT, "2026-11-17T08:00", None),
        (NIGHT, "2026-11-21T07:00", "2026-11-21T08:00"),
        (NIGHT, "2026-11-22T07:00", None),
        (
            Freeze("lunch", days=("mon",), starts="12:00", ends="13:00"),
            "2026-11-16T12:30",
            "2026-11-16T13:00",
        ),
        (Freeze("lunch", days=("mon",), starts="12:00", ends="13:00"), "2026-11-16T13:00", None),
        (YEAR_END, "2026-12-19T23:59:59", None),
        (YEAR_END, "2026-12-20T00:00", "2027-01-04T09:30"),
        (YEAR_END, "2027-01-04T09:30", None),
    ],
)
def test_a_window_begins_and_ends_to_the_second(freeze: Freeze, now: str, until: str | None) -> None:
    expected = Frozen(freeze.name, at(until)) if until else None
    assert frozen([freeze], at(now)) == expected


def test_windows_that_touch_are_one_and_the_first_names_it() -> None:
    assert frozen([NIGHT, WEEKEND], at("2026-11-20T19:00")) == Frozen("night", at("2026-11-23T00:00"))
    assert frozen([WEEKEND, YEAR_END], at("2026-12-19T12:00")) == Frozen("weekend", at("2027-01-04T09:30"))


def test_a_window_keeps_to_its_own_timezone_also_when_clocks_change() -> None:
    berlin = Freeze("night", days=("sat",), starts="22:00", ends="08:00", timezone="Europe/Berlin")
    assert frozen([berlin], at("2026-11-21T20:59")) is None
    assert frozen([berlin], at("2026-11-21T21:00")) == Frozen("night", at("2026-11-22T07:00"))
    # Summer time ends on 25 October 2026: ten hours by the wall are eleven.
    assert frozen([berlin], at("2026-10-24T20:00")) == Frozen("night", at("2026-10-25T07:00"))


def test_a_dated_window_may_be_open_on_either_side() -> None:
    assert frozen([Freeze("now on", since="2026-11-01")], at("2026-11-20")) == Frozen("now on", None)
    assert frozen([Freeze("not yet", until="2026-11-21")], at("2026-11-20")) == Frozen(
        "not yet", at("2026-11-21")
    )
    assert frozen([WEEKEND, Freeze("now on", since="2026-11-23")], at("2026-11-21")) == Frozen(
        "weekend", None
    )


def test_a_freeze_of_every_day_is_told_for_more_than_a_year_and_ends_the_search() -> None:
    always = Freeze("always", days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
    found = frozen([always], at("2026-11-20"))
    assert found is not None
    assert found.until is not None
    assert found.until > at("2027-11-20")


@pytest.mark.parametrize("freeze", [Freeze("nothing"), Freeze("hours", starts="08:00", ends="09:00")])
def test_what_has_neither_days_nor_dates_never_freezes(freeze: Freeze) -> None:
    assert frozen([freeze], at("2026-11-20T08:30")) is None


def test_utc_needs_no_database_and_an_unknown_place_is_an_error() -> None:
    assert zone("UTC") is UTC
    for unknown in ("Mars/Olympus", "", "../etc"):
        with pytest.raises(ValueError, match="not a timezone"):
            zone(unknown)


@given(st.integers(0, 4_000_000_000))
def test_what_freezes_lies_ahead(now: int) -> None:
    found = frozen([WEEKEND, NIGHT, YEAR_END], now)
    if found is not None:
        assert found.until is not None
        assert found.until > now
        assert frozen([WEEKEND, NIGHT, YEAR_END], found.until) is None
