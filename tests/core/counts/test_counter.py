"""What one process counts of one migration, and what whoever leads makes of it."""

from typing import Any

from gateway.core.booking import TOOL_ERROR
from gateway.core.counts import Counts, merge_run, merge_stage
from gateway.core.counts.counter import ENTRIES, REQUEST_KINDS, TASK_CHARS
from gateway.core.gates.verdict import FAILURES
from gateway.core.tally import ArmTotals, CheckCount, Exposure, RunTally
from gateway.core.types import Arm, Outcome
from tests.support.bookings import checked, ended, place

NOW = 1000.0


class Fleet:
    """Several processes, the store's claims, and what each of them has written."""

    def __init__(self) -> None:
        self.claims: dict[tuple[int, str, str], str] = {}
        self.written: dict[str, dict[str, Any]] = {}
        """Scope → process → document."""

    def claim(self, run: int, process: str, claims: list[tuple[str, str]]) -> list[bool]:
        """Give each claim to whoever asks first."""
        return [self.claims.setdefault((run, *claim), process) == process for claim in claims]

    def flush(self, process: str, counts: Counts, now: float = NOW + 1) -> None:
        counts.settle(self.claim(counts.run, process, counts.due(now)))
        self.write(process, counts)

    def write(self, process: str, counts: Counts) -> None:
        for scope, doc in counts.docs().items():
            self.written.setdefault(scope, {})[process] = doc

    def run(self, run: int = 1) -> RunTally:
        return merge_run(self.written.get(str(run), {}).values())

    def candidate(self, run: int = 1) -> ArmTotals:
        return self.run(run).arms[Arm.candidate]

    def requests(self, scope: str) -> int:
        return merge_stage(self.written.get(scope, {}).values()).arms[Arm.candidate].requests


# --- what is booked where -----------------------------------------------------------------------------------


def test_every_named_failure_is_seen_by_somebody() -> None:
    assert {*REQUEST_KINDS, TOOL_ERROR} == set(FAILURES)


def test_a_request_is_seen_by_the_breakers_the_run_and_its_entry() -> None:
    fleet, counts = Fleet(), Counts()
    counts.ended(ended(Outcome.truncated, entry=2), NOW)
    fleet.flush("a", counts)
    assert counts.window.totals(NOW, 60)[Arm.candidate].errors == 1
    assert fleet.candidate().outcomes == {"truncated": 1}
    assert fleet.candidate().exposure == {
        "error": Exposure(1, 1), "incomplete": Exposure(1, 1), "fallback": Exposure(1, 0),
        "refusal": Exposure(1, 0),
    }  # fmt: skip
    assert fleet.requests("1.2") == 1
    assert [(case.failure, case.request_id) for case in fleet.run().cases] == [
        ("error", "req_1"), ("incomplete", "req_1")]  # fmt: skip


def test_what_says_nothing_of_a_model_is_booked_nowhere() -> None:
    counts = Counts()
    counts.ended(ended(Outcome.client_error), NOW)
    counts.ended(ended(Outcome.disconnected), NOW)
    assert counts.docs() == {}
    assert counts.due(NOW + 1) == []


def test_only_enrolled_units_can_fail_for_the_first_time() -> None:
    fleet, counts = Fleet(), Counts()
    counts.ended(ended(Outcome.timeout, enrolled=False), NOW)
    counts.ended(ended(Outcome.timeout, unit=None), NOW)
    counts.checked(checked(unit=None, json=False), NOW)
    fleet.flush("a", counts)
    assert (fleet.candidate().requests, fleet.candidate().exposure) == (2, {})


def test_a_check_has_a_failure_of_its_own_and_at_risk_is_who_was_judged() -> None:
    fleet, counts = Fleet(), Counts()
    counts.ended(ended(unit="a"), NOW)
    counts.ended(ended(unit="b"), NOW)
    counts.checked(checked("a", json=False, tool_error=True), NOW)
    fleet.flush("a", counts)
    exposure = fleet.candidate().exposure
    assert (exposure["check:json"], exposure["tool_error"]) == (Exposure(1, 1), Exposure(1, 0))
    assert fleet.candidate().checks == {"json": CheckCount(0, 1), "tool_error": CheckCount(1, 0)}
    assert [case.failure for case in fleet.run().cases] == ["check:json"]


def test_a_unit_complains_once_and_breakers_hear_of_it_once_it_is_settled() -> None:
    fleet, counts = Fleet(), Counts()
    for request_id in ("req_1", "req_2"):
        counts.complained(place(enrolled=False), request_id, NOW)
    assert counts.window.totals(NOW, 60)[Arm.candidate].issues == 0
    fleet.flush("a", counts)
    assert counts.window.totals(NOW, 60)[Arm.candidate].issues == 1
    assert (fleet.candidate().issues, fleet.candidate().exposure) == (1, {})
    assert [case.request_id for case in fleet.run().cases] == ["req_1"]


def test_whoever_has_no_unit_complains_once_per_request() -> None:
    fleet, counts = Fleet(), Counts()
    for request_id in ("req_1", "req_2", "req_2"):
        counts.complained(place(unit=None), request_id, NOW)
    fleet.flush("a", counts)
    assert fleet.candidate().issues == 2


def test_ratings_are_summed() -> None:
    fleet, counts = Fleet(), Counts()
    counts.rated(place(), 0.5)
    counts.rated(place(), 1.0)
    fleet.flush("a", counts)
    assert (fleet.candidate().ratings, fleet.candidate().rating_total) == (2, 1.5)


def test_what_control_costs_here_is_known_for_its_run() -> None:
    counts = Counts()
    counts.ended(ended(arm=Arm.control, cost_microusd=50, run=3), NOW)
    assert counts.mean_cost(Arm.control, 3) == 50
    assert counts.mean_cost(Arm.candidate, 3) is None
    assert counts.mean_cost(Arm.control, 4) is None


# --- runs and entries ---------------------------------------------------------------------------------------


def test_before_the_first_run_it_is_counted_what_control_is_like() -> None:
    counts = Counts()
    counts.ended(ended(Outcome.timeout, arm=Arm.control, enrolled=False, run=0), NOW)
    docs = counts.docs()
    assert list(docs) == ["0"], "and there are no entries"
    assert merge_run(docs.values()).arms[Arm.control].outcomes == {"timeout": 1}
    assert counts.due(NOW + 1) == [], "nobody is enrolled"


def test_a_new_run_begins_with_nothing_and_what_is_left_of_the_old_one_is_dropped() -> None:
    fleet, counts = Fleet(), Counts()
    counts.ended(ended(Outcome.timeout, run=1), NOW)
    fleet.flush("a", counts)
    counts.ended(ended(Outcome.timeout, unit="late", run=1), NOW + 1)
    counts.ended(ended(Outcome.timeout, run=2), NOW + 2)
    for old in (1, 0):
        counts.ended(ended(Outcome.timeout, run=old), NOW + 2)
        counts.checked(checked(run=old, json=False), NOW + 2)
        counts.complained(place(run=old), "req_1", NOW + 2)
        counts.rated(place(run=old), 1.0)
    fleet.flush("a", counts, NOW + 3)
    assert fleet.candidate(1).requests == fleet.candidate(2).requests == 1
    assert fleet.candidate(2).exposure["error"] == Exposure(1, 1), "who failed in one run may in the next"
    assert (fleet.candidate(2).issues, fleet.candidate(2).ratings, fleet.candidate(2).checks) == (0, 0, {})


def test_answers_for_a_run_that_ended_meanwhile_are_dropped() -> None:
    fleet, counts = Fleet(), Counts()
    counts.ended(ended(Outcome.timeout, run=1), NOW)
    claims = counts.due(NOW + 1)
    counts.ended(ended(Outcome.ok, run=2), NOW + 1)
    counts.settle([True] * len(claims))
    fleet.flush("a", counts, NOW + 2)
    assert fleet.candidate(2).exposure["error"] == Exposure(1, 0)


def test_what_ends_late_is_booked_to_the_entry_in_which_it_began() -> None:
    fleet, counts = Fleet(), Counts()
    for entry in (1, 2, 1):
        counts.ended(ended(entry=entry), NOW)
    fleet.flush("a", counts)
    assert (fleet.requests("1.1"), fleet.requests("1.2")) == (2, 1)


def test_only_the_last_entries_are_kept() -> None:
    fleet, counts = Fleet(), Counts()
    for entry in range(1, ENTRIES + 2):
        counts.ended(ended(entry=entry), NOW)
    counts.ended(ended(entry=1), NOW)
    counts.ended(ended(entry=2), NOW)
    fleet.flush("a", counts)
    assert sorted(fleet.written) == ["1", "1.2", "1.3", "1.4"]
    assert fleet.requests("1.2") == 2
    assert fleet.candidate().requests == ENTRIES + 3, "the run itself loses nothing"


# --- writing ------------------------------------------------------------------------------------------------


def test_only_what_changed_is_written_again() -> None:
    counts = Counts()
    counts.ended(ended(entry=1), NOW)
    assert set(counts.docs()) == {"1", "1.1"}
    assert counts.docs() == {}
    counts.rated(place(), 1.0)
    assert set(counts.docs()) == {"1"}
    counts.unwritten()
    assert set(counts.docs()) == {"1", "1.1"}


def test_documents_are_absolute_so_that_writing_twice_changes_nothing() -> None:
    fleet, counts = Fleet(), Counts()
    for second in range(3):
        counts.ended(ended(Outcome.timeout), NOW + second)
        fleet.flush("a", counts, NOW + second + 1)
        counts.unwritten()
        fleet.flush("a", counts, NOW + second + 1)
    assert fleet.candidate().requests == 3
    assert fleet.candidate().exposure["error"] == Exposure(1, 1)


def test_a_lost_answer_to_a_claim_loses_no_failure_and_doubles_none() -> None:
    fleet, counts = Fleet(), Counts()
    counts.ended(ended(Outcome.timeout), NOW)
    fleet.claim(1, "a", counts.due(NOW + 1))  # carried out; nobody heard of it
    fleet.write("a", counts)
    assert fleet.candidate().exposure == {}
    fleet.flush("a", counts, NOW + 2)
    fleet.flush("a", counts, NOW + 3)
    assert fleet.candidate().exposure["error"] == Exposure(1, 1)


def test_a_unit_that_fails_in_two_processes_fails_once() -> None:
    fleet, one, two = Fleet(), Counts(), Counts()
    for name, counts in (("a", one), ("b", two)):
        counts.ended(ended(Outcome.timeout), NOW)
        counts.complained(place(), "req_1", NOW)
        fleet.flush(name, counts)
    assert fleet.candidate().exposure["error"] == Exposure(2, 1), "each of them saw it at risk"
    assert fleet.candidate().issues == 1
    assert [c.window.totals(NOW, 60)[Arm.candidate].issues for c in (one, two)] == [1, 0]


def test_a_process_that_begins_anew_counts_on_and_nothing_twice() -> None:
    fleet = Fleet()
    for name in ("before", "after"):
        counts = Counts()
        counts.ended(ended(Outcome.refused), NOW)
        fleet.flush(name, counts)
    assert fleet.candidate().requests == 2
    assert fleet.candidate().exposure["refusal"].failed == 1


def test_of_a_tasks_name_no_more_is_kept_than_a_case_needs() -> None:
    counts = Counts()
    counts.ended(ended(Outcome.timeout, task="x" * 60_000), NOW)
    counts.checked(checked(json=False), NOW)
    (case,) = (case for case in merge_run([counts.docs()["1"]]).cases if case.failure == "error")
    assert case.task == "x" * TASK_CHARS
