"""Arms that enrol alike raise no alarm, broken ones do, as soon as the reference says."""

from math import comb, exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.stats.ratio import ALARM, log_bayes_factor


def test_nothing_seen_is_no_evidence() -> None:
    assert log_bayes_factor(0, 0, 0.5) == pytest.approx(0.0)


@given(st.integers(0, 3000), st.floats(0.01, 0.99))
def test_even_arms_speak_for_themselves(n: int, share: float) -> None:
    assert log_bayes_factor(round(n * share), n - round(n * share), share) < 1.0


def test_losses_are_seen_after_so_many_units() -> None:
    def units(lost: float) -> int:
        return next(
            n for n in range(100, 40_000, 100)
            if log_bayes_factor(round(n * (1 - lost) / 2), n // 2, 0.5) >= ALARM
        )  # fmt: skip

    assert 4_000 < units(0.10) < 16_000
    assert 200 < units(0.30) < 5_500


@given(st.floats(0.05, 0.95), st.integers(1, 12), st.floats(1.0, 900.0))
def test_a_healthy_split_is_never_expected_to_look_broken(share: float, n: int, concentration: float) -> None:
    expected = sum(
        comb(n, k) * share**k * (1 - share) ** (n - k) * exp(log_bayes_factor(k, n - k, share, concentration))
        for k in range(n + 1)
    )
    assert expected == pytest.approx(1.0)


def test_either_arm_may_be_the_one_that_loses() -> None:
    assert log_bayes_factor(300, 700, 0.5) == pytest.approx(log_bayes_factor(700, 300, 0.5))
