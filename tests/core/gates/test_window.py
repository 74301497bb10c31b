"""The breakers see what callers met, and nothing else."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.gates import breakers
from gateway.core.gates import window as gates
from gateway.core.gates.breakers import judge_breakers
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.gates.window import Tally, Totals, Window, merge
from gateway.core.spec import BreakerRule
from gateway.core.types import ERRORS, Arm, Outcome, parse_json, to_json

RULES = {
    "error_rate": BreakerRule(max=0.05, window_s=300, min_requests=20, min_units=5),
    "fallback_rate": BreakerRule(max=0.10, window_s=300, min_requests=20, min_units=5),
    "latency_p95_s": BreakerRule(max=60, window_s=600, min_requests=20),
    "cost_ratio": BreakerRule(max=2.0, window_s=3600, min_requests=50),
}


def units(count: int) -> frozenset[str]:
    return frozenset(f"u{n}" for n in range(count))


def totals(candidate: Tally, control: Tally | None = None) -> dict[float, Totals]:
    return {300: {Arm.candidate: candidate, Arm.control: control or Tally()}}


def verdict_of(results: Iterable[GateResult], name: str) -> GateResult:
    (result,) = (result for result in results if result.name == name)
    return result


# --- booking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.ok, Outcome.refused, *sorted(ERRORS)])
def test_an_answer_is_booked_and_only_a_failure_is_an_error(outcome: Outcome) -> None:
    window = Window()
    window.add(Arm.candidate, outcome, False, "u", 10.0, run=1)
    assert window.totals(10.0, 60)[Arm.candidate] == Tally(1, int(outcome in ERRORS), 0, frozenset({"u"}))
    assert window.totals(10.0, 60)[Arm.control] == Tally()


@pytest.mark.parametrize("outcome", [Outcome.client_error, Outcome.disconnected])
def test_what_the_caller_spoilt_or_left_is_not_booked(outcome: Outcome) -> None:
    window = Window()
    window.add(Arm.candidate, outcome, False, "u", 10.0, run=1)
    assert window.totals(10.0, 60) == gates.NOTHING


def test_a_rescued_request_is_a_fallback_and_no_error() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.ok, True, "u", 10.0, run=1)
    assert window.totals(10.0, 60)[Arm.candidate] == Tally(1, 0, 1, frozenset({"u"}))


def test_a_rescue_counts_even_if_its_caller_left_before_control_had_answered() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.disconnected, True, "u", 10.0, run=1)
    assert window.totals(10.0, 60)[Arm.candidate].fallbacks == 1


def test_a_rescue_that_control_refused_as_well_is_the_clients_fault() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.client_error, True, "u", 10.0, run=1)
    assert window.totals(10.0, 60) == gates.NOTHING


def test_a_request_without_a_unit_counts_as_a_request_of_nobody() -> None:
    window = Window()
    window.add(Arm.control, Outcome.ok, False, None, 10.0, run=1)
    assert window.totals(10.0, 60)[Arm.control] == Tally(1, 0, 0, frozenset())


def test_units_are_distinct_and_bounded() -> None:
    window = Window()
    for n in range(3 * gates.UNITS_PER_BUCKET):
        for _ in range(2):
            window.add(Arm.candidate, Outcome.ok, False, f"u{n}", 10.0, run=1)
    tally = window.totals(10.0, 60)[Arm.candidate]
    assert tally.requests == 6 * gates.UNITS_PER_BUCKET
    assert len(tally.units) == gates.UNITS_PER_BUCKET


# --- the sliding window -------------------------------------------------------------------------------------


def test_a_window_forgets_what_is_older_than_its_length() -> None:
    window = Window()
    for second in range(10):
        window.add(Arm.candidate, Outcome.timeout, False, "u", float(second), run=1)
    assert window.totals(9.9, 4)[Arm.candidate].errors == 4
    assert window.totals(12.0, 4)[Arm.candidate].errors == 1
    assert window.totals(13.0, 4)[Arm.candidate] == Tally()


def test_looking_at_a_window_changes_nothing() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.ok, False, "u", 1.0, run=1)
    window.totals(1000.0, 5)
    assert window.totals(1.0, 5)[Arm.candidate].requests == 1


def test_buckets_beyond_the_span_are_dropped() -> None:
    window = Window(span_s=5)
    for second in range(100):
        window.add(Arm.candidate, Outcome.ok, False, "u", float(second), run=1)
    assert window.totals(99.0, 1000)[Arm.candidate].requests == 5


@given(
    st.lists(
        st.tuples(
            st.floats(0, 50), st.sampled_from(list(Arm)), st.sampled_from(list(Outcome)), st.booleans()
        ),
        max_size=40,
    ),
    st.integers(1, 60),
)
def test_a_window_holds_what_happened_in_it(
    happened: list[tuple[float, Arm, Outcome, bool]], length: int
) -> None:
    window = Window()
    for at, arm, outcome, fallback in sorted(happened, key=lambda one: one[0]):
        window.add(arm, outcome, fallback, None, at, run=1)
    counted = window.totals(50.0, length)
    for arm in Arm:
        within = [
            (outcome, fallback)
            for at, of, outcome, fallback in happened
            if of is arm and int(at) > 50 - length and outcome is not Outcome.client_error
            if fallback or outcome is not Outcome.disconnected
        ]
        assert counted[arm].requests == len(within)
        assert counted[arm].errors == sum(outcome in ERRORS for outcome, _ in within)
        assert counted[arm].fallbacks == sum(fallback for _, fallback in within)


def test_a_new_run_begins_with_an_empty_window() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.timeout, False, "u", 1.0, run=1)
    window.add(Arm.candidate, Outcome.ok, False, "u", 2.0, run=2)
    assert window.totals(2.0, 60)[Arm.candidate] == Tally(1, 0, 0, frozenset({"u"}))


def test_what_began_under_an_earlier_run_is_not_held_against_the_present_one() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.ok, False, "u", 1.0, run=2)
    window.add(Arm.candidate, Outcome.timeout, False, "u", 2.0, run=1)
    assert window.totals(2.0, 60)[Arm.candidate].errors == 0


# --- adding up processes ------------------------------------------------------------------------------------


def test_documents_survive_the_store_and_add_up() -> None:
    one, two = Window(), Window()
    for n in range(4):
        one.add(Arm.candidate, Outcome.timeout, False, f"u{n}", 1.0, run=3)
        two.add(Arm.candidate, Outcome.ok, True, f"u{n + 2}", 500.0, run=3)
    two.add(Arm.control, Outcome.empty, False, "c", 500.0, run=3)
    docs = [parse_json(to_json(doc)) for doc in (one.to_doc(1.0, RULES), two.to_doc(500.0, RULES))]
    merged = merge(docs, run=3)
    assert merged == {
        300: {
            Arm.candidate: Tally(8, 4, 4, units(6)),
            Arm.control: Tally(1, 1, 0, frozenset({"c"})),
        }
    }


@pytest.mark.parametrize(("min_units", "written"), [(5, gates.UNITS_WRITTEN), (150, 150)])
def test_a_document_names_as_many_units_as_a_rule_asks_for_and_not_all(min_units: int, written: int) -> None:
    window = Window()
    for n in range(200):
        window.add(Arm.candidate, Outcome.ok, False, f"u{n}", 1.0, run=1)
    doc = window.to_doc(1.0, RULES | {"error_rate": BreakerRule(0.05, 300, 20, min_units)})
    assert len(doc["windows"]["300.0"]["candidate"]["units"]) == written
    assert doc["windows"]["300.0"]["candidate"]["requests"] == 200


def test_a_clock_that_steps_back_loses_nothing() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.ok, False, "u", 100.0, run=1)
    window.add(Arm.candidate, Outcome.timeout, False, "u", 40.0, run=1)
    assert window.totals(101.0, 60)[Arm.candidate] == Tally(2, 1, 0, frozenset({"u"}))


def test_each_length_of_window_in_use_is_written_once() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.timeout, False, "u", 1.0, run=1)
    window.add(Arm.candidate, Outcome.timeout, False, "u", 20.0, run=1)
    rules = {"error_rate": BreakerRule(0.05, 10), "fallback_rate": BreakerRule(0.1, 60.5)}
    merged = merge([window.to_doc(20.0, rules)], run=1)
    assert {length: arms[Arm.candidate].requests for length, arms in merged.items()} == {10: 1, 60.5: 2}


def test_counts_of_another_run_are_left_out() -> None:
    window = Window()
    window.add(Arm.candidate, Outcome.timeout, False, "u", 1.0, run=1)
    assert merge([window.to_doc(1.0, RULES)], run=2) == {}


@pytest.mark.parametrize(
    "doc",
    [{}, {"run": 1}, {"run": 1, "windows": []}, {"run": 1, "windows": {"x": {"candidate": {}}}},
     {"run": 1, "windows": {"300": {"candidate": {"requests": 1}}}},
     {"run": 1, "windows": {"300": {"both": {"requests": 1, "errors": 0, "fallbacks": 0, "units": []}}}}],
)  # fmt: skip
def test_counts_in_a_foreign_form_are_refused(doc: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        merge([doc], run=1)


# --- verdicts -----------------------------------------------------------------------------------------------


def test_only_the_breakers_that_are_judged_are_listed_in_a_fixed_order() -> None:
    assert [result.name for result in judge_breakers(RULES, {})] == ["error_rate", "fallback_rate"]
    assert [result.name for result in judge_breakers(dict(reversed(RULES.items())), {})] == [
        "error_rate", "fallback_rate"]  # fmt: skip
    assert judge_breakers({}, {}) == []


def test_no_data_is_inconclusive() -> None:
    assert {result.verdict for result in judge_breakers(RULES, {})} == {Verdict.inconclusive}


@pytest.mark.parametrize(
    ("candidate", "verdict", "because"),
    [
        (Tally(19, 19, 0, units(5)), Verdict.inconclusive, "too little data: 19 of 20 requests"),
        (Tally(20, 20, 0, units(4)), Verdict.inconclusive, "too little data: requests from 4 of 5 units"),
        (Tally(20, 1, 0, units(5)), Verdict.passed, "5.0% is within 5.0%"),
        (Tally(20, 2, 0, units(5)), Verdict.failed, "10.0% of 20 requests, above 5.0%"),
        (Tally(20, 0, 20, units(5)), Verdict.passed, "0.0% is within 5.0%"),
    ],
)
def test_the_error_rate_is_judged_once_there_is_enough(
    candidate: Tally, verdict: Verdict, because: str
) -> None:
    result = verdict_of(judge_breakers(RULES, totals(candidate)), "error_rate")
    assert (result.verdict, result.reason) == (verdict, because)


@pytest.mark.parametrize(
    ("candidate", "verdict"),
    [
        (Tally(20, 0, 2, units(5)), Verdict.passed),
        (Tally(20, 0, 3, units(5)), Verdict.failed),
        (Tally(20, 20, 0, units(5)), Verdict.passed),
    ],
)
def test_the_fallback_rate_sees_rescues_only(candidate: Tally, verdict: Verdict) -> None:
    assert verdict_of(judge_breakers(RULES, totals(candidate)), "fallback_rate").verdict is verdict


@pytest.mark.parametrize(
    ("control", "verdict"),
    [
        (Tally(20, 2, 0, units(1)), Verdict.inconclusive),
        (Tally(20, 1, 0, units(9)), Verdict.failed),
        (Tally(19, 19, 0, units(9)), Verdict.failed),
        (Tally(), Verdict.failed),
    ],
)
def test_trouble_that_control_shares_is_the_providers(control: Tally, verdict: Verdict) -> None:
    result = verdict_of(judge_breakers(RULES, totals(Tally(50, 50, 0, units(9)), control)), "error_rate")
    assert result.verdict is verdict
    assert result.reason.startswith("provider:") is (verdict is Verdict.inconclusive)


def test_candidate_requests_that_had_to_be_rescued_are_compared_with_failures_of_control() -> None:
    results = judge_breakers(RULES, totals(Tally(50, 0, 50, units(9)), Tally(50, 40, 0, units(9))))
    assert verdict_of(results, "fallback_rate").verdict is Verdict.inconclusive


def test_control_alone_in_trouble_stops_nothing() -> None:
    results = judge_breakers(RULES, totals(Tally(50, 0, 0, units(9)), Tally(50, 50, 0, units(9))))
    assert {result.verdict for result in results} == {Verdict.passed}


def test_a_rule_without_minimums_still_needs_one_request() -> None:
    rules = {"error_rate": BreakerRule(max=0.0, window_s=300)}
    assert judge_breakers(rules, {})[0].verdict is Verdict.inconclusive
    assert judge_breakers(rules, totals(Tally(1, 1, 0)))[0].verdict is Verdict.failed


def test_the_evidence_holds_the_numbers_behind_the_verdict() -> None:
    (result, _) = judge_breakers(RULES, totals(Tally(40, 4, 0, units(6)), Tally(50, 1, 0, units(9))))
    assert result.evidence == {
        "value": 0.1, "max": 0.05, "failures": 4, "requests": 40, "min_requests": 20, "units": 6,
        "min_units": 5, "control_value": 0.02, "control_requests": 50, "window_s": 300,
    }  # fmt: skip


def test_what_cannot_be_measured_is_an_error_and_no_verdict_on_the_candidate() -> None:
    results = breakers.unmeasured(RULES, "the store is away")
    assert [(result.name, result.verdict, result.reason) for result in results] == [
        ("error_rate", Verdict.error, "the store is away"),
        ("fallback_rate", Verdict.error, "the store is away"),
    ]
