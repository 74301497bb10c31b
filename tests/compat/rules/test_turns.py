"""Turns of role system: named where the target does not know them."""

from gateway.compat.rules.turns import unknown_role, violations
from tests.support.requests import HELLO, asked, draft_of
from tests.support.rows import O45, O47, O48

NOTED = asked(O48, messages=[HELLO, {"role": "system", "content": "note"}])


def test_a_system_turn_is_in_the_way_only_where_the_target_alone_does_not_know_it() -> None:
    assert unknown_role(draft_of(NOTED, O48, O47)).startswith("messages hold a turn of role system")
    assert unknown_role(draft_of(NOTED, O45, O47)) == ""
    assert unknown_role(draft_of(asked(O48), O48, O47)) == ""


def test_a_model_that_rejects_a_system_turn_is_named() -> None:
    assert [change.rule for change in violations(NOTED, O47)] == ["mid_conversation_system"]
    assert list(violations(NOTED, O48)) == []
    assert list(violations(asked(O47), O47)) == []
