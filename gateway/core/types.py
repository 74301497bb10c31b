"""The nouns that every plane shares, and the one place in `core` that turns them into JSON and back.

Weights and hash buckets are integers on a line of `LINE` points (0.001 % each), so that no float ever decides
who is assigned where. Times are seconds since the epoch, money is in micro-dollars.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from gateway.core.spec import Lists, MigrationSpec

T = TypeVar("T")

LINE = 100_000
"""Points on the assignment line; 1 % is 1 000 of them."""


class Arm(StrEnum):
    """The two sides of a migration."""

    control = "control"
    candidate = "candidate"


class Reason(StrEnum):
    """Why a request was assigned to its arm; the closed set of `x-gateway-reason`."""

    killed = "killed"
    denied = "denied"
    unservable = "unservable"
    forced = "forced"
    not_running = "not_running"
    allowed_user = "allowed_user"
    allowed_task = "allowed_task"
    holdback = "holdback"
    excluded = "excluded"
    pinned = "pinned"
    recorded = "recorded"
    carried_over = "carried_over"
    bucket = "bucket"
    no_unit = "no_unit"
    ungoverned = "ungoverned"


class Phase(StrEnum):
    """Where a migration stands."""

    draft = "draft"
    running = "running"
    paused = "paused"
    soaking = "soaking"
    completed = "completed"
    rolled_back = "rolled_back"


class Outcome(StrEnum):
    """How one governed request ended, as its caller saw it."""

    ok = "ok"
    refused = "refused"
    client_error = "client_error"
    upstream_error = "upstream_error"
    stream_error = "stream_error"
    truncated = "truncated"
    empty = "empty"
    timeout = "timeout"
    disconnected = "disconnected"


ERRORS = frozenset(
    {Outcome.upstream_error, Outcome.stream_error, Outcome.truncated, Outcome.empty, Outcome.timeout}
)
"""The outcomes that count as `error` in gates."""


class FallbackCause(StrEnum):
    """Why control answered in the candidate's place; the closed set of `x-gateway-fallback`."""

    rejected_by_model = "rejected_by_model"
    overloaded = "overloaded"
    rate_limited = "rate_limited"
    server_error = "server_error"
    not_found = "not_found"
    timeout = "timeout"
    connect = "connect"
    no_tool_call = "no_tool_call"


class RewriteClass(StrEnum):
    """How safe a rewrite is: lossless, emulated, approximate (needs a prompt or app change), not servable."""

    lossless = "L"
    emulated = "E"
    prompt = "P"
    unservable = "X"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done to a request, or that keeps it from being served."""

    rule: str
    """Stable short name: `sampling`, `thinking`, `effort`, `display`, `max_tokens`, `prefill`, `forced_tool`,
    …
    """
    rewrite_class: RewriteClass
    sentence: str
    """For people; never holds prompt text."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Who is assigned: the value that is hashed, and the rung of the ladder it came from."""

    kind: str
    """`header`, `user`, `session`, `conversation` or `api_key`."""
    value: str


@dataclass(frozen=True, slots=True)
class Pin:
    """The arm that a conversation began on."""

    arm: Arm
    run: int
    """The run in which it began; 0 before the first start."""
    ruleset: str
    """Version of the rewriting rules that this conversation keeps to its end."""


@dataclass(frozen=True, slots=True)
class MigrationState:
    """Everything the fleet must agree on about one migration. Written only by compare-and-set on (version,
    epoch).
    """

    name: str
    phase: Phase = Phase.draft
    reason: str = ""
    """Sub-state: paused `user|inconclusive|approval|freeze|no_data`, rolled_back `automatic|user|emergency`.
    """
    stage_index: int = 0
    weight: int = 0
    """Candidate's share of the line while running, paused or soaking, in points of `LINE`."""
    run: int = 0
    """Counts starts; part of the hash, so a new run draws new people."""
    version: int = 0
    """Counts writes, from 1; 0 means never written."""
    epoch: int = 0
    """Fencing epoch of the last write that took one (lease gained, start, restart, emergency)."""
    spec: MigrationSpec | None = None
    """The run's own copy of the configuration; file edits apply to the next run."""
    lists: Lists | None = None
    """Lists as last set through the API; None: the file's."""
    stage_entered_at: float = 0.0
    updated_at: float = 0.0
    updated_by: str = ""
    evicted_run: int = 0
    """Candidate pins and records of this run and all before it are void."""
    entry: int = 0
    """Counts, within a run, every entry of a stage, change of weight and resumption: evidence belongs to one.
    """
    widest: int = 0
    """Greatest weight that the run has served, in points."""
    seed: int = 0
    """The run whose number is hashed; 0: this one. Else its people keep their arms (`keep_assignment`)."""
    excluded: tuple[tuple[int, int], ...] = ()
    """(seed, points): units whose bucket under that seed is below stay on control (`exclude_previous`)."""
    started_by: str = ""
    """Who started or restarted this run."""
    approved_by: str = ""
    """Who approved leaving this stage; cleared with every entry."""
    approved_at: float = 0.0
    slow_after_s: float = 0.0
    """Control's p95 of the whole answer, frozen by the controller: slower requests are `slow`. 0: not known.
    """
    cause: str = ""
    """Why it was rolled back, in the words of whoever did; empty before, and from the next run on."""
    draining: bool = False
    """Rolled back with `drain`: conversations that began on the candidate may finish there."""

    @property
    def hash_run(self) -> int:
        """The run whose number is part of the assignment's hash."""
        return self.seed or self.run

    @property
    def killed(self) -> bool:
        """True from an emergency rollback until a new run."""
        return self.phase is Phase.rolled_back and self.reason == "emergency"

    @property
    def order(self) -> tuple[int, int]:
        """What makes one state newer than another: (epoch, version)."""
        return (self.epoch, self.version)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the append-only audit log."""

    at: float
    by: str
    verb: str
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    evidence: dict[str, Any] = field(default_factory=dict)
    seq: int = 0
    """1, 2, … per migration; given by the store."""


def to_json(value: object) -> bytes:
    """Encode nouns (dataclasses, enums, plain containers) as compact JSON."""
    return msgspec.json.encode(value)


def from_json(data: bytes | str, kind: type[T]) -> T:
    """Decode `data` as `kind`; raises ValueError naming the path when it does not fit."""
    return msgspec.json.decode(data, type=kind, strict=False)


def fingerprint(spec: MigrationSpec) -> str:
    """Return a short hash of what a spec says, however its numbers were spelt and its keys ordered."""
    plain = from_json(to_json(spec), MigrationSpec)
    return sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:16]


def parse_json(data: bytes | str) -> Any:
    """Decode any JSON; raises ValueError."""
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
