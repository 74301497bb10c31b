from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.judged import verdict

WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
ANY, ONE = {"type": "any"}, {"type": "tool", "name": "weather"}
NOT_SUPPORTED = 'tool_choice: type "tool" and "any" are not supported for this model.'
NOT_WITH_THINKING = "Thinking may not be enabled when tool_choice forces tool use."


@pytest.mark.parametrize("choice", [ANY, ONE])
@pytest.mark.parametrize(
    "model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "claude-fable-5-2"]
)
@pytest.mark.parametrize("counting", [False, True])
def test_the_newest_never_force_a_tool(choice: Any, model: str, counting: bool) -> None:
    body = {"model": model, "tools": [WEATHER], "tool_choice": choice}
    assert verdict(body, counting=counting) == NOT_SUPPORTED


@pytest.mark.parametrize("model", ["claude-sonnet-5", "claude-opus-5", "claude-fable-5", "claude-haiku-5-5"])
def test_some_force_a_tool_although_they_think(model: str) -> None:
    assert verdict({"model": model, "tools": [WEATHER], "tool_choice": ANY}) == ""


@pytest.mark.parametrize(
    "model", ["claude-opus-4-6", "claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-4-8"]
)
def test_others_only_while_thinking_is_off(model: str) -> None:
    body = {"model": model, "tools": [WEATHER], "tool_choice": ONE}
    assert verdict(body) == ""
    assert verdict({**body, "thinking": {"type": "disabled"}}) == ""
    assert verdict({**body, "thinking": {"type": "adaptive"}}) == NOT_WITH_THINKING


def test_a_budget_is_thinking_too() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    body = {"model": "claude-haiku-4-5", "tools": [WEATHER], "tool_choice": ANY, "max_tokens": 2048}
    assert verdict({**body, "thinking": thinking}) == NOT_WITH_THINKING


@pytest.mark.parametrize("kind", ["auto", "none"])
def test_a_free_choice_passes_everywhere(kind: str) -> None:
    for model in ("claude-opus-4-5", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"):
        assert verdict({"model": model, "tools": [WEATHER], "tool_choice": {"type": kind}}) == ""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tool_choice": {"type": "auto"}}, "tool_choice: may only be specified while providing tools"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "must"}},
            "tool_choice: Input tag 'must' found using 'type' does not match any of the expected tags: "
            "'any', 'auto', 'none', 'tool'",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "news"}},
            "Tool 'news' not found in provided tools",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "any", "name": "weather"}},
            "tool_choice.any.name: Extra inputs are not permitted",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
            "tool_choice.none.disable_parallel_tool_use: Extra inputs are not permitted",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}, ""),
    ],
)
def test_the_choice_fits_the_tools(fields: dict[str, Any], message: str) -> None:
    assert verdict({"model": "claude-opus-4-5", **fields}) == message


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-opus-4-8"])
def test_whether_adaptive_thinking_goes_with_force_is_a_switch(model: str) -> None:
    body = {"model": model, "tools": [WEATHER], "tool_choice": ONE, "thinking": {"type": "adaptive"}}
    assert verdict(body) == NOT_WITH_THINKING
    assert verdict(body, switches=Switches(forced_while_adaptive=True)) == ""


def test_on_bedrock_sonnet_5_is_forced_only_while_it_does_not_think() -> None:
    body = {"model": "claude-sonnet-5", "tools": [WEATHER], "tool_choice": ANY}
    assert verdict(body, switches=Switches(platform="bedrock")) == NOT_WITH_THINKING
    off = {**body, "thinking": {"type": "disabled"}}
    assert verdict(off, switches=Switches(platform="bedrock")) == ""
