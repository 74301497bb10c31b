"""Everything that the papers of one migration are written from, frozen: no paper asks anybody else anything.

Of prompts and answers there is nothing in it, and so there is nothing of them in a paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.compat.catalog import Model
from gateway.core.evidence import Evidence
from gateway.core.gates.window import Totals
from gateway.core.spec import MigrationSpec
from gateway.core.tally import ArmTotals, RunTally
from gateway.core.types import ERRORS, Arm, Event, MigrationState, Phase
from gateway.store.ports import ReplicaReport

SERVING = frozenset({Phase.running, Phase.paused, Phase.soaking})
"""Phases in which a run goes on."""
STARTS = frozenset({"start", "restart"})


@dataclass(frozen=True, slots=True)
class Facts:
    """One migration at one moment."""

    now: float
    state: MigrationState
    file_spec: MigrationSpec | None
    """None: the file has gone."""
    control: Model | None = None
    candidate: Model | None = None
    """Their rows of the catalogue."""
    sinks: frozenset[str] = frozenset()
    """Who can be told, by name: gateway.yaml has them, and their variables are set."""
    events: tuple[Event, ...] = ()
    """The whole audit log, oldest first."""
    runs: Mapping[int, RunTally] = field(default_factory=dict)
    """What was counted; run 0 is before the first one."""
    windows: Mapping[float, Totals] = field(default_factory=dict)
    """Window's length in seconds → what callers met within it."""
    counting_s: float = 0.0
    """How long the process that has been up longest has been counting."""
    enrolled: Mapping[Arm, int] = field(default_factory=dict)
    """Units of the present run."""
    replicas: tuple[ReplicaReport, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def name(self) -> str:
        """The migration's."""
        return self.state.name

    @property
    def spec(self) -> MigrationSpec:
        """What a paper about the present goes by: the run's own copy while it goes on, else the file's."""
        ongoing = self.state.phase in SERVING or self.state.phase is Phase.completed
        spec = (self.state.spec if ongoing else None) or self.file_spec or self.state.spec
        if spec is None:
            raise ValueError(f"nothing says what migration {self.name!r} is")
        return spec

    @property
    def next_spec(self) -> MigrationSpec:
        """What the next run would take."""
        return self.file_spec or self.spec

    @property
    def tally(self) -> RunTally:
        """What the present run counted."""
        return self.runs.get(self.state.run, RunTally())

    def rests(self, run: int) -> bool:
        """Tell whether nothing has happened since a run was rolled back."""
        return self.state.run == run and self.state.phase is Phase.rolled_back

    def events_of(self, run: int) -> tuple[Event, ...]:
        """Return a run's events, its start included."""
        return tuple(event for event in self.events if event.after.get("run") == run)

    def started_at(self, run: int) -> float | None:
        """Return when a run began."""
        starts = (event.at for event in self.events_of(run) if event.verb in STARTS)
        return next(starts, None)


def errors(arm: ArmTotals) -> int:
    """Return how many of an arm's requests were an error."""
    return sum(arm.outcomes.get(outcome.value, 0) for outcome in ERRORS)


def error_rate(arm: ArmTotals) -> float | None:
    """Return the share of an arm's requests that were an error; None without a request."""
    return errors(arm) / arm.requests if arm.requests else None


def mean_cost(arm: ArmTotals) -> float | None:
    """Return an arm's mean cost in micro-dollars; None where nothing was priced."""
    return arm.cost_microusd / arm.priced if arm.priced else None
