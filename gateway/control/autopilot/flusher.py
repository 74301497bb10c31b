"""Writes down, about once a second, what this process has counted."""

from collections.abc import Callable, Mapping

from gateway.control.reader import ReplicaLike
from gateway.control.status import WATCHED
from gateway.core.gates.window import Window
from gateway.core.spec import MigrationSpec
from gateway.errors import StoreUnavailable
from gateway.store.ports import Fleet
from gateway.tasks import Clock

COUNTS_TTL_S = 15.0
"""How long a process's counts outlive it."""


class CountsFlusher:
    """Writes down what this process's windows hold, about once a second."""

    def __init__(
        self,
        fleet: Fleet,
        replica: ReplicaLike,
        windows: Mapping[str, Window],
        *,
        replica_id: str,
        specs: Callable[[], Mapping[str, MigrationSpec]],
        clock: Clock,
        on_error: Callable[[str], None],
    ) -> None:
        """`windows` are the data path's, by migration; they are timed by `clock.now`."""
        self._fleet = fleet
        self._replica = replica
        self._windows = windows
        self._replica_id = replica_id
        self._specs = specs
        self._clock = clock
        self._on_error = on_error
        self._failing_since: float | None = None

    @property
    def away_s(self) -> float:
        """How long the store has been away; 0 if it is not, as far as this process knows."""
        return 0.0 if self._failing_since is None else self._clock.monotonic() - self._failing_since

    async def tick(self) -> None:
        """Write the counts of every migration whose breakers are armed; what fails is written next time."""
        for name, window in list(self._windows.items()):
            state = self._replica.snapshot.state(name)
            spec = state.spec or self._specs().get(name)
            if state.phase not in WATCHED or spec is None:
                continue
            doc = window.to_doc(self._clock.now(), spec.gates.breaker)
            try:
                await self._fleet.put_counts(name, self._replica_id, doc, COUNTS_TTL_S)
            except StoreUnavailable:
                self._on_error("put_counts")
                if self._failing_since is None:
                    self._failing_since = self._clock.monotonic()
                return
            self._failing_since = None
