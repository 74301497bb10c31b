"""What the admin API does: every verb is one compare-and-set.

A write reads the state, lets `core.rollout` say what the verb makes of it, and commits state, audit event
and publication in one step on the (epoch, version) that it read. Whoever loses a race reads again and asks
the state machine again - unless the caller said which version they had seen (`If-Match`): then they are
told, and decide anew.

Nobody is kept from a run with an open checklist, or from leaving a stage while a gate wants a rollback, who
forces it and says why: the audit log then says that it was forced, and past what. Whatever else was not green
when a person advanced is in the log as well. The controller's own verbs are compare-and-set on the very state
that it judged: if anything was written since, they are refused.

Without the store nothing can be written, with one exception: an emergency rollback then stops this process
and all that share its disk at once, and its answer names the replicas of which nothing is known.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gateway.control import status as view
from gateway.control.reader import Reader, ReplicaLike, lists_in_force
from gateway.control.status import Acknowledgements, ReplicaCount, Status
from gateway.core.gates.verdict import GateResult, Judgement, PauseReason, Verdict
from gateway.core.rollout import TAKES_EPOCH, Order, Verb, carry_out, summary
from gateway.core.spec import Lists, MigrationSpec
from gateway.core.types import Event, MigrationState, Phase, parse_json, to_json
from gateway.errors import Conflict, StaleWrite, StoreUnavailable
from gateway.store.ports import Store
from gateway.tasks import Clock

ATTEMPTS = 5
"""How often a write that loses its race is tried."""
EMERGENCY_ATTEMPTS = 50
EMERGENCY_S = 2.0
"""How long an emergency rollback waits for acknowledgements, its own work included."""
LANDING_S = 0.1
"""How long a request that was sent right before its replica obeyed may take to arrive at the upstream."""
ROLLBACK_ACK_S = 1.0
ACK_S = 0.25
"""How long other verbs wait, so that their answer seldom names a replica that is merely a moment behind."""

Change = Callable[[MigrationState, MigrationSpec], Awaitable[tuple[MigrationState, Event] | None]]
"""What a write makes of the state that is stored, with its audit event; None: nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A verb as somebody asked for it."""

    verb: Verb
    by: str
    reason: str = ""
    percent: float | None = None
    mode: Literal["evict", "drain"] | None = None
    force: bool = False
    """Past an open checklist, a failing gate or the second person's approval; kept in the audit log."""
    keep_assignment: bool = False
    """For restart: everybody keeps the arm of the run before."""
    exclude_previous: bool = False
    """For restart: whoever the run before gave to the candidate stays on control."""
    if_match: int | None = None
    """The version that the caller saw; None: whatever it is now."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What somebody showed of a migration before it runs."""

    kind: Literal["rehearsal", "evals", "baseline"]
    passed: bool
    summary: str
    """One sentence for people."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Never prompts or answers."""


@dataclass(frozen=True, slots=True)
class Emergency:
    """How an emergency rollback ended."""

    status: Literal["rolled_back", "rolled_back_locally"]
    weight_percent: int
    replicas: ReplicaCount
    took_ms: int
    last_candidate_request: Mapping[str, float | None] = field(default_factory=dict)
    """Replica → when it last sent a request to the candidate, null if never; empty if none could be asked."""


async def nothing_open(name: str) -> Sequence[str]:
    """Return the open items of a checklist that nobody keeps."""
    return ()


class ControlService:
    """The control plane's verbs; `read` answers its questions."""

    def __init__(
        self,
        read: Reader,
        store: Store,
        replica: ReplicaLike,
        *,
        replica_id: str,
        clock: Clock,
        open_items: Callable[[str], Awaitable[Sequence[str]]] = nothing_open,
        emergency_store_s: float = 0.7,
        landing_s: float = LANDING_S,
    ) -> None:
        """`open_items` names what a migration's checklist still asks for before a run.

        `emergency_store_s` bounds the store in an emergency.
        """
        self.read = read
        self._store = store
        self._replica = replica
        self._replica_id = replica_id
        self._clock = clock
        self._open_items = open_items
        self._emergency_store_s = emergency_store_s
        self._landing_s = landing_s

    async def act(self, name: str, ask: Ask) -> Status:
        """Carry out one verb; raises NotFound, Conflict, StaleWrite, BadRequest or StoreUnavailable."""
        order = Order(
            ask.verb,
            ask.by,
            self._clock.now(),
            ask.reason,
            percent=ask.percent,
            mode=ask.mode,
            force=ask.force,
            keep_assignment=ask.keep_assignment,
            exclude_previous=ask.exclude_previous,
        )

        async def change(before: MigrationState, file_spec: MigrationSpec) -> tuple[MigrationState, Event]:
            after = carry_out(before, order, file_spec)
            return after, _event(order, before, after, await self._grounds(order, before, file_spec))

        state = await self._write(
            name, change, if_match=ask.if_match, fresh_epoch=ask.verb in TAKES_EPOCH, attempts=ATTEMPTS
        )
        rolls_back = ask.verb == "rollback"
        acks = await self._spread(state, ROLLBACK_ACK_S if rolls_back else ACK_S)
        status = await self.read.describe(state, replicas=view.counted(acks) if acks else None)
        return replace(status, last_candidate_request=_last_sent(acks)) if acks and rolls_back else status

    async def set_lists(
        self, name: str, edit: Callable[[Lists], Lists], *, by: str, reason: str, if_match: int | None
    ) -> Lists:
        """Replace the lists by what `edit` makes of the present ones; raises as `act` does."""
        now = self._clock.now()

        async def change(before: MigrationState, file_spec: MigrationSpec) -> tuple[MigrationState, Event]:
            old = lists_in_force(before, file_spec)
            after = replace(before, lists=edit(old), updated_at=now, updated_by=by)
            was, shall_be = _summaries(before, after)
            was |= {"lists": parse_json(to_json(old))}
            shall_be |= {"lists": parse_json(to_json(after.lists))}
            return after, Event(now, by, "set-lists", reason, was, shall_be)

        state = await self._write(name, change, if_match=if_match, attempts=ATTEMPTS)
        await self._spread(state, ACK_S)
        return state.lists or Lists()

    async def emergency_rollback(self, name: str, *, by: str, reason: str) -> Emergency:
        """Stop the candidate everywhere, or here where the store is away; repeating it changes nothing.

        The answer comes once what was on its way has landed: after it, nothing reaches the candidate.
        """
        order = Order("emergency-rollback", by, self._clock.now(), reason)
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._emergency_store_s):
                state = await self._kill(name, order)
                await self._replica.refresh()
            left_s = max(0.0, EMERGENCY_S - (self._clock.monotonic() - started))
            acks = await self._replica.await_acknowledgements(name, state.order, left_s)
            await asyncio.sleep(self._landing_s)
            took_ms, last_sent = self._ms_since(started), _last_sent(acks)
            return Emergency("rolled_back", 0, view.counted(acks), took_ms, last_sent)
        except (StoreUnavailable, StaleWrite, TimeoutError):
            await self._kill_here(name, order)
            await asyncio.sleep(self._landing_s)
            replicas = view.alone(self._replica_id, self._replica.known_replicas())
            return Emergency("rolled_back_locally", 0, replicas, self._ms_since(started))

    async def prove(self, name: str, proof: Proof, *, by: str) -> None:
        """Note what was shown of a migration, for its checklist; raises NotFound, StoreUnavailable."""
        stored = await self._store.load()
        self.read.file_spec(stored.get(name) or MigrationState(name))
        evidence = {"kind": proof.kind, "passed": proof.passed, "details": dict(proof.details)}
        await self._store.append(name, Event(self._clock.now(), by, "proof", proof.summary, {}, {}, evidence))

    async def roll_back_automatically(
        self,
        judged: MigrationState,
        failed: Sequence[GateResult],
        *,
        by: str,
        epoch: int,
        judgement: Judgement | None = None,
    ) -> None:
        """Roll back the state that was judged; raises StaleWrite if that is no longer what is stored.

        This and what follows is the controller's: `epoch` is its fencing epoch, `judgement` all that it saw.
        """
        reason = "; ".join(f"{gate.name}: {gate.reason}" for gate in failed)
        order = Order("automatic-rollback", by, self._clock.now(), reason)
        metrics = judgement.metrics if judgement else ()
        await self._by_itself(order, judged, epoch, Judgement(tuple(failed), metrics))

    async def advance_automatically(
        self, judged: MigrationState, reason: str, *, by: str, epoch: int, judgement: Judgement | None = None
    ) -> None:
        """Enter the next stage, or soaking; raises StaleWrite and Conflict."""
        order = Order("automatic-advance", by, self._clock.now(), reason)
        await self._by_itself(order, judged, epoch, judgement)

    async def pause_automatically(
        self,
        judged: MigrationState,
        pause_reason: PauseReason,
        reason: str,
        *,
        by: str,
        epoch: int,
        judgement: Judgement | None = None,
    ) -> None:
        """Stop advancing until the reason is gone; raises StaleWrite and Conflict."""
        order = Order("automatic-pause", by, self._clock.now(), reason, pause_reason=pause_reason)
        await self._by_itself(order, judged, epoch, judgement)

    async def resume_automatically(
        self, judged: MigrationState, reason: str, *, by: str, epoch: int, judgement: Judgement | None = None
    ) -> None:
        """Go on after a pause of the controller's own; raises StaleWrite and Conflict."""
        order = Order("automatic-resume", by, self._clock.now(), reason)
        await self._by_itself(order, judged, epoch, judgement)

    async def freeze_baseline(
        self, judged: MigrationState, slow_after_s: float, *, by: str, epoch: int
    ) -> None:
        """Keep, for the rest of the run, what counts as slow; raises StaleWrite and Conflict."""
        reason = f"answers that take longer than {slow_after_s:g} s are slow: control's p95 so far"
        order = Order("freeze-baseline", by, self._clock.now(), reason, slow_after_s=slow_after_s)
        await self._by_itself(order, judged, epoch, None)

    async def _by_itself(
        self, order: Order, judged: MigrationState, epoch: int, judgement: Judgement | None
    ) -> None:
        after = carry_out(judged, order, self.read.file_spec(judged))
        # A start takes an epoch of its own, above that of whoever leads at the time.
        after = replace(after, epoch=max(epoch, judged.epoch))
        seen = {"gates": judgement.gates, "metrics": judgement.metrics} if judgement else {}
        event = _event(order, judged, after, parse_json(to_json(seen)))
        await self._store.commit(after, event, expected=judged.order, term=epoch)
        with suppress(StoreUnavailable):
            await self._replica.refresh()

    async def _grounds(
        self, order: Order, before: MigrationState, file_spec: MigrationSpec
    ) -> dict[str, Any]:
        """Return what the audit log is to know besides the reason; raises Conflict if it must be forced."""
        grounds: dict[str, Any] = {}
        if order.verb in ("start", "restart"):
            if items := list(await self._open_items(before.name)):
                grounds["open_items"] = items
            if items and file_spec.checklist == "required" and not order.force:
                raise Conflict(
                    f"the checklist of migration {before.name!r} is open: {'; '.join(items)} - do these, or "
                    f"force the {order.verb} and say why"
                )
        elif order.verb == "advance":
            gates = (await self.read.describe(before)).gates
            if not gates and not order.force:
                raise StoreUnavailable("the gates cannot be read now; force the advance, or try again")
            failed = Judgement(gates=gates).failed
            if failed and not order.force:
                why = "; ".join(f"{gate.name}: {gate.reason}" for gate in failed)
                raise Conflict(f"migration {before.name!r} should be rolled back, not advanced ({why})")
            grounds["gates"] = parse_json(to_json([g for g in gates if g.verdict is not Verdict.passed]))
        said = {"forced": order.force, "keep_assignment": order.keep_assignment}
        said |= {"exclude_previous": order.exclude_previous}
        return grounds | {word: True for word, given in said.items() if given}

    async def _write(
        self,
        name: str,
        change: Change,
        *,
        attempts: int,
        if_match: int | None = None,
        fresh_epoch: bool = False,
    ) -> MigrationState:
        while True:
            attempts -= 1
            before = await self._agreed(name)
            file_spec = self.read.file_spec(before)
            if if_match is not None and before.version != if_match:
                raise StaleWrite(
                    f"migration {name!r} is at version {before.version}, not {if_match}; read it again"
                )
            changed = await change(before, file_spec)
            if changed is None:
                return before
            after, event = changed
            if fresh_epoch:
                after = replace(after, epoch=await self._store.next_epoch())
            try:
                return await self._store.commit(after, event, expected=before.order)
            except StaleWrite:
                if not attempts:
                    raise

    async def _agreed(self, name: str) -> MigrationState:
        """Return what the fleet has agreed on, also where the store has just come back without it."""
        stored = await self._store.load()
        if self._replica.snapshot.state(name).order > (stored.get(name) or MigrationState(name)).order:
            await self._replica.refresh()
            stored = await self._store.load()
        return stored.get(name) or MigrationState(name)

    async def _spread(self, state: MigrationState, timeout_s: float) -> Acknowledgements | None:
        """Obey `state` here, and wait a little for the others; None if the store went away meanwhile."""
        with suppress(StoreUnavailable):
            await self._replica.refresh()
            return await self._replica.await_acknowledgements(state.name, state.order, timeout_s)
        return None

    async def _kill(self, name: str, order: Order) -> MigrationState:
        async def change(
            before: MigrationState, file_spec: MigrationSpec
        ) -> tuple[MigrationState, Event] | None:
            if before.killed:
                return None
            after = carry_out(before, order, file_spec)
            return after, _event(order, before, after)

        return await self._write(name, change, fresh_epoch=True, attempts=EMERGENCY_ATTEMPTS)

    async def _kill_here(self, name: str, order: Order) -> None:
        obeyed = self._replica.snapshot.state(name)
        # For its refusal alone: what is completed is not killed.
        carry_out(obeyed, order, self.read.file_spec(obeyed))
        await self._replica.kill_locally(name, order.by, order.reason)

    def _ms_since(self, started: float) -> int:
        return round((self._clock.monotonic() - started) * 1000)


def _event(
    order: Order, before: MigrationState, after: MigrationState, evidence: Mapping[str, Any] | None = None
) -> Event:
    was, shall_be = _summaries(before, after)
    details = dict(evidence or {})
    if after.phase is Phase.rolled_back:
        details["mode"] = "drain" if after.draining else "evict"
    return Event(order.at, order.by, order.verb, order.reason, was, shall_be, details)


def _last_sent(acks: Acknowledgements) -> dict[str, float | None]:
    return {replica: at or None for replica, at in sorted(acks.candidate_sent_at.items())}


def _summaries(before: MigrationState, after: MigrationState) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what an audit event shows of both; the store will give the next version."""
    return summary(before), summary(replace(after, version=before.version + 1))
