from typing import Any

import pytest

from gateway.simulator.replies.tokens import count_prompt
from gateway.simulator.rules.bindings.shown import shown_body
from tests.support.judged import HELLO, case_of
from tests.support.thoughts import TOKENS, thinking_conversation


def shown(body: dict[str, Any], **given: Any) -> dict[str, Any]:
    return shown_body(case_of(body, **given))


def thoughts(body: dict[str, Any]) -> list[int]:
    """The messages in which thinking is left."""
    return [
        index
        for index, message in enumerate(body["messages"])
        if any(block["type"] == "thinking" for block in message["content"] if isinstance(block, dict))
    ]


def test_a_request_of_which_nothing_is_removed_is_the_request() -> None:
    for body in (thinking_conversation("claude-opus-5-5"), {"model": "claude-haiku-4-5"}):
        case = case_of(body)
        assert shown_body(case) is case.body


def test_what_failed_a_check_is_not_shown_and_not_counted() -> None:
    body = thinking_conversation("claude-opus-5-5", turns=2)
    case = case_of({**body, "model": "claude-opus-4-8"})
    seen = shown_body(case)
    assert thoughts(seen) == []
    assert count_prompt(case.body, case.model) - count_prompt(seen, case.model) == 2 * TOKENS
    assert thoughts(case.body) == [1, 3]


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("claude-sonnet-4-5-20250929", []),
        ("claude-haiku-4-5-20251001", []),
        ("claude-opus-4-5-20251101", [1, 3]),
        ("claude-sonnet-4-6", [1, 3]),
    ],
)
def test_the_oldest_forget_thinking_at_the_next_question(model: str, kept: list[int]) -> None:
    body = thinking_conversation(model, turns=2)
    assert thoughts(shown(body)) == kept
    result = [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}]
    body["messages"][-1] = {"role": "user", "content": result}
    assert thoughts(shown(body)) == (kept or [3])


@pytest.mark.parametrize(("clear_at", "left"), [("next_user_message", 3), ("never", 4), (None, 4)])
def test_a_message_that_was_to_be_cleared_is(clear_at: str | None, left: int) -> None:
    remark = {"role": "system", "content": "Be brief.", "clear_at": clear_at}
    turns = [HELLO, remark, {"role": "assistant", "content": "Yes."}, HELLO]
    assert len(shown({"model": "claude-opus-5-5", "messages": turns})["messages"]) == left
    assert len(shown({"model": "claude-opus-5-5", "messages": turns[:3]})["messages"]) == 3
