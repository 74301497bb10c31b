"""Ten turns on every way between two models, with an upstream that holds conversations to what they were.

No binding breaks, and the prompt cache is worth what it is to an application that was written for the target.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.compat.catalog import Model
from tests.support.deploy import Deployed, Simulated
from tests.support.every_way import MODELS, Way, all_of, asking, every_way, way_name
from tests.support.rows import EVERY_PAIR, F52, H45, H55, O45, O48, O55, S45, S55, name
from tests.support.ten_turns import TURNS, Met, Thinks, directly, through
from tests.support.written import show

WITHIN = 0.01
REHEARSED = [(O45, O55), (S45, S55), (H45, H55), (O55, O45), (F52, O48), (O45, F52)]
KINDS: tuple[Thinks, ...] = ("asked", "unasked")


def hold(upstream: Simulated, directory: Path, ways: Sequence[Way]) -> None:
    """Have all conversations through a gateway of their own, and compare."""
    with every_way(upstream, directory, ways) as gateway:
        asyncio.run(held(gateway, upstream, ways))


async def held(gateway: Deployed, upstream: Simulated, ways: Sequence[Way]) -> None:
    """Have the conversations, each with a key and so a cache of its own."""
    before, wrong, told = refusals(upstream), list[str](), list[str]()

    async def talk(asked: tuple[Way, Thinks]) -> None:
        way, thinks = asked
        unit = f"{way_name(way)}, thinking {thinks}"
        met = await through(ours, way, thinks, unit)
        direct = await directly(theirs, way, thinks, f"native {unit}")
        told.append(row_of(unit, met, direct))
        wrong.extend(f"{unit}: {complaint}" for complaint in complaints(met, direct))

    async with asking(gateway.url, upstream.url) as (ours, theirs):
        await all_of([(way, thinks) for way in ways for thinks in KINDS], talk)
    show(f"{'':56} cache read  directly  calls  thoughts", *sorted(told), *wrong)
    assert wrong == []
    assert refusals(upstream) == before
    assert len(told) == 2 * len(ways)


def refusals(upstream: Simulated) -> dict[str, int]:
    """Return what the upstream said so far, other than 200, by model and status."""
    counted = upstream.http.get(f"{upstream.url}/simulator/stats").json()["models"]
    return {
        f"{model}: {what}": number
        for model, counts in counted.items()
        for what, number in counts.items()
        if what.startswith("status") and what != "status 200"
    }


def row_of(unit: str, met: Met, direct: Met) -> str:
    """Return a line of the table."""
    return f"{unit:56} {met.share:9.1%} {direct.share:9.1%} {met.calls:6} {met.thoughts:9}"


def complaints(met: Met, direct: Met) -> Iterator[str]:
    """Say what is not as it should be."""
    yield from met.wrong
    if not met.wrong and abs(met.share - direct.share) > WITHIN:
        yield f"{met.share:.1%} of the prompts came from the cache, {direct.share:.1%} do directly"
    if not met.wrong and (met.share < 0.5 or met.calls < TURNS // 3):
        yield f"proves nothing: {met}"


def test_ten_turns_break_no_binding_and_cost_what_they_cost_directly(
    upstream: Simulated, directory: Path
) -> None:
    hold(upstream, directory, REHEARSED)


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("source", MODELS, ids=name)
def test_ten_turns_on_every_way_break_no_binding_and_cost_what_they_cost_directly(
    upstream: Simulated, directory: Path, source: Model
) -> None:
    hold(upstream, directory, [way for way in EVERY_PAIR if way[0] is source])
