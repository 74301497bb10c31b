"""The final report compares both arms, and says what may be deleted."""

from dataclasses import replace

from gateway.control.papers.final import cases, comparison, stage_history, write
from gateway.core.spec import Holdback, Lists, MigrationSpec
from gateway.core.stats.histogram import bin_of
from gateway.core.tally import ArmTotals, CheckCount
from gateway.core.types import Arm
from tests.support.papers import DAY, HURT, SPEC, Story, arm, climbing, rolled_back, tally


def done(spec: MigrationSpec = SPEC) -> Story:
    return (
        climbing("full", spec)
        .do("automatic-advance", by="controller")
        .wait(20 * DAY)
        .do("complete", by="bob")
    )


def test_both_arms_stand_side_by_side_with_units() -> None:
    control = arm(4000, errors=40, ratings=10, rating_total=42.0, first_tokens={bin_of(0.5): 10})
    candidate = arm(9000, errors=45, cost=8_000, fallbacks=9, issues=2)
    text = comparison({Arm.control: control, Arm.candidate: candidate})
    assert "| requests | 4,000 | 9,000 | - |" in text
    assert "| errors | 1 % | 0.50 % | 0.5 × |" in text
    assert "| answered by control instead | 0 % | 0.10 % | - |" in text
    assert "| cost of a request | $0.01 | $0.008 | 0.8 × |" in text
    assert "| cost altogether | $40.00 | $72.00 | - |" in text
    assert "| mean rating | 4.20 | not known | - |" in text
    assert "| units that complained | 0 | 2 | - |" in text


def test_an_arm_that_nobody_asked_is_not_known_and_not_zero() -> None:
    text = comparison({Arm.candidate: arm(10)})
    assert "| errors | not known | 0 % | - |" in text
    assert "| cost of a request | not known | $0.01 | - |" in text


def test_it_says_what_it_came_to() -> None:
    facts = done().facts(runs={1: tally(arm(4000, errors=40), arm(9000, errors=45, cost=8_000))})
    text = write(facts)
    assert "Run 1 began at 2027-01-15T08:00:00Z" in text
    assert "it is completed" in text
    assert "a request costs 20 % less than before" in text
    assert "0.50 % of the candidate's requests were an error, 1 % of control's" in text


def test_a_control_that_saw_little_is_said_to_say_little() -> None:
    text = write(done().facts(runs={1: tally(arm(5), arm(9000))}))
    assert "control got few requests" in text


def test_checks_are_told_by_the_answers_that_pass() -> None:
    counted = tally(
        arm(10, checks={"a": CheckCount(9, 1)}),
        arm(10, checks={"a": CheckCount(5, 5), "b": CheckCount(1, 0)}),
    )
    text = write(done().facts(runs={1: counted}))
    assert "| `a` | 90 % of 10 | 50 % of 10 |" in text
    assert "| `b` | not known | 100 % of 1 |" in text


def test_every_stage_stands_in_the_history_with_its_time_and_who() -> None:
    rows = stage_history(done().facts(), 1).splitlines()
    assert rows[2].startswith(
        "| internal | 0 % | 2027-01-15T08:00:00Z | the start | 3 d | - | start by ann |"
    )
    assert rows[3].startswith("| canary | 5 % | 2027-01-18T08:00:00Z | 3 d after the start | 2 d | - |")
    assert rows[-1].startswith("| completed | 100 % |")
    assert rows[-1].endswith("complete by bob |")


def test_incidents_of_the_run_are_told() -> None:
    assert "- 2027-01-20T08:42:00Z: automatic, error: the candidate fails" in write(rolled_back().facts())
    assert "## Incidents in this run\n\n- none" in write(done().facts())


def test_failing_cases_are_the_candidates_newest_by_id() -> None:
    text = cases(done().facts(runs={1: HURT}))
    assert "| `error` | `req_29` | extract | 2027-01-15T08:00:29Z |" in text
    assert "`req_9`" not in text
    assert "req_control" not in text
    assert cases(done().facts()) == "None were counted."


def test_what_may_be_deleted_is_what_there_is() -> None:
    full = write(done().facts())
    assert "the migration's file" in full
    assert "its lists" in full
    assert "its holdback" in full
    assert "not its checks (`extract-json`)" in full
    bare = replace(SPEC, lists=Lists(), holdback=Holdback(), checks=())
    text = write(done(bare).facts())
    for words in ("its lists", "its holdback", "its checks"):
        assert words not in text


def test_nothing_may_be_deleted_before_it_is_completed() -> None:
    for story in (climbing("half"), rolled_back()):
        text = write(story.facts())
        assert "nothing before it is completed" in text
        assert "variants of prompts" not in text


def test_an_empty_run_is_a_page_all_the_same() -> None:
    text = write(Story().facts(runs={1: tally(ArmTotals(), ArmTotals())}))
    assert text.startswith("# Final report of opus-4-5-to-5-5\n")
    assert "None" not in text.replace("None were counted.", "")
