"""Everything that is known of one migration when it is judged: no gate asks anybody else anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.evidence import Evidence
from gateway.core.gates.window import Totals
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.tally import RunTally, StageTally
from gateway.core.types import LINE, Arm, MigrationState, Phase


@dataclass(frozen=True, slots=True)
class Picture:
    """One moment of one migration."""

    spec: MigrationSpec
    """The run's own copy."""
    state: MigrationState
    now: float
    """Epoch seconds; for freeze windows only, everything else goes by watched time."""
    windows: Mapping[float, Totals] = field(default_factory=dict)
    """Window's length in seconds → what the fleet's callers met within it."""
    run: RunTally = field(default_factory=RunTally)
    stage: StageTally = field(default_factory=StageTally)
    """Of the state's entry."""
    evidence: Evidence = field(default_factory=Evidence)
    """With this tick's counts in it."""
    enrolled: Mapping[Arm, int] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    """Expected replicas whose newest counts are missing or older than `gates.fresh_s`."""
    unmeasured: str = ""
    """Why numbers could not be read; then every gate is an `error`, but breakers whose windows are here."""

    @property
    def current_stage(self) -> Stage:
        """The stage the run is in."""
        return self.spec.stages[min(self.state.stage_index, len(self.spec.stages) - 1)]

    @property
    def compared(self) -> bool:
        """Whether the arms are matched: only then do comparisons mean anything."""
        in_ramp = self.state.phase in (Phase.running, Phase.paused)
        return in_ramp and self.state.weight > 0 and self.state.widest <= LINE // 2
