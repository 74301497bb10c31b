"""A draft seals into its thinking what the model binds it to, and keeps within its room."""

from typing import Any

import pytest

from gateway.simulator.replies.reply import EMPTY, Draft, Reply
from gateway.simulator.rules.bindings.stamps import Stamp, name_of, read, sealed_in
from tests.support.judged import HELLO, case_of
from tests.support.thoughts import thought


def stamp(block: dict[str, Any]) -> Stamp:
    found = read(sealed_in(block))
    assert found is not None
    return found


def draft(model: str = "claude-opus-5-5", most: int = 1000, **fields: Any) -> Draft:
    return Draft(case_of({"model": model, "max_tokens": most, **fields}), 10)


@pytest.mark.parametrize(
    ("model", "remembers", "binds"),
    [
        ("claude-fable-5-2", True, True),
        ("claude-sonnet-5-5", True, True),
        ("claude-opus-5-5", True, False),
        ("claude-fable-5-1", True, False),
        ("claude-opus-5", False, False),
        ("claude-opus-4-5-20251101", False, False),
    ],
)
def test_newer_models_seal_the_conversation_and_some_the_account(
    model: str, remembers: bool, binds: bool
) -> None:
    made = stamp(thought({"model": model}, "It may be.", account="a", end_user="u"))
    assert (made.producer, made.tokens) == (model, 40)
    assert bool(made.prefix) is bool(made.trail) is remembers
    assert (made.account, made.end_user) == (("a", "u") if binds else ("", ""))


def test_a_block_knows_the_one_before_it() -> None:
    answer = draft()
    answer.think(10, "")
    answer.say("Hm.")
    answer.note("And yet")
    first, _, second = answer.finished("end_turn").content
    assert stamp(first).previous == ""
    assert stamp(second).previous == name_of(first)
    assert stamp(second).prefix != stamp(first).prefix
    turns = [HELLO, {"role": "assistant", "content": [first, second]}, HELLO]
    assert stamp(thought({"model": "claude-opus-5-5", "messages": turns})).previous == name_of(second)


def test_a_summary_makes_a_block_the_first_again() -> None:
    summary = {"type": "compaction", "content": "They spoke."}
    before = thought({"model": "claude-opus-5-5"})
    turns = [HELLO, {"role": "assistant", "content": [before, summary]}, HELLO]
    assert stamp(thought({"model": "claude-opus-5-5", "messages": turns})).previous == ""


def test_everything_counts_until_the_room_is_full() -> None:
    answer = draft(most=30)
    answer.think(20, "long thoughts " * 50)
    answer.add({"type": "compaction", "content": "x"})
    assert answer.full
    answer.call("t", {}, "0" * 22)
    answer.note("no more")
    answer.say("No more.")
    answer.think(5, "")
    reply = answer.finished("end_turn")
    assert [block["type"] for block in reply.content] == ["thinking", "compaction"]
    assert (reply.stop_reason, reply.output_tokens, reply.thinking_tokens) == ("max_tokens", 30, 20)


def test_a_call_of_a_toolset_names_it() -> None:
    answer = draft()
    answer.call("screenshot", {}, "0" * 22, toolset="computer")
    assert answer.finished("tool_use").content[0]["toolset_name"] == "computer"


def test_what_is_said_beside_goes_into_the_reply() -> None:
    answer = draft()
    answer.usage["server_tool_use"] = {"web_search_requests": 1}
    answer.beside["context_management"] = {"applied_edits": []}
    reply = answer.finished("end_turn")
    assert (reply.usage, reply.beside) == (answer.usage, answer.beside)
    assert Reply([], "end_turn", 1) == EMPTY
