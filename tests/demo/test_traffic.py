"""Traffic for somebody else's gateway asks for the old model, says how it goes, and stops when told to."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.config import load_catalogue
from gateway.demo.traffic import SAY_EVERY_S, Traffic
from gateway.errors import ConfigError
from gateway.tasks import SystemClock
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.scripted import Scripted, answer, replying, scripted_upstream

FILES = Path(__file__).parents[2] / "config"
CATALOGUE = load_catalogue(FILES / "models.yaml")
REFUSED = answer(b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}', status="503 No")


def traffic(url: str, said: list[str], clock: SystemClock | ManualClock) -> Traffic:
    return Traffic(url, FILES, CATALOGUE, clock, say=said.append)


async def stopped(running: Traffic, upstream: Scripted, after: int) -> None:
    sending = asyncio.get_running_loop().create_task(running.send())
    await eventually(lambda: len(upstream.requests) >= after)
    running.stop()
    await asyncio.wait_for(sending, 10)


async def test_it_asks_for_the_old_model_of_the_first_migration_and_says_how_it_went() -> None:
    said: list[str] = []
    async with scripted_upstream(replying(REFUSED)) as upstream:
        await stopped(traffic(upstream.url + "/", said, SystemClock()), upstream, after=20)
    assert {json.loads(request.body)["model"] for request in upstream.requests} == {"claude-opus-4-5"}
    assert {request.line for request in upstream.requests} == {b"POST /v1/messages HTTP/1.1"}
    (last,) = said
    assert last.startswith(f"{len(upstream.requests)} requests, 0 of them to the candidate, ")
    assert "failed; mostly: " in last


async def test_each_application_names_itself_as_the_task_for_checks_and_lists_that_go_by_it() -> None:
    async with scripted_upstream(replying(REFUSED)) as upstream:
        await stopped(traffic(upstream.url, [], SystemClock()), upstream, after=20)
    tasks = {dict(request.headers)[b"x-gateway-task"] for request in upstream.requests}
    assert tasks == {b"chat", b"classifier", b"coding-agent", b"documents", b"extraction"}


async def test_it_says_so_now_and_then() -> None:
    said: list[str] = []
    clock = ManualClock()
    async with scripted_upstream(replying(REFUSED)) as upstream:
        running = traffic(upstream.url, said, clock)
        sending = asyncio.get_running_loop().create_task(running.send())
        await eventually(lambda: upstream.requests)
        assert said == []
        clock.advance(SAY_EVERY_S)
        await eventually(lambda: said)
        running.stop()
        await asyncio.wait_for(sending, 10)


def test_without_templates_nothing_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="traffic is missing"):
        Traffic("http://127.0.0.1:9", tmp_path, CATALOGUE, SystemClock(), say=print)
