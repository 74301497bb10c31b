"""Requests are counted in the arm that they were assigned to, and shares over conversations that begin."""

from typing import Any

import pytest

from gateway.core.types import Arm, Reason
from gateway.demo.tally import WINDOW, ArmTally, Seen, Tally, quantile


def seen(arm: Arm = Arm.control, **changes: Any) -> Seen:
    return Seen(
        **{"application": "chat", "first": True, "arm": arm, "reason": "bucket", "took_s": 0.1, **changes}
    )


def tallied(*requests: Seen) -> Tally:
    tally = Tally()
    for request in requests:
        tally.add(request)
    return tally


def test_the_share_is_of_conversations_that_begin() -> None:
    going_on = [seen(first=False)] * 50
    tally = tallied(*[seen()] * 3, seen(Arm.candidate), *going_on)
    assert (tally.candidate_share, tally.begun, tally.requests) == (0.25, 4, 54)
    assert Tally().candidate_share is None


def test_what_the_candidate_cannot_be_asked_is_counted_apart() -> None:
    tally = tallied(seen(application="classifier", reason=Reason.unservable), seen())
    assert (tally.control.requests, tally.unservable["classifier"], tally.requests) == (1, 1, 2)


def test_a_failure_is_counted_by_application_and_complaint() -> None:
    tally = tallied(
        *[seen(complaint="empty")] * 2, seen(reason=Reason.unservable, complaint="HTTP 500"), seen()
    )
    assert (tally.failed, tally.control.failed) == (3, 2)
    assert tally.complaints.most_common(1) == [("chat: empty", 2)]


def test_a_rescue_is_the_candidates() -> None:
    tally = tallied(seen(Arm.candidate, fallback="overloaded"), seen(Arm.candidate))
    assert (tally.candidate.rescued, tally.control.rescued, tally.failed) == (1, 0, 0)


def test_rewrites_are_counted_by_rule() -> None:
    tally = tallied(seen(rewrites=("sampling", "thinking")), seen(rewrites=("thinking",)))
    assert tally.rewrites == {"thinking": 2, "sampling": 1}


def test_cost_is_per_thousand_requests() -> None:
    tally = tallied(
        seen(cost_microusd=3000), seen(cost_microusd=1000), seen(Arm.candidate, cost_microusd=None)
    )
    assert (tally.control.usd_per_1k, tally.candidate.usd_per_1k) == (2.0, 0.0)
    assert ArmTally().usd_per_1k is None


def test_latency_is_of_the_latest_requests() -> None:
    tally = tallied(*[seen(took_s=9.0)] * WINDOW, *[seen(took_s=0.1)] * WINDOW)
    assert tally.control.latency_s(1.0) == 0.1


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.95, 4), (1.0, 4)])
def test_a_quantile_is_a_value_that_occurred(share: float, expected: float) -> None:
    assert quantile([4, 1, 3, 2], share) == expected


def test_no_values_have_no_quantile() -> None:
    assert quantile([], 0.5) is None
