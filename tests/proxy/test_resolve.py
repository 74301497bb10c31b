"""Who is asking and where they go: names, memory, the store's absence, and what is written down."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.compat.prompts import PromptVariant
from gateway.compat.request import RULESET
from gateway.core.assign import bucket_of
from gateway.core.spec import CompatPolicy, Holdback, Lists
from gateway.core.types import LINE, Arm, MigrationState, Phase, Pin
from gateway.proxy import resolve
from gateway.proxy.table import build
from gateway.store.ports import Enrolment, PinWrite
from tests.support.eventually import eventually
from tests.support.plane import (
    CATALOGUE,
    O45,
    O46,
    ON_CANDIDATE,
    ON_CONTROL,
    SPEC,
    TODAY,
    Heard,
    Process,
    body,
    in_front_of,
    message,
)
from tests.support.scripted import answer, replying

FINE = replying(answer(message()))
COUNTED = "/v1/messages/count_tokens"
TWENTY = replace(ON_CANDIDATE, weight=20_000)
# Run 1 of `m` puts alice at 3440, bob at 37642, user-42 at 70352: candidate, unenrolled, matched control.
ALICE, BOB, USER_42 = "alice", "bob", "user-42"


def going_on(text: str = "hello", *more: str, **fields: Any) -> bytes:
    """Return a request that continues a conversation."""
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]
    turns += [{"role": "user", "content": each} for each in more or ("and?",)]
    return body(messages=turns, **fields)


def given(heard: Heard) -> tuple[str, str]:
    return heard.headers["x-gateway-arm"], heard.headers["x-gateway-reason"]


async def ask(process: Process, content: bytes, path: str = "", **headers: str) -> tuple[str, str]:
    return given(await process.post(content, path or "/v1/messages", **headers))


def state(weight: int, **fields: Any) -> MigrationState:
    return replace(ON_CANDIDATE, weight=weight, version=9, **fields)


# --- the unit -----------------------------------------------------------------------------------------------

CLAUDE_CODE = '{"device_id":"d","account_uuid":"user-42","session_id":"s"}'


@pytest.mark.parametrize(
    ("content", "headers", "arm"),
    [
        (body(), {"x_gateway_unit": ALICE}, "candidate"),
        (body(metadata={"user_id": ALICE}), {}, "candidate"),
        (body(metadata={"user_id": USER_42}), {"x_gateway_unit": ALICE}, "candidate"),
        (body(metadata={"user_id": CLAUDE_CODE}), {}, "control"),
        (body(metadata={"user_id": CLAUDE_CODE.replace(USER_42, "")}), {}, None),
        (body(), {"x_claude_code_session_id": ALICE}, "candidate"),
        (body(metadata={"user_id": ""}), {"x_gateway_unit": "", "x_claude_code_session_id": BOB}, "control"),
    ],
)
async def test_the_first_name_on_the_ladder_decides(
    content: bytes, headers: dict[str, str], arm: str | None
) -> None:
    expected = arm or ("candidate" if bucket_of("m", 1, "d") < 20_000 else "control")
    async with in_front_of(FINE, TWENTY) as process:
        assert (await ask(process, content, **headers))[0] == expected


async def test_a_name_is_the_same_in_a_header_and_in_json() -> None:
    name = next(name for n in range(99) if bucket_of("m", 1, name := f"jos\u00e9-{n}") < 20_000)
    mojibake = name.encode().decode("latin-1")
    assert bucket_of("m", 1, mojibake) >= 20_000
    async with in_front_of(FINE, TWENTY) as process:
        assert (await ask(process, body(), x_gateway_unit=name))[0] == "candidate"
        assert (await ask(process, body(metadata={"user_id": name})))[0] == "candidate"


async def test_without_any_name_the_conversation_and_then_the_key_is_the_unit() -> None:
    async with in_front_of(FINE, TWENTY) as process:
        arms = {(await ask(process, body(text=f"q{n}")))[0] for n in range(40)}
        assert arms == {"candidate", "control"}
        again = {(await ask(process, body(text="q1"))) for _ in range(3)}
        assert len({arm for arm, _ in again}) == 1
    by_key = replace(SPEC, unit=("api_key",))
    async with in_front_of(FINE, TWENTY, spec=by_key) as process:
        arms = {(await ask(process, body(text=f"q{n}"), x_api_key="sk-1"))[0] for n in range(20)}
        assert len(arms) == 1
        assert (await ask(process, body()))[1] == "no_unit"


async def test_units_and_conversations_are_stored_as_keyed_hashes_only() -> None:
    async with in_front_of(FINE) as process:
        await ask(process, body(text="secret words", metadata={"user_id": CLAUDE_CODE}), x_api_key="sk-1")
        await eventually(lambda: process.store.batches)
        written = repr(process.store.server.data)
        assert process.store.server.data.pins
        assert process.store.server.data.records
        assert not [word for word in ("secret words", "user-42", "sk-1", "'s'", "'d'") if word in written]


# --- what is written down -----------------------------------------------------------------------------------


async def writes_of(process: Process) -> tuple[list[PinWrite], list[Enrolment]]:
    await eventually(lambda: not process.plane.ledger.queued)
    noted = [write for batch in process.store.batches for write in batch]
    process.store.batches.clear()
    pins = [write for write in noted if isinstance(write, PinWrite)]
    return pins, [write for write in noted if isinstance(write, Enrolment)]


@pytest.mark.parametrize(
    ("unit", "arm", "enrolled"),
    [(ALICE, Arm.candidate, True), (BOB, Arm.control, False), (USER_42, Arm.control, False)],
)
async def test_a_first_request_pins_its_conversation_and_enrols_whoever_is_compared(
    unit: str, arm: Arm, enrolled: bool
) -> None:
    matched = 50_000 <= bucket_of("m", 1, unit) < 70_000
    async with in_front_of(FINE, TWENTY) as process:
        await ask(process, body(), x_gateway_unit=unit)
        pins, enrolments = await writes_of(process)
        assert [pin.pin for pin in pins] == [Pin(arm, 1, pins[0].pin.ruleset)]
        assert [each.arm for each in enrolments] == ([arm] if enrolled or matched else [])
        await ask(process, body(), x_gateway_unit=unit)
        assert await writes_of(process) == ([], [])


async def test_a_conversation_keeps_the_ruleset_that_it_began_with_and_a_new_one_gets_todays() -> None:
    newer = replace(SPEC, candidate="claude-opus-5-5")
    forced: dict[str, Any] = {"tools": [{"name": "t", "input_schema": {}}], "tool_choice": {"type": "any"}}
    async with in_front_of(FINE, spec=newer) as process:
        await ask(process, body(), x_gateway_unit=ALICE)
        pins, _ = await writes_of(process)
        older = [replace(write, pin=replace(write.pin, ruleset="1")) for write in pins]
        await process.plane.ledger.note(older, 1)
        await writes_of(process)
        for _ in range(2):
            heard = await process.post(going_on(**forced), x_gateway_unit=ALICE)
            # The first ruleset knew no way to say it, so the candidate is not asked.
            assert heard.headers["x-gateway-fallback"] == "rejected_by_model"
        assert process.labelled("fallbacks_total", "cause") == {}
        pins, _ = await writes_of(process)
        assert {write.pin.ruleset for write in pins} <= {"1"}
        heard = await process.post(body(text="another", **forced), x_gateway_unit=ALICE)
        assert heard.headers["x-gateway-fallback"] == "no_tool_call"  # asked in words, and not heeded
        pins, _ = await writes_of(process)
        assert {write.pin.ruleset for write in pins} == {RULESET}


@pytest.mark.parametrize("ruleset", ["", "of tomorrow", ";v@1", "-1", "²"])
async def test_a_pin_whose_ruleset_nobody_can_read_still_says_which_arm_it_is(ruleset: str) -> None:
    async with in_front_of(FINE) as process:
        await ask(process, body(), x_gateway_unit=ALICE)
        pins, _ = await writes_of(process)
        garbled = [replace(write, pin=replace(write.pin, ruleset=ruleset)) for write in pins]
        await process.plane.ledger.note(garbled, 1)
        heard = await process.post(going_on(), x_gateway_unit=ALICE)
        assert heard.status == 200
        assert given(heard) == ("candidate", "pinned")


async def test_a_session_is_remembered_by_its_conversation_and_as_a_whole() -> None:
    async with in_front_of(FINE) as process:
        await ask(process, body(), x_claude_code_session_id="s")
        pins, _ = await writes_of(process)
        assert len({pin.key for pin in pins}) == 2


@pytest.mark.parametrize("content", [body(), going_on()])
async def test_counting_tokens_writes_nothing_down(content: bytes) -> None:
    async with in_front_of(replying(answer(b'{"input_tokens":1}'))) as process:
        arm, _ = await ask(process, content, COUNTED, x_gateway_unit=ALICE)
        assert arm in ("candidate", "control")
        assert await writes_of(process) == ([], [])


# --- conversations ------------------------------------------------------------------------------------------


async def test_a_conversation_keeps_its_arm_while_the_weight_moves_under_it() -> None:
    async with in_front_of(FINE, ON_CONTROL) as process:
        await ask(process, body(), x_gateway_unit=ALICE)
        process.obey(state(LINE))
        assert await ask(process, going_on(), x_gateway_unit=ALICE) == ("control", "pinned")
        assert await ask(process, going_on(), COUNTED, x_gateway_unit=ALICE) == ("control", "pinned")
        assert (await ask(process, body(text="new"), x_gateway_unit=ALICE))[0] == "candidate"
        process.obey(state(0))
        assert await ask(process, going_on("new"), x_gateway_unit=ALICE) == ("candidate", "pinned")
        assert (await ask(process, body(text="newer"), x_gateway_unit=ALICE))[0] == "control"


async def test_a_conversation_that_nobody_has_seen_goes_by_its_units_record_or_stays_on_control() -> None:
    async with in_front_of(FINE) as process:
        assert await ask(process, going_on(), x_gateway_unit=ALICE) == ("control", "carried_over")
        assert await ask(process, going_on(), x_gateway_unit=ALICE) == ("control", "pinned")
        await ask(process, body(text="first"), x_gateway_unit=BOB)
        assert await ask(process, going_on("other"), x_gateway_unit=BOB) == ("candidate", "recorded")


async def test_another_replicas_memory_is_found_in_the_store() -> None:
    async with in_front_of(FINE) as process:
        key = process.plane.ledger.key("s:s1")
        await process.store.remember([PinWrite("m", key, Pin(Arm.candidate, 1, "1"), 60)])
        assert await ask(process, going_on(), x_claude_code_session_id="s1") == ("candidate", "pinned")


async def test_with_the_store_away_the_hash_answers_as_it_would_on_every_replica() -> None:
    async with in_front_of(FINE, TWENTY) as process:
        process.store.away = True
        assert await ask(process, going_on(), x_gateway_unit=ALICE) == ("candidate", "bucket")
        assert await ask(process, going_on(), x_gateway_unit=BOB) == ("control", "bucket")
        assert await ask(process, body(), x_gateway_unit=ALICE) == ("candidate", "bucket")


async def test_a_store_that_hangs_is_not_waited_for() -> None:
    assert resolve.RECALL_S <= 0.25
    assert resolve.NOTE_S <= 0.005
    async with in_front_of(FINE, TWENTY) as process:
        process.store.hang()
        assert await ask(process, body(), x_gateway_unit=ALICE) == ("candidate", "bucket")
        assert await ask(process, going_on(), x_gateway_unit=ALICE) == ("candidate", "pinned")
        assert await ask(process, going_on("unseen"), x_gateway_unit=BOB) == ("control", "bucket")
        process.store.resume()


async def test_a_session_in_use_is_not_forgotten() -> None:
    session = {"x_claude_code_session_id": ALICE}
    async with in_front_of(FINE) as process:
        await ask(process, body(text="main"), **session)
        for _ in range(3):
            process.clock.advance(3000)
            assert await ask(process, going_on("main"), **session) == ("candidate", "pinned")
        process.obey(state(0))
        assert await ask(process, going_on("what we said so far: ..."), **session) == ("candidate", "pinned")


async def test_a_sessions_side_question_moves_nothing_but_itself() -> None:
    session = {"x_claude_code_session_id": ALICE}
    async with in_front_of(FINE) as process:
        assert (await ask(process, body(text="main"), **session))[0] == "candidate"
        process.obey(state(0))
        assert (await ask(process, body(text="a title, please"), **session))[0] == "control"
        assert await ask(process, going_on("main"), **session) == ("candidate", "pinned")
        assert await ask(process, going_on("a title, please"), **session) == ("control", "pinned")
        assert await ask(process, going_on("main"), **session) == ("candidate", "pinned")


@pytest.mark.parametrize("aside", [False, True])
async def test_a_session_whose_history_was_cut_at_the_front_is_still_itself(aside: bool) -> None:
    session = {"x_claude_code_session_id": ALICE}
    async with in_front_of(FINE) as process:
        await ask(process, body(text="main"), **session)
        process.obey(state(0))
        if aside:
            await ask(process, body(text="a title, please"), **session)
        assert await ask(process, going_on("what we said so far: ..."), **session) == ("candidate", "pinned")


# --- the order of precedence --------------------------------------------------------------------------------

TOOL: dict[str, Any] = {
    "tools": [{"name": "t", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "t"},
}
STRICT = replace(SPEC, candidate="claude-opus-5-5", compat=CompatPolicy(forced_tool="control"))


async def test_what_the_candidate_cannot_serve_stays_on_control_named() -> None:
    async with in_front_of(FINE, spec=STRICT) as process:
        heard = await process.post(body(**TOOL), x_gateway_unit=ALICE)
        assert given(heard) == ("control", "unservable")
        assert heard.headers["x-gateway-rewrites"] == "forced_tool=X"
        assert heard.headers["x-gateway-served-model"] == O45


async def test_where_policy_says_so_the_caller_is_told_instead() -> None:
    told = replace(STRICT, compat=CompatPolicy(forced_tool="reject"))
    async with in_front_of(FINE, spec=told) as process:
        heard = await process.post(body(**TOOL))
        assert (heard.status, heard.json["error"]["type"]) == (400, "invalid_request_error")
        assert "tool_choice" in heard.json["error"]["message"]
        assert process.upstream.connections == 0


async def test_the_guard_beats_a_pin_for_one_request_and_the_pin_stays() -> None:
    async with in_front_of(FINE, spec=STRICT) as process:
        await ask(process, body(), x_gateway_unit=ALICE)
        assert (await ask(process, going_on(**TOOL), x_gateway_unit=ALICE))[1] == "unservable"
        assert await ask(process, going_on(), x_gateway_unit=ALICE) == ("candidate", "pinned")


@pytest.mark.parametrize(
    ("lists", "weight", "headers", "expected"),
    [
        (Lists(deny_users=(ALICE,)), LINE, {"x_gateway_unit": ALICE}, ("control", "denied")),
        (Lists(allow_users=(BOB,)), 0, {"x_gateway_unit": BOB}, ("candidate", "allowed_user")),
        (Lists(allow_tasks=("t",)), 0, {"x_gateway_task": "t"}, ("candidate", "allowed_task")),
        (
            Lists(deny_users=(BOB,), allow_users=(BOB,)),
            0,
            {"x_gateway_unit": BOB},
            ("control", "denied"),
        ),
        (
            Lists(allow_tasks=("t",)),
            0,
            {"x_gateway_task": "u", "x_gateway_unit": BOB},
            ("control", "bucket"),
        ),
    ],
)
async def test_lists_decide_by_name(
    lists: Lists, weight: int, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    async with in_front_of(FINE, state(weight), spec=replace(SPEC, lists=lists)) as process:
        assert await ask(process, body(), **headers) == expected


@pytest.mark.parametrize("lists", [Lists(), Lists(allow_users=(ALICE,))])
async def test_a_conversation_keeps_the_prompt_variant_that_it_began_with_however_it_is_assigned(
    lists: Lists,
) -> None:
    first = PromptVariant("b", 1, frozenset({O46}), frozenset(), None, "append", "Be brief.")
    spec, second = replace(SPEC, lists=lists), replace(first, version=2, text="Be very brief.")
    async with in_front_of(FINE, spec=spec) as process:
        for variants, content in (((first,), body()), ((first, second), going_on())):
            states = {"m": replace(ON_CANDIDATE, spec=spec)}
            process.plane.table = build([spec], states, CATALOGUE, TODAY, variants)
            assert (await ask(process, content, x_gateway_unit=ALICE))[0] == "candidate"
        told = [json.loads(request.body)["system"] for request in process.upstream.requests]
        assert told == [[{"type": "text", "text": first.text}]] * 2


async def test_the_end_user_is_a_name_beside_the_unit() -> None:
    denied = replace(SPEC, lists=Lists(deny_users=(BOB,)))
    async with in_front_of(FINE, spec=denied) as process:
        content = body(metadata={"user_id": BOB})
        assert (await ask(process, content, x_gateway_unit=ALICE))[1] == "denied"


async def test_a_holdback_keeps_its_units_on_control() -> None:
    held = replace(SPEC, holdback=Holdback(percent=100))
    async with in_front_of(FINE, spec=held) as process:
        assert await ask(process, body(), x_gateway_unit=ALICE) == ("control", "holdback")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phase": Phase.draft, "run": 0}, ("control", "not_running")),
        ({"phase": Phase.rolled_back, "reason": "user", "evicted_run": 1}, ("control", "not_running")),
        ({"phase": Phase.rolled_back, "reason": "emergency", "evicted_run": 1}, ("control", "killed")),
        ({"phase": Phase.rolled_back, "reason": "user", "draining": True}, ("candidate", "pinned")),
        ({"phase": Phase.paused, "reason": "user", "weight": 0}, ("candidate", "pinned")),
        ({"phase": Phase.soaking}, ("candidate", "pinned")),
        ({"phase": Phase.completed}, ("candidate", "pinned")),
    ],
)
async def test_what_a_phase_does_to_a_conversation_on_the_candidate(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    async with in_front_of(FINE) as process:
        await ask(process, body(), x_gateway_unit=ALICE)
        process.obey(replace(ON_CANDIDATE, version=9, **changes))
        assert await ask(process, going_on(), x_gateway_unit=ALICE) == expected
