"""One item of a batch: where it goes, and what keeps it on control where a message would be tried."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.spec import CompatPolicy, MigrationSpec
from tests.support.batches import batch_of, create, item, items_sent, told
from tests.support.plane import (
    O45,
    ON_CANDIDATE,
    SPEC,
    Process,
    in_front_of,
    ours,
)
from tests.support.scripted import answer, replying

TAKEN = replying(answer(told()))
O55 = "claude-opus-5-5"
FAR = replace(SPEC, candidate=O55)
OBJECT = {"type": "object", "properties": {"place": {"type": "string"}}, "additionalProperties": False}
TOOL: dict[str, Any] = {"name": "weather", "input_schema": {**OBJECT, "required": ["place"]}}
FORCED: dict[str, Any] = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather"}}
IN_WORDS: dict[str, Any] = {**FORCED, "tools": [TOOL, {**TOOL, "name": "tides"}]}
OLD_BETA = "computer-use-2025-11-24"
"""Known to Opus 4.5 and not to Opus 5.5."""


async def served(
    *items: dict[str, Any], spec: MigrationSpec = FAR, **headers: str
) -> tuple[dict[str, str], str, str]:
    """Return which model each item went to, what was disclosed, and the betas that were sent."""
    async with in_front_of(TAKEN, replace(ON_CANDIDATE, spec=spec), spec=spec) as process:
        heard = await create(process, batch_of(*items), x_gateway_unit="alice", **headers)
        assert heard.status == 200, heard.body
        models = {name: params["model"] for name, params in items_sent(process).items()}
        betas = dict(process.upstream.requests[-1].headers).get(b"anthropic-beta", b"")
        return models, ours(heard)["rewrites"], betas.decode()


async def test_a_forced_call_that_is_asked_for_as_output_goes_to_the_candidate() -> None:
    models, rewrites, _ = await served(item("a", **FORCED), item("b"))
    assert models == {"a": O55, "b": O55}
    assert "forced_tool=E" in rewrites


async def test_one_that_can_only_be_asked_for_in_words_stays_for_nobody_could_ask_again() -> None:
    models, rewrites, _ = await served(item("a", **IN_WORDS), item("b"))
    assert models == {"a": O45, "b": O55}
    assert "forced_tool=X" in rewrites


async def test_where_control_is_gone_the_candidate_is_asked_all_the_same() -> None:
    retired = replace(SPEC, control="claude-3-haiku-20240307", candidate=O55)
    models, _, _ = await served(item("a", **IN_WORDS), spec=retired)
    assert models == {"a": O55}


# --- betas: one header for all ------------------------------------------------------------------------------


async def test_a_beta_that_nobody_in_the_batch_has_a_use_for_is_left_out() -> None:
    models, rewrites, betas = await served(item("a"), item("b"), anthropic_beta=f"x-2031, {OLD_BETA}")
    assert models == {"a": O55, "b": O55}
    assert betas == "x-2031"
    assert "betas=L" in rewrites


@pytest.mark.parametrize("other", ["claude-from-elsewhere", "not an item"])
async def test_a_beta_that_another_item_may_need_stays_and_the_others_stay_on_control(other: str) -> None:
    foreign = {"custom_id": "x", "params": {"model": other}}
    models, rewrites, betas = await served(item("a"), foreign, anthropic_beta=f"x-2031, {OLD_BETA}")
    assert models == {"a": O45, "x": other}
    assert betas == f"x-2031, {OLD_BETA}"
    assert "betas=X" in rewrites


async def test_an_item_that_stays_for_another_reason_keeps_the_betas_of_all() -> None:
    policy = replace(FAR, compat=CompatPolicy(forced_tool="control"))
    models, _, betas = await served(item("a"), item("b", **FORCED), spec=policy, anthropic_beta=OLD_BETA)
    assert models == {"a": O45, "b": O45}
    assert betas == OLD_BETA


# --- requests that are nobody's -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [{"model": 5}, {}, {"model": O45, "messages": {}}, {"model": O45, "fallback_credit_token": "t"}],
)
async def test_params_that_cannot_be_read_or_must_not_be_changed_pass(params: dict[str, Any]) -> None:
    async with in_front_of(TAKEN) as process:
        sent = {"custom_id": "odd", "params": params}
        await create(process, batch_of(sent, item("a")))
        arrived = json.loads(process.upstream.requests[0].body)["requests"]
        assert arrived[0] == sent
        assert arrived[1]["params"]["model"] != O45


async def test_the_policy_of_the_task_in_the_headers_is_every_item_s() -> None:
    tasks = {"summaries": CompatPolicy(forced_tool="control")}
    spec = replace(FAR, compat=CompatPolicy(tasks=tasks))
    models, _, _ = await served(item("a", **FORCED), spec=spec, x_gateway_task="summaries")
    assert models == {"a": O45}
    models, _, _ = await served(item("a", **FORCED), spec=spec)
    assert models == {"a": O55}


async def test_a_forced_arm_is_every_item_s() -> None:
    async def given(process: Process, token: str) -> set[str]:
        forced = {"x_gateway_force_arm": "control", "x_gateway_token": token}
        await create(process, batch_of(item("a"), item("b")), x_gateway_unit="alice", **forced)
        return {params["model"] for params in items_sent(process).values()}

    plane: dict[str, Any] = {"is_operator": lambda token: token == "olga"}
    async with in_front_of(TAKEN, **plane) as process:
        assert await given(process, "olga") == {O45}
        assert O45 not in await given(process, "mallory")
