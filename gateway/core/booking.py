"""What one request that ended contributes to the statistics, and where it belongs.

Everything is booked to the assigned arm, and to the run and entry (see `MigrationState.entry`) in which the
request began, whoever served it and whenever it ended. Units are keyed hashes here; of prompts and answers
there is nothing.
"""

from dataclasses import dataclass

from gateway.core.types import ERRORS, Arm, Outcome

STAT_BUCKETS = 64
"""Groups of units over which variances are taken (rollout.md 3.4)."""
INCOMPLETE = frozenset({Outcome.truncated, Outcome.empty})
TOOL_ERROR = "tool_error"
"""The built-in check of tool calls; unlike the configured ones it is a named failure of its own."""
_SAYS_NOTHING = frozenset({Outcome.client_error, Outcome.disconnected})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something that happened is booked."""

    arm: Arm
    run: int
    entry: int
    unit_key: str | None
    enrolled: bool
    """Only what enrolled units met is compared between the arms; breakers look at everybody."""


@dataclass(frozen=True, slots=True)
class Booking:
    """One governed request that ended."""

    place: Place
    request_id: str
    task: str
    outcome: Outcome
    fallback: bool
    """Control answered in the candidate's place, and that counts against the candidate."""
    duration_s: float
    """From head to last byte."""
    first_token_s: float | None = None
    """From head to the first byte of a stream; None: not streamed."""
    slow: bool | None = None
    """Took longer than control's frozen p95; None: that is not known yet."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    """None: the answer said nothing."""
    cost_microusd: int | None = None
    """Of every attempt; None: no price or no usage."""

    @property
    def telling(self) -> bool:
        """Whether it says anything of a model; what does not is booked nowhere.

        What its caller spoilt does not, and what its caller left only where control had been asked instead.
        """
        left = self.outcome is Outcome.disconnected
        return self.outcome not in _SAYS_NOTHING or (left and self.fallback)

    @property
    def failures(self) -> tuple[str, ...]:
        """Which of `gates.verdict.FAILURES` it is; what tools and checks say comes later, by `Checked`."""
        happened = {
            "error": self.outcome in ERRORS,
            "fallback": self.fallback,
            "refusal": self.outcome is Outcome.refused,
            "incomplete": self.outcome in INCOMPLETE,
        }
        return tuple(name for name, did in happened.items() if did)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the online checks found in one answer."""

    place: Place
    request_id: str
    task: str
    passed: dict[str, bool]
    """Check's name, or `TOOL_ERROR` → whether the answer fulfils it."""
