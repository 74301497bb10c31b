"""A request is explained to whoever may look, by a migration's policy or another; nothing is kept."""

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from gateway.compat.prompts import PromptVariant
from gateway.control.api import MAX_BODY_BYTES
from gateway.control.preview import Previewer, Question
from gateway.core.spec import CompatPolicy
from gateway.errors import BadRequest, NotFound
from tests.support.admin_client import EVE, client, refused
from tests.support.control import SPEC, ControlPlane
from tests.support.rows import CATALOGUE, O45, O47

PREVIEW = "/admin/compat/preview"
WAY = {"from": "claude-opus-4-5", "to": "claude-opus-4-7"}
SECRET = "s3cr3t"
ASKED: dict[str, Any] = {
    "model": "claude-opus-4-5",
    "max_tokens": 100,
    "temperature": 0.3,
    "messages": [{"role": "user", "content": SECRET}],
}
PREFILLED = {**ASKED, "messages": [*ASKED["messages"], {"role": "assistant", "content": "{"}]}
GOVERNED = replace(
    SPEC,
    control=O45.id,
    candidate=O47.id,
    compat=CompatPolicy(prefill="control", tasks={"draft": CompatPolicy(prefill="reject")}),
)
SHORT = PromptVariant("short", 1, frozenset({O47.id}), frozenset(), None, "append", "Be brief.")


@pytest.fixture
def plane() -> ControlPlane:
    plane = ControlPlane({GOVERNED.name: GOVERNED})
    plane.catalogue = CATALOGUE
    return plane


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(plane, EVE) as connected:
        yield connected


async def test_a_viewer_is_told_what_would_become_of_a_request(
    api: httpx2.AsyncClient, plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await api.post(PREVIEW, json={**WAY, "body": ASKED, "betas": ["b-1"]})
    told = answer.json()
    assert answer.status_code == 200
    assert (told["source"], told["target"], told["obstacle"]) == (O45.id, O47.id, None)
    assert [(each["code"], each["rule"], each["rewrite_class"]) for each in told["changes"]] == [
        ("R1", "sampling", "E")
    ]
    assert '-  "temperature": 0.3,' in told["diff"]
    assert SECRET not in caplog.text
    assert plane.verbs == []


async def test_models_and_policy_may_come_from_a_migration_and_its_tasks(api: httpx2.AsyncClient) -> None:
    async def then(**more: Any) -> object:
        answer = await api.post(PREVIEW, json={"body": PREFILLED, "migration": GOVERNED.name, **more})
        return answer.json()["obstacle"] and answer.json()["obstacle"]["then"]

    assert await then() == "control"
    assert await then(task="draft") == "reject"
    assert await then(policy={"prefill": "emulate"}) is None
    assert await then(to="claude-haiku-4-5") is None


async def test_a_map_of_efforts_is_written_as_in_the_configuration(api: httpx2.AsyncClient) -> None:
    body = {**ASKED, "output_config": {"effort": "high"}}
    asked = {**WAY, "body": body, "policy": {"effort": {"map": {"high": "low"}}}}
    rules = [change["rule"] for change in (await api.post(PREVIEW, json=asked)).json()["changes"]]
    assert rules == ["effort", "sampling"]


@pytest.mark.parametrize(
    ("asked", "status", "kind", "word"),
    [
        ({**WAY}, 400, "invalid_request_error", "body"),
        ({"body": ASKED}, 400, "invalid_request_error", "from"),
        ({"body": ASKED, "from": O45.id}, 400, "invalid_request_error", "to"),
        ({**WAY, "body": ASKED, "to": "claude-opus-9"}, 404, "not_found_error", "claude-opus-9"),
        ({"body": ASKED, "migration": "other"}, 404, "not_found_error", "other"),
        ({**WAY, "body": {}}, 400, "invalid_request_error", "model"),
        ({**WAY, "body": ASKED, "policy": {"prefil": "emulate"}}, 400, "invalid_request_error", "prefil"),
        ({**WAY, "body": ASKED, "policy": {"effort": "hihg"}}, 400, "invalid_request_error", "effort"),
        ({**WAY, "body": ASKED, "more": 1}, 400, "invalid_request_error", "more"),
        ({**WAY, "body": [ASKED]}, 400, "invalid_request_error", "body"),
    ],
)
async def test_what_cannot_be_explained_is_refused(
    api: httpx2.AsyncClient, asked: dict[str, Any], status: int, kind: str, word: str
) -> None:
    refused(await api.post(PREVIEW, json=asked), status, kind, word)


async def test_half_a_surrogate_pair_is_refused(api: httpx2.AsyncClient) -> None:
    text = b'{"from": "claude-opus-4-5", "to": "claude-opus-4-7", "body": {"model": "m", "x": "\\ud800"}}'
    answer = await api.post(PREVIEW, content=text, headers={"content-type": "application/json"})
    refused(answer, 400, "invalid_request_error", "body")


async def test_a_body_has_a_limit(api: httpx2.AsyncClient) -> None:
    answer = await api.post(PREVIEW, content=b" " * (MAX_BODY_BYTES + 1))
    refused(answer, 413, "request_too_large", str(MAX_BODY_BYTES))


async def test_the_prompt_variant_of_the_new_model_is_shown() -> None:
    previewer = Previewer(catalogue=lambda: CATALOGUE, prompts=lambda: [SHORT])
    told = await previewer.answer(Question(ASKED, source=O45.id, target=O47.id), None)
    assert [change.rule for change in told.changes] == ["sampling", "prompt"]
    assert any("Be brief." in line for line in told.diff)


async def test_without_models_there_is_nothing_to_explain() -> None:
    previewer = Previewer(catalogue=lambda: CATALOGUE, prompts=lambda: ())
    with pytest.raises(BadRequest, match="from"):
        await previewer.answer(Question(ASKED), None)
    with pytest.raises(NotFound, match="claude-opus-9"):
        await previewer.answer(Question(ASKED, source="claude-opus-9", target=O47.id), None)
