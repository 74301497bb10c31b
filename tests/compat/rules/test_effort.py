"""Effort stays what the application counts on, as far as the target knows it, or becomes what policy says."""

from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.request import rewrite
from gateway.compat.rules.effort import violations
from gateway.core.spec import CompatPolicy
from tests.support.requests import Json, asked, rewritten
from tests.support.rows import H55, O5, O45, O46, O48, O55, S45, S55, name

OFF, ADAPTIVE, BETWEEN = {"type": "disabled"}, {"type": "adaptive"}, {"type": "between_tools"}


@pytest.mark.parametrize(
    ("source", "target", "effort", "expected", "done"),
    [
        (O45, O46, None, None, []),
        (O46, O55, None, "low", ["thinking=E", "unasked_thinking=E", "max_tokens=E"]),
        (O5, O55, None, "high", ["effort=L"]),
        (O55, O5, None, "medium", ["effort=L"]),
        (O55, O46, None, "medium", ["thinking=L", "display=L", "effort=L"]),
        (H55, S55, None, "medium", ["effort=L"]),
        (S45, S55, None, None, ["thinking=E"]),
        (O48, O46, "xhigh", "high", ["effort=E"]),
        (O48, O45, "max", "high", ["effort=E"]),
        (O48, O46, "max", "max", []),
        (O48, O45, "low", "low", []),
        (O45, S45, "low", None, ["effort=E"]),
        (O45, S45, "high", None, ["effort=L"]),
        (O48, O46, "extreme", "extreme", []),
    ],
    ids=name,
)
def test_effort_stays_what_it_was_as_far_as_the_target_knows_it(
    source: Model, target: Model, effort: str | None, expected: str | None, done: list[str]
) -> None:
    fields = {} if effort is None else {"output_config": {"effort": effort}}
    body, changes = rewritten(source, target, **fields)
    assert body.get("output_config") == (None if expected is None else {"effort": expected})
    assert changes == done


def test_the_target_s_own_default_effort_can_be_chosen() -> None:
    body, changes = rewritten(O5, O55, policy=CompatPolicy(effort="target_default"))
    assert "output_config" not in body
    assert changes == []


def test_it_is_said_why_effort_is_lowered_while_thinking_is_off() -> None:
    done = rewrite(asked(O48, output_config={"effort": "max"}), O48, O5, CompatPolicy())
    assert [change.sentence for change in done.changes] == [
        "Thinking is set to disabled for claude-opus-5.",
        "Effort is high, the most that claude-opus-5 takes while thinking is off.",
    ]


def test_other_output_options_keep_their_bytes_and_order() -> None:
    raw = b'{"model":"x","output_config":{"format" : {"a":1.0} ,"effort":"max","later":[ ]},"messages":[]}'
    source = parse(raw)
    body = rewrite(source, O48, O45, CompatPolicy()).body
    assert b'"output_config":{"format":{"a":1.0},"effort":"high","later":[ ]}' in body
    gone = rewrite(source, O48, S45, CompatPolicy()).body
    assert b'"output_config":{"format":{"a":1.0},"later":[ ]}' in gone


@pytest.mark.parametrize("config", ["high", [], {"effort": 5}, {"effort": ["low"]}])
def test_an_effort_that_is_malformed_is_left_alone(config: Any) -> None:
    body, changes = rewritten(O5, O55, output_config=config)
    assert body["output_config"] == config
    assert changes == []


MAPPED = CompatPolicy(effort="map", effort_map={"high": "medium", "max": "xhigh"})


@pytest.mark.parametrize(
    ("source", "target", "fields", "effort", "done"),
    [
        (O5, O55, {}, None, []),  # medium is what Opus 5.5 takes for granted
        (O55, O5, {}, "medium", ["effort=L"]),  # the map does not name it: preserved
        (O5, O48, {"thinking": OFF}, "medium", ["effort=E"]),
        (O5, O55, {"output_config": {"effort": "high"}}, "medium", ["effort=E"]),
        (O5, O55, {"output_config": {"effort": "max"}}, "xhigh", ["effort=E"]),
        (O48, O46, {"output_config": {"effort": "max"}}, "high", ["effort=E"]),  # clamped
        (O5, O55, {"output_config": {"effort": "low"}}, "low", []),
        (S45, O46, {}, "medium", ["effort=E"]),  # a model without efforts counts as high
        (O5, S45, {"thinking": OFF, "output_config": {"effort": "high"}}, None, ["effort=L"]),
    ],
    ids=name,
)
def test_a_map_says_what_to_ask_for_instead_of_the_effort_in_force(
    source: Model, target: Model, fields: Json, effort: str | None, done: list[str]
) -> None:
    body, changes = rewritten(source, target, policy=MAPPED, **fields)
    assert body.get("output_config", {}).get("effort") == effort
    assert changes == done


def test_an_effort_that_stands_for_a_budget_or_for_little_thinking_is_not_mapped() -> None:
    up = CompatPolicy(effort="map", effort_map={"low": "max", "high": "max"})
    budget = {"type": "enabled", "budget_tokens": 2000}
    assert rewritten(O45, O5, policy=up, thinking=budget)[0]["output_config"] == {"effort": "low"}
    assert rewritten(O45, O55, policy=up)[0]["output_config"] == {"effort": "low"}


def test_a_map_to_what_is_no_effort_preserves() -> None:
    odd = CompatPolicy(effort="map", effort_map={"high": "extreme"})
    assert rewritten(O5, O55, policy=odd)[0]["output_config"] == {"effort": "high"}


@pytest.mark.parametrize(
    ("model", "fields", "rules"),
    [
        (S55, {"thinking": BETWEEN, "output_config": {"effort": "max"}}, ["effort"]),
        (O5, {"thinking": OFF, "output_config": {"effort": "xhigh"}}, ["effort"]),
        (O48, {"thinking": OFF, "output_config": {"effort": "xhigh"}}, []),
        (O5, {"thinking": ADAPTIVE, "output_config": {"effort": "xhigh"}}, []),
        (S45, {"output_config": {"effort": "low"}}, ["effort"]),
        (O46, {"output_config": {"effort": "xhigh"}}, ["effort"]),
        (O46, {"output_config": {"effort": None, "format": {}}}, []),
        (O46, {}, []),
    ],
    ids=name,
)
def test_an_effort_that_a_model_rejects_is_named(model: Model, fields: Json, rules: list[str]) -> None:
    assert [change.rule for change in violations(asked(model, **fields), model)] == rules
