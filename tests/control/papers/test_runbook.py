"""The runbook of one migration has its own numbers."""

from dataclasses import replace
from datetime import date

import pytest

from gateway.compat.catalog import Lifecycle
from gateway.control.papers.facts import Facts
from gateway.control.papers.plan import make
from gateway.control.papers.runbook import write
from gateway.control.papers.traffic import observe
from gateway.core.spec import Check, CompatPolicy, Freeze, Lists, MigrationSpec, Stage
from gateway.core.tally import Case, CheckCount
from tests.support.papers import BEGAN, HURT, SPEC, Story, arm, climbing, rolled_back, tally, window


def runbook(facts: Facts) -> str:
    return write(facts, make(facts, observe(facts)))


def of(**changes: object) -> str:
    return runbook(Story(replace(SPEC, **changes)).facts())  # type: ignore[arg-type]


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n\n")[1].split("\n\n## ")[0]


def test_it_says_what_changes_with_prices_and_retirement() -> None:
    facts = Story().facts()
    assert facts.control is not None
    leaving = replace(facts.control, lifecycle=Lifecycle("deprecated", date(2027, 2, 14)))
    text = section(runbook(replace(facts, control=leaving)), "What changes")
    assert (
        "| control | `claude-opus-4-5-20251101` | 5 / 25 | 200,000 | 64,000 | 2027-02-14, in 30 days |"
        in text
    )
    assert "| candidate | `claude-opus-5-5` | 4 / 20 | 1,000,000 | 128,000 | no date |" in text
    assert "counts tokens differently" in text
    gone = replace(leaving, lifecycle=Lifecycle("retired", date(2027, 1, 1)))
    assert "**since 2027-01-01**" in runbook(replace(facts, control=gone))
    assert "`claude-opus-5-5` | not known" in runbook(replace(facts, candidate=None))


def test_it_says_in_words_where_the_run_is() -> None:
    assert "it has not been started. The configuration below is the migration's file." in runbook(
        Story().facts()
    )
    assert "run 1 is rolled back. " in runbook(rolled_back().facts())


def test_it_says_who_is_hit_and_who_is_not() -> None:
    text = section(runbook(Story().facts()), "Who is hit, and when")
    assert "first of: header, user, session" in text
    assert "tasks `internal`, 0 users by name" in text
    assert "2 % until 2027-06-01" in text
    assert "| canary | 5 % |" in text
    assert "never on the candidate: 2 users by name" in of(lists=Lists(deny_users=("a", "b")))


def test_no_name_of_a_listed_user_is_in_it() -> None:
    text = of(lists=Lists(allow_users=("alice@example.com",), deny_users=("bob@example.com",)))
    assert "example.com" not in text


def test_every_stage_has_its_criteria() -> None:
    text = section(runbook(Story().facts()), "What each stage must show")
    assert (
        "**canary**, 5 %: hold 2 d of watched time; 200 units in each arm; at most 3 % of quality checks"
        in text
    )
    assert "an approval by somebody who did not start it" in text
    assert "**full**, 100 %: then soaking, as soon as nothing is red" in text


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage("s", 5), "left by hand"),
        (Stage("s", 5, hold_s=60, require="non_inferior"), "proof that nothing is worse"),
        (
            Stage("s", 5, hold_s=60, max_duration_s=7200, on_max_duration="rollback"),
            "after 2 h without a result: rollback",
        ),
        (
            Stage("s", 5, hold_s=60, approval=True, approval_deadline_s=3600, on_deadline="rollback"),
            "an approval within 1 h, else rollback",
        ),
    ],
)
def test_what_a_stage_asks_for_is_said(stage: Stage, words: str) -> None:
    assert words in of(stages=(stage, Stage("full", 100)))


def test_what_stops_it_is_named_with_its_limits() -> None:
    text = section(runbook(Story().facts()), "What stops it")
    assert (
        "| `error_rate` | share of requests that end in an error | 5 % | 5 min | 20 requests from 5 units |"
        in text
    )
    assert "| `quality_issues` | units that complained | 3 | 1 h | any |" in text
    assert "`refusal` 1.5 ×" in text
    assert (
        "check `extract-json` (json, task `extract`): at least 95 % pass and units fail at most 1.25 ×"
        in text
    )
    assert "`ttft` 1.2 ×" in text


def test_a_check_without_limits_is_only_counted() -> None:
    text = of(checks=(Check("not_empty", name="said", min_pass=None, max_ratio=None),))
    assert "check `said` (not_empty, every task): counted only" in text


def test_a_ramp_by_hand_says_that_people_advance_it() -> None:
    assert "it advances nothing" in of(stages=(Stage("one", 5), Stage("full", 100)))
    assert "it advances when a stage's criteria are met" in of()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SPEC, "`extract`: checked because it matters"),
        (replace(SPEC, checks=()), "`internal`: first on the candidate"),
        (replace(SPEC, checks=(), lists=Lists()), "not known: no task is named"),
        (
            replace(SPEC, compat=CompatPolicy(tasks={"draft": CompatPolicy()})),
            "`draft`: rewritten by rules of their own",
        ),
    ],
)
def test_before_anything_was_counted_the_task_to_watch_is_the_configurations(
    spec: MigrationSpec, words: str
) -> None:
    assert words in section(runbook(Story(spec).facts()), "What to watch most carefully")


def test_the_task_to_watch_is_the_one_that_fails() -> None:
    text = section(runbook(climbing().facts(runs={1: HURT})), "What to watch most carefully")
    assert (
        "**extract**: of all checks, `extract-json` fails most, 30 of 120 of candidate's answers (25 %)"
        in text
    )
    assert "**extract**: 30 of the candidate's newest failing requests are of it" in text


def test_a_task_of_callers_marks_nothing_up() -> None:
    cases = (Case(BEGAN, "candidate", "req_1", "<b>|x", "error"),)
    text = runbook(climbing().facts(runs={1: tally(arm(10), arm(10), *cases)}))
    assert r"**\<b\>\|x**" in text


def test_a_check_that_nobody_failed_is_no_reason() -> None:
    counted = tally(arm(10), arm(10, checks={"extract-json": CheckCount(50, 0)}))
    assert "no answer has failed a check yet" in runbook(climbing().facts(runs={1: counted}))


def test_commands_are_whole_and_hold_no_secret() -> None:
    text = section(runbook(Story().facts()), "Commands")
    for verb in ("start", "status", "pause", "rollback", "emergency-rollback", "approve"):
        assert f"gateway migration {verb} opus-4-5-to-5-5" in text
    assert "/admin/migrations/opus-4-5-to-5-5/actions/emergency-rollback" in text
    assert "GATEWAY_ADMIN_TOKEN=TOKEN" in text


def test_people_approvals_and_freezes_are_named() -> None:
    text = section(runbook(Story().facts()), "People")
    assert "leaving **half** needs an approval by somebody who did not start it" in text
    assert "freeze **weekend**: nothing advances sat, sun, the whole day (UTC)" in text
    assert "told of every change: `ops`; of a rollback: `slack`" in text
    dated = Freeze("launch", since="2027-03-01", until="2027-03-05", timezone="Europe/Berlin")
    assert "from 2027-03-01 until 2027-03-05 (Europe/Berlin)" in of(freeze=(dated,))
    nightly = Freeze("night", starts="22:00", ends="06:00")
    assert "every day, 22:00 to 06:00 (UTC)" in of(freeze=(nightly,))
    nobody = of(freeze=(), stages=(Stage("full", 100),))
    assert "no stage needs an approval" in nobody
    assert "no freeze is configured" in nobody


def test_what_is_open_before_a_start_is_listed() -> None:
    text = section(runbook(Story().facts()), "Still open before a start")
    assert "Evals have passed (`evals`): no proof `evals` was handed in" in text


def test_costs_are_the_plans() -> None:
    facts = Story().facts(runs={0: tally(arm(5000))}, windows={3600.0: window(2400, 64)})
    assert "less than control alone in 30 days" in section(runbook(facts), "What it costs")
