"""Stopping at once, with the store and without it."""

import asyncio
from dataclasses import replace

import pytest

from gateway.control.service import EMERGENCY_ATTEMPTS
from gateway.core.spec import OnRollback
from gateway.errors import Conflict, NotFound
from tests.support.control import SPEC, ControlPlane, contended


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


# --- emergency ----------------------------------------------------------------------------------------------


async def test_an_emergency_stops_everything_and_counts_acknowledgements(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    plane.replica.others, plane.replica.silent = ("r2", "r3"), ("r2",)
    plane.replica.sent_at = {"r1": 7.0, "r3": 0.0}
    answer = await plane.service.emergency_rollback("m", by="ada", reason="it insults people")
    assert (answer.status, answer.weight_percent) == ("rolled_back", 0)
    assert (answer.replicas.expected, answer.replicas.acknowledged, answer.replicas.missing) == (
        3,
        2,
        ("r2",),
    )
    assert answer.last_candidate_request == {"r1": 7.0, "r3": None}
    assert plane.state.killed
    assert plane.replica.waited[-1] == ("m", plane.state.order, 2.0)
    (*_, event) = await plane.service.read.events("m")
    assert (event.verb, event.by, event.reason) == ("emergency-rollback", "ada", "it insults people")
    assert event.evidence == {"mode": "evict"}


async def test_an_emergency_in_a_store_that_came_back_empty_stops_what_the_fleet_agreed_on(
    plane: ControlPlane,
) -> None:
    await plane.act("start", "advance")
    agreed = plane.state
    plane.store.server.lose()
    plane.replica.gives_back = True
    await plane.service.emergency_rollback("m", by="ada", reason="")
    assert plane.state.killed
    assert (plane.state.run, plane.state.evicted_run) == (agreed.run, agreed.run)
    assert plane.state.order > agreed.order, "a process that still has what was before must not win"


async def test_an_emergency_evicts_where_a_drain_is_configured() -> None:
    plane = ControlPlane({"m": replace(SPEC, on_rollback=OnRollback(mode="drain"))})
    await plane.act("start")
    await plane.service.emergency_rollback("m", by="ada", reason="")
    assert (plane.state.draining, plane.state.evicted_run) == (False, 1)


async def test_repeating_an_emergency_is_no_second_event_and_still_waits(plane: ControlPlane) -> None:
    await plane.act("start")
    await plane.service.emergency_rollback("m", by="ada", reason="")
    first = plane.state
    again = await plane.service.emergency_rollback("m", by="bob", reason="")
    assert again.status == "rolled_back"
    assert plane.state == first
    assert plane.verbs == ["start", "emergency-rollback"]
    assert plane.replica.waited[-1][1] == first.order


async def test_an_emergency_after_a_rollback_kills_without_a_second_incident(plane: ControlPlane) -> None:
    await plane.act("start")
    await plane.act("rollback", mode="drain")
    await plane.service.emergency_rollback("m", by="ada", reason="")
    assert (plane.state.killed, plane.state.draining) == (True, False)
    assert [incident.cause for incident in await plane.service.read.incidents("m")] == ["user"]


async def test_an_emergency_wins_every_race() -> None:
    plane = contended(rivals=EMERGENCY_ATTEMPTS - 1)
    answer = await plane.service.emergency_rollback("m", by="ada", reason="")
    assert (answer.status, plane.state.killed) == ("rolled_back", True)


async def test_an_emergency_that_cannot_win_kills_here() -> None:
    plane = contended(rivals=EMERGENCY_ATTEMPTS)
    answer = await plane.service.emergency_rollback("m", by="ada", reason="")
    assert answer.status == "rolled_back_locally"
    assert plane.replica.kills == [("m", "ada", "")]


async def test_two_emergencies_at_once_are_one(plane: ControlPlane) -> None:
    await plane.act("start")
    await asyncio.gather(
        *(plane.service.emergency_rollback("m", by=by, reason="") for by in ("ada", "bob", "eve"))
    )
    assert plane.verbs == ["start", "emergency-rollback"]


async def test_what_is_completed_is_not_killed(plane: ControlPlane) -> None:
    await plane.act("start", "advance", "advance", "advance", "advance", "complete")
    with pytest.raises(Conflict, match="completed"):
        await plane.service.emergency_rollback("m", by="ada", reason="")
    plane.store.away = True
    with pytest.raises(Conflict, match="completed"):
        await plane.service.emergency_rollback("m", by="ada", reason="")
    assert plane.replica.kills == []


async def test_without_the_store_an_emergency_stops_this_process_and_names_the_others(
    plane: ControlPlane,
) -> None:
    await plane.act("start", "advance")
    plane.replica.others = ("r3", "r2")
    plane.store.away = True
    answer = await plane.service.emergency_rollback("m", by="ada", reason="it insults people")
    assert (answer.status, answer.weight_percent) == ("rolled_back_locally", 0)
    assert (answer.replicas.expected, answer.replicas.acknowledged, answer.replicas.missing) == (
        3,
        1,
        ("r2", "r3"),
    )
    assert answer.last_candidate_request == {}
    assert plane.replica.kills == [("m", "ada", "it insults people")]
    assert (await plane.service.read.status("m")).weight_percent == 0


async def test_a_store_that_hangs_delays_an_emergency_only_so_long() -> None:
    plane = ControlPlane(emergency_store_s=0.01)
    await plane.act("start")
    plane.store.hang()
    async with asyncio.timeout(1):
        answer = await plane.service.emergency_rollback("m", by="ada", reason="")
    assert answer.status == "rolled_back_locally"
    assert plane.replica.kills == [("m", "ada", "")]
    plane.store.resume()


async def test_an_emergency_whose_own_process_cannot_read_it_kills_here_as_well(plane: ControlPlane) -> None:
    await plane.act("start")
    plane.replica.cut_off = True
    answer = await plane.service.emergency_rollback("m", by="ada", reason="")
    assert answer.status == "rolled_back_locally"
    assert plane.state.killed
    assert plane.replica.snapshot.state("m").killed


@pytest.mark.parametrize("away", [False, True])
async def test_nobody_kills_what_does_not_exist(away: bool, plane: ControlPlane) -> None:
    plane.store.away = away
    with pytest.raises(NotFound):
        await plane.service.emergency_rollback("x", by="ada", reason="")
    assert plane.replica.kills == []
