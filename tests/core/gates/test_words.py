"""Numbers are said alike everywhere, and never better than they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.gates.words import counted, joined, percent, progress, spoken


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (1.5, "1.5 s"), (119, "119 s"), (120, "2 min"), (2700, "45 min"), (7200, "2 h"),
     (172_800, "48 h"), (259_200, "3 d"), (302_400, "3.5 d"), (-5, "0 s")],
)  # fmt: skip
def test_a_span_is_said_in_its_unit(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


@pytest.mark.parametrize(
    ("done", "whole", "said"),
    [(129_600, 172_800, "36 h of 48 h"), (172_799, 172_800, "47.9 h of 48 h"), (3, 90, "3 s of 90 s"),
     (1e9, 90, "90 s of 90 s"), (-1, 90, "0 s of 90 s"), (0, 0, "0 s of 0 s")],
)  # fmt: skip
def test_progress_is_said_in_the_unit_of_the_whole(done: float, whole: float, said: str) -> None:
    assert progress(done, whole) == said


@given(st.floats(0, 1e6), st.floats(1, 1e6))
def test_what_is_not_over_never_looks_as_if_it_were(done: float, whole: float) -> None:
    shown = progress(done, whole).split()[0]
    assert (
        float(shown) * {"s": 1, "min": 60, "h": 3600, "d": 86_400}[progress(done, whole).split()[1]] <= done
    )


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.05, "5 %"), (0.025, "2.5 %"), (0.524, "52.4 %"), (1, "100 %"), (0, "0 %"), (0.00005, "0.005 %")],
)
def test_a_share_is_said_as_a_percentage(share: float, said: str) -> None:
    assert percent(share) == said


def test_things_are_counted_and_names_are_joined() -> None:
    assert (counted(1, "request"), counted(2, "request")) == ("1 request", "2 requests")
    assert joined(["a", "b", "c"]) == "a, b, c"
    assert joined(("a", "b", "c", "d", "e")) == "a, b, c and 2 more"
