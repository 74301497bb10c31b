"""What is repeated in a conversation on the candidate, on any replica, and what happens where it is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.core.spec import CompatPolicy
from gateway.proxy.recall import leaves_notes
from tests.support.eventually import eventually
from tests.support.plane import (
    CATALOGUE,
    O45,
    O46,
    ON_CONTROL,
    SPEC,
    STREAM_HEAD,
    Process,
    chunk,
    in_front_of,
    streaming,
)
from tests.support.scripted import Request
from tests.support.thinker import AGEING, O55, Json, Talk, Thinker, another_replica, thoughts

O48, O5, H55 = "claude-opus-4-8", "claude-opus-5", "claude-haiku-5-5"


@pytest.fixture
async def thinker() -> Thinker:
    return Thinker()


@pytest.fixture
async def process(thinker: Thinker) -> AsyncIterator[Process]:
    async with in_front_of(thinker, spec=AGEING) as made:
        yield made


# --- repeated -----------------------------------------------------------------------------------------------


async def test_hidden_thinking_comes_back_on_every_later_turn_as_it_was(
    process: Process, thinker: Thinker
) -> None:
    talk = Talk(process, thinker)
    for turn in range(4):
        asked = await talk.say()
        assert thoughts(asked) == [f"sig+{number}==" for number in range(1, turn + 1)]
        assert [block["type"] for block in talk.heard.json["content"]] == ["text"]
    first = asked["messages"][1]["content"]
    assert first == [thinker.thought(1), {"type": "text", "text": "answer 1"}]
    assert process.store.calls["read_notes"] == 0


async def test_what_is_repeated_is_named_on_every_turn_that_repeats_it(
    process: Process, thinker: Thinker
) -> None:
    talk = Talk(process, thinker)
    named = []
    for begin in ("Dear ", "", ""):
        await talk.say(begin=begin)
        named.append({"prefill", "repeated"} & {each[:-2] for each in talk.rewrites.split(",")})
    assert named == [{"prefill"}, {"repeated"}, {"repeated"}]
    await talk.say("/v1/messages/count_tokens")
    assert "repeated=E" in talk.rewrites


async def test_what_is_sent_for_a_turn_goes_on_from_what_was_sent_for_the_one_before(
    process: Process, thinker: Thinker
) -> None:
    talk, sent = Talk(process, thinker, system="Be brief."), []
    for _ in range(4):
        await talk.say()
        sent.append(process.upstream.requests[-1].body.partition(b'"messages":')[2])
    for before, after in pairwise(sent):
        assert after.startswith(before.rpartition(b'}],"')[0])


async def test_an_answer_that_shows_its_thinking_is_not_given_that_of_another_in_the_same_words(
    process: Process, thinker: Thinker
) -> None:
    talk = Talk(process, thinker)
    await talk.say()
    talk.turns[1]["content"].insert(0, {"type": "thinking", "thinking": "Mine", "signature": "own=="})
    talk.fields = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}
    assert thoughts(await talk.say()) == ["own=="]


async def test_another_replica_finds_it_in_the_store(process: Process, thinker: Thinker) -> None:
    talk = Talk(process, thinker)
    for turn in range(4):
        asked = await talk.say()
        assert len(thoughts(asked)) == turn
        another_replica(process)
        process.plane.notebook.start()
    assert process.store.calls["read_notes"] == 3


async def test_a_streamed_answer_is_kept_before_its_last_event_goes_out(thinker: Thinker) -> None:
    async with in_front_of(thinker, spec=AGEING) as process:
        body = {
            "model": O45,
            "max_tokens": 64,
            "stream": True,
            "messages": [{"role": "user", "content": "x"}],
        }
        caller = process.call(json.dumps(body).encode(), headers={"x-gateway-unit": "u"})
        heard = await caller.answer()
        assert b"message_stop" in heard.body
        assert b"thinking" not in heard.body
        assert len(process.store.server.data.notes) == 1
        body["messages"] = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "answer 1"},
            {"role": "user", "content": "y"},
        ]
        await process.call(json.dumps(body).encode(), headers={"x-gateway-unit": "u"}).answer()
        assert thoughts(thinker.asked[-1]) == ["sig+1=="]


STREAMED: Json = {
    "model": O45,
    "max_tokens": 64,
    "stream": True,
    "messages": [{"role": "user", "content": "x"}],
}


@pytest.mark.parametrize("size", [1, 37, 100_000])
async def test_however_a_stream_is_cut_its_note_is_there_when_its_end_is(size: int) -> None:
    stream = b"".join(Thinker().events(1, O55))
    cut = [stream[start : start + size] for start in range(0, len(stream), size)]
    async with in_front_of(streaming(*cut), spec=AGEING) as process:
        caller = process.call(json.dumps(STREAMED).encode(), headers={"x-gateway-unit": "u"})
        await caller.until(lambda heard: b"message_stop" in heard.body)
        assert len(process.store.server.data.notes) == 1
        assert b"thinking" not in (await caller.answer()).body


async def test_of_an_answer_that_was_not_heard_to_its_end_nothing_is_kept() -> None:
    *most, end = Thinker().events(1, O55)
    left = asyncio.Event()

    async def stops(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"".join(chunk(each) for each in most))
        await request.left.wait()
        left.set()

    async with in_front_of(stops, spec=AGEING) as process:
        caller = process.call(json.dumps(STREAMED).encode(), headers={"x-gateway-unit": "u"})
        await caller.until(lambda heard: b"message_delta" in heard.body)
        caller.hang_up()
        await caller.answer()
        await left.wait()
        assert not process.store.server.data.notes
    async with in_front_of(streaming(*most, cut=True), spec=AGEING) as process:
        heard = await process.post(json.dumps(STREAMED).encode())
        assert b"event: error" in heard.body
        assert b"message_stop" in end
        assert not process.store.server.data.notes


@pytest.mark.parametrize("stream", [False, True])
async def test_a_store_that_hangs_does_not_hold_the_answer_up(thinker: Thinker, *, stream: bool) -> None:
    async with in_front_of(thinker, spec=AGEING) as process:
        process.store.hang()
        body = {
            "model": O45,
            "max_tokens": 64,
            "stream": stream,
            "messages": [{"role": "user", "content": "x"}],
        }
        async with asyncio.timeout(1):
            heard = await process.post(json.dumps(body).encode())
        assert b"answer 1" in heard.body
        process.store.resume()


async def test_counting_tokens_repeats_the_same_and_writes_nothing(
    process: Process, thinker: Thinker
) -> None:
    talk = Talk(process, thinker)
    await talk.say()
    counted = await talk.say("/v1/messages/count_tokens")
    assert thoughts(counted) == ["sig+1=="]
    assert len(process.store.server.data.notes) == 1


async def test_two_users_who_say_the_same_do_not_share_what_the_model_thought(
    process: Process, thinker: Thinker
) -> None:
    ann, bob = Talk(process, thinker, "ann"), Talk(process, thinker, "bob")
    await ann.say()
    await bob.say()
    bob.turns[-1] = ann.turns[-1]
    assert thoughts(await bob.say()) == []
    assert thoughts(await ann.say()) == ["sig+1=="]


async def test_a_fork_and_a_retry_find_what_is_theirs(process: Process, thinker: Thinker) -> None:
    talk = Talk(process, thinker)
    await talk.say()
    fork = Talk(process, thinker)
    fork.turns, fork.said = list(talk.turns), 6
    await talk.say()
    asked = await fork.say()
    assert thoughts(asked) == ["sig+1=="]
    assert thoughts(await talk.say()) == ["sig+1==", "sig+2=="]
    assert thoughts(await fork.say()) == ["sig+1==", "sig+3=="]


async def test_a_note_that_is_on_its_way_is_waited_for_a_little(process: Process, thinker: Thinker) -> None:
    talk = Talk(process, thinker)
    await talk.say()
    late = dict(process.store.server.data.notes)
    process.store.server.data.notes.clear()
    another_replica(process)
    asking = asyncio.ensure_future(talk.say())
    async with asyncio.timeout(1):
        await eventually(lambda: process.store.calls["read_notes"])
    process.store.server.data.notes.update(late)
    assert thoughts(await asking) == ["sig+1=="]
    assert "replay" not in talk.rewrites


# --- not repeated -------------------------------------------------------------------------------------------


async def test_control_sees_the_applications_own_conversation_and_nobody_asks_the_store(
    thinker: Thinker,
) -> None:
    async with in_front_of(thinker, ON_CONTROL, spec=AGEING) as process:
        talk = Talk(process, thinker)
        for _ in range(3):
            await talk.say()
        assert process.store.calls["read_notes"] == process.store.calls["write_notes"] == 0
        assert thoughts(thinker.asked[-1]) == []


async def test_models_that_can_leave_nothing_cost_no_question(thinker: Thinker) -> None:
    async with in_front_of(thinker, spec=replace(SPEC, control=O46, candidate=O48, models=(O45,))) as process:
        talk = Talk(process, thinker)
        for _ in range(3):
            await talk.say()
        assert process.store.calls["read_notes"] == process.store.calls["write_notes"] == 0


@pytest.mark.parametrize(
    ("source", "target", "policy", "leaves"),
    [
        (O45, O55, CompatPolicy(), True),
        (O45, O45, CompatPolicy(), False),
        (O45, "claude-opus-4-5", CompatPolicy(), False),
        (O45, O46, CompatPolicy(), True),
        (O45, O46, CompatPolicy(prefill="control"), False),
        (O45, O55, CompatPolicy(prefill="control"), True),
        (O45, O55, CompatPolicy(prefill="control", forced_tool="control"), True),
        (O45, O55, CompatPolicy(prefill="reject", forced_tool="reject", unasked_thinking="show"), False),
        (O46, O48, CompatPolicy(), False),
        (O46, O48, CompatPolicy(progress_notes="text"), True),
        (O55, O45, CompatPolicy(), False),
        (H55, O5, CompatPolicy(), True),
        (H55, O5, CompatPolicy(unasked_thinking="show"), False),
    ],
)
def test_what_can_leave_notes_is_known_without_looking_at_a_request(
    source: str, target: str, policy: CompatPolicy, *, leaves: bool
) -> None:
    ours, theirs = CATALOGUE.find(source), CATALOGUE.find(target)
    assert ours is not None
    assert theirs is not None
    assert leaves_notes(ours, theirs, policy) is leaves


# --- lost ---------------------------------------------------------------------------------------------------


async def test_what_the_store_lost_is_named_and_the_conversation_goes_on_from_there(
    process: Process, thinker: Thinker
) -> None:
    talk = Talk(process, thinker)
    for _ in range(3):
        await talk.say()
    process.store.server.data.notes.clear()
    another_replica(process)
    assert thoughts(await talk.say()) == []
    assert "replay=E" in talk.rewrites
    for turn in range(2):
        assert len(thoughts(await talk.say())) == turn + 1
        assert "replay=E" not in talk.rewrites


async def test_without_the_store_a_replica_that_remembers_nothing_leaves_thinking_out_and_says_so(
    process: Process, thinker: Thinker
) -> None:
    talk = Talk(process, thinker)
    for _ in range(2):
        await talk.say()
    another_replica(process)
    process.store.away = True
    assert thoughts(await talk.say()) == []
    assert "replay=E" in talk.rewrites
    process.store.away = False
    another_replica(process)
    # What was said then was said without them, and stays without them; but it was not stored.
    assert thoughts(await talk.say()) == ["sig+1==", "sig+2=="]


async def test_an_answer_that_the_application_edited_is_another_answer(
    process: Process, thinker: Thinker
) -> None:
    talk = Talk(process, thinker)
    for _ in range(3):
        await talk.say()
    talk.turns[3] = {"role": "assistant", "content": "what I would have liked to hear"}
    assert thoughts(await talk.say()) == ["sig+1=="]
    assert "replay=E" in talk.rewrites
    assert thoughts(await talk.say()) == ["sig+1==", "sig+4=="]


@pytest.mark.parametrize("begin", ["", "I say: "])
async def test_an_answer_of_controls_breaks_nothing(process: Process, thinker: Thinker, begin: str) -> None:
    talk = Talk(process, thinker)
    await talk.say()
    thinker.broken = {O55}
    await talk.say(begin=begin)
    assert talk.heard.headers["x-gateway-fallback"] == "overloaded"
    assert thoughts(thinker.asked[-1]) == []
    thinker.broken = set()
    another_replica(process)
    assert thoughts(await talk.say()) == ["sig+1=="]
    assert "replay" not in talk.rewrites


async def test_examples_that_the_application_brings_are_no_loss(process: Process, thinker: Thinker) -> None:
    talk = Talk(process, thinker)
    talk.turns = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]
    for _ in range(3):
        await talk.say()
        assert "replay" not in talk.rewrites


async def test_examples_are_no_loss_however_often_they_are_brought_and_wherever(
    process: Process, thinker: Thinker
) -> None:
    await Talk(process, thinker).say()
    for path in ("/v1/messages/count_tokens", "/v1/messages", "/v1/messages", "/v1/messages/count_tokens"):
        talk = Talk(process, thinker)
        talk.turns = [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}]
        await talk.say(path)
        assert "replay" not in talk.rewrites
        assert talk.heard.headers["x-gateway-arm"] == "candidate"
        another_replica(process)
        process.plane.notebook.start()
    assert talk.heard.headers["x-gateway-reason"] == "pinned"
    await talk.say()
    assert thoughts(await talk.say()) == [f"sig+{len(thinker.asked) - 1}=="]


@pytest.mark.parametrize("tools", [[], [{"name": "t", "input_schema": {"type": "object"}}]])
@pytest.mark.parametrize("source", [O45, "claude-sonnet-4-5-20250929", O48, "claude-opus-5"])
async def test_where_nothing_was_lost_nothing_is_said_to_be_whatever_the_models(
    thinker: Thinker, source: str, tools: list[Json]
) -> None:
    for target in CATALOGUE.models:
        if target.lifecycle.status == "retired" or target.id == source:
            continue
        spec = replace(SPEC, control=source, candidate=target.id, models=(O45,))
        async with in_front_of(thinker, spec=spec) as process:
            talk = Talk(process, thinker)
            talk.fields = {"tools": tools} if tools else {}
            for _ in range(3):
                await talk.say()
                assert "replay" not in talk.rewrites, target.id
                another_replica(process)
                process.plane.notebook.start()


# --- private ------------------------------------------------------------------------------------------------


async def test_nothing_of_it_is_readable_in_the_store_or_the_log(
    process: Process, thinker: Thinker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    talk = Talk(process, thinker, system="The customer is Mrs Miller.")
    for _ in range(3):
        await talk.say()
    stored = b" ".join(
        name.encode() + value for (_, name), (value, _) in process.store.server.data.notes.items()
    )
    assert stored
    logged = caplog.text + " ".join(str(vars(record)) for record in caplog.records)
    for word in ("Miller", "money", "question", "answer 1", "sig+1"):
        assert word.encode() not in stored
        assert word not in logged
