import json
from typing import Any

from gateway.core.sse import SseScanner
from gateway.simulator.replies import events
from gateway.simulator.replies.compose import Reply
from gateway.simulator.replies.tokens import PromptUse
from tests.support.judged import case_of

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
    assert scanner.at_boundary
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
    usage = parsed(speed="fast", inference_geo="us")[0][1]["message"]["usage"]
    assert (usage["speed"], usage["inference_geo"], usage["service_tier"]) == ("fast", "us", "standard")
    batched = case_of({"model": "claude-opus-4-5"}, batched=True)
    assert events.message(batched, REPLY, "m", USE)["usage"]["service_tier"] == "batch"
