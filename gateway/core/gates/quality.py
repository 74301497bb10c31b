"""What the configured checks say of the answers: one gate that names the check, its task and both rates.

Three limits, each an e-process of the run that may stop at any look and shares α with the other comparisons:

| limit | over which the candidate must not be | judged |
|---|---|---|
| `max_ratio` of a check | failing units, as a multiple of control's | while the arms are compared |
| `min_pass` of a check | failing units at risk | always |
| `max_regression` of the stage | the same, all checks together | always |

The tests count units that fail for the first time, since a busy unit's answers stand or fall together; the
rates that people read are shares of answers. Where control is over an absolute limit as well, and the
candidate not far worse, the check or the provider is to blame: inconclusive, and it says so. Without checks
there is no such gate.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.core.evidence import REGRESSION, SequentialTest, answers, as_bad, stop_at
from gateway.core.gates.comparisons import row_of
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import SHARED, GateResult, MetricRow, Verdict
from gateway.core.spec import Check
from gateway.core.stats.eprocess import log_e
from gateway.core.tally import CheckCount
from gateway.core.types import Arm


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit of one check, or of all of them."""

    verdict: Verdict
    reason: str
    row: MetricRow
    shared: bool = False
    """Control is over the limit as well."""

    @property
    def rank(self) -> int:
        """Which of several speaks for all: a check that nobody has met yet comes last."""
        if self.shared:
            return 1
        return {Verdict.failed: 0, Verdict.passed: 2}.get(self.verdict, 3)


def judge_quality(picture: Picture) -> Iterator[GateResult]:
    """Yield `quality` where there are checks."""
    found = findings(picture)
    if not found:
        return
    worst = min(found, key=lambda one: (one.rank, -one.row.evidence))
    answers = sum(each.passed + each.failed for each in picture.run.arms[Arm.candidate].checks.values())
    evidence = {
        "limits": len(found),
        "failing": sum(one.verdict is Verdict.failed for one in found),
        "answers": answers,
        "log_e": max(log_e(_test(picture, one.row.name).log_m) for one in found),
        "stop_at": stop_at(picture.spec),
    }
    if worst.shared:
        evidence[SHARED] = 1
    yield GateResult("quality", worst.verdict, worst.reason, evidence)


def judge_checks(picture: Picture) -> Iterator[MetricRow]:
    """Yield a row for each limit."""
    yield from (one.row for one in findings(picture))


def findings(picture: Picture) -> list[Finding]:
    """Return what is said of each limit that applies."""
    found = []
    for check in picture.spec.checks:
        if check.max_ratio is not None and picture.compared:
            found.append(_against_control(picture, check, check.max_ratio))
        if check.min_pass is not None:
            limit = 1 - check.min_pass
            found.append(_against_limit(picture, f"min:{check.name}", (check.name,), limit))
    regression = picture.current_stage.max_regression
    if picture.spec.checks and regression is not None:
        names = tuple(check.name for check in picture.spec.checks)
        found.append(_against_limit(picture, REGRESSION, names, regression))
    return found


def _against_control(picture: Picture, check: Check, margin: float) -> Finding:
    name = f"check:{check.name}"
    row = row_of(name, _test(picture, name), margin, stop_at(picture.spec))
    if row.verdict is Verdict.inconclusive:
        return Finding(
            row.verdict, f"too little data: {_subject(picture, (check.name,))} has not met both arms", row
        )
    rates = _rates(picture, (check.name,))
    beyond = "fails for" if row.verdict is Verdict.failed else "not shown to fail for"
    times = f"{beyond} more than {margin:g} times as many units as on control"
    return Finding(row.verdict, f"{_subject(picture, (check.name,))}: {rates}; {times}", row)


def _against_limit(picture: Picture, test: str, names: tuple[str, ...], limit: float) -> Finding:
    row = _limit_row(picture, test, names, limit)
    subject, rates = _subject(picture, names), _rates(picture, names)
    over = row.verdict is Verdict.failed or (row.candidate or 0.0) > limit
    if row.verdict is Verdict.inconclusive:
        return Finding(row.verdict, f"too little data: {subject} has no answer of the candidate's yet", row)
    if over and as_bad(picture.run, names, limit):
        reason = f"{subject}: {rates}; control is below {1 - limit:.1%} as well"
        return Finding(Verdict.inconclusive, reason, replace(row, verdict=Verdict.inconclusive), shared=True)
    if row.verdict is Verdict.passed:
        return Finding(row.verdict, f"{subject}: {rates}; not shown to be below {1 - limit:.1%}", row)
    return Finding(Verdict.failed, f"{subject}: {rates}; below {1 - limit:.1%}", row)


def _limit_row(picture: Picture, test: str, names: tuple[str, ...], limit: float) -> MetricRow:
    """Return the row of a test against a fixed share, by answers; its margin is the limit as a multiple of
    what control's share is, or 1 where control has none."""
    tested = _test(picture, test)
    row = row_of(test, tested, 1.0, stop_at(picture.spec))
    ours, theirs = (_count(picture, arm, names) for arm in (Arm.candidate, Arm.control))
    candidate = ours.failed / _of(ours) if _of(ours) else None
    control = theirs.failed / _of(theirs) if _of(theirs) else None
    verdict = Verdict.passed if tested.at_risk[1] else Verdict.inconclusive
    return replace(
        row,
        control=control,
        candidate=candidate,
        ratio=candidate / control if candidate is not None and control else None,
        margin=limit / control if control else 1.0,
        n_control=_of(theirs),
        n_candidate=_of(ours),
        verdict=Verdict.failed if row.verdict is Verdict.failed else verdict,
    )


def _subject(picture: Picture, names: tuple[str, ...]) -> str:
    """Return which check it is, and of which task."""
    if len(names) > 1 or not names:
        return "all checks together"
    task = next(check.task for check in picture.spec.checks if check.name == names[0])
    return f"check {names[0]!r} of task {task!r}" if task else f"check {names[0]!r}"


def _rates(picture: Picture, names: tuple[str, ...]) -> str:
    candidate, control = (_count(picture, arm, names) for arm in (Arm.candidate, Arm.control))
    return f"candidate passes {_passing(candidate)}, control {_passing(control)}"


def _passing(counted: CheckCount) -> str:
    return f"{counted.passed / _of(counted):.1%} of {_of(counted)}" if _of(counted) else "nothing yet"


def _count(picture: Picture, arm: Arm, names: tuple[str, ...]) -> CheckCount:
    return answers(picture.run, arm, names)


def _of(counted: CheckCount) -> int:
    return counted.passed + counted.failed


def _test(picture: Picture, name: str) -> SequentialTest:
    return picture.evidence.tests.get(name, SequentialTest())
