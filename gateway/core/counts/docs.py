"""Adding up what processes wrote of one run, or of one entry of it.

Names that are not known here are left alone, and those that are missing count as nothing, so that two
versions may serve side by side. What cannot be read at all is a ValueError with a sentence: nothing may be
judged from half of the numbers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.core.booking import STAT_BUCKETS
from gateway.core.counts.book import CASES
from gateway.core.stats.histogram import add, from_pairs
from gateway.core.tally import (
    ArmStage,
    ArmTotals,
    Buckets,
    Case,
    CheckCount,
    Doc,
    Exposure,
    RunTally,
    StageTally,
)
from gateway.core.types import Arm

_FOREIGN = "what a replica has counted cannot be read: it runs another version"
_SUMS = (
    "requests", "fallbacks", "issues", "ratings", "rating_total", "priced", "cost_microusd", "measured",
    "prompt_tokens", "output_tokens",
)  # fmt: skip


def merge_run(docs: Iterable[Mapping[str, Any]]) -> RunTally:
    """Add up what the processes wrote of a run; raises ValueError on a foreign form."""
    try:
        written = list(docs)
        arms = {arm: _totals([doc["arms"].get(arm.value, {}) for doc in written]) for arm in Arm}
        return RunTally(arms, _newest(_case(row) for doc in written for row in doc.get("cases", ())))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(_FOREIGN) from error


def merge_stage(docs: Iterable[Mapping[str, Any]]) -> StageTally:
    """Add up what the processes wrote of one entry; raises ValueError on a foreign form."""
    try:
        written = list(docs)
        return StageTally({arm: _stage([doc["arms"].get(arm.value, {}) for doc in written]) for arm in Arm})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(_FOREIGN) from error


def _totals(parts: Sequence[Doc]) -> ArmTotals:
    exposure = _pairs(parts, "exposure")
    checks = _pairs(parts, "checks")
    outcomes: Counter[str] = Counter()
    for part in parts:
        outcomes.update({str(outcome): int(n) for outcome, n in part.get("outcomes", {}).items()})
    return ArmTotals(
        **{name: sum(_number(part.get(name, 0)) for part in parts) for name in _SUMS},
        outcomes=dict(outcomes),
        durations=_histogram(parts, "durations"),
        first_tokens=_histogram(parts, "first_tokens"),
        exposure={kind: Exposure(*both) for kind, both in exposure.items()},
        checks={name: CheckCount(*both) for name, both in checks.items()},
    )


def _stage(parts: Sequence[Doc]) -> ArmStage:
    n: dict[str, list[int]] = {}
    total: dict[str, list[float]] = {}
    for part in parts:
        for name, rows in part.get("means", {}).items():
            counts = n.setdefault(str(name), [0] * STAT_BUCKETS)
            sums = total.setdefault(str(name), [0.0] * STAT_BUCKETS)
            for at, values, value in rows:
                counts[at] += int(values)
                sums[at] += float(value)
    return ArmStage(
        requests=sum(int(part.get("requests", 0)) for part in parts),
        means={name: Buckets(tuple(n[name]), tuple(total[name])) for name in n},
        durations=_histogram(parts, "durations"),
    )


def _pairs(parts: Sequence[Doc], field: str) -> dict[str, tuple[int, int]]:
    summed: dict[str, tuple[int, int]] = {}
    for part in parts:
        for name, (one, other) in part.get(field, {}).items():
            before = summed.get(str(name), (0, 0))
            summed[str(name)] = before[0] + int(one), before[1] + int(other)
    return summed


def _histogram(parts: Sequence[Doc], field: str) -> dict[int, int]:
    pairs = (part.get(field, ()) for part in parts)
    return add(*(from_pairs((int(index), int(count)) for index, count in each) for each in pairs))


def _number(value: object) -> Any:
    if isinstance(value, int | float):
        return value
    raise TypeError("not a number")


def _case(row: Sequence[Any]) -> Case:
    at, arm, request_id, task, failure = row[:5]
    return Case(float(at), str(arm), str(request_id), str(task), str(failure))


def _newest(cases: Iterable[Case]) -> tuple[Case, ...]:
    kinds: Counter[str] = Counter()
    kept: list[Case] = []
    for case in sorted(cases, key=lambda case: (case.at, case.request_id), reverse=True):
        kinds[case.failure] += 1
        if kinds[case.failure] <= CASES:
            kept.append(case)
    return tuple(kept)
