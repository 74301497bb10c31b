"""What the admin API answers: the state of a migration, and why, without changing anything.

Answers come from the store, so that any replica tells the truth of the fleet. With the store away they come
from what this process obeys, and say so; what only the store knows is then missing, not made up.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from gateway.compat.catalog import Catalogue
from gateway.compat.explain.request import Explained
from gateway.compat.prompts import PromptVariant
from gateway.control import status as view
from gateway.control.preview import Previewer, Question
from gateway.control.status import Explanation, Incident, ReplicaCount, ReplicaStatus, Status
from gateway.core import assign
from gateway.core.evidence import Evidence, absorb
from gateway.core.gates.judge import judge
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import Judgement
from gateway.core.rollout import served_percent
from gateway.core.spec import Lists, MigrationSpec
from gateway.core.types import Arm, Event, MigrationState, parse_json, to_json
from gateway.errors import NotFound, StoreUnavailable
from gateway.store.ports import Recall, ReplicaReport, Store
from gateway.tasks import Clock

TICK_S = 1.0
"""How often the gates are judged."""


class Obeyed(Protocol):
    """What a process obeys."""

    @property
    def states(self) -> Mapping[str, MigrationState]:
        """The states of all migrations that were ever written."""
        ...

    def state(self, name: str) -> MigrationState:
        """Return the migration's state; a draft if it was never written."""
        ...


class ReplicaLike(Protocol):
    """This serving process, as the control plane needs it."""

    @property
    def snapshot(self) -> Obeyed:
        """What is obeyed now, kills on this disk included."""
        ...

    async def refresh(self) -> None:
        """Read the store now instead of at the next publication."""
        ...

    async def kill_locally(self, name: str, by: str, reason: str) -> None:
        """Stop the candidate here and wherever this disk is shared, until the whole fleet has agreed."""
        ...

    async def await_acknowledgements(
        self, name: str, order: tuple[int, int], timeout_s: float
    ) -> view.Acknowledgements:
        """Return as soon as every live replica obeys `order`, or after `timeout_s`."""
        ...

    def known_replicas(self) -> Sequence[str]:
        """Return the ids of all replicas that were alive when last heard of."""
        ...


class Pictures(Protocol):
    """Where the numbers come from that are judged; `autopilot.gather.Gatherer` is one."""

    async def picture(
        self, state: MigrationState, spec: MigrationSpec, reports: Sequence[ReplicaReport]
    ) -> Picture:
        """Return what is known of a migration, evidence aside; raises StoreUnavailable."""
        ...

    async def evidence(self, name: str) -> Evidence | None:
        """Return what the leader has gathered, as far as it is written down; raises StoreUnavailable."""
        ...


class Reader:
    """The control plane's questions. `specs` and `catalogue` are asked each time: files may change."""

    def __init__(
        self,
        store: Store,
        replica: ReplicaLike,
        *,
        replica_id: str,
        specs: Callable[[], Mapping[str, MigrationSpec]],
        catalogue: Callable[[], Catalogue],
        prompts: Callable[[], Sequence[PromptVariant]],
        unit_key: Callable[[str], str],
        pictures: Pictures,
        clock: Clock,
    ) -> None:
        """`unit_key` hashes a unit as the data path does."""
        self._previewer = Previewer(catalogue=catalogue, prompts=prompts)
        self._store = store
        self._replica = replica
        self._replica_id = replica_id
        self._specs = specs
        self._catalogue = catalogue
        self._unit_key = unit_key
        self._pictures = pictures
        self._clock = clock

    async def statuses(self) -> list[Status]:
        """Return the status of every migration that a file or a run names."""
        states, available = await self._states()
        return [await self.describe(states[name], available=available) for name in sorted(states)]

    async def status(self, name: str) -> Status:
        """Return the status of one migration; raises NotFound."""
        state, available = await self._state(name)
        return await self.describe(state, available=available)

    async def lists(self, name: str) -> Lists:
        """Return the lists in force."""
        state, _ = await self._state(name)
        return lists_in_force(state, self.file_spec(state))

    async def explain(self, name: str, unit: str, *, task: str | None = None) -> Explanation:
        """Return what a first message from `unit` would get."""
        state, available = await self._state(name)
        file_spec = self.file_spec(state)
        spec = state.spec or file_spec
        facts = assign.Facts(unit, names=(unit,), task=task)
        record = await self._record(state, unit) if available and state.run else None
        settled = assign.settle(state, facts, lists_in_force(state, file_spec), spec.holdback.percent)
        assignment = settled or assign.remember(state, facts, None, record)
        return Explanation(
            migration=name,
            unit=unit,
            arm=assignment.arm,
            reason=assignment.reason,
            bucket=assign.bucket_of(name, state.hash_run, unit) if state.run else None,
            rung=spec.unit[0] if spec.unit else "",
            enrolled=assignment.enrolled,
            record=record,
            phase=state.phase,
            run=state.run,
            weight_percent=served_percent(state),
        )

    async def events(self, name: str, since: int = 0) -> list[Event]:
        """Return the audit log after `since`, oldest first; raises NotFound, StoreUnavailable."""
        await self._state(name)
        return await self._store.events(name, since)

    async def incidents(self, name: str) -> list[Incident]:
        """Return one incident per rollback, oldest first."""
        return view.incidents_of(name, await self.events(name))

    async def replicas(self) -> list[ReplicaStatus]:
        """Return every serving process that is alive; raises StoreUnavailable."""
        now = self._clock.now()
        return [view.replica_status(report, now) for report in await self._store.replicas()]

    def models(self) -> list[dict[str, Any]]:
        """Return the catalogue's rows; `tier` is what the team decided."""
        rows = self._catalogue().models
        return [{**parse_json(to_json(model)), "tier": model.decision.tier} for model in rows]

    async def preview(self, question: Question, migration: str) -> Explained:
        """Return what would become of a request, by the policy of a migration's run; no side effect."""
        spec = None
        if migration:
            state, _ = await self._state(migration)
            spec = state.spec or self.file_spec(state)
        return await self._previewer.answer(question, spec)

    async def describe(
        self, state: MigrationState, *, replicas: ReplicaCount | None = None, available: bool = True
    ) -> Status:
        """Return the status object of `state`."""
        spec, now = state.spec or self.file_spec(state), self._clock.now()
        picture = await self._picture(state, spec) if available and state.run else None
        watched = picture is not None and state.phase in view.WATCHED
        facts = view.Facts(
            state=state,
            file_spec=self._specs().get(state.name),
            replicas=replicas or await self._replica_count(state, available),
            now=now,
            picture=picture,
            judgement=judge(picture) if picture is not None and watched else Judgement(),
            next_check_at=now + TICK_S if watched else None,
            store_available=available,
        )
        return view.describe(facts, spec)

    def file_spec(self, state: MigrationState) -> MigrationSpec:
        """Return the file's configuration, or the run's own where the file has gone; raises NotFound."""
        spec = self._specs().get(state.name) or state.spec
        if spec is None:
            known = ", ".join(sorted(self._specs())) or "none"
            raise NotFound(f"there is no migration {state.name!r}; known: {known}")
        return spec

    async def _states(self) -> tuple[dict[str, MigrationState], bool]:
        """Return the migrations that a file or a run names, and whether it was the store that said so."""
        files = self._specs()
        try:
            stored = await self._store.load()
        except StoreUnavailable:
            return {name: self._replica.snapshot.state(name) for name in files}, False
        runs = {name for name, state in stored.items() if state.spec is not None}
        return {name: self._newest(stored.get(name), name) for name in runs.union(files)}, True

    def _newest(self, stored: MigrationState | None, name: str) -> MigrationState:
        """Return what is stored, unless the store has just come back without what the fleet agreed on."""
        known = self._replica.snapshot.state(name), stored or MigrationState(name)
        return known[0] if known[0].order > known[1].order else known[1]

    async def _state(self, name: str) -> tuple[MigrationState, bool]:
        states, available = await self._states()
        state = states.get(name) or self._replica.snapshot.state(name)
        self.file_spec(state)
        return state, available

    async def _replica_count(self, state: MigrationState, available: bool) -> ReplicaCount:
        if available:
            with suppress(StoreUnavailable):
                return view.count_acknowledged(await self._store.replicas(), state)
        return view.alone(self._replica_id, self._replica.known_replicas())

    async def _picture(self, state: MigrationState, spec: MigrationSpec) -> Picture | None:
        """Return what the leader judges by, as far as it has written it down; None without the store."""
        with suppress(StoreUnavailable):
            picture = await self._pictures.picture(state, spec, await self._store.replicas())
            evidence = await self._pictures.evidence(state.name) or Evidence()
            if (evidence.run, evidence.entry) != (state.run, state.entry) and not picture.unmeasured:
                # A stage that nobody has looked at since it was entered: what the leader is about to say.
                evidence = absorb(evidence, picture, 0.0)
            return replace(picture, evidence=evidence)
        return None

    async def _record(self, state: MigrationState, unit: str) -> Arm | None:
        with suppress(StoreUnavailable):
            recall = Recall(state.name, state.run, pin_keys=(), unit_key=self._unit_key(unit))
            return (await self._store.recall(recall)).record
        return None


def lists_in_force(state: MigrationState, file_spec: MigrationSpec) -> Lists:
    """Return the lists: the file gives the first value, the store wins afterwards."""
    return state.lists if state.lists is not None else (state.spec or file_spec).lists
