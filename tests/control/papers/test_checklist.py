"""The checklist knows what is proved, what a named person answers for, and what is open."""

from dataclasses import replace

import pytest

from gateway.control.papers.checklist import Item, make, open_items, tick
from gateway.control.papers.facts import Facts
from gateway.core.spec import Holdback, OnRollback
from gateway.core.types import Arm, fingerprint
from gateway.errors import BadRequest
from tests.support.papers import DAY, ENROLLED, HOUR, SPEC, Story, arm, climbing, rolled_back, tally, window

PRE = ["baseline", "evals", "rehearsal", "prices", "served", "sinks", "alerts", "plan", "prompts"]


def item(facts: Facts, name: str) -> Item:
    return next(each for each in make(facts).items if each.id == name)


def state(facts: Facts, name: str) -> str:
    return item(facts, name).state


def ticked(story: Story, *items: str, note: str = "seen") -> Story:
    for each in items:
        event = tick(story.facts(), each, note, by="bob")
        story.events.append(replace(event, seq=len(story.events) + 1))
    return story


def completed() -> Story:
    story = climbing("full").do("automatic-advance", by="controller").wait(DAY).do("complete")
    return story


# --- before -----------------------------------------------------------------------------------------------


def test_a_fresh_migration_says_what_is_missing() -> None:
    facts = Story().facts()
    assert [each.id for each in make(facts).items if each.part == "pre"] == PRE
    assert [line.partition("(")[2].partition(")")[0] for line in open_items(facts)] == [
        "baseline", "evals", "rehearsal", "served", "alerts", "plan", "prompts",
    ]  # fmt: skip


def test_control_is_recorded_once_it_was_seen_enough_or_somebody_proved_it() -> None:
    assert state(Story().facts(runs={0: tally(arm(99))}), "baseline") == "open"
    assert state(Story().facts(runs={0: tally(arm(100))}), "baseline") == "done"
    assert state(Story().prove("baseline").facts(), "baseline") == "done"


def test_the_last_proof_counts() -> None:
    story = Story().prove("evals")
    assert state(story.facts(), "evals") == "done"
    assert (
        "handed in by ci at 2027-01-15T08:00:00Z: evals of the night" in item(story.facts(), "evals").evidence
    )
    story.prove("evals", passed=False)
    assert state(story.facts(), "evals") == "open"
    assert "the last one failed" in item(story.facts(), "evals").evidence


def test_a_rehearsal_holds_for_this_configuration_and_for_thirty_days() -> None:
    story = Story().prove("rehearsal", fingerprint=fingerprint(SPEC))
    assert state(story.facts(), "rehearsal") == "done"
    edited = replace(SPEC, holdback=Holdback(3))
    assert "not this configuration" in item(story.facts(file_spec=edited), "rehearsal").evidence
    assert state(story.wait(31 * DAY).facts(), "rehearsal") == "open"
    assert state(Story().prove("rehearsal").facts(), "rehearsal") == "open"


def test_both_models_need_a_price() -> None:
    facts = Story().facts()
    assert state(facts, "prices") == "done"
    assert facts.candidate is not None
    unpriced = replace(facts, candidate=replace(facts.candidate, prices=None))
    assert "no price of claude-opus-5-5" in item(unpriced, "prices").evidence
    assert state(replace(facts, control=None), "prices") == "open"


def test_what_the_candidate_lacks_is_named() -> None:
    facts = Story().facts()
    assert "output format" in item(facts, "served").evidence
    same = replace(facts, control=facts.candidate)
    assert state(same, "served") == "done"
    assert facts.candidate is not None
    smaller = replace(same, candidate=replace(facts.candidate, context_tokens=1000, max_output_tokens=10))
    assert "a context of more than 1,000 tokens, answers of more than 10" in item(smaller, "served").evidence
    assert state(replace(facts, candidate=None), "served") == "open"


def test_somebody_must_be_notified() -> None:
    assert item(Story().facts(), "sinks").evidence == "told: ops, slack"
    nobody = replace(SPEC, notify=(), on_rollback=OnRollback())
    assert state(Story(nobody).facts(), "sinks") == "open"


def test_a_sink_that_nobody_configured_hears_of_nothing() -> None:
    facts = Story().facts(sinks=frozenset({"ops"}))
    assert state(facts, "sinks") == "open"
    assert item(facts, "sinks").evidence.endswith(": slack")


def test_a_tick_names_its_author_and_note() -> None:
    found = item(ticked(Story(), "alerts", note="paged ann").facts(), "alerts")
    assert (found.state, found.proof) == ("done", "person")
    assert found.evidence == "ticked by bob at 2027-01-15T08:00:00Z: paged ann"


def test_a_tick_before_the_run_holds_for_the_configuration_that_it_was_made_on() -> None:
    story = ticked(Story(), "plan")
    assert state(story.facts(), "plan") == "done"
    assert state(story.facts(file_spec=replace(SPEC, holdback=Holdback(3))), "plan") == "open"


def test_a_person_may_answer_for_what_is_proved_by_itself_as_well() -> None:
    found = item(ticked(Story(), "evals").facts(), "evals")
    assert (found.state, found.proof) == ("done", "person")


def test_with_everything_proved_nothing_is_open() -> None:
    story = ticked(Story(), "served", "alerts", "plan", "prompts").prove("evals").prove("baseline")
    story.prove("rehearsal", fingerprint=fingerprint(SPEC))
    assert open_items(story.facts()) == []
    assert make(story.facts()).blocking == ()


def test_an_item_that_there_is_not_cannot_be_ticked() -> None:
    with pytest.raises(BadRequest, match="there is no 'coffee'; known: baseline, evals"):
        tick(Story().facts(), "coffee", "", by="bob")
    without = replace(SPEC, holdback=Holdback())
    with pytest.raises(BadRequest, match="does not apply: nobody is held back"):
        tick(Story(without).facts(), "holdback", "", by="bob")


# --- during -----------------------------------------------------------------------------------------------


def test_stages_are_proved_as_they_were_run() -> None:
    story = climbing("canary").wait(HOUR).do("pause").wait(2 * HOUR).do("resume").wait(DAY)
    facts = story.facts(enrolled=ENROLLED)
    assert item(facts, "stage:internal").evidence == (
        "entered at 2027-01-15T08:00:00Z, ran 3 d, ended by automatic-advance"
    )
    canary = item(facts, "stage:canary")
    assert canary.state == "open"
    assert "ran 1 d 1 h, paused 2 h; 210 units on the candidate and 205 on control so far" in canary.evidence
    assert state(facts, "stage:early") == "open"


def test_units_are_told_as_the_gate_saw_them_when_the_stage_was_left() -> None:
    gates = [{"name": "min_units", "verdict": "pass", "evidence": {"candidate": 213, "control": 208}}]
    story = climbing("canary").wait(2 * DAY)
    story.do("automatic-advance", by="controller", evidence={"gates": gates})
    assert "ran 2 d, 213 units on the candidate and 208 on control, ended" in (
        item(story.facts(), "stage:canary").evidence
    )


def test_a_stage_that_was_left_backwards_is_not_done() -> None:
    assert state(rolled_back("canary").facts(), "stage:canary") == "open"
    assert "ended by automatic-rollback" in item(rolled_back("canary").facts(), "stage:canary").evidence


def test_a_stage_that_was_skipped_does_not_apply_once_the_top_is_reached() -> None:
    story = Story().do("start").do("set-weight", percent=100).do("advance").do("advance")
    assert story.state.phase == "soaking"
    assert state(story.facts(), "stage:canary") == "not_applicable"


def test_an_approval_is_proved_by_its_event() -> None:
    story = climbing("half")
    assert state(story.facts(), "approval:half") == "open"
    story.do("approve", by="bob")
    assert item(story.facts(), "approval:half").evidence == "by bob at 2027-01-23T08:00:00Z"


def test_an_incident_is_open_until_somebody_answers_for_it() -> None:
    assert state(Story().facts(), "incidents") == "open"
    assert state(climbing().facts(), "incidents") == "done"
    story = rolled_back()
    assert state(story.facts(), "incidents") == "open"
    assert state(ticked(story, "incidents").facts(), "incidents") == "done"
    story.do("restart")
    assert state(story.facts(), "incidents") == "done"


# --- after ------------------------------------------------------------------------------------------------


def test_thirty_days_are_counted_from_the_completion() -> None:
    story = completed()
    assert item(story.facts(), "thirty_days").evidence == "30 d to go"
    assert state(story.wait(30 * DAY).facts(), "thirty_days") == "done"
    assert state(climbing().facts(), "thirty_days") == "open"


def test_the_old_ids_are_gone_when_nobody_asked_for_them_lately() -> None:
    story = completed()
    assert "nothing was counted" in item(story.facts(), "traffic").evidence
    assert state(story.facts(windows={3600.0: window(3, 1)}), "traffic") == "open"
    quiet = story.facts(windows={3600.0: {arm_: window(0, 0)[arm_] for arm_ in Arm}})
    assert item(quiet, "traffic").evidence.startswith("0 requests for claude-opus-4-5")
    assert state(quiet, "traffic") == "done"


def test_the_file_and_the_holdback_come_last() -> None:
    story = completed()
    assert state(story.facts(), "file") == "open"
    assert state(story.facts(file_spec=None), "file") == "done"
    assert state(story.facts(), "holdback") == "done"
    assert "which is still ahead" in item(climbing().facts(), "holdback").evidence
    assert "is over" in item(climbing().wait(200 * DAY).facts(), "holdback").evidence
    endless = replace(SPEC, holdback=Holdback(2))
    assert "without an end" in item(Story(endless).facts(), "holdback").evidence


def test_a_tick_of_one_run_is_not_the_next_ones() -> None:
    story = ticked(rolled_back(), "golden")
    assert state(story.facts(), "golden") == "done"
    story.do("restart")
    assert state(story.facts(), "golden") == "open"


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_says_whether_it_refuses_a_start() -> None:
    required, advice = make(Story().facts()), make(Story(replace(SPEC, checklist="advisory")).facts())
    assert (required.required, advice.required) == (True, False)
    assert "A start is refused while" in required.markdown
    assert "It is advice" in advice.markdown
    assert (
        "- [x] **Prices are known for both models** (`prices`, auto): the catalogue has both"
        in advice.markdown
    )
    assert advice.markdown.index("## Before") < advice.markdown.index("## During")
