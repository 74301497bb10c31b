"""Every failure is one that the simulator can make and that some gate must stop."""

from dataclasses import replace

import pytest

from gateway.core.gates.verdict import ROLLS_BACK
from gateway.core.spec import BreakerRule, Check, Gates, MigrationSpec, Stage
from gateway.core.types import Arm
from gateway.demo.tally import Seen
from gateway.errors import BadRequest
from gateway.rehearsal.failures import FAILURES, Failure, chosen
from gateway.simulator.faults import parse_fault

SPEC = MigrationSpec(
    "m", "claude-a", "claude-b", ("claude-a",), (Stage("full", 100),), checks=(Check("json", "t", "j"),)
)
BY_NAME = {failure.name: failure for failure in FAILURES}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_the_simulator_knows_its_faults(failure: Failure) -> None:
    faults = [parse_fault(fault) for fault in failure.strike(SPEC)]
    assert bool(faults) != (failure.complains or failure.silent)
    models = {fault.model for fault in faults}
    assert models <= ({"claude-b"} if failure.gates else {None})


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_its_gates_are_gates_that_roll_back(failure: Failure) -> None:
    assert set(failure.gates) <= ROLLS_BACK
    assert failure.guards(SPEC) == failure.gates


def test_two_may_not_roll_back() -> None:
    assert [failure.name for failure in FAILURES if not failure.gates] == ["outage", "no-traffic"]


def test_every_gate_that_rolls_back_is_rehearsed() -> None:
    assert {gate for failure in FAILURES for gate in failure.gates} == ROLLS_BACK


def test_slow_is_slower_than_the_limit() -> None:
    tight = replace(SPEC, gates=Gates(breaker={"latency_p95_s": BreakerRule(0.5, 10)}))
    assert parse_fault(BY_NAME["slow"].strike(tight)[0]).ms == 750
    assert BY_NAME["slow"].in_words(tight) == "its first token comes late (750 ms)"


def test_what_is_switched_off_guards_nothing() -> None:
    bare = replace(SPEC, checks=(), gates=Gates(breaker={}, rollback={"fallback": 1.25}))
    assert {name: failure.guards(bare) for name, failure in BY_NAME.items() if failure.guards(bare)} == {
        "overloaded": ("fallback",),
        "stream-error": ("fallback",),
        "truncated": ("fallback",),
    }


def test_what_an_answer_shows() -> None:
    fine = Seen("chat", True, Arm.candidate, "bucket", 0.1)
    refused, rescued = replace(fine, refused=True), replace(fine, fallback="overloaded")
    assert [BY_NAME["refusal"].shows(seen) for seen in (fine, refused)] == [False, True]
    assert [BY_NAME["overloaded"].shows(seen) for seen in (fine, rescued)] == [False, True]
    assert BY_NAME["empty"].shows(replace(fine, complaint="answer was empty"))
    assert BY_NAME["cost"].shows(fine)


def test_all_of_it_is_rehearsed_unless_something_is_chosen() -> None:
    assert chosen([]) == (True, FAILURES)
    assert chosen(["slow", "empty"]) == (False, (BY_NAME["empty"], BY_NAME["slow"]))
    assert chosen(["healthy"]) == (True, ())


def test_what_is_unknown_is_refused_with_what_was_meant() -> None:
    with pytest.raises(
        BadRequest, match=r"no failure 'overload'; did you mean 'overloaded'\?; known: healthy"
    ):
        chosen(["overload"])
