"""What each check says of an answer: yes, no, or nothing."""

from dataclasses import replace

import pytest

from gateway.core.booking import Place
from gateway.core.checks import TOOL_ERROR, compile_checks, judge
from gateway.core.spec import Check
from gateway.core.tap import AnswerCopy, ToolCall
from gateway.core.types import Arm, to_json

BOOK = {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]}
TOOLS = to_json([{"name": "book", "input_schema": BOOK}, {"name": "find", "input_schema": {}}])
SAID = AnswerCopy(
    migration="m",
    place=Place(Arm.candidate, 1, 1, "u", True),
    request_id="gw_1",
    task="extraction",
    text='{"total": 7}',
    tool_calls=(),
    tools=b"",
    stop_reason="end_turn",
)
CALLED = replace(
    SAID,
    text="",
    tool_calls=(ToolCall("book", b'{"seats": 2}'),),
    tools=TOOLS,
    stop_reason="tool_use",
)
TEXT_CHECKS = (
    Check("json", name="a"),
    Check("json_schema", name="b", schema='{"required": ["total"]}'),
    Check("regex", name="c", pattern="total"),
    Check("max_chars", name="d", max_chars=100),
    Check("not_empty", name="e"),
)


def one(check: Check, copy: AnswerCopy) -> bool | None:
    """What a single check says of an answer; None: it does not apply."""
    return judge(compile_checks([replace(check, name="it")]), copy).get("it")


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"a": 1}', True),
        ("\n [1, 2]\t\n", True),
        ('"words"', True),
        ("7", True),
        ("", False),
        ("{", False),
        ('{"a": 1', False),
        ('Here it is: {"a": 1}', False),
        ('```json\n{"a": 1}\n```', False),
        ("{'a': 1}", False),
        ("NaN", False),
        ("[" * 100_000, False),
    ],
)
def test_json_is_json_and_nothing_around_it(text: str, valid: bool) -> None:
    assert one(Check("json"), replace(SAID, text=text)) is valid


@pytest.mark.parametrize(
    ("text", "fits"),
    [('{"total": 7}', True), ('{"total": "7"}', False), ("{}", False), ("[]", False), ("{", False)],
)
def test_json_by_a_schema(text: str, fits: bool) -> None:
    schema = '{"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}}'
    assert one(Check("json_schema", schema=schema), replace(SAID, text=text)) is fits


def test_the_other_checks_of_text() -> None:
    assert one(Check("regex", pattern="to+tal"), SAID) is True
    assert one(Check("regex", pattern="^total"), SAID) is False
    assert one(Check("max_chars", max_chars=12), SAID) is True
    assert one(Check("max_chars", max_chars=11), SAID) is False
    assert one(Check("max_chars", max_chars=3), replace(SAID, text="äöü")) is True, "characters, not bytes"
    assert one(Check("not_empty"), SAID) is True
    assert one(Check("not_empty"), replace(SAID, text=" \n ")) is False


@pytest.mark.parametrize(
    ("name", "given", "valid"),
    [
        ("book", b'{"seats": 2}', True),
        ("book", b'{"seats": "two"}', False),
        ("book", b"{}", False),
        ("book", b"[1]", False),
        ("book", b'{"seats": 2', False),
        ("find", b'{"anything": true}', True),
    ],
)
def test_the_input_of_a_tool_call_satisfies_the_tools_schema(name: str, given: bytes, valid: bool) -> None:
    copy = replace(CALLED, tool_calls=(ToolCall(name, given),))
    assert one(Check("tool_input_valid"), copy) is valid
    assert judge((), copy) == {TOOL_ERROR: valid}


def test_one_bad_call_among_good_ones_is_bad() -> None:
    calls = (ToolCall("book", b'{"seats": 2}'), ToolCall("book", b"{}"))
    assert judge((), replace(CALLED, tool_calls=calls)) == {TOOL_ERROR: False}


def test_a_tool_that_was_not_offered_is_an_error_whatever_its_input() -> None:
    copy = replace(CALLED, tool_calls=(ToolCall("sell", b"{}"),))
    assert judge(compile_checks([Check("tool_input_valid", name="v")]), copy) == {
        "v": True,
        TOOL_ERROR: False,
    }


def test_checks_of_calls_say_nothing_without_calls_or_without_tools() -> None:
    assert judge(compile_checks([Check("tool_input_valid")]), replace(SAID, tools=TOOLS)) == {}
    assert judge((), replace(CALLED, tools=b"")) == {}


def test_a_call_that_max_tokens_may_have_cut_is_not_held_against_the_model() -> None:
    cut = replace(CALLED, tool_calls=(ToolCall("book", b'{"sea'),), stop_reason="max_tokens")
    assert judge(compile_checks([Check("tool_input_valid")]), cut) == {}


@pytest.mark.parametrize("text", ["", "Let me look that up."])
def test_an_answer_that_calls_tools_has_no_text_to_judge_yet(text: str) -> None:
    assert judge(compile_checks(TEXT_CHECKS), replace(CALLED, text=text)) == {TOOL_ERROR: True}


@pytest.mark.parametrize("reason", ["refusal", "pause_turn", "compaction"])
def test_what_is_no_answer_is_judged_by_no_check(reason: str) -> None:
    assert judge(compile_checks(TEXT_CHECKS), replace(SAID, text="", stop_reason=reason)) == {}
    assert judge((), replace(CALLED, tool_calls=(ToolCall("x", b"["),), stop_reason=reason)) == {}


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_json_that_was_cut_is_broken_even_where_the_rest_could_be_read(reason: str) -> None:
    said = judge(compile_checks(TEXT_CHECKS), replace(SAID, stop_reason=reason))
    assert said == {"a": False, "b": False, "c": True, "d": True, "e": True}


def test_a_check_is_for_its_task_or_for_all() -> None:
    checks = compile_checks([
        Check("json", task="extraction", name="of it"),
        Check("json", task="chat", name="of another"),
        Check("not_empty", name="of all"),
    ])  # fmt: skip
    assert judge(checks, SAID) == {"of it": True, "of all": True}
    assert judge(checks, replace(SAID, task="")) == {"of all": True}
    assert [check.covers("chat") for check in checks] == [False, True, True]


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (Check("json_schema"), r"^checks\.1\.schema: .*needs a schema"),
        (Check("json_schema", schema="{"), r"^checks\.1\.schema: the schema is not JSON"),
        (Check("json_schema", schema='{"type": "strin"}'), r"^checks\.1\.schema: .*strin"),
        (Check("json_schema", schema='{"$ref": "https://example.com/s"}'), r"^checks\.1\.schema: .*fetch"),
        (Check("regex"), r"^checks\.1\.pattern: .*needs a pattern"),
        (Check("regex", pattern="(?=a)"), r"^checks\.1\.pattern: .*linear time"),
        (Check("max_chars"), r"^checks\.1\.max_chars: .*1 or more"),
    ],
)
def test_a_mistake_names_its_place_and_reason(check: Check, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        compile_checks([Check("json"), check])


def test_an_unnamed_check_goes_by_its_kind() -> None:
    assert [check.name for check in compile_checks([Check("json")])] == ["json"]
