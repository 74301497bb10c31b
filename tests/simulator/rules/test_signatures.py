from typing import Any

import pytest

from gateway.simulator.rules.case import Switches
from gateway.simulator.rules.signatures import conversation_digest, mint
from tests.support.judged import verdict

NEWEST = "claude-fable-5-2"
RECENT = Switches(recent_account=True)
BETA = "thinking-binding-controls-2026-08-01"
QUESTION = {"role": "user", "content": "Which one?"}
BOUND = (
    "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different "
    "conversation. Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "
    '"drop_block".'
)
HEADER = f" That setting requires the `{BETA}` value in the `anthropic-beta` header."


def conversation(model: str = NEWEST, thinking: str = "", **fields: Any) -> dict[str, Any]:
    """A conversation in which `model` has thought once."""
    body = {"model": model, "messages": [QUESTION], **fields}
    block = {
        "type": "thinking",
        "thinking": thinking,
        "signature": mint(model, thinking, conversation_digest(body)),
    }
    answer = {"role": "assistant", "content": [block, {"type": "text", "text": "That one."}]}
    return {**body, "messages": [QUESTION, answer, {"role": "user", "content": "Why?"}]}


def edited(body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**body, **fields}


def first_message(body: dict[str, Any], content: Any) -> dict[str, Any]:
    return {**body, "messages": [{"role": "user", "content": content}, *body["messages"][1:]]}


def test_a_block_that_is_replayed_as_it_was_passes() -> None:
    assert verdict(conversation()) == ""


@pytest.mark.parametrize("signature", ["", "forged", "WyJhIl0=", "W10="])
def test_a_forged_signature_is_noticed(signature: str) -> None:
    body = conversation("claude-haiku-4-5-20251001")
    body["messages"][1]["content"][0]["signature"] = signature
    assert verdict(body) == "messages.1.content.0: Invalid `signature` in `thinking` block"


def test_thinking_of_the_latest_turn_is_not_edited() -> None:
    body = conversation("claude-opus-4-6", thinking="Both have merits.")
    body["messages"][1]["content"][0]["thinking"] = "One has merits."
    assert verdict(body) == (
        "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message "
        "cannot be modified. These blocks must remain as they were in the original response."
    )


def test_nor_is_that_of_an_earlier_turn() -> None:
    body = conversation("claude-opus-4-6", thinking="Both have merits.")
    body["messages"][1]["content"][0]["thinking"] = "One has merits."
    body["messages"] += [{"role": "assistant", "content": "Because."}, QUESTION]
    assert verdict(body) == "messages.1.content.0: Invalid `signature` in `thinking` block"


CONVERSATION = conversation(system="Be brief.", tools=[{"name": "a", "input_schema": {"x": 1, "y": 2}}])
TOOL = CONVERSATION["tools"][0]


@pytest.mark.parametrize(
    "body",
    [
        first_message(
            CONVERSATION, [{"type": "text", "text": " Which one?\n", "cache_control": {"ttl": "1h"}}]
        ),
        first_message(CONVERSATION, [{"type": "text", "text": "Which one?"}, {"type": "text", "text": " "}]),
        edited(CONVERSATION, system=[{"type": "text", "text": "Be brief."}]),
        edited(CONVERSATION, tools=[{"input_schema": {"y": 2, "x": 1}, "name": "a"}]),
        edited(CONVERSATION, max_tokens=7, output_config={"effort": "low"}),
    ],
)
def test_what_is_no_edit(body: dict[str, Any]) -> None:
    assert verdict(body) == ""


@pytest.mark.parametrize(
    "body",
    [
        first_message(CONVERSATION, "Which  one?"),
        first_message(
            CONVERSATION, [{"type": "text", "text": "Which one?"}, {"type": "text", "text": "Quick."}]
        ),
        edited(CONVERSATION, system="Be long."),
        edited(CONVERSATION, tools=[{**TOOL, "description": "new"}]),
        edited(CONVERSATION, tools=[]),
    ],
)
def test_an_edit_of_what_came_before(body: dict[str, Any]) -> None:
    assert verdict(body) == BOUND + HEADER
    assert verdict(body, betas=[BETA]) == BOUND
    assert verdict(body, batched=True) == ""


def test_dropping_the_block_is_a_way_out() -> None:
    binding = {"prefix_mismatch_behavior": "drop_block"}
    body = edited(CONVERSATION, system="Be long.", thinking={"type": "adaptive", "block_binding": binding})
    assert verdict(body, betas=[BETA]) == ""
    body["thinking"]["block_binding"] = {"prefix_mismatch_behavior": "error"}
    assert verdict(body, betas=[BETA]) == BOUND


@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1"]
)
def test_some_models_check_the_history_of_recent_accounts_only(model: str) -> None:
    body = first_message(conversation(model), "Which two?")
    assert verdict(body) == ""
    assert verdict(body, switches=RECENT) == BOUND + HEADER


@pytest.mark.parametrize("model", ["claude-opus-5", "claude-opus-4-8", "claude-sonnet-5"])
def test_older_models_check_no_history(model: str) -> None:
    assert verdict(first_message(conversation(model), "Which two?"), switches=RECENT) == ""


def test_a_block_of_another_model_is_left_alone() -> None:
    body = first_message(conversation("claude-opus-5-5"), "Which two?")
    assert verdict({**body, "model": NEWEST}, switches=RECENT) == ""
