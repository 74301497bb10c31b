"""The promises of the statistics, held by simulation with fixed seeds; the long ones are in `test-full`."""

import numpy as np
import pytest
from scipy.special import betaln

from gateway.core.stats import eprocess, ratio, sequence
from tests.core.stats import simulate

BASE = {"early": 0.006, "error": 0.006, "tool_error": 0.02, "refusal": 0.005, "incomplete": 0.003}
"""Share of requests that fail before and after their first byte, and so on, in both arms alike."""


def false_rollbacks(runs: int, users: int, per_look: float, base: dict[str, float] = BASE) -> int:
    stopped = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        people = simulate.heavy_tailed(rng, users, per_look, base)
        stopped += simulate.ramp(rng, people, simulate.Comparisons(users).look)
    return stopped


@pytest.mark.parametrize(("users", "per_look"), [(400, 120.0), (3000, 200.0)])
def test_a_healthy_candidate_is_hardly_ever_rolled_back(users: int, per_look: float) -> None:
    assert false_rollbacks(100, users, per_look) <= 2


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("users", "per_look"), [(300, 120.0), (1000, 200.0), (5000, 400.0)])
def test_a_healthy_candidate_is_rolled_back_in_at_most_two_of_a_hundred_ramps(
    users: int, per_look: float
) -> None:
    assert false_rollbacks(500, users, per_look) <= 10


def requests_to_stop(seed: int, base: float, times: float, weight: float = 0.05, per_look: int = 200) -> int:
    """Return the candidate's requests until the comparison of errors stops it; units are short sessions."""
    rng, log_m, seen = np.random.default_rng(seed), eprocess.START, 0
    while eprocess.log_e(log_m) < simulate.LIMIT:
        candidate, control = rng.binomial(per_look, weight, 2)
        failed = int(rng.binomial(control, base)), int(rng.binomial(candidate, base * times))
        log_m = eprocess.update(
            log_m, (int(control), int(candidate)), failed, simulate.GATES.rollback["error"]
        )
        seen += int(candidate)
        assert seen < 100_000
    return seen


@pytest.mark.parametrize(("base", "at_most"), [(0.02, 950), (0.05, 400)])
def test_three_times_the_errors_are_found_within_so_many_requests_of_the_candidate(
    base: float, at_most: int
) -> None:
    needed = [requests_to_stop(seed, base, 3.0) for seed in range(301)]
    assert np.median(needed) <= at_most


def test_a_tenfold_error_rate_is_found_within_a_hundred_requests() -> None:
    assert np.median([requests_to_stop(seed, 0.02, 10.0) for seed in range(101)]) <= 100


def false_alarms(runs: int, per_look: int = 50, looks: int = 160) -> int:
    """Return in how many runs whose arms enrol alike the sample ratio is ever alarmed about."""
    alarms = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        enrolled = rng.binomial(per_look, 0.5, looks).cumsum()
        totals = np.arange(1, looks + 1) * per_look
        factors = [
            ratio.log_bayes_factor(int(n), int(t - n), 0.5) for n, t in zip(enrolled, totals, strict=True)
        ]
        alarms += max(factors) >= ratio.ALARM
    return alarms


def test_a_sound_sample_ratio_is_no_reason_for_an_alarm() -> None:
    assert false_alarms(300) == 0


@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_sample_ratio_is_falsely_alarmed_about_in_at_most_two_of_a_thousand_runs() -> None:
    assert false_alarms(5000) <= 10


@pytest.mark.parametrize(("lost", "units"), [(0.3, 6000), (0.1, 40_000)])
def test_a_candidate_that_loses_units_is_noticed(lost: float, units: int) -> None:
    noticed = 0
    for seed in range(50):
        candidate = int(np.random.default_rng(seed).binomial(units // 2, 1 - lost))
        noticed += ratio.log_bayes_factor(candidate, units // 2, 0.5) >= ratio.ALARM
    assert noticed >= 48


def held(seed: int, worse_by: float, users: int = 1500, looks: int = 60, alpha: float = 0.01) -> bool:
    """Tell whether a mean of logarithms is ever found worse; users have levels of their own."""
    rng = np.random.default_rng(seed)
    traffic = 1 / rng.permutation(np.arange(1, users + 1)) ** 0.8
    level, bucket, arm = rng.normal(0, 0.7, users), rng.integers(0, 64, users), rng.random(users) < 0.5
    level = level + arm * np.log(worse_by)
    n, total, looked = np.zeros((2, 64), dtype=int), np.zeros((2, 64)), False
    for _ in range(looks):
        made = rng.poisson(traffic / traffic.sum() * 400)
        values = made * level + rng.normal(0, 0.5, users) * np.sqrt(made)
        for side, mine in enumerate((~arm, arm)):
            np.add.at(n[side], bucket[mine], made[mine])
            np.add.at(total[side], bucket[mine], values[mine])
        control, candidate = (sequence.mean_of(n[side].tolist(), total[side].tolist()) for side in (0, 1))
        if control is None or candidate is None:
            continue
        looked = True
        if sequence.difference(control, candidate, alpha=alpha, planned=5000).lower > 0:
            return True
    assert looked, "the guards let nothing through: the simulation shows nothing"
    return False


def test_equal_arms_are_seldom_held_for_a_mean() -> None:
    assert sum(held(seed, 1.0) for seed in range(60)) <= 3


def test_a_mean_that_doubles_is_always_noticed() -> None:
    assert all(held(seed, 2.0) for seed in range(20))


@pytest.mark.full
@pytest.mark.timeout(600)
def test_equal_arms_are_held_for_a_mean_about_as_seldom_as_alpha_says() -> None:
    """The bound is asymptotic, and heavy tails cost a little: at most 2 % at a level of 1 %."""
    assert sum(held(seed, 1.0) for seed in range(500)) <= 10


SAVVI = [
    (0.5, 100.0, (30, 20), 0.13225192430288507),
    (0.5, 500.0, (5200, 4800), 6.098880330967404),
    (0.2, 100.0, (60, 130), 4.157867550607172),
]
"""Share, concentration, counts and ln of the posterior odds as savvi 0.3.1 (`Multinomial`) has them. It is no
dependency: it brings cvxpy with four solvers and matplotlib."""


@pytest.mark.parametrize(("share", "k", "counts", "log_odds"), SAVVI)
def test_the_bayes_factor_is_that_of_savvi(
    share: float, k: float, counts: tuple[int, int], log_odds: float
) -> None:
    assert ratio.log_bayes_factor(*counts, share, k) == pytest.approx(log_odds, abs=1e-9)


@pytest.mark.parametrize(
    ("candidate", "control", "k"), [(30, 20, 100.0), (5200, 4800, 500.0), (0, 40, 500.0)]
)
def test_the_bayes_factor_is_what_scipy_makes_of_its_formula(candidate: int, control: int, k: float) -> None:
    a = k / 2
    expected = betaln(a + candidate, a + control) - betaln(a, a) - (candidate + control) * np.log(0.5)
    assert ratio.log_bayes_factor(candidate, control, 0.5, k) == pytest.approx(expected, abs=1e-9)
