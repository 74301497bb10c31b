"""What a process writes down of a run and of an entry: absolute, short, and enough."""

from math import exp
from typing import Any

import pytest

from gateway.core.booking import STAT_BUCKETS, Booking
from gateway.core.counts.book import CASES, RunBook, StageBook, stat_bucket
from gateway.core.counts.docs import merge_run, merge_stage
from gateway.core.gates.verdict import MEANS
from gateway.core.stats.histogram import count, quantile
from gateway.core.tally import ArmStage, ArmTotals, Case, CheckCount, Exposure, RunTally
from gateway.core.types import Arm, Outcome, parse_json, to_json
from tests.support.bookings import checked, ended, place


def run_of(*bookings: Booking, book: RunBook | None = None) -> ArmTotals:
    """Return the candidate's totals as whoever leads reads them."""
    book = book or RunBook()
    for each in bookings:
        book.ended(each)
    return merge_run([parse_json(to_json(book.to_doc()))]).arms[Arm.candidate]


def stage_of(*bookings: Booking) -> ArmStage:
    book = StageBook()
    for each in bookings:
        book.ended(each)
    return merge_stage([parse_json(to_json(book.to_doc()))]).arms[Arm.candidate]


# --- units by bucket ----------------------------------------------------------------------------------------


def test_units_fall_into_all_groups_alike_and_always_into_the_same() -> None:
    groups = [stat_bucket(f"unit {n}") for n in range(64_000)]
    sizes = [groups.count(group) for group in range(STAT_BUCKETS)]
    assert sum(sizes) == len(groups)
    assert 850 < min(sizes) <= max(sizes) < 1150
    assert [stat_bucket("alice"), stat_bucket("bob")] == [56, 5]


# --- a run --------------------------------------------------------------------------------------------------


def test_totals_are_of_all_requests_enrolled_or_not() -> None:
    counted = run_of(
        ended(Outcome.ok, cost_microusd=300, prompt_tokens=20, output_tokens=5, first_token_s=0.5),
        ended(Outcome.timeout, enrolled=False, duration_s=60.0),
        ended(Outcome.ok, unit=None, fallback=True, cost_microusd=200, output_tokens=0, prompt_tokens=7),
    )
    assert (counted.requests, counted.outcomes, counted.fallbacks) == (3, {"ok": 2, "timeout": 1}, 1)
    assert (counted.priced, counted.cost_microusd) == (2, 500)
    assert (counted.measured, counted.prompt_tokens, counted.output_tokens) == (2, 27, 5)
    assert (count(counted.durations), count(counted.first_tokens)) == (3, 1)
    assert quantile(counted.durations, 1) == pytest.approx(60, rel=0.02)


def test_checks_and_ratings_are_counted_by_answer() -> None:
    book = RunBook()
    for passed in (True, False, True):
        book.checked(checked(json=passed, tool_error=True))
    book.rated(place(), 1.0)
    book.rated(place(enrolled=False), -0.5)
    counted = run_of(book=book)
    assert counted.checks == {"json": CheckCount(2, 1), "tool_error": CheckCount(3, 0)}
    assert (counted.ratings, counted.rating_total) == (2, 0.5)


def test_exposure_is_what_has_been_settled() -> None:
    book = RunBook()
    book.risk.active(Arm.candidate, "u", ("error", "refusal"), 1.0)
    book.risk.failing("error", "u", place(), 1.0)
    assert run_of(book=book).exposure == {}
    book.risk.due(2.0)
    book.risk.settle([True])
    assert run_of(book=book).exposure == {"error": Exposure(1, 1), "refusal": Exposure(1, 0)}


def test_the_newest_cases_of_each_kind_are_kept() -> None:
    book = RunBook()
    book.keep(Case(0.0, "control", "req_rare", "t", "refusal"))
    for n in range(2 * CASES):
        book.keep(Case(float(n), "candidate", f"req_{n}", "t", "error"))
    kept = merge_run([parse_json(to_json(book.to_doc()))]).cases
    assert kept[0] == Case(2 * CASES - 1.0, "candidate", f"req_{2 * CASES - 1}", "t", "error")
    assert [case.request_id for case in kept if case.failure == "refusal"] == ["req_rare"]
    assert len(kept) == CASES + 1


def test_the_mean_cost_is_of_what_could_be_priced() -> None:
    book = RunBook()
    assert book.mean_cost(Arm.candidate) is None
    run_of(ended(cost_microusd=100), ended(cost_microusd=300), ended(cost_microusd=None), book=book)
    assert book.mean_cost(Arm.candidate) == 200


def test_a_quiet_run_is_a_short_document() -> None:
    assert RunBook().to_doc() == {"arms": {"control": {}, "candidate": {}}}
    assert merge_run([RunBook().to_doc()]) == RunTally()


# --- an entry -----------------------------------------------------------------------------------------------


def test_means_are_of_enrolled_units_and_durations_of_everybody() -> None:
    values: dict[str, Any] = {"first_token_s": 0.5, "slow": True, "cost_microusd": 100, "output_tokens": 9}
    counted = stage_of(
        ended(unit="a", **values),
        ended(unit="b", enrolled=False, **values),
        ended(unit=None, **values),
        ended(unit="c"),
    )
    assert (counted.requests, count(counted.durations)) == (2, 4)
    assert sorted(counted.means) == sorted(MEANS)
    for name in MEANS:
        assert sum(counted.means[name].n) == counted.means[name].n[stat_bucket("a")] == 1
    logged = {name: mean.total[stat_bucket("a")] for name, mean in counted.means.items()}
    assert exp(logged["ttft"]) == pytest.approx(0.5, rel=1e-5)
    assert exp(logged["cost"]) == pytest.approx(100, rel=1e-5)
    assert exp(logged["output_tokens"]) == pytest.approx(10, rel=1e-5)
    assert logged["slow_share"] == 1


def test_extremes_have_a_logarithm() -> None:
    counted = stage_of(ended(first_token_s=0.0, slow=False, cost_microusd=0, output_tokens=0))
    bucket = stat_bucket("u")
    assert exp(counted.means["ttft"].total[bucket]) == pytest.approx(0.001, rel=1e-4)
    assert [counted.means[name].total[bucket] for name in ("slow_share", "cost", "output_tokens")] == [
        0,
        0,
        0,
    ]


def test_a_unit_with_much_traffic_fills_one_bucket_alone() -> None:
    counted = stage_of(*[ended(unit="busy", output_tokens=n) for n in range(500)])
    assert [n for n in counted.means["output_tokens"].n if n] == [500]
