"""The bodies that are measured: of the size that is asked for, always the same, and a real conversation."""

import json

import pytest

from bench.bodies import MODEL, WITH_PICTURES, body_of
from gateway.compat.envelope import parse


@pytest.mark.parametrize("size", [2_000, 20_000, 200_000, 2_000_000])
def test_a_body_has_about_the_size_that_is_asked_for_and_is_always_the_same(size: int) -> None:
    body = body_of(size)
    assert 0.9 * size < len(body) < 1.1 * size
    assert body_of(size) == body


def test_half_of_a_large_body_is_pictures_and_of_a_small_one_nothing() -> None:
    large, small = parse(body_of(2 * WITH_PICTURES)), parse(body_of(WITH_PICTURES // 2))
    count, data_bytes = large.pictures
    assert count > 1
    assert 0.3 < data_bytes / len(large.body) < 0.6
    assert small.pictures == (0, 0)


def test_a_body_is_a_conversation_with_calls_and_their_results() -> None:
    request = json.loads(body_of(20_000, temperature=1))
    assert (request["model"], request["temperature"]) == (MODEL, 1)
    turns = request["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2) + ["user"]
    calls, results = (
        [
            block[key]
            for turn in turns
            for block in turn["content"]
            if isinstance(block, dict) and key in block
        ]
        for key in ("id", "tool_use_id")
    )
    assert calls == results
    assert calls
