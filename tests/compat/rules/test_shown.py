"""Thinking that nobody asked for is hidden, whether it cannot be turned off or comes as notes."""

import pytest

from gateway.compat.catalog import Model
from gateway.compat.request import rewrite
from gateway.core.spec import CompatPolicy
from tests.support.requests import KEEP, Json, asked
from tests.support.rows import O5, O45, O48, O55, S5, S45, S55, name

TOOLS: Json = {"tools": [{"name": "n", "input_schema": {"type": "object"}}]}
OFF: Json = {"thinking": {"type": "disabled"}}
SHOW, AS_TEXT = CompatPolicy(unasked_thinking="show"), CompatPolicy(progress_notes="text")


@pytest.mark.parametrize(
    ("source", "target", "fields", "policy", "hidden"),
    [
        (O45, O55, {}, KEEP, True),
        (O45, O55, {}, SHOW, False),
        (O45, O55, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, KEEP, False),
        (O45, O48, {}, KEEP, False),
        (O5, O55, {}, KEEP, False),
        (S45, S55, TOOLS, KEEP, True),
        (S5, S55, {**TOOLS, **OFF}, KEEP, True),
        (S5, S55, {**TOOLS, **OFF}, SHOW, False),
        (S5, S55, {**TOOLS, **OFF}, AS_TEXT, True),
        (S5, S55, OFF, KEEP, False),  # no tools, no notes between their calls
        (S5, S55, TOOLS, KEEP, False),  # thinks on both
        (S55, O55, {**TOOLS, "thinking": {"type": "between_tools"}}, KEEP, True),
    ],
    ids=name,
)
def test_what_nobody_asked_for_is_hidden(
    source: Model, target: Model, fields: Json, policy: CompatPolicy, hidden: bool
) -> None:
    done = rewrite(asked(source, **fields), source, target, policy)
    assert done.plan.hides_thinking is hidden
    assert ("unasked_thinking" in {change.rule for change in done.changes}) is hidden
