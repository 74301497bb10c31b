"""Pictures: everything that is stored of a migration, whether it is fresh, and what cannot be read."""

from dataclasses import replace

import pytest

from gateway.control.autopilot.gather import EVIDENCE, Gatherer
from gateway.core.evidence import Evidence
from gateway.core.gates.picture import Picture
from gateway.core.types import Arm, Outcome, to_json
from gateway.errors import StoreUnavailable
from gateway.store.ports import ReplicaReport
from tests.support.control import SPEC, ControlPlane, Traffic

FRESH_S = SPEC.gates.fresh_s


@pytest.fixture
async def plane() -> ControlPlane:
    plane = ControlPlane()
    await plane.act("start", "advance")
    return plane


async def picture(plane: ControlPlane, gatherer: Gatherer | None = None) -> Picture:
    reports = await plane.store.replicas()
    return await (gatherer or plane.gatherer).picture(plane.state, SPEC, reports)


# --- what is read -------------------------------------------------------------------------------------------


async def test_the_counts_of_all_replicas_are_added_up(plane: ControlPlane) -> None:
    for replica, requests in (("r1", 3), ("r2", 4)):
        traffic = Traffic(plane, replica)
        traffic.both(*[Outcome.ok] * requests, cost_microusd=10)
        await traffic.write()
    seen = await picture(plane)
    assert seen.windows[60.0][Arm.candidate].requests == 7
    assert seen.run.arms[Arm.control].cost_microusd == 70
    assert seen.stage.arms[Arm.candidate].requests == 7
    assert (seen.spec, seen.state, seen.now) == (SPEC, plane.state, plane.clock.now())
    assert (seen.stale, seen.unmeasured) == ((), "")


async def test_what_an_earlier_entry_counted_is_of_the_run_but_not_of_the_stage(plane: ControlPlane) -> None:
    traffic = Traffic(plane)
    traffic.both(Outcome.ok)
    await traffic.write()
    await plane.act("advance")
    seen = await picture(plane)
    assert seen.run.arms[Arm.candidate].requests == 1
    assert seen.stage.arms[Arm.candidate].requests == 0


async def test_nothing_of_an_earlier_run_is_in_the_picture(plane: ControlPlane) -> None:
    traffic = Traffic(plane)
    traffic.both(Outcome.timeout)
    await traffic.write()
    await traffic.enrol(3)
    await plane.act("rollback", "restart", "advance")
    seen = await picture(plane)
    assert seen.run.arms[Arm.candidate].requests == 0
    assert seen.windows == {}
    assert seen.enrolled[Arm.candidate] == 0


@pytest.mark.parametrize("scope", ["counts", "1", "1.2"])
async def test_counts_of_another_form_leave_the_migration_unmeasured(plane: ControlPlane, scope: str) -> None:
    await Traffic(plane).write()
    await plane.count("r1", plane.counts(Outcome.ok))
    assert plane.state.entry == 2
    if scope == "counts":
        await plane.store.put_counts("m", "r2", {"form": "of the future"}, 15.0)
    else:
        await plane.store.put_tally("m", scope, "r2", {"form": "of the future"})
    seen = await picture(plane)
    assert "another version" in seen.unmeasured
    assert (seen.windows == {}) is (scope == "counts"), "breakers go by windows alone"


async def test_a_store_that_is_away_is_said_so(plane: ControlPlane) -> None:
    reports = await plane.store.replicas()
    plane.store.away = True
    with pytest.raises(StoreUnavailable):
        await plane.gatherer.picture(plane.state, SPEC, reports)
    with pytest.raises(StoreUnavailable):
        await plane.gatherer.evidence("m")


async def test_enrolled_units_are_counted_at_every_look(plane: ControlPlane) -> None:
    traffic, gatherer = Traffic(plane), Gatherer(plane.store, clock=plane.clock)
    for enrolled, more in ((0, 3), (3, 5)):
        assert (await picture(plane, gatherer)).enrolled == dict.fromkeys(Arm, enrolled)
        await traffic.enrol(more)
    assert (await picture(plane, gatherer)).enrolled[Arm.candidate] == 5


# --- whether it is fresh ------------------------------------------------------------------------------------


async def test_a_replica_without_traffic_that_goes_on_writing_is_fresh(plane: ControlPlane) -> None:
    traffic = Traffic(plane)
    for _ in range(60):
        await traffic.write()
        assert (await picture(plane)).stale == ()
        plane.clock.advance(1)


async def test_a_replica_whose_number_stands_still_becomes_stale(plane: ControlPlane) -> None:
    going, stuck = Traffic(plane, "going"), Traffic(plane, "stuck")
    await stuck.write()
    frozen = (await plane.store.counts("m"))["stuck"]
    stale = []
    for second in range(20):
        await going.write()
        await plane.report("stuck")
        await plane.store.put_counts("m", "stuck", frozen, 15.0)
        stale.append((await picture(plane)).stale)
        assert second <= FRESH_S or stale[-1] == ("stuck",)
        plane.clock.advance(1)
    assert stale.index(("stuck",)) == FRESH_S + 1
    await stuck.write()
    assert (await picture(plane)).stale == ()


async def test_a_replica_that_lives_but_has_no_counts_is_stale(plane: ControlPlane) -> None:
    await Traffic(plane, "r1").write()
    await plane.report("mute")
    assert (await picture(plane)).stale == ("mute",)


async def test_a_replica_that_has_just_begun_is_given_the_time_to_write(plane: ControlPlane) -> None:
    now = plane.clock.now()
    await plane.store.report(ReplicaReport("young", now, started_at=now - FRESH_S))
    assert (await picture(plane)).stale == ()
    await plane.store.report(ReplicaReport("young", now, started_at=now - FRESH_S - 1))
    assert (await picture(plane)).stale == ("young",)


async def test_a_process_that_took_its_leave_is_not_expected_to_write(plane: ControlPlane) -> None:
    await Traffic(plane, "gone").write()
    await plane.store.deregister("gone")
    await picture(plane)
    plane.clock.advance(14)
    assert (await picture(plane)).stale == ()


async def test_the_clocks_of_replicas_do_not_matter(plane: ControlPlane) -> None:
    traffic = Traffic(plane, "ahead")
    for _ in range(3):
        await traffic.write()
        ahead = plane.clock.now() + 86_400
        await plane.store.report(ReplicaReport("ahead", ahead, started_at=ahead - 3600))
        assert (await picture(plane)).stale == ()
        plane.clock.advance(1)


# --- evidence -----------------------------------------------------------------------------------------------


async def test_evidence_is_what_was_written_last(plane: ControlPlane) -> None:
    assert await plane.gatherer.evidence("m") is None
    written = replace(Evidence(), run=1, entry=2, watched_s=7.0)
    await plane.store.put_document("m", EVIDENCE, to_json(written), epoch=1)
    assert await plane.gatherer.evidence("m") == written


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1]", b'{"watched_s":"for ever"}'])
async def test_evidence_that_cannot_be_read_is_gathered_anew(plane: ControlPlane, body: bytes) -> None:
    await plane.store.put_document("m", EVIDENCE, body, epoch=1)
    assert await plane.gatherer.evidence("m") is None
