"""The way out when the store is away: kills that hold on this disk until the whole fleet has agreed.

`kills.json` in DATA_DIR names each migration that somebody killed here, and every process that shares the
directory obeys it within one look, which costs a single stat. A kill is sticky:

- It stays over restarts, and in a process that has seen it until this very process clears it. That the file
  is gone, cannot be read or no longer names it changes nothing: what was known to be killed stays so.
- It stands over every state that is not newer by epoch, and over a newer one that does not answer it. An
  answer is the emergency rollback that was pushed to the store, or a new run that somebody began. A higher
  epoch alone is not: any controller that takes the lease raises it without having heard of the kill.
- Where the disk refuses to take it, it holds in memory and is written as soon as that is possible.
"""

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.core.rollout import summary
from gateway.core.types import Event, MigrationState, from_json, to_json
from gateway.store.local.disk import locked, replace_file

logger = logging.getLogger(__name__)

FILE = "kills.json"

Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Kill:
    """Who killed a migration in this place, and what was obeyed here at that moment."""

    at: float
    by: str
    reason: str
    epoch: int
    run: int
    version: int

    @classmethod
    def of(cls, state: MigrationState, at: float, by: str, reason: str) -> Self:
        """Return a kill of what is obeyed now."""
        return cls(at, by, reason, state.epoch, state.run, state.version)

    def event(
        self, now: float, before: MigrationState, after: MigrationState, details: Mapping[str, str]
    ) -> Event:
        """Return the line that the audit log gets once the store is back."""
        evidence = {"pushed_after": "store outage", "killed_at": self.at, **details}
        change = summary(before), summary(after)
        return Event(now, self.by, "emergency-rollback", self.reason, *change, evidence)

    def stands_over(self, state: MigrationState) -> bool:
        """Tell whether `state` must not be served as it is."""
        answered = state.killed or state.run > self.run
        return state.epoch <= self.epoch or not answered


class KillSwitch:
    """The kills of one DATA_DIR as one process knows them. Only `persist` and `clear` wait for the disk."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._known: Mapping[str, Kill] = {}
        self._unwritten: dict[str, Kill] = {}
        self._seen: Signature | None = None
        self._complained_of: Signature | None = None
        self._guard = threading.Lock()
        """Held while memory changes, never while the disk works."""

    def read(self) -> Mapping[str, Kill]:
        """Return the kills by migration; the same object as before while nothing changed."""
        signature = self._signature()
        if signature is not None and signature != self._seen:
            on_file = self._load(signature)
            if on_file is not None:
                self._seen = signature
                self._learn(on_file)
        return self._known

    def set(self, migration: str, kill: Kill) -> None:
        """Hold a kill in this process from now on; `persist` tells the others and the next start."""
        with self._guard:
            stronger = _stronger(self._known, {migration: kill})
            if stronger[migration] is kill:
                self._unwritten[migration] = kill
            self._known = stronger

    def persist(self) -> bool:
        """Write what only this process knows; False if the disk refuses, and it is still to be written."""
        with self._guard:
            pending = dict(self._unwritten)
        if not pending:
            return True
        try:
            with locked(self._path):
                replace_file(self._path, to_json(_stronger(self._base(), pending)))
        except OSError:
            logger.exception(
                "a kill holds in this process but could not be written", extra={"path": str(self._path)}
            )
            return False
        with self._guard:
            for migration, kill in pending.items():
                if self._unwritten.get(migration) is kill:
                    del self._unwritten[migration]
        return True

    def clear(self, migration: str, kill: Kill) -> None:
        """Forget exactly this kill, on disk and then in memory; one that was set since stays."""
        try:
            with locked(self._path):
                on_file = self._load(self._signature())
                if on_file is not None and on_file.get(migration) == kill:
                    replace_file(self._path, to_json(_without(on_file, migration)))
        except OSError:
            # It comes back with the next start, and then loses to the newer state once more.
            logger.exception("a settled kill could not be removed", extra={"path": str(self._path)})
        with self._guard:
            if self._known.get(migration) == kill:
                self._known = _without(self._known, migration)
                self._unwritten.pop(migration, None)

    def _learn(self, on_file: Mapping[str, Kill]) -> None:
        with self._guard:
            known = _stronger(self._known, on_file)
            if known != self._known:
                self._known = known

    def _base(self) -> Mapping[str, Kill]:
        """What a new file begins with: the old one, or all that is known where that cannot be read."""
        signature = self._signature()
        if signature is None:
            return {}
        on_file = self._load(signature)
        return self._known if on_file is None else on_file

    def _load(self, signature: Signature | None) -> dict[str, Kill] | None:
        """Return the file's kills, or None if it cannot be read."""
        try:
            return from_json(self._path.read_bytes(), dict[str, Kill])
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if signature != self._complained_of:
                self._complained_of = signature
                logger.error(
                    "the kill file cannot be read; what is known to be killed stays killed",
                    extra={"path": str(self._path), "error": str(error)},
                )
            return None

    def _signature(self) -> Signature | None:
        """What changes with each writing of the file; None if there is no file."""
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _stronger(kills: Mapping[str, Kill], others: Mapping[str, Kill]) -> dict[str, Kill]:
    """Unite both: of two kills of one migration, the one that stands over more; the first of two alike."""
    united = dict(kills)
    for migration, kill in others.items():
        present = united.get(migration)
        if present is None or (present.epoch, present.run) < (kill.epoch, kill.run):
            united[migration] = kill
    return united


def _without(kills: Mapping[str, Kill], migration: str) -> dict[str, Kill]:
    return {name: kill for name, kill in kills.items() if name != migration}
