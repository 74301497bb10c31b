"""All gates are always judged; one table says what follows, and every row of it is visited here."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evidence import Evidence
from gateway.core.gates.judge import judge
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import BREAKERS, FAILURES, MEANS, ORDER, Judgement
from gateway.core.gates.window import Tally
from gateway.core.spec import BreakerRule, Check, Freeze, Gates, Lists, MigrationSpec, Stage
from gateway.core.tally import CheckCount, Exposure, RunTally, StageTally
from gateway.core.types import LINE, Arm, Phase
from tests.support.pictures import (
    CANDIDATE,
    CONTROL,
    SPEC,
    STAGES,
    WELL,
    buckets,
    run_tally,
    seen,
    soaking,
    spec_of,
    stage_tally,
    totals,
)

ALWAYS = Freeze("audit", since="1970-01-01")
UNREADABLE = Freeze("x", days=("mon",), timezone="?")
ILL = Tally(100, 60, 0, frozenset(f"u{n}" for n in range(20)), {"truncated": 60})
DEAR = stage_tally({"cost": buckets(9.0)})
"""Hold gates fail."""
QUIET = Evidence(run=1, entry=1, quiet_s=30_000.0, requests=1000)
FEW = {Arm.candidate: 40, Arm.control: 41}


def windows(candidate: Tally, control: Tally = WELL, spec: MigrationSpec = SPEC) -> dict[float, Any]:
    rules = spec.gates.breaker.values()
    return {rule.window_s: {CONTROL: control, CANDIDATE: candidate} for rule in rules}


def first(**changes: Any) -> MigrationSpec:
    """Return the specification with changes to its first stage."""
    return spec_of(replace(STAGES[0], **changes), *STAGES[1:])


def says(picture: Picture) -> tuple[str, str, str | None]:
    judged = judge(picture)
    return judged.decision, judged.action, judged.pause_reason


# --- which gates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.draft, Phase.completed, Phase.rolled_back])
def test_what_does_not_serve_two_arms_is_not_judged(phase: Phase) -> None:
    assert judge(seen(phase=phase)) == Judgement()


def test_every_gate_that_applies_is_listed_in_order_whatever_another_says() -> None:
    spec = spec_of(
        replace(STAGES[0], max_duration_s=1e9, approval=True, max_regression=0.1), *STAGES[1:],
        checks=(Check("json", name="valid"),), freeze=(ALWAYS,),
    )  # fmt: skip
    expected = tuple(name for name in ORDER if name != "drift")
    for picture in (seen(spec), seen(spec, windows=windows(ILL)), seen(spec, stale=("r1",), watched_s=0.0)):
        assert tuple(each.name for each in judge(picture).gates) == expected


def test_comparisons_leave_with_the_matched_arms() -> None:
    compared = {*FAILURES, *MEANS, "sample_ratio"}
    assert compared <= {each.name for each in judge(seen()).gates}
    for picture in (seen(weight=60_000), seen(weight=0), soaking()):
        assert not compared & {each.name for each in judge(picture).gates}
        assert judge(picture).metrics == ()


def test_soaking_is_guarded_and_goes_nowhere() -> None:
    judged = judge(soaking())
    assert tuple(each.name for each in judged.gates) == (*BREAKERS, "freshness", "drift")
    assert (judged.decision, judged.action) == ("hold", "none")
    assert judged.reason == "soaking: watching until somebody completes the migration"


def test_rows_show_every_comparison_once() -> None:
    names = [row.name for row in judge(seen(spec_of(checks=(Check("json", name="valid"),)))).metrics]
    assert names == [*FAILURES, *MEANS, "check:valid", "min:valid"]


# --- what follows, row by row -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "changes", "expected"),
    [
        (SPEC, {}, ("advance", "advance", None)),
        (SPEC, {"windows": windows(ILL)}, ("rollback", "rollback", None)),
        (SPEC, {"windows": windows(ILL), "enrolled": FEW}, ("rollback", "rollback", None)),
        (SPEC, {"windows": windows(ILL), "stale": ("r1",)}, ("rollback", "rollback", None)),
        (spec_of(Stage("a", 5), Stage("b", 50)), {}, ("hold", "none", None)),
        (spec_of(Stage("a", 5), STAGES[1]), {}, ("hold", "none", None)),
        (SPEC, {"evidence": QUIET}, ("inconclusive", "pause", "no_data")),
        (SPEC, {"evidence": QUIET, "enrolled": FEW}, ("inconclusive", "pause", "no_data")),
        (SPEC, {"watched_s": 59.9}, ("hold", "none", None)),
        (SPEC, {"enrolled": FEW}, ("hold", "none", None)),
        (SPEC, {"stale": ("r1",)}, ("inconclusive", "none", None)),
        (SPEC, {"stage_tally": StageTally()}, ("inconclusive", "none", None)),
        (SPEC, {"stage_tally": DEAR}, ("inconclusive", "pause", "inconclusive")),
        (SPEC, {"stage_tally": DEAR, "watched_s": 1.0}, ("hold", "none", None)),
        (SPEC, {"enrolled": {CANDIDATE: 900, CONTROL: 3000}}, ("inconclusive", "pause", "inconclusive")),
        (SPEC, {"windows": windows(ILL, ILL)}, ("inconclusive", "pause", "inconclusive")),
        (spec_of(freeze=(ALWAYS,)), {}, ("hold", "pause", "freeze")),
        (spec_of(freeze=(ALWAYS,)), {"windows": windows(ILL)}, ("rollback", "rollback", None)),
        (spec_of(freeze=(UNREADABLE,)), {}, ("inconclusive", "pause", "inconclusive")),
        (first(approval=True), {}, ("hold", "pause", "approval")),
        (first(approval=True), {"approved_by": "eve"}, ("advance", "advance", None)),
        (first(approval=True), {"watched_s": 1.0}, ("hold", "none", None)),
        (replace(first(approval=True), freeze=(ALWAYS,)), {}, ("hold", "pause", "freeze")),
        (first(max_duration_s=60.0), {"enrolled": FEW}, ("inconclusive", "pause", "inconclusive")),
        (first(max_duration_s=60.0), {}, ("advance", "advance", None)),
        (first(max_duration_s=61.0), {"stage_tally": DEAR}, ("inconclusive", "pause", "inconclusive")),
        (first(max_duration_s=60.0, on_max_duration="rollback"), {}, ("advance", "advance", None)),
        (first(max_duration_s=60.0, on_max_duration="rollback"), {"enrolled": FEW},
         ("rollback", "rollback", None)),
        (first(max_duration_s=60.0, on_max_duration="rollback"), {"stage_tally": DEAR},
         ("rollback", "rollback", None)),
        (first(max_duration_s=60.0, on_max_duration="rollback"), {"stage_tally": StageTally()},
         ("rollback", "rollback", None)),
        (first(max_duration_s=60.0, on_max_duration="rollback"), {"stale": ("r1",)},
         ("inconclusive", "none", None)),
        (first(max_duration_s=60.0, on_max_duration="rollback", approval=True), {},
         ("hold", "pause", "approval")),
        (first(max_duration_s=60.0), {"stage_tally": StageTally()},
         ("inconclusive", "pause", "inconclusive")),
        (first(max_duration_s=61.0, on_max_duration="rollback"), {"stage_tally": DEAR},
         ("inconclusive", "none", None)),
        (first(max_duration_s=60.0, on_max_duration="advance"), {"enrolled": FEW},
         ("advance", "advance", None)),
        (first(max_duration_s=60.0, on_max_duration="advance"), {"stage_tally": DEAR},
         ("inconclusive", "pause", "inconclusive")),
        (first(max_duration_s=99.0, on_max_duration="advance"), {"enrolled": FEW}, ("hold", "none", None)),
    ],
)  # fmt: skip
def test_a_running_stage(
    spec: MigrationSpec, changes: dict[str, Any], expected: tuple[str, str, str | None]
) -> None:
    assert says(seen(spec, **changes)) == expected


NOISY = {"ttft": buckets(0.0, spread=2.0)}


def test_without_proof_of_no_harm_a_demanding_stage_waits() -> None:
    unproven = stage_tally(NOISY, ttft=NOISY["ttft"])
    assert says(seen(stage_tally=unproven)) == ("advance", "advance", None)
    spec = first(require="non_inferior")
    assert says(seen(spec, stage_tally=unproven)) == ("inconclusive", "pause", "inconclusive")
    spec = first(require="non_inferior", max_duration_s=60.0, on_max_duration="advance")
    assert says(seen(spec, stage_tally=unproven)) == ("advance", "advance", None)
    assert says(seen(spec, stage_tally=unproven, enrolled={})) == ("advance", "advance", None)


def test_the_last_stage_goes_on_by_itself_where_others_do() -> None:
    last = {"stage_index": 2, "weight": LINE}
    assert says(seen(**last)) == ("advance", "advance", None)
    assert says(seen(spec_of(Stage("half", 50), Stage("full", 100)), stage_index=1, weight=LINE)) == (
        "hold", "none", None)  # fmt: skip


def test_at_no_weight_time_alone_decides_unless_somebody_is_listed() -> None:
    internal = Stage("internal", 0, hold_s=60.0)
    nothing = {
        "weight": 0,
        "run_tally": RunTally(),
        "stage_tally": StageTally(),
        "windows": {},
        "enrolled": {},
    }
    unlisted = spec_of(internal, *STAGES)
    assert says(seen(unlisted, **nothing)) == ("advance", "advance", None)
    listed = replace(unlisted, lists=Lists(allow_tasks=("internal",)))
    assert says(seen(listed, **nothing)) == ("inconclusive", "none", None)
    assert says(seen(listed, **nothing | {"stage_tally": stage_tally()})) == ("advance", "advance", None)


# --- what automation has paused -----------------------------------------------------------------------------

APPROVING = first(approval=True)


@pytest.mark.parametrize(
    ("reason", "spec", "changes", "expected"),
    [
        ("no_data", SPEC, {"evidence": QUIET}, "none"),
        ("no_data", SPEC, {"watched_s": 1.0}, "resume"),
        ("no_data", SPEC, {}, "advance"),
        ("inconclusive", SPEC, {"stage_tally": DEAR}, "none"),
        ("inconclusive", SPEC, {"stage_tally": DEAR, "stale": ("r1",)}, "none"),
        ("inconclusive", SPEC, {"windows": windows(ILL, ILL)}, "none"),
        ("inconclusive", SPEC, {}, "advance"),
        ("inconclusive", SPEC, {"stale": ("r1",)}, "none"),
        ("freeze", SPEC, {"stale": ("r1",)}, "none"),
        ("inconclusive", first(max_duration_s=60.0), {"enrolled": FEW}, "none"),
        ("inconclusive", APPROVING, {}, "pause"),
        ("freeze", spec_of(freeze=(ALWAYS,)), {}, "none"),
        ("freeze", spec_of(freeze=(ALWAYS,)), {"stage_tally": DEAR}, "none"),
        ("freeze", spec_of(freeze=(Freeze("over", until="1970-01-02"),)), {}, "advance"),
        ("freeze", SPEC, {"stage_tally": DEAR}, "pause"),
        ("approval", APPROVING, {}, "none"),
        ("approval", APPROVING, {"stale": ("r1",)}, "none"),
        ("approval", APPROVING, {"approved_by": "eve"}, "advance"),
        ("approval", APPROVING, {"approved_by": "eve", "stage_tally": DEAR}, "pause"),
        ("approval", replace(APPROVING, freeze=(ALWAYS,)), {"approved_by": "eve"}, "pause"),
        ("approval", APPROVING, {"windows": windows(ILL)}, "rollback"),
        ("user", SPEC, {}, "none"),
        ("user", SPEC, {"evidence": QUIET}, "none"),
        ("user", SPEC, {"windows": windows(ILL)}, "rollback"),
    ],
)
def test_a_paused_stage_goes_on_when_its_reason_is_gone(
    reason: str, spec: MigrationSpec, changes: dict[str, Any], expected: str
) -> None:
    judged = judge(seen(spec, phase=Phase.paused, reason=reason, **changes))
    assert judged.action == expected
    begins = {"advance": "advancing from", "rollback": "rolling back from", "none": "paused "}
    begins |= {"pause": "holding at", "resume": f"going on at 5 %, its pause ({reason}) is over: "}
    assert judged.reason.startswith(begins[expected]), "the audit log keeps it"


def test_what_a_person_paused_is_judged_and_left_alone() -> None:
    judged = judge(seen(phase=Phase.paused, reason="user"))
    assert (judged.decision, judged.action) == ("advance", "none")
    assert judged.reason == "paused by a person at 5 %: every gate is green"


def test_an_approval_that_came_too_late_rolls_back_where_the_stage_says_so() -> None:
    spec = first(approval=True, approval_deadline_s=60.0, on_deadline="rollback")
    waiting = seen(spec, phase=Phase.paused, reason="approval")
    assert judge(waiting).action == "none"
    late = replace(waiting, evidence=replace(waiting.evidence, paused_s=60.0))
    judged = judge(late)
    assert judged.action == "rollback"
    assert [each.name for each in judged.failed] == ["approval"]


# --- every reason to roll back ------------------------------------------------------------------------------


def bad(name: str, *, spec: MigrationSpec = SPEC) -> Picture:
    failing = Exposure(1000, 90)
    arm = totals(exposure={name: failing}, checks={"valid": CheckCount(10, 90)})
    return seen(spec, run_tally=run_tally(arm), enrolled=FEW, watched_s=0.0)


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_rolls_back_before_any_minimum(name: str) -> None:
    judged = judge(bad(name))
    assert judged.action == "rollback"
    assert [each.name for each in judged.failed] == [name]
    assert judged.reason.startswith(f"rolling back from 5 %: {name}: first failures: candidate 90 in 1000")


def test_checks_roll_back_and_are_named() -> None:
    judged = judge(bad("check:valid", spec=spec_of(checks=(Check("json", task="extract", name="valid"),))))
    assert judged.action == "rollback"
    assert [each.name for each in judged.failed] == ["quality"]
    assert "check 'valid' of task 'extract'" in judged.reason


@pytest.mark.parametrize("phase", [Phase.running, Phase.paused, Phase.soaking])
@pytest.mark.parametrize("automatic", [True, False])
def test_a_breaker_trips_in_every_phase_that_serves_and_steered_by_hand_too(
    phase: Phase, automatic: bool
) -> None:
    spec = SPEC if automatic else spec_of(Stage("a", 5), Stage("b", 100))
    picture = seen(spec, phase=phase, reason="user" if phase is Phase.paused else "", windows=windows(ILL))
    assert judge(picture).action == "rollback"


# --- in words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "changes", "said"),
    [
        (SPEC, {"watched_s": 36.0, "enrolled": FEW}, "holding at 5 %: 40 of 100 units, 36 s of 60 s"),
        (SPEC, {"enrolled": FEW}, "holding at 5 %: 40 of 100 units"),
        (SPEC, {"watched_s": 36.0}, "holding at 5 %: 36 s of 60 s"),
        (SPEC, {}, "advancing from 5 %: every gate is green"),
        (SPEC, {"stale": ("r1",)}, "holding at 5 %: no counts within 15 s from r1"),
        (APPROVING, {}, "holding at 5 %: nobody has approved yet"),
        (SPEC, {"evidence": QUIET}, "holding at 5 %: the candidate has had no request for 8.3 h"),
        (spec_of(Stage("a", 5), STAGES[1]), {},
         "holding at 5 %: stage 'a' has neither hold nor min_units, so a person advances it"),
        (spec_of(Stage("a", 75, min_units=9), STAGES[0]), {"weight": 75_000},
         "holding at 75 %: stage 'a' waits for 9 units, and none are counted here, so a person advances it"),
        (spec_of(Stage("a", 5)), {}, "holding at 5 %: no stage has hold or min_units, so a person advances"),
        (first(max_duration_s=60.0), {"enrolled": FEW},
         "holding at 5 %: the stage has not advanced within 60 s: 40 of 100 units"),
        (SPEC, {"windows": windows(ILL)},
         "rolling back from 5 %: error_rate: 60.0% of 100 requests, above 5.0%: 60 truncated"),
    ],
)  # fmt: skip
def test_one_sentence_says_what_it_waits_for(spec: MigrationSpec, changes: dict[str, Any], said: str) -> None:
    assert judge(seen(spec, **changes)).reason.startswith(said)


@pytest.mark.parametrize("weight", [0, 60_000, LINE])
def test_a_stage_of_units_alone_is_not_left_by_itself_where_none_are_counted(weight: int) -> None:
    for percent in (5, weight * 100 / LINE):  # another weight was set by hand, or it is the stage's own
        spec = spec_of(Stage("a", percent, min_units=9), *STAGES)
        assert says(seen(spec, weight=weight, enrolled={})) == ("hold", "none", None)


def test_a_weight_that_was_lowered_at_the_top_is_raised_by_a_person_alone() -> None:
    assert says(seen(weight=LINE, stage_index=2, widest=LINE)) == ("advance", "advance", None)
    for weight in (0, 5_000, 99_999):
        assert says(seen(weight=weight, stage_index=2, widest=LINE)) == ("hold", "none", None)


def test_the_sentence_names_the_gates_that_are_not_green() -> None:
    assert judge(seen(stage_tally=DEAR)).reason.startswith(
        "holding at 5 %: cost: 7.39 times control's, at least "
    )
    paused = judge(seen(phase=Phase.paused, reason="inconclusive", stage_tally=DEAR))
    assert paused.reason.startswith("paused (inconclusive) at 5 %: cost: ")


# --- always -------------------------------------------------------------------------------------------------

stages = st.builds(
    Stage,
    st.just("s"),
    st.sampled_from([1.0, 50.0, 60.0, 100.0]),
    hold_s=st.sampled_from([0.0, 10.0]),
    min_units=st.sampled_from([0, 5]),
    approval=st.booleans(),
    max_duration_s=st.sampled_from([None, 20.0]),
    on_max_duration=st.sampled_from(["hold", "advance"]),
    require=st.sampled_from(["no_harm", "non_inferior"]),
)
phases = st.sampled_from([Phase.running, Phase.paused, Phase.soaking])
reasons = st.sampled_from(["user", "no_data", "approval", "freeze", "inconclusive"])


@given(st.lists(stages, min_size=1, max_size=3), phases, reasons, st.floats(0, 1e6), st.integers(1, LINE))
def test_no_data_never_advances_and_never_rolls_back(
    ramp: list[Stage], phase: Phase, reason: str, watched_s: float, weight: int
) -> None:
    picture = seen(
        spec_of(*ramp), phase=phase, reason=reason if phase is Phase.paused else "", weight=weight,
        watched_s=watched_s, run_tally=RunTally(), stage_tally=StageTally(), windows={}, enrolled={},
        approved_by="eve",
    )  # fmt: skip
    assert judge(picture).action not in {"advance", "rollback"}


@given(st.lists(stages, min_size=1, max_size=3), phases, reasons, st.floats(0, 1e6), st.booleans())
def test_a_judgement_always_agrees_with_itself(
    ramp: list[Stage], phase: Phase, reason: str, watched_s: float, ill: bool
) -> None:
    gates = Gates(breaker={"error_rate": BreakerRule(0.05, 300, 20, 5)})
    picture = seen(
        spec_of(*ramp, gates=gates), phase=phase, reason=reason if phase is Phase.paused else "",
        watched_s=watched_s, windows={300: {CONTROL: WELL, CANDIDATE: ILL if ill else WELL}},
    )  # fmt: skip
    judged = judge(picture)
    assert (judged.action == "rollback") is ill is bool(judged.failed)
    assert (judged.pause_reason is not None) is (judged.action == "pause")
    assert judged.reason
    if judged.action == "advance":
        assert judged.decision == "advance"
        assert phase is Phase.running or reason != "user"
    if judged.action == "resume":
        assert phase is Phase.paused
        assert reason != "user"
