"""The weekly report tells the week, and not the run, once there is a report before it."""

from dataclasses import replace
from datetime import date

from gateway.compat.catalog import Lifecycle
from gateway.control.papers.facts import Facts
from gateway.control.papers.weekly import Weekly, document, since_then, write
from gateway.core.evidence import Baseline, Evidence
from gateway.core.spec import Holdback
from gateway.core.stats.histogram import bin_of
from gateway.core.tally import ArmTotals, CheckCount, RunTally
from gateway.core.types import Arm, from_json, to_json
from tests.support.papers import DAY, ENROLLED, HURT, SPEC, Story, arm, climbing, rolled_back, tally


def soaking(spec: object = SPEC) -> Story:
    story = climbing("full", spec)  # type: ignore[arg-type]
    return story.do("automatic-advance", by="controller").wait(10 * DAY)


def text(facts: Facts, previous: Weekly | None = None) -> str:
    return write(facts, previous).markdown


def section(page: str, title: str) -> str:
    return page.split(f"## {title}\n\n")[1].split("\n\n## ")[0]


def test_the_first_report_tells_the_run() -> None:
    page = text(soaking().facts(runs={1: HURT}, enrolled=ENROLLED))
    assert page.startswith("# Weekly report of opus-4-5-to-5-5, 2027-02-07\n")
    assert "soaking since 2027-01-28T08:00:00Z, run 1, 210 units on the candidate and 205 on control." in page
    assert "Requests since the run began." in page
    assert "| requests | 4,000 | 1,200 | - |" in page


def test_the_next_one_tells_the_difference() -> None:
    story = soaking()
    first = write(story.facts(runs={1: tally(arm(4000), arm(9000, errors=9))}))
    story.wait(7 * DAY)
    second = write(story.facts(runs={1: tally(arm(4100), arm(10_000, errors=109))}), first)
    assert "Requests since the last report, 7 d ago." in second.markdown
    assert "| requests | 100 | 1,000 | - |" in second.markdown
    assert "| errors | 0 % | 10 % | - |" in second.markdown
    assert "Nothing was changed." in second.markdown
    assert second.arms[Arm.candidate].requests == 10_000


def test_another_runs_report_takes_nothing_off() -> None:
    story = rolled_back()
    first = write(story.facts(runs={1: HURT}))
    story.wait(DAY).do("restart")
    page = text(story.facts(runs={2: tally(arm(10), arm(20))}), first)
    assert "| requests | 10 | 20 | - |" in page


def test_counts_that_went_back_begin_anew() -> None:
    assert since_then(arm(5), arm(9)) == arm(5)


def test_everything_that_grows_is_taken_off() -> None:
    before = arm(
        10, errors=2, issues=1, ratings=2, rating_total=8.0, durations={bin_of(1.0): 8, bin_of(2.0): 2}
    )
    now = arm(
        15, errors=3, issues=4, ratings=3, rating_total=9.0, durations={bin_of(1.0): 13, bin_of(2.0): 2}
    )
    week = since_then(now, before)
    assert (week.requests, week.outcomes, week.issues) == (5, {"ok": 4, "upstream_error": 1}, 3)
    assert (week.ratings, week.rating_total, week.cost_microusd) == (1, 1.0, 50_000)
    assert week.durations == {bin_of(1.0): 5}


def test_what_happened_is_the_week_alone() -> None:
    story = soaking().do("pause", by="bob", reason="looking at answers")
    happened = section(text(story.facts()), "What happened")
    assert "| bob | pause | looking at answers |" in happened
    assert "start" not in happened


def promoted(**changes: object) -> Evidence:
    baseline = Baseline(
        at=1_801_000_000.0,
        arm=Arm.candidate,
        requests=9000,
        rates={"error": 0.01, "refusal": 0.0},
        cost_microusd=8_000,
        output_tokens=300,
        duration_p95_s=1.0,
    )
    return Evidence(run=1, promoted=replace(baseline, **changes))  # type: ignore[arg-type]


def test_drift_is_measured_against_the_promotion_with_the_gates_limits() -> None:
    facts = soaking().facts(runs={1: tally(arm(5), arm(1000, errors=30, cost=9_600))}, evidence=promoted())
    drift = section(text(facts), "Against the promotion")
    assert "| error | 1 % | 3 % | 3 × | 1.5 % |" in drift
    assert "| cost of a request | $0.008 | $0.0096 | 1.2 × | 1.15 × |" in drift
    assert "**error** has risen above 1.5 %" in drift
    assert "**cost of a request** has risen above 1.15 ×" in drift
    assert "**output tokens**" not in drift


def test_what_never_happened_before_the_promotion_and_happens_now_is_drift() -> None:
    lately = arm(1000, outcomes={"ok": 990, "refused": 10}, checks={"tool_error": CheckCount(9, 1)})
    facts = soaking().facts(runs={1: tally(arm(5), lately)}, evidence=promoted())
    drift = section(text(facts), "Against the promotion")
    assert "| refusal | 0 % | 1 % | - | 0.08 % |" in drift
    assert "**refusal** has risen above 0.08 %" in drift


def test_one_failure_where_little_was_known_at_the_promotion_is_no_rise() -> None:
    lately = arm(1000, outcomes={"ok": 998, "refused": 2}, cost=8_000)
    early = promoted(requests=800, rates={"refusal": 0.0})
    drift = section(
        text(soaking().facts(runs={1: tally(arm(5), lately)}, evidence=early)), "Against the promotion"
    )
    assert "| refusal | 0 % | 0.20 % | - |" in drift
    assert "nothing has risen above its limit" in drift


def test_checks_of_the_week_are_the_difference_too() -> None:
    before, now = (
        arm(10, checks={"a": CheckCount(5, 1)}),
        arm(20, checks={"a": CheckCount(9, 4), "b": CheckCount(1, 1)}),
    )
    assert since_then(now, before).checks == {"a": CheckCount(4, 3), "b": CheckCount(1, 1)}


def test_without_drift_it_says_so_and_without_a_promotion_nothing() -> None:
    runs = {1: tally(arm(5), arm(1000, errors=10, cost=8_000))}
    assert "nothing has risen above its limit" in text(soaking().facts(runs=runs, evidence=promoted()))
    assert "Against the promotion" not in text(soaking().facts(runs=runs))
    other = replace(promoted(), run=7)
    assert "Against the promotion" not in text(soaking().facts(runs=runs, evidence=other))


def test_a_quiet_week_makes_no_drift() -> None:
    drift = section(text(soaking().facts(runs={1: RunTally()}, evidence=promoted())), "Against the promotion")
    assert "| cost of a request | $0.008 | not known | - |" in drift
    assert "nothing has risen" in drift


def test_cost_is_told_with_what_control_would_have_cost() -> None:
    cost = section(text(soaking().facts(runs={1: HURT})), "Cost")
    assert "$40.00 on control, $14.40 on the candidate" in cost
    assert "cost $2.40 more than control would have" in cost
    silent = tally(ArmTotals(requests=5), ArmTotals())
    assert "nothing was priced" in text(soaking().facts(runs={1: silent}))


def test_what_to_do_in_the_soak_hangs_on_the_holdback() -> None:
    assert "2 % are held back on control until 2027-06-01" in text(soaking().facts())
    assert "without an end: give it one" in text(soaking(replace(SPEC, holdback=Holdback(2))).facts())
    over = soaking(replace(SPEC, holdback=Holdback(2, "2027-02-01")))
    assert "`gateway migration complete opus-4-5-to-5-5`" in text(over.facts())


def test_a_retirement_that_comes_near_is_urgent() -> None:
    facts = soaking().facts()
    assert facts.control is not None
    for retires, words in (
        (date(2027, 12, 1), "the old model `claude-opus-4-5-20251101` retires on 2027-12-01, in 297 days"),
        (date(2027, 3, 1), "**be done by then** - the old model"),
        (date(2027, 2, 1), "is retired since 2027-02-01: requests to it fail"),
    ):
        control = replace(facts.control, lifecycle=Lifecycle("deprecated", retires))
        assert words in section(text(replace(facts, control=control)), "What to do")


def test_a_pause_a_rollback_and_an_edited_file_ask_for_somebody() -> None:
    paused = climbing().do("pause").facts(file_spec=replace(SPEC, holdback=Holdback(3)))
    assert "it is paused (user) since" in text(paused)
    assert "its file differs" in text(paused)
    assert "read the incident" in text(rolled_back().facts())


def test_what_is_open_of_the_checklist_is_to_be_done() -> None:
    assert "Evals have passed (`evals`)" in text(Story().facts())
    completed = soaking().do("complete")
    assert "30 days have passed" in text(completed.facts())
    assert section(text(climbing().facts()), "What to do").strip() == "Nothing."


def test_it_is_kept_under_its_date_and_survives_the_store() -> None:
    written = write(soaking().facts(runs={1: HURT}))
    assert document(written) == "report:2027-02-07"
    assert from_json(to_json(written), Weekly) == written
