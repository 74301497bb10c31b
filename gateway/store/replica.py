"""One serving process as a member of the fleet: what it obeys, whom it tells, what it does without the store.

It holds one frozen snapshot, which never expires. Whatever brings news (a publication, the poll, a commit of
its own control plane, the kill file) goes the same way: merge, obey, tell the data path (`on_change`), and
only then acknowledge. So what is acknowledged is served, and nothing older.

Without the store nothing changes here but the age of the snapshot and what is killed on this disk. A process
that starts takes the store's word, else the disk's, else everything goes to control; it never waits long.

When the store comes back it may have lost something. What this process holds newer is restored: every replica
tries and one does. The epoch is raised before, so that nobody is fenced off by a counter that began again. A
kill that waited on this disk is pushed with a fresh epoch, and let go once what answers it is on disk too.

A process that died is not waited for: whoever shares its disk sees that it is gone, and takes leave for it.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from gateway import __version__
from gateway.core.rollout import TABLE, emergency
from gateway.core.types import MigrationState
from gateway.errors import StaleWrite, StoreUnavailable
from gateway.store import snapshot as disk
from gateway.store.kill import Kill, KillSwitch
from gateway.store.local.disk import replace_file
from gateway.store.local.presence import Presence
from gateway.store.ports import Order, ReplicaReport, Store
from gateway.store.snapshot import Origin, Snapshot, corrected, merge, obey
from gateway.tasks import Clock, Tasks

logger = logging.getLogger(__name__)

T = TypeVar("T")

KEY_FILE = "fleet-key"
ACK_POLL_S = 0.015
ACK_RETRY_S = 0.1
"""Between two questions for acknowledgements, and after one that failed."""


@dataclass(frozen=True, slots=True)
class Acks:
    """Who obeys a version, of those who are expected to."""

    expected: tuple[str, ...]
    acknowledged: tuple[str, ...]
    missing: tuple[str, ...]
    candidate_sent_at: Mapping[str, float] = field(default_factory=dict)
    """Replica → when it last sent a request to the candidate, as far as it has said so; 0: never."""


class Replica:
    """This process. `boot` it, `start` it, and `aclose` it when its last request has been answered."""

    def __init__(
        self,
        store: Store,
        *,
        id: str,
        data_dir: Path,
        clock: Clock,
        on_change: Callable[[Snapshot], None],
        in_flight: Callable[[], int] = lambda: 0,
        leader: Callable[[], bool] = lambda: False,
        candidate_sent_at: Callable[[], Mapping[str, float]] = dict,
        on_loss: Callable[[bytes], None] = lambda secret: None,
        on_error: Callable[[str], None] = lambda operation: None,
        jitter: Callable[[float], float] = lambda seconds: seconds,
        poll_s: float = 2.0,
        kill_poll_s: float = 0.05,
        heartbeat_s: float = 2.0,
        call_s: float = 2.0,
    ) -> None:
        """`on_change` hands the data path what to obey and returns when it does. `candidate_sent_at` says for
        each migration when this process last sent a request to its candidate.

        `on_loss` is told that the store lost what was remembered there, or turned out to hash units with
        another secret than this process; with the secret that holds from then on. `on_error` is told the name
        of each call of the store that failed.
        """
        self.id = id
        self.snapshot = Snapshot({}, clock.now(), "none")
        """What this process serves by: what the fleet agreed on, under the kills of this disk."""
        self.secret = b""
        """The fleet's key for hashing units; this process's own until the store has been reached once."""
        self.ready = False
        self._store, self._data_dir, self._clock = store, data_dir, clock
        self._on_change, self._on_loss, self._on_error = on_change, on_loss, on_error
        self._in_flight, self._leader, self._candidate_sent_at = in_flight, leader, candidate_sent_at
        self._poll_s, self._kill_poll_s, self._heartbeat_s = poll_s, kill_poll_s, heartbeat_s
        self._jitter, self._call_s = jitter, call_s
        self._agreed = self.snapshot
        self._presence, self._kills = Presence(data_dir, id), KillSwitch(data_dir)
        self._obeyed_kills = self._kills.read()
        self._tasks = Tasks()
        self._started_at = clock.now()
        self._secret_kept = False
        self._acknowledged: dict[str, Order] | None = None
        self._reporting, self._saving = asyncio.Lock(), asyncio.Lock()
        self._saved: Snapshot | None = None
        self._known: Sequence[ReplicaReport] = ()

    @property
    def snapshot_age_s(self) -> float:
        """Seconds since the store last confirmed what is obeyed."""
        return max(0.0, self._clock.now() - self.snapshot.taken_at)

    # --- life -----------------------------------------------------------------------------------------

    async def boot(self, timeout_s: float) -> Origin:
        """Find out what to obey, within `timeout_s`, and say from where. Never fails."""
        saved = await asyncio.to_thread(disk.load, self._data_dir / disk.FILE)
        kept = await asyncio.to_thread(_read, self._data_dir / KEY_FILE)
        self.secret, self._secret_kept = kept or secrets.token_bytes(32), kept is not None
        agreed = saved or self._agreed
        await asyncio.to_thread(self._presence.show)
        try:
            async with asyncio.timeout(timeout_s):
                # Before reading: whoever commits from now on knows that this process is to be waited for.
                await self._report()
                loaded = await self._load()
                agreed = corrected(loaded, saved) if saved is not None else loaded
                await self._share_secret()
        except (StoreUnavailable, TimeoutError):
            logger.warning("starting without the store", extra={"origin": agreed.origin})
        self._agreed = agreed
        self._apply()
        self.ready = True
        self._tasks.spawn("snapshot-save", self._save())
        return agreed.origin

    def start(self) -> None:
        """Begin to follow the store and the kill file, and to send heartbeats."""
        self._tasks.spawn("replica-sync", self._follow(), endless=True)
        self._tasks.spawn("replica-kills", self._watch_kills(), endless=True)
        self._tasks.spawn("replica-heartbeat", self._beat(), endless=True)

    async def aclose(self, deadline_s: float = 2.0) -> None:
        """Leave the fleet in good order."""
        await self._tasks.drain(deadline_s)
        await self._save()
        forgotten = False
        with suppress(StoreUnavailable):
            await self._ask("deregister", self._store.deregister(self.id), deadline_s)
            forgotten = True
        self._presence.leave(forgotten=forgotten)

    # --- what the control plane uses ------------------------------------------------------------------

    async def refresh(self) -> None:
        """Obey and acknowledge what the store has now, and give it what it lost; raises StoreUnavailable."""
        loaded = await self._load()
        await self._take(loaded)
        await self._give_back(loaded)

    async def kill_locally(self, name: str, by: str, reason: str) -> None:
        """Stop the candidate in this process, then wherever this disk is shared, until the fleet agrees."""
        state = self._agreed.state(name)
        if state.killed:
            return
        self._kills.set(name, Kill.of(state, self._clock.now(), by, reason))
        self._apply()
        await asyncio.to_thread(self._kills.persist)

    def known_replicas(self) -> tuple[str, ...]:
        """Return the ids of the replicas that were alive when the store was last asked, and this one's."""
        known = {self.id, *(report.id for report in self._known)}
        return tuple(sorted(known - self._presence.dead(known)))

    async def await_acknowledgements(self, name: str, order: Order, timeout_s: float) -> Acks:
        """Return as soon as every live replica obeys `order` or something newer, or after `timeout_s`."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        # Each step is bounded by itself: a cancellation from around the loop might get lost inside a client.
        while True:
            heard = await self._hear(min(self._call_s, max(0.0, give_up_at - loop.time())))
            acks = self._count(name, order)
            if (heard and not acks.missing) or loop.time() >= give_up_at:
                return acks
            await asyncio.sleep(ACK_POLL_S if heard else ACK_RETRY_S)

    async def _hear(self, patience_s: float) -> bool:
        """Find out who is there and what they obey; False if the store did not say."""
        with suppress(StoreUnavailable):
            reports = await self._ask("replicas", self._store.replicas(), patience_s)
            dead = await asyncio.to_thread(self._presence.sweep, [report.id for report in reports])
            self._known = [report for report in reports if report.id not in dead]
            for replica in dead:
                logger.warning("a process of this disk died", extra={"replica": replica})
                await self._ask("deregister", self._store.deregister(replica), patience_s)
            return True
        return False

    def _count(self, name: str, order: Order) -> Acks:
        obeyed = {report.id: report.versions.get(name, (0, 0)) for report in self._known}
        obeyed[self.id] = self.snapshot.state(name).order
        expected = tuple(sorted(obeyed))
        acknowledged = tuple(replica for replica in expected if obeyed[replica] >= order)
        missing = tuple(replica for replica in expected if obeyed[replica] < order)
        sent_at = {report.id: report.candidate_sent_at.get(name, 0.0) for report in self._known}
        sent_at[self.id] = self._candidate_sent_at().get(name, 0.0)
        return Acks(expected, acknowledged, missing, sent_at)

    # --- loops ----------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            pause_s = self._jitter(self._poll_s)
            try:
                await asyncio.to_thread(self._kills.persist)
                loaded = await self._load()
                await self._take(loaded)
                await self._mend(loaded)
                await self._ask("changed", self._store.changed(pause_s), pause_s + self._call_s)
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
            except Exception:
                logger.exception("this replica could not follow the store; it tries again")
                await asyncio.sleep(pause_s)

    async def _watch_kills(self) -> None:
        while True:
            await asyncio.sleep(self._kill_poll_s)
            if self._kills.read() is not self._obeyed_kills:
                try:
                    self._apply()
                except Exception:
                    logger.exception("a kill could not be applied; trying again")
                    await asyncio.sleep(self._poll_s)

    async def _beat(self) -> None:
        while True:
            with suppress(StoreUnavailable):
                await self._report()
                await self._hear(self._call_s)
                if await self._share_secret():
                    self._on_loss(self.secret)
            await asyncio.sleep(self._heartbeat_s)

    # --- obeying --------------------------------------------------------------------------------------

    async def _load(self) -> Snapshot:
        states = await self._ask("load", self._store.load())
        return Snapshot(states, self._clock.now(), "store")

    async def _take(self, loaded: Snapshot) -> None:
        """Obey, and then say so."""
        before, self._agreed = self._agreed, merge(self._agreed, loaded)
        self._apply()
        if self._agreed.states != before.states:
            self._tasks.spawn("snapshot-save", self._save())
        if self._versions() != self._acknowledged:
            await self._report()

    def _apply(self) -> None:
        kills = self._kills.read()
        served = obey(self._agreed, kills)
        if not self.ready or served.states != self.snapshot.states:
            self._on_change(served)
        self.snapshot, self._obeyed_kills = served, kills

    def _versions(self) -> dict[str, Order]:
        return {name: state.order for name, state in self.snapshot.states.items()}

    async def _report(self) -> None:
        # One at a time, each as things are when it is sent: an old report must not overtake a newer one.
        async with self._reporting:
            report = ReplicaReport(
                id=self.id,
                at=self._clock.now(),
                versions=self._versions(),
                started_at=self._started_at,
                leader=self._leader(),
                in_flight=self._in_flight(),
                gateway_version=__version__,
                snapshot_age_s=self.snapshot_age_s,
                candidate_sent_at=dict(self._candidate_sent_at()),
            )
            await self._ask("report", self._store.report(report))
            self._acknowledged = dict(report.versions)

    async def _save(self) -> bool:
        """Write what the fleet agreed on to disk, unless it is there or nobody confirmed it since."""
        async with self._saving:
            agreed = self._agreed
            if agreed.origin != "store" or (self._saved and self._saved.states == agreed.states):
                return True
            try:
                await asyncio.to_thread(disk.save, self._data_dir / disk.FILE, agreed)
            except OSError:
                logger.exception("the snapshot could not be saved", extra={"path": str(self._data_dir)})
                return False
            self._saved = agreed
            return True

    # --- mending --------------------------------------------------------------------------------------

    async def _give_back(self, loaded: Snapshot) -> None:
        """Give the store what it lost."""
        newer = [
            state for name, state in self._agreed.states.items() if state.order > loaded.state(name).order
        ]
        restored = [state.name for state in newer if await self._restore(state)]
        if restored:
            logger.warning("the store had lost states; they are restored", extra={"migrations": restored})
            await self._share_secret()
            self._on_loss(self.secret)

    async def _mend(self, loaded: Snapshot) -> None:
        """Give the store what it lost, and what it was not there for."""
        await self._give_back(loaded)
        for name, state in self._agreed.states.items():
            if state.killed and state.order == loaded.state(name).order and not loaded.state(name).killed:
                # The store lost a kill, and somebody wrote another state of its order before it was restored.
                self._kills.set(name, Kill.of(state, state.updated_at, state.updated_by, "lost by the store"))
        for name, kill in self._kills.read().items():
            await self._settle(name, kill)

    async def _restore(self, state: MigrationState) -> bool:
        await self._ask("raise_epoch", self._store.raise_epoch(state.epoch))
        return await self._ask("restore", self._store.restore(state))

    async def _share_secret(self) -> bool:
        """Hash units as the fleet does, also after a start without it; True if the secret is a new one."""
        shared = await self._ask("secret", self._store.secret())
        changed, self.secret = shared != self.secret, shared
        if changed or not self._secret_kept:
            try:
                await asyncio.to_thread(replace_file, self._data_dir / KEY_FILE, shared)
                self._secret_kept = True
            except OSError as error:
                logger.warning("the fleet's secret could not be kept", extra={"error": str(error)})
        return changed

    async def _settle(self, name: str, kill: Kill) -> None:
        state = self._agreed.state(name)
        if kill.stands_over(state):
            if (state.phase, "emergency-rollback") not in TABLE:
                await self._record_refusal(kill, state)
            elif not await self._push(kill, state):
                return
        if await self._save():
            await asyncio.to_thread(self._kills.clear, name, kill)
            self._apply()

    async def _push(self, kill: Kill, state: MigrationState) -> bool:
        """Make the kill the fleet's; False if somebody wrote first, whose state is looked at next time."""
        floor = max(kill.epoch, state.epoch)
        await self._ask("raise_epoch", self._store.raise_epoch(floor))
        epoch = await self._ask("next_epoch", self._store.next_epoch())
        killed = emergency(state, by=kill.by, at=self._clock.now(), cause=kill.reason)
        after = replace(killed, epoch=epoch)
        told = {"replica": self.id, "mode": "evict"}
        event = kill.event(self._clock.now(), state, replace(after, version=state.version + 1), told)
        try:
            stored = await self._ask("commit", self._store.commit(after, event, expected=state.order))
        except StaleWrite:
            return False
        logger.warning("a kill was pushed to the store", extra={"migration": state.name, "by": kill.by})
        await self._take(Snapshot({state.name: stored}, self._clock.now(), "store"))
        return True

    async def _record_refusal(self, kill: Kill, state: MigrationState) -> None:
        why = f"{state.phase.value} when the store returned: there is no emergency rollback from here"
        logger.error("a kill cannot be pushed", extra={"migration": state.name, "reason": why})
        event = kill.event(self._clock.now(), state, state, {"replica": self.id, "refused": why})
        await self._ask("append", self._store.append(state.name, event))

    async def _ask(self, operation: str, answer: Awaitable[T], patience_s: float | None = None) -> T:
        """Return what the store answers in time; raises StoreUnavailable, which is counted."""
        try:
            async with asyncio.timeout(self._call_s if patience_s is None else patience_s):
                return await answer
        except (StoreUnavailable, TimeoutError) as error:
            self._on_error(operation)
            raise StoreUnavailable(f"the store did not answer: {operation}") from error


def _read(path: Path) -> bytes | None:
    with suppress(OSError):
        return path.read_bytes() or None
    return None
