"""A plan is plain data: a batch keeps it until its results are fetched."""

import pytest

from gateway.compat.answer.plan import PLAIN, AnswerPlan, ForcedCall, pack, unpack

WHOLE = AnswerPlan(
    prefill='{"\u2603',
    intent="json",
    continued=True,
    quoted="\u2603",
    hides_thinking=True,
    shows_notes=True,
    forced=ForcedCall("look", wrapped=True),
    tool_names=(("look", "see"),),
    classic_stops=True,
    shown_model="asked",
    repeats=True,
)


@pytest.mark.parametrize("plan", [PLAIN, WHOLE, AnswerPlan(forced=ForcedCall())])
def test_a_plan_is_read_as_it_was_written(plan: AnswerPlan) -> None:
    assert unpack(pack(plan)) == plan


@pytest.mark.parametrize("data", [b"", b"[]", b'{"prefill": 5}', b'{"intent": "other"}'])
def test_what_is_no_plan_is_not_read(data: bytes) -> None:
    assert unpack(data) is None


@pytest.mark.parametrize(
    ("plan", "does_something", "keeps"),
    [
        (PLAIN, False, False),
        (AnswerPlan(prefill="{"), True, True),
        (AnswerPlan(hides_thinking=True), True, True),
        (AnswerPlan(shows_notes=True), True, True),
        (AnswerPlan(forced=ForcedCall()), True, True),
        (AnswerPlan(repeats=True), True, True),
        (AnswerPlan(classic_stops=True), True, False),
        (AnswerPlan(shown_model="m"), True, False),
        (AnswerPlan(tool_names=(("a", "b"),)), True, False),
    ],
)
def test_only_what_later_turns_may_need_is_kept(plan: AnswerPlan, does_something: bool, keeps: bool) -> None:
    assert (bool(plan), plan.keeps) == (does_something, keeps)
