"""Conversations keep their model while the weight moves under them, and new ones follow the weight."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest

from gateway.core.assign import bucket_of
from gateway.proxy.transport.wire import Origin, Wire
from tests.support.deploy import (
    Deployed,
    Simulated,
    deployed,
    eventually,
    free_port,
    migration,
    write_config,
)
from tests.support.redis_server import RedisServer, binaries
from tests.support.talks import (
    HEADERS,
    KINDS,
    O45,
    O46,
    Talk,
    begin,
    begin_on,
    by_claude_code,
    by_header,
    by_user,
    models_of,
    numbers,
)

S45, S55 = "claude-sonnet-4-5-20250929", "claude-sonnet-5-5"
ARMS = {"control": O45, "candidate": O46}


@pytest.fixture(scope="module")
def _gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("conversations")
    held = migration("held", S45, S55, holdback={"percent": 30})
    config = write_config(directory, _upstream.url, migration("m", O45, O46), held)
    with deployed(config, directory) as running:
        running.act("m", "start", reason="test")
        running.act("held", "start", reason="test")
        yield running


@pytest.fixture
def gateway(_gateway: Deployed) -> Deployed:
    """A run in progress, whatever the test before did to it."""
    if _gateway.status("m")["phase"] == "rolled_back":
        _gateway.act("m", "restart", reason="next test")
    return _gateway


# --- the weight moves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_keeps_the_model_it_began_with_through_every_change(
    gateway: Deployed, kind: Callable[[int], Talk]
) -> None:
    talks: list[Talk] = []
    for weight, models in ((0, [O45]), (20, [O45, O46]), (60, [O45, O46])):
        gateway.set_weight("m", weight)
        talks += begin_on(gateway, *models, kind=kind)
    for weight in (100, 0, 45, 20):
        gateway.set_weight("m", weight)
        assert [talk.say(gateway) for talk in talks] == [talk.model for talk in talks], f"at {weight} %"
        assert {talk.reason for talk in talks} == {"pinned"}
        assert [talk.count(gateway) for talk in talks] == [talk.model for talk in talks]


@pytest.mark.parametrize("kind", KINDS)
def test_new_conversations_follow_the_weight(gateway: Deployed, kind: Callable[[int], Talk]) -> None:
    for weight, models in ((100, {O46}), (0, {O45}), (100, {O46})):
        gateway.set_weight("m", weight)
        assert models_of(gateway, kind) == models


def test_a_tool_loop_of_the_official_sdk_stays_on_its_model(gateway: Deployed) -> None:
    tool = {"name": "look_up", "description": "x", "input_schema": {"type": "object"}}
    with anthropic.Anthropic(api_key="sk-test", base_url=gateway.url, max_retries=0) as client:
        for weight, model in ((0, O45), (100, O46)):
            gateway.set_weight("m", weight)
            turns: list[Any] = [{"role": "user", "content": f"Look something up at {weight}, with a tool."}]
            first = client.messages.create(model=O45, max_tokens=200, messages=turns, tools=[tool])  # type: ignore[list-item]
            assert first.model == model
            gateway.set_weight("m", 100 - weight)
            uses = [block for block in first.content if block.type == "tool_use"]
            results = [{"type": "tool_result", "tool_use_id": use.id, "content": "42"} for use in uses]
            turns += [{"role": "assistant", "content": first.content}]
            turns += [{"role": "user", "content": results or "Go on."}]
            again = client.messages.create(model=O45, max_tokens=200, messages=turns, tools=[tool])  # type: ignore[list-item]
            assert again.model == model


def test_a_sessions_side_question_does_not_move_the_main_conversation(gateway: Deployed) -> None:
    gateway.set_weight("m", 100)
    main = begin(gateway, by_claude_code)
    gateway.set_weight("m", 0)
    aside = Talk(fields=main.fields)
    assert aside.say(gateway, "Write a title for this session.") == O45
    assert (main.say(gateway), main.reason) == (O46, "pinned")
    assert aside.say(gateway) == O45
    cut = Talk(fields=main.fields, turns=[{"role": "user", "content": "So far: ..."}, main.turns[-1]])
    assert cut.say(gateway) == O46


def test_counting_tokens_follows_what_a_first_message_would_get_and_never_enrols(gateway: Deployed) -> None:
    gateway.set_weight("m", 40)
    before = gateway.status("m")["enrolled"]
    units = [by_header(next(numbers)) for _ in range(20)]
    counted = [talk.count(gateway) for talk in units]
    assert gateway.status("m")["enrolled"] == before
    assert set(counted) == {O45, O46}
    assert [talk.say(gateway, "Hello.") for talk in units] == counted
    grown = eventually(lambda: total(gateway) > sum(before.values()) and gateway.status("m")["enrolled"])
    assert grown["candidate"] - before["candidate"] == counted.count(O46)


def total(gateway: Deployed) -> int:
    enrolled: dict[str, int] = gateway.status("m")["enrolled"]
    return sum(enrolled.values())


# --- leaving ------------------------------------------------------------------------------------------------


def test_a_drain_lets_conversations_finish_and_an_eviction_does_not(gateway: Deployed) -> None:
    gateway.set_weight("m", 60)
    staying, going = begin_on(gateway, O45, O46)
    gateway.act("m", "rollback", mode="drain", reason="test")
    gateway.settle("m")
    assert (going.say(gateway), going.reason) == (O46, "pinned")
    assert staying.say(gateway) == O45
    assert models_of(gateway) == {O45}
    again = Talk(headers=going.headers)
    assert again.say(gateway, "Something else.") == O45
    gateway.act("m", "rollback", mode="evict", reason="test")
    gateway.settle("m")
    assert (going.say(gateway), going.reason) == (O45, "not_running")


@pytest.mark.parametrize("verb", ["rollback", "emergency-rollback"])
def test_an_eviction_moves_everybody_with_the_next_request_and_for_good(gateway: Deployed, verb: str) -> None:
    gateway.set_weight("m", 60)
    talks = begin_on(gateway, O45, O46, kind=by_user) + begin_on(gateway, O46, kind=by_claude_code)
    gateway.act("m", verb, reason="test")
    gateway.settle("m")
    assert {talk.say(gateway) for talk in talks} == {O45}
    assert {talk.reason for talk in talks} == {"killed" if "emergency" in verb else "not_running"}
    gateway.act("m", "restart", reason="test")
    gateway.set_weight("m", 100)
    assert {talk.say(gateway) for talk in talks} == {O45}, "they go on where they have been moved to"


# --- the gateway restarts, the store goes away --------------------------------------------------------------


def test_conversations_survive_a_restart(upstream: Simulated, directory: Path) -> None:
    config = write_config(directory, upstream.url, migration("m", O45, O46))
    port = free_port()
    with deployed(config, directory, port=port) as gateway:
        gateway.act("m", "start", reason="test")
        gateway.set_weight("m", 40)
        talks = [talk for kind in KINDS for talk in begin_on(gateway, O45, O46, kind=kind)]
        gateway.set_weight("m", 0)
    with deployed(config, directory, port=port) as gateway:
        assert gateway.status("m")["weight_percent"] == 0
        assert [talk.say(gateway) for talk in talks] == [talk.model for talk in talks]
        assert {talk.reason for talk in talks} == {"pinned"}
        assert models_of(gateway) == {O45}


def test_conversations_survive_the_store(upstream: Simulated, directory: Path) -> None:
    config = write_config(directory, upstream.url, migration("m", O45, O46))
    with (
        RedisServer(next(iter(binaries().values()))) as redis,
        deployed(config, directory, store_url=redis.url) as gateway,
    ):
        gateway.act("m", "start", reason="test")
        gateway.set_weight("m", 40)
        talks = [talk for kind in KINDS for talk in begin_on(gateway, O45, O46, kind=kind)]
        gateway.set_weight("m", 0)
        redis.kill()
        began = {talk.model for talk in talks}
        assert [talk.say(gateway) for talk in talks] == [talk.model for talk in talks]
        assert models_of(gateway) == {O45}
        redis.start()
        eventually(lambda: gateway.status("m")["phase"] == "paused", within_s=20)  # put back
        assert [talk.say(gateway) for talk in talks] == [talk.model for talk in talks]
        assert began == {O45, O46}
        gateway.set_weight("m", 100)
        assert [talk.say(gateway) for talk in talks] == [talk.model for talk in talks]


# --- the share ----------------------------------------------------------------------------------------------


def arms_of(gateway: Deployed, units: list[str], text: str) -> dict[str, str]:
    """Let every unit begin a conversation, many at a time, and return the arm of each."""

    async def ask(wire: Wire, unit: str) -> str:
        body = {"model": O45, "max_tokens": 1, "messages": [{"role": "user", "content": text}]}
        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        headers.append((b"x-gateway-unit", unit.encode()))
        exchange = await wire.send(b"POST", b"/v1/messages", headers, json.dumps(body).encode())
        assert await exchange.read_all(1 << 20)
        assert exchange.status == 200
        return dict(exchange.headers)[b"x-gateway-arm"].decode()

    async def everybody() -> dict[str, str]:
        wire = Wire(Origin.parse(gateway.url), connect_timeout_s=10, first_byte_timeout_s=30)
        found: dict[str, str] = {}
        for start in range(0, len(units), 16):
            some = units[start : start + 16]
            found |= zip(some, await asyncio.gather(*(ask(wire, unit) for unit in some)), strict=True)
        wire.close()
        return found

    return asyncio.run(everybody())


def test_the_share_of_units_is_the_weight_and_widening_loses_nobody(gateway: Deployed) -> None:
    run = gateway.status("m")["run"]
    buckets = {f"person-{n}": bucket_of("m", run, f"person-{n}") for n in range(10_000)}
    gateway.set_weight("m", 20)
    at_20 = arms_of(gateway, list(buckets), "Twenty.")
    assert at_20 == {unit: "candidate" if bucket < 20_000 else "control" for unit, bucket in buckets.items()}
    candidates = [unit for unit, arm in at_20.items() if arm == "candidate"]
    assert abs(len(candidates) / 10_000 - 0.20) <= 0.02
    gateway.set_weight("m", 45)
    assert set(arms_of(gateway, candidates, "Forty-five.").values()) == {"candidate"}
    others = [unit for unit, arm in at_20.items() if arm == "control"][:500]
    joined = arms_of(gateway, others, "Forty-five.")
    assert joined == {unit: "candidate" if buckets[unit] < 45_000 else "control" for unit in others}


def test_explain_says_what_the_data_path_does(gateway: Deployed) -> None:
    gateway.set_weight("m", 50)
    units = [f"explained-{n}" for n in range(30)]
    explained = {
        unit: gateway.admin("GET", "/migrations/m/explain", params={"unit": unit}).json() for unit in units
    }
    assert {each["arm"] for each in explained.values()} == {"control", "candidate"}
    assert arms_of(gateway, units, "Explain.") == {unit: each["arm"] for unit, each in explained.items()}


# --- by name ------------------------------------------------------------------------------------------------


@contextmanager
def lists(gateway: Deployed, **given: list[str]) -> Iterator[None]:
    """Set lists for a while."""
    empty: dict[str, list[str]] = {"allow_users": [], "allow_tasks": [], "deny_users": []}
    for body in (empty | given, empty):
        answer = gateway.admin("PUT", "/migrations/m/lists", json=body)
        assert answer.status_code == 200, answer.text
        gateway.settle("m")
        if body != empty:
            yield


def say(gateway: Deployed, headers: Mapping[str, str], **fields: Any) -> tuple[str, str]:
    talk = Talk(headers=dict(headers), fields=fields)
    return talk.say(gateway, f"Number {next(numbers)}."), talk.reason


def test_lists_decide_by_name_whatever_the_weight(gateway: Deployed) -> None:
    zoe, ann = {"x-gateway-unit": "zoe"}, {"metadata": {"user_id": "ann"}}
    gateway.set_weight("m", 0)
    with lists(gateway, allow_users=["zoe", "ann"], allow_tasks=["triage"], deny_users=["eve"]):
        assert say(gateway, zoe) == (O46, "allowed_user")
        assert say(gateway, {}, **ann) == (O46, "allowed_user")
        assert say(gateway, {"x-gateway-task": "triage"}) == (O46, "allowed_task")
        assert say(gateway, {"x-gateway-task": "other"})[0] == O45
        gateway.set_weight("m", 100)
        assert say(gateway, {"x-gateway-unit": "eve"}) == (O45, "denied")
        assert say(gateway, {"x-gateway-unit": "eve", "x-gateway-task": "triage"}) == (O45, "denied")
    gateway.set_weight("m", 0)
    assert say(gateway, zoe)[0] == O45


@pytest.mark.parametrize(
    ("token", "obeyed"),
    [("e2e-operator-token", True), ("e2e-admin-token", True), ("e2e-viewer-token", False), ("no", False)],
)
def test_an_arm_is_forced_with_an_operators_token_only(gateway: Deployed, token: str, obeyed: bool) -> None:
    for weight, arm in ((0, "candidate"), (100, "control")):
        gateway.set_weight("m", weight)
        other = "control" if arm == "candidate" else "candidate"
        forced = {"x-gateway-force-arm": arm, "x-gateway-unit": "zoe"}
        model, reason = say(gateway, forced | {"x-gateway-token": token})
        assert (model, reason == "forced") == (ARMS[arm if obeyed else other], obeyed)
        assert say(gateway, forced)[0] == ARMS[other]


def test_forced_and_listed_requests_are_not_enrolled(gateway: Deployed) -> None:
    gateway.set_weight("m", 100)
    before = total(gateway)
    operator = {"x-gateway-force-arm": "candidate", "x-gateway-token": "e2e-operator-token"}
    for n in range(5):
        say(gateway, operator | {"x-gateway-unit": f"forced-{n}"})
    with lists(gateway, allow_users=[f"listed-{n}" for n in range(5)]):
        for n in range(5):
            say(gateway, {"x-gateway-unit": f"listed-{n}"})
    say(gateway, {"x-gateway-unit": "counted"})
    eventually(lambda: total(gateway) > before)
    assert total(gateway) == before + 1


def test_a_holdback_keeps_its_share_on_control_to_the_end(gateway: Deployed) -> None:
    gateway.set_weight("held", 100)
    met: list[tuple[str, str]] = []
    for n in range(200):
        met.append(say(gateway, {"x-gateway-unit": f"held-{n}"}, model=S45))
    held = met.count((S45, "holdback"))
    assert 30 <= held <= 90
    assert set(met) == {(S45, "holdback"), (S55, "bucket")}
