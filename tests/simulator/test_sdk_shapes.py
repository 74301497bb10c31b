"""What the official SDK makes of the rarer answers: its own types, in JSON and as a stream."""

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic

from tests.support.upstream import running_simulator

NEW, NEWEST = "claude-opus-5-5", "claude-fable-5-2"
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search"}
COMPUTER: Any = {"type": "computer_toolset_20260801"}
TOOL: Any = {"name": "save", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
CODE: Any = {"type": "code_execution_20260120", "name": "code_execution"}


@pytest.fixture(scope="module")
def client() -> Iterator[Anthropic]:
    with (
        running_simulator() as upstream,
        Anthropic(base_url=upstream.url, api_key="k", max_retries=0) as made,
    ):
        yield made


def kinds(message: Any) -> list[str]:
    return [block.type for block in message.content]


SHAPES: list[Any] = [
    ("decline midway as cyber", {}, ["thinking", "text"], "refusal"),
    ("redact your thinking", {}, ["redacted_thinking", "text"], "end_turn"),
    (
        "use web_search and pause the turn",
        {"tools": [SEARCH]},
        ["thinking", "server_tool_use", "web_search_tool_result"],
        "pause_turn",
    ),
    ("use the tool", {"tools": [COMPUTER]}, ["thinking", "tool_use"], "tool_use"),
    (
        "use the tool",
        {"tools": [{**TOOL, "allowed_callers": ["code_execution_20260120"]}, CODE]},
        ["thinking", "server_tool_use", "tool_use"],
        "tool_use",
    ),
    (
        "use the tool",
        {
            "tools": [TOOL],
            "thinking": {"type": "adaptive", "display": "updates"},
            "betas": ["thinking-display-updates-2026-08-18"],
        },
        ["thinking", "thinking", "tool_use"],
        "tool_use",
    ),
    (
        "decline as bio",
        {"fallbacks": "default", "betas": ["server-side-fallback-2026-07-01"]},
        ["fallback", "thinking", "text"],
        "end_turn",
    ),
    (
        "sum it up",
        {"compaction": {"type": "summarize"}, "betas": ["compact-2026-09-04"]},
        ["compaction"],
        "compaction",
    ),
]


@pytest.mark.parametrize(("text", "fields", "blocks", "stop"), SHAPES)
def test_the_sdk_reads_it_whole_and_streamed(
    client: Anthropic, text: str, fields: Any, blocks: list[str], stop: str
) -> None:
    asked: Any = {"model": NEW, "max_tokens": 4096, "messages": [{"role": "user", "content": text}], **fields}
    whole = client.beta.messages.create(**asked)
    assert (kinds(whole), whole.stop_reason) == (blocks, stop)
    with client.beta.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    # A conversation that was handed over goes to the second model at once the next time.
    assert (kinds(streamed), streamed.stop_reason) == ([kind for kind in blocks if kind != "fallback"], stop)


def test_the_sdk_reads_what_became_of_thinking_and_tokens(client: Anthropic) -> None:
    question: Any = {"role": "user", "content": "Hello"}
    first = client.beta.messages.create(model=NEWEST, max_tokens=4096, messages=[question])
    turns: Any = [question, {"role": "assistant", "content": first.content}, question]
    betas: Any = ["thinking-binding-controls-2026-08-01"]
    second = client.beta.messages.create(model=NEW, max_tokens=4096, messages=turns, betas=betas)
    assert second.input_transformations is not None
    [dropped] = second.input_transformations
    assert (dropped.type, dropped.reason) == ("thinking_dropped", "model_binding_mismatch")
    declined: Any = [{"role": "user", "content": "decline as bio"}]
    credit: Any = ["fallback-credit-2026-07-01"]
    refused = client.beta.messages.create(model=NEW, max_tokens=4096, messages=declined, betas=credit)
    assert refused.stop_details is not None
    token = refused.stop_details.fallback_credit_token
    assert token is not None
    again = client.beta.messages.create(
        model="claude-opus-4-8", max_tokens=4096, messages=declined, betas=credit, fallback_credit_token=token
    )
    assert again.usage.fallback_credit is not None
    assert again.usage.fallback_credit.status.type == "redeemed"
