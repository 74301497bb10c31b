"""What a replica obeys: every migration's state at one moment, frozen, in memory and on disk.

A snapshot never expires. The newer state wins per migration, by (epoch, version); the time of reading decides
nothing. Two views are kept apart on purpose:

- what the fleet agreed on (`merge`), which is saved, restored to a store that lost it, and acknowledged;
- what is served (`obey`), where the kills of this disk stand over it. A killed view is never written back as
  if it were the state of that version: a kill enters the store as a write of its own.

On disk a line with format and checksum comes before the JSON, so that half a file or a file of another format
is no snapshot at all.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from gateway.core.rollout import emergency
from gateway.core.types import MigrationState, from_json, to_json
from gateway.store.kill import Kill
from gateway.store.local.disk import locked, replace_file

logger = logging.getLogger(__name__)

FILE = "snapshot.json"
FORMAT = "gateway-snapshot/1"

Origin = Literal["store", "disk", "none"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The states of all migrations that were ever written."""

    states: Mapping[str, MigrationState] = field(default_factory=dict)
    taken_at: float = 0.0
    """When the store last confirmed it, whoever reads it from disk since."""
    origin: Origin = "none"

    @property
    def version(self) -> int:
        """One number that grows with every write to any migration; for dashboards, it decides nothing."""
        return sum(state.version for state in self.states.values())

    def state(self, name: str) -> MigrationState:
        """Return the migration's state; a draft if it was never written."""
        return self.states.get(name) or MigrationState(name)


def merge(held: Snapshot, loaded: Snapshot) -> Snapshot:
    """Return `loaded` with each state that `held` has newer; what `loaded` lacks was lost, and is kept."""
    return replace(loaded, states={**held.states, **loaded.states, **_newer(held, loaded)})


def corrected(loaded: Snapshot, disk: Snapshot) -> Snapshot:
    """Return `loaded` with each of its own states that the disk has newer.

    For a start: a store that knows a migration in an older version has lost writes, but one that knows
    nothing of it may be a new store, and must not wake what belonged to another.
    """
    return replace(loaded, states={**loaded.states, **_newer(disk, loaded)})


def obey(agreed: Snapshot, kills: Mapping[str, Kill]) -> Snapshot:
    """Return what is to be served: `agreed`, with what was killed here on control."""
    killed = {
        name: emergency(agreed.state(name), by=kill.by, at=kill.at, cause=kill.reason)
        for name, kill in kills.items()
        if kill.stands_over(agreed.state(name))
    }
    return replace(agreed, states={**agreed.states, **killed}) if killed else agreed


def save(path: Path, snapshot: Snapshot) -> None:
    """Write `snapshot` to disk; raises OSError.

    The processes that share the disk write in any order, so a state that one of them had newer stays.
    """
    with locked(path):
        disk = load(path)
        replace_file(path, _encode(corrected(snapshot, disk) if disk is not None else snapshot))


def load(path: Path) -> Snapshot | None:
    """Return the snapshot on disk; None if there is none that can be trusted, and the log says why."""
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("the snapshot on disk is not used", extra={"path": str(path), "error": str(error)})
        return None


def _encode(snapshot: Snapshot) -> bytes:
    body = to_json(snapshot)
    return f"{FORMAT} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def _decode(data: bytes) -> Snapshot:
    head, _, body = data.partition(b"\n")
    form, _, checksum = head.decode("latin-1").partition(" ")
    if form != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    if checksum != hashlib.sha256(body).hexdigest():
        raise ValueError("its checksum does not match")
    return replace(from_json(body, Snapshot), origin="disk")


def _newer(held: Snapshot, loaded: Snapshot) -> dict[str, MigrationState]:
    """The states of both that `held` has newer.

    Of two different states of one order, which only a store that lost writes can hand out, a killed one wins.
    """
    newer = {}
    for name, state in loaded.states.items():
        ours = held.states.get(name)
        if ours is not None and (ours.order, ours.killed) > (state.order, state.killed):
            newer[name] = ours
    return newer
