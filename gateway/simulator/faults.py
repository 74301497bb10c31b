"""Faults on demand: what goes wrong, for whom, how often.

A fault is written `model=claude-opus-5-5,kind=overloaded,rate=0.3`. Only `kind` is required; the parts may
come in any order:

    kind    see `KINDS`
    model   id or alias; left out: every model
    rate    share of the matching requests, 0 to 1 (1)
    after   so many matching requests pass first (0)
    count   it strikes so many times and never again
    ms      for slow_first_token, slow, rate_limited (below)
    path    the exact path, or its beginning with `*`; left out: any path under /v1
    factor  for verbose: how many times as long (3)

Of several faults that match, the first that strikes decides; the `slow` ones add up beside it. Whether a
fault strikes is drawn from the seed and a counter of the requests that it matched, so a run can be repeated.
Milliseconds are real ones: the simulator's `speed` does not scale them.

A connection can be closed without an answer only by the server that carries the app
(`exchange.Exchange.hang_up`).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gateway.errors import ConfigError

KINDS: Mapping[str, str] = {
    "overloaded": "529",
    "rate_limited": "429 with retry-after (ms, rounded up to seconds; 1 s)",
    "server_error": "500",
    "bad_request": "400 to everything, as of a model that takes none of it",
    "retired": "404",
    "timeout": "accepts the request and never answers",
    "connect": "closes the connection without an answer",
    "first_event_error": "HTTP 200, and the stream's first event is an error; 529 when not streamed",
    "stream_error": "an error event after the first deltas; 500 when not streamed",
    "cut": "the connection ends after the first deltas, or in the middle of the JSON",
    "empty": "no content, end_turn",
    "refusal": "a refusal",
    "bad_json": "JSON that was asked for is cut before its end, or stands behind a sentence",
    "bad_tool_input": "a tool call whose input misses the tool's schema",
    "verbose": "an answer of factor times as many tokens",
    "slow_first_token": "the first token comes ms later",
    "slow": "every token takes ms longer",
}
"""The kinds by what the client sees."""

PACING = frozenset({"slow_first_token", "slow"})
OF_QUALITY = frozenset({"bad_json", "bad_tool_input", "verbose"})
OF_A_REPLY = frozenset({"first_event_error", "stream_error", "cut", "empty", "refusal", *OF_QUALITY, *PACING})
"""The kinds that need an answer to spoil: they strike on /v1/messages only."""

DEFAULT_MS: Mapping[str, int] = {"slow_first_token": 2000, "slow": 50, "rate_limited": 1000}
DEFAULT_FACTOR = 3.0
MESSAGES_PATH = "/v1/messages"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: str
    model: str | None = None
    rate: float = 1.0
    after: int = 0
    count: int | None = None
    ms: int | None = None
    path: str | None = None
    factor: float = DEFAULT_FACTOR

    @property
    def spec(self) -> str:
        """The fault as it is written."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        return ",".join(f"{name}={value}" for name, value in given.items() if value != defaults[name])

    @property
    def milliseconds(self) -> int:
        return DEFAULT_MS.get(self.kind, 0) if self.ms is None else self.ms

    def covers(self, path: str) -> bool:
        """Whether it can strike there."""
        if self.path is None:
            return path == MESSAGES_PATH or self.kind not in OF_A_REPLY
        return path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path


@dataclass(frozen=True, slots=True)
class Strike:
    """What goes wrong with one request."""

    fault: Fault | None = None
    """The fault that decides, if any."""
    first_token_ms: int = 0
    per_token_ms: int = 0

    @property
    def kind(self) -> str:
        return self.fault.kind if self.fault else ""


def parse_fault(spec: str) -> Fault:
    """Read a fault; raises ConfigError naming the part that is wrong."""
    given: dict[str, Any] = {}
    for part in spec.split(","):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or name not in _READERS:
            known = ", ".join(_READERS)
            raise ConfigError(
                f"fault {spec!r}: {part.strip()!r} is not one of {known} followed by = and a value"
            )
        if name in given:
            raise ConfigError(f"fault {spec!r}: {name} is given twice")
        given[name] = _READERS[name](spec, name, value.strip())
    if "kind" not in given:
        raise ConfigError(f"fault {spec!r}: kind is missing; one of {', '.join(KINDS)}")
    return Fault(**given)


def _kind(spec: str, name: str, value: str) -> str:
    if value not in KINDS:
        raise ConfigError(f"fault {spec!r}: {name} {value!r} is unknown; one of {', '.join(KINDS)}")
    return value


def _text(spec: str, name: str, value: str) -> str:
    if not value:
        raise ConfigError(f"fault {spec!r}: {name} is empty")
    return value


def _path(spec: str, name: str, value: str) -> str:
    if not value.startswith("/"):
        raise ConfigError(f"fault {spec!r}: {name} {value!r} does not begin with /")
    return value


def _whole(spec: str, name: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"fault {spec!r}: {name} {value!r} is not a whole number, 0 or more")
    return int(value)


def _share(spec: str, name: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError(f"fault {spec!r}: {name} {value!r} is not a number from 0 to 1")
    return share


def _factor(spec: str, name: str, value: str) -> float:
    try:
        factor = float(value)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 1000:
        raise ConfigError(f"fault {spec!r}: {name} {value!r} is not a number from 1 to 1000")
    return factor


_READERS = {
    "kind": _kind,
    "model": _text,
    "rate": _share,
    "after": _whole,
    "count": _whole,
    "ms": _whole,
    "path": _path,
    "factor": _factor,
}


class FaultPlan:
    """The faults in force, and how often each has been looked at and has struck."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int = 0) -> None:
        self._seed = seed
        self.replace(faults)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Put other faults in force and count from zero."""
        self.faults = tuple(faults)
        self._matched = [0] * len(self.faults)
        self._struck = [0] * len(self.faults)

    def draw(self, path: str, model_ids: frozenset[str], also: tuple[Fault, ...] = ()) -> Strike:
        """Decide what goes wrong with a request for the model that goes by `model_ids` (none: no model)."""
        strike = Strike()
        for index, fault in enumerate(self.faults):
            undecided = strike.fault is None or fault.kind in PACING
            if undecided and _matches(fault, path, model_ids) and self._strikes(index, fault):
                strike = _with(strike, fault)
        for fault in also:
            if _matches(fault, path, model_ids):
                strike = _with(strike, fault)
        return strike

    def _strikes(self, index: int, fault: Fault) -> bool:
        number = self._matched[index]
        self._matched[index] += 1
        if number < fault.after or (fault.count is not None and self._struck[index] >= fault.count):
            return False
        draw = hashlib.sha256(f"{self._seed}:{index}:{number}".encode()).digest()[:8]
        strikes = int.from_bytes(draw, "big") < fault.rate * 2**64
        self._struck[index] += strikes
        return strikes


def _matches(fault: Fault, path: str, model_ids: frozenset[str]) -> bool:
    return fault.covers(path) and (fault.model is None or fault.model in model_ids)


def _with(strike: Strike, fault: Fault) -> Strike:
    if fault.kind == "slow_first_token":
        return replace(strike, first_token_ms=strike.first_token_ms + fault.milliseconds)
    if fault.kind == "slow":
        return replace(strike, per_token_ms=strike.per_token_ms + fault.milliseconds)
    return strike if strike.fault else replace(strike, fault=fault)
