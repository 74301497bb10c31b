"""Several operating-system processes on one store lose nothing."""

import asyncio
import sys
from pathlib import Path

from gateway.core.types import Arm
from gateway.store.ports import Recall, Recollection
from tests.store.hammer import PIN, write_state
from tests.support.stores import RealBench

ROOT = Path(__file__).parents[2]
TIMES = 60
NAMES = ("one", "two", "three")


async def start(url: str, name: str, times: int = TIMES) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tests.store.hammer", url, name, str(times)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(url: str, name: str) -> tuple[int, str]:
    process = await start(url, name)
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), 50)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, stderr.decode()


async def test_processes_that_start_and_write_at_once_lose_no_write(shared: RealBench) -> None:
    assert await asyncio.gather(*(run(shared.url, name) for name in NAMES)) == [(0, "")] * len(NAMES)

    store = await shared.open()
    total = len(NAMES) * TIMES
    assert (await store.load())["m"].version == total
    events = await store.events("m")
    assert [e.seq for e in events] == list(range(1, total + 1))
    assert {name: sum(e.verb == name for e in events) for name in NAMES} == dict.fromkeys(NAMES, TIMES)
    assert await store.enrolled("m", 1) == {Arm.control: 0, Arm.candidate: total}


async def test_what_one_process_wrote_another_recalls(shared: RealBench) -> None:
    assert await run(shared.url, "one") == (0, "")
    store = await shared.open()
    for n in range(TIMES):
        known = await store.recall(Recall("m", 1, (f"one-{n}",), f"one-{n}"))
        assert known == Recollection(PIN, Arm.candidate)


async def test_a_process_that_is_killed_while_it_writes_harms_nobody(shared: RealBench) -> None:
    store = await shared.open()
    process = await start(shared.url, "doomed", times=1_000_000)
    try:
        async with asyncio.timeout(30):
            while len(await store.events("m")) < 20:
                await store.changed(1)
    finally:
        process.kill()
        await process.wait()
    await write_state(store, "survivor")
    events = await store.events("m")
    assert (await store.load())["m"].version == len(events)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert events[-1].verb == "survivor"
