"""The way out without a store: each process judges its own windows, and drops the candidate where it fails.

While the store is away nobody leads, and what the others count is not known: every breaker is judged by what
callers of this process met. Comparisons between the arms wait for the store.
"""

import logging
from collections.abc import Callable, Mapping

from gateway.control.reader import ReplicaLike
from gateway.control.status import WATCHED
from gateway.core.counts import Counts
from gateway.core.gates.breakers import judge_breakers
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.gates.window import merge
from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm, MigrationState
from gateway.tasks import Clock

logger = logging.getLogger(__name__)

AWAY_S = 3.0
"""How long the store must have been away before processes decide alone."""


class LocalBreaker:
    """Drops the candidate in this process, and wherever its disk is shared, while nobody can lead."""

    def __init__(
        self,
        replica: ReplicaLike,
        counts: Mapping[str, Counts],
        *,
        away_s: Callable[[], float],
        specs: Callable[[], Mapping[str, MigrationSpec]],
        clock: Clock,
    ) -> None:
        """`away_s` tells how long the store has been away; `counts` are timed by `clock.now`."""
        self._replica = replica
        self._counts = counts
        self._away_s = away_s
        self._specs = specs
        self._clock = clock

    async def tick(self) -> None:
        """Judge this process's own windows, if the store has been away for long enough."""
        if self._away_s() < AWAY_S:
            return
        for name, counts in list(self._counts.items()):
            state = self._replica.snapshot.state(name)
            spec = state.spec or self._specs().get(name)
            failed = self._failed(counts, state, spec) if spec is not None else None
            if failed is not None:
                reason = f"{failed.name}: {failed.reason}"
                logger.warning("killed locally, the store is away", extra={"migration": name, "gate": reason})
                await self._replica.kill_locally(name, "local breaker", reason)

    def _failed(self, counts: Counts, state: MigrationState, spec: MigrationSpec) -> GateResult | None:
        """Return the first breaker that is over its limit here."""
        if state.phase not in WATCHED:
            return None
        rules = spec.gates.breaker
        own = merge([counts.window.to_doc(self._clock.now(), rules)], state.run)
        cost = counts.mean_cost(Arm.control, state.run)
        results = judge_breakers(rules, own, control_cost_microusd=cost)
        return next((result for result in results if result.verdict is Verdict.failed), None)
