"""The breakers see what callers met, and nothing else."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.gates import window as gates
from gateway.core.gates.verdict import BREAKERS
from gateway.core.gates.window import Tally, Window, judged, merge
from gateway.core.spec import BreakerRule
from gateway.core.stats.histogram import bin_of, count
from gateway.core.types import ERRORS, Arm, Outcome, parse_json, to_json
from tests.support.bookings import ended, place

RULES = {
    "error_rate": BreakerRule(max=0.05, window_s=300, min_requests=20, min_units=5),
    "fallback_rate": BreakerRule(max=0.10, window_s=300, min_requests=20, min_units=5),
    "latency_p95_s": BreakerRule(max=60, window_s=600, min_requests=20),
    "quality_issues": BreakerRule(max=3, window_s=3600),
    "cost_ratio": BreakerRule(max=2.0, window_s=3600, min_requests=50),
}
SECOND = bin_of(1.0)


def tally(window: Window, now: float, window_s: float = 60, arm: Arm = Arm.candidate) -> Tally:
    return window.totals(now, window_s)[arm]


def seen(*outcomes: Outcome, fallbacks: int = 0, units: tuple[str, ...] = ("u",), **more: Any) -> Tally:
    """Return what these outcomes add up to."""
    errors = sum(outcome in ERRORS for outcome in outcomes)
    counted = {outcome.value: outcomes.count(outcome) for outcome in outcomes}
    durations = {SECOND: len(outcomes)}
    failing = frozenset(units if errors or fallbacks else ())
    return Tally(
        len(outcomes), errors, fallbacks, frozenset(units), counted, durations, failing=failing, **more
    )


# --- booking ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.ok, Outcome.refused, *sorted(ERRORS)])
def test_an_answer_is_booked_and_only_a_failure_is_an_error(outcome: Outcome) -> None:
    window = Window()
    window.add(ended(outcome), 10.0)
    assert tally(window, 10.0) == seen(outcome)
    assert tally(window, 10.0).errors == (outcome in ERRORS)
    assert tally(window, 10.0, arm=Arm.control) == Tally()


@pytest.mark.parametrize("outcome", [Outcome.client_error, Outcome.disconnected])
def test_what_the_caller_spoilt_or_left_is_not_booked(outcome: Outcome) -> None:
    window = Window()
    window.add(ended(outcome), 10.0)
    assert window.totals(10.0, 60) == gates.NOTHING


def test_a_rescued_request_is_a_fallback_and_no_error() -> None:
    window = Window()
    window.add(ended(Outcome.ok, fallback=True), 10.0)
    assert tally(window, 10.0) == seen(Outcome.ok, fallbacks=1)


def test_a_rescue_counts_even_if_its_caller_left_before_control_had_answered() -> None:
    window = Window()
    window.add(ended(Outcome.disconnected, fallback=True), 10.0)
    assert tally(window, 10.0).fallbacks == 1


def test_a_rescue_that_control_refused_as_well_is_the_clients_fault() -> None:
    window = Window()
    window.add(ended(Outcome.client_error, fallback=True), 10.0)
    assert window.totals(10.0, 60) == gates.NOTHING


def test_a_request_without_a_unit_counts_as_a_request_of_nobody() -> None:
    window = Window()
    window.add(ended(unit=None, arm=Arm.control), 10.0)
    assert tally(window, 10.0, arm=Arm.control) == seen(Outcome.ok, units=())


def test_what_nobody_could_price_is_no_part_of_the_cost() -> None:
    window = Window()
    for cost in (None, 0, 500, 700):
        window.add(ended(cost_microusd=cost), 10.0)
    assert (tally(window, 10.0).priced, tally(window, 10.0).cost_microusd) == (3, 1200)


def test_a_complaint_is_an_issue_and_no_request() -> None:
    window = Window()
    window.complained(place(), 10.0)
    assert tally(window, 10.0) == Tally(issues=1)


def test_units_are_distinct_and_bounded() -> None:
    window = Window()
    for n in range(3 * gates.UNITS_PER_BUCKET):
        for _ in range(2):
            window.add(ended(unit=f"u{n}"), 10.0)
    assert tally(window, 10.0).requests == 6 * gates.UNITS_PER_BUCKET
    assert len(tally(window, 10.0).units) == gates.UNITS_PER_BUCKET


# --- the sliding window -------------------------------------------------------------------------------------


def test_those_that_failed_are_named_in_part_and_forgotten_with_their_failure() -> None:
    window, rules = Window(), {"error_rate": BreakerRule(0.05, 60)}
    for n in range(100):
        window.add(ended(Outcome.ok, f"u{n}"), 10.0)
    window.add(ended(Outcome.timeout, "late"), 10.0)
    assert tally(window, 10.0).failing == {"late"}
    for n in range(20):
        window.add(ended(Outcome.ok, f"u{n}", fallback=True), 11.0)
    for now, named in ((11.0, gates.FAILING_WRITTEN), (69.0, gates.FAILING_WRITTEN), (70.0, 8), (71.0, 0)):
        found = merge([window.to_doc(now, rules)], run=1)[60][Arm.candidate].failing
        assert len(found) == named
        assert "late" not in found or now < 70


def test_a_window_forgets_what_is_older_than_its_length() -> None:
    window = Window()
    for second in range(10):
        window.add(ended(Outcome.timeout), float(second))
    assert tally(window, 9.9, 4).errors == 4
    assert tally(window, 12.0, 4).errors == 1
    assert tally(window, 13.0, 4) == Tally()


def test_looking_at_a_window_changes_nothing() -> None:
    window = Window()
    window.add(ended(), 1.0)
    for now in (1000.0, 1.0, 4000.0, 1.0):
        written = merge([window.to_doc(now, RULES)], run=1)
        assert written[300][Arm.candidate].requests == tally(window, now, 300).requests == (now < 300)


def test_buckets_beyond_the_span_are_dropped() -> None:
    window = Window(span_s=5)
    for second in range(100):
        window.add(ended(), float(second))
    assert tally(window, 99.0, 1000).requests == 5


class Happened:
    """What a property is about: something that ended, or that somebody complained of, at some time."""

    times = st.floats(0, 50)
    one = st.tuples(
        times, st.sampled_from(list(Arm)), st.sampled_from([*Outcome, None]), st.booleans(),
        st.sampled_from(["a", "b", None]), st.sampled_from([None, 3, 40]), st.sampled_from([0.1, 70.0]),
    )  # fmt: skip


def book(window: Window, row: Any) -> None:
    at, arm, outcome, fallback, unit, cost, duration_s = row
    if outcome is None:
        window.complained(place(unit, arm), at)
    else:
        fields = {"fallback": fallback, "cost_microusd": cost, "duration_s": duration_s}
        window.add(ended(outcome, unit, arm, **fields), at)


@given(st.lists(Happened.one, max_size=40), st.integers(1, 60))
def test_a_window_holds_what_happened_in_it(happened: list[Any], length: int) -> None:
    window = Window()
    for row in sorted(happened, key=lambda row: row[0]):
        book(window, row)
    for arm in Arm:
        within = [row for row in happened if row[1] is arm and int(row[0]) > 50 - length]
        booked = [row for row in within if row[2] and ended(row[2], fallback=row[3]).telling]
        counted = tally(window, 50.0, length, arm)
        assert counted.requests == len(booked) == count(counted.durations)
        assert counted.errors == sum(row[2] in ERRORS for row in booked)
        assert counted.fallbacks == sum(row[3] for row in booked)
        assert counted.issues == sum(row[2] is None for row in within)
        assert counted.cost_microusd == sum(row[5] or 0 for row in booked)
        assert counted.units == {row[4] for row in booked if row[4]}


@settings(max_examples=200)
@given(st.lists(st.one_of(Happened.one, st.floats(0, 80)), max_size=60))
def test_what_is_written_is_what_the_window_holds_however_often_it_was_written_before(
    story: list[Any],
) -> None:
    # A number is a look at that moment; time may go back between any two of them.
    rules = {"error_rate": BreakerRule(0.1, 7), "latency_p95_s": BreakerRule(1, 20)}
    window = Window(span_s=30)
    for each in story:
        if isinstance(each, tuple):
            book(window, each)
        else:
            written = merge([window.to_doc(each, rules)], run=window.run)
            for length in (7, 20):
                held = window.totals(each, length)
                for arm in Arm:
                    durations = held[arm].durations if length == 20 else {}
                    assert written[length][arm].durations == durations
                    for name in Tally.__slots__:
                        if name != "durations":
                            assert getattr(written[length][arm], name) == getattr(held[arm], name)


def test_a_new_run_begins_with_an_empty_window() -> None:
    window = Window()
    window.add(ended(Outcome.timeout, run=1), 1.0)
    window.to_doc(1.0, RULES)
    window.add(ended(Outcome.ok, run=2), 2.0)
    assert tally(window, 2.0) == seen(Outcome.ok)
    assert merge([window.to_doc(2.0, RULES)], run=2)[300][Arm.candidate].errors == 0


def test_what_began_under_an_earlier_run_is_not_held_against_the_present_one() -> None:
    window = Window()
    window.add(ended(Outcome.ok, run=2), 1.0)
    window.add(ended(Outcome.timeout, run=1), 2.0)
    window.complained(place(run=1), 2.0)
    assert tally(window, 2.0) == seen(Outcome.ok)


def test_a_clock_that_steps_back_loses_nothing() -> None:
    window = Window()
    window.add(ended(Outcome.ok), 100.0)
    window.add(ended(Outcome.timeout), 40.0)
    assert tally(window, 41.0) == seen(Outcome.ok, Outcome.timeout)


def test_a_clock_that_was_set_back_makes_no_window_longer() -> None:
    window, rules = Window(), {"error_rate": BreakerRule(0.05, 300)}
    for second in range(400):
        window.add(ended(Outcome.ok), 10_000.0 + second)
    for second in range(400):
        window.add(ended(Outcome.timeout), 5_000.0 + second)
        window.to_doc(5_000.0 + second, rules)
    counted = merge([window.to_doc(5_400.0, rules)], run=1)[300][Arm.candidate]
    assert (counted.requests, counted.errors) == (299, 299)


def test_a_complaint_that_was_settled_late_moves_nothing() -> None:
    window = Window()
    window.add(ended(Outcome.ok), 1_000.0)
    window.complained(place(), 100.0)
    assert tally(window, 1_001.0) == seen(Outcome.ok, issues=1)


# --- adding up processes ------------------------------------------------------------------------------------


def test_documents_survive_the_store_and_add_up() -> None:
    one, two = Window(), Window()
    for n in range(4):
        one.add(ended(Outcome.timeout, f"u{n}", run=3, cost_microusd=10), 1.0)
        two.add(ended(Outcome.ok, f"u{n + 2}", run=3, fallback=True), 500.0)
    one.complained(place(run=3), 1.0)
    two.add(ended(Outcome.empty, "c", Arm.control, run=3), 500.0)
    rules = {name: BreakerRule(rule.max, 300) for name, rule in RULES.items()}
    docs = [parse_json(to_json(doc)) for doc in (one.to_doc(1.0, rules), two.to_doc(500.0, rules))]
    names = tuple(f"u{n}" for n in range(6))
    assert merge(docs, run=3) == {
        300: {
            Arm.candidate: seen(
                *[Outcome.timeout] * 4, *[Outcome.ok] * 4,
                fallbacks=4, units=names, priced=4, cost_microusd=40, issues=1,
            ),
            Arm.control: seen(Outcome.empty, units=("c",)),
        }
    }  # fmt: skip


@pytest.mark.parametrize(("min_units", "written"), [(5, gates.UNITS_WRITTEN), (150, 150)])
def test_a_document_names_as_many_units_as_a_rule_asks_for_and_not_all(min_units: int, written: int) -> None:
    window = Window()
    for n in range(200):
        window.add(ended(unit=f"u{n}"), float(n // 50))
    doc = window.to_doc(4.0, RULES | {"error_rate": BreakerRule(0.05, 300, 20, min_units)})
    assert len(doc["windows"]["300.0"]["candidate"]["units"]) == written
    assert doc["windows"]["300.0"]["candidate"]["requests"] == 200


def test_each_length_of_window_in_use_is_written_once_and_no_other() -> None:
    window = Window()
    window.add(ended(Outcome.timeout), 1.0)
    window.add(ended(Outcome.timeout), 20.0)
    rules = {"error_rate": BreakerRule(0.05, 10), "fallback_rate": BreakerRule(0.1, 60.5)}
    merged = merge([window.to_doc(20.0, rules)], run=1)
    assert {length: arms[Arm.candidate].requests for length, arms in merged.items()} == {10: 1, 60.5: 2}
    assert len(window.to_doc(20.0, rules | {"cost_ratio": BreakerRule(2, 10)})["windows"]) == 2


def test_durations_are_written_where_a_rule_asks_for_them() -> None:
    window = Window()
    window.add(ended(duration_s=3.0), 1.0)
    merged = merge([window.to_doc(1.0, RULES)], run=1)
    assert [length for length, arms in merged.items() if arms[Arm.candidate].durations] == [600]


def test_every_breaker_is_judged_in_a_fixed_order() -> None:
    assert list(judged(dict(reversed(RULES.items())))) == list(BREAKERS)
    assert judged({}) == {}


def test_counts_of_another_run_are_left_out() -> None:
    window = Window()
    window.add(ended(Outcome.timeout), 1.0)
    assert merge([window.to_doc(1.0, RULES)], run=2) == {}


def test_a_process_of_an_older_version_is_counted_with_what_it_says() -> None:
    counted = {"requests": 3, "errors": 1, "fallbacks": 1, "units": ["u"]}
    doc = {"run": 1, "windows": {"300.0": {"candidate": counted}}}
    assert merge([doc], run=1)[300][Arm.candidate] == Tally(3, 1, 1, frozenset({"u"}))


@pytest.mark.parametrize(
    "doc",
    [{}, {"run": 1}, {"run": 1, "windows": []}, {"run": 1, "windows": {"x": {"candidate": {}}}},
     {"run": 1, "windows": {"300": {"candidate": {"requests": 1}}}},
     {"run": 1, "windows": {"300": {"candidate": {
         "requests": 1, "errors": 0, "fallbacks": 0, "units": [], "durations": 5}}}},
     {"run": 1, "windows": {"300": {"both": {"requests": 1, "errors": 0, "fallbacks": 0, "units": []}}}}],
)  # fmt: skip
def test_counts_in_a_foreign_form_are_refused(doc: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        merge([doc], run=1)
