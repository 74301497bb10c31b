"""What the application would not know what to do with is hidden, or shown as it knows it."""

import json

import pytest

from gateway.compat.answer.plan import PLAIN, AnswerPlan
from gateway.compat.catalog import Model
from gateway.compat.request import Context, rewrite
from gateway.compat.rules.shown import UPDATES_BETA
from gateway.core.spec import CompatPolicy
from tests.support.requests import KEEP, Json, asked, listed
from tests.support.rows import H55, O5, O45, O46, O48, O55, S5, S45, S55, name

TOOLS: Json = {"tools": [{"name": "n", "input_schema": {"type": "object"}}]}
FORCED: Json = {**TOOLS, "tool_choice": {"type": "any"}}
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
        (H55, O55, FORCED, KEEP, True),  # makes forced calls without thinking
        (H55, O5, FORCED, KEEP, True),
        (H55, O48, FORCED, KEEP, False),  # does so itself
        (H55, O55, TOOLS, KEEP, False),
        (O5, O55, FORCED, KEEP, False),
    ],
    ids=name,
)
def test_what_nobody_asked_for_is_hidden(
    source: Model, target: Model, fields: Json, policy: CompatPolicy, hidden: bool
) -> None:
    done = rewrite(asked(source, **fields), source, target, policy)
    assert done.plan.hides_thinking is hidden
    assert ("unasked_thinking" in {change.rule for change in done.changes}) is hidden


UNSEEN: Json = {"thinking": {"type": "adaptive", "display": "omitted"}}
SEEN: Json = {"thinking": {"type": "adaptive", "display": "summarized"}}


@pytest.mark.parametrize(
    ("source", "target", "fields", "shows", "asks"),
    [
        (S45, S55, TOOLS, True, False),  # notes come with their text
        (O45, O55, TOOLS, True, True),  # silent unless asked for
        (O48, O55, {**TOOLS, **UNSEEN}, True, True),
        (O48, O55, {**TOOLS, **SEEN}, False, False),  # notes are not to be told from summaries
        (O48, O5, {**TOOLS, **UNSEEN}, False, False),
        (O55, S55, {**TOOLS, **UNSEEN}, False, False),  # the application knows such notes
        (O45, O55, {}, False, False),
        (O45, O48, TOOLS, False, False),
    ],
    ids=name,
)
def test_notes_are_shown_as_text_and_asked_for_where_they_are_silent(
    source: Model, target: Model, fields: Json, shows: bool, asks: bool
) -> None:
    context = Context(betas=("other",))
    done = rewrite(asked(source, **fields), source, target, AS_TEXT, context)
    assert done.plan.shows_notes is shows
    assert ("progress_notes=E" in listed(done)) is shows
    thinking = json.loads(done.body).get("thinking", {})
    assert (thinking.get("display") == "updates") is asks
    assert done.betas == (("other", UPDATES_BETA) if asks else None)
    assert done.violations == ()
    passed = rewrite(asked(source, **fields), source, target, KEEP, context)
    assert not passed.plan.shows_notes


@pytest.mark.parametrize("fallbacks", ["default", [{"model": O48.id}]])
def test_notes_are_not_asked_for_where_another_model_may_take_over(fallbacks: object) -> None:
    done = rewrite(asked(O5, **TOOLS, fallbacks=fallbacks), O5, O55, AS_TEXT)
    assert not done.plan.shows_notes
    assert b'"updates"' not in done.body


def test_the_beta_is_named_once() -> None:
    done = rewrite(asked(O45, **TOOLS), O45, O55, AS_TEXT, Context(betas=(UPDATES_BETA,)))
    assert done.betas is None


def test_classic_stop_reasons_are_told_of_the_other_model_only() -> None:
    policy = CompatPolicy(stop_reasons="classic")
    done = rewrite(asked(O45), O45, O46, policy)
    assert done.plan == AnswerPlan(classic_stops=True)
    assert "stop_reasons=E" in listed(done)
    assert rewrite(asked(O45), O45, O45, policy).plan == PLAIN


@pytest.mark.parametrize("target", [O45, O46], ids=name)
def test_the_requested_model_is_shown_whichever_serves(target: Model) -> None:
    policy = CompatPolicy(model_field="requested")
    envelope = asked(O45, model="claude-opus-4-5")
    done = rewrite(envelope, O45, target, policy)
    assert done.plan.shown_model == "claude-opus-4-5"
    assert listed(done)[-1] == "model_field=L"
    assert rewrite(envelope, O45, target, KEEP).plan.shown_model == ""
    assert rewrite(asked(O45), O45, O45, policy).plan == PLAIN


def test_counting_shows_no_answer() -> None:
    policy = CompatPolicy(model_field="requested", stop_reasons="classic", progress_notes="text")
    done = rewrite(asked(S45, **TOOLS), S45, S55, policy, Context(counting=True))
    assert done.plan == PLAIN
