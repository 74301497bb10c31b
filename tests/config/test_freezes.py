"""A freeze is weekly or dated, in a zone that exists, and says when it ends."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import load_migration
from gateway.config.freezes import FreezeDocument, to_freezes, unwise_freezes
from gateway.config.shapes import validated
from gateway.core.gates.freeze import Frozen, frozen
from gateway.core.spec import Freeze
from gateway.errors import ConfigError
from tests.support.documents import migration


def freeze_of(**content: Any) -> Freeze:
    document = validated(FreezeDocument, {"name": "f", **content}, Path("m.yaml"))
    (freeze,) = to_freezes([document])
    return freeze


def test_a_weekly_freeze_has_days_and_hours() -> None:
    assert freeze_of(days=["fri", "sat"], starts="16:00", ends="08:30", timezone="Europe/Berlin") == Freeze(
        "f", ("fri", "sat"), "16:00", "08:30", timezone="Europe/Berlin"
    )
    assert freeze_of(days=["sat"]) == Freeze("f", ("sat",)), "the whole day"


def test_a_dated_freeze_has_two_moments(tmp_path: Path) -> None:
    written = "{name: f, since: 2026-12-19, until: 2027-01-04T08:00, timezone: Europe/Berlin}"
    (tmp_path / "m.yaml").write_text(migration(more=f", freeze: [{written}]"))
    assert load_migration(tmp_path / "m.yaml").freeze == (
        Freeze("f", since="2026-12-19", until="2027-01-04T08:00:00", timezone="Europe/Berlin"),
    )


def test_a_time_of_day_needs_no_quotes(tmp_path: Path) -> None:
    assert yaml.safe_load("18:00") == 1080, "what YAML makes of it by itself"
    more = ", freeze: [{name: f, days: [fri], starts: 18:00, ends: 7:30}]"
    (tmp_path / "m.yaml").write_text(migration(more=more.replace("7:30", "07:30")))
    (freeze,) = load_migration(tmp_path / "m.yaml").freeze
    assert (freeze.starts, freeze.ends) == ("18:00", "07:30")
    (tmp_path / "m.yaml").write_text(migration(more=more))
    with pytest.raises(ConfigError, match=r'm\.yaml: freeze\[0\]\.ends: a time of day is written "18:00"$'):
        load_migration(tmp_path / "m.yaml")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, "needs days, or since and until"),
        ({"starts": "16:00"}, "needs days, or since and until"),
        ({"days": []}, "needs days, or since and until"),
        ({"since": "2026-12-19"}, "needs both since and until"),
        ({"since": "2026-12-19", "until": "2026-12-19"}, "until must be after since"),
        (
            {"days": ["sat"], "since": "2026-12-19", "until": "2026-12-20"},
            "is weekly (days, starts, ends) or has dates (since, until), not both",
        ),
        ({"days": ["saturday"]}, "days[0]: Input should be 'mon', "),
        ({"days": ["sat"], "starts": "24:00"}, 'starts: a time of day is written "18:00"'),
        ({"days": ["sat"], "starts": 1080}, 'starts: a time of day is written "18:00"'),
        (
            {"since": "soon", "until": "2026-12-20"},
            "since: a date is written 2026-12-20, a time 2026-12-20T18:00",
        ),
        (
            {"since": datetime(2026, 12, 19, tzinfo=UTC), "until": "2026-12-20"},
            "since: the zone goes into timezone, not into the time",
        ),
        (
            {"since": "2026-12-19T18:00+01:00", "until": "2026-12-20"},
            "since: the zone goes into timezone, not into the time",
        ),
        (
            {"days": ["sat"], "timezone": "Europe/Berln"},
            "timezone: there is no time zone 'Europe/Berln' on this machine; did you mean 'Europe/Berlin'?",
        ),
        (
            {"days": ["sat"], "timezone": "CEST"},
            "timezone: there is no time zone 'CEST' on this machine; it is written Europe/Berlin or UTC",
        ),
        ({"days": ["sat"], "timezone": "../etc/passwd"}, "timezone: there is no time zone "),
        ({"days": ["sat"], "timezone": ""}, "timezone: there is no time zone ''"),
        ({"days": ["sat"], "tz": "UTC"}, "tz: unknown key; "),
    ],
)
def test_what_cannot_be_is_refused_and_says_why(content: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        freeze_of(**content)
    assert caught.value.message.startswith(f"m.yaml: {problem}")


@pytest.mark.parametrize(("hour", "over"), [(22, False), (23, True)])
def test_a_dated_freeze_ends_by_the_clock_of_its_zone(hour: int, over: bool) -> None:
    berlin = Freeze("f", since="2026-12-01", until="2026-12-10", timezone="Europe/Berlin")
    now = datetime(2026, 12, 9, hour, tzinfo=UTC)
    assert bool(list(unwise_freezes([berlin], now))) is over


def test_nights_and_weekends_leave_the_days() -> None:
    nights = Freeze("n", ("mon", "tue", "wed", "thu", "fri"), "18:00", "08:00")
    weekend = Freeze("w", ("sat", "sun"))
    now = datetime(2026, 12, 1, tzinfo=UTC)
    assert list(unwise_freezes([nights, weekend], now)) == []
    days = Freeze("d", ("mon", "tue", "wed", "thu", "fri"), "08:00", "18:00")
    never = list(unwise_freezes([nights, weekend, days], now))
    assert never == [], "a Monday's night begins at 18:00, so its morning is free"
    assert len(list(unwise_freezes([nights, weekend, days, Freeze("m", ("mon",))], now))) == 1


def test_what_the_documents_take_is_what_the_gate_obeys() -> None:
    nights = freeze_of(days=["fri"], starts="18:00", ends="08:00", timezone="Europe/Berlin")
    dated = freeze_of(since="2026-12-19", until="2026-12-20T08:00", timezone="America/New_York")
    at = datetime(2026, 11, 20, 17, tzinfo=UTC).timestamp()  # a Friday, 18:00 in Berlin
    assert frozen([nights], at - 1) is None
    assert frozen([nights], at) == Frozen("f", at + 14 * 3600)
    begin = datetime(2026, 12, 19, 5, tzinfo=UTC).timestamp()
    assert frozen([dated], begin - 1) is None
    assert frozen([dated], begin) == Frozen("f", begin + 32 * 3600)
