"""The demo's servers come up together, answer, and leave nothing behind, however it ends."""

import asyncio
import os
from pathlib import Path

import httpx2
import pytest

from gateway.demo.story import BAD, FAULT, GOOD
from gateway.demo.world import WHO, World
from gateway.errors import GatewayError
from gateway.tasks import SystemClock

MODELS = Path(__file__).parents[2] / "config" / "models.yaml"


def world(*faults: str) -> World:
    return World((GOOD, BAD), MODELS, SystemClock(), faults=faults, speed=0)


async def test_the_servers_answer_and_are_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "nonsense of the user's")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with world(FAULT) as running:
        assert (await running.status(GOOD.name))["phase"] == "draft"
        status = await running.act(BAD.name, "start", "to see")
        assert (status["phase"], status["weight_percent"]) == ("running", BAD.stages[0].percent)
        assert [event["by"] for event in await running.events(BAD.name)] == [WHO]
        with pytest.raises(GatewayError, match="did not take kind=bored"):
            await running.break_with("kind=bored")
        await running.break_with(f"model={GOOD.control},kind=overloaded")
        assert len(os.listdir(tmp_path)) == 1
        with pytest.raises(GatewayError, match="advance is not possible"):
            await running.act(GOOD.name, "advance", "too early")
        async with httpx2.AsyncClient(base_url=running.url, trust_env=False) as client:
            body = {
                "model": GOOD.models[0],
                "max_tokens": 5,
                "messages": [{"role": "user", "content": "Hello"}],
            }
            headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
            answer = await client.post("/v1/messages", json=body, headers=headers)
            assert (answer.status_code, answer.headers["x-gateway-reason"]) == (529, "not_running")
            await running.break_with()
            answer = await client.post("/v1/messages", json=body, headers=headers)
            assert answer.status_code == 200
            await running.complain(answer.headers["x-gateway-request-id"])
    assert os.listdir(tmp_path) == []
    with pytest.raises(httpx2.ConnectError):
        await asyncio.to_thread(httpx2.get, running.url, trust_env=False)


async def test_a_server_that_does_not_come_up_is_a_sentence_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(GatewayError, match=r"simulator did not come up(?s:.)*bored"):
        async with world("kind=bored"):
            pass
    assert os.listdir(tmp_path) == []
