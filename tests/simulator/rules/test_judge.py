from typing import Any

import pytest

from gateway.simulator.rules.case import ApiError
from gateway.simulator.rules.judge import check
from gateway.simulator.rules.switches import Switches
from tests.support.judged import HELLO, case_of, verdict

WRONG_EVERYWHERE: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "tools": [{"name": "a", "input_schema": {}}, {"name": "a", "input_schema": {}}],
    "tool_choice": {"type": "any"},
    "thinking": {"type": "enabled", "budget_tokens": 1},
    "temperature": 0,
    "messages": [HELLO, {"role": "assistant", "content": "{"}],
    "max_tokens": 1_000_000,
}
# What is reported, and which field to mend so that the next one is.
ORDER: list[tuple[str, dict[str, Any]]] = [
    ("tools: Tool names must be unique.", {"tools": [{"name": "a", "input_schema": {}}]}),
    ('"thinking.type.enabled" is not supported for this model.', {"thinking": None}),
    ("`temperature` is deprecated for this model.", {"temperature": None}),
    ('tool_choice: type "tool" and "any" are not supported for this model.', {"tool_choice": None}),
    ("This model does not support assistant message prefill.", {"messages": [HELLO]}),
    ("max_tokens: 1000000 > 128000", {"max_tokens": 1}),
]


def test_the_first_broken_rule_is_reported_in_a_fixed_order() -> None:
    body = dict(WRONG_EVERYWHERE)
    for message, mended in ORDER:
        assert verdict(body).startswith(message)
        body |= mended
    assert verdict(body) == ""


def test_the_shape_comes_before_everything() -> None:
    assert verdict({**WRONG_EVERYWHERE, "hue": 1}) == "hue: Extra inputs are not permitted"


def test_all_broken_rules_can_be_listed() -> None:
    lines = verdict(WRONG_EVERYWHERE, switches=Switches(list_all=True)).split("\n")
    assert len(lines) == len(ORDER)
    assert all(line.startswith(message) for line, (message, _) in zip(lines, ORDER, strict=True))


def test_a_request_without_a_shape_is_not_counted() -> None:
    with pytest.raises(ApiError, match=r"^hue: "):
        check(case_of({"model": "claude-opus-5-5", "hue": 1}), _never)


def test_an_accepted_request_is_counted_once() -> None:
    counts = iter([17])
    assert check(case_of({"model": "claude-opus-5-5"}), lambda: next(counts)) == 17


def _never() -> int:
    raise AssertionError("nothing is to be counted")
