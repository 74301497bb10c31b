"""The way out without a store: each process judges its own window, and drops the candidate where it fails.

While the store is away nobody leads.
"""

import logging
from collections.abc import Callable, Mapping

from gateway.control.reader import ReplicaLike
from gateway.control.status import WATCHED
from gateway.core.gates.breakers import judge_breakers
from gateway.core.gates.verdict import Verdict
from gateway.core.gates.window import Window, merge
from gateway.core.spec import MigrationSpec
from gateway.tasks import Clock

logger = logging.getLogger(__name__)

AWAY_S = 3.0
"""How long the store must have been away before processes decide alone."""


class LocalBreaker:
    """Drops the candidate in this process, and wherever its disk is shared, while nobody can lead."""

    def __init__(
        self,
        replica: ReplicaLike,
        windows: Mapping[str, Window],
        *,
        away_s: Callable[[], float],
        specs: Callable[[], Mapping[str, MigrationSpec]],
        clock: Clock,
    ) -> None:
        """`away_s` tells how long the store has been away."""
        self._replica = replica
        self._windows = windows
        self._away_s = away_s
        self._specs = specs
        self._clock = clock

    async def tick(self) -> None:
        """Judge this process's own windows, if the store has been away for long enough."""
        if self._away_s() < AWAY_S:
            return
        for name, window in list(self._windows.items()):
            state = self._replica.snapshot.state(name)
            spec = state.spec or self._specs().get(name)
            if state.phase not in WATCHED or spec is None:
                continue
            rules = spec.gates.breaker
            own = merge([window.to_doc(self._clock.now(), rules)], state.run)
            for result in judge_breakers(rules, own):
                if result.verdict is Verdict.failed:
                    reason = f"{result.name}: {result.reason}"
                    logger.warning(
                        "killed locally, the store is away", extra={"migration": name, "gate": reason}
                    )
                    await self._replica.kill_locally(name, "local breaker", reason)
                    break
