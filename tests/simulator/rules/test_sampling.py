from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.judged import verdict

BOTH = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
MODE = "when thinking is enabled or in adaptive mode"


def gone(name: str) -> str:
    return f"`{name}` is deprecated for this model."


@pytest.mark.parametrize(
    "model", ["claude-opus-4-5", "claude-opus-4-6", "claude-sonnet-4-5", "claude-haiku-4-5"]
)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0}, ""),
        ({"temperature": 0.7}, ""),
        ({"top_p": 0.5}, ""),
        ({"top_k": 40}, ""),
        ({"temperature": 0.7, "top_k": 40}, ""),
        ({"temperature": None, "top_p": 0.5}, ""),
        ({"temperature": 0.7, "top_p": 0.5}, BOTH),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"top_p": -0.1}, "top_p: range: 0..1"),
        ({"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
    ],
)
def test_older_models_take_sampling_in_its_range(model: str, given: dict[str, Any], message: str) -> None:
    assert verdict({"model": model, **given}) == message


@pytest.mark.parametrize(
    "model", ["claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5", "claude-fable-5-2"]
)
@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0), ("temperature", 1), ("top_p", 0.9), ("top_k", 5)]
)
def test_newer_models_reject_its_presence(model: str, name: str, value: float) -> None:
    assert verdict({"model": model, name: value}) == gone(name)


@pytest.mark.parametrize("model", ["claude-sonnet-5", "claude-sonnet-5-5", "claude-haiku-5-5"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 1}, ""),
        ({"temperature": 1.0}, ""),
        ({"top_p": 0.99}, ""),
        ({"temperature": 0}, "`temperature` may only be set to 1 for this model."),
        ({"top_p": 1}, "`top_p` may only be set to 0.99 for this model."),
        ({"top_k": 1}, gone("top_k")),
        ({"temperature": 1, "top_p": 0.99}, BOTH),
    ],
)
def test_some_take_nothing_but_the_default(model: str, given: dict[str, Any], message: str) -> None:
    assert verdict({"model": model, **given}) == message


@pytest.mark.parametrize("model", ["claude-opus-4-5", "claude-opus-5-5", "claude-sonnet-5"])
@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_the_newer_api_version_knows_no_sampling(model: str, name: str) -> None:
    said = verdict({"model": model, name: 1}, version="2026-10-21")
    assert said == f"`{name}` is not supported in API version 2026-10-21."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 1}, ""),
        ({"temperature": 0}, f"`temperature` may only be set to 1 {MODE}"),
        ({"top_p": 0.95}, ""),
        ({"top_p": 0.9}, f"`top_p` must be greater than or equal to 0.95 or unset {MODE}"),
        ({"top_k": 5}, f"`top_k` must be unset {MODE}"),
    ],
)
def test_thinking_narrows_it(given: dict[str, Any], message: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert verdict({"model": "claude-opus-4-5", "max_tokens": 2048, "thinking": thinking, **given}) == message
    assert verdict({"model": "claude-opus-4-6", "thinking": {"type": "adaptive"}, **given}) == message
    if not message.startswith("`top_k`"):
        assert verdict({"model": "claude-opus-4-6", "thinking": {"type": "disabled"}, **given}) == ""


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"temperature": 1}, True),
        ({"top_p": 0.99}, True),
        ({"temperature": 0.7}, False),
        ({"top_k": 5}, False),
    ],
)
@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-opus-5", "claude-opus-5-5", "claude-fable-5-2"])
def test_whether_a_default_value_passes_is_a_switch(model: str, given: dict[str, Any], taken: bool) -> None:
    body = {"model": model, **given}
    assert verdict(body).endswith("is deprecated for this model.")
    assert (verdict(body, switches=Switches(default_sampling_passes=True)) == "") is taken
    newer = verdict(body, version="2026-10-21", switches=Switches(default_sampling_passes=True))
    assert newer.endswith("is not supported in API version 2026-10-21.")
