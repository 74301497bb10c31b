"""A run's history is read back from its audit log."""

from gateway.control.papers.history import name_of, spec_of, visits
from tests.support.papers import BEGAN, DAY, HOUR, SPEC, climbing, rolled_back


def test_every_weight_that_was_served_is_a_visit_with_its_end() -> None:
    story = rolled_back("canary")
    walked = visits(story.facts().events_of(1))
    assert [name_of(visit, SPEC) for visit in walked] == ["internal", "canary", "rolled back"]
    assert [visit.percent for visit in walked] == [0, 5, 0]
    assert [visit.ended_by for visit in walked] == ["automatic-advance", "automatic-rollback", ""]
    assert walked[0].since == BEGAN
    assert walked[0].lasted_s(story.now) == 3 * DAY


def test_pauses_are_told_apart_and_taken_off() -> None:
    story = climbing("canary").wait(HOUR).do("pause").wait(5 * HOUR).do("resume").wait(2 * HOUR)
    canary = visits(story.facts().events_of(1))[-1]
    assert (canary.lasted_s(story.now), canary.paused_s) == (8 * HOUR, 5 * HOUR)
    assert canary.ran_s(story.now) == 3 * HOUR


def test_a_pause_that_goes_on_is_no_running_time() -> None:
    story = climbing("canary").wait(HOUR).do("pause").wait(5 * HOUR)
    canary = visits(story.facts().events_of(1))[-1]
    assert canary.ran_s(story.now) == HOUR


def test_a_pause_ends_with_the_stage() -> None:
    story = climbing("canary").wait(HOUR).do("pause").wait(2 * HOUR).do("advance").wait(HOUR)
    canary, early = visits(story.facts().events_of(1))[-2:]
    assert (canary.ran_s(story.now), canary.paused_s, canary.ended_by) == (HOUR, 2 * HOUR, "advance")
    assert (name_of(early, SPEC), early.ran_s(story.now)) == ("early", HOUR)


def test_a_weight_set_by_hand_is_a_visit_of_its_own() -> None:
    story = climbing("canary").wait(HOUR).do("set-weight", percent=12.5)
    last = visits(story.facts().events_of(1))[-1]
    assert (last.stage, last.percent, last.verb, last.by) == (1, 12.5, "set-weight", "ann")
    assert last.paused_at == story.now


def test_events_that_change_no_state_are_passed_over() -> None:
    story = climbing("canary").prove("evals")
    assert len(visits(story.events)) == 2


def test_names_of_a_run_whose_configuration_is_gone_are_numbers() -> None:
    story = rolled_back("canary").do("restart")
    first = visits(story.facts().events_of(1))[1]
    assert spec_of(story.facts(), 1) is None
    assert name_of(first, spec_of(story.facts(), 1)) == "stage 2"
