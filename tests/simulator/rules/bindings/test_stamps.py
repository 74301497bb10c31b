import base64
import json
from dataclasses import replace

import pytest

from gateway.simulator.rules.bindings.stamps import (
    Stamp,
    call_id,
    is_thinking,
    name_of,
    read,
    sealed_in,
    was_thought_before,
)

STAMP = Stamp("claude-opus-5-5", "text", 7, "account", "user", "prefix", "before", "trail")
SEED = "0123456789abcdef0123456789abcdef"


def test_a_signature_says_what_was_sealed() -> None:
    assert read(STAMP.sealed()) == STAMP


@pytest.mark.parametrize("field", range(8))
def test_no_field_can_be_changed(field: int) -> None:
    values = json.loads(base64.b64decode(STAMP.sealed()))
    values[field] = 8 if field == 2 else "other"
    assert read(base64.b64encode(json.dumps(values).encode()).decode()) is None


@pytest.mark.parametrize("signature", ["", "x", "MQ==", "e30=", "W10=", "WzEsMl0=", "é", "bnVsbA=="])
def test_anything_else_is_nobodys(signature: str) -> None:
    assert read(signature) is None


def test_blocks_are_known_by_what_is_sealed_in_them() -> None:
    shown = {"type": "thinking", "thinking": "a", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "s"}
    assert sealed_in(shown) == sealed_in(hidden) == "s"
    assert name_of(shown) == name_of(hidden) != name_of({**shown, "signature": "t"})
    assert is_thinking(shown)
    assert is_thinking(hidden)
    assert not is_thinking({"type": "text", "text": "a"})


def test_a_call_tells_its_model_whether_thinking_came_before_it() -> None:
    own = frozenset({"claude-opus-5-5"})
    thought, plain = (call_id("claude-opus-5-5", SEED, thought=done) for done in (True, False))
    assert was_thought_before(thought, own)
    assert not was_thought_before(plain, own)
    assert not was_thought_before(thought, frozenset({"claude-opus-5"}))
    assert not was_thought_before("call_1", own)
    assert len(thought) == len(plain) == len("toolu_01") + 22


def test_two_stamps_are_told_apart_by_any_field() -> None:
    assert replace(STAMP, tokens=8).sealed() != STAMP.sealed()
