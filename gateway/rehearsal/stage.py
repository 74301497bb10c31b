"""Plays one failure after the other on a migration that runs itself, and says how each ended.

Each begins a run of its own and goes straight to a stage in the middle of the ramp: there the arms are
compared, and there are enough callers to judge by. Once the candidate has answered a few of them, the failure
is let loose, and from then on nobody touches anything.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gateway.core.spec import CompatPolicy, MigrationSpec
from gateway.demo.act import Operator, Talkers
from gateway.demo.story import last_rollback
from gateway.demo.world import WHO
from gateway.errors import GatewayError
from gateway.rehearsal.failures import HEALTHY, Failure
from gateway.rehearsal.report import Result
from gateway.rehearsal.witness import Felt, Witness
from gateway.tasks import Clock

REASON = "the rehearsal goes on"
ANSWERED = 10
"""Answers of a candidate that is well, before it is not."""
GRACE_S = 1.0
"""How long after a rollback a request may still go to the candidate: it was decided before."""
COMPLAINTS_AT_ONCE = 3
LEAST_PERCENT = 20.0
"""Of the callers, for failures to be noticed within seconds."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each part may take."""

    look_s: float = 0.1
    """From one look to the next."""
    stage_s: float = 20.0
    """Of a climb, per stage."""
    by_hand_s: float = 2.0
    """How long a stage that a person advances is looked at."""
    warm_s: float = 10.0
    """Until the candidate has answered a few requests."""
    detect_s: float = 40.0
    """Until a failure is noticed."""
    after_s: float = 1.5
    """How long the callers go on after a rollback."""
    settle_s: float = 2.5
    """How long after its beginning a failure counts that is to change nothing,"""
    stay_s: float = 6.0
    """and how long it is watched then."""


PATIENCE = Patience()


class Surroundings(Operator, Protocol):
    """A gateway and a Messages API whose faults can be chosen."""

    async def act(
        self, migration: str, verb: str, reason: str, *, force: bool = False
    ) -> Mapping[str, Any]: ...

    async def complain(self, request_id: str) -> None: ...

    async def break_with(self, *faults: str) -> None: ...


class Player:
    """Plays on one migration."""

    def __init__(
        self,
        spec: MigrationSpec,
        world: Surroundings,
        clock: Clock,
        *,
        callers: Callable[[], Talkers],
        patience: Patience = PATIENCE,
    ) -> None:
        self._spec, self._world, self._clock = spec, world, clock
        self._callers, self._patience = callers, patience
        self._status: Mapping[str, Any] = {}
        self._middle = middle(spec)

    # --- a candidate that is well -------------------------------------------------------------------------

    async def climb(self) -> Result:
        """Let a good candidate climb, and be the person where one is asked for."""
        began = self._clock.monotonic()
        witness = Witness(self._clock, lambda _: False)
        await self._begin()
        witness.begin()
        async with self._talking(witness):
            limit_s = self._patience.stage_s * len(self._spec.stages)
            over = await self._until(self._over, limit_s, each=self._lend_a_hand)
        climbed, why = over and not self._fallen(), self._told()
        if self._fallen():
            why = (last_rollback(await self._world.events(self._spec.name)) or {}).get("reason", why)
        problem = "" if climbed else f"it did not reach the top: {why}"
        if climbed and witness.felt.hurt and not _rejects(self._spec.compat):
            problem = f"{witness.felt.hurt} of its callers could not use the answer ({_worst(witness)})"
        result = Result(
            failure=HEALTHY,
            said="a good candidate is started and left alone",
            ok=not problem,
            ended="climbed" if climbed else "rolled_back" if self._fallen() else "stayed",
            why=why if climbed else "",
            problem=problem,
            percent=self._status["weight_percent"],
            took_s=self._clock.monotonic() - began,
        )
        return _counted(result, witness.felt)

    def _over(self) -> bool:
        return self._status["phase"] in ("soaking", "rolled_back")

    async def _lend_a_hand(self) -> None:
        """Approve what waits for an approval, and advance where only a person may."""
        status, stages, automatic = self._status, self._spec.stages, self._spec.automatic
        stage = stages[status["stage"]["index"]]
        last = stage is stages[-1]
        by_hand = not automatic or not (stage.advances or last)
        entered_at = float(status["stage"]["entered_at"] or 0.0)
        seen_enough = self._clock.now() - entered_at >= self._patience.by_hand_s
        with suppress(GatewayError):  # The controller was faster; or it never is, and then it says why.
            if status["phase"] == "paused" and status["reason"] == "approval":
                await self._world.act(self._spec.name, "approve", REASON)
            elif status["phase"] == "running" and by_hand and seen_enough:
                await self._world.act(self._spec.name, "advance", REASON, force=stage.approval)

    # --- a candidate that is not --------------------------------------------------------------------------

    async def fail(self, failure: Failure) -> Result:
        """Let one thing go wrong."""
        began = self._clock.monotonic()
        stage = self._spec.stages[self._middle]
        blank = Result(
            failure=failure.name,
            said=failure.in_words(self._spec),
            ok=True,
            ended="unguarded",
            stage=stage.name,
            percent=stage.percent,
            expected=failure.guards(self._spec),
        )
        if failure.gates and not blank.expected:
            return replace(blank, why=f"the migration has switched off {' and '.join(failure.gates)}")
        witness = Witness(self._clock, failure.shows, failure.complains)
        await self._begin()
        await self._reach(self._middle)
        try:
            async with self._talking(witness, silent=failure.silent):
                judged = await self._play(failure, witness)
        finally:
            await self._world.break_with()
        result = replace(blank, took_s=self._clock.monotonic() - began, **judged)
        return _counted(result, witness.felt)

    async def _play(self, failure: Failure, witness: Witness) -> dict[str, Any]:
        patience = self._patience
        if not failure.silent:
            await self._until(lambda: witness.answered >= ANSWERED, patience.warm_s)
        witness.begin()
        await self._world.break_with(*failure.strike(self._spec))
        if not failure.gates:
            return await self._stay()
        await self._until(self._fallen, patience.detect_s, each=lambda: self._complain(witness))
        if not self._fallen():
            said = [f"{gate['name']}: {gate['reason']}" for gate in self._status["gates"]]
            why = "; ".join(line for line in said if line.startswith(failure.gates)) or self._told()
            return {"ok": False, "ended": "stayed", "why": why, "problem": "nothing stopped it"}
        await self._until(lambda: False, patience.after_s)
        return await self._stopped(failure, witness)

    async def _stay(self) -> dict[str, Any]:
        """Watch what must neither fall nor climb."""
        await self._until(self._fallen, self._patience.settle_s)
        index = self._status["stage"]["index"]

        def moved() -> bool:
            return self._fallen() or bool(self._status["stage"]["index"] != index)

        problem = ""
        if self._fallen() or await self._until(moved, self._patience.stay_s):
            problem = "it was rolled back" if self._fallen() else "it went on to the next stage"
        ended = "rolled_back" if self._fallen() else "stayed"
        return {"ok": not problem, "ended": ended, "why": self._told(), "problem": problem}

    async def _stopped(self, failure: Failure, witness: Witness) -> dict[str, Any]:
        """Judge a rollback by the audit log and by what the callers felt."""
        event = last_rollback(await self._world.events(self._spec.name)) or {}
        felt, at = witness.felt, float(event.get("at", 0.0))
        gates = tuple(gate["name"] for gate in event.get("evidence", {}).get("gates", ()))
        first = felt.first_bad_at
        problems = {
            "it was not rolled back by its gates": event.get("by") == WHO or not gates,
            "the failure did not strike": first is None,
            f"it was stopped by {' and '.join(gates)} instead": not {*gates} & {*failure.gates},
            f"control could have answered, yet {felt.hurt} callers saw an error": failure.spares
            and felt.hurt > 0,
            "requests went to the candidate after the rollback": self._spec.on_rollback.mode == "evict"
            and (felt.last_candidate_at or 0.0) > at + GRACE_S,
        }
        return {
            "ok": not any(problems.values()),
            "ended": "rolled_back",
            "why": str(event.get("reason", "")),
            "problem": next((words for words, wrong in problems.items() if wrong), ""),
            "gates": gates,
            # A gate may have seen enough before the first of its callers has its whole answer.
            "rollback_s": None if first is None else max(at - first, 0.0),
            "last_request_s": None if first is None else max((felt.last_candidate_at or first) - first, 0.0),
        }

    async def _complain(self, witness: Witness) -> None:
        for _ in range(min(len(witness.complaints), COMPLAINTS_AT_ONCE)):
            await self._world.complain(witness.complaints.popleft())

    # --- moves --------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Begin a run, whatever became of the one before."""
        await self._world.break_with()
        phase = (await self._look())["phase"]
        if phase in ("running", "paused", "soaking"):
            await self._world.act(self._spec.name, "rollback", REASON)
        await self._world.act(self._spec.name, "start" if phase == "draft" else "restart", REASON)
        await self._look()

    async def _reach(self, index: int) -> None:
        """Go to a stage without waiting for anything."""
        limit = 3 * len(self._spec.stages)
        while self._status["stage"]["index"] < index and limit:
            limit -= 1
            try:
                await self._world.act(self._spec.name, "advance", REASON, force=True)
            except GatewayError:
                # The controller was faster.
                if not limit:
                    raise
            await self._look()
        await self._until(self._agreed, self._patience.warm_s)

    @asynccontextmanager
    async def _talking(self, witness: Witness, *, silent: bool = False) -> AsyncIterator[None]:
        """Let callers talk for a while; their last answers are in at the end."""
        if silent:
            yield
            return
        callers = self._callers()
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(callers.talk(lambda: "", witness.see), name="callers")
            try:
                yield
            finally:
                callers.stop()
            await talking

    async def _until(self, happened: Callable[[], bool], limit_s: float, *, each: Any = None) -> bool:
        give_up_at = self._clock.monotonic() + limit_s
        await self._look()
        while not happened():
            if self._clock.monotonic() >= give_up_at:
                return False
            if each is not None:
                await each()
            await asyncio.sleep(self._patience.look_s)
            await self._look()
        return True

    async def _look(self) -> Mapping[str, Any]:
        self._status = await self._world.status(self._spec.name)
        return self._status

    def _fallen(self) -> bool:
        return bool(self._status["phase"] == "rolled_back")

    def _agreed(self) -> bool:
        replicas = self._status["replicas"]
        return bool(replicas["acknowledged"] >= replicas["expected"] > 0)

    def _told(self) -> str:
        return str(self._status.get("summary", ""))


def middle(spec: MigrationSpec) -> int:
    """Return the stage in which failures are let loose: arms that are compared, and callers enough."""
    enough = [index for index, stage in enumerate(spec.stages) if LEAST_PERCENT <= stage.percent <= 50]
    compared = [index for index, stage in enumerate(spec.stages) if 0 < stage.percent <= 50]
    return enough[0] if enough else compared[-1] if compared else len(spec.stages) - 1


def _counted(result: Result, felt: Felt) -> Result:
    return replace(
        result,
        requests=felt.requests,
        candidate=felt.candidate,
        hurt=felt.hurt,
        rescued=felt.rescued,
    )


def _rejects(policy: CompatPolicy) -> bool:
    """Tell whether callers get errors because the migration says so."""
    words = (policy.prefill, policy.forced_tool, policy.unservable)
    return "reject" in words or any(map(_rejects, policy.tasks.values()))


def _worst(witness: Witness) -> str:
    return max(witness.worst, key=lambda words: witness.worst[words])
