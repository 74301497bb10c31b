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


@pytest.mark.parametrize(
    ("starts", "ends", "frozen_at", "free_at"),
    [
        # 25 October 2026: from two to three comes twice in Berlin, and both times count.
        ("22:00", "02:30", ["2026-10-25T00:15", "2026-10-25T01:15"], ["2026-10-25T01:30"]),
        ("02:30", "04:00", ["2026-10-25T00:30", "2026-10-25T01:15"], ["2026-10-25T00:29"]),
        # 28 March 2027: it never comes, and the window is not lost with it.
        ("02:30", "03:15", ["2027-03-28T01:10"], ["2027-03-28T01:15"]),
    ],
)
def test_an_hour_that_comes_twice_or_never_is_frozen_rather_than_not(
    starts: str, ends: str, frozen_at: list[str], free_at: list[str]
) -> None:
    window = Freeze("n", days=("sat", "sun"), starts=starts, ends=ends, timezone="Europe/Berlin")
    assert all(frozen([window], at(now)) for now in frozen_at)
    assert not any(frozen([window], at(now)) for now in free_at)


def test_a_freeze_of_every_day_has_no_end() -> None:
    every = Freeze("always", days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
    assert frozen([every], at("2026-11-16T12:00")) == Frozen("always", None)
    assert frozen([YEAR_END, every], at("2026-12-24T12:00")) == Frozen("year end", None)
