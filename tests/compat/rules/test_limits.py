"""Caps fit the target, disclosed; prompts that are too long for it are seen before they are sent."""

import base64
import json
from dataclasses import replace

import pytest

from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.rules.limits import estimated_tokens, too_long, violations
from tests.support.requests import asked, rewritten
from tests.support.rows import O5, O45, O46, O48, O55, name


@pytest.mark.parametrize(
    ("source", "target", "cap", "expected", "done"),
    [
        (O46, O45, 64_000, 64_000, []),
        (O46, O45, 64_001, 64_000, ["max_tokens=E"]),
        (O45, O46, 64_000, 64_000, []),
        (O45, O46, 200_000, 128_000, ["max_tokens=E"]),
        (O45, O55, 100, 4196, ["thinking=E", "unasked_thinking=E", "max_tokens=E"]),
        (O48, O55, 126_000, 128_000, ["thinking=E", "unasked_thinking=E", "max_tokens=E"]),
        (O48, O55, 128_000, 128_000, ["thinking=E", "unasked_thinking=E"]),
        (O45, O55, 0, 0, ["thinking=E", "unasked_thinking=E"]),
        (O45, O55, -1, -1, ["thinking=E", "unasked_thinking=E"]),
    ],
    ids=name,
)
def test_a_cap_fits_the_target(
    source: Model, target: Model, cap: int, expected: int, done: list[str]
) -> None:
    body, changes = rewritten(source, target, max_tokens=cap)
    assert body["max_tokens"] == expected
    assert changes == done


def test_a_cap_that_is_no_number_is_left_alone() -> None:
    body, changes = rewritten(O46, O45, max_tokens="many")
    assert body["max_tokens"] == "many"
    assert changes == []


def test_a_counting_body_has_no_cap() -> None:
    body, changes = rewritten(O45, O55, counting=True, max_tokens=None)
    assert body["max_tokens"] is None
    assert changes == ["thinking=E"]


@pytest.mark.parametrize(
    ("cap", "budget", "fitted"),
    [
        (100_000, 80_000, 44_000),  # 20 000 for the answer, as before
        (100_000, 64_000, 32_000),  # 36 000 would be more than half
        (100_000, 63_999, 63_999),
        (65_000, 64_500, 63_500),
        (64_001, 64_000, 63_999),
    ],
)
def test_a_budget_stays_below_a_lowered_cap(cap: int, budget: int, fitted: int) -> None:
    thinking = {"type": "enabled", "budget_tokens": budget, "display": "omitted"}
    body, changes = rewritten(O46, O45, max_tokens=cap, thinking=thinking)
    assert body["max_tokens"] == 64_000
    assert body["thinking"] == {**thinking, "budget_tokens": fitted}
    assert changes == ["max_tokens=E"] + ["thinking=E"] * (fitted != budget)


def test_a_budget_that_was_not_below_the_cap_before_is_not_repaired() -> None:
    thinking = {"type": "enabled", "budget_tokens": 70_000}
    body, _ = rewritten(O46, O45, max_tokens=65_000, thinking=thinking)
    assert body["thinking"] == thinking


def prompt(text_bytes: int, *, data: int = 0, slashes: str = "/") -> bytes:
    encoded = base64.b64encode(b"\xff" * data).decode().replace("/", slashes)
    source = {"type": "base64", "media_type": "image/png", "data": encoded}
    content = [
        {"type": "text", "text": "x" * text_bytes},
        *([{"type": "image", "source": source}] if data else []),
    ]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()


@pytest.mark.parametrize(
    ("model", "body", "is_long"),
    [
        (O45, prompt(690_000), False),
        (O45, prompt(710_000), True),
        (O46, prompt(3_400_000), False),
        (O46, prompt(3_510_000), True),
        (O5, prompt(2_690_000), False),
        (O5, prompt(2_710_000), True),
        (O45, prompt(600_000, data=900_000), False),
        (O45, prompt(600_000, data=900_000, slashes="\\/"), False),
    ],
    ids=name,
)
def test_a_prompt_over_the_window_is_seen(model: Model, body: bytes, is_long: bool) -> None:
    assert too_long(parse(body), model) is is_long


def test_images_cost_their_tokens_and_not_their_bytes() -> None:
    with_image, without = parse(prompt(1000, data=30_000)), parse(prompt(1000))
    extra = estimated_tokens(with_image, O5) - estimated_tokens(without, O5)
    assert 4784 <= extra <= 4784 + 60
    assert estimated_tokens(with_image, O45) - estimated_tokens(without, O45) < 1700


def test_text_costs_more_with_the_newer_tokenizer() -> None:
    text = parse(prompt(35_000))
    assert estimated_tokens(text, O5) > 1.25 * estimated_tokens(text, O45)


def test_a_cap_above_the_maximum_is_named() -> None:
    assert list(violations(asked(O45, max_tokens=64_000), O45)) == []
    assert [change.rule for change in violations(asked(O45, max_tokens=64_001), O45)] == ["max_tokens"]
    small = replace(O45, max_output_tokens=10)
    assert [change.rule for change in violations(asked(O45, max_tokens=11), small)] == ["max_tokens"]
