from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.judged import catalogue, verdict

ENABLED = {"type": "enabled", "budget_tokens": 1024}
USE_ADAPTIVE = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
NO_ENABLED = f'"thinking.type.enabled" is not supported for this model. {USE_ADAPTIVE}'
NO_DISABLED = f'"thinking.type.disabled" is not supported for this model. {USE_ADAPTIVE}'
NO_ADAPTIVE = "adaptive thinking is not supported on this model"
NO_BETWEEN_TOOLS = '"thinking.type.between_tools" is not supported for this model.'
BETWEEN_TOOLS_INSTEAD = (
    'To turn thinking off on this model, send "thinking": {"type": "between_tools"} instead of '
    '{"type": "disabled"}. The model does not think before responding. The short updates it writes between '
    "tool calls come back as thinking blocks."
)
NO_DISABLED_PREVIEW = (
    '"thinking.type.disabled" is not supported for this model. Thinking defaults to adaptive mode when not '
    'specified; use "thinking.type.enabled" with "budget_tokens" for extended thinking.'
)

# Reference §2.1, by row: what is said to enabled, adaptive, disabled, between_tools. Empty: accepted.
MATRIX = {
    "claude-opus-4-5": ("", NO_ADAPTIVE, "", NO_BETWEEN_TOOLS),
    "claude-sonnet-4-5": ("", NO_ADAPTIVE, "", NO_BETWEEN_TOOLS),
    "claude-haiku-4-5": ("", NO_ADAPTIVE, "", NO_BETWEEN_TOOLS),
    "claude-opus-4-6": ("", "", "", NO_BETWEEN_TOOLS),
    "claude-sonnet-4-6": ("", "", "", NO_BETWEEN_TOOLS),
    "claude-opus-4-7": (NO_ENABLED, "", "", NO_BETWEEN_TOOLS),
    "claude-opus-4-8": (NO_ENABLED, "", "", NO_BETWEEN_TOOLS),
    "claude-sonnet-5": (NO_ENABLED, "", "", NO_BETWEEN_TOOLS),
    "claude-opus-5": (NO_ENABLED, "", "", NO_BETWEEN_TOOLS),
    "claude-haiku-5-5": (NO_ENABLED, "", "", NO_BETWEEN_TOOLS),
    "claude-sonnet-5-5": (NO_ENABLED, "", BETWEEN_TOOLS_INSTEAD, ""),
    "claude-opus-5-5": (NO_ENABLED, "", NO_DISABLED, NO_BETWEEN_TOOLS),
    "claude-fable-5-1": (NO_ENABLED, "", NO_DISABLED, NO_BETWEEN_TOOLS),
    "claude-fable-5-2": (NO_ENABLED, "", NO_DISABLED, NO_BETWEEN_TOOLS),
    "claude-mythos-preview": ("", "", NO_DISABLED_PREVIEW, NO_BETWEEN_TOOLS),
}
TYPES: tuple[dict[str, Any], ...] = (
    ENABLED,
    {"type": "adaptive"},
    {"type": "disabled"},
    {"type": "between_tools"},
)


@pytest.mark.parametrize("model", MATRIX)
def test_each_model_takes_its_own_thinking_types(model: str) -> None:
    answers = tuple(verdict({"model": model, "max_tokens": 2048, "thinking": thinking}) for thinking in TYPES)
    assert answers == MATRIX[model]


def test_thinking_may_be_left_out_or_null_everywhere() -> None:
    for model in catalogue().models:
        if model.lifecycle.status != "retired":
            assert verdict({"model": model.id}) == verdict({"model": model.id, "thinking": None}) == ""


@pytest.mark.parametrize(
    ("thinking", "message"),
    [
        ({"type": "enabled"}, "thinking.enabled.budget_tokens: Field required"),
        (
            {"type": "enabled", "budget_tokens": 1023},
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            {"type": "enabled", "budget_tokens": "many"},
            "thinking.enabled.budget_tokens: Input should be a valid integer",
        ),
        (
            {"type": "enabled", "budget_tokens": 2048},
            "`max_tokens` must be greater than `thinking.budget_tokens`.",
        ),
        ({"type": "enabled", "budget_tokens": 2047}, ""),
        ({"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, ""),
        (
            {"type": "enabled", "budget_tokens": 1024, "display": "raw"},
            "thinking.enabled.display: Input should be 'summarized' or 'omitted'",
        ),
        (
            {"type": "disabled", "budget_tokens": 1024},
            "thinking.disabled.budget_tokens: Extra inputs are not permitted",
        ),
        (
            {"type": "disabled", "display": "omitted"},
            "thinking.disabled.display: Extra inputs are not permitted",
        ),
        (
            {"type": "deep"},
            "thinking: Input tag 'deep' found using 'type' does not match any of the expected tags: "
            "'adaptive', 'between_tools', 'disabled', 'enabled'",
        ),
    ],
)
def test_a_budget_and_its_neighbours(thinking: dict[str, Any], message: str) -> None:
    assert verdict({"model": "claude-opus-4-5", "max_tokens": 2048, "thinking": thinking}) == message


@pytest.mark.parametrize("sibling", ["display", "budget_tokens", "block_binding"])
def test_between_tools_stands_alone(sibling: str) -> None:
    thinking = {"type": "between_tools", sibling: "omitted"}
    expected = f"thinking.between_tools.{sibling}: Extra inputs are not permitted"
    betas = ["thinking-binding-controls-2026-08-01"]
    assert verdict({"model": "claude-sonnet-5-5", "thinking": thinking}, betas=betas) == expected


def test_block_binding_needs_its_beta() -> None:
    body = {"model": "claude-haiku-5-5", "thinking": {"type": "adaptive", "block_binding": {}}}
    assert verdict(body) == "thinking.adaptive.block_binding: Extra inputs are not permitted"
    assert verdict(body, betas=["thinking-binding-controls-2026-08-01"]) == ""


def test_progress_updates_need_their_beta_and_a_model_that_shows_them() -> None:
    beta = ["thinking-display-updates-2026-08-18"]
    thinking = {"type": "adaptive", "display": "updates"}
    expected = "thinking.adaptive.display: Input should be 'summarized' or 'omitted'"
    assert verdict({"model": "claude-opus-5-5", "thinking": thinking}) == expected
    assert verdict({"model": "claude-opus-5-5", "thinking": thinking}, betas=beta) == ""
    assert verdict({"model": "claude-opus-5", "thinking": thinking}, betas=beta) == expected


# Reference §2.2: levels that pass. `None`: the parameter itself is rejected.
ALL = "low medium high xhigh max"
LEVELS = {
    "claude-sonnet-4-5": None,
    "claude-haiku-4-5": None,
    "claude-opus-4-5": "low medium high",
    "claude-opus-4-6": "low medium high max",
    "claude-sonnet-4-6": "low medium high max",
    "claude-opus-4-7": ALL,
    "claude-opus-5-5": ALL,
    "claude-haiku-5-5": ALL,
    "claude-sonnet-5-5": ALL,
    "claude-mythos-preview": "low medium high max",
}


@pytest.mark.parametrize("model", LEVELS)
@pytest.mark.parametrize("effort", ALL.split())
def test_each_model_takes_its_own_effort_levels(model: str, effort: str) -> None:
    said = verdict({"model": model, "output_config": {"effort": effort}})
    levels = LEVELS[model]
    if levels is None:
        assert said == "This model does not support the effort parameter."
    elif effort in levels.split():
        assert said == ""
    else:
        known = ", ".join(sorted(levels.split()))
        assert said == f"This model does not support effort level '{effort}'. Supported levels: {known}."


def test_the_published_text_for_an_unsupported_level() -> None:
    assert verdict({"model": "claude-opus-4-6", "output_config": {"effort": "xhigh"}}) == (
        "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium."
    )


def test_an_effort_that_is_no_level() -> None:
    said = verdict({"model": "claude-opus-5-5", "output_config": {"effort": "extreme"}})
    assert said == "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"


@pytest.mark.parametrize(
    ("model", "off"),
    [("claude-opus-5", "disabled"), ("claude-haiku-5-5", "disabled"), ("claude-sonnet-5-5", "between_tools")],
)
def test_thinking_may_be_off_up_to_high_effort(model: str, off: str) -> None:
    for effort in ("low", "medium", "high"):
        assert verdict({"model": model, "thinking": {"type": off}, "output_config": {"effort": effort}}) == ""
    for effort in ("xhigh", "max"):
        said = verdict({"model": model, "thinking": {"type": off}, "output_config": {"effort": effort}})
        assert said == (
            f"output_config.effort '{effort}' is not supported when thinking is disabled on this model. "
            "Use effort 'high' or below, or enable thinking."
        )


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-opus-4-8", "claude-sonnet-5"])
def test_elsewhere_thinking_may_be_off_at_any_effort(model: str) -> None:
    for effort in ("high", "max"):
        body = {"model": model, "thinking": {"type": "disabled"}, "output_config": {"effort": effort}}
        assert verdict(body) == ""


BETA = "thinking-binding-controls-2026-08-01"
EXTRA = "Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("model", "thinking", "taken"),
    [
        ("claude-opus-5-5", {"type": "adaptive"}, True),
        ("claude-sonnet-5-5", {"type": "adaptive"}, True),
        ("claude-sonnet-5-5", {"type": "between_tools"}, False),
        ("claude-haiku-5-5", {"type": "adaptive"}, True),
        ("claude-haiku-5-5", {"type": "disabled"}, False),
        ("claude-opus-5", {"type": "disabled"}, True),
        ("claude-opus-4-8", {"type": "adaptive"}, True),
        ("claude-opus-4-5", ENABLED, True),
        ("claude-opus-4-5", {"type": "disabled"}, True),
    ],
)
def test_blocks_are_bound_under_a_beta_where_the_model_has_a_place_for_it(
    model: str, thinking: dict[str, Any], taken: bool
) -> None:
    bound = {**thinking, "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    body = {"model": model, "max_tokens": 2048, "thinking": bound}
    refused = f"thinking.{thinking['type']}.block_binding: {EXTRA}"
    assert verdict(body, betas=[BETA]) == ("" if taken else refused)
    assert verdict(body) == refused


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        (None, ""),
        ({}, ""),
        ({"prefix_mismatch_behavior": None}, ""),
        ({"prefix_mismatch_behavior": "error"}, ""),
        ("drop", ": Input should be a valid dictionary"),
        (
            {"prefix_mismatch_behavior": "ignore"},
            ".prefix_mismatch_behavior: Input should be 'error' or 'drop_block'",
        ),
        ({"strict": True}, f".strict: {EXTRA}"),
    ],
)
def test_what_a_binding_may_say(binding: Any, said: str) -> None:
    body = {"model": "claude-opus-5-5", "thinking": {"type": "adaptive", "block_binding": binding}}
    assert verdict(body, betas=[BETA]) == (f"thinking.adaptive.block_binding{said}" if said else "")


@pytest.mark.parametrize(("switch", "taken"), [(False, False), (True, True)])
def test_whether_foundry_knows_bindings_is_a_switch(switch: bool, taken: bool) -> None:
    body = {"model": "claude-opus-5-5", "thinking": {"type": "adaptive", "block_binding": {}}}
    switches = Switches(platform="foundry", foundry_binds_blocks=switch)
    assert (verdict(body, betas=[BETA], switches=switches) == "") is taken


@pytest.mark.parametrize(
    ("model", "old"),
    [
        ("claude-fable-5", True),
        ("claude-mythos-5-1", True),
        ("claude-fable-5-2", False),
        ("claude-opus-5-5", False),
    ],
)
def test_two_wordings_are_published_for_the_same_refusal(model: str, old: bool) -> None:
    body = {"model": model, "thinking": {"type": "disabled"}}
    assert verdict(body) == NO_DISABLED
    said = verdict(body, switches=Switches(old_disabled_wording=True))
    assert said == (NO_DISABLED_PREVIEW if old else NO_DISABLED)
