"""Waiting for what happens in the background, with a deadline."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    """Let other work go on until `condition` holds; raises TimeoutError after `deadline_s`."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await others()


async def others() -> None:
    """Let everything that is ready take one step."""
    await asyncio.sleep(0)
