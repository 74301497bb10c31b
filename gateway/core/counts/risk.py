"""Who could fail for the first time, and who did: what the sequential tests eat.

Of each kind of failure and in each second, every enrolled unit that was active counts once as at risk, unless
it had failed before, and as failed once in a run: for whichever process claims it first. Who fails in a
second was at risk in it. A unit that failed elsewhere is at risk here until it fails here too, in both arms
alike.

Exposure and failures of a second are booked together, once the store has said whose the claims are: `due`
says what to claim and `settle` takes the answers. Until it is settled a second is asked for again with those
that came after it, so that a store that was away, or an answer that was lost, changes nothing. What waits is
numbers, and bounded: while too many claims wait, seconds are dropped whole. A kind of which very many units
have failed here is not followed any further; its test has long been decided, and to forget some of them would
be to count them twice.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.booking import Place
from gateway.core.types import Arm

KNOWN = 100_000
"""Units of a kind that are known to have failed; with more, nothing of that kind is counted any more."""
WAITING = 2_000
"""Claims that wait for the store; with more, a second is not booked."""

Claim = tuple[str, str]
"""(kind of failure, unit): once in a run, in the whole fleet."""


@dataclass(frozen=True, slots=True)
class Claimant:
    """Where a claim is booked once it is won."""

    place: Place
    at: float


@dataclass(slots=True)
class _Seconds:
    """Seconds that are over, and not booked yet."""

    at_risk: Counter[tuple[Arm, str]] = field(default_factory=Counter)
    claims: dict[Claim, Claimant] = field(default_factory=dict)

    def add(self, other: "_Seconds") -> None:
        self.at_risk.update(other.at_risk)
        self.claims.update(other.claims)


class Risk:
    """First failures and exposure of one run, as one process has seen them. Times are of one clock."""

    def __init__(self) -> None:
        self.at_risk: Counter[tuple[Arm, str]] = Counter()
        """Booked unit-seconds, by arm and kind."""
        self.failed: Counter[tuple[Arm, str]] = Counter()
        """Booked units that failed, by arm and kind."""
        self._second: int | None = None
        self._active: dict[tuple[Arm, Sequence[str]], set[str]] = {}
        """Who was active in the present second, by the kinds of failure that could have happened to them."""
        self._failing: dict[Claim, Claimant] = {}
        self._known: dict[str, set[str]] = {}
        self._over = _Seconds()
        self._asked: _Seconds | None = None

    def active(self, arm: Arm, unit_key: str, kinds: tuple[str, ...], now: float) -> None:
        """Note that any of these could have happened to a unit."""
        self._turn(now)
        units = self._active.get((arm, kinds))
        if units is None:
            units = self._active[arm, kinds] = set()
        units.add(unit_key)

    def failing(self, kind: str, unit_key: str, place: Place, now: float) -> bool:
        """Note that it did happen; tell whether it is the first time here."""
        self._turn(now)
        claim = kind, unit_key
        if claim in self._failing or unit_key in self._known.get(kind, ()):
            return False
        self._failing[claim] = Claimant(place, now)
        return True

    def due(self, now: float) -> list[Claim]:
        """Return what to claim of all seconds that are over and not settled."""
        self._turn(now)
        asked = self._asked or _Seconds()
        asked.add(self._over)
        self._over, self._asked = _Seconds(), asked
        return list(asked.claims)

    def settle(self, answers: Iterable[bool]) -> dict[Claim, Claimant]:
        """Book what was `due`; returns the claims that were won. Without anything due it does nothing."""
        asked, self._asked = self._asked, None
        if asked is None:
            return {}
        won = {claim: asked.claims[claim] for claim, ours in zip(asked.claims, answers, strict=True) if ours}
        self.at_risk.update(asked.at_risk)
        self.failed.update((claimant.place.arm, kind) for (kind, _), claimant in won.items())
        return won

    def _turn(self, now: float) -> None:
        """Close the present second if it is over; a clock that steps back ends it too."""
        second = int(now)
        if second == self._second:
            return
        waiting = len(self._over.claims) + len(self._asked.claims if self._asked else ())
        if waiting < WAITING:
            self._close()
        self._second = second
        self._active, self._failing = {}, {}

    def _close(self) -> None:
        groups: dict[tuple[Arm, str], list[set[str]]] = {}
        for (arm, kinds), units in self._active.items():
            for kind in kinds:
                groups.setdefault((arm, kind), []).append(units)
        for (arm, kind), sets in groups.items():
            known = self._known.setdefault(kind, set())
            active = sets[0] if len(sets) == 1 else set[str]().union(*sets)
            if len(known) < KNOWN:
                self._over.at_risk[arm, kind] += len(active) - len(active & known)
        for (kind, unit_key), claimant in self._failing.items():
            known = self._known.setdefault(kind, set())
            if len(known) < KNOWN:
                known.add(unit_key)
                self._over.claims[kind, unit_key] = claimant
