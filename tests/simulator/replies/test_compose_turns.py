"""Turns that are more than an answer: declined, paused, summed up, with calls that words ask for."""

from typing import Any

import pytest

from gateway.simulator.replies.compose import compose
from gateway.simulator.replies.profiles import profile_of
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.bindings.stamps import summary_seal
from gateway.simulator.rules.switches import Switches
from tests.support.judged import case_of, verdict

OLD, NEW = "claude-opus-4-5", "claude-opus-5-5"
TOOL = {"name": "classify", "input_schema": {"type": "object", "properties": {"label": {"enum": ["spam"]}}}}


def reply_to(body: dict[str, Any], *, prompt: int = 10) -> Reply:
    case = case_of(body)
    return compose(case, profile_of(case.model), prompt_tokens=prompt, refusal_scale=0)


def asking(text: str, model: str = OLD, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize(
    ("text", "kinds", "category"),
    [
        ("decline as bio", [], "bio"),
        ("decline midway as cyber", ["thinking", "text"], "cyber"),
        ("decline midway as unnamed. Use the tool", ["thinking", "text", "tool_use"], None),
        ("decline as general_harms", ["thinking", "text"], ...),
    ],
)
def test_a_model_declines_when_told_to_if_it_knows_why(text: str, kinds: list[str], category: Any) -> None:
    reply = reply_to(asking(text, NEW, max_tokens=4096, tools=[TOOL]))
    assert [block["type"] for block in reply.content] == kinds
    declined = category is not ...
    assert (reply.stop_reason == "refusal") is declined
    assert (reply.stop_details is not None) is declined
    if reply.stop_details:
        assert reply.stop_details["category"] == category


# --- what the server does -----------------------------------------------------------------------------------

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
ROUND = ["server_tool_use", "web_search_tool_result"]


def test_a_server_tool_is_used_within_the_turn() -> None:
    reply = reply_to(asking("Use web_search for it.", tools=[SEARCH]))
    assert [block["type"] for block in reply.content] == [*ROUND, "text"]
    assert (reply.stop_reason, reply.usage["server_tool_use"]["web_search_requests"]) == ("end_turn", 1)


@pytest.mark.parametrize("model", [OLD, NEW])
def test_a_turn_pauses_and_goes_on_when_it_is_sent_back(model: str) -> None:
    body = asking("Use web_search, and pause the turn.", model, tools=[SEARCH], max_tokens=4096)
    paused = reply_to(body)
    assert [block["type"] for block in paused.content][-2:] == ROUND
    assert paused.stop_reason == "pause_turn"
    resumed = {**body, "messages": [*body["messages"], {"role": "assistant", "content": paused.content}]}
    assert verdict(resumed) == ""
    reply = reply_to(resumed)
    assert (reply.content[-1]["type"], reply.stop_reason) == ("text", "end_turn")
    assert not {"server_tool_use"} & {block["type"] for block in reply.content}


def test_a_summary_is_made_on_demand() -> None:
    reply = reply_to(asking("a", NEW, compaction={"type": "summarize"}, max_tokens=4096))
    [block] = reply.content
    assert (block["type"], reply.stop_reason, block["tool_changes"]) == ("compaction", "compaction", [])
    assert block["signature"] == summary_seal(block["content"])


@pytest.mark.parametrize(
    ("prompt", "edit", "kinds", "stop"),
    [
        (149_999, {}, ["thinking", "text"], "end_turn"),
        (150_000, {}, ["compaction", "thinking", "text"], "end_turn"),
        (60_000, {"trigger": {"value": 60_000}}, ["compaction", "thinking", "text"], "end_turn"),
        (150_000, {"pause_after_compaction": True}, ["compaction"], "compaction"),
        (149_999, {"pause_after_compaction": True}, ["thinking", "text"], "end_turn"),
    ],
)
def test_a_summary_is_made_when_it_is_due(prompt: int, edit: Any, kinds: list[str], stop: str) -> None:
    management = {"edits": [{"type": "compact_20260112", **edit}]}
    reply = reply_to(asking("a", NEW, context_management=management, max_tokens=4096), prompt=prompt)
    assert [block["type"] for block in reply.content] == kinds
    assert (reply.stop_reason, reply.beside["context_management"]) == (stop, {"applied_edits": []})


# --- how models call and think ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obeys", "kinds"), [(True, ["thinking", "tool_use"]), (False, ["thinking", "text"])]
)
def test_a_model_heeds_a_tool_line_or_does_not(obeys: bool, kinds: list[str]) -> None:
    line = {"role": "system", "content": "You must call the classify tool."}
    body = asking("Is this spam?", NEW, max_tokens=4096, tools=[TOOL])
    case = case_of({**body, "messages": [*body["messages"], line]})
    reply = compose(case, profile_of(case.model), prompt_tokens=1, refusal_scale=0, obeys=obeys)
    assert [block["type"] for block in reply.content] == kinds


def test_a_model_may_speak_before_it_calls_unless_it_is_forced() -> None:
    body = asking("Use the tool", tools=[TOOL])
    for forced, kinds in (({}, ["text", "tool_use"]), ({"tool_choice": {"type": "any"}}, ["tool_use"])):
        case = case_of({**body, **forced}, switches=Switches(speaks_before_calls=True))
        reply = compose(case, profile_of(case.model), prompt_tokens=1, refusal_scale=0)
        assert [block["type"] for block in reply.content] == kinds
        assert reply.stop_reason == "tool_use"


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5"])
def test_updates_come_as_thinking_with_text_before_the_call(model: str) -> None:
    thinking = {"type": "adaptive", "display": "updates"}
    reply = reply_to(asking("Use the tool", model, tools=[TOOL], thinking=thinking, max_tokens=4096))
    assert [block["type"] for block in reply.content] == ["thinking", "thinking", "tool_use"]
    assert [bool(block["thinking"]) for block in reply.content[:2]] == [False, True]
    assert [block["type"] for block in reply_to(asking("Hi", model, thinking=thinking)).content][:1] == [
        "thinking"
    ]


def test_thinking_is_redacted_when_told_to() -> None:
    reply = reply_to(asking("Redact your thinking.", NEW, max_tokens=4096))
    assert [block["type"] for block in reply.content] == ["redacted_thinking", "text"]
    assert reply.thinking_tokens > 0


def test_a_tool_that_only_programs_may_call_is_called_out_of_one() -> None:
    code = {"type": "code_execution_20260120", "name": "code_execution"}
    tools = [{**TOOL, "allowed_callers": ["code_execution_20260120"]}, code]
    body = asking("Use the tool", tools=tools)
    assert verdict(body) == ""
    run, call = reply_to(body).content
    assert (run["type"], run["name"]) == ("server_tool_use", "code_execution")
    assert call["caller"] == {"type": "code_execution_20260120", "tool_id": run["id"]}
    both = [{**TOOL, "allowed_callers": ["direct", "code_execution_20260120"]}, code]
    assert [block["type"] for block in reply_to(asking("Use the tool", tools=both)).content] == ["tool_use"]
