import json
from typing import Any

from gateway.core.sse import SseScanner
from gateway.simulator.replies import events
from gateway.simulator.replies.cache import PromptUse
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.case import Case
from gateway.simulator.rules.switches import Switches
from tests.support.judged import case_of
from tests.support.thoughts import thinking_conversation

USE = PromptUse(7, 5, 3, 2)
THINKING = {"type": "thinking", "thinking": "One two three four five six.", "signature": "sig"}
TEXT = {"type": "text", "text": "A few words,  spaced\noddly, as they come."}
CALL = {
    "type": "tool_use",
    "id": "toolu_1",
    "name": "t",
    "input": {"path": "/a/long/way/to/a/file.txt", "n": [1, 2]},
}
REPLY = Reply([THINKING, TEXT, CALL], "tool_use", 41, 20)


def parsed(reply: Reply = REPLY, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    case = case_of({"model": "claude-opus-4-5", **fields})
    data = b"".join(step.data for step in events.stream(case, reply, "msg_1", USE))
    scanner = SseScanner()
    found = [(event.name, json.loads(event.data)) for event in scanner.feed(data)]
    assert not scanner.pending
    return found


def test_the_order_of_events() -> None:
    names = [name for name, _ in parsed()]
    assert names[:2] == ["message_start", "ping"]
    assert names[-2:] == ["message_delta", "message_stop"]
    blocks = [name for name in names if name in ("content_block_start", "content_block_stop")]
    assert blocks == ["content_block_start", "content_block_stop"] * 3
    assert all(data["type"] == name for name, data in parsed())


def test_blocks_are_numbered_and_not_interleaved() -> None:
    indices = [data["index"] for _, data in parsed() if "index" in data]
    assert indices == sorted(indices)
    assert set(indices) == {0, 1, 2}


def test_blocks_open_as_empty_shells() -> None:
    shells = [data["content_block"] for name, data in parsed() if name == "content_block_start"]
    assert shells == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "toolu_1", "name": "t", "input": {}},
    ]


def deltas(kind: str, field: str, reply: Reply = REPLY) -> list[str]:
    found = [data["delta"] for name, data in parsed(reply) if name == "content_block_delta"]
    return [delta[field] for delta in found if delta["type"] == kind]


def test_deltas_add_up_to_the_blocks() -> None:
    assert "".join(deltas("thinking_delta", "thinking")) == THINKING["thinking"]
    assert deltas("signature_delta", "signature") == ["sig"]
    assert "".join(deltas("text_delta", "text")) == TEXT["text"]
    assert json.loads("".join(deltas("input_json_delta", "partial_json"))) == CALL["input"]
    assert len(deltas("text_delta", "text")) > 1
    assert len(deltas("input_json_delta", "partial_json")) > 2


def test_the_signature_comes_last_in_its_block_and_thinking_may_be_silent() -> None:
    kinds = [
        data["delta"]["type"]
        for name, data in parsed()
        if name == "content_block_delta" and data["index"] == 0
    ]
    assert kinds[-1] == "signature_delta"
    silent = Reply([{**THINKING, "thinking": ""}], "end_turn", 5, 5)
    assert deltas("thinking_delta", "thinking", silent) == []
    assert deltas("signature_delta", "signature", silent) == ["sig"]


def test_the_start_has_the_model_and_the_prompts_usage() -> None:
    message = parsed()[0][1]["message"]
    assert message["model"] == "claude-opus-4-5-20251101"
    assert (message["content"], message["stop_reason"]) == ([], None)
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (7, 5)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2}


def test_the_end_has_totals_and_the_reason() -> None:
    end = parsed()[-2][1]
    assert end["delta"] == {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None}
    assert end["usage"] == {
        "input_tokens": 7,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 5,
        "output_tokens": 41,
        "output_tokens_details": {"thinking_tokens": 20},
    }


def test_every_token_is_paced_once() -> None:
    case = case_of({"model": "claude-opus-4-5"})
    for tokens in (0, 1, 41, 500):
        steps = list(events.stream(case, Reply(REPLY.content, "tool_use", tokens), "m", USE))
        assert sum(step.tokens for step in steps) == tokens


def test_an_empty_answer_has_no_blocks() -> None:
    details = {"type": "refusal", "category": None, "explanation": None}
    found = parsed(Reply([], "refusal", 1, stop_details=details))
    assert [name for name, _ in found] == ["message_start", "ping", "message_delta", "message_stop"]
    assert found[2][1]["delta"]["stop_details"] == details


def test_the_whole_message_says_the_same_as_the_stream() -> None:
    case = case_of({"model": "claude-opus-4-5"})
    message = events.message(case, REPLY, "msg_1", USE)
    start, end = parsed()[0][1]["message"], parsed()[-2][1]
    assert message["content"] == REPLY.content
    assert {**start["usage"], **end["usage"]} == message["usage"]
    assert {**start, **end["delta"], "content": REPLY.content, "usage": message["usage"]} == message


def test_input_transformations_are_listed_when_they_are_asked_for() -> None:
    case = case_of({"model": "claude-opus-5-5"}, betas=["thinking-binding-controls-2026-08-01"])
    assert events.message(case, REPLY, "m", USE)["input_transformations"] == []
    assert "input_transformations" not in parsed()[0][1]["message"]


def test_the_terms_are_those_of_the_request() -> None:
    usage = parsed(model="claude-opus-5-5", speed="fast", inference_geo="us")[0][1]["message"]["usage"]
    assert (usage["speed"], usage["inference_geo"], usage["service_tier"]) == ("fast", "us", "standard")
    batched = case_of({"model": "claude-opus-4-5"}, batched=True)
    assert events.message(batched, REPLY, "m", USE)["usage"]["service_tier"] == "batch"


def test_blocks_of_the_server_come_whole_and_summaries_as_a_delta() -> None:
    call = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    summary = {"type": "compaction", "content": "They spoke.", "encrypted_content": None}
    found = parsed(Reply([call, result, summary], "pause_turn", 9))
    shells = [data["content_block"] for name, data in found if name == "content_block_start"]
    assert shells == [{**call, "input": {}}, result, {**summary, "content": None}]
    deltas = [data for name, data in found if name == "content_block_delta"]
    assert [delta["index"] for delta in deltas] == [0, 0, 2]
    assert deltas[-1]["delta"] == {"type": "compaction_delta", "content": "They spoke."}


def test_what_a_reply_says_beside_its_words_is_told_at_the_end() -> None:
    usage: dict[str, Any] = {"iterations": []}
    beside: dict[str, Any] = {"context_management": {"applied_edits": []}}
    reply = Reply([TEXT], "end_turn", 9, usage=usage, beside=beside)
    end = parsed(reply)[-2][1]
    assert end["usage"]["iterations"] == []
    assert end["context_management"] == {"applied_edits": []}
    message = events.message(case_of({"model": "claude-opus-4-5"}), reply, "m", USE)
    assert message["usage"]["iterations"] == []
    assert message["context_management"] == {"applied_edits": []}


def test_thinking_is_estimated_under_its_beta() -> None:
    case = case_of({"model": "claude-opus-5-5"}, betas=["thinking-token-count-2026-05-13"])
    data = b"".join(step.data for step in events.stream(case, REPLY, "m", USE))
    assert b'"estimated_tokens":' in data
    plain = b"".join(
        step.data for step in events.stream(case_of({"model": "claude-opus-5-5"}), REPLY, "m", USE)
    )
    assert b"estimated_tokens" not in plain


BINDING = "thinking-binding-controls-2026-08-01"


def unreadable(**given: Any) -> Case:
    """A request with a block that the model does not read."""
    body = {**thinking_conversation("claude-fable-5-2"), "model": "claude-opus-5-5"}
    return case_of(body, **given)


def test_removals_are_told_to_those_who_ask() -> None:
    dropped = {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "model_binding_mismatch"}
    case = unreadable(betas=[BINDING])
    assert events.message(case, REPLY, "m", USE)["input_transformations"] == [dropped]
    start = next(events.stream(case, REPLY, "m", USE))
    assert json.loads(start.data.split(b"data: ")[1])["message"]["input_transformations"] == [dropped]
    assert "input_transformations" not in events.message(unreadable(), REPLY, "m", USE)
    batched = unreadable(betas=[BINDING], batched=True)
    assert events.message(batched, REPLY, "m", USE)["input_transformations"] == [dropped]
    silent = unreadable(betas=[BINDING], batched=True, switches=Switches(batches_tell_transformations=False))
    assert "input_transformations" not in events.message(silent, REPLY, "m", USE)


def test_the_model_that_ends_an_answer_tells_its_own_removals_at_the_end() -> None:
    case, opened = unreadable(betas=[BINDING]), case_of({"model": "claude-fable-5-2"}, betas=[BINDING])
    steps = list(events.stream(case, REPLY, "m", USE, opened=opened))
    start, end = (json.loads(step.data.split(b"data: ")[1]) for step in (steps[0], steps[-2]))
    assert (start["message"]["model"], start["message"]["input_transformations"]) == ("claude-fable-5-2", [])
    assert len(end["input_transformations"]) == 1
    assert "input_transformations" not in json.loads(
        list(events.stream(case, REPLY, "m", USE))[-2].data.split(b"data: ")[1]
    )


def test_a_speed_that_is_not_minded_is_the_usual_one() -> None:
    usage = parsed(model="claude-opus-4-6", speed="fast")[0][1]["message"]["usage"]
    assert usage["speed"] == "standard"
    priority = case_of({"model": "claude-opus-4-6"}, switches=Switches(priority_tier=True))
    assert events.message(priority, REPLY, "m", USE)["usage"]["service_tier"] == "priority"
