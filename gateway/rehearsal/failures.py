"""What goes wrong in a rehearsal, and what must follow from it.

One row per failure: the simulator's faults (of the candidate, or of everybody), and the gates of which one
must roll back. No gates: nothing may be rolled back, and nothing may advance either. Mostly half of the
requests fail, since a model that is half broken is harder to notice than a dead one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from gateway.core.spec import MigrationSpec
from gateway.demo.tally import Seen
from gateway.errors import BadRequest

HEALTHY = "healthy"
"""The name of what is no failure: a candidate that climbs to the top."""

Shows = Callable[[Seen], bool]


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that goes wrong."""

    name: str
    said: str
    """What happens, in words."""
    faults: tuple[str, ...] = ()
    """Of the simulator; `{candidate}` stands for the model's id, `{ms}` for more than its p95 may be."""
    gates: tuple[str, ...] = ()
    """One of these must roll back first; none: nothing may."""
    shows: Shows = lambda seen: seen.complaint is not None or seen.fallback is not None
    """Whether an answer of the candidate's shows it."""
    spares: bool = False
    """Control can answer in time, so no caller may see an error."""
    complains: bool = False
    """Users complain of what the candidate answers."""
    silent: bool = False
    """Nobody calls at all."""

    def strike(self, spec: MigrationSpec) -> tuple[str, ...]:
        """Return the faults as the simulator takes them."""
        return tuple(fault.format(candidate=spec.candidate, ms=_late_ms(spec)) for fault in self.faults)

    def in_words(self, spec: MigrationSpec) -> str:
        """Return what happens, with the numbers of this migration."""
        return self.said.format(ms=_late_ms(spec))

    def guards(self, spec: MigrationSpec) -> tuple[str, ...]:
        """Return the gates of this failure that the migration has."""
        configured = {*spec.gates.breaker, *spec.gates.rollback, *(("quality",) if spec.checks else ())}
        return tuple(gate for gate in self.gates if gate in configured)


def _late_ms(spec: MigrationSpec) -> int:
    p95 = spec.gates.breaker.get("latency_p95_s")
    return round(1500 * p95.max) if p95 else 1000


def _any(_: Seen) -> bool:
    return True


_BROKEN = ("error_rate", "error", "incomplete")
_RESCUED = ("fallback_rate", "fallback")
"""Control answers what fails before its first byte."""

FAILURES = (
    Failure(
        "overloaded",
        "half of the candidate's requests are turned away (529)",
        ("model={candidate},kind=overloaded,rate=0.5",),
        _RESCUED,
        spares=True,
    ),
    Failure(
        "stream-error",
        "half of its streams end in an error",
        ("model={candidate},kind=stream_error,rate=0.5",),
        (*_BROKEN, *_RESCUED),
    ),
    Failure(
        "truncated",
        "half of its answers are cut short",
        ("model={candidate},kind=cut,rate=0.5",),
        (*_BROKEN, *_RESCUED),
    ),
    Failure("empty", "half of its answers are empty", ("model={candidate},kind=empty,rate=0.5",), _BROKEN),
    Failure(
        "refusal",
        "it declines half of what it is asked",
        ("model={candidate},kind=refusal,rate=0.5",),
        ("refusal",),
        shows=lambda seen: seen.refused,
    ),
    Failure(
        "cost",
        "it says everything at twelve times the length",
        ("model={candidate},kind=verbose,factor=12",),
        ("cost_ratio",),
        shows=_any,
    ),
    Failure(
        "slow",
        "its first token comes late ({ms} ms)",
        ("model={candidate},kind=slow_first_token,ms={ms}",),
        ("latency_p95_s",),
        shows=_any,
    ),
    Failure(
        "broken-json",
        "half of its JSON cannot be parsed",
        ("model={candidate},kind=bad_json,rate=0.5",),
        ("quality",),
    ),
    Failure(
        "tool-input",
        "its tool calls miss the tool's schema",
        ("model={candidate},kind=bad_tool_input",),
        ("tool_error", "quality"),
        shows=_any,
    ),
    Failure("complaints", "its users complain", (), ("quality_issues",), shows=_any, complains=True),
    Failure("outage", "both models are overloaded: the provider", ("kind=overloaded,rate=0.6",)),
    Failure("no-traffic", "nobody calls", silent=True),
)


def chosen(only: Sequence[str]) -> tuple[bool, tuple[Failure, ...]]:
    """Return whether the healthy climb is part of it, and which failures; raises BadRequest."""
    known = (HEALTHY, *(failure.name for failure in FAILURES))
    for name in only:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise BadRequest(f"there is no failure {name!r}{hint}; known: {', '.join(known)}")
    if not only:
        return True, FAILURES
    return HEALTHY in only, tuple(failure for failure in FAILURES if failure.name in only)
