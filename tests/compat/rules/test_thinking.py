"""Thinking keeps its meaning from model to model, and where it cannot, the nearest is said and disclosed."""

from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.rules.thinking import BUDGETS, at_most, unasked, violations
from gateway.core.spec import CompatPolicy
from tests.support.requests import HELLO, Json, asked, draft_of, rewritten
from tests.support.rows import F52, H45, H55, O5, O45, O46, O47, O48, O55, S5, S45, S46, S55, name

OFF = {"type": "disabled"}
ADAPTIVE = {"type": "adaptive"}
BETWEEN = {"type": "between_tools"}
HIDDEN = {"type": "adaptive", "display": "omitted"}
SHOWN = {"type": "adaptive", "display": "summarized"}
LOW = {"effort": "low"}


def enabled(budget: int, **more: Any) -> Json:
    return {"type": "enabled", "budget_tokens": budget, **more}


# source, what it is asked, target, thinking and output_config there, what was done
OFF_CASES: list[tuple[Model, Json, Model, Any, Any, list[str]]] = [
    (O45, {}, O46, None, None, []),
    (O45, {}, O48, None, None, []),
    (O45, {}, O5, OFF, None, ["thinking=L"]),
    (O45, {"thinking": None}, O5, OFF, None, ["thinking=L"]),
    (H45, {}, H55, OFF, None, ["thinking=L"]),
    (S46, {}, S5, OFF, None, ["thinking=L"]),
    (S45, {}, S55, BETWEEN, None, ["thinking=E"]),
    (O45, {}, O55, HIDDEN, LOW, ["thinking=E", "unasked_thinking=E", "max_tokens=E"]),
    (O45, {}, F52, HIDDEN, LOW, ["thinking=E", "unasked_thinking=E", "max_tokens=E"]),
    (O45, {"thinking": OFF}, O48, OFF, None, []),
    (O45, {"thinking": OFF}, O5, OFF, None, []),
    (S5, {"thinking": OFF}, S55, BETWEEN, None, ["thinking=E"]),
    (O5, {"thinking": OFF}, O55, HIDDEN, LOW, ["thinking=E", "unasked_thinking=E", "max_tokens=E"]),
    (S55, {"thinking": BETWEEN}, S5, OFF, None, ["thinking=E"]),
    (S55, {"thinking": BETWEEN}, S45, OFF, None, ["thinking=E"]),
    (S55, {"thinking": BETWEEN}, O55, HIDDEN, LOW, ["thinking=E", "unasked_thinking=E", "max_tokens=E"]),
    # off is not possible at every effort
    (O48, {"output_config": {"effort": "xhigh"}}, O5, OFF, {"effort": "high"}, ["thinking=L", "effort=E"]),
    (
        O48,
        {"thinking": OFF, "output_config": {"effort": "max"}},
        H55,
        OFF,
        {"effort": "high"},
        ["effort=E"],
    ),
    (
        S5,
        {"thinking": OFF, "output_config": {"effort": "max"}},
        S55,
        BETWEEN,
        {"effort": "high"},
        ["thinking=E", "effort=E"],
    ),
    (
        O48,
        {"output_config": {"effort": "high"}},
        O55,
        HIDDEN,
        LOW,
        ["thinking=E", "effort=E", "unasked_thinking=E", "max_tokens=E"],
    ),
    # a request that only warms the cache asks for no thinking
    (O45, {"max_tokens": 0}, O55, None, LOW, ["thinking=E", "unasked_thinking=E"]),
    (O5, {"max_tokens": 0, "thinking": OFF}, O55, None, LOW, ["thinking=E", "unasked_thinking=E"]),
]

ON_CASES: list[tuple[Model, Json, Model, Any, Any, list[str]]] = [
    (O45, {"thinking": enabled(5000)}, O46, enabled(5000), None, []),
    (O45, {"thinking": enabled(1024)}, O47, SHOWN, LOW, ["thinking=E", "display=L"]),
    (O45, {"thinking": enabled(4095)}, O55, SHOWN, LOW, ["thinking=E", "display=L"]),
    (S45, {"thinking": enabled(4096)}, S55, SHOWN, {"effort": "medium"}, ["thinking=E", "display=L"]),
    (
        H45,
        {"thinking": enabled(16384), "max_tokens": 20000},
        H55,
        SHOWN,
        {"effort": "medium"},
        ["thinking=E", "display=L"],
    ),
    (
        O45,
        {"thinking": enabled(2000), "output_config": {"effort": "high"}},
        O5,
        SHOWN,
        {"effort": "high"},
        ["thinking=E", "display=L"],
    ),
    (O45, {"thinking": enabled(2000, display="omitted")}, O5, HIDDEN, LOW, ["thinking=E"]),
    (O46, {"thinking": ADAPTIVE}, O48, SHOWN, None, ["display=L"]),
    (O46, {"thinking": {**ADAPTIVE, "display": None}}, O48, SHOWN, None, ["display=L"]),
    (O48, {"thinking": ADAPTIVE}, O46, HIDDEN, None, ["display=L"]),
    (O48, {"thinking": ADAPTIVE}, O5, ADAPTIVE, None, []),
    # adaptive by default there, off by default here
    (O5, {}, O48, ADAPTIVE, None, ["thinking=L"]),
    (O5, {}, O46, HIDDEN, None, ["thinking=L", "display=L"]),
    (O5, {}, O55, None, {"effort": "high"}, ["effort=L"]),
    # no adaptive thinking there: a budget by effort, at most half of what may be written
    (O5, {"max_tokens": 64000}, O45, enabled(16384, display="omitted"), None, ["thinking=E", "display=L"]),
    (O5, {"max_tokens": 9000}, O45, enabled(4500, display="omitted"), None, ["thinking=E", "display=L"]),
    (S55, {"max_tokens": 2048}, S45, enabled(1024, display="omitted"), None, ["thinking=E", "display=L"]),
    (
        S55,
        {"thinking": SHOWN, "output_config": LOW},
        S45,
        enabled(2048, display="summarized"),
        None,
        ["thinking=E", "effort=E"],
    ),
    (
        S55,
        {"thinking": {**SHOWN, "block_binding": {}}},
        S45,
        enabled(5000, display="summarized"),
        None,
        ["thinking=E"],
    ),
    (H55, {"max_tokens": 2047}, H45, None, None, ["thinking=E"]),
    (H55, {"max_tokens": 2047, "thinking": ADAPTIVE}, H45, OFF, None, ["thinking=E"]),
    (H55, {"max_tokens": 0}, H45, None, None, ["thinking=E"]),
    # progress updates are for the newest only
    (S55, {"thinking": {**ADAPTIVE, "display": "updates"}}, S5, SHOWN, None, ["display=E"]),
    (
        S55,
        {"thinking": {**ADAPTIVE, "display": "updates"}},
        O55,
        {**ADAPTIVE, "display": "updates"},
        {"effort": "high"},
        ["effort=L"],
    ),
]


@pytest.mark.parametrize(("source", "fields", "target", "thinking", "config", "done"), OFF_CASES, ids=name)
def test_off_stays_as_near_to_off_as_the_target_can(
    source: Model, fields: Json, target: Model, thinking: Any, config: Any, done: list[str]
) -> None:
    body, changes = rewritten(source, target, **fields)
    assert (body.get("thinking"), body.get("output_config"), changes) == (thinking, config, done)


@pytest.mark.parametrize(("source", "fields", "target", "thinking", "config", "done"), ON_CASES, ids=name)
def test_thinking_that_is_on_stays_on_where_it_can(
    source: Model, fields: Json, target: Model, thinking: Any, config: Any, done: list[str]
) -> None:
    body, changes = rewritten(source, target, **fields)
    assert (body.get("thinking"), body.get("output_config"), changes) == (thinking, config, done)


CHOICE = {"tool_choice": {"type": "any"}, "tools": [{"name": "n", "input_schema": {}}]}


@pytest.mark.parametrize(
    ("source", "fields", "target", "thinking", "done"),
    [
        (O5, {}, O48, None, ["thinking=E"]),
        (O5, {"thinking": ADAPTIVE}, O48, OFF, ["thinking=E"]),
        (H55, {}, H45, None, ["thinking=E"]),
        (O5, {"thinking": OFF}, O48, OFF, []),
        (O5, {}, H55, None, ["effort=L"]),
        (O45, {"thinking": enabled(2000)}, O46, enabled(2000), []),
    ],
    ids=name,
)
def test_a_forced_tool_turns_thinking_off_where_only_that_is_accepted(
    source: Model, fields: Json, target: Model, thinking: Any, done: list[str]
) -> None:
    body, changes = rewritten(source, target, **CHOICE, **fields)
    assert (body.get("thinking"), changes) == (thinking, done)
    assert body["tool_choice"] == CHOICE["tool_choice"]


CALL: Json = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}}]}
THOUGHT: Json = {"type": "thinking", "thinking": "", "signature": "s"}
THOUGHTFUL: Json = {"role": "assistant", "content": [THOUGHT, *CALL["content"]]}
RESULT: Json = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]}
NOTE: Json = {"role": "system", "content": "note"}


@pytest.mark.parametrize(
    ("messages", "on"),
    [
        ([HELLO, THOUGHTFUL, RESULT], True),
        ([HELLO, CALL, RESULT], False),
        ([HELLO, CALL, RESULT, THOUGHTFUL, RESULT], False),
        ([HELLO, THOUGHTFUL, RESULT, CALL, RESULT], False),
        ([HELLO, THOUGHTFUL, RESULT, THOUGHTFUL, RESULT, NOTE], True),
        ([HELLO, {"role": "assistant", "content": [THOUGHT]}, CALL, RESULT], True),
        ([HELLO, THOUGHTFUL, RESULT, HELLO], True),
        ([HELLO, CALL, RESULT, {"role": "assistant", "content": "done"}, HELLO], True),
        ([HELLO, {"role": "assistant", "content": "done"}, HELLO], True),
        ([HELLO, {"role": "assistant", "content": "text"}, RESULT], False),
        ([HELLO, {"role": "assistant", "content": []}, RESULT], False),
    ],
)
def test_manual_thinking_needs_an_open_tool_round_that_begins_with_thinking(
    messages: list[Json], on: bool
) -> None:
    body, _ = rewritten(O5, O45, messages=messages)
    assert (body.get("thinking", OFF)["type"] == "enabled") is on
    kept, _ = rewritten(O5, O46, messages=messages)
    assert kept["thinking"]["type"] == "adaptive"


ADOPT = CompatPolicy(thinking="adopt")


@pytest.mark.parametrize(
    ("source", "target", "fields", "thinking"),
    [
        (O45, O5, {}, None),
        (O45, O55, {}, None),
        (O5, O48, {}, None),
        (O45, O5, {"thinking": OFF}, OFF),
        (O5, O55, {"thinking": OFF}, HIDDEN),
        (O45, O5, {"thinking": enabled(2000)}, SHOWN),
    ],
    ids=name,
)
def test_adopting_leaves_only_a_missing_value_to_the_target(
    source: Model, target: Model, fields: Json, thinking: Any
) -> None:
    body, _ = rewritten(source, target, policy=ADOPT, **fields)
    assert body.get("thinking") == thinking
    assert body["max_tokens"] == (14096 if thinking == HIDDEN else 10000)


@pytest.mark.parametrize(
    "thinking",
    ["on", [], {"type": "new"}, {"type": 5}, {}, {"type": "enabled"}, enabled(1) | {"budget_tokens": "x"}],
)
def test_what_is_malformed_is_left_for_the_upstream_to_judge(thinking: Any) -> None:
    body, changes = rewritten(O45, O5, thinking=thinking)
    assert body["thinking"] == thinking
    assert changes == []
    assert [change.rule for change in violations(asked(O45, thinking=thinking), O45)] == ["thinking"]


def test_counting_needs_no_cap_for_a_budget() -> None:
    body, changes = rewritten(O5, O45, counting=True, max_tokens=None)
    assert body["thinking"]["budget_tokens"] == BUDGETS["high"]
    assert changes == ["thinking=E", "display=L"]


@pytest.mark.parametrize(
    ("wanted", "levels", "level"),
    [
        ("xhigh", ("low", "medium", "high", "max"), "high"),
        ("max", ("low", "medium", "high"), "high"),
        ("low", ("medium", "high"), "medium"),
        ("medium", ("max", "low"), "low"),
        ("low", (), None),
    ],
)
def test_a_level_is_lowered_to_the_nearest_known(wanted: Any, levels: Any, level: Any) -> None:
    assert at_most(wanted, levels) == level


def test_only_thinking_that_the_request_did_not_mean_is_unasked() -> None:
    assert unasked(draft_of(asked(O45), O45, O55))
    assert not unasked(draft_of(asked(O5), O5, O55))
    assert not unasked(draft_of(asked(O45), O45, O48))


@pytest.mark.parametrize(
    ("model", "fields", "rules"),
    [
        (O45, {"thinking": ADAPTIVE}, ["thinking"]),
        (O55, {"thinking": OFF}, ["thinking"]),
        (S55, {"thinking": BETWEEN}, []),
        (S55, {"thinking": {**BETWEEN, "display": "omitted"}}, ["thinking"]),
        (O45, {"thinking": enabled(1023)}, ["thinking"]),
        (O45, {"thinking": enabled(10000)}, ["thinking"]),
        (O45, {"thinking": enabled(9999)}, []),
        (O45, {"thinking": enabled(2000), "messages": [HELLO, CALL, RESULT]}, ["thinking"]),
        (O46, {"thinking": {**ADAPTIVE, "budget_tokens": 2000}}, ["thinking"]),
        (O5, {"thinking": {**ADAPTIVE, "display": "updates"}}, ["display"]),
        (O55, {"thinking": {**ADAPTIVE, "display": "updates"}}, []),
        (O46, {"thinking": ADAPTIVE, **CHOICE}, ["forced_tool"]),
        (O46, {"thinking": OFF, **CHOICE}, []),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(model: Model, fields: Json, rules: list[str]) -> None:
    assert [change.rule for change in violations(asked(model, **fields), model)] == rules
