"""Thinking blocks as the simulator's models make them, without a server."""

from typing import Any

from gateway.simulator.replies.reply import Draft
from tests.support.judged import case_of

TOKENS = 40


def thought(body: dict[str, Any], text: str = "", *, redacted: bool = False, **given: Any) -> dict[str, Any]:
    """The thinking block with which the model of `body` begins its answer; takes what `case_of` takes."""
    draft = Draft(case_of({"max_tokens": 4096, **body}, **given), 0)
    draft.think(TOKENS, text, redacted=redacted)
    [block] = draft.finished("end_turn").content
    return block


def thinking_conversation(model: str, text: str = "", turns: int = 1, **fields: Any) -> dict[str, Any]:
    """A conversation of so many questions in which `model` has thought before each answer, and a last
    question.
    """
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Question 0"}], **fields}
    for turn in range(turns):
        answer = [thought(body, text), {"type": "text", "text": f"Answer {turn}."}]
        question = {"role": "user", "content": f"Question {turn + 1}"}
        body = {**body, "messages": [*body["messages"], {"role": "assistant", "content": answer}, question]}
    return body
