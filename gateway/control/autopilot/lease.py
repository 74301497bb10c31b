"""The right to lead: one controller per store, with a fencing epoch.

Who leads must know when they no longer do. The lease ends after 15 s and is renewed every 5; whoever could
not renew it for 10 s since asking steps down, before anybody else can have it. It is renewed once more
right before anything is decided, because a process that was stopped in between would not know; and the
write carries the lease's fencing epoch.
"""

from gateway.store.ports import Fleet
from gateway.tasks import Clock

LEASE_TTL_S = 15.0
RENEW_EVERY_S = 5.0
STEP_DOWN_S = 10.0


class Lease:
    """The right to lead, as one process believes to have it."""

    def __init__(self, fleet: Fleet, *, holder: str, clock: Clock) -> None:
        self._fleet = fleet
        self._holder = holder
        self._clock = clock
        self._epoch: int | None = None
        self._confirmed_at = 0.0
        """When the last confirmation was asked for: the store counts from no earlier moment."""
        self._asked_at = 0.0

    @property
    def epoch(self) -> int | None:
        """The fencing epoch while this process leads, else None."""
        fresh = self._clock.monotonic() - self._confirmed_at < STEP_DOWN_S
        return self._epoch if fresh else None

    async def keep(self) -> int | None:
        """Take the lease if it is free, renew it when that is due; return the epoch as `epoch` does."""
        now = self._clock.monotonic()
        if self.epoch is None:
            self._epoch = None
            self._epoch = await self._fleet.acquire_lease(self._holder, LEASE_TTL_S)
            self._confirmed_at = self._asked_at = now
        elif now - self._asked_at >= RENEW_EVERY_S:
            await self.confirm()
        return self.epoch

    async def confirm(self) -> int | None:
        """Renew the lease now; return the epoch as `epoch` does."""
        now = self._clock.monotonic()
        if self._epoch is not None and await self._fleet.renew_lease(self._holder, LEASE_TTL_S):
            self._confirmed_at = self._asked_at = now
        else:
            self._epoch = None
        return self.epoch

    async def release(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        if self._epoch is not None:
            self._epoch = None
            await self._fleet.release_lease(self._holder)
