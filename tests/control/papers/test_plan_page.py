"""The plan as a page."""

from gateway.control.papers.plan import make
from gateway.control.papers.plan_page import cost_lines, markdown, stages_table
from gateway.control.papers.traffic import Traffic
from tests.support.papers import Story

BUSY = Traffic(40.0, 20_000.0, 0.015, 10_000.0, 8_000.0)


def page(traffic: Traffic = BUSY) -> str:
    return markdown(make(Story().facts(), traffic))


def test_it_says_how_long_the_ramp_takes_and_what_it_was_planned_with() -> None:
    text = page()
    assert text.startswith("# Plan of opus-4-5-to-5-5\n")
    assert "At the earliest it is over 13 d after the start" in text
    assert "| traffic | 40 requests/min |" in text


def test_every_stage_is_a_row_with_units() -> None:
    rows = stages_table(make(Story().facts(), BUSY)).splitlines()
    assert len(rows) == 2 + 5
    assert rows[3].startswith("| canary | 5 % | 2 d | its hold | 5,760 | 2,000 | ")
    assert "its hold and an approval" in rows[5]
    assert rows[6].startswith("| full | 100 % | a moment | nothing |")


def test_what_is_not_known_is_said_and_not_made_up() -> None:
    text = page(Traffic())
    assert (
        "| canary | 5 % | 2 d | its hold | not known | not known | not known | not known | not known |"
        in text
    )
    assert "no priced request of control's has been counted yet" in text
    assert "nan" not in text.lower()
    assert "None" not in text


def test_cost_is_a_saving_where_it_is_one() -> None:
    told = cost_lines(make(Story().facts(), BUSY))
    assert any("less than control alone" in line for line in told)
    dearer = cost_lines(make(Story().facts(), Traffic(40.0, 2e4, 0.015, 8_000.0, 10_000.0)))
    assert any("more than control alone" in line for line in dearer)
    assert (
        "on the candidate: not known" in cost_lines(make(Story().facts(), Traffic(40.0, 2e4, 0.015, 8e3)))[1]
    )


def test_warnings_name_their_stage() -> None:
    assert "- **canary**: breaker" in page()
