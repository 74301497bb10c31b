"""Answers are read cheaply and completely, and cost what the price list says."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import Answer, AnswerReader, Usage, cost_microusd, usage_of


@dataclass(frozen=True)
class Card:
    """USD per million tokens, as Opus 5.5 has them."""

    input: float = 4
    output: float = 20
    cache_write_5m: float = 5
    cache_write_1h: float = 8
    cache_read: float = 0.2
    fast_input: float | None = None
    fast_output: float | None = None


@dataclass(frozen=True)
class Tier:
    above_prompt_tokens: int
    prices: Card


Event = tuple[str, dict[str, Any] | bytes]


def stream(*events: Event) -> AnswerReader:
    reader = AnswerReader()
    for name, data in events:
        whole = data if isinstance(data, bytes) else json.dumps({"type": name, **data}).encode()
        reader.event(name, whole)
    return reader


START: Event = (
    "message_start",
    {
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1},
        }
    },
)
TEXT: Event = ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
THINKING: Event = (
    "content_block_start",
    {"index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
)
STOP: Event = ("message_stop", {})


def text_delta(text: str) -> Event:
    return ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})


def message_delta(stop_reason: str, **usage: object) -> Event:
    return ("message_delta", {"delta": {"stop_reason": stop_reason, "stop_sequence": None}, "usage": usage})


# --- usage ------------------------------------------------------------------------------------------------


def test_usage_names_every_kind_of_token() -> None:
    usage = usage_of(
        {
            "input_tokens": 10,
            "output_tokens": 50,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 700,
            "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 500},
            "output_tokens_details": {"thinking_tokens": 30},
            "inference_geo": "us",
            "speed": "fast",
            "service_tier": "standard",
        }
    )
    assert usage == Usage(10, 50, 1000, 200, 500, 30, "us", "fast")
    assert (usage.cache_write, usage.prompt_tokens) == (700, 1710)


def test_cache_writes_without_a_split_are_five_minute_ones() -> None:
    assert usage_of({"cache_creation_input_tokens": 700}) == Usage(cache_write_5m=700)


def test_a_total_that_outgrows_its_split_loses_no_token() -> None:
    start = {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 5}}
    usage = usage_of(start, {"cache_creation_input_tokens": 9})
    assert (usage.cache_write_5m, usage.cache_write_1h) == (4, 5)


def test_the_later_report_wins_key_by_key() -> None:
    usage = usage_of({"input_tokens": 25, "output_tokens": 1}, {"output_tokens": 90, "input_tokens": None})
    assert (usage.input_tokens, usage.output_tokens) == (25, 90)


@pytest.mark.parametrize(
    "odd", [{}, {"input_tokens": "7"}, {"input_tokens": -7}, {"cache_creation": 7}, {"speed": 7}]
)
def test_what_is_not_a_count_is_nothing(odd: dict[str, object]) -> None:
    assert usage_of(odd) == Usage()


# --- cost -------------------------------------------------------------------------------------------------


def test_every_kind_of_token_has_its_rate() -> None:
    usage = Usage(input_tokens=1, output_tokens=10, cache_read=1000, cache_write_5m=100, cache_write_1h=10)
    assert cost_microusd(usage, Card()) == 4 + 200 + 200 + 500 + 80


def test_thinking_is_billed_within_the_output() -> None:
    assert cost_microusd(Usage(output_tokens=10, thinking_tokens=9), Card()) == 200


def test_without_a_price_there_is_no_cost() -> None:
    assert cost_microusd(Usage(input_tokens=1), None) is None


def test_inference_in_the_us_costs_a_tenth_more() -> None:
    assert cost_microusd(Usage(input_tokens=1000, inference_geo="us"), Card()) == 4400
    assert cost_microusd(Usage(input_tokens=1000, inference_geo="global"), Card()) == 4000


def test_fast_mode_has_its_own_rates_and_scales_the_cache() -> None:
    card = Card(fast_input=8, fast_output=40)
    fast = Usage(input_tokens=1000, output_tokens=100, cache_read=10_000, speed="fast")
    assert cost_microusd(fast, card) == 8000 + 4000 + 4000
    assert cost_microusd(Usage(input_tokens=1000, speed="standard"), card) == 4000


def test_fast_mode_without_fast_rates_is_silently_standard() -> None:
    assert cost_microusd(Usage(input_tokens=1000, speed="fast"), Card()) == 4000


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(input_tokens=100_000), 400_000),
        (Usage(input_tokens=100_001), 1_000_010),
        (Usage(cache_read=100_001), 100_001),
        (
            Usage(input_tokens=1, cache_write_5m=50_000, cache_read=50_000, output_tokens=1),
            10 + 625_000 + 50_000 + 50,
        ),
        (Usage(output_tokens=200_000), 4_000_000),
    ],
)
def test_the_whole_prompt_decides_the_rates_of_the_whole_request(usage: Usage, cost: int) -> None:
    long = Tier(100_000, Card(10, 50, 12.5, 20, 1))
    assert cost_microusd(usage, Card(), long) == cost


@given(
    st.lists(st.integers(0, 2**31), min_size=5, max_size=5),
    st.lists(st.integers(0, 2**20), min_size=5, max_size=5),
)
def test_more_tokens_never_cost_less(counts: list[int], more: list[int]) -> None:
    larger = [count + extra for count, extra in zip(counts, more, strict=True)]
    assert (cost_microusd(Usage(*counts), Card()) or 0) <= (cost_microusd(Usage(*larger), Card()) or 0)


# --- whole answers ----------------------------------------------------------------------------------------


def test_a_json_answer_is_read_at_once() -> None:
    body = {
        "type": "message",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    answer = AnswerReader.read_json(json.dumps(body).encode())
    assert answer == Answer("claude-opus-5-5", "end_turn", Usage(3, 4), has_content=True, finished=True)


@pytest.mark.parametrize(
    ("blocks", "has_content"),
    [
        ([], False),
        ([{"type": "text", "text": ""}], False),
        ([{"type": "text", "text": " \n"}], False),
        ([{"type": "thinking", "thinking": "much", "signature": "s"}], False),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "fallback"}], False),
        ([{"type": "thinking", "thinking": ""}, {"type": "text", "text": "a"}], True),
        ([{"type": "tool_use", "id": "t", "name": "f", "input": {}}], True),
        ([{"type": "web_search_tool_result", "content": []}], True),
        ([{"type": "a_block_of_the_future"}], True),
        ("not blocks", False),
    ],
)
def test_thinking_and_blanks_alone_are_no_content(blocks: object, has_content: bool) -> None:
    assert AnswerReader.read_json(json.dumps({"content": blocks}).encode()).has_content is has_content


def test_an_error_body_names_its_type() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}'
    assert AnswerReader.read_json(body) == Answer(finished=True, error_type="overloaded_error")


@pytest.mark.parametrize("body", [b"", b'{"type":"message","content":[{"type":"te', b"<html>"])
def test_a_body_that_does_not_parse_is_not_finished(body: bytes) -> None:
    assert AnswerReader.read_json(body) == Answer()


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"content":null,"usage":[],"model":7}'])
def test_a_body_of_another_shape_says_nothing(body: bytes) -> None:
    assert AnswerReader.read_json(body) == Answer(finished=True)


# --- streams ----------------------------------------------------------------------------------------------


def test_a_stream_adds_up_to_the_same_answer() -> None:
    events = [
        START,
        ("ping", {}),
        TEXT,
        text_delta("hel"),
        text_delta("lo"),
        ("content_block_stop", {"index": 0}),
    ]
    end = message_delta("end_turn", output_tokens=12, output_tokens_details={"thinking_tokens": 5})
    answer = stream(*events, end, STOP).answer
    usage = Usage(input_tokens=25, output_tokens=12, cache_read=100, thinking_tokens=5)
    assert answer == Answer("claude-opus-5-5", "end_turn", usage, has_content=True, finished=True)


def test_a_cut_stream_is_not_finished_and_keeps_what_was_said() -> None:
    answer = stream(START, TEXT, text_delta("hel")).answer
    assert (answer.finished, answer.has_content, answer.usage.input_tokens) == (False, True, 25)


def test_an_error_event_names_its_type() -> None:
    answer = stream(START, ("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})).answer
    assert (answer.error_type, answer.finished) == ("overloaded_error", False)


def test_an_error_event_that_cannot_be_read_is_an_error_still() -> None:
    assert stream(("error", b"{")).answer.error_type == "unknown"


def test_a_refusal_in_the_middle_is_a_refusal() -> None:
    answer = stream(START, TEXT, text_delta("I"), message_delta("refusal", output_tokens=1), STOP).answer
    assert answer.refused
    assert not stream(START, TEXT, message_delta("end_turn"), STOP).answer.refused


@pytest.mark.parametrize(
    ("events", "has_content"),
    [
        ([TEXT], False),
        ([TEXT, text_delta(""), text_delta(" "), text_delta("\n")], False),
        ([TEXT, text_delta(" "), text_delta("a"), text_delta(" ")], True),
        ([THINKING], False),
        (
            [
                THINKING,
                ("content_block_delta", {"delta": {"type": "thinking_delta", "thinking": 'a "text_delta"'}}),
            ],
            False,
        ),
        ([("content_block_start", {"content_block": {"type": "tool_use", "name": "f", "input": {}}})], True),
        ([("content_block_start", {"content_block": {"type": "text", "text": "whole"}})], True),
        ([("content_block_start", {"content_block": {"type": "fallback"}})], False),
        ([("content_block_start", {})], False),
    ],
)
def test_content_in_a_stream_is_text_or_any_block_but_thinking(
    events: list[Event], has_content: bool
) -> None:
    assert stream(START, *events, message_delta("end_turn"), STOP).answer.has_content is has_content


def test_after_the_first_text_no_delta_is_parsed() -> None:
    reader = stream(START, TEXT, text_delta("a"))
    before = reader.answer
    reader.event("content_block_delta", b'{"text_delta" is not even JSON')
    assert reader.answer == before


def test_an_event_without_a_name_is_known_by_its_type() -> None:
    reader = AnswerReader()
    reader.event("", b'{"type": "message_stop"}')
    assert reader.answer.finished


@given(
    st.sampled_from(
        ["message_start", "message_delta", "content_block_start", "content_block_delta", "error", "", "x"]
    ),
    st.binary(),
)
def test_no_event_whatever_it_holds_raises(name: str, data: bytes) -> None:
    reader = AnswerReader()
    reader.event(name, data)
    assert not reader.answer.has_content


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["type", "usage", "delta", "message", "error"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(
        ["message_start", "message_delta", "content_block_start", "content_block_delta", "error", ""]
    ),
    JSON,
)
def test_no_event_of_an_unknown_shape_raises(name: str, event: object) -> None:
    reader = AnswerReader()
    reader.event(name, json.dumps(event).encode())
    assert isinstance(reader.answer, Answer)
