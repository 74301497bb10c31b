"""The tick of whoever leads: look at each migration, and do what follows.

A tick decides from what is stored and from the evidence gathered so far, so that ticks may be repeated, late
or doubled: an action is a compare-and-set on the very state that was judged, so it happens once. The lease is
confirmed right before, and every write carries its epoch: a process that slept through its lease changes
nothing, neither the state nor the evidence.

Evidence is read once by whoever begins to lead and remembered from then on; should the store lose it, the
leader goes on from memory. Time is watched by the leader's own clock, at most `GAP_S` from tick to tick; only
from one leader to the next it is taken from the wall clock, within the same bounds.

A rollback comes before everything else that a migration needs, and papers come after all migrations.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from gateway.control.autopilot.gather import EVIDENCE, Gatherer
from gateway.control.autopilot.lease import Lease
from gateway.control.status import WATCHED
from gateway.core.evidence import Evidence, absorb, baseline_of
from gateway.core.gates.judge import judge
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Judgement, PauseReason
from gateway.core.spec import MigrationSpec
from gateway.core.stats.histogram import count, quantile
from gateway.core.types import Arm, MigrationState, Phase, to_json
from gateway.errors import Conflict, StaleWrite, StoreUnavailable
from gateway.store.ports import ReplicaReport, Store
from gateway.tasks import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")

GAP_S = 30.0
"""Most time between two looks that counts as watched."""
BASELINE_REQUESTS = 200
"""Answers of control's before its p95 is frozen: what is slower counts as slow from then on."""
BY = "controller"


class Orders(Protocol):
    """What the controller may do; `ControlService` is one.

    Each raises Conflict (StaleWrite included) if what was judged is no longer what is stored. `judgement` is
    what the audit log keeps as its grounds.
    """

    async def roll_back_automatically(
        self,
        judged: MigrationState,
        failed: Sequence[GateResult],
        *,
        by: str,
        epoch: int,
        judgement: Judgement | None = None,
    ) -> None: ...

    async def advance_automatically(
        self, judged: MigrationState, reason: str, *, by: str, epoch: int, judgement: Judgement | None = None
    ) -> None: ...

    async def pause_automatically(
        self,
        judged: MigrationState,
        pause_reason: PauseReason,
        reason: str,
        *,
        by: str,
        epoch: int,
        judgement: Judgement | None = None,
    ) -> None: ...

    async def resume_automatically(
        self, judged: MigrationState, reason: str, *, by: str, epoch: int, judgement: Judgement | None = None
    ) -> None: ...

    async def freeze_baseline(
        self, judged: MigrationState, slow_after_s: float, *, by: str, epoch: int
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """A migration as the last tick saw it."""

    picture: Picture
    judgement: Judgement


class Aftercare(Protocol):
    """What is written for people once every migration has been looked after."""

    async def tend(self, state: MigrationState, judged: Judged | None, *, epoch: int) -> Evidence | None:
        """Write what is due; return the evidence if that says so from now on. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class _Memory:
    """What this process remembers of a migration."""

    evidence: Evidence
    looked_at: float
    """By the monotonic clock."""
    term: int
    """The epoch of the lease under which it was gathered."""


class Controller:
    """Looks after the fleet's migrations while it leads. `tick` it about once a second."""

    def __init__(
        self,
        store: Store,
        orders: Orders,
        *,
        gatherer: Gatherer,
        specs: Callable[[], Mapping[str, MigrationSpec]],
        holder: str,
        clock: Clock,
        on_error: Callable[[str], None],
        aftercare: Aftercare | None = None,
    ) -> None:
        """`holder` names this process; `on_error` is told which operation of the store failed."""
        self._lease = Lease(store, holder=holder, clock=clock)
        self._store, self._orders, self._gatherer = store, orders, gatherer
        self._specs, self._clock, self._on_error = specs, clock, on_error
        self._aftercare = aftercare
        self._memory: dict[str, _Memory] = {}
        self.judged: Mapping[str, Judged] = {}
        """Of the last tick in which this process led, by migration."""

    @property
    def epoch(self) -> int | None:
        """The fencing epoch while this process leads, else None."""
        return self._lease.epoch

    @property
    def leader(self) -> bool:
        """Whether this process leads now."""
        return self.epoch is not None

    async def tick(self) -> None:
        """Keep or seek the lease; judge and act if there is one. Never raises for a store that is away."""
        try:
            asked = "renew_lease" if self.leader else "acquire_lease"
            epoch = await self._ask(asked, self._lease.keep())
            if epoch is not None:
                states = await self._ask("load", self._store.load())
                await self._watch(states, epoch)
                await self._tend(states)
        except StoreUnavailable:
            pass  # Counted where it happened: the next tick decides from what is stored then.
        if not self.leader:
            self.judged = {}

    async def close(self) -> None:
        """Step down."""
        try:
            await self._lease.release()
        except StoreUnavailable:
            self._on_error("release_lease")

    async def _watch(self, states: Mapping[str, MigrationState], epoch: int) -> None:
        watched = {name: state for name, state in states.items() if state.phase in WATCHED}
        reports = await self._ask("replicas", self._store.replicas()) if watched else []
        self.judged = {name: seen for name, seen in self.judged.items() if name in watched}
        for name, state in watched.items():
            if not self.leader:
                return
            try:
                judged = await self._look(state, reports, epoch)
                self.judged = {**self.judged, name: judged}
                await self._follow(judged)
            except Conflict as overtaken:
                # Somebody wrote after the state was judged: the next tick judges what is stored then.
                logger.info("an action was overtaken", extra={"migration": name, "why": overtaken.message})
            except StoreUnavailable:
                raise
            except Exception:
                self.judged = {each: seen for each, seen in self.judged.items() if each != name}
                logger.exception("a migration could not be looked after", extra={"migration": name})

    # --- one migration --------------------------------------------------------------------------------------

    async def _look(self, state: MigrationState, reports: Sequence[ReplicaReport], epoch: int) -> Judged:
        """Read, add what is new to the evidence, and judge."""
        spec = state.spec or self._specs()[state.name]
        picture = await self._ask("gather", self._gatherer.picture(state, spec, reports))
        evidence, elapsed_s = await self._recall(state, epoch)
        if not picture.unmeasured:
            evidence = _framed(absorb(evidence, picture, elapsed_s), picture)
            evidence = replace(evidence, at=self._clock.now())
        self._memory[state.name] = _Memory(evidence, self._clock.monotonic(), epoch)
        picture = replace(picture, evidence=evidence)
        return Judged(picture, judge(picture))

    async def _recall(self, state: MigrationState, epoch: int) -> tuple[Evidence, float]:
        """Return the evidence so far, and how much of the time since it was made counts."""
        known = self._memory.get(state.name)
        evidence = known.evidence if known is not None else Evidence()
        elapsed_s = self._clock.monotonic() - known.looked_at if known is not None else 0.0
        if known is None or known.term != epoch:
            stored = await self._ask("document", self._gatherer.evidence(state.name))
            if stored is not None and stored.run == state.run:
                evidence, elapsed_s = stored, self._clock.now() - stored.at
        if (evidence.run, evidence.entry) != (state.run, state.entry):
            elapsed_s = 0.0  # Time in another stage is no time in this one.
        return evidence, min(max(elapsed_s, 0.0), GAP_S)

    async def _follow(self, judged: Judged) -> None:
        """Do what the judgement asks for, and write the evidence down: the one that cannot wait first."""
        if judged.judgement.action == "rollback":
            await self._act(judged)
            await self._keep(judged)
        else:
            await self._keep(judged)
            await self._act(judged)

    async def _keep(self, judged: Judged) -> None:
        name, epoch = judged.picture.state.name, self._lease.epoch
        if epoch is None or judged.picture.unmeasured:
            return
        body = to_json(judged.picture.evidence)
        try:
            await self._ask("put_document", self._store.put_document(name, EVIDENCE, body, epoch=epoch))
        except StaleWrite:
            await self._ask("renew_lease", self._lease.confirm())
            raise

    async def _act(self, judged: Judged) -> None:
        order = self._order(judged)
        if order is None:
            return
        epoch = await self._ask("renew_lease", self._lease.confirm())
        if epoch is None:
            logger.warning("the controller's lease was lost; another process leads")
            return
        await self._ask("commit", order(epoch=epoch))
        did = judged.judgement.action if judged.judgement.action != "none" else "freeze-baseline"
        level = logging.WARNING if did == "rollback" else logging.INFO
        details = {"migration": judged.picture.state.name, "action": did, "why": judged.judgement.reason}
        logger.log(level, "the controller has acted", extra=details)

    def _order(self, judged: Judged) -> Callable[..., Awaitable[None]] | None:
        state, judgement, orders = judged.picture.state, judged.judgement, self._orders
        told: dict[str, Any] = {"by": BY, "judgement": judgement}
        match judgement.action:
            case "rollback":
                return partial(orders.roll_back_automatically, state, judgement.failed, **told)
            case "advance":
                return partial(orders.advance_automatically, state, judgement.reason, **told)
            case "pause":
                why = judgement.pause_reason or "inconclusive"
                return partial(orders.pause_automatically, state, why, judgement.reason, **told)
            case "resume":
                return partial(orders.resume_automatically, state, judgement.reason, **told)
        slow_after_s = _slow_after(judged.picture)
        return partial(orders.freeze_baseline, state, slow_after_s, by=BY) if slow_after_s else None

    # --- for people -----------------------------------------------------------------------------------------

    async def _tend(self, states: Mapping[str, MigrationState]) -> None:
        for name, state in states.items():
            epoch = self._lease.epoch
            if self._aftercare is None or epoch is None:
                return
            judged = self.judged.get(name)
            if judged is not None and judged.judgement.action != "none":
                continue  # What was judged is over; the next tick sees what came of it.
            try:
                marked = await self._ask("tend", self._aftercare.tend(state, judged, epoch=epoch))
                if marked is not None and judged is not None:
                    self._memory[name] = replace(self._memory[name], evidence=marked)
                    await self._keep(replace(judged, picture=replace(judged.picture, evidence=marked)))
            except StoreUnavailable:
                raise
            except Exception:
                logger.exception("what is due for people could not be written", extra={"migration": name})

    async def _ask(self, operation: str, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except StoreUnavailable:
            self._on_error(operation)
            raise


def _framed(evidence: Evidence, picture: Picture) -> Evidence:
    """Return the evidence with what the arms are like: control as long as it may be taken for what it was
    before, the candidate once, when it was promoted."""
    state = picture.state
    if state.phase is Phase.soaking:
        promoted = evidence.promoted or baseline_of(picture.run, Arm.candidate, picture.now)
        return replace(evidence, promoted=promoted)
    if picture.compared or not state.weight:
        return replace(evidence, control=baseline_of(picture.run, Arm.control, picture.now))
    return evidence


def _slow_after(picture: Picture) -> float | None:
    """Return control's p95, once, when there are enough answers to know it by."""
    state, durations = picture.state, picture.run.arms[Arm.control].durations
    if picture.unmeasured or state.phase is not Phase.running or state.slow_after_s:
        return None
    return quantile(durations, 0.95) if count(durations) >= BASELINE_REQUESTS else None
