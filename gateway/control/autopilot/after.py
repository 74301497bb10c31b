"""What whoever leads sees to once every migration has been looked after: what people are to read and know.

Each thing is due by what is stored, and done once: a paper that is kept is not written again, and what is in
the audit log is not told again, whoever led when it was.

- While a migration soaks, a report every seven days (document `report:<date>`, event `weekly-report`), and an
  event `drift` once the candidate has become worse than it was when it was promoted.
- As long as it is watched, an event `retirement` 30, 14, 7 and 1 days before control's model ends.
- After a rollback `incident:<seq>`, as soon as every replica has acknowledged it, or after 10 s without:
  only then it is known when each has last sent a request to the candidate. And not before each has written
  down what it counted until then.
- After `complete`, the last report (document `final`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Protocol

from gateway.control import status as view
from gateway.control.autopilot.controller import BY, Judged
from gateway.core.evidence import Evidence
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Verdict
from gateway.core.rollout import summary
from gateway.core.types import Event, MigrationState, Phase, parse_json, to_json
from gateway.store.ports import Order, Store
from gateway.tasks import Clock

WEEK_S = 7 * 86_400.0
WARN_DAYS = (1, 7, 14, 30)
"""Days before control's retirement on which somebody is told."""
SETTLE_S = 10.0
"""How long an incident waits for the last replica's acknowledgement."""
COUNTED_S = 3.0
"""How long it waits for the last counts: they are written every second."""


class Keeps(Protocol):
    """Who writes papers and keeps them; `papers.desk.Desk` is one."""

    async def keep_weekly(self, name: str, *, epoch: int) -> object: ...

    async def keep_incident(self, name: str, seq: int, *, epoch: int) -> object: ...

    async def keep_final(self, name: str, *, epoch: int) -> object: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A rollback that nothing has been written of yet."""

    order: Order
    """Of the state that was rolled back."""
    seq: int
    """Of its event; 0: there is nothing to write."""
    since: float
    """When this process first saw it, by the monotonic clock."""


class After:
    """Sees to what is due for people; the controller calls `tend` for each migration in every tick."""

    def __init__(
        self, store: Store, desk: Keeps, *, retires_on: Callable[[str], date | None], clock: Clock
    ) -> None:
        """`retires_on` knows the day from which a model is gone, by its id."""
        self._store, self._desk, self._retires_on, self._clock = store, desk, retires_on, clock
        self._settled: dict[str, Order] = {}
        """Migration → the state after which nothing is left to be written."""
        self._waiting: dict[str, _Waiting] = {}

    async def tend(self, state: MigrationState, judged: Judged | None, *, epoch: int) -> Evidence | None:
        """Write what is due; return the evidence if that says so from now on. Raises StoreUnavailable."""
        if state.phase in view.WATCHED:
            return await self._watch(judged, epoch) if judged is not None else None
        if self._settled.get(state.name) != state.order:
            if state.phase is Phase.completed:
                await self._finish(state, epoch)
            elif state.phase is Phase.rolled_back:
                await self._explain(state, epoch)
        return None

    # --- while it goes on -----------------------------------------------------------------------------------

    async def _watch(self, judged: Judged, epoch: int) -> Evidence | None:
        picture = judged.picture
        if picture.unmeasured:
            return None
        marked = await self._warn(picture, picture.evidence)
        if picture.state.phase is Phase.soaking:
            marked = await self._report(picture.state, marked, epoch)
            drift = (gate for gate in judged.judgement.gates if gate.name == "drift")
            marked = await self._tell_drift(picture.state, marked, next(drift, None))
        return marked if marked != picture.evidence else None

    async def _warn(self, picture: Picture, evidence: Evidence) -> Evidence:
        """Tell that control's model will be gone, each time that it is one of so many days nearer."""
        day, model = self._retires_on(picture.spec.control), picture.spec.control
        if day is None:
            return evidence
        left = (day - datetime.fromtimestamp(self._clock.now(), UTC).date()).days
        due = next((days for days in WARN_DAYS if left <= days), None)
        if due is None or (evidence.warned_days is not None and evidence.warned_days <= due):
            return evidence
        in_days = f"in {left} day{'' if left == 1 else 's'}" if left > 0 else "so it is gone"
        reason = f"control's model {model} retires on {day.isoformat()}, {in_days}"
        details = {"days": left, "model": model, "retires_on": day.isoformat()}
        await self._tell(picture.state, "retirement", reason, details)
        return replace(evidence, warned_days=due)

    async def _report(self, state: MigrationState, evidence: Evidence, epoch: int) -> Evidence:
        now = self._clock.now()
        if now - max(evidence.reported_at, state.stage_entered_at) < WEEK_S:
            return evidence
        await self._desk.keep_weekly(state.name, epoch=epoch)
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        await self._tell(state, "weekly-report", f"the report of {day} is written", {"report": day})
        return replace(evidence, reported_at=now)

    async def _tell_drift(
        self, state: MigrationState, evidence: Evidence, gate: GateResult | None
    ) -> Evidence:
        if gate is None or gate.verdict not in (Verdict.failed, Verdict.passed):
            return evidence
        drifts = gate.verdict is Verdict.failed
        if drifts and not evidence.drift_told:
            await self._tell(state, "drift", gate.reason, {"gates": parse_json(to_json([gate]))})
        return replace(evidence, drift_told=drifts)

    # --- once it is over ------------------------------------------------------------------------------------

    async def _finish(self, state: MigrationState, epoch: int) -> None:
        """Write the last report. Once: later there may be nothing left to write it from."""
        if not await self._is_told(state, "final-report"):
            await self._desk.keep_final(state.name, epoch=epoch)
            await self._tell(state, "final-report", "the final report is written", {})
        self._settled[state.name] = state.order

    async def _explain(self, state: MigrationState, epoch: int) -> None:
        """Write what happened, once it is over everywhere."""
        waiting, now = self._waiting.get(state.name), self._clock.monotonic()
        if waiting is None or waiting.order != state.order:
            waiting = _Waiting(state.order, await self._unwritten(state), now)
            self._waiting[state.name] = waiting
        if waiting.seq:
            replicas = view.count_acknowledged(await self._store.replicas(), state)
            if now - waiting.since < (SETTLE_S if replicas.missing else COUNTED_S):
                return
            await self._desk.keep_incident(state.name, waiting.seq, epoch=epoch)
        self._settled[state.name] = state.order

    async def _unwritten(self, state: MigrationState) -> int:
        """Return the seq of the event that rolled the run back, unless its report is there; else 0."""
        incidents = view.incidents_of(state.name, await self._store.events(state.name))
        if not incidents or incidents[-1].run != state.run:
            return 0
        seq = incidents[-1].id
        return 0 if await self._store.document(state.name, f"incident:{seq}") is not None else seq

    async def _tell(self, state: MigrationState, verb: str, reason: str, evidence: Mapping[str, Any]) -> None:
        """Append to the audit log, unless it is there: whoever led before may not have come to mark it."""
        if not await self._is_told(state, verb, reason):
            shown = summary(state)
            event = Event(self._clock.now(), BY, verb, reason, shown, shown, dict(evidence))
            await self._store.append(state.name, event)

    async def _is_told(self, state: MigrationState, verb: str, reason: str | None = None) -> bool:
        """Tell whether the run's audit log has it, in these words if any are given."""
        log = await self._store.events(state.name)
        told = (event for event in log if event.verb == verb and event.after.get("run") == state.run)
        return any(reason in (None, event.reason) for event in told)
