from collections.abc import AsyncIterator

import pytest

from tests.support.news import World, receiving


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with receiving() as receiver:
        made = World(receiver)
        yield made
        await made.tasks.drain(1)
