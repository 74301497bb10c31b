"""What people read: every change that the state machine can make, in words that stand for themselves."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.control.notify.sinks import CHANGES
from gateway.control.notify.templates import MAX_GATES, MAX_SAID, Message, change_of, message
from gateway.core.rollout import TABLE, Order, Verb, carry_out, summary
from gateway.core.spec import Holdback, MigrationSpec, Stage
from gateway.core.types import Event, MigrationState, Phase

NOW = 1_800_000_000.0
SPEC = MigrationSpec(
    "m",
    "old-model",
    "new-model",
    ("asked-model",),
    (
        Stage("canary", 5.0, 3600),
        Stage("half", 50.0, 3600, approval=True, approval_by_another=True, approval_deadline_s=172_800),
        Stage("full", 100.0),
    ),
)
GATE = {"name": "error_rate", "verdict": "fail", "reason": "12 % of 210, at most 5 %", "evidence": {}}


class Run:
    """A migration that is led through its verbs, each of which is told."""

    def __init__(self, spec: MigrationSpec = SPEC) -> None:
        self.spec, self.state, self.seq = spec, MigrationState("m"), 0

    def event(
        self, verb: Verb, by: str = "ada", evidence: dict[str, Any] | None = None, **order: Any
    ) -> Event:
        asked = Order(verb, by, NOW, **order)
        before, self.state = self.state, carry_out(self.state, asked, self.spec)
        self.seq += 1
        return Event(
            NOW, by, verb, asked.reason, summary(before), summary(self.state), evidence or {}, self.seq
        )

    def told(self, verb: Verb, **order: Any) -> Message:
        told = message("m", self.event(verb, **order), self.spec)
        assert told is not None
        return told

    def at(self, *verbs: Verb) -> "Run":
        for verb in verbs:
            self.event(verb, by="bob" if verb == "start" else "ada")
        return self


def commands(told: Message) -> list[str]:
    return [command.removeprefix("gateway migration ") for command in told.commands]


# --- which events are changes -------------------------------------------------------------------------------


def test_whatever_the_state_machine_does_is_told_but_for_a_baseline() -> None:
    untold = {verb for _, verb in TABLE if change_of(Event(NOW, "", verb, "", {}, {})) is None}
    assert untold == {"freeze-baseline"}


def test_every_kind_of_change_comes_from_some_event() -> None:
    verbs = [*{verb for _, verb in TABLE}, "set-lists", "weekly-report", "retirement", "drift"]
    afters = [{}, {"phase": "soaking"}, {"phase": "paused", "reason": "approval"}]
    kinds = {change_of(Event(NOW, "", verb, "", {}, after)) for verb in verbs for after in afters}
    assert kinds - {None} == set(CHANGES)


@pytest.mark.parametrize("verb", ["freeze-baseline", "proof", "checklist", "not-yet-invented"])
def test_what_changes_nothing_for_anybody_is_not_told(verb: str) -> None:
    assert message("m", Event(NOW, "ada", verb, "", {}, {}), SPEC) is None


# --- what is said -------------------------------------------------------------------------------------------


def test_a_start_says_where_how_much_and_why() -> None:
    told = Run().told("start", reason="release 5")
    assert told.title == "m: run 1 has started at stage canary (5 %)"
    assert told.facts == (
        "new-model gets 5 % of the traffic, old-model the rest.",
        "Started by ada.",
        "Reason: release 5",
    )
    assert commands(told) == ["status m", "rollback m"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            replace(SPEC, stages=(Stage("internal", 0.0),)),
            "new-model gets listed people and tasks alone, old-model everybody else.",
        ),
        (replace(SPEC, stages=(Stage("all", 100.0),)), "new-model gets all of the traffic."),
        (
            replace(SPEC, stages=(Stage("all", 100.0),), holdback=Holdback(2.0)),
            "new-model gets all of the traffic. old-model keeps the holdback.",
        ),
    ],
)
def test_nobody_and_everybody_are_called_so(spec: MigrationSpec, said: str) -> None:
    assert Run(spec).told("start").facts[0] == said


def test_an_advance_says_who_decided() -> None:
    run = Run().at("start")
    by_itself = run.told("automatic-advance", by="controller", reason="all gates are green")
    assert (by_itself.change, by_itself.title) == ("stage", "m: has advanced to stage half (50 %)")
    assert "Advanced by the gateway." in by_itself.facts
    back = run.told("step-back")
    assert (back.change, back.title) == ("stage", "m: went back to stage canary (5 %)")


def test_the_top_is_a_change_of_its_own() -> None:
    run = Run().at("start", "advance", "approve", "advance")
    told = run.told("advance")
    assert (told.change, told.title) == ("soaking", "m: at the top: new-model serves 100 %")
    assert commands(told) == ["status m", "complete m", "rollback m"]


@pytest.mark.parametrize(
    ("reason", "words", "todo"),
    [
        ("freeze", "a freeze is in force", "Nothing."),
        ("no_data", "the candidate gets no traffic", "asked-model"),
        ("inconclusive", "the numbers are not clear", "Look at its gates"),
    ],
)
def test_a_pause_by_the_gates_says_what_it_waits_for(reason: Any, words: str, todo: str) -> None:
    run = Run().at("start")
    told = run.told("automatic-pause", by="controller", pause_reason=reason, reason="the numbers")
    assert (told.change, told.title) == ("paused", f"m: waits at stage canary (5 %): {words}")
    assert todo in told.todo
    assert told.facts[-1] == "Reason: the numbers"
    assert commands(told) == ["status m", "rollback m"]
    assert run.told("automatic-resume", by="controller").title == "m: goes on at stage canary (5 %)"


def test_a_pause_by_a_person_says_how_to_end_it() -> None:
    told = Run().at("start").told("pause", reason="lunch")
    assert told.title == "m: paused by ada at stage canary (5 %)"
    assert commands(told) == ["status m", "resume m", "rollback m"]


def test_an_approval_is_asked_for_with_its_deadline_and_who_may() -> None:
    run = Run().at("start", "advance")
    told = run.told("automatic-pause", by="controller", pause_reason="approval")
    assert (told.change, told.title) == ("approval", "m: waits for an approval to leave stage half (50 %)")
    assert "Whoever started the run may not be the one who approves." in told.facts
    assert "If nobody approves within 48 h, it stays where it is." in told.facts
    assert "approve m" in commands(told)
    assert run.told("approve").title == "m: leaving stage half (50 %) is approved by ada"


def test_an_approval_whose_deadline_rolls_back_says_so() -> None:
    stages = tuple(replace(stage, on_deadline="rollback") for stage in SPEC.stages)
    run = Run(replace(SPEC, stages=stages)).at("start", "advance")
    told = run.told("automatic-pause", by="controller", pause_reason="approval")
    assert "If nobody approves within 48 h, it is rolled back." in told.facts


def test_a_weight_set_by_hand_says_that_automation_waits() -> None:
    told = Run().at("start").told("set-weight", percent=20.0)
    assert told.title == "m: weight set by hand to 20 %, by ada"
    assert commands(told) == ["status m", "resume m", "rollback m"]


def test_a_rollback_by_the_gates_says_which_and_their_numbers() -> None:
    run = Run().at("start")
    fine = GATE | {"name": "refusal", "verdict": "pass", "reason": "as rare as control's"}
    told = run.told("automatic-rollback", by="controller", evidence={"gates": [fine, GATE], "mode": "evict"})
    assert "refusal" not in " ".join(told.facts)
    assert told.title == "m: ROLLED BACK by its gates"
    assert told.facts == (
        "old-model serves everything again.",
        "Cause: error_rate: 12 % of 210, at most 5 %",
        "It was at stage canary (5 %), in run 1.",
    )
    assert commands(told) == ["incidents m", "restart m"]


def test_of_many_gates_the_first_are_told() -> None:
    gates = [GATE | {"name": f"gate {n}"} for n in range(MAX_GATES + 3)]
    told = Run().at("start").told("automatic-rollback", by="controller", evidence={"gates": gates})
    assert sum(fact.startswith("Cause: ") for fact in told.facts) == MAX_GATES
    assert "… and 3 more." in told.facts


def test_a_rollback_by_a_person_says_who_and_why_and_where_it_was() -> None:
    run = Run().at("start", "advance", "approve", "advance", "advance")
    told = run.told("rollback", reason="callers complain", mode="drain", evidence={"mode": "drain"})
    assert told.title == "m: rolled back by ada"
    assert told.facts == (
        "old-model serves everything again, except conversations that began on new-model: "
        "they may finish there.",
        "Reason: callers complain",
        "It was at the top (100 %), in run 1.",
    )
    after = run.told("rollback", mode="evict", evidence={"mode": "evict"})
    assert after.title == "m: its last conversations were taken off new-model, by ada"


def test_an_emergency_is_called_one_also_when_it_comes_second() -> None:
    run = Run().at("start", "rollback")
    told = run.told("emergency-rollback", reason="still burning")
    assert told.title == "m: EMERGENCY ROLLBACK by ada"
    assert told.facts == ("old-model serves everything again.", "Reason: still burning")


def test_a_kill_that_came_too_late_does_not_say_that_anything_was_rolled_back() -> None:
    state = summary(MigrationState("m", Phase.completed, run=1))
    why = {"refused": "completed when the store returned: there is no emergency rollback from here"}
    told = message("m", Event(NOW, "ada", "emergency-rollback", "", state, state, why), SPEC)
    assert told is not None
    assert told.title == "m: a kill by ada could not be carried out"
    assert "completed when the store returned" in told.facts[0]
    assert "serves everything again" not in told.text


def test_completing_says_what_is_left_to_do() -> None:
    run = Run().at("start", "advance", "approve", "advance", "advance")
    told = run.told("complete")
    assert told.title == "m: completed: new-model serves everything"
    assert "new-model themselves" in told.todo
    assert commands(told) == ["status m"]


@pytest.mark.parametrize(
    ("verb", "title"),
    [
        ("weekly-report", "m: weekly report"),
        ("retirement", "m: old-model will be retired"),
        ("drift", "m: new-model is not what it was when it was promoted"),
    ],
)
def test_what_the_gateway_finds_out_is_told_in_its_words(verb: str, title: str) -> None:
    told = message("m", Event(NOW, "controller", verb, "The finding.", {}, {}), SPEC)
    assert told is not None
    assert (told.title, told.facts) == (title, ("The finding.",))


# --- what is never said, and how much -----------------------------------------------------------------------


def test_people_on_the_lists_are_not_named() -> None:
    lists = {"lists": {"allow_users": ["ann@example.org"], "deny_users": [], "allow_tasks": ["secret"]}}
    told = message("m", Event(NOW, "ada", "set-lists", "", {"phase": "draft"} | lists, lists), SPEC)
    assert told is not None
    assert "ann@" not in told.text
    assert "secret" not in told.text


def test_what_people_write_is_cut_and_on_one_line() -> None:
    told = Run().told("start", reason="first\nsecond\x1b[31m\t third" + "x" * 10_000)
    (reason,) = [fact for fact in told.facts if fact.startswith("Reason")]
    assert reason.startswith("Reason: first second [31m third")
    assert len(reason) == len("Reason: ") + MAX_SAID


def test_an_event_of_a_stranger_shape_is_told_as_far_as_it_goes() -> None:
    odd = Event(NOW, "x", "automatic-rollback", "", {"phase": "running", "stage": 7}, {}, {"gates": [1, {}]})
    told = message("m", odd, SPEC)
    assert told is not None
    assert "It was at stage number 8 (0 %), in run None." in told.facts


def test_commands_name_the_gateway_and_quote_what_a_shell_would_read() -> None:
    told = message("a b", Run().event("start"), SPEC, url="https://gw.example/a?b&c")
    assert told is not None
    assert told.commands[-1] == "gateway migration rollback 'a b' --url 'https://gw.example/a?b&c'"


def test_each_change_has_an_id_of_its_own_also_after_the_log_was_lost() -> None:
    event = Run().event("start")
    events = [event, replace(event, seq=2), replace(event, at=NOW + 1)]
    told = [message(name, each, SPEC) for name in ("m", "n") for each in events]
    assert len({each.id for each in told if each is not None}) == 6
