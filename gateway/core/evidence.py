"""What the controller has gathered about one run, tick by tick, and hands on to whoever leads next.

It is written after every tick under the leader's fencing epoch. Everything in it that grows is a function of
what was there and of what has been counted since, so a tick that is repeated, late or made by another process
adds nothing twice: the tests remember how much of the counts they have eaten.

Time that counts towards a stage is time in which a leader watched: paused time does not, and a clock that
jumps changes nothing. Of a time in which nobody led, or the store was away, half a minute counts at most.

What the tests eat, by name:

- `<failure>`, `check:<name>` - first failures of enrolled units, candidate against control; only while the
  arms are compared. `fallback` is compared with control's `error`, because nothing rescues control. A tick in
  which an arm had nobody at risk waits for the next one, or a rollout with little traffic could never stop.
- `min:<name>`, `max_regression` - first failures of the candidate's units at one check, or at all of them,
  against the share that is tolerated; at every weight and while soaking. Not while control is over it too
  (`as_bad`): what the provider does to both must not be held against one of them once it is over.
- `drift:<failure>`, `drift:slow_share` - the candidate's requests while soaking, against its own rate when it
  was promoted. By requests, since nearly every unit of a long soak has failed once: so it is an alarm, never
  a rollback.

What is counted while a test does not apply is passed over, never kept for later. So is a count that fell,
which a process took with it: the test goes on from what is left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import log, sqrt
from typing import Protocol

from gateway.core.booking import INCOMPLETE
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.stats.eprocess import Pair, log_e, update, update_fixed
from gateway.core.stats.histogram import count, quantile, share_above
from gateway.core.stats.sequence import Mean, mean_of
from gateway.core.tally import ArmTotals, CheckCount, Exposure, RunTally, StageTally
from gateway.core.types import ERRORS, Arm, MigrationState, Outcome, Phase

REGRESSION = "max_regression"
"""The test of all checks together against what the stage tolerates."""
DRIFT = "drift:"
SLOW = "slow_share"
"""While soaking: the answers that take longer than the p95 of the promoted candidate."""
SLOWEST = 0.05
DEFAULT_MARGIN = 1.25
LEAST = 20
"""Control's answers without which nothing is said of it, unless the candidate has fewer."""
FEW = 3
"""What chance may do to a handful of answers."""


@dataclass(frozen=True, slots=True)
class SequentialTest:
    """One first-failure e-process (rollout.md 3.3) as far as it has come."""

    log_m: tuple[float, ...] = ()
    """ln M for each rate ratio of the grid; empty: nothing has been seen."""
    peak: float = 0.0
    """Greatest ln E so far; the always-valid p is exp(-peak)."""
    at_risk: tuple[int, int] = (0, 0)
    failed: tuple[int, int] = (0, 0)
    """How much of the run's counts it has eaten: (control, candidate)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an arm was like when it was frozen."""

    at: float
    arm: Arm
    requests: int
    rates: dict[str, float] = field(default_factory=dict)
    """Failure → share of requests."""
    counted: dict[str, int] = field(default_factory=dict)
    """Failure → in how many requests it could have happened."""
    cost_microusd: float | None = None
    """Mean per priced request."""
    output_tokens: float | None = None
    duration_p50_s: float | None = None
    duration_p95_s: float | None = None
    first_token_p50_s: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one run."""

    run: int = 0
    entry: int = 0
    """The entry that the watched times belong to."""
    at: float = 0.0
    """When it was written, for whoever leads next."""
    watched_s: float = 0.0
    """How long the present entry has been watched while it was running."""
    paused_s: float = 0.0
    """How long the present pause has been watched, for the reason that it has."""
    paused_for: str = ""
    """That reason; empty: it is not paused."""
    quiet_s: float = 0.0
    """Watched time since the candidate last got a request."""
    requests: int = 0
    """Candidate requests seen by the last tick."""
    tests: dict[str, SequentialTest] = field(default_factory=dict)
    """Failure or `check:<name>` → its test; `min:<check>` and `drift:<failure>` against a fixed rate."""
    means: dict[str, Mean] = field(default_factory=dict)
    """`gates.verdict.MEANS` → the candidate's, of the newest entry before soaking that had enough of it."""
    control: Baseline | None = None
    """Control before and while the candidate climbed; refreshed as long as it is compared."""
    promoted: Baseline | None = None
    """The candidate, frozen when it was promoted: what drift is measured against."""
    reported_at: float = 0.0
    """When the last weekly report was written."""
    warned_days: int | None = None
    """The last warning of control's retirement was for so many days before."""
    drift_told: bool = False
    """The candidate's drift since its promotion is in the audit log."""


class Counted(Protocol):
    """What a tick has read; `gates.picture.Picture` is one."""

    @property
    def spec(self) -> MigrationSpec: ...
    @property
    def state(self) -> MigrationState: ...
    @property
    def run(self) -> RunTally: ...
    @property
    def stage(self) -> StageTally: ...
    @property
    def compared(self) -> bool: ...
    @property
    def current_stage(self) -> Stage: ...


def absorb(evidence: Evidence, seen: Counted, elapsed_s: float) -> Evidence:
    """Return the evidence with what a tick has seen, `elapsed_s` watched seconds after the last one."""
    state = seen.state
    if evidence.run != state.run:
        evidence = Evidence(run=state.run, entry=state.entry)
    if evidence.entry != state.entry:
        evidence = replace(evidence, entry=state.entry, watched_s=0.0, paused_s=0.0, quiet_s=0.0)
    requests = seen.run.arms[Arm.candidate].requests
    paused = state.phase is Phase.paused
    paused_for = state.reason if paused else ""
    # A freeze that has lasted for days is no day that anybody has had to approve.
    paused_s = evidence.paused_s if paused_for == evidence.paused_for else 0.0
    return replace(
        evidence,
        watched_s=evidence.watched_s + (elapsed_s if state.phase is Phase.running else 0.0),
        paused_s=paused_s + elapsed_s if paused else 0.0,
        paused_for=paused_for,
        quiet_s=0.0 if requests > evidence.requests else evidence.quiet_s + elapsed_s,
        requests=requests,
        tests=_fed(evidence, seen),
        means=evidence.means if state.phase is Phase.soaking else evidence.means | candidate_means(seen),
    )


def candidate_means(seen: Counted) -> dict[str, Mean]:
    """Return the candidate's means in the present entry, those of which there is enough."""
    buckets = seen.stage.arms[Arm.candidate].means
    found = {name: mean_of(each.n, each.total) for name, each in buckets.items()}
    return {name: mean for name, mean in found.items() if mean is not None}


def comparisons(spec: MigrationSpec) -> tuple[str, ...]:
    """Return the tests of a run that may roll it back: they share `gates.alpha`."""
    names = list(spec.gates.rollback)
    names += [f"check:{check.name}" for check in spec.checks if check.max_ratio is not None]
    names += [f"min:{check.name}" for check in spec.checks if check.min_pass is not None]
    if spec.checks and any(stage.max_regression is not None for stage in spec.stages):
        names.append(REGRESSION)
    return tuple(names)


def stop_at(spec: MigrationSpec) -> float:
    """Return the ln E at which one of the comparisons rolls back: ln(M / α)."""
    return log(max(len(comparisons(spec)), 1) / spec.gates.alpha)


def baseline_of(run: RunTally, arm: Arm, at: float) -> Baseline:
    """Return what an arm has been like in a run so far."""
    totals = run.arms[arm]
    failures = {name: pair for name, pair in failures_of(totals).items() if pair[1]}
    return Baseline(
        at=at,
        arm=arm,
        requests=totals.requests,
        rates={name: failed / of for name, (failed, of) in failures.items()},
        counted={name: of for name, (_, of) in failures.items()},
        cost_microusd=totals.cost_microusd / totals.priced if totals.priced else None,
        output_tokens=totals.output_tokens / totals.measured if totals.measured else None,
        duration_p50_s=quantile(totals.durations, 0.5),
        duration_p95_s=quantile(totals.durations, 0.95),
        first_token_p50_s=quantile(totals.first_tokens, 0.5),
    )


def failures_of(totals: ArmTotals) -> dict[str, Pair]:
    """Return (failed, of how many) for each failure, by requests; tool calls by answers that had one."""

    def ended(outcomes: Iterable[Outcome]) -> int:
        return sum(totals.outcomes.get(outcome.value, 0) for outcome in outcomes)

    found = {
        "error": (ended(ERRORS), totals.requests),
        "fallback": (totals.fallbacks, totals.requests),
        "refusal": (ended([Outcome.refused]), totals.requests),
        "incomplete": (ended(INCOMPLETE), totals.requests),
    }
    if calls := totals.checks.get("tool_error"):
        found["tool_error"] = (calls.failed, calls.passed + calls.failed)
    return found


def answers(run: RunTally, arm: Arm, checks: Iterable[str]) -> CheckCount:
    """Return what some checks said of one arm's answers, together."""
    each = [run.arms[arm].checks.get(name, CheckCount()) for name in checks]
    return CheckCount(sum(one.passed for one in each), sum(one.failed for one in each))


def as_bad(run: RunTally, checks: Iterable[str], limit: float) -> bool:
    """Return whether control's answers are over the limit as well, and the candidate's not far worse.

    As far as there are as many of control's; the candidate's may fail twice as often, and `FEW` more.
    """
    names = tuple(checks)
    ours, theirs = (answers(run, arm, names) for arm in (Arm.candidate, Arm.control))
    ours_of, of = ours.passed + ours.failed, theirs.passed + theirs.failed
    if of < max(min(LEAST, ours_of), 1):
        return False
    share = theirs.failed / of
    return share > limit and ours.failed <= 2 * share * ours_of + FEW


# --- what the tests eat -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Meal:
    """What has been counted so far for one test: (control, candidate)."""

    at_risk: Pair
    failed: Pair
    limit: float | None
    """The tolerated ratio, or the tolerated rate of a fixed one; None: it does not apply now."""
    fixed: bool = False
    anew: bool = False
    """What was counted before the test began does not belong to it."""


def _fed(evidence: Evidence, seen: Counted) -> dict[str, SequentialTest]:
    meals = {**_relative(seen), **_absolute(seen), **_drift(evidence, seen)}
    kept = {name: test for name, test in evidence.tests.items() if not name.startswith(DRIFT)}
    return kept | {name: _eat(evidence.tests.get(name), meal) for name, meal in meals.items()}


def _relative(seen: Counted) -> dict[str, _Meal]:
    margins: dict[str, float | None] = dict(seen.spec.gates.rollback)
    margins |= {f"check:{check.name}": check.max_ratio for check in seen.spec.checks}
    control, candidate = (seen.run.arms[arm].exposure for arm in (Arm.control, Arm.candidate))
    meals = {}
    for name, margin in margins.items():
        if margin is not None:
            ours = candidate.get(name, Exposure())
            theirs = control.get("error" if name == "fallback" else name, Exposure())
            limit = margin if seen.compared else None
            meals[name] = _Meal((theirs.at_risk, ours.at_risk), (theirs.failed, ours.failed), limit)
    return meals


def _absolute(seen: Counted) -> dict[str, _Meal]:
    exposure = seen.run.arms[Arm.candidate].exposure
    each = {check.name: exposure.get(f"check:{check.name}", Exposure()) for check in seen.spec.checks}
    meals = {
        f"min:{check.name}": _alone(each[check.name], _own(seen, (check.name,), 1 - check.min_pass))
        for check in seen.spec.checks
        if check.min_pass is not None
    }
    if REGRESSION in comparisons(seen.spec):
        together = Exposure(
            sum(one.at_risk for one in each.values()), sum(one.failed for one in each.values())
        )
        meals[REGRESSION] = _alone(together, _own(seen, tuple(each), seen.current_stage.max_regression))
    return meals


def _own(seen: Counted, checks: Iterable[str], limit: float | None) -> float | None:
    return None if limit is not None and as_bad(seen.run, checks, limit) else limit


def _alone(exposure: Exposure, limit: float | None) -> _Meal:
    return _Meal((0, exposure.at_risk), (0, exposure.failed), limit, fixed=True)


def _drift(evidence: Evidence, seen: Counted) -> dict[str, _Meal]:
    if seen.state.phase is not Phase.soaking or evidence.promoted is None:
        return {}
    gates, baseline, totals = seen.spec.gates, evidence.promoted, seen.run.arms[Arm.candidate]
    counted = {name: pair for name, pair in failures_of(totals).items() if name in gates.rollback}
    if baseline.duration_p95_s is not None and SLOW in gates.hold:
        of = count(totals.durations)
        slow = round((share_above(totals.durations, baseline.duration_p95_s) or 0.0) * of)
        counted[SLOW] = slow, of
    return {
        f"{DRIFT}{name}": _Meal((0, of), (0, failed), drift_limit(seen.spec, baseline, name), True, True)
        for name, (failed, of) in counted.items()
    }


def drift_limit(spec: MigrationSpec, baseline: Baseline, failure: str) -> float:
    """Return the highest rate of a failure (or of slow answers) that is no drift from a baseline.

    The margin begins at the greatest rate that the baseline may well have had (Agresti and Coull, at two
    standard errors): of few requests, little is known.
    """
    rate, margins = baseline.rates.get(failure, 0.0), spec.gates.rollback
    if failure == SLOW:
        rate, margins = SLOWEST, spec.gates.hold
    of = baseline.counted.get(failure, baseline.requests)
    n, centre = of + 4, (rate * of + 2) / (of + 4)
    greatest = centre + 2 * sqrt(centre * (1 - centre) / n)
    return min(greatest * margins.get(failure, DEFAULT_MARGIN), 1.0)


def _eat(test: SequentialTest | None, meal: _Meal) -> SequentialTest:
    if test is None:
        test = SequentialTest(at_risk=meal.at_risk, failed=meal.failed) if meal.anew else SequentialTest()
    full = replace(test, at_risk=meal.at_risk, failed=meal.failed)
    at_risk, failed = _since(test.at_risk, meal.at_risk), _since(test.failed, meal.failed)
    if meal.limit is None or min(*at_risk, *failed) < 0:
        return full
    if meal.fixed:
        log_m = update_fixed(test.log_m, max(at_risk[1], failed[1]), failed[1], meal.limit)
    elif min(at_risk) == 0:
        return test
    else:
        log_m = update(test.log_m, at_risk, failed, meal.limit)
    return replace(full, log_m=log_m, peak=max(test.peak, log_e(log_m)))


def _since(before: Pair, now: Pair) -> Pair:
    return now[0] - before[0], now[1] - before[1]
