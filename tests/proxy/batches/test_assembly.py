"""A whole batch, however large: in order, with rests, and no more in memory than what was changed."""

import asyncio
import json

import pytest

from gateway.compat.batch import SLICE_BYTES
from gateway.core.types import MigrationState
from gateway.proxy.batches.assembly import GROUP_BYTES, GROUP_ITEMS, MAX_ITEMS, assemble
from gateway.proxy.batches.items import Head
from gateway.proxy.caller import Caller
from tests.support.batches import BATCHES, batch_of, item
from tests.support.plane import O46, ON_CANDIDATE, ON_CONTROL, Process, in_front_of
from tests.support.scripted import silent

HEAD = Head("gw_1", BATCHES.encode(), [], Caller("k", "alice", "", "", None), 0.0)


async def turns_while(process: Process, body: bytes) -> int:
    """Return how many turns others got at the event loop while a batch was assembled."""
    done = asyncio.Event()

    async def count() -> int:
        turns = 0
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)
        return turns

    async def work() -> None:
        assert await assemble(body, HEAD, process.plane) is not None
        done.set()

    turns, _ = await asyncio.gather(count(), work())
    return turns


@pytest.mark.parametrize("state", [ON_CANDIDATE, ON_CONTROL])
async def test_the_event_loop_gets_a_turn_after_every_few_items(state: MigrationState) -> None:
    async with in_front_of(silent, state) as process:
        many = batch_of(*(item(f"i{n}") for n in range(2000)))
        assert await turns_while(process, many) >= 2000 / GROUP_ITEMS
        large = batch_of(*(item(f"i{n}", system="x" * GROUP_BYTES) for n in range(40)))
        assert await turns_while(process, large) >= 40


async def test_slices_of_which_nothing_was_changed_are_sent_as_they_came() -> None:
    big = "x" * (SLICE_BYTES // 3)
    foreign = [item(f"x{n}", "", "claude-x", system=big) for n in range(9)]
    async with in_front_of(silent) as process:
        body = batch_of(*foreign, item("mine"), *foreign)
        made = await assemble(body, HEAD, process.plane)
        assert made is not None
        assert made.changed
        whole = b"".join(made.pieces)
        expected = json.loads(body)
        expected["requests"][9]["params"]["model"] = O46
        assert json.loads(whole) == expected
        assert max(len(piece) for piece in made.pieces) < 2 * SLICE_BYTES + GROUP_BYTES


@pytest.mark.parametrize("body", [b"", b"{}", b'{"requests":{}}'])
async def test_what_is_no_batch_is_none(body: bytes) -> None:
    async with in_front_of(silent) as process:
        assert await assemble(body, HEAD, process.plane) is None


async def test_more_items_than_the_api_takes_are_not_even_looked_at() -> None:
    async with in_front_of(silent) as process:
        many = b",".join([b"1"] * MAX_ITEMS)
        assert await assemble(b'{"requests":[%b]}' % many, HEAD, process.plane) is not None
        assert await assemble(b'{"requests":[%b,1]}' % many, HEAD, process.plane) is None


async def test_what_the_results_need_is_known_by_item() -> None:
    prefill = [{"role": "user", "content": "json"}, {"role": "assistant", "content": "{"}]
    async with in_front_of(silent) as process:
        body = batch_of(item("a", messages=prefill), item("b"), item("x", "", "claude-x"))
        made = await assemble(body, HEAD, process.plane)
        assert made is not None
        assert made.is_remembered
        first, second = made.register.find("a"), made.register.find("b")
        assert first is not None
        assert second is not None
        assert (first.arm, first.plan.prefill, second.plan.prefill) == ("candidate", "{", "")
        assert made.register.find("x") is None
        process.obey(ON_CONTROL)
        untouched = await assemble(body, HEAD, process.plane)
        assert untouched is not None
        assert not untouched.is_remembered
