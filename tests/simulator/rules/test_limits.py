from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.judged import catalogue, verdict

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
LATE_HOUR = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"


def text(mark: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": "a", "cache_control": mark}


@pytest.mark.parametrize(
    ("model", "tokens", "message"),
    [
        ("claude-opus-4-5", 64_000, ""),
        (
            "claude-opus-4-5",
            64_001,
            "max_tokens: 64001 > 64000, which is the maximum allowed number of output tokens for "
            "claude-opus-4-5",
        ),
        ("claude-opus-5-5", 128_000, ""),
        (
            "claude-opus-5-5",
            200_000,
            "max_tokens: 200000 > 128000, which is the maximum allowed number of output tokens for "
            "claude-opus-5-5",
        ),
        ("claude-opus-5-5", -1, "max_tokens: Input should be greater than or equal to 0"),
        ("claude-opus-5-5", 0, ""),
    ],
)
def test_max_tokens_ends_where_the_model_does(model: str, tokens: int, message: str) -> None:
    assert verdict({"model": model, "max_tokens": tokens}) == message


@pytest.mark.parametrize(
    ("fields", "other"),
    [
        ({"stream": True}, "stream"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "string"}}}},
            "output_config.format",
        ),
        (
            {"tools": [{"name": "a", "input_schema": {}}], "tool_choice": {"type": "any"}},
            "a forced tool_choice",
        ),
    ],
)
def test_warming_the_cache_goes_with_nothing_else(fields: dict[str, Any], other: str) -> None:
    said = verdict({"model": "claude-opus-4-5", "max_tokens": 0, **fields})
    assert said == f"max_tokens: 0 cannot be combined with {other}"


def test_a_batch_does_not_warm_the_cache() -> None:
    said = verdict({"model": "claude-opus-5-5", "max_tokens": 0}, batched=True)
    assert said == "max_tokens: 0 cannot be combined with batches"


def test_four_breakpoints_wherever_they_stand() -> None:
    tools = [{"name": "t", "input_schema": {}, "cache_control": MARK}]
    result = {"type": "tool_result", "tool_use_id": "x", "content": [text(MARK)]}
    call = {"type": "tool_use", "id": "x", "name": "t", "input": {}}
    messages = [
        {"role": "user", "content": [text(MARK)]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    body = {"model": "claude-opus-5-5", "tools": tools, "system": [text(MARK)], "messages": messages}
    assert verdict(body) == ""
    said = verdict({**body, "cache_control": MARK})
    assert said == "A maximum of 4 blocks with cache_control may be provided. Found 5."


@pytest.mark.parametrize(
    ("system", "user", "message"),
    [
        (HOUR, MARK, ""),
        (HOUR, HOUR, ""),
        (MARK, HOUR, LATE_HOUR),
        (
            MARK,
            {"type": "ephemeral", "ttl": "1d"},
            "cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
        ),
    ],
)
def test_the_longer_lifetime_comes_first(system: Any, user: Any, message: str) -> None:
    messages = [{"role": "user", "content": [text(user)]}]
    assert verdict({"model": "claude-opus-5-5", "system": [text(system)], "messages": messages}) == message


@pytest.mark.parametrize(
    ("model", "betas", "message"),
    [
        ("claude-opus-5-5", [], ""),
        ("claude-opus-5", ["fast-mode-2026-02-01"], ""),
        ("claude-opus-5", [], "speed: Extra inputs are not permitted"),
        ("claude-opus-4-7", ["fast-mode-2026-02-01"], "speed: fast mode is not supported for this model"),
    ],
)
def test_fast_mode_is_for_some(model: str, betas: list[str], message: str) -> None:
    assert verdict({"model": model, "speed": "fast"}, betas=betas) == message
    assert verdict({"model": model, "speed": "standard"}) == ""


def test_fast_mode_and_its_spelling() -> None:
    said = verdict({"model": "claude-opus-5-5", "speed": "fast"}, batched=True)
    assert said == "speed: fast mode is not available in batches"
    said = verdict({"model": "claude-opus-5-5", "speed": "quick"})
    assert said == "speed: Input should be 'standard' or 'fast'"


def test_fable_and_mythos_need_retained_data() -> None:
    switches = Switches(data_retention=False)
    said = "In order to access this model, your organization or workspace must have data retention enabled."
    for model in ("claude-fable-5-2", "claude-mythos-5"):
        assert verdict({"model": model}, switches=switches) == said
    assert verdict({"model": "claude-opus-5-5"}, switches=switches) == ""


@pytest.mark.parametrize(
    ("model", "characters", "message"),
    [
        ("claude-haiku-4-5", 4 * 199_996, ""),
        ("claude-haiku-4-5", 4 * 200_000, "prompt is too long: 200004 tokens > 200000 maximum"),
        ("claude-haiku-5-5", 4 * 200_000, ""),
        ("claude-haiku-5-5", 4 * 1_000_000, "prompt is too long: 1300004 tokens > 1000000 maximum"),
    ],
)
def test_the_prompt_fits_into_the_window(model: str, characters: int, message: str) -> None:
    messages = [{"role": "user", "content": "x" * characters}]
    assert verdict({"model": model, "messages": messages}) == message


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"])
def test_in_batches_the_newest_write_more_under_a_beta(model: str) -> None:
    beta, long = ["output-300k-2026-03-24"], {"model": model, "max_tokens": 300_000}
    assert verdict(long, betas=beta, batched=True) == ""
    assert verdict({**long, "max_tokens": 300_001}, betas=beta, batched=True).endswith(f"for {model}")
    assert "> 128000" in verdict(long, batched=True)
    assert "> 128000" in verdict(long, betas=beta)


def test_other_models_do_not() -> None:
    for model in ("claude-fable-5-1", "claude-opus-5", "claude-opus-4-8"):
        body = {"model": model, "max_tokens": 128_001}
        assert "> 128000" in verdict(body, betas=["output-300k-2026-03-24"], batched=True)


@pytest.mark.parametrize(
    ("platform", "taken"), [("first_party", True), ("google", False), ("bedrock", False)]
)
def test_opus_4_6_does_not_mind_being_asked_for_a_fast_mode_at_the_vendors(
    platform: Any, taken: bool
) -> None:
    said = verdict({"model": "claude-opus-4-6", "speed": "fast"}, switches=Switches(platform=platform))
    assert (said == "") is taken


def test_who_has_a_fast_mode() -> None:
    def takers(betas: list[str]) -> set[str]:
        current = (row.id for row in catalogue().models if row.lifecycle.status != "retired")
        return {model for model in current if verdict({"model": model, "speed": "fast"}, betas=betas) == ""}

    without = {"claude-opus-5-5", "claude-fable-5-2", "claude-mythos-5-2", "claude-opus-4-6"}
    assert takers([]) == without
    assert takers(["fast-mode-2026-02-01"]) == without | {"claude-opus-5", "claude-opus-4-8"}
