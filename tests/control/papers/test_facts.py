"""What papers go by."""

from dataclasses import replace

import pytest

from gateway.control.papers.facts import Facts, error_rate, errors, mean_cost
from gateway.core.spec import Stage
from gateway.core.tally import ArmTotals
from gateway.core.types import MigrationState
from tests.support.papers import BEGAN, SPEC, Story, arm, climbing, rolled_back

EDITED = replace(SPEC, stages=(Stage("full", 100),))


def test_a_run_that_goes_on_goes_by_its_own_copy_and_the_next_by_the_file() -> None:
    facts = climbing("early").facts(file_spec=EDITED)
    assert (facts.spec, facts.next_spec) == (SPEC, EDITED)


def test_what_is_over_or_has_not_begun_goes_by_the_file() -> None:
    for story in (Story(), rolled_back()):
        assert story.facts(file_spec=EDITED).spec == EDITED


def test_without_its_file_a_migration_is_what_its_run_was() -> None:
    facts = rolled_back().facts(file_spec=None)
    assert facts.spec == facts.next_spec == SPEC


def test_what_nothing_describes_is_no_migration() -> None:
    with pytest.raises(ValueError, match="nothing says"):
        _ = Facts(BEGAN, MigrationState("m"), None).spec


def test_each_run_has_its_own_events_and_beginning() -> None:
    story = rolled_back()
    ended = story.now
    facts = story.wait(60).do("restart").facts()
    assert [event.verb for event in facts.events_of(2)] == ["restart"]
    assert (facts.started_at(1), facts.started_at(2), facts.started_at(3)) == (BEGAN, ended + 60, None)


def test_an_arm_without_requests_or_prices_has_no_rate_and_no_cost() -> None:
    assert (errors(ArmTotals()), error_rate(ArmTotals()), mean_cost(ArmTotals())) == (0, None, None)
    seen = arm(100, errors=4, cost=250)
    assert (errors(seen), error_rate(seen), mean_cost(seen)) == (4, 0.04, 250)
