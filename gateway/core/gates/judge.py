"""All gates of a migration at one moment, what they say together, and what the controller is to do.

Every gate that applies is judged at every look and listed in `verdict.ORDER`; none hides another. What they
say together is the first row of `_RULES` that holds:

| when | decision | a running stage |
|---|---|---|
| a gate that protects fails | rollback | is rolled back, paused and soaking as well |
| soaking | hold, or inconclusive while it drifts | - |
| nobody configured a hold or units, here or at all | hold | waits for a person |
| no candidate traffic for too long | inconclusive | pauses: no_data |
| `max_duration` is over, it says hold, and the stage cannot advance | inconclusive | pauses: inconclusive |
| hold or units are not there yet | hold | waits |
| counts are missing, no traffic or no unit yet | inconclusive | waits |
| another gate is not green | inconclusive | pauses: inconclusive (*) |
| a freeze is in force | hold | pauses: freeze |
| nobody has approved | hold | pauses: approval |
| otherwise | advance | advances |

(*) Where `max_duration` is to roll back or to advance, the stage waits for it instead, since paused time does
not count towards it. Past it, `advance` overlooks what is inconclusive, never what fails.

What automation has paused goes on when the reason is gone (`_STAYS`) and the counts are fresh. What a person
has paused is judged, and rolled back if need be, and otherwise left alone. Numbers that could not be read
make every gate an `error`: then nothing is done, unless a breaker fails that has its window.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.core.gates.advancing import (
    judge_approval,
    judge_duration,
    judge_freeze,
    judge_minimum,
    overdue,
)
from gateway.core.gates.breakers import judge_breakers
from gateway.core.gates.comparisons import judge_failures, judge_means
from gateway.core.gates.drift import judge_drift
from gateway.core.gates.integrity import gone_quiet, judge_integrity
from gateway.core.gates.picture import Picture
from gateway.core.gates.quality import judge_checks, judge_quality
from gateway.core.gates.verdict import (
    BREAKERS,
    MEANS,
    ORDER,
    SHARED,
    Action,
    Decision,
    GateResult,
    Judgement,
    MetricRow,
    PauseReason,
    Verdict,
)
from gateway.core.gates.words import percent
from gateway.core.types import LINE, Phase

JUDGED = frozenset({Phase.running, Phase.paused, Phase.soaking})


def judge(picture: Picture) -> Judgement:
    """Return what all gates say of a moment, and what follows."""
    if picture.state.phase not in JUDGED:
        return Judgement()
    gates, metrics = _measure(picture)
    if picture.unmeasured:
        return _blind(gates, picture)
    outlook = Outlook(picture, gates)
    rule = next(rule for rule in _RULES if rule.when(outlook))
    action, pause_reason = _act(outlook, rule)
    return Judgement(gates, metrics, rule.decision, action, pause_reason, _sentence(outlook, rule, action))


def _blind(gates: tuple[GateResult, ...], picture: Picture) -> Judgement:
    """Return what can be said where some numbers could not be read."""
    seen = BREAKERS if picture.windows else ()
    told = tuple(
        gate if gate.name in seen else GateResult(gate.name, Verdict.error, picture.unmeasured)
        for gate in gates
    )
    blind = Judgement(told, (), "inconclusive", "none", None, f"not measured: {picture.unmeasured}")
    if not blind.failed:
        return blind
    why = "; ".join(f"{gate.name}: {gate.reason}" for gate in blind.failed)
    return replace(blind, decision="rollback", action="rollback", reason=why)


def _measure(picture: Picture) -> tuple[tuple[GateResult, ...], tuple[MetricRow, ...]]:
    baseline = picture.evidence.control
    cost = baseline.cost_microusd if baseline else None
    of = baseline.counted.get("error", 0) if baseline else 0
    errors = (baseline.rates.get("error", 0.0) * of, of) if baseline else (0.0, 0.0)
    ramp = picture.state.phase is not Phase.soaking
    compared = [*judge_failures(picture), *judge_means(picture)]
    gates: list[GateResult] = [
        *judge_breakers(
            picture.spec.gates.breaker,
            picture.windows,
            control_cost_microusd=cost,
            control_errors=errors,
        ),
        *judge_integrity(picture),
        *(gate for gate, _ in compared),
        *judge_quality(picture),
        *judge_drift(picture),
    ]
    if ramp:
        for each in (judge_duration, judge_minimum, judge_freeze, judge_approval):
            gates += each(picture)
    rows = (*(row for _, row in compared), *judge_checks(picture))
    gates.sort(key=lambda gate: ORDER.index(gate.name))
    if Outlook(picture, tuple(gates)).able:
        gates = [_in_time(gate) if gate.name == "duration" else gate for gate in gates]
    return tuple(gates), rows


def _in_time(duration: GateResult) -> GateResult:
    """Return `duration` of a stage that can advance by now: it is not given up for having taken long."""
    if duration.verdict is Verdict.passed:
        return duration
    reason = "the stage has taken its longest time and can advance"
    return replace(duration, verdict=Verdict.passed, reason=reason)


# --- what they say together ---------------------------------------------------------------------------------


class Outlook:
    """What the gates mean for the stage, question by question."""

    def __init__(self, picture: Picture, gates: tuple[GateResult, ...]) -> None:
        self.picture = picture
        self.gates = {gate.name: gate for gate in gates}
        self.failed = Judgement(gates).failed
        self.soaking = picture.state.phase is Phase.soaking
        self.overdue = overdue(picture)
        self.then = picture.current_stage.on_max_duration

    @property
    def drifting(self) -> bool:
        return "drift" in self.gates and self.gates["drift"].verdict is Verdict.failed

    def green(self, *names: str) -> bool:
        """Whether these gates pass, as far as they apply."""
        return all(self.gates[name].verdict is Verdict.passed for name in names if name in self.gates)

    @property
    def by_hand(self) -> bool:
        """Whether only a person may leave this stage."""
        spec, state = self.picture.spec, self.picture.state
        ends = self.gates.keys() & {"hold", "min_units"}
        # A last stage whose weight was lowered by hand is not the end of the ramp.
        top = round(spec.stages[-1].percent * LINE / 100)
        last = state.stage_index >= len(spec.stages) - 1 and state.weight >= top
        return not spec.automatic or not (ends or last)

    @property
    def uncounted(self) -> bool:
        """Whether some numbers will be there in a moment: no reason for a pause."""
        ratio = self.gates.get("sample_ratio")
        nobody_yet = ratio is not None and ratio.verdict is Verdict.inconclusive
        return (nobody_yet and not self.past_it) or not self.green("freshness", "traffic")

    @property
    def quiet(self) -> bool:
        return gone_quiet(self.picture)

    @property
    def able(self) -> bool:
        """Whether nothing but people, a freeze or a replica that is late keeps the stage from advancing."""
        return not self.by_hand and self.ripe and not self.red and self.green("traffic")

    @property
    def given_up(self) -> bool:
        return self.overdue and self.then == "hold" and not self.able

    @property
    def ripe(self) -> bool:
        """Whether the stage has had its time and its units, or may go without the latter by now."""
        return self.green("hold") and (self.past_it or self.green("min_units"))

    @property
    def past_it(self) -> bool:
        """Whether the stage may advance past what has stayed inconclusive."""
        return self.overdue and self.then == "advance"

    @property
    def red(self) -> tuple[str, ...]:
        """The gates that keep a ripe stage from advancing."""
        return tuple(name for name, gate in self.gates.items() if self._blocks(gate))

    def _blocks(self, gate: GateResult) -> bool:
        if gate.verdict is Verdict.error or SHARED in gate.evidence:
            return True
        if gate.name not in {"sample_ratio", *MEANS} or gate.verdict is Verdict.passed:
            return False
        if gate.verdict is Verdict.failed:
            return True
        demanding = self.picture.current_stage.require == "non_inferior"
        return not self.past_it and (demanding or gate.name == "sample_ratio")

    @property
    def waits_for_the_end(self) -> bool:
        """Whether `max_duration` will decide what becomes of a stage that is not green."""
        limited = self.picture.current_stage.max_duration_s is not None
        return limited and not self.overdue and self.then != "hold"


@dataclass(frozen=True, slots=True)
class _Rule:
    when: Callable[[Outlook], bool]
    decision: Decision
    pause: PauseReason | None
    said: Callable[[Outlook], str]
    """What follows "holding at 5 %: "."""


def _reasons(outlook: Outlook, *names: str) -> str:
    """Return what these gates say, as far as they are not green."""
    gates = [outlook.gates[name] for name in names if not outlook.green(name)]
    return ", ".join(gate.reason for gate in gates)


def _why_red(outlook: Outlook) -> str:
    return "; ".join(f"{name}: {outlook.gates[name].reason}" for name in outlook.red)


def _why_by_hand(outlook: Outlook) -> str:
    stage, asked = outlook.picture.current_stage.name, outlook.picture.current_stage.min_units
    if outlook.picture.spec.automatic and asked:
        return f"stage {stage!r} waits for {asked} units, and none are counted here, so a person advances it"
    if outlook.picture.spec.automatic:
        return f"stage {stage!r} has neither hold nor min_units, so a person advances it"
    return "no stage has hold or min_units, so a person advances"


def _why_given_up(outlook: Outlook) -> str:
    waiting = _reasons(outlook, "min_units", "hold", "traffic") or _why_red(outlook)
    return f"{outlook.gates['duration'].reason}: {waiting}"


_RULES = (
    _Rule(lambda o: bool(o.failed), "rollback", None, lambda o: f"{o.failed[0].name}: {o.failed[0].reason}"),
    _Rule(lambda o: o.drifting, "inconclusive", None, lambda o: f"drift: {o.gates['drift'].reason}"),
    _Rule(lambda o: o.soaking, "hold", None, lambda o: "watching until somebody completes the migration"),
    _Rule(lambda o: o.by_hand, "hold", None, _why_by_hand),
    _Rule(lambda o: o.quiet, "inconclusive", "no_data", lambda o: _reasons(o, "traffic")),
    _Rule(lambda o: o.given_up, "inconclusive", "inconclusive", _why_given_up),
    _Rule(lambda o: not o.ripe, "hold", None, lambda o: _reasons(o, "min_units", "hold")),
    _Rule(
        lambda o: o.uncounted,
        "inconclusive",
        None,
        lambda o: _reasons(o, "freshness", "traffic", "sample_ratio"),
    ),
    _Rule(lambda o: bool(o.red) and o.waits_for_the_end, "inconclusive", None, _why_red),
    _Rule(lambda o: bool(o.red), "inconclusive", "inconclusive", _why_red),
    _Rule(lambda o: not o.green("freeze"), "hold", "freeze", lambda o: _reasons(o, "freeze")),
    _Rule(lambda o: not o.green("approval"), "hold", "approval", lambda o: _reasons(o, "approval")),
    _Rule(lambda o: True, "advance", None, lambda o: "every gate is green"),
)

_STAYS: Mapping[str, Callable[[Outlook], bool]] = {
    "no_data": lambda o: o.quiet,
    "inconclusive": lambda o: o.given_up or bool(o.red),
    "freeze": lambda o: not o.green("freeze"),
    "approval": lambda o: not o.green("approval"),
}
"""What automation paused for → whether that is still so."""


def _act(outlook: Outlook, rule: _Rule) -> tuple[Action, PauseReason | None]:
    """Return what to do about a decision, as the stage stands."""
    state = outlook.picture.state
    if rule.decision == "rollback":
        return "rollback", None
    if state.phase is Phase.paused and state.reason not in _STAYS:
        return "none", None
    if state.phase is Phase.paused and _STAYS[state.reason](outlook):
        return "none", None
    if state.phase is Phase.paused and not outlook.green("freshness"):
        return "none", None  # Or counts that flicker would take it up and pause it again, each time.
    if rule.decision == "advance":
        return "advance", None
    if rule.pause is not None:
        return "pause", rule.pause
    return ("resume", None) if state.phase is Phase.paused else ("none", None)


# --- in words -----------------------------------------------------------------------------------------------


def _sentence(outlook: Outlook, rule: _Rule, action: Action) -> str:
    """Say what it waits for, or what is done about it: the audit log keeps that as the reason."""
    state = outlook.picture.state
    at, said = percent(state.weight / LINE), rule.said(outlook)
    if rule.decision == "rollback":
        return f"rolling back from {at}: {said}"
    if outlook.soaking:
        return f"soaking: {said}"
    if state.phase is Phase.paused and action == "none":
        by = "by a person" if state.reason not in _STAYS else f"({state.reason})"
        return f"paused {by} at {at}: {said}"
    if action == "resume":
        return f"going on at {at}, its pause ({state.reason}) is over: {said}"
    return f"advancing from {at}: {said}" if rule.decision == "advance" else f"holding at {at}: {said}"
