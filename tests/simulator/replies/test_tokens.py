from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.simulator.replies.tokens import count_prompt, count_text, cut_text
from tests.support.judged import catalogue
from tests.support.thoughts import TOKENS, thought

MARK = {"type": "ephemeral"}


def model(name: str) -> Model:
    found = catalogue().find(name)
    assert found is not None
    return found


OLD, NEW = model("claude-opus-4-5"), model("claude-opus-5-5")


def test_newer_tokenizers_count_about_a_third_more() -> None:
    text = "x" * 4000
    assert (count_text(text, OLD), count_text(text, NEW)) == (1000, 1300)
    assert count_text(text, model("claude-haiku-5-5")) == 1300
    assert count_text("x", NEW) == 1
    assert count_text("", NEW) == 0


@pytest.mark.parametrize("tokens", [0, 1, 7, 100])
def test_a_cut_text_fits(tokens: int) -> None:
    text = "some words " * 100
    for row in (OLD, NEW):
        cut = cut_text(text, tokens, row)
        assert count_text(cut, row) <= tokens
        assert text.startswith(cut)
        assert len(cut) > tokens or tokens == 0


def test_everything_in_a_prompt_weighs_something() -> None:
    empty: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    least = count_prompt(empty, OLD)
    result = {"type": "tool_result", "tool_use_id": "a", "content": "done " * 50}
    call = {"type": "tool_use", "id": "a", "name": "t", "input": {"path": "/long/way/home" * 9}}
    for more in (
        {"system": "Be brief."},
        {"tools": [{"name": "t", "input_schema": {}}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"messages": [{"role": "assistant", "content": [call]}]},
        {"messages": [{"role": "user", "content": [result]}]},
        {
            "messages": [
                {"role": "user", "content": [{**result, "content": [{"type": "text", "text": "d" * 90}]}]}
            ]
        },
    ):
        assert count_prompt({**empty, **more}, OLD) > least
    image = {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}
    assert count_prompt(image, NEW) > 2 * count_prompt(image, OLD)


def test_a_mark_changes_no_count() -> None:
    plain = {"system": [{"type": "text", "text": "a" * 90}], "messages": []}
    marked = {"system": [{"type": "text", "text": "a" * 90, "cache_control": MARK}], "messages": []}
    assert count_prompt(plain, NEW) == count_prompt(marked, NEW)


def test_thinking_weighs_what_it_was_shown_or_not() -> None:
    block = thought({"model": "claude-opus-5-5"})
    assert block["thinking"] == ""
    answer = {"messages": [{"role": "assistant", "content": [block]}]}
    assert count_prompt(answer, NEW) == TOKENS
    forged = {
        "messages": [{"role": "assistant", "content": [{**block, "signature": "x", "thinking": "abcd"}]}]
    }
    assert count_prompt(forged, OLD) == 1
