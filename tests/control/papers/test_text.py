"""Numbers, times and words on paper."""

from datetime import date
from math import inf

import pytest

from gateway.control.papers.text import (
    days_until,
    iso,
    later,
    page,
    said,
    section,
    share,
    span,
    table,
    usd,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.34, "340 ms"),
        (1, "1 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (95, "1 min 35 s"),
        (720, "12 min"),
        (3599.8, "1 h"),
        (18_600, "5 h 10 min"),
        (86_400, "1 d"),
        (3 * 86_400 + 7200, "3 d 2 h"),
        (inf, "never"),
    ],
)
def test_a_length_of_time_has_the_two_units_that_matter(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_moment_is_utc_and_stands_beside_another() -> None:
    assert iso(1_800_000_000) == "2027-01-15T08:00:00Z"
    assert later(1_800_000_180, 1_800_000_000, "the stage began") == "3 min after the stage began"
    assert later(1_800_000_000, 1_800_000_180, "the stage began") == "3 min before the stage began"
    assert days_until(date(2027, 1, 20), 1_800_000_000) == 5


@pytest.mark.parametrize(
    ("microusd", "words"),
    [
        (0, "$0.00"),
        (1_234_567_890, "$1,234.57"),
        (-2_500_000, "-$2.50"),
        (12_345, "$0.012345"),
        (42, "$0.000042"),
        (8_000, "$0.008"),
    ],
)
def test_money_has_as_many_digits_as_it_needs(microusd: float, words: str) -> None:
    assert usd(microusd) == words


@pytest.mark.parametrize(
    ("part", "words"), [(0.05, "5 %"), (0.0214, "2.1 %"), (0.0012, "0.12 %"), (1, "100 %")]
)
def test_a_share_is_in_per_cent(part: float, words: str) -> None:
    assert share(part) == words


def test_what_people_wrote_breaks_no_table_and_marks_nothing_up() -> None:
    assert said("a | b\n# c `d`\x00 <e>") == r"a \| b \# c \`d\` \<e\>"
    assert len(said("x" * 5000)) == 1000


def test_what_says_nothing_is_left_out() -> None:
    assert table(("a",), []) == ""
    assert section("Empty", "", "") == ""
    assert page("T", "", "text") == "# T\n\ntext\n"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
