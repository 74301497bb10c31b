"""Where numbers are not there, nothing is done - but by a breaker that has its own."""

from dataclasses import replace

import pytest

from gateway.core.gates.judge import judge
from gateway.core.gates.verdict import BREAKERS, Verdict
from gateway.core.gates.window import Tally
from gateway.core.types import Phase
from tests.support.pictures import CANDIDATE, CONTROL, SPEC, STAGES, WELL, seen, spec_of

ILL = Tally(100, 60, 0, frozenset(f"u{n}" for n in range(20)), {"truncated": 60})
SICK = {rule.window_s: {CONTROL: WELL, CANDIDATE: ILL} for rule in SPEC.gates.breaker.values()}


@pytest.mark.parametrize("phase", [Phase.running, Phase.paused, Phase.soaking])
def test_what_could_not_be_read_makes_every_gate_an_error_and_nothing_happens(phase: Phase) -> None:
    judged = judge(seen(phase=phase, windows={}, unmeasured="written by another version"))
    assert {each.verdict for each in judged.gates} == {Verdict.error}
    assert {each.reason for each in judged.gates} == {"written by another version"}
    assert {*BREAKERS, "freshness"} <= {each.name for each in judged.gates}
    assert (judged.decision, judged.action, judged.metrics) == ("inconclusive", "none", ())


def test_a_breaker_that_has_its_window_rolls_back_although_tallies_could_not_be_read() -> None:
    judged = judge(seen(windows=SICK, unmeasured="written by another version"))
    assert (judged.decision, judged.action) == ("rollback", "rollback")
    assert {each.name for each in judged.failed} <= set(BREAKERS)
    assert {each.verdict for each in judged.gates if each.name not in BREAKERS} == {Verdict.error}


def test_a_stage_whose_first_unit_is_not_counted_yet_waits_instead_of_pausing() -> None:
    judged = judge(seen(spec_of(replace(STAGES[0], min_units=0), *STAGES[1:]), enrolled={}))
    assert (judged.decision, judged.action) == ("inconclusive", "none")
    assert "no unit has been enrolled yet" in judged.reason
