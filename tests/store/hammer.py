"""One of several processes that write to one store as fast as they can.

Run as `python -m tests.store.hammer URL NAME TIMES`.
"""

import asyncio
import sys

from gateway.core.types import Arm, Pin
from gateway.errors import StaleWrite
from gateway.store.backends.factory import make_store
from gateway.store.ports import Enrolment, PinWrite, Store
from gateway.tasks import SystemClock
from tests.support.stores import event, state

PIN = Pin(Arm.control, 1, "v1")
TTL_S = 1_000_000_000
"""Long enough for a reader whose clock is set by hand."""


async def write_state(store: Store, name: str) -> None:
    """Write the state as it is once more, however often somebody else is faster."""
    while True:
        last = (await store.load()).get("m")
        try:
            await store.commit(last or state(), event(name), expected=last.order if last else (0, 0))
        except StaleWrite:
            continue
        return


async def hammer(url: str, name: str, times: int) -> None:
    """Pin and enrol `times` units of this process's own, and write the one state as often."""
    store = make_store(url, clock=SystemClock())
    await store.open()
    try:
        for n in range(times):
            unit = f"{name}-{n}"
            pin = PinWrite("m", unit, PIN, TTL_S)
            await store.remember([pin, Enrolment("m", 1, unit, Arm.candidate)])
            await write_state(store, name)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(hammer(sys.argv[1], sys.argv[2], int(sys.argv[3])))
