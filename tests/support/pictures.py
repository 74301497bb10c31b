"""Moments of a migration, as its gates see them: a healthy one, and whatever is changed about it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.core.booking import STAT_BUCKETS
from gateway.core.evidence import Evidence, absorb
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import FAILURES, GateResult, Judgement
from gateway.core.gates.window import Tally
from gateway.core.spec import Gates, MigrationSpec, Stage
from gateway.core.stats.histogram import bin_of
from gateway.core.tally import ArmStage, ArmTotals, Buckets, CheckCount, Exposure, RunTally, StageTally
from gateway.core.types import LINE, Arm, MigrationState, Phase

CONTROL, CANDIDATE = Arm.control, Arm.candidate
STAGES = (
    Stage("canary", 5, hold_s=60, min_units=100),
    Stage("half", 50, hold_s=60, min_units=100, approval=True),
    Stage("full", 100),
)
SPEC = MigrationSpec("m", "old", "new", ("old",), STAGES)
STATE = MigrationState(
    "m", Phase.running, weight=5_000, widest=5_000, run=1, entry=1, spec=SPEC, started_by="ada", version=3
)


def buckets(mean: float, *, each: int = 4, spread: float = 0.1) -> Buckets:
    """Return a mean over all buckets that varies by `spread` from one to the next."""
    signs = [spread if index % 2 else -spread for index in range(STAT_BUCKETS)]
    return Buckets((each,) * STAT_BUCKETS, tuple(each * (mean + sign) for sign in signs))


MEANS = {
    "ttft": buckets(0.0), "slow_share": buckets(0.05, spread=0.02), "cost": buckets(7.0),
    "output_tokens": buckets(5.0),
}  # fmt: skip
WELL = Tally(
    100, 1, 0, frozenset(f"u{n}" for n in range(20)), {"ok": 99, "timeout": 1}, {bin_of(2.0): 100}, 100, 10**6
)


def totals(**changes: Any) -> ArmTotals:
    """Return an arm's healthy totals: one first failure of each kind in a hundred."""
    healthy = ArmTotals(
        requests=1000,
        outcomes={"ok": 980, "timeout": 10, "refused": 10},
        fallbacks=10,
        priced=1000,
        cost_microusd=10**7,
        measured=1000,
        output_tokens=10**5,
        durations={bin_of(2.0): 1000},
        first_tokens={bin_of(0.5): 1000},
        exposure={name: Exposure(1000, 10) for name in FAILURES},
        checks={"tool_error": CheckCount(99, 1)},
    )
    return replace(healthy, **changes)


def run_tally(candidate: ArmTotals | None = None, control: ArmTotals | None = None) -> RunTally:
    """Return a run's tally, healthy where nothing else is said."""
    return RunTally({CONTROL: control or totals(), CANDIDATE: candidate or totals()})


def stage_tally(candidate: Mapping[str, Buckets] | None = None, **control: Buckets) -> StageTally:
    """Return an entry's tally: the candidate's means, and what of control's is not healthy."""
    durations = {bin_of(2.0): 256}
    return StageTally({
        CONTROL: ArmStage(256, {**MEANS, **control}, durations),
        CANDIDATE: ArmStage(256, {**MEANS, **(candidate or {})}, durations),
    })  # fmt: skip


def spec_of(*stages: Stage, gates: Gates | None = None, **changes: Any) -> MigrationSpec:
    """Return the specification with other stages, gates or fields."""
    given: dict[str, Any] = {"stages": stages, "gates": gates}
    return replace(SPEC, **{name: value for name, value in given.items() if value}, **changes)


def seen(spec: MigrationSpec = SPEC, *, watched_s: float = 60.0, **changes: Any) -> Picture:
    """Return a moment that is ripe and green, with changes to the picture or (by field) to its state."""
    fields: dict[str, Any] = {
        name: changes.pop(name) for name in tuple(changes) if name in MigrationState.__slots__
    }
    widest = max(fields.get("widest", 0), fields.get("weight", 0), STATE.widest)
    state = replace(STATE, **{"spec": spec, "widest": widest, **fields})
    rules = spec.gates.breaker.values()
    picture = Picture(
        spec, state, 1_000_000.0,
        windows={rule.window_s: {CONTROL: WELL, CANDIDATE: WELL} for rule in rules},
        run=changes.pop("run_tally", run_tally()), stage=changes.pop("stage_tally", stage_tally()),
        enrolled={CONTROL: 150, CANDIDATE: 150},
    )  # fmt: skip
    evidence = changes.pop("evidence", Evidence())
    picture = replace(picture, **changes)
    if state.phase is Phase.paused:  # It ran until just now.
        ran = replace(picture, state=replace(state, phase=Phase.running))
        evidence, watched_s = absorb(evidence, ran, watched_s), 0.0
    evidence = absorb(evidence, picture, watched_s)
    return replace(picture, evidence=evidence)


def soaking(spec: MigrationSpec = SPEC, **changes: Any) -> Picture:
    """Return a healthy moment of soaking."""
    last = len(spec.stages) - 1
    return seen(spec, phase=Phase.soaking, weight=LINE, stage_index=last, **changes)


def gate(judged: Judgement | Iterable[GateResult], name: str) -> GateResult:
    """Return the one gate of that name."""
    gates = judged.gates if isinstance(judged, Judgement) else tuple(judged)
    (found,) = (each for each in gates if each.name == name)
    return found
