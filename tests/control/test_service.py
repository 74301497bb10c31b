"""Verbs as compare-and-set: audit, races, epochs, and the emergency that needs no store."""

import asyncio
from dataclasses import replace

import pytest

from gateway.control.service import ATTEMPTS, Ask
from gateway.core.spec import Lists, OnRollback
from gateway.core.types import Phase
from gateway.errors import BadRequest, Conflict, NotFound, StaleWrite, StoreUnavailable
from tests.support.control import SPEC, ControlPlane, contended


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


# --- one verb -----------------------------------------------------------------------------------------------


async def test_a_verb_answers_the_status_that_it_led_to(plane: ControlPlane) -> None:
    status = await plane.service.act("m", Ask("start", "ada"))
    assert (status.phase, status.run, status.version, status.weight_percent) == (Phase.running, 1, 1, 0.0)
    assert (status.updated_by, status.updated_at) == ("ada", plane.clock.now())
    status = await plane.service.act("m", Ask("advance", "bob"))
    assert (status.stage.name, status.weight_percent, status.version) == ("canary", 20.0, 2)


async def test_every_write_is_in_the_audit_log_with_who_when_why_before_and_after(
    plane: ControlPlane,
) -> None:
    await plane.act("start")
    plane.clock.advance(60)
    await plane.act("advance", by="bob", reason="looks good")
    _, event = await plane.service.read.events("m")
    assert (event.seq, event.verb, event.by, event.reason) == (2, "advance", "bob", "looks good")
    assert event.at == plane.clock.now()
    shown = {"phase": "running", "reason": "", "run": 1}
    assert event.before == {**shown, "stage": 0, "weight_percent": 0.0, "version": 1}
    assert event.after == {**shown, "stage": 1, "weight_percent": 20.0, "version": 2}


async def test_force_is_kept_in_the_audit_log(plane: ControlPlane) -> None:
    await plane.act("start", force=True, reason="checked by hand")
    (event,) = await plane.service.read.events("m")
    assert event.evidence == {"forced": True}


@pytest.mark.parametrize(
    ("configured", "asked", "left"),
    [("evict", None, "evict"), ("drain", None, "drain"), ("evict", "drain", "drain")],
)
async def test_a_rollback_says_how_conversations_leave(configured: str, asked: str | None, left: str) -> None:
    plane = ControlPlane({"m": replace(SPEC, on_rollback=OnRollback(mode=configured))})  # type: ignore[arg-type]
    await plane.act("start")
    await plane.act("rollback", mode=asked)
    assert (await plane.service.read.events("m"))[-1].evidence == {"mode": left}
    assert plane.state.draining is (left == "drain")


async def test_an_illegal_verb_changes_nothing_and_says_why(plane: ControlPlane) -> None:
    with pytest.raises(Conflict, match="resume is not possible while migration 'm' is draft"):
        await plane.act("resume")
    assert (plane.state.version, plane.verbs) == (0, [])


async def test_an_unknown_migration_is_not_created(plane: ControlPlane) -> None:
    with pytest.raises(NotFound, match="known: m"):
        await plane.service.act("x", Ask("start", "ada"))
    assert plane.server.data.states == {}


async def test_a_weight_out_of_range_is_refused(plane: ControlPlane) -> None:
    await plane.act("start")
    with pytest.raises(BadRequest, match="percent"):
        await plane.act("set-weight", percent=101.0)


@pytest.mark.parametrize(
    "verbs", [(), ("rollback",), ("start", "advance", "advance", "advance", "advance", "complete")]
)
async def test_a_weight_is_refused_where_none_is_served_by_hand(
    verbs: tuple[str, ...], plane: ControlPlane
) -> None:
    await plane.act(*verbs)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="set-weight"):
        await plane.act("set-weight", percent=10.0)


async def test_a_weight_by_hand_pauses_and_serves_it(plane: ControlPlane) -> None:
    await plane.act("start")
    status = await plane.service.act("m", Ask("set-weight", "ada", percent=12.5))
    assert (status.phase, status.reason, status.weight_percent) == (Phase.paused, "user", 12.5)
    assert plane.verbs == ["start", "set-weight"]


async def test_this_process_obeys_before_the_verb_is_answered(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    assert plane.replica.snapshot.state("m") == plane.state


async def test_a_rollback_waits_a_little_and_names_who_has_not_acknowledged(plane: ControlPlane) -> None:
    await plane.act("start")
    plane.replica.others, plane.replica.silent = ("r2", "r3"), ("r3",)
    status = await plane.service.act("m", Ask("rollback", "ada"))
    assert (status.replicas.expected, status.replicas.acknowledged, status.replicas.missing) == (
        3,
        2,
        ("r3",),
    )
    assert plane.replica.waited[-1] == ("m", plane.state.order, 1.0)


async def test_a_store_that_goes_away_after_the_write_does_not_undo_the_answer(plane: ControlPlane) -> None:
    plane.replica.cut_off = True
    status = await plane.service.act("m", Ask("start", "ada"))
    assert (status.phase, status.enrolled) == (Phase.running, None)


async def test_a_rollback_says_when_each_replica_last_sent_a_request_to_the_candidate(
    plane: ControlPlane,
) -> None:
    await plane.act("start", "advance")
    plane.replica.sent_at = {"r2": 0.0, "r1": 1_234.5}
    assert (await plane.service.act("m", Ask("pause", "ada"))).last_candidate_request is None
    status = await plane.service.act("m", Ask("rollback", "ada"))
    assert status.last_candidate_request == {"r1": 1_234.5, "r2": None}


# --- races and versions -------------------------------------------------------------------------------------


async def test_who_names_a_stale_version_is_told_the_present_one(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    with pytest.raises(StaleWrite, match="version 2, not 1"):
        await plane.act("pause", if_match=1)
    assert plane.verbs == ["start", "advance"]
    await plane.act("pause", if_match=2)
    assert plane.state.phase is Phase.paused


async def test_version_zero_is_what_was_never_written(plane: ControlPlane) -> None:
    await plane.act("start", if_match=0)
    assert plane.state.version == 1


async def test_a_lost_race_is_run_again_on_what_is_stored_now() -> None:
    plane = contended(rivals=ATTEMPTS - 1)
    await plane.act("start")
    assert plane.verbs == ["note"] * (ATTEMPTS - 1) + ["start"]
    (*_, event) = await plane.service.read.events("m")
    assert (event.before["version"], event.after["version"]) == (ATTEMPTS - 1, ATTEMPTS)


async def test_a_race_that_is_never_won_is_given_up() -> None:
    plane = contended(rivals=ATTEMPTS)
    with pytest.raises(StaleWrite):
        await plane.act("start")
    assert "start" not in plane.verbs


async def test_whoever_named_a_version_does_not_try_again() -> None:
    plane = contended(rivals=1)
    with pytest.raises(StaleWrite):
        await plane.act("start", if_match=0)
    assert plane.verbs == ["note"]


async def test_two_who_start_at_once_start_one_run(plane: ControlPlane) -> None:
    outcomes = await asyncio.gather(
        plane.act("start", by="ada"), plane.act("start", by="bob"), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(Conflict) == 1
    assert (plane.state.run, plane.verbs) == (1, ["start"])


@pytest.mark.parametrize("verb", ["start", "restart", "emergency-rollback"])
async def test_verbs_that_must_beat_older_kills_take_a_fresh_epoch(verb: str, plane: ControlPlane) -> None:
    if verb == "restart":
        await plane.act("rollback")
    before = plane.state.epoch
    await plane.act(verb)  # type: ignore[arg-type]
    assert plane.state.epoch > before


async def test_other_verbs_keep_the_epoch(plane: ControlPlane) -> None:
    await plane.act("start")
    epoch = plane.state.epoch
    await plane.act("advance", "pause", "resume", "advance", "step-back", "rollback")
    assert plane.state.epoch == epoch


async def test_without_the_store_nothing_is_written(plane: ControlPlane) -> None:
    plane.store.away = True
    with pytest.raises(StoreUnavailable):
        await plane.act("start")


# --- lists --------------------------------------------------------------------------------------------------


async def test_lists_are_replaced_and_audited(plane: ControlPlane) -> None:
    plane.specs["m"] = replace(SPEC, lists=Lists(allow_tasks=("internal",)))
    lists = await plane.service.set_lists(
        "m", lambda old: replace(old, deny_users=("eve",)), by="ada", reason="abuse", if_match=0
    )
    assert lists == Lists(allow_tasks=("internal",), deny_users=("eve",))
    (event,) = await plane.service.read.events("m")
    assert (event.verb, event.by, event.reason) == ("set-lists", "ada", "abuse")
    assert event.before["lists"] == {"allow_users": [], "allow_tasks": ["internal"], "deny_users": []}
    assert event.after["lists"] == {"allow_users": [], "allow_tasks": ["internal"], "deny_users": ["eve"]}
    assert (event.before["version"], event.after["version"]) == (0, 1)


async def test_lists_change_no_phase_and_survive_a_new_run(plane: ControlPlane) -> None:
    ours = Lists(deny_users=("eve",))
    await plane.service.set_lists("m", lambda _: ours, by="ada", reason="", if_match=None)
    assert (plane.state.phase, plane.state.spec) == (Phase.draft, None)
    await plane.act("start", "rollback", "restart")
    assert plane.state.lists == ours
    assert plane.state.spec == SPEC


async def test_stale_lists_are_refused(plane: ControlPlane) -> None:
    await plane.act("start")
    with pytest.raises(StaleWrite):
        await plane.service.set_lists("m", lambda _: Lists(), by="ada", reason="", if_match=0)
    assert plane.verbs == ["start"]
