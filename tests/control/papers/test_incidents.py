"""An incident says what stopped the run, who was hit, what happened and what to do."""

from dataclasses import replace

from gateway.control.papers.facts import Facts
from gateway.control.papers.incidents import IncidentPaper, extra_cost, write
from gateway.control.status import incidents_of
from gateway.core.evidence import Evidence, SequentialTest
from gateway.core.tally import ArmTotals
from gateway.core.types import from_json, to_json
from tests.support.papers import ENROLLED, HURT, NAME, Story, arm, climbing, replica, rolled_back


def paper(story: Story, facts: Facts | None = None) -> IncidentPaper:
    facts = facts or story.facts(runs={1: HURT}, enrolled=ENROLLED)
    return write(incidents_of(NAME, story.events)[-1], facts)


def test_the_first_sentence_says_it_all() -> None:
    text = paper(rolled_back()).markdown
    assert text.startswith(
        "# Incident 4 of opus-4-5-to-5-5\n\nThe migration from `claude-opus-4-5-20251101` to "
    )
    assert (
        "rolled back at 2027-01-20T08:42:00Z, 5 d 1 h after run 1 began and 42 min after `early` began"
        in text
    )
    assert "while the candidate had 25 %" in text
    assert "stopped by the gateway itself (controller); everybody left at once" in text


def test_the_evidence_is_there_with_both_arms_and_the_margin() -> None:
    written = paper(rolled_back())
    assert "- `error`: fail, the candidate fails 4.4 times as often as control" in written.markdown
    assert "| `error` | 0.02 | 0.09 | 4.4 × | - | 1.25 × | 205 | 210 |" in written.markdown
    assert "| `error` | 4 (2.0 %) | 18 (8.6 %) | 4.39 × | 1.25 × |" in written.markdown
    (compared,) = written.comparisons
    assert (compared.control_failed, compared.candidate_failed, compared.margin) == (4, 18, 1.25)


def test_how_strong_the_evidence_was_is_told_while_it_is_this_runs() -> None:
    story = rolled_back()
    evidence = Evidence(run=1, tests={"error": SequentialTest(peak=5.4), "refusal": SequentialTest()})
    facts = story.facts(runs={1: HURT}, enrolled=ENROLLED, evidence=evidence)
    assert "`error` 5.40 of 5.08 (p 0.0045)" in paper(story, facts).markdown
    assert "`refusal`" not in paper(story, facts).markdown
    later = replace(facts, evidence=replace(evidence, run=2))
    assert "5.40" not in paper(story, later).markdown


def test_who_was_hit_is_counted_and_the_rescued_are_told_apart() -> None:
    affected = paper(rolled_back()).affected
    assert (affected.units, affected.requests, affected.rescued) == (210, 1200, 35)
    assert affected.failing == {"upstream_error": 60}
    assert (affected.cost_microusd, affected.extra_cost_microusd) == (14_400_000, 2_400_000)


def test_what_callers_spoilt_or_left_is_nobodys_failure() -> None:
    story = rolled_back()
    outcomes = {"ok": 5, "client_error": 3, "disconnected": 2, "refused": 1}
    runs = {1: replace(HURT, arms={**HURT.arms, list(HURT.arms)[1]: arm(11, outcomes=outcomes)})}
    assert paper(story, story.facts(runs=runs)).affected.failing == {"refused": 1}


def test_the_newest_failing_requests_are_named_and_no_words_of_theirs() -> None:
    text = paper(rolled_back()).markdown
    assert "`req_29`" in text
    assert "`req_2`" not in text
    assert "req_control" not in text


def test_the_timeline_runs_from_the_start_to_what_came_after() -> None:
    story = rolled_back().wait(60).prove("rehearsal")
    story.do("restart")
    what = [moment.what for moment in paper(story, story.facts(runs={1: HURT})).timeline]
    assert what[0] == "start → stage 1 at 0 %: the plan is agreed"
    assert what[2].startswith("automatic-advance → stage 3 at 25 %")
    assert what[3].startswith("automatic-rollback → rolled back at 0 %")
    assert what[4:] == ["proof: rehearsal of the night"]


def test_pauses_and_approvals_stand_in_the_timeline_without_a_stage() -> None:
    story = climbing("half").do("pause", reason="lunch").do("resume").do("approve", by="bob")
    what = [moment.what for moment in paper(story.do("rollback")).timeline]
    assert what[-4:-1] == ["pause: lunch", "resume", "approve"]


def test_it_says_of_every_replica_when_it_last_asked_the_candidate() -> None:
    story = rolled_back()
    replicas = (
        replica(story, sent_s=0.02),
        replica(story, "r2", sent_s=6, obeys=False),
        replica(story, "r3"),
    )
    written = paper(story, story.facts(runs={1: HURT}, replicas=replicas))
    assert set(written.last_candidate_request) == {"r1", "r2"}
    assert "`r1` obeys; its last request to the candidate began" in written.markdown
    assert "20 ms before the rollback" in written.markdown
    assert "`r2` **has not acknowledged**" in written.markdown
    assert "`r3` obeys; it has sent the candidate nothing since it began" in written.markdown


def test_one_that_drains_says_so_and_how_to_end_it() -> None:
    text = paper(climbing().do("rollback", mode="drain", evidence={"mode": "drain"})).markdown
    assert "running conversations were let finish" in text
    assert "it drains" in text
    assert "--mode evict" in text


def test_a_provider_that_is_sick_is_named() -> None:
    gates = [
        {"name": "error_rate", "verdict": "inconclusive", "reason": "the provider is failing", "evidence": {}}
    ]
    text = paper(climbing().do("rollback", evidence={"gates": gates})).markdown
    assert "that speaks for the provider" in text


def test_one_by_hand_has_its_reason_and_one_without_says_so() -> None:
    assert (
        "answers in French" in paper(climbing().do("emergency-rollback", reason="answers in French")).markdown
    )
    text = paper(climbing().do("emergency-rollback")).markdown
    assert "No reason was given." in text
    assert "a person, by emergency rollback" in text


def test_an_old_one_says_that_things_have_moved_on() -> None:
    story = rolled_back().wait(60)
    story.do("restart")
    text = paper(story, story.facts(runs={1: HURT}, enrolled=ENROLLED)).markdown
    assert "it is running in run 2" in text
    assert "everybody is on control" not in text
    assert "another run has begun since: `gateway migration status" in text
    assert "# Incident 4" in text


def test_it_survives_the_store() -> None:
    written = paper(rolled_back())
    assert from_json(to_json(written), IncidentPaper) == written


def test_words_of_people_mark_nothing_up() -> None:
    text = paper(climbing().do("rollback", by="a|b", reason="# <script> `x`")).markdown
    assert r"\# \<script\> \`x\`" in text
    assert r"a\|b" in text


def test_without_prices_nobody_knows_what_it_cost_more() -> None:
    assert extra_cost(ArmTotals(), arm(10)) is None
    assert extra_cost(arm(10, cost=5), arm(10, cost=7)) == 20
