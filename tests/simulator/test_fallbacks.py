"""Another model answers where one declines: as functions, and over the wire."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.simulator.fallbacks import STICKY_S, Attempt, Stickiness, chain, hands_over, joined
from gateway.simulator.replies.cache import PromptUse
from gateway.simulator.replies.refusals import declined
from gateway.simulator.replies.reply import Reply
from tests.support.answers import folded
from tests.support.judged import HELLO, case_of
from tests.support.posting import post
from tests.support.upstream import Upstream, running_simulator

O55, O5, O48, S55, S5 = (
    "claude-opus-5-5",
    "claude-opus-5",
    "claude-opus-4-8",
    "claude-sonnet-5-5",
    "claude-sonnet-5",
)
BETA = "server-side-fallback-2026-07-01"


@pytest.mark.parametrize(
    ("model", "category", "goes_on"),
    [
        (O55, "bio", True),
        (O55, None, True),
        (O55, "reasoning_extraction", False),
        (S55, "cyber", True),
        (S55, "frontier_llm", True),
        (S55, "bio", False),
        (S55, "general_harms", False),
        ("claude-fable-5-2", "general_harms", True),
    ],
)
def test_which_refusals_go_on(model: str, category: str | None, goes_on: bool) -> None:
    assert hands_over(case_of({"model": model}), declined(category)) is goes_on
    assert not hands_over(case_of({"model": model}), Reply([], "end_turn", 1))


def test_the_chain_leaves_out_who_would_not_take_the_request() -> None:
    system = {"role": "system", "content": "Be brief."}
    body = {"model": S55, "fallbacks": "default", "messages": [HELLO]}
    assert [one.model.id for one in chain(case_of(body, betas=[BETA]))] == [S5]
    assert chain(case_of({**body, "messages": [HELLO, system]}, betas=[BETA])) == []


def test_every_attempt_is_billed_and_every_change_of_model_marked() -> None:
    partial = declined("cyber", Reply([{"type": "text", "text": "Well"}], "end_turn", 3))
    last = Reply([{"type": "text", "text": "Yes."}], "end_turn", 5)
    attempts = [
        Attempt(case_of({"model": name}), reply, PromptUse(10))
        for name, reply in ((O55, partial), (O5, declined(None)), (O48, last))
    ]
    reply = joined("my-alias", attempts, started_at=O55)
    assert [block["type"] for block in reply.content] == ["text", "fallback", "fallback", "text"]
    assert reply.content[1] == {
        "type": "fallback",
        "from": {"model": "my-alias"},
        "to": {"model": O5},
        "trigger": {"type": "refusal", "category": "cyber"},
    }
    assert reply.content[2]["from"] == {"model": O5}
    entries = [(entry["type"], entry["model"]) for entry in reply.usage["iterations"]]
    assert entries == [("message", O55), ("message", O5), ("fallback_message", O48)]
    assert reply.usage["iterations"][0]["output_tokens"] == 3
    alone = joined(O55, [Attempt(case_of({"model": O55}), last, PromptUse(10))], started_at=O55)
    assert [entry["type"] for entry in alone.usage["iterations"]] == ["message"]


def test_a_conversation_stays_for_an_hour_with_whom_it_was_handed_to() -> None:
    sticky, case = Stickiness(), case_of({"model": O55}, account="a")
    assert sticky.served_by(case, 0.0) is None
    sticky.keep(case, O5, 0.0)
    longer = case_of(
        {"model": O55, "messages": [HELLO, {"role": "assistant", "content": "Hi"}, HELLO]}, account="a"
    )
    assert sticky.served_by(longer, STICKY_S - 1) == O5
    assert sticky.served_by(longer, STICKY_S) is None
    assert sticky.served_by(case_of({"model": O55}, account="b"), 1.0) is None
    assert sticky.served_by(case_of({"model": O48}, account="a"), 1.0) is None


# --- over the wire ------------------------------------------------------------------------------------------


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_simulator() as running:
        yield running


def asked(text: str, model: str = O55, **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"model": model, "max_tokens": 4096, "messages": [message], "fallbacks": "default", **fields}


def test_a_refusal_before_the_first_word_is_answered_by_another_model(upstream: Upstream) -> None:
    message = post(upstream, asked("decline as bio"), betas=[BETA]).json
    assert (message["model"], message["stop_reason"]) == (O5, "end_turn")
    assert [block["type"] for block in message["content"]] == ["fallback", "thinking", "text"]
    kinds = [entry["type"] for entry in message["usage"]["iterations"]]
    assert kinds == ["message", "fallback_message"]
    streamed = folded(post(upstream, asked("Decline? decline as bio", stream=True), betas=[BETA]).text)
    assert (streamed["model"], streamed["content"][0]["type"]) == (O5, "fallback")


def test_without_fallbacks_it_stays_a_refusal(upstream: Upstream) -> None:
    body = asked("decline as bio", fallbacks=None)
    message = post(upstream, body).json
    assert (message["model"], message["stop_reason"], message["content"]) == (O55, "refusal", [])
    assert "iterations" not in message["usage"]
    kept = post(upstream, asked("decline as reasoning_extraction", "claude-fable-5-2"), betas=[BETA]).json
    assert kept["stop_reason"] == "refusal"


def test_when_all_decline_the_last_refusal_is_the_answer(upstream: Upstream) -> None:
    message = post(upstream, asked("decline as unnamed"), betas=[BETA]).json
    assert (message["model"], message["stop_reason"]) == (O48, "refusal")
    assert [block["type"] for block in message["content"]] == ["fallback", "fallback"]


def test_what_was_said_before_stays_and_the_stream_begins_with_the_first_model(upstream: Upstream) -> None:
    betas = [BETA, "thinking-binding-controls-2026-08-01"]
    body = asked("decline midway as cyber", fallbacks=[{"model": O48}])
    message = post(upstream, body, betas=betas).json
    assert message["model"] == O48
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "fallback", "text"]
    assert message["content"][2]["trigger"]["category"] == "cyber"
    with running_simulator() as fresh:
        text = post(fresh, {**body, "stream": True}, betas=betas).text
    streamed = folded(text)
    assert streamed["model"] == O55
    assert [block["type"] for block in streamed["content"]] == ["thinking", "text", "fallback", "text"]
    deltas = [
        json.loads(line[6:]) for line in text.splitlines() if line.startswith('data: {"type":"message_delta"')
    ]
    assert deltas[0]["input_transformations"] == []


def test_the_next_request_goes_to_the_same_model_without_a_mark(upstream: Upstream) -> None:
    first = post(upstream, asked("decline as bio"), betas=[BETA]).json
    turns = [*asked("decline as bio")["messages"], {"role": "assistant", "content": first["content"]}, HELLO]
    second = post(upstream, asked("", messages=turns), betas=[BETA]).json
    assert second["model"] == O5
    assert "fallback" not in {block["type"] for block in second["content"]}
    assert [entry["type"] for entry in second["usage"]["iterations"]] == ["fallback_message"]


def test_a_token_given_here_is_redeemed_here(upstream: Upstream) -> None:
    beta = ["fallback-credit-2026-06-01"]
    body = asked("decline as bio", fallbacks=None)
    refusal = post(upstream, body, betas=beta).json
    token = refusal["stop_details"]["fallback_credit_token"]
    answer = post(upstream, {**body, "model": O5, "fallback_credit_token": token}, betas=beta)
    assert answer.json["usage"]["fallback_credit"] == {"status": {"type": "redeemed"}}
    other = {**body, "model": O5, "fallback_credit_token": token, "system": "Be brief."}
    refused = post(upstream, other, betas=beta)
    assert (refused.status, refused.json["error"]["message"]) == (
        400,
        "fallback_credit_token: the token cannot be redeemed: body_mismatch",
    )
    said = post(upstream, asked("decline midway as cyber", fallbacks=None), betas=beta).json
    text = said["content"][-1]["text"].rstrip()
    turns = [*asked("decline midway as cyber")["messages"], {"role": "assistant", "content": text}]
    token = said["stop_details"]["fallback_credit_token"]
    body = asked("", O48, messages=turns, fallbacks=None, fallback_credit_token=token)
    assert post(upstream, body, betas=beta).json["usage"]["fallback_credit"]["status"]["type"] == "redeemed"
