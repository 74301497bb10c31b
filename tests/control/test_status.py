"""The status object and its relatives, built from facts."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.control import status as view
from gateway.control.status import Facts, ReplicaCount, Status
from gateway.core.evidence import Evidence
from gateway.core.gates.picture import Picture
from gateway.core.gates.verdict import GateResult, Judgement, MetricRow, Verdict
from gateway.core.spec import Holdback, MigrationSpec, Stage
from gateway.core.tally import ArmTotals, RunTally
from gateway.core.types import LINE, Arm, Event, MigrationState, Phase, from_json, to_json
from gateway.store.ports import ReplicaReport
from tests.support.control import SPEC, Acks

DRAFT = MigrationState("m")
RUNNING = replace(
    DRAFT, phase=Phase.running, run=1, version=7, epoch=3, stage_index=1, weight=20_000, spec=SPEC,
    stage_entered_at=1_000.0, updated_at=1_000.0, updated_by="ada",
)  # fmt: skip
ALL = ReplicaCount(3, 3, ())


def described(state: MigrationState, **facts: object) -> Status:
    known = Facts(state=state, file_spec=SPEC, replicas=ALL)
    return view.describe(replace(known, **facts), SPEC)  # type: ignore[arg-type]


def picture(state: MigrationState, **more: Any) -> Picture:
    return Picture(SPEC, state, 0.0, **more)


def gate(verdict: Verdict) -> GateResult:
    return GateResult("error_rate", verdict, "because")


def test_a_draft_stands_before_its_first_stage() -> None:
    status = described(DRAFT)
    assert (status.phase, status.weight_percent, status.decision) == (Phase.draft, 0.0, "none")
    assert status.stage == view.StageStatus(0, "internal", 0, None, None)
    assert (status.control, status.candidate) == (SPEC.control, SPEC.candidate)


def test_the_whole_ramp_is_told_as_the_run_goes_by_it() -> None:
    stages = described(RUNNING).stages
    assert [(stage.name, stage.percent) for stage in stages] == [(s.name, s.percent) for s in SPEC.stages]
    canary = SPEC.stages[1]
    assert stages[1] == view.StageOutline("canary", 20, canary.hold_s, canary.min_units, canary.approval)


def test_a_running_stage_counts_down_what_has_not_been_watched_of_its_hold() -> None:
    status = described(RUNNING, now=5_000.0, picture=picture(RUNNING, evidence=Evidence(watched_s=150)))
    assert status.stage == view.StageStatus(1, "canary", 20, 1_000.0, 5_450.0)
    assert status.watched_s == 150
    assert (status.run, status.version, status.epoch) == (1, 7, 3)
    assert (status.updated_at, status.updated_by) == (1_000.0, "ada")


@pytest.mark.parametrize("phase", [Phase.paused, Phase.rolled_back])
def test_nothing_is_counted_down_while_the_ramp_stands_still(phase: Phase) -> None:
    state = replace(RUNNING, phase=phase)
    assert described(state, picture=picture(state)).stage.hold_until is None


def test_a_hold_that_is_over_ends_now_and_one_that_nobody_knows_of_has_no_end() -> None:
    seen = picture(RUNNING, evidence=Evidence(watched_s=900))
    assert described(RUNNING, now=5_000.0, picture=seen).stage.hold_until == 5_000.0
    assert described(RUNNING, now=5_000.0).stage.hold_until is None


def test_a_stage_without_a_hold_has_no_end() -> None:
    state = replace(RUNNING, stage_index=2)
    assert described(state, picture=picture(state)).stage.hold_until is None


@pytest.mark.parametrize("phase", [Phase.soaking, Phase.completed])
def test_past_the_ramp_the_stage_is_the_last_one(phase: Phase) -> None:
    assert described(replace(RUNNING, phase=phase)).stage.name == "full"


@pytest.mark.parametrize(
    ("phase", "served"),
    [(Phase.draft, 0), (Phase.running, 20), (Phase.paused, 20), (Phase.soaking, 98), (Phase.completed, 100),
     (Phase.rolled_back, 0)],
)  # fmt: skip
def test_the_weight_is_what_the_phase_serves(phase: Phase, served: float) -> None:
    spec = replace(SPEC, holdback=Holdback(percent=2))
    assert described(replace(RUNNING, phase=phase, spec=spec)).weight_percent == served


def test_the_whole_line_is_one_hundred_percent() -> None:
    assert described(replace(RUNNING, weight=LINE)).weight_percent == 100


@pytest.mark.parametrize(
    ("file_spec", "drifted"),
    [
        (SPEC, False),
        (replace(SPEC, candidate="other"), True),
        (replace(SPEC, stages=(Stage("x", 1),)), True),
        (None, True),
    ],
)
def test_a_file_that_differs_from_the_runs_copy_has_drifted(file_spec: object, drifted: bool) -> None:
    assert described(RUNNING, file_spec=file_spec).config_drift is drifted


def test_a_copy_that_went_through_the_store_has_not_drifted() -> None:
    spec = MigrationSpec("m", "a", "b", models=("a",), stages=(Stage("x", 5),))
    kept = from_json(to_json(replace(RUNNING, spec=spec)), MigrationState)
    assert described(kept, file_spec=spec).config_drift is False


def test_before_the_first_run_nothing_can_drift() -> None:
    assert described(DRAFT, file_spec=replace(SPEC, candidate="other")).config_drift is False


# --- what is judged -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.running, Phase.paused, Phase.soaking])
def test_while_it_is_watched_it_is_what_the_gates_say(phase: Phase) -> None:
    row = MetricRow("error", 0.01, 0.02, 2.0, 1.1, None, 1.25, 0.4, 100, 90, Verdict.passed)
    judgement = Judgement((gate(Verdict.failed),), (row,), "rollback", "rollback", None, "it is sick")
    state = replace(RUNNING, phase=phase)
    status = described(state, picture=picture(state), judgement=judgement, next_check_at=5.0)
    assert (status.decision, status.summary, status.next_check_at) == ("rollback", "it is sick", 5.0)
    assert (status.gates, status.metrics) == (judgement.gates, judgement.metrics)


@pytest.mark.parametrize("phase", [Phase.draft, Phase.completed, Phase.rolled_back])
def test_where_nothing_is_judged_nothing_is_decided(phase: Phase) -> None:
    judgement = Judgement((gate(Verdict.failed),), (), "rollback", reason="it was sick")
    status = described(replace(RUNNING, phase=phase), judgement=judgement, next_check_at=5.0)
    assert (status.decision, status.next_check_at, status.gates) == ("none", None, ())
    assert status.watched_s is None


def test_without_the_store_nothing_can_be_concluded() -> None:
    status = described(RUNNING, store_available=False)
    assert (status.decision, status.enrolled, status.cost_microusd) == ("inconclusive", None, None)
    assert status.summary == "running at 20 %: the store is away, so nothing advances"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"phase": Phase.draft}, "not started: everybody is on control"),
        ({"phase": Phase.completed}, f"completed: everybody is on {SPEC.candidate}"),
        (
            {"phase": Phase.rolled_back, "reason": "automatic", "cause": "error_rate: 52.4%"},
            "rolled back (automatic): everybody is on control - error_rate: 52.4%",
        ),
        ({"phase": Phase.rolled_back, "reason": "user", "draining": True}, "may finish there"),
        ({}, "running at 20 %"),
    ],
)
def test_it_is_said_in_one_sentence_where_it_stands(change: dict[str, Any], said: str) -> None:
    assert said in described(replace(RUNNING, **change)).summary


def test_what_both_arms_cost_is_told_once_there_is_a_run() -> None:
    arms = {Arm.control: ArmTotals(cost_microusd=70), Arm.candidate: ArmTotals(cost_microusd=90)}
    seen = picture(RUNNING, run=RunTally(arms))
    assert described(RUNNING, picture=seen).cost_microusd == {Arm.control: 70, Arm.candidate: 90}
    assert described(RUNNING, picture=replace(seen, unmeasured="another version")).cost_microusd is None
    assert described(DRAFT).cost_microusd is None


def test_a_draft_has_enrolled_nobody_and_of_a_run_it_is_known_or_not() -> None:
    assert described(DRAFT).enrolled == view.Enrolled(0, 0)
    assert described(RUNNING).enrolled is None
    seen = picture(RUNNING, enrolled={Arm.candidate: 3})
    assert described(RUNNING, picture=seen).enrolled == view.Enrolled(0, 3)


# --- approval -----------------------------------------------------------------------------------------------

ASKING = replace(SPEC, stages=(SPEC.stages[0], replace(SPEC.stages[1], approval=True), *SPEC.stages[2:]))


def approval(**change: Any) -> view.Approval:
    return view.approval_of(replace(RUNNING, spec=ASKING, **change), ASKING)


def test_a_stage_that_asks_for_no_approval_needs_none() -> None:
    assert view.approval_of(RUNNING, SPEC) == view.Approval(needed=False)
    for phase in (Phase.draft, Phase.soaking, Phase.completed, Phase.rolled_back):
        assert not approval(phase=phase).needed


def test_it_is_waited_for_only_when_it_is_all_that_is_missing() -> None:
    assert approval() == view.Approval(needed=True)
    assert approval(phase=Phase.paused, reason="user").waiting_since is None
    assert approval(phase=Phase.paused, reason="approval").waiting_since == 1_000.0


def test_who_approved_is_told() -> None:
    given = approval(approved_by="grace", approved_at=1_500.0)
    assert given == view.Approval(needed=True, by="grace", at=1_500.0)


# --- replicas -----------------------------------------------------------------------------------------------


def test_a_replica_acknowledges_by_its_heartbeat() -> None:
    reports = [
        ReplicaReport("new", 0.0, {"m": (3, 7)}),
        ReplicaReport("newer", 0.0, {"m": (4, 8)}),
        ReplicaReport("older", 0.0, {"m": (3, 6)}),
        ReplicaReport("fenced", 0.0, {"m": (2, 9)}),
        ReplicaReport("just-born", 0.0, {}),
    ]
    assert view.count_acknowledged(reports, RUNNING) == ReplicaCount(5, 2, ("fenced", "just-born", "older"))


def test_what_was_never_written_needs_no_acknowledgement() -> None:
    assert view.count_acknowledged([ReplicaReport("r", 0.0, {})], DRAFT) == ReplicaCount(1, 1, ())


def test_acknowledgements_become_numbers_and_the_missing_stay_names() -> None:
    assert view.counted(Acks(("a", "b", "c"), ("a", "b"), ("c",))) == ReplicaCount(3, 2, ("c",))


@pytest.mark.parametrize("known", [("a", "b", "c"), ("b", "c")])
def test_alone_a_replica_speaks_for_itself_only(known: tuple[str, ...]) -> None:
    assert view.alone("a", known) == ReplicaCount(3, 1, ("b", "c"))


def test_a_heartbeat_is_shown_with_its_age() -> None:
    report = ReplicaReport("r", 90.0, {"m": (3, 7), "n": (1, 2)}, 50.0, True, 4, "1.0", 0.2, {"m": 88.0})
    shown = view.replica_status(report, now=100.0)
    assert (shown.id, shown.heartbeat_age_s, shown.snapshot_age_s) == ("r", 10.0, 0.2)
    assert (shown.leader, shown.in_flight, shown.gateway_version) == (True, 4, "1.0")
    assert (shown.snapshot_version, shown.versions) == (9, {"m": (3, 7), "n": (1, 2)})
    assert shown.candidate_sent_at == {"m": 88.0}


def test_a_heartbeat_from_a_clock_ahead_is_not_of_negative_age() -> None:
    assert view.replica_status(ReplicaReport("r", 101.0), now=100.0).heartbeat_age_s == 0.0


# --- incidents ----------------------------------------------------------------------------------------------


def event(verb: str, before: str, after: str, **more: object) -> Event:
    shown = {"phase": after, "reason": more.pop("cause", ""), "run": 1}
    return replace(Event(5.0, "ada", verb, "why", {"phase": before}, shown), **more)  # type: ignore[arg-type]


def test_each_rollback_is_an_incident() -> None:
    log = [
        event("start", "draft", "running", seq=1),
        event(
            "automatic-rollback", "running", "rolled_back", cause="automatic", seq=2, evidence={"gates": []}
        ),
        event("restart", "rolled_back", "running", seq=3),
        event("rollback", "paused", "rolled_back", cause="user", seq=4),
    ]
    first, second = view.incidents_of("m", log)
    assert (first.id, first.cause, first.run, first.evidence) == (2, "automatic", 1, {"gates": []})
    assert (first.at, first.by, first.reason, first.migration) == (5.0, "ada", "why", "m")
    assert (first.before["phase"], first.after["phase"]) == ("running", "rolled_back")
    assert (second.id, second.cause) == (4, "user")


def test_what_is_done_to_a_rolled_back_migration_is_no_second_incident() -> None:
    log = [
        event("rollback", "running", "rolled_back", cause="user", seq=1),
        event("emergency-rollback", "rolled_back", "rolled_back", cause="emergency", seq=2),
        event("set-lists", "rolled_back", "rolled_back", cause="emergency", seq=3),
    ]
    assert [incident.id for incident in view.incidents_of("m", log)] == [1]
