"""A forced tool is recognised, and where it cannot be served that is known before anything is sent."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.rules.tools import cannot_force, forced, violations
from tests.support.requests import asked
from tests.support.rows import F52, H55, O5, O45, O48, O55, S55, name


@pytest.mark.parametrize(
    ("choice", "is_forced"),
    [
        ({"type": "any"}, True),
        ({"type": "tool", "name": "n"}, True),
        ({"type": "any", "disable_parallel_tool_use": True}, True),
        ({"type": "auto"}, False),
        ({"type": "none"}, False),
        ("any", False),
        ({"type": ["any"]}, False),
        (None, False),
    ],
)
def test_any_and_tool_force(choice: Any, is_forced: bool) -> None:
    assert forced(asked(O45, tool_choice=choice).fields) is is_forced
    assert bool(list(violations(asked(O55, tool_choice=choice), O55))) is is_forced
    assert list(violations(asked(O45, tool_choice=choice), O45)) == []


STUBBORN = replace(O55, id="stubborn", forced_tool="thinking_off")


@pytest.mark.parametrize(
    ("model", "cannot"),
    [
        (O45, False),
        (O48, False),
        (O5, False),
        (H55, False),
        (O55, True),
        (S55, True),
        (F52, True),
        (STUBBORN, True),
    ],
    ids=name,
)
def test_a_model_that_never_forces_or_never_stops_thinking_cannot(model: Model, cannot: bool) -> None:
    assert cannot_force(asked(O45, tool_choice={"type": "any"}).fields, model) is cannot
    assert not cannot_force(asked(O45).fields, model)
