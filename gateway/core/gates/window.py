"""What stops a rollout: absolute limits on what the candidate's callers met lately, judged without any I/O.

Each serving process books the end of every governed request in a `Window`, to the arm that was assigned. Once
a second it writes down what its window holds (`to_doc`: absolute numbers per length of window in use, so that
writing twice changes nothing); whoever leads adds up all processes (`merge`) and judges (`judge_breakers`).

Rules: a rescued request is outcome `ok` and a fallback. What its caller spoilt (`client_error`) or left
(`disconnected`) says nothing of a model and is not booked. A window belongs to one run: what began under an
earlier run is dropped, or the failures that ended one run would end the next. Too little data is
inconclusive, never success and never failure. While control is over the same limit the trouble is the
provider's, and moving callers there would not help them.

Of the configured breakers `error_rate` and `fallback_rate` are judged here; the others are not listed.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.core.spec import BreakerRule
from gateway.core.types import ERRORS, Arm, Outcome

BUCKET_S = 1.0
"""Width of one bucket; a window never reaches back further than its length, and at most this much less."""
JUDGED = ("error_rate", "fallback_rate")
"""The breakers that are judged, in this order."""
UNITS_PER_BUCKET = 256
"""Distinct units remembered per bucket and arm, which bounds the memory."""
UNITS_WRITTEN = 64
"""Distinct units written down per window and arm, or as many as a rule asks for if that is more."""

_NOT_BOOKED = frozenset({Outcome.client_error, Outcome.disconnected})


@dataclass(frozen=True, slots=True)
class Tally:
    """What one arm's callers met within a window."""

    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    units: frozenset[str] = frozenset()
    """Distinct units, keyed; where there are many, enough of them to see that a minimum is met."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.requests + other.requests,
            self.errors + other.errors,
            self.fallbacks + other.fallbacks,
            self.units | other.units,
        )


Totals = Mapping[Arm, Tally]
NOTHING: Totals = {arm: Tally() for arm in Arm}


class _Bucket:
    """One second of one arm."""

    __slots__ = ("errors", "fallbacks", "requests", "units")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.fallbacks = 0
        self.units: set[str] = set()


class Window:
    """What one process saw of one migration's run in the last `span_s` seconds.

    `now` is seconds of one clock, the same in every call; where it steps back, the last bucket goes on.
    """

    def __init__(self, *, span_s: float = 3600.0) -> None:
        self.run = 0
        self._span = _ticks(span_s)
        self._buckets: deque[tuple[int, dict[Arm, _Bucket]]] = deque()

    def add(
        self, arm: Arm, outcome: Outcome, fallback: bool, unit_key: str | None, now: float, *, run: int
    ) -> None:  # fmt: skip
        """Book the end of a request to its assigned arm; `run` is the one in which the request began."""
        if run < self.run or outcome is Outcome.client_error or (outcome in _NOT_BOOKED and not fallback):
            return
        if run > self.run:
            self.run = run
            self._buckets.clear()
        bucket = self._bucket(arm, _ticks(now))
        bucket.requests += 1
        bucket.errors += outcome in ERRORS
        bucket.fallbacks += fallback
        if unit_key and len(bucket.units) < UNITS_PER_BUCKET:
            bucket.units.add(unit_key)

    def totals(self, now: float, window_s: float) -> Totals:
        """Return what the last `window_s` seconds hold."""
        requests, errors, fallbacks = (dict.fromkeys(Arm, 0) for _ in range(3))
        units: dict[Arm, set[str]] = {arm: set() for arm in Arm}
        oldest = _ticks(now) - _ticks(window_s) + 1
        for tick, arms in reversed(self._buckets):
            if tick < oldest:
                break
            for arm, bucket in arms.items():
                requests[arm] += bucket.requests
                errors[arm] += bucket.errors
                fallbacks[arm] += bucket.fallbacks
                units[arm] |= bucket.units
        return {arm: Tally(requests[arm], errors[arm], fallbacks[arm], frozenset(units[arm])) for arm in Arm}

    def to_doc(self, now: float, rules: Mapping[str, BreakerRule]) -> dict[str, Any]:
        """Return what the windows of `rules` hold, as plain data that another process can add up."""
        asked: dict[float, int] = {}
        for rule in judged(rules).values():
            asked[rule.window_s] = max(asked.get(rule.window_s, 0), rule.min_units)
        windows = {
            _label(window_s): {
                arm.value: {
                    "requests": tally.requests,
                    "errors": tally.errors,
                    "fallbacks": tally.fallbacks,
                    "units": sorted(tally.units)[: max(units, UNITS_WRITTEN)],
                }
                for arm, tally in self.totals(now, window_s).items()
            }
            for window_s, units in asked.items()
        }
        return {"run": self.run, "windows": windows}

    def _bucket(self, arm: Arm, tick: int) -> _Bucket:
        if not self._buckets or self._buckets[-1][0] < tick:
            self._buckets.append((tick, {}))
            while self._buckets[0][0] <= tick - self._span:
                self._buckets.popleft()
        return self._buckets[-1][1].setdefault(arm, _Bucket())


def merge(docs: Iterable[Mapping[str, Any]], run: int) -> dict[float, Totals]:
    """Add up what the processes wrote of `run`, by length of window; raises ValueError on a foreign form."""
    merged: dict[float, dict[Arm, Tally]] = {}
    try:
        for doc in docs:
            for label, arms in doc["windows"].items() if doc["run"] == run else ():
                totals = merged.setdefault(float(label), dict(NOTHING))
                for arm, counted in arms.items():
                    totals[Arm(arm)] += _tally(counted)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError("the counts of a replica cannot be read: it runs another version") from error
    return dict(merged)


def _tally(counted: Mapping[str, Any]) -> Tally:
    return Tally(
        int(counted["requests"]),
        int(counted["errors"]),
        int(counted["fallbacks"]),
        frozenset(counted["units"]),
    )


def _ticks(seconds: float) -> int:
    return int(seconds // BUCKET_S)


def _label(window_s: float) -> str:
    return repr(float(window_s))


def judged(rules: Mapping[str, BreakerRule]) -> dict[str, BreakerRule]:
    """Return the rules that are judged by these windows, in a fixed order."""
    return {name: rules[name] for name in JUDGED if name in rules}
