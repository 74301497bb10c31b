"""What the candidate's and control's callers met lately: what breakers judge, counted without any I/O.

Each serving process books the end of every governed request in a `Window`, to the arm that was assigned. Once
a second it writes down what its window holds (`to_doc`: absolute numbers per length of window in use, so that
writing twice changes nothing); whoever leads adds up all processes (`merge`) and judges (`judge_breakers`).

Rules: a rescued request is outcome `ok` and a fallback. What says nothing of a model (`Booking.telling`) is
not booked. A window belongs to one run: what began under an earlier run is dropped, or the failures that
ended one run would end the next.

A window of an hour is looked at every second, so what it holds is kept as running totals: a second that is
over is added to them once, and taken away again once it is too old. A second is kept as plain counters,
bounded in units; what is written names each number only where there is one.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gateway.core.booking import Booking, Place
from gateway.core.gates.verdict import BREAKERS
from gateway.core.spec import BreakerRule
from gateway.core.stats.histogram import Histogram, add, bin_of, from_pairs, to_pairs
from gateway.core.types import ERRORS, Arm, Outcome

BUCKET_S = 1.0
"""Width of one bucket; a window never reaches back further than its length, and at most this much less."""
STEP_S = 10
"""A clock that is behind by more has been set back; by less, somebody was late."""
JUDGED = BREAKERS
"""The breakers that are judged, in this order."""
UNITS_PER_BUCKET = 64
"""Distinct units remembered per bucket and arm, which bounds the memory."""
UNITS_WRITTEN = 64
"""Distinct units written down per window and arm, or as many as a rule asks for if that is more."""
FAILING_WRITTEN = 8
"""Distinct units that failed, written down per window and arm: enough to see that it is not one alone."""
_TIMED = "latency_p95_s"
"""The rule whose window is written with its durations."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one arm's callers met within a window."""

    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    units: frozenset[str] = frozenset()
    """Distinct units, keyed; where there are many, enough of them to see that a minimum is met."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Outcome → requests."""
    durations: Histogram = field(default_factory=dict)
    """Seconds from head to last byte; empty where no rule asks for them."""
    priced: int = 0
    cost_microusd: int = 0
    """Of the priced requests."""
    issues: int = 0
    """Units that complained."""
    failing: frozenset[str] = frozenset()
    """Some of the units that met an error or a fallback, keyed; empty where nobody said."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.requests + other.requests,
            self.errors + other.errors,
            self.fallbacks + other.fallbacks,
            self.units | other.units,
            Counter(self.outcomes) + Counter(other.outcomes),
            add(self.durations, other.durations),
            self.priced + other.priced,
            self.cost_microusd + other.cost_microusd,
            self.issues + other.issues,
            self.failing | other.failing,
        )


Totals = Mapping[Arm, Tally]
NOTHING: Totals = {arm: Tally() for arm in Arm}


class _Bucket:
    """What one arm's callers met in one second, or in many of them."""

    __slots__ = (
        "cost_microusd",
        "durations",
        "failing",
        "fallbacks",
        "issues",
        "outcomes",
        "priced",
        "units",
    )

    def __init__(self) -> None:
        self.outcomes: dict[Outcome, int] = {}
        self.fallbacks = 0
        self.units: dict[str, int] = {}
        """Unit → in how many seconds it was there."""
        self.failing: dict[str, int] = {}
        """The same, of those that failed."""
        self.durations: dict[int, int] = {}
        self.priced = 0
        self.cost_microusd = 0
        self.issues = 0

    def merge(self, other: "_Bucket", sign: int = 1) -> None:
        """Add another one, or take it away again (-1)."""
        self.count(other, sign)
        _merge(self.units, other.units, sign)
        _merge(self.failing, other.failing, sign)

    def count(self, other: "_Bucket", sign: int = 1) -> None:
        """The same, but for the units."""
        self.fallbacks += sign * other.fallbacks
        self.priced += sign * other.priced
        self.cost_microusd += sign * other.cost_microusd
        self.issues += sign * other.issues
        _merge(self.outcomes, other.outcomes, sign)
        _merge(self.durations, other.durations, sign)

    @property
    def tally(self) -> Tally:
        requests = sum(self.outcomes.values())
        errors = sum(count for outcome, count in self.outcomes.items() if outcome in ERRORS)
        outcomes = {outcome.value: count for outcome, count in self.outcomes.items()}
        return Tally(
            requests, errors, self.fallbacks, frozenset(self.units), outcomes, dict(self.durations),
            self.priced, self.cost_microusd, self.issues, frozenset(self.failing),
        )  # fmt: skip


_Second = tuple[int, dict[Arm, _Bucket]]


class _Running:
    """What is held by the seconds that are over and not older than one length of window."""

    def __init__(self, ticks: int) -> None:
        self._ticks = ticks
        self._held: deque[_Second] = deque()
        self.sums = {arm: _Bucket() for arm in Arm}

    def take(self, second: _Second) -> None:
        """Add a second that is over; they come in order."""
        self._held.append(second)
        self._merge(second, 1)

    def drop(self, now: int) -> None:
        """Take away what is too old."""
        while self._held and self._held[0][0] <= now - self._ticks:
            self._merge(self._held.popleft(), -1)

    def _merge(self, second: _Second, sign: int) -> None:
        for arm, bucket in second[1].items():
            self.sums[arm].merge(bucket, sign)


class Window:
    """What one process saw of one migration's run in the last `span_s` seconds.

    `now` is seconds of one clock, the same in every call. Where it steps back far, what was seen moves with
    it: else everything would fall into the last bucket until the clock has caught up. By little, it goes on.
    """

    def __init__(self, *, span_s: float = 3600.0) -> None:
        self.run = 0
        self._span = _ticks(span_s)
        self._seconds: deque[_Second] = deque()
        self._running: dict[int, _Running] = {}
        self._looked_at = 0
        """The second that the running totals have been brought up to."""

    def add(self, booking: Booking, now: float) -> None:
        """Book the end of a request to its assigned arm."""
        if not booking.telling or not self._enter(booking.place.run):
            return
        if self._seconds and self._seconds[-1][0] - _ticks(now) > STEP_S:
            self._move(_ticks(now) - self._seconds[-1][0])
        bucket = self._bucket(booking.place.arm, now)
        outcome, unit_key = booking.outcome, booking.place.unit_key
        bucket.outcomes[outcome] = bucket.outcomes.get(outcome, 0) + 1
        bucket.fallbacks += booking.fallback
        index = bin_of(booking.duration_s)
        bucket.durations[index] = bucket.durations.get(index, 0) + 1
        if booking.cost_microusd is not None:
            bucket.priced += 1
            bucket.cost_microusd += booking.cost_microusd
        if unit_key and len(bucket.units) < UNITS_PER_BUCKET:
            bucket.units[unit_key] = 1
        failed = booking.fallback or outcome in ERRORS
        if unit_key and failed and len(bucket.failing) < FAILING_WRITTEN:
            bucket.failing[unit_key] = 1

    def complained(self, place: Place, now: float) -> None:
        """Book that a unit complained, for the first time."""
        if self._enter(place.run):
            self._bucket(place.arm, now).issues += 1

    def totals(self, now: float, window_s: float) -> Totals:
        """Return what the last `window_s` seconds hold."""
        return {arm: bucket.tally for arm, bucket in self._counted(_ticks(now), _ticks(window_s)).items()}

    def to_doc(self, now: float, rules: Mapping[str, BreakerRule]) -> dict[str, Any]:
        """Return what the windows of `rules` hold, as plain data that another process can add up."""
        asked: dict[float, tuple[int, bool]] = {}
        for name, rule in judged(rules).items():
            units, timed = asked.get(rule.window_s, (UNITS_WRITTEN, False))
            asked[rule.window_s] = max(units, rule.min_units), timed or name == _TIMED
        self._look(_ticks(now), {_ticks(window_s) for window_s in asked})
        windows: dict[str, dict[str, Any]] = {}
        for window_s, (units, timed) in asked.items():
            written = windows[_label(window_s)] = {}
            for arm in Arm:
                parts = self._parts(_ticks(now), _ticks(window_s), arm)
                written[arm.value] = _plain(parts, units, timed=timed)
        return {"run": self.run, "windows": windows}

    def _enter(self, run: int) -> bool:
        """Tell whether something of this run is booked; a newer run begins with nothing."""
        if run > self.run:
            self.run = run
            self._seconds.clear()
            self._running.clear()
        return run == self.run

    def _bucket(self, arm: Arm, now: float) -> _Bucket:
        tick, seconds = _ticks(now), self._seconds
        if not seconds or seconds[-1][0] < tick:
            for running in self._running.values() if seconds else ():
                running.take(seconds[-1])
                running.drop(tick)
            self._looked_at = max(self._looked_at, tick)
            seconds.append((tick, {}))
            while seconds[0][0] <= tick - self._span:
                seconds.popleft()
        arms = seconds[-1][1]
        bucket = arms.get(arm)
        if bucket is None:
            bucket = arms[arm] = _Bucket()
        return bucket

    def _move(self, ticks: int) -> None:
        """Take what was seen for having been seen at other times; totals are made anew when asked for."""
        self._seconds = deque((tick + ticks, arms) for tick, arms in self._seconds)
        self._running, self._looked_at = {}, self._looked_at + ticks

    def _look(self, now: int, lengths: set[int]) -> None:
        """Bring the running totals of these lengths up to now; others are not asked for any more."""
        if now < self._looked_at or self._running.keys() != lengths:
            self._running = {length: _Running(length) for length in lengths}
            for second in islice(self._seconds, max(len(self._seconds) - 1, 0)):
                for running in self._running.values():
                    running.take(second)
        for running in self._running.values():
            running.drop(now)
        self._looked_at = now

    def _parts(self, now: int, length: int, arm: Arm) -> list[_Bucket]:
        """Return the running total, and what the last second has so far."""
        over = self._running[length].sums[arm]
        tick, arms = self._seconds[-1] if self._seconds else (0, {})
        return [over, arms[arm]] if arm in arms and tick > now - length else [over]

    def _counted(self, now: int, length: int) -> dict[Arm, _Bucket]:
        sums = {arm: _Bucket() for arm in Arm}
        for tick, arms in reversed(self._seconds):
            if tick <= now - length:
                break
            for arm, bucket in arms.items():
                sums[arm].merge(bucket)
        return sums


def judged(rules: Mapping[str, BreakerRule]) -> dict[str, BreakerRule]:
    """Return the rules that are judged by these windows, in a fixed order."""
    return {name: rules[name] for name in JUDGED if name in rules}


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
        {str(outcome): int(count) for outcome, count in counted.get("outcomes", {}).items()},
        from_pairs((int(index), int(count)) for index, count in counted.get("durations", ())),
        int(counted.get("priced", 0)),
        int(counted.get("cost_microusd", 0)),
        int(counted.get("issues", 0)),
        frozenset(counted.get("failing", ())),
    )


def _plain(parts: Sequence[_Bucket], units: int, *, timed: bool) -> dict[str, Any]:
    """Return what the parts hold together, as plain data; at most so many units."""
    whole, named = _Bucket(), dict[str, None]()
    for part in parts:
        whole.count(part)
        for unit in part.units:
            if len(named) >= units:
                break
            named[unit] = None
    failing = dict.fromkeys(islice((unit for part in parts for unit in part.failing), FAILING_WRITTEN))
    tally = whole.tally
    always = {
        "requests": tally.requests,
        "errors": tally.errors,
        "fallbacks": tally.fallbacks,
        "units": list(named),
    }
    if_any = {
        "outcomes": tally.outcomes,
        "durations": to_pairs(tally.durations) if timed else [],
        "priced": tally.priced,
        "cost_microusd": tally.cost_microusd,
        "issues": tally.issues,
        "failing": list(failing),
    }
    return always | {name: value for name, value in if_any.items() if value}


def _merge(into: dict[Any, int], other: Mapping[Any, int], sign: int) -> None:
    for key, count in other.items():
        left = into.get(key, 0) + sign * count
        if left:
            into[key] = left
        else:
            into.pop(key, None)


def _ticks(seconds: float) -> int:
    return int(seconds // BUCKET_S)


def _label(window_s: float) -> str:
    return repr(float(window_s))
