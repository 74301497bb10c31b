"""Users, their traffic and their failures, drawn at random: what the simulations of the statistics look at.

Users are heavy-tailed (a few make most of the requests) and uneven (each has an error rate of their own), as
sticky assignment has it: the unit is the user, not the request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from gateway.core.gates.verdict import FAILURES
from gateway.core.spec import Gates
from gateway.core.stats import eprocess

STAGES = (0.01, 0.05, 0.25, 0.50)
LOOKS = 60
"""Per stage."""
GATES = Gates()
LIMIT = log(len(GATES.rollback) / GATES.alpha)
"""ln E at which one of the comparisons rolls back."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class People:
    """The users of one run."""

    place: Floats
    """0-1 on the assignment line."""
    requests: Floats
    """Expected requests in one look."""
    rates: dict[str, Floats]
    """Failure → each user's own rate."""


def heavy_tailed(rng: np.random.Generator, users: int, per_look: float, base: dict[str, float]) -> People:
    """Return users whose traffic falls off like Zipf's and whose rates scatter around `base`."""
    share = 1 / np.arange(1, users + 1) ** 1.1
    return People(
        rng.random(users),
        rng.permutation(share / share.sum() * per_look),
        {name: rng.beta(0.5, 0.5 * (1 - rate) / rate, users) for name, rate in base.items()},
    )


def ramp(
    rng: np.random.Generator, people: People, on_look: Callable[[Bools, Bools, dict[str, Bools]], bool]
) -> bool:
    """Let people through all stages; `on_look` gets who is in the candidate's arm, who is in control's, and
    who failed at what (`active` among them). Return whether it ever stopped the ramp."""
    for weight in STAGES:
        candidate = people.place < weight
        control = (people.place >= 0.5) & (people.place < 0.5 + weight)
        for _ in range(LOOKS):
            made = rng.poisson(people.requests)
            failed = {name: rng.binomial(made, rates) > 0 for name, rates in people.rates.items()}
            if on_look(candidate & (made > 0), control & (made > 0), failed):
                return True
    return False


class Comparisons:
    """All rollback comparisons of one run, fed with first failures per user."""

    def __init__(self, users: int) -> None:
        self.log_m: dict[str, Sequence[float]] = dict.fromkeys(FAILURES, ())
        self._before = {name: np.zeros(users, dtype=bool) for name in FAILURES}
        self.peak = 0.0

    def look(self, candidate: Bools, control: Bools, failed: dict[str, Bools]) -> bool:
        """Take one look; tell whether any comparison rolls back.

        What fails before its first byte is the candidate's `fallback` and control's `error`.
        """
        mine = {**failed, "fallback": failed["early"], "error": failed["error"]}
        theirs = {
            **failed,
            "fallback": failed["early"] | failed["error"],
            "error": failed["early"] | failed["error"],
        }
        for name in FAILURES:
            before = self._before[name]
            at_risk_t, at_risk_c = candidate & ~before, control & ~before
            first_t, first_c = at_risk_t & mine[name], at_risk_c & theirs[name]
            before |= first_t | first_c
            self.log_m[name] = eprocess.update(
                self.log_m[name],
                (int(at_risk_c.sum()), int(at_risk_t.sum())),
                (int(first_c.sum()), int(first_t.sum())),
                GATES.rollback[name],
            )
            self.peak = max(self.peak, eprocess.log_e(self.log_m[name]))
        return self.peak >= LIMIT
