"""Each breaker trips above its limit, says why, and knows trouble that control shares."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.gates.breakers import judge_breakers
from gateway.core.gates.verdict import BREAKERS, SHARED, GateResult, Verdict
from gateway.core.gates.window import Tally
from gateway.core.spec import Gates
from gateway.core.stats.histogram import bin_of
from gateway.core.types import Arm
from tests.support.pictures import gate

RULES = Gates().breaker
NONE = Tally()


def tally(requests: int = 0, *, units: int = 9, **counted: Any) -> Tally:
    return Tally(requests, units=frozenset(f"u{n}" for n in range(units)), **counted)


def slow(requests: int, seconds: float) -> Tally:
    return tally(requests, durations={bin_of(seconds): requests})


def priced(requests: int, mean: int) -> Tally:
    return tally(requests, priced=requests, cost_microusd=requests * mean)


def verdict_of(
    name: str, candidate: Tally, control: Tally = NONE, *, cost: float | None = None, **rule: Any
) -> GateResult:
    rules = {name: replace(RULES[name], **rule)}
    totals = {rules[name].window_s: {Arm.candidate: candidate, Arm.control: control}}
    return gate(judge_breakers(rules, totals, control_cost_microusd=cost), name)


def test_every_configured_breaker_is_judged_in_a_fixed_order() -> None:
    assert tuple(each.name for each in judge_breakers(RULES, {})) == BREAKERS
    few = {name: RULES[name] for name in ("cost_ratio", "error_rate")}
    assert [each.name for each in judge_breakers(few, {})] == ["error_rate", "cost_ratio"]
    assert judge_breakers({}, {}) == []


def test_no_data_is_inconclusive() -> None:
    assert {each.verdict for each in judge_breakers(RULES, {})} == {Verdict.inconclusive}


@pytest.mark.parametrize(
    ("candidate", "verdict", "because"),
    [
        (tally(19, errors=19), Verdict.inconclusive, "too little data: 19 of 20 requests"),
        (tally(20, errors=20, units=4), Verdict.inconclusive, "too little data: requests from 4 of 5 units"),
        (tally(20, errors=1), Verdict.passed, "5.0% is within 5.0%"),
        (tally(20, errors=2), Verdict.failed, "10.0% of 20 requests, above 5.0%"),
        (tally(20, fallbacks=20), Verdict.passed, "0.0% is within 5.0%"),
    ],
)
def test_the_error_rate(candidate: Tally, verdict: Verdict, because: str) -> None:
    result = verdict_of("error_rate", candidate)
    assert (result.verdict, result.reason) == (verdict, because)


def test_the_most_frequent_errors_are_named_and_nothing_else() -> None:
    outcomes = {"ok": 5, "refused": 4, "truncated": 9, "timeout": 2, "empty": 2, "stream_error": 1}
    result = verdict_of("error_rate", tally(21, errors=11, outcomes=outcomes))
    assert result.reason == "52.4% of 21 requests, above 5.0%: 9 truncated, 2 empty, 2 timeout"


@pytest.mark.parametrize(("fallbacks", "verdict"), [(2, Verdict.passed), (3, Verdict.failed)])
def test_the_fallback_rate_sees_rescues_alone(fallbacks: int, verdict: Verdict) -> None:
    assert verdict_of("fallback_rate", tally(20, fallbacks=fallbacks, errors=20)).verdict is verdict


@pytest.mark.parametrize(
    ("candidate", "verdict", "because"),
    [
        (slow(19, 90.0), Verdict.inconclusive, "too little data: 19 of 20 requests"),
        (slow(20, 57.0), Verdict.passed, "is within 60 s"),
        (slow(20, 90.0), Verdict.failed, "over 20 requests, above 60 s"),
        (tally(40, durations={bin_of(1.0): 38, bin_of(90.0): 2}), Verdict.passed, "is within 60 s"),
        (tally(40, durations={bin_of(1.0): 37, bin_of(90.0): 3}), Verdict.failed, "above 60 s"),
    ],
)
def test_the_p95_of_whole_answers(candidate: Tally, verdict: Verdict, because: str) -> None:
    result = verdict_of("latency_p95_s", candidate)
    assert result.verdict is verdict
    assert because in result.reason


@pytest.mark.parametrize(
    ("candidate", "verdict", "because"),
    [
        (tally(60, issues=3), Verdict.passed, "3 complaining units is within 3"),
        (tally(60, issues=4), Verdict.failed, "4 complaining units among 60 requests, above 3"),
        (tally(0, issues=4), Verdict.failed, "4 complaining units among 4 requests, above 3"),
        (tally(1), Verdict.passed, "0 complaining units is within 3"),
        (tally(0), Verdict.inconclusive, "too little data: 0 of 1 requests"),
    ],
)
def test_complaints_are_counted_by_units(candidate: Tally, verdict: Verdict, because: str) -> None:
    result = verdict_of("quality_issues", candidate)
    assert (result.verdict, result.reason) == (verdict, because)


@pytest.mark.parametrize(
    ("candidate", "control", "verdict", "because"),
    [
        (priced(49, 900), priced(50, 100), Verdict.inconclusive, "too little data: 49 of 50 requests"),
        (priced(50, 200), priced(50, 100), Verdict.passed, "2 times control's cost is within 2"),
        (
            priced(50, 310),
            priced(50, 100),
            Verdict.failed,
            "3.1 times control's cost over 50 requests (310 to",
        ),
        (priced(50, 900), priced(49, 100), Verdict.inconclusive, "nothing is known of control"),
        (priced(50, 900), priced(50, 0), Verdict.inconclusive, "nothing is known of control"),
    ],
)
def test_the_cost_is_a_multiple_of_controls(
    candidate: Tally, control: Tally, verdict: Verdict, because: str
) -> None:
    result = verdict_of("cost_ratio", candidate, control)
    assert result.verdict is verdict
    assert because in result.reason


@pytest.mark.parametrize(("cost", "verdict"), [(440.0, Verdict.failed), (450.0, Verdict.passed)])
def test_where_control_is_too_rare_the_runs_own_mean_stands_in(cost: float, verdict: Verdict) -> None:
    result = verdict_of("cost_ratio", priced(50, 900), priced(3, 1), cost=cost)
    assert result.verdict is verdict
    assert result.evidence["control_cost_microusd"] == cost


CALM = tally(500, errors=5)
HARDLY_EVER = slow(495, 9.0) + slow(5, 90.0)
HARDLY_SLOW = {bin_of(1.0): 94, bin_of(90.0): 6}
NEARLY_SLOW = {bin_of(1.0): 96, bin_of(90.0): 4}
ILL = tally(50, errors=50, fallbacks=50, issues=9, durations={bin_of(90.0): 50})


@pytest.mark.parametrize(
    ("name", "control", "said"),
    [
        ("error_rate", tally(50, errors=5), "candidate 100.0% and control 10.0% are both above 5.0%"),
        ("error_rate", tally(20, errors=10), "candidate 100.0% and control 50.0% are both above 5.0%"),
        ("fallback_rate", tally(60, errors=9), "candidate 100.0% and control 15.0% are both above 10.0%"),
        ("latency_p95_s", slow(20, 90.0), "are both above 60 s"),
        ("quality_issues", tally(100, issues=18), "9 complaining units, but 18 among control's 100 requests"),
    ],
)
def test_trouble_that_control_shares_is_the_providers(name: str, control: Tally, said: str) -> None:
    result = verdict_of(name, ILL, control)
    assert result.verdict is Verdict.inconclusive
    assert result.reason.startswith("provider: ")
    assert said in result.reason
    assert result.evidence[SHARED] == 1


@pytest.mark.parametrize(
    ("name", "control"),
    [
        ("error_rate", tally(20, errors=1)),
        ("error_rate", tally(9, errors=9)),
        ("error_rate", tally(40, errors=4)),
        ("fallback_rate", tally(20, errors=2, fallbacks=20)),
        ("fallback_rate", tally(40, errors=6)),
        ("latency_p95_s", slow(40, 50.0) + slow(3, 90.0)),
        ("latency_p95_s", slow(9, 90.0)),
        ("latency_p95_s", slow(20, 50.0)),
        ("quality_issues", tally(100, issues=17)),
        ("quality_issues", NONE),
        ("error_rate", NONE),
    ],
)
def test_trouble_of_the_candidates_alone_is_its_own(name: str, control: Tally) -> None:
    result = verdict_of(name, ILL, control)
    assert result.verdict is Verdict.failed
    assert SHARED not in result.evidence


@pytest.mark.parametrize(
    ("name", "candidate", "control", "verdict"),
    [
        ("error_rate", tally(24, errors=2), tally(500, errors=5), Verdict.inconclusive),
        ("error_rate", tally(24, errors=4), tally(500, errors=5), Verdict.inconclusive),
        ("error_rate", tally(24, errors=5), tally(500, errors=5), Verdict.failed),
        ("error_rate", tally(20, errors=10), tally(20), Verdict.failed),
        ("error_rate", tally(24, errors=2), tally(10), Verdict.inconclusive),
        ("error_rate", tally(24, errors=12), tally(10), Verdict.failed),
        ("error_rate", tally(24, errors=2), tally(9), Verdict.failed),
        ("error_rate", tally(2000, errors=101), tally(2000, errors=20), Verdict.failed),
        ("fallback_rate", tally(20, fallbacks=3), tally(500, errors=15), Verdict.inconclusive),
        ("fallback_rate", tally(20, fallbacks=20), tally(500, errors=15), Verdict.failed),
        (
            "latency_p95_s",
            slow(30, 9.0) + slow(2, 90.0),
            slow(495, 9.0) + slow(5, 90.0),
            Verdict.inconclusive,
        ),
        ("latency_p95_s", slow(30, 9.0) + slow(9, 90.0), HARDLY_EVER, Verdict.failed),
    ],
)
def test_what_controls_own_rate_may_come_to_by_chance_is_no_reason(
    name: str, candidate: Tally, control: Tally, verdict: Verdict
) -> None:
    result = verdict_of(name, candidate, control)
    assert result.verdict is verdict
    assert ("may be chance" in result.reason) is (verdict is Verdict.inconclusive)
    assert SHARED not in result.evidence


@pytest.mark.parametrize(
    ("errors", "known", "verdict"),
    [
        (2, (10.0, 1000.0), Verdict.inconclusive),
        (9, (10.0, 1000.0), Verdict.failed),
        (2, (0.0, 0.0), Verdict.failed),
    ],
)
def test_at_the_top_what_control_was_like_in_the_run_stands_in(
    errors: int, known: tuple[float, float], verdict: Verdict
) -> None:
    totals = {300.0: {Arm.candidate: tally(24, errors=errors), Arm.control: tally(1)}}
    (result,) = judge_breakers({"error_rate": RULES["error_rate"]}, totals, control_errors=known)
    assert result.verdict is verdict


@pytest.mark.parametrize("name", ["error_rate", "fallback_rate"])
@pytest.mark.parametrize(
    ("failing", "least", "verdict"),
    [(1, 5, Verdict.inconclusive), (2, 5, Verdict.failed), (0, 5, Verdict.failed), (1, 1, Verdict.failed)],
)
def test_one_unit_that_fails_for_its_own_reasons_moves_nobody(
    name: str, failing: int, least: int, verdict: Verdict
) -> None:
    units = frozenset(f"u{n}" for n in range(failing))
    ours = tally(40, errors=20, fallbacks=20, failing=units)  # nobody named: counted by an older process
    result = verdict_of(name, ours, CALM, min_units=least)
    assert result.verdict is verdict
    assert ("all of them are one unit's" in result.reason) is (verdict is Verdict.inconclusive)


def test_a_healthy_candidate_survives_a_hundred_days() -> None:
    chance, false = Random(5), 0
    for _ in range(288 * 100):  # windows of five minutes, each with one error in a hundred
        candidate = tally(24, errors=sum(chance.random() < 0.01 for _ in range(24)))
        false += candidate.errors > 1 and verdict_of("error_rate", candidate, CALM).verdict is Verdict.failed
    assert false <= 1  # by the limit alone it is six a day


@pytest.mark.parametrize(
    ("name", "candidate", "control", "verdict"),
    [
        ("error_rate", tally(100, errors=6), tally(100, errors=4), Verdict.inconclusive),
        ("error_rate", tally(1000, errors=60), tally(1000, errors=25), Verdict.failed),
        ("error_rate", tally(500, errors=45), tally(1000, errors=40), Verdict.failed),
        ("error_rate", tally(20, errors=20), tally(10, errors=10), Verdict.inconclusive),
        ("fallback_rate", tally(100, fallbacks=11), tally(100, errors=6), Verdict.inconclusive),
        ("latency_p95_s", slow(20, 90.0), slow(10, 90.0), Verdict.inconclusive),
        ("latency_p95_s", slow(20, 90.0), tally(100, durations=NEARLY_SLOW), Verdict.failed),
        (
            "latency_p95_s",
            tally(100, durations=HARDLY_SLOW),
            tally(100, durations=NEARLY_SLOW),
            Verdict.inconclusive,
        ),
    ],
)
def test_what_strikes_both_arms_is_over_the_limit_in_one_of_them_first(
    name: str, candidate: Tally, control: Tally, verdict: Verdict
) -> None:
    result = verdict_of(name, candidate, control)
    assert result.verdict is verdict
    assert (SHARED in result.evidence) is (verdict is Verdict.inconclusive)


def test_control_alone_in_trouble_stops_nothing() -> None:
    totals = {
        rule.window_s: {Arm.candidate: tally(50, issues=0), Arm.control: ILL} for rule in RULES.values()
    }
    assert Verdict.failed not in {each.verdict for each in judge_breakers(RULES, totals)}


def test_a_rule_without_minimums_still_needs_one_request() -> None:
    assert (
        verdict_of("error_rate", NONE, min_requests=0, min_units=0, max=0.0).verdict is Verdict.inconclusive
    )
    result = verdict_of("error_rate", tally(1, errors=1, units=0), min_requests=0, min_units=0, max=0.0)
    assert result.verdict is Verdict.failed


def test_the_evidence_holds_the_numbers_behind_the_verdict() -> None:
    result = verdict_of("error_rate", tally(40, errors=4, units=6), tally(50, errors=1))
    assert result.evidence == {
        "value": 0.1, "max": 0.05, "failures": 4, "requests": 40, "min_requests": 20, "units": 6,
        "min_units": 5, "control_value": 0.02, "control_requests": 50, "window_s": 300,
    }  # fmt: skip


small = st.integers(0, 60)
tallies: st.SearchStrategy[Tally] = st.builds(
    lambda requests, errors, fallbacks, issues, cost, histogram: tally(
        requests, errors=min(errors, requests), fallbacks=min(fallbacks, requests), issues=issues,
        priced=requests, cost_microusd=cost, durations=histogram,
    ),
    small, small, small, st.integers(0, 9), st.integers(0, 10_000),
    st.dictionaries(st.integers(-9, 300), small),
)  # fmt: skip


@given(tallies, tallies)
def test_no_window_crashes_a_breaker(candidate: Tally, control: Tally) -> None:
    windows: Mapping[float, Mapping[Arm, Tally]] = {
        rule.window_s: {Arm.candidate: candidate, Arm.control: control} for rule in RULES.values()
    }
    results = judge_breakers(RULES, windows)
    assert tuple(each.name for each in results) == BREAKERS
    for each in results:
        assert (SHARED in each.evidence) is each.reason.startswith("provider: ")
        if each.verdict is Verdict.failed:
            assert each.evidence["value"] > each.evidence["max"]
            assert each.evidence["requests"] >= max(each.evidence["min_requests"], 1)
