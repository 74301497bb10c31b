"""First failures and exposure: once per unit and run, and both sides of a second together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.counts import risk as module
from gateway.core.counts.risk import Claim, Risk
from gateway.core.types import Arm
from tests.support.bookings import place

KINDS = ("error", "refusal")
CONTROL, CANDIDATE = Arm.control, Arm.candidate


def happen(risk: Risk, at: float, *units: str, failing: str = "", arm: Arm = CANDIDATE) -> None:
    """Let units be active; of those in `failing` (separated by blanks) let an error happen."""
    for unit in units:
        risk.active(arm, unit, KINDS, at)
    for unit in failing.split():
        risk.failing("error", unit, place(unit, arm), at)


def settle(risk: Risk, now: float, *, won: bool = True) -> list[Claim]:
    claims = risk.due(now)
    risk.settle([won] * len(claims))
    return claims


def exposure(risk: Risk, arm: Arm = CANDIDATE, kind: str = "error") -> tuple[int, int]:
    return risk.at_risk[arm, kind], risk.failed[arm, kind]


# --- a second -----------------------------------------------------------------------------------------------


def test_a_unit_is_at_risk_once_in_every_second_in_which_it_is_active() -> None:
    risk = Risk()
    for at in (1.0, 1.5, 1.9, 2.0, 7.3):
        happen(risk, at, "a", "b")
    happen(risk, 7.9, "c", arm=CONTROL)
    settle(risk, 8.0)
    assert exposure(risk) == exposure(risk, kind="refusal") == (6, 0)
    assert exposure(risk, CONTROL) == (1, 0)


def test_a_second_is_booked_when_it_is_over_and_not_before() -> None:
    risk = Risk()
    happen(risk, 1.0, "a", failing="a")
    assert settle(risk, 1.99) == []
    assert exposure(risk) == (0, 0)
    assert settle(risk, 2.0) == [("error", "a")]
    assert exposure(risk) == (1, 1)


def test_who_fails_was_at_risk_and_is_so_no_more() -> None:
    risk = Risk()
    for at in (1.0, 1.2, 2.0, 3.0):
        happen(risk, at, "a", "b", failing="a")
    settle(risk, 4.0)
    assert exposure(risk) == (4, 1), "both in the first second, and one in each of the others"
    assert exposure(risk, kind="refusal") == (6, 0)


def test_groups_that_share_a_kind_count_a_unit_once() -> None:
    risk = Risk()
    risk.active(CANDIDATE, "a", ("check:one", "tool_error"), 1.0)
    risk.active(CANDIDATE, "a", ("tool_error",), 1.0)
    risk.active(CANDIDATE, "b", ("tool_error",), 1.0)
    settle(risk, 2.0)
    assert exposure(risk, kind="tool_error") == (2, 0)
    assert exposure(risk, kind="check:one") == (1, 0)


def test_a_clock_that_steps_back_ends_the_second_and_counts_on() -> None:
    risk = Risk()
    for at in (100.0, 40.0, 41.0):
        happen(risk, at, "a")
    settle(risk, 42.0)
    assert exposure(risk) == (3, 0)


# --- claims -------------------------------------------------------------------------------------------------


def test_a_claim_that_another_process_won_counts_nothing_but_the_unit_has_failed() -> None:
    risk = Risk()
    happen(risk, 1.0, "a", failing="a")
    settle(risk, 2.0, won=False)
    happen(risk, 2.0, "a", failing="a")
    assert settle(risk, 3.0) == []
    assert exposure(risk) == (1, 0)


def test_what_is_not_settled_is_asked_for_again_with_what_came_since() -> None:
    risk = Risk()
    happen(risk, 1.0, "a", "b", failing="a")
    assert risk.due(2.0) == risk.due(2.5) == [("error", "a")]
    happen(risk, 2.6, "b", failing="b")
    assert exposure(risk) == (0, 0)
    assert settle(risk, 3.0) == [("error", "a"), ("error", "b")]
    assert exposure(risk) == (3, 2)
    assert settle(risk, 4.0) == []
    assert exposure(risk) == (3, 2)


def test_what_happens_while_the_store_is_asked_waits_for_the_next_time() -> None:
    risk = Risk()
    happen(risk, 1.0, "a", failing="a")
    claims = risk.due(2.0)
    happen(risk, 2.1, "b", failing="b")
    happen(risk, 3.1, "c")
    risk.settle([True] * len(claims))
    assert exposure(risk) == (1, 1)
    assert settle(risk, 4.0) == [("error", "b")]
    assert exposure(risk) == (3, 2)


def test_answers_that_nobody_asked_for_change_nothing() -> None:
    risk = Risk()
    happen(risk, 1.0, "a", failing="a")
    assert risk.settle([True]) == {}
    assert exposure(risk) == (0, 0)


def test_answers_must_fit_what_was_asked() -> None:
    risk = Risk()
    happen(risk, 1.0, "a", failing="a")
    risk.due(2.0)
    with pytest.raises(ValueError, match="zip"):
        risk.settle([])


# --- bounds -------------------------------------------------------------------------------------------------


def test_while_too_many_claims_wait_seconds_are_dropped_whole() -> None:
    risk = Risk()
    units = [f"u{n}" for n in range(module.WAITING)]
    happen(risk, 1.0, *units, failing=" ".join(units))
    risk.due(2.0)
    happen(risk, 2.0, "late", failing="late")
    assert len(settle(risk, 3.0)) == module.WAITING
    assert exposure(risk) == (module.WAITING, module.WAITING)
    happen(risk, 3.0, "late", failing="late")
    assert settle(risk, 4.0) == [("error", "late")], "it was forgotten that it failed, so it can do so again"


def test_a_kind_of_which_too_many_units_have_failed_is_not_followed_any_further() -> None:
    risk = Risk()
    for second in range(module.KNOWN // 1000 + 1):
        units = [f"{second}:{n}" for n in range(1000)]
        happen(risk, second, *units, failing=" ".join(units))
        settle(risk, second + 1.0)
    assert exposure(risk) == (module.KNOWN, module.KNOWN)
    assert exposure(risk, kind="refusal") == (module.KNOWN + 1000, 0)


# --- the whole ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=40)
)
def test_units_fail_at_most_once_and_only_while_they_were_at_risk(
    story: list[tuple[int, str, bool, bool]],
) -> None:
    risk, now, failed, at_risk = Risk(), 0.0, dict[str, float](), set[tuple[str, float]]()
    for seconds, unit, fails, answered in story:
        now += seconds
        happen(risk, now, unit, failing=unit if fails else "")
        if unit not in failed or failed[unit] == now:
            at_risk.add((unit, now))
        if fails:
            failed.setdefault(unit, now)
        claims = risk.due(now)
        if answered:
            risk.settle([True] * len(claims))
    settle(risk, now + 1)
    assert exposure(risk) == (len(at_risk), len(failed))
