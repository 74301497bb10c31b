"""The questions: the fleet's truth, and what this process knows while the store is away."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.config import load_catalogue
from gateway.control.autopilot.gather import EVIDENCE
from gateway.core.evidence import Evidence
from gateway.core.gates.verdict import Verdict
from gateway.core.spec import Lists
from gateway.core.types import Arm, Outcome, Phase, Reason, to_json
from gateway.errors import NotFound, StoreUnavailable
from gateway.store.ports import Enrolment
from tests.support.control import SPEC, ControlPlane, Traffic

ALICE_BUCKET = 3440


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


async def test_a_migration_that_was_never_written_is_a_draft(plane: ControlPlane) -> None:
    status = await plane.service.read.status("m")
    assert (status.phase, status.version, status.run, status.decision) == (Phase.draft, 0, 0, "none")
    assert status.gates == ()
    assert status.next_check_at is None


async def test_a_store_that_came_back_empty_makes_no_draft_of_a_run(plane: ControlPlane) -> None:
    await plane.act("start")
    before = await plane.service.read.status("m")
    plane.store.server.lose()
    after = await plane.service.read.status("m")
    assert (after.phase, after.run, after.version) == (Phase.running, 1, before.version)


async def test_an_unknown_migration_is_answered_with_the_known_ones(plane: ControlPlane) -> None:
    plane.specs["other"] = replace(SPEC, name="other")
    read = plane.service.read
    for question in (read.status, read.lists, read.events, read.incidents):
        with pytest.raises(NotFound, match="'x'; known: m, other"):
            await question("x")
    with pytest.raises(NotFound):
        await read.explain("x", "alice")


async def test_the_list_holds_what_files_and_runs_name(plane: ControlPlane) -> None:
    plane.specs["a-draft"] = replace(SPEC, name="a-draft")
    await plane.act("start")
    del plane.specs["m"]
    listed = {status.name: status for status in await plane.service.read.statuses()}
    assert list(listed) == ["a-draft", "m"]
    assert listed["m"].config_drift
    assert listed["m"].candidate == SPEC.candidate


async def test_a_run_is_described_by_its_own_copy(plane: ControlPlane) -> None:
    await plane.act("start")
    plane.specs["m"] = replace(SPEC, candidate="claude-opus-6")
    status = await plane.service.read.status("m")
    assert (status.candidate, status.config_drift) == (SPEC.candidate, True)


async def test_the_units_that_are_enrolled_are_counted(plane: ControlPlane) -> None:
    await plane.act("start")
    arms = [Arm.candidate, Arm.candidate, Arm.control]
    await plane.store.remember([Enrolment("m", 1, f"u{n}", arm) for n, arm in enumerate(arms)])
    enrolled = (await plane.service.read.status("m")).enrolled
    assert enrolled is not None
    assert (enrolled.control, enrolled.candidate) == (1, 2)


async def test_gates_are_judged_over_all_replicas(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    await plane.count("r1", plane.counts(*[Outcome.ok] * 6))
    await plane.count("r2", plane.counts(*[Outcome.timeout] * 6))
    status = await plane.service.read.status("m")
    error_rate, fallback_rate = status.gates[:2]
    assert (error_rate.name, error_rate.verdict, error_rate.evidence["requests"]) == (
        "error_rate",
        Verdict.failed,
        12,
    )
    assert (fallback_rate.name, fallback_rate.verdict) == ("fallback_rate", Verdict.passed)
    assert status.decision == "rollback"
    assert status.next_check_at == plane.clock.now() + 1


async def test_the_status_is_judged_with_what_the_leader_has_gathered(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    gathered = Evidence(run=1, entry=2, watched_s=200.0)
    await plane.store.put_document("m", EVIDENCE, to_json(gathered), epoch=1)
    before = plane.server.checkpoint()
    status = await plane.service.read.status("m")
    assert (status.watched_s, status.stage.hold_until) == (200.0, plane.clock.now() + 400)
    hold = next(gate for gate in status.gates if gate.name == "hold")
    assert hold.evidence["watched_s"] == 200.0
    assert plane.server.data == before


async def test_what_was_gathered_in_another_stage_is_no_time_in_this_one(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    gathered = Evidence(run=1, entry=1, watched_s=200.0)
    await plane.store.put_document("m", EVIDENCE, to_json(gathered), epoch=1)
    assert (await plane.service.read.status("m")).watched_s == 0.0


async def test_the_cost_so_far_is_of_the_whole_run(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    traffic = Traffic(plane)
    traffic.both(Outcome.ok, cost_microusd=30)
    await plane.act("advance")
    traffic.both(Outcome.ok, Outcome.ok, cost_microusd=30)
    await traffic.write()
    await plane.act("rollback")
    status = await plane.service.read.status("m")
    assert status.cost_microusd == {Arm.control: 90, Arm.candidate: 90}


async def test_replicas_say_when_they_last_sent_something_to_a_candidate(plane: ControlPlane) -> None:
    await plane.report("r1", {}, candidate_sent_at=123.0)
    (replica,) = await plane.service.read.replicas()
    assert replica.candidate_sent_at == {"m": 123.0}


async def test_counts_that_cannot_be_read_are_an_error_and_decide_nothing(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    await plane.store.put_counts("m", "r2", {"form": "of the future"}, 15.0)
    status = await plane.service.read.status("m")
    assert {gate.verdict for gate in status.gates} == {Verdict.error}
    assert (status.decision, status.metrics) == ("inconclusive", ())
    assert status.cost_microusd is None


async def test_replicas_acknowledge_by_heartbeat(plane: ControlPlane) -> None:
    await plane.act("start")
    await plane.report("r1", {"m": plane.state.order})
    await plane.report("r2", {"m": (0, 0)})
    replicas = (await plane.service.read.status("m")).replicas
    assert (replicas.expected, replicas.acknowledged, replicas.missing) == (2, 1, ("r2",))
    assert [replica.id for replica in await plane.service.read.replicas()] == ["r1", "r2"]


async def test_lists_are_the_files_until_the_store_has_its_own(plane: ControlPlane) -> None:
    from_file = Lists(allow_tasks=("internal",))
    plane.specs["m"] = replace(SPEC, lists=from_file)
    assert await plane.service.read.lists("m") == from_file
    await plane.act("start")
    plane.specs["m"] = SPEC
    assert await plane.service.read.lists("m") == from_file
    ours = Lists(deny_users=("eve",))
    await plane.service.set_lists("m", lambda _: ours, by="ada", reason="", if_match=None)
    assert await plane.service.read.lists("m") == ours


async def test_events_come_in_order_and_from_where_one_asks(plane: ControlPlane) -> None:
    await plane.act("start", "advance", "pause")
    assert [(event.seq, event.verb) for event in await plane.service.read.events("m")] == [
        (1, "start"), (2, "advance"), (3, "pause")]  # fmt: skip
    assert [event.verb for event in await plane.service.read.events("m", since=2)] == ["pause"]


async def test_incidents_come_from_the_audit_log(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    await plane.act("rollback", reason="answers too long")
    (incident,) = await plane.service.read.incidents("m")
    assert (incident.id, incident.cause, incident.by, incident.reason) == (
        3,
        "user",
        "ada",
        "answers too long",
    )
    assert (incident.before["weight_percent"], incident.after["weight_percent"]) == (20.0, 0.0)
    assert incident.evidence == {"mode": "evict"}


# --- explain ------------------------------------------------------------------------------------------------


async def test_explain_tells_what_a_first_message_would_get(plane: ControlPlane) -> None:
    draft = await plane.service.read.explain("m", "alice")
    assert (draft.arm, draft.reason, draft.bucket) == (Arm.control, Reason.not_running, None)
    await plane.act("start", "advance")
    alice = await plane.service.read.explain("m", "alice")
    assert (alice.arm, alice.reason, alice.bucket, alice.enrolled) == (
        Arm.candidate,
        "bucket",
        ALICE_BUCKET,
        True,
    )
    assert (alice.rung, alice.run, alice.weight_percent, alice.phase) == ("header", 1, 20.0, Phase.running)
    bob = await plane.service.read.explain("m", "bob")
    assert (bob.arm, bob.reason, bob.enrolled) == (Arm.control, "bucket", False)


async def test_explain_knows_the_units_record(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    await plane.store.remember([Enrolment("m", 1, "key of alice", Arm.candidate)])
    alice = await plane.service.read.explain("m", "alice")
    assert (alice.record, alice.reason) == (Arm.candidate, Reason.recorded)


async def test_explain_goes_by_the_lists(plane: ControlPlane) -> None:
    plane.specs["m"] = replace(
        SPEC, lists=Lists(allow_users=("bob",), allow_tasks=("internal",), deny_users=("alice",))
    )
    await plane.act("start")
    read = plane.service.read
    assert (await read.explain("m", "bob")).reason == Reason.allowed_user
    assert (await read.explain("m", "alice")).reason == Reason.denied
    assert (await read.explain("m", "carol", task="internal")).reason == Reason.allowed_task


async def test_explain_knows_who_is_spared_by_this_run(plane: ControlPlane) -> None:
    await plane.act("start", "advance", "rollback")
    await plane.act("restart", exclude_previous=True)
    await plane.act("advance", "advance", "advance")
    assert plane.state.weight == 100_000
    alice = await plane.service.read.explain("m", "alice")
    assert (alice.arm, alice.reason, alice.enrolled) == (Arm.control, Reason.excluded, False)
    assert (await plane.service.read.explain("m", "bob")).arm is Arm.candidate


async def test_explain_draws_as_the_run_does_whose_people_are_kept(plane: ControlPlane) -> None:
    await plane.act("start", "advance", "rollback")
    await plane.act("restart", keep_assignment=True)
    await plane.act("advance")
    alice = await plane.service.read.explain("m", "alice")
    assert (alice.bucket, alice.arm, alice.run) == (ALICE_BUCKET, Arm.candidate, 2)


async def test_explaining_changes_nothing(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    before = plane.server.checkpoint()
    await plane.service.read.explain("m", "alice")
    assert plane.server.data == before


# --- with the store away ------------------------------------------------------------------------------------


async def test_with_the_store_away_the_status_is_what_this_process_obeys(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    plane.replica.others = ("r2",)
    plane.store.away = True
    status = await plane.service.read.status("m")
    assert (status.phase, status.weight_percent, status.store_available) == (Phase.running, 20.0, False)
    assert status.enrolled is None
    assert (status.gates, status.decision, status.next_check_at) == ((), "inconclusive", None)
    assert (status.replicas.expected, status.replicas.missing) == (2, ("r2",))
    assert [listed.name for listed in await plane.service.read.statuses()] == ["m"]
    assert (await plane.service.read.explain("m", "alice")).arm is Arm.candidate


async def test_what_only_the_store_knows_is_unavailable_without_it(plane: ControlPlane) -> None:
    plane.store.away = True
    for question in (
        plane.service.read.events("m"),
        plane.service.read.incidents("m"),
        plane.service.read.replicas(),
    ):
        with pytest.raises(StoreUnavailable):
            await question


async def test_a_migration_without_a_file_is_known_from_what_is_obeyed(plane: ControlPlane) -> None:
    await plane.act("start")
    plane.specs.clear()
    plane.store.away = True
    assert (await plane.service.read.status("m")).phase is Phase.running


# --- models -------------------------------------------------------------------------------------------------


def test_the_catalogue_is_shown_with_lifecycle_tier_and_prices(plane: ControlPlane) -> None:
    plane.catalogue = load_catalogue(Path(__file__).parents[2] / "config" / "models.yaml")
    rows = {row["id"]: row for row in plane.service.read.models()}
    assert list(rows) == [model.id for model in plane.catalogue.models]
    for model in plane.catalogue.models:
        row = rows[model.id]
        assert row["tier"] == model.decision.tier
        assert row["lifecycle"]["status"] == model.lifecycle.status
        assert (row["prices"] or {}).get("input") == (model.prices.input if model.prices else None)
        retires_on = row["lifecycle"]["retires_on"]
        assert (date.fromisoformat(retires_on) if retires_on else None) == model.lifecycle.retires_on
