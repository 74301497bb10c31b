"""What a request that ended says of a model, and which failures it is."""

import pytest

from gateway.core.gates.verdict import FAILURES
from gateway.core.types import Outcome
from tests.support.bookings import ended


@pytest.mark.parametrize(
    ("outcome", "failures"),
    [
        (Outcome.ok, ()),
        (Outcome.refused, ("refusal",)),
        (Outcome.upstream_error, ("error",)),
        (Outcome.stream_error, ("error",)),
        (Outcome.timeout, ("error",)),
        (Outcome.truncated, ("error", "incomplete")),
        (Outcome.empty, ("error", "incomplete")),
    ],
)
def test_an_outcome_is_one_or_two_of_the_failures_that_are_compared(
    outcome: Outcome, failures: tuple[str, ...]
) -> None:
    assert ended(outcome).failures == failures
    assert set(failures) <= set(FAILURES)
    assert ended(outcome).telling


def test_an_answer_by_control_is_the_candidates_fallback_whatever_became_of_it() -> None:
    assert ended(Outcome.ok, fallback=True).failures == ("fallback",)
    assert ended(Outcome.timeout, fallback=True).failures == ("error", "fallback")


@pytest.mark.parametrize(
    ("outcome", "fallback", "telling"),
    [
        (Outcome.client_error, False, False),
        (Outcome.client_error, True, False),
        (Outcome.disconnected, False, False),
        (Outcome.disconnected, True, True),
    ],
)
def test_what_its_caller_spoilt_or_left_says_nothing_of_a_model(
    outcome: Outcome, fallback: bool, telling: bool
) -> None:
    assert ended(outcome, fallback=fallback).telling is telling
