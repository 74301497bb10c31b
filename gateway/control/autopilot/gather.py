"""Reads what is stored of a migration into a picture: the same for the leader's tick and for whoever asks.

Whether counts are fresh is told by this process's own clock alone: a process that serves numbers what it
writes (`flush`), with or without traffic, and one whose number has not moved for `gates.fresh_s` is stale,
whatever the clocks of both say. One that sends heartbeats but has no counts is stale as well, unless it has
only just begun.

Counts that cannot be read (another version wrote them) make a migration unmeasured: nothing is judged from
half of the numbers. Breakers go by the windows alone, so tallies that cannot be read, which stay in the store
for weeks, do not disarm them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.core.counts import merge_run, merge_stage
from gateway.core.evidence import Evidence
from gateway.core.gates.picture import Picture
from gateway.core.gates.window import merge
from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm, MigrationState, from_json
from gateway.store.ports import EVIDENCE as EVIDENCE
from gateway.store.ports import ReplicaReport, Store
from gateway.tasks import Clock

logger = logging.getLogger(__name__)


class Gatherer:
    """Reads pictures. One per process: it remembers when each replica's counts last moved."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._moved: dict[str, dict[str, tuple[object, float]]] = {}
        """Migration → replica → its last number, and when it was first seen."""

    async def picture(
        self, state: MigrationState, spec: MigrationSpec, reports: Sequence[ReplicaReport]
    ) -> Picture:
        """Return what is known of a migration, evidence aside; raises StoreUnavailable.

        `reports` are the heartbeats of whoever is expected to count.
        """
        now = self._clock.now()
        name, run = state.name, str(state.run)
        counts = await self._store.counts(name)
        tallies = await self._store.tallies(name, run)
        entry = await self._store.tallies(name, f"{run}.{state.entry}")
        enrolled = await self.enrolled(state)
        stale = self._stale(name, counts, reports, spec.gates.fresh_s)
        picture = Picture(spec, state, now, enrolled=enrolled, stale=stale)
        try:
            picture = replace(picture, windows=merge(counts.values(), state.run))
            return replace(picture, run=merge_run(tallies.values()), stage=merge_stage(entry.values()))
        except ValueError as error:
            return replace(picture, unmeasured=str(error))

    async def evidence(self, name: str) -> Evidence | None:
        """Return the evidence that was written last, if it can be read; raises StoreUnavailable."""
        body = await self._store.document(name, EVIDENCE)
        if body is None:
            return None
        try:
            return from_json(body, Evidence)
        except ValueError:
            # To wait for somebody who can read it would leave the run without any test.
            logger.error("the evidence cannot be read; it is gathered anew", extra={"migration": name})
            return None

    async def enrolled(self, state: MigrationState) -> Mapping[Arm, int]:
        """Return the units that the run has enrolled; raises StoreUnavailable."""
        return await self._store.enrolled(state.name, state.run) if state.run else dict.fromkeys(Arm, 0)

    def _stale(
        self,
        name: str,
        counts: Mapping[str, Mapping[str, Any]],
        reports: Sequence[ReplicaReport],
        fresh_s: float,
    ) -> tuple[str, ...]:
        now = self._clock.monotonic()
        before, moved = self._moved.get(name, {}), {}
        for replica, doc in counts.items():
            number, since = before.get(replica, (None, now))
            moved[replica] = (number, since) if number == doc.get("flush") else (doc.get("flush"), now)
        self._moved[name] = moved
        return tuple(sorted(each.id for each in reports if _silent(each, moved, now, fresh_s)))


def _silent(
    report: ReplicaReport, moved: Mapping[str, tuple[object, float]], now: float, fresh_s: float
) -> bool:
    if report.id in moved:
        return now - moved[report.id][1] > fresh_s
    return report.at - report.started_at > fresh_s
