"""Sentences fit and end with a word; numbers are short and carry their unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gateway.cli.rollout.words import clock, count, fit, folded, measured, padded, share

NOW = 1_795_171_300.0


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [
        ("a sentence", 10, "a sentence"),
        ("a long sentence, of words", 17, "a long sentence…"),
        ("one-very-long-word-that-ends", 10, "one-very-…"),
        ("a one-very-long-word-that-ends", 10, "a one-ver…"),
        ("漢字漢字漢字", 7, "漢字漢…"),
    ],
)
def test_a_text_is_cut_after_a_word(text: str, width: int, fitted: str) -> None:
    assert fit(text, width) == fitted


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=0x30FF, exclude_categories=["Mn", "Cc"])),
    st.integers(1, 40),
)
def test_nothing_is_ever_wider_than_its_place(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) <= width
    assert cell_len(padded(text, width)) == cell_len(padded(text, width, right=True)) == width
    assert all(cell_len(line) <= width for line in folded(text, width, 3))
    assert len(folded(text, width, 3)) <= 3


def test_what_does_not_fit_into_the_lines_ends_in_the_last_one() -> None:
    assert folded("one two three four five six", 8, 2) == ["one two", "three…"]
    assert folded("one two", 8, 2) == ["one two"]
    assert folded("", 8, 2) == []


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("error", 0.0102, "1.02 %"), ("error", 0.123, "12.3 %"), ("error", 0.0, "0 %"),
        ("error", 1.0, "100 %"),
        ("check:json", 0.05, "5.00 %"), ("error", None, "-"), ("ttft", 0.81, "810 ms"),
        ("ttft", 1.24, "1.24 s"),
        ("cost", 12_300.0, "$0.0123"), ("output_tokens", 412.4, "412"),
    ],
)  # fmt: skip
def test_a_metric_is_told_in_its_unit(name: str, value: float | None, text: str) -> None:
    assert measured(name, value) == text


def test_shares_and_counts() -> None:
    assert (share(None), share(0.5)) == ("-", "50.0 %")
    assert [count(each) for each in (7, 1204, 123_456, 1_234_567)] == ["7", "1,204", "123k", "1.23M"]


def test_a_time_of_another_day_has_its_date() -> None:
    assert (clock(NOW - 60, NOW), clock(NOW - 86_400, NOW)) == ("10:40:40", "11-19 10:41")
