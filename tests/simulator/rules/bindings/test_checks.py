"""The checks of thinking blocks, in the order of the reference, as verdicts and as what is told of them."""

from typing import Any

import pytest

from gateway.simulator.replies.reply import Draft
from gateway.simulator.rules.bindings.checks import inspect
from gateway.simulator.rules.switches import Switches
from tests.support.judged import case_of, verdict
from tests.support.thoughts import thinking_conversation, thought

NEWEST, OPUS, OLD = "claude-fable-5-2", "claude-opus-5-5", "claude-opus-4-6"
RECENT = Switches(recent_account=True)
QUIET = Switches(names_the_edit=False)
BETA = "thinking-binding-controls-2026-08-01"
INVALID = "messages.1.content.0: Invalid `signature` in `thinking` block"
BOUND = (
    f"{INVALID}. The block is bound to a different "
    "conversation. Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "
    '"drop_block".'
)
HEADER = f" That setting requires the `{BETA}` value in the `anthropic-beta` header."
MODIFIED = (
    "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message "
    "cannot be modified. These blocks must remain as they were in the original response."
)


def edited(body: dict[str, Any], index: int = 0, content: Any = "Another question") -> dict[str, Any]:
    """A conversation in which one message says something else."""
    messages = [*body["messages"]]
    messages[index] = {**messages[index], "content": content}
    return {**body, "messages": messages}


def without(body: dict[str, Any], *indices: int) -> dict[str, Any]:
    """A conversation without the thinking of these messages."""
    messages = [
        {**message, "content": [block for block in message["content"] if block["type"] != "thinking"]}
        if index in indices
        else message
        for index, message in enumerate(body["messages"])
    ]
    return {**body, "messages": messages}


def binding(behavior: str | None) -> dict[str, Any]:
    return {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": behavior}}


def told(body: dict[str, Any], **given: Any) -> list[tuple[str, str, str]]:
    """What a request comes to: kind, path and reason of each block that is spoken of."""
    found = inspect(case_of({"max_tokens": 4096, **body}, **given))
    assert found.errors == []
    return [(entry["type"], entry["path"], entry["reason"]) for entry in found.transformations]


def dropped(reason: str, path: str = "messages.1.content.0") -> tuple[str, str, str]:
    return ("thinking_dropped", path, reason)


# --- the block itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [NEWEST, OPUS, OLD, "claude-haiku-4-5-20251001"])
def test_a_block_that_is_replayed_as_it_was_passes(model: str) -> None:
    body = thinking_conversation(model, turns=3)
    assert verdict(body, switches=RECENT) == ""
    assert told(body, switches=RECENT) == []


@pytest.mark.parametrize("signature", ["", "forged", "WyJhIl0=", "W10=", "é"])
def test_a_forged_signature_is_noticed(signature: str) -> None:
    body = thinking_conversation("claude-haiku-4-5-20251001")
    body["messages"][1]["content"][0]["signature"] = signature
    assert verdict(body) == INVALID


def test_thinking_of_the_latest_turn_is_not_edited() -> None:
    body = thinking_conversation(OLD, "Both have merits.")
    body["messages"][1]["content"][0]["thinking"] = "One has merits."
    assert verdict(body) == MODIFIED


def test_nor_is_that_of_an_earlier_turn() -> None:
    body = thinking_conversation(OLD, "Both have merits.", turns=2)
    body["messages"][1]["content"][0]["thinking"] = "One has merits."
    assert verdict(body) == INVALID


def test_redacted_thinking_is_sealed_as_well() -> None:
    body = {"model": OPUS, "messages": [{"role": "user", "content": "Question 0"}]}
    block = thought(body, redacted=True)
    assert set(block) == {"type", "data"}
    turns = [*body["messages"], {"role": "assistant", "content": [block]}, *body["messages"]]
    whole = {**body, "messages": turns}
    assert verdict(whole, switches=RECENT) == ""
    assert verdict(edited(whole), switches=RECENT).startswith(
        "messages.1.content.0: Invalid `data` in `redacted_thinking` block. The block is bound"
    )
    block["data"] = "made up"
    assert verdict(whole) == "messages.1.content.0: Invalid `data` in `redacted_thinking` block"


# --- account, end user and model ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "bound"),
    [
        (NEWEST, True),
        ("claude-mythos-5-2", True),
        ("claude-sonnet-5-5", True),
        ("claude-haiku-5-5", True),
        (OPUS, False),
        ("claude-fable-5-1", False),
        ("claude-opus-5", False),
    ],
)
def test_some_models_bind_to_the_account_and_the_end_user(model: str, bound: bool) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Question 0"}]}
    block = thought(body, account="a", end_user="u")
    turns = [*body["messages"], {"role": "assistant", "content": [block]}, *body["messages"]]
    whole = {**body, "messages": turns}
    assert told(whole, account="a", end_user="u") == []
    assert verdict(whole, account="b", end_user="u") == ""
    elsewhere = [dropped("organization_binding_mismatch")] if bound else []
    assert told(whole, account="b", end_user="v") == elsewhere
    assert told(whole, account="a", end_user="v") == ([dropped("end_user_binding_mismatch")] if bound else [])
    assert told(whole, account="b", end_user="u", switches=Switches(linked_organisations=True)) == []


def test_a_block_that_names_no_end_user_is_for_all() -> None:
    body = thinking_conversation(NEWEST)
    assert told(body, end_user="u") == []


@pytest.mark.parametrize(("model", "reader"), [(NEWEST, OPUS), (OPUS, "claude-sonnet-5-5"), (OPUS, OLD)])
def test_a_block_that_the_model_does_not_read_is_removed_and_no_error(model: str, reader: str) -> None:
    body = {**edited(thinking_conversation(model)), "model": reader}
    for given in ({}, {"batched": True}, {"counting": True}):
        assert verdict(body, switches=RECENT, **given) == ""
        assert told(body, switches=RECENT, **given) == [dropped("model_binding_mismatch")]


def test_the_account_comes_before_the_model_and_the_model_before_the_conversation() -> None:
    body = edited(thinking_conversation(NEWEST, turns=1))
    assert told({**body, "model": OPUS}, account="b", switches=RECENT) == [dropped("model_binding_mismatch")]
    bound = {"model": NEWEST, "messages": [{"role": "user", "content": "Question 0"}]}
    block = thought(bound, account="a")
    turns = [{"role": "user", "content": "Edited"}, {"role": "assistant", "content": [block]}]
    whole = {**bound, "messages": [*turns, {"role": "user", "content": "And?"}]}
    reason = dropped("organization_binding_mismatch")
    assert told({**whole, "model": OPUS}, account="b") == told(whole, account="b") == [reason]
    assert verdict(whole, account="a", switches=QUIET) == BOUND + HEADER


def test_a_downgrade_hides_an_edit_until_the_conversation_returns() -> None:
    body = edited(thinking_conversation(NEWEST))
    assert verdict({**body, "model": "claude-opus-4-8"}) == ""
    assert verdict(body, switches=QUIET) == BOUND + HEADER


# --- the conversation before the block ----------------------------------------------------------------------


def test_the_error_names_its_remedy_and_the_header_only_when_it_is_missing() -> None:
    body = edited(thinking_conversation(NEWEST))
    assert verdict(body, switches=QUIET) == BOUND + HEADER
    assert verdict(body, switches=QUIET, betas=[BETA]) == BOUND
    assert verdict(body, switches=QUIET, counting=True) == BOUND + HEADER


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_error_says_where_the_edit_begins(index: int) -> None:
    content = [{"type": "text", "text": "Other words"}]
    body = edited(thinking_conversation(NEWEST, turns=2), index, content)
    said = verdict(body)
    assert said.endswith(
        " Content that preceded this block when it was created is missing from this request, starting at "
        f"`messages.{index}`."
    )
    assert said.startswith(f"messages.{1 if index == 0 else 3}.content.0: Invalid")


@pytest.mark.parametrize("field", [{"system": "Be long."}, {"tools": [{"name": "a", "input_schema": {}}]}])
def test_it_names_no_message_when_the_edit_is_before_all_messages(field: dict[str, Any]) -> None:
    assert verdict({**thinking_conversation(NEWEST), **field}) == BOUND + HEADER


ALWAYS = ["claude-fable-5-2", "claude-mythos-5-2", "claude-mythos-5-1"]
ON_RECENT_ACCOUNTS = ["claude-fable-5-1", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"]
NEVER = ["claude-opus-5", "claude-sonnet-5", "claude-fable-5", "claude-mythos-5", "claude-opus-4-8", OLD]


@pytest.mark.parametrize("model", ALWAYS)
def test_some_models_check_every_account(model: str) -> None:
    assert verdict(edited(thinking_conversation(model)), switches=QUIET) == BOUND + HEADER


@pytest.mark.parametrize("model", ON_RECENT_ACCOUNTS)
def test_some_check_recent_accounts_and_tell_others_what_they_let_pass(model: str) -> None:
    body = edited(thinking_conversation(model))
    assert verdict(body) == ""
    assert told(body) == [("thinking_mismatch_allowed", "messages.1.content.0", "prefix_binding_mismatch")]
    assert verdict(body, switches=RECENT).startswith(BOUND + HEADER)


@pytest.mark.parametrize("model", ON_RECENT_ACCOUNTS)
@pytest.mark.parametrize(("behavior", "error"), [("error", True), ("drop_block", False), (None, False)])
def test_saying_what_to_do_asks_for_the_check(model: str, behavior: str | None, error: bool) -> None:
    body = {**edited(thinking_conversation(model)), "thinking": binding(behavior)}
    assert verdict(body, betas=[BETA]).startswith(BOUND) is error
    if behavior == "drop_block":
        assert told(body, betas=[BETA]) == [dropped("prefix_binding_mismatch")]


@pytest.mark.parametrize("model", NEVER)
def test_the_others_never_check(model: str) -> None:
    body = edited(thinking_conversation(model))
    assert verdict(body, switches=RECENT) == ""
    assert told(body, switches=RECENT) == []
    if model not in ("claude-opus-4-6",):
        bound = {**body, "thinking": binding("error")}
        assert verdict(bound, betas=[BETA], switches=RECENT) == ""


def test_on_bedrock_mythos_5_1_checks_when_it_is_asked_to() -> None:
    body, bedrock = edited(thinking_conversation("claude-mythos-5-1")), Switches(platform="bedrock")
    assert verdict(body, switches=bedrock) == ""
    assert verdict({**body, "thinking": binding("error")}, switches=bedrock, betas=[BETA]).startswith(BOUND)


def test_a_model_checks_the_record_of_another_one_that_it_reads() -> None:
    body = {**thinking_conversation(OPUS), "model": NEWEST}
    assert verdict(body) == ""
    assert verdict(edited(body), switches=QUIET) == BOUND + HEADER


@pytest.mark.parametrize("producer", ["claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5-20251001"])
def test_a_block_without_a_record_is_not_checked(producer: str) -> None:
    body = {**edited(thinking_conversation(producer)), "model": NEWEST}
    assert verdict(body) == ""
    assert told(body) == []


# --- runs of blocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "error_at"),
    [
        ((), None),
        ((1,), None),
        ((1, 3), None),
        ((7,), None),
        ((5, 7), None),
        ((1, 3, 5, 7), None),
        ((3,), 5),
        ((5,), 7),
        ((3, 5), 7),
        ((1, 5), 7),
    ],
)
def test_runs_at_either_end_may_be_removed_and_the_middle_may_not(
    gone: tuple[int, ...], error_at: int | None
) -> None:
    body = without(thinking_conversation(NEWEST, turns=4), *gone)
    said = verdict(body, switches=QUIET)
    assert said == ("" if error_at is None else BOUND.replace("messages.1", f"messages.{error_at}") + HEADER)


def test_what_was_removed_must_stay_removed() -> None:
    body = thinking_conversation(NEWEST, turns=2)
    stripped = without(body, 1, 3)
    later = [thought(stripped), {"type": "text", "text": "Answer 2."}]
    turns = [{"role": "assistant", "content": later}, {"role": "user", "content": "Question 3"}]
    assert verdict({**body, "messages": [*stripped["messages"], *turns]}) == ""
    again = verdict({**body, "messages": [*body["messages"], *turns]}, switches=QUIET)
    assert again == BOUND.replace("messages.1", "messages.5") + HEADER


def test_thinking_of_other_models_is_in_the_chain_as_well() -> None:
    body = thinking_conversation(OPUS)
    for model in ("claude-opus-5", OPUS):
        turn = [thought({**body, "model": model}), {"type": "text", "text": "Yes."}]
        messages = [*body["messages"], {"role": "assistant", "content": turn}]
        body = {**body, "messages": [*messages, {"role": "user", "content": "Go on."}]}
    assert verdict(body, switches=RECENT) == ""
    assert verdict(without(body, 1), switches=RECENT) == ""
    assert verdict(without(body, 3), switches=RECENT).startswith("messages.5.content.0: Invalid `signature`")


def test_dropping_takes_the_rest_of_the_turns_thinking_along_or_all_that_follows() -> None:
    body = {**edited(thinking_conversation(NEWEST, turns=1)), "thinking": binding("drop_block")}
    note = thought({"model": NEWEST, "messages": body["messages"][:1]}, "A note")
    body["messages"][1]["content"].append(note)
    later = thought({**body, "thinking": {"type": "adaptive"}})
    turns = [{"role": "assistant", "content": [later]}, {"role": "user", "content": "Go on."}]
    body["messages"] += turns
    turn = [dropped("prefix_binding_mismatch", f"messages.1.content.{n}") for n in (0, 2)]
    assert told(body, betas=[BETA]) == turn
    rest = Switches(drop_reaches="rest")
    last = dropped("prefix_binding_mismatch", "messages.3.content.0")
    assert told(body, betas=[BETA], switches=rest) == [*turn, last]


def test_batches_drop_unless_they_say_otherwise() -> None:
    body = edited(thinking_conversation(NEWEST))
    assert told(body, batched=True) == [dropped("prefix_binding_mismatch")]
    said = verdict({**body, "thinking": binding("error")}, batched=True, betas=[BETA], switches=QUIET)
    assert said == BOUND


def test_a_summary_of_the_server_begins_the_conversation_anew() -> None:
    summary = {"type": "compaction", "content": "They spoke of rivers.", "encrypted_content": None}
    before = thinking_conversation(NEWEST)
    turn = {"role": "assistant", "content": [summary, {"type": "text", "text": "Well."}]}
    body = {**before, "messages": [*before["messages"], turn, {"role": "user", "content": "Go on."}]}
    later = {"role": "assistant", "content": [thought(body), {"type": "text", "text": "Yes."}]}
    whole = {**body, "messages": [*body["messages"], later, {"role": "user", "content": "And?"}]}
    assert verdict(whole) == ""
    assert verdict(without(edited(whole), 1)) == ""
    assert verdict(edited(without(whole, 1), 4)).startswith("messages.5.content.0: Invalid `signature`")


# --- open tool rounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("switch", "message"), [(False, ""), (True, MODIFIED)])
@pytest.mark.parametrize("model", ["claude-opus-5", OPUS])
def test_thinking_of_an_open_round_may_be_filtered_out_by_one_reading_only(
    switch: bool, message: str, model: str
) -> None:
    question = {"role": "user", "content": "Use the tool."}
    tools = [{"name": "t", "input_schema": {"type": "object"}}]
    body = {"model": model, "max_tokens": 4096, "tools": tools, "messages": [question]}
    draft = Draft(case_of(body), 0)
    draft.think(40, "")
    draft.call("t", {}, "0123456789abcdef012345")
    content = draft.finished("tool_use").content
    result = {"type": "tool_result", "tool_use_id": content[-1]["id"], "content": "ok"}

    def turns(*kept: dict[str, Any], more: Any = ()) -> dict[str, Any]:
        spoken = [{"role": "assistant", "content": list(kept)}, {"role": "user", "content": [result]}]
        return {**body, "messages": [question, *spoken, *more]}

    switches = Switches(open_round_needs_thinking=switch)
    assert verdict(turns(*content), switches=switches) == ""
    assert verdict(turns(content[-1]), switches=switches) == message
    closed = [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "And?"}]
    assert verdict(turns(content[-1], more=closed), switches=switches) == ""
    foreign = turns({**content[-1], "id": "toolu_01ffffffffffffffffffffff"})
    foreign["messages"][2]["content"] = [{**result, "tool_use_id": "toolu_01ffffffffffffffffffffff"}]
    assert verdict(foreign, switches=switches) == ""
