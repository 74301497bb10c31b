"""What a person must force, and what the audit log then knows: checklists, gates, approvals, proofs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway.control.service import Proof
from gateway.core.rollout import Verb
from gateway.core.spec import Stage
from gateway.core.types import Outcome, Phase
from gateway.errors import Conflict, NotFound, StoreUnavailable
from tests.support.control import SPEC, ControlPlane, contended

STRICT = replace(SPEC, checklist="required")


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


async def last_evidence(plane: ControlPlane) -> dict[str, Any]:
    return (await plane.service.read.events("m"))[-1].evidence


# --- the checklist ------------------------------------------------------------------------------------------


def with_open(*items: str) -> ControlPlane:
    async def open_items(name: str) -> Sequence[str]:
        assert name == "m"
        return items

    return ControlPlane({"m": STRICT}, open_items=open_items)


@pytest.mark.parametrize("verb", ["start", "restart"])
async def test_no_run_begins_while_its_checklist_is_open(verb: Verb) -> None:
    plane = with_open("rollback rehearsed", "evals passed")
    if verb == "restart":
        await plane.act("rollback")
    before = plane.state
    with pytest.raises(Conflict, match=f"rollback rehearsed; evals passed.*force the {verb}"):
        await plane.act(verb)
    assert plane.state == before


@pytest.mark.parametrize("verb", ["start", "restart"])
async def test_a_forced_run_says_what_was_open(verb: Verb) -> None:
    plane = with_open("evals passed")
    if verb == "restart":
        await plane.act("rollback")
    await plane.act(verb, force=True, reason="the vendor did it")
    assert plane.state.phase is Phase.running
    assert await last_evidence(plane) == {"forced": True, "open_items": ["evals passed"]}


async def test_an_advisory_checklist_keeps_nobody_and_is_told_all_the_same() -> None:
    plane = with_open("evals passed")
    plane.specs["m"] = SPEC
    await plane.act("start")
    assert await last_evidence(plane) == {"open_items": ["evals passed"]}


async def test_a_checklist_that_is_done_is_not_mentioned() -> None:
    plane = with_open()
    await plane.act("start")
    assert await last_evidence(plane) == {}


async def test_an_illegal_start_is_refused_before_anybody_looks_at_the_checklist() -> None:
    plane = with_open("evals passed")
    await plane.act("start", force=True, reason="known")
    with pytest.raises(Conflict, match="start is not possible while migration 'm' is running"):
        await plane.act("start", force=True, reason="again")


async def test_only_beginning_a_run_asks_for_the_checklist() -> None:
    plane = with_open("evals passed")
    await plane.act("start", force=True, reason="known")
    await plane.act("advance", "pause", "resume", "step-back", "rollback")
    assert plane.state.phase is Phase.rolled_back


# --- advancing by hand --------------------------------------------------------------------------------------


async def test_an_advance_lists_what_was_not_green(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    gates = (await plane.service.read.status("m")).gates
    expected = {gate.name: (gate.verdict, gate.reason) for gate in gates if gate.verdict != "pass"}
    assert expected
    await plane.act("advance", reason="seen enough")
    told = (await last_evidence(plane))["gates"]
    assert {gate["name"]: (gate["verdict"], gate["reason"]) for gate in told} == expected


async def test_no_stage_is_left_while_a_gate_wants_a_rollback_unless_forced(plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    await plane.count("r1", plane.counts(*[Outcome.timeout] * 10))
    before = plane.state
    with pytest.raises(Conflict, match=r"should be rolled back, not advanced \(error_rate: 100"):
        await plane.act("advance")
    assert plane.state == before
    await plane.act("advance", force=True, reason="it is the load test")
    assert plane.state.stage_index == 2
    evidence = await last_evidence(plane)
    assert evidence["forced"] is True
    assert [gate["verdict"] for gate in evidence["gates"] if gate["name"] == "error_rate"] == ["fail"]


@pytest.mark.parametrize("verb", ["pause", "step-back", "rollback"])
async def test_a_failing_gate_keeps_nobody_from_being_careful(verb: Verb, plane: ControlPlane) -> None:
    await plane.act("start", "advance")
    await plane.count("r1", plane.counts(*[Outcome.timeout] * 10))
    await plane.act(verb)
    assert plane.verbs[-1] == verb


async def test_an_advance_that_lost_its_race_is_judged_on_what_is_stored_by_then() -> None:
    plane = contended(rivals=0)
    await plane.act("start", "advance")
    plane.store.rivals = 2  # type: ignore[attr-defined]
    await plane.act("advance")
    assert (plane.state.stage_index, plane.verbs[-3:]) == (2, ["note", "note", "advance"])


async def test_the_second_persons_approval_is_forced_only_with_the_log_knowing() -> None:
    stages = (Stage("half", 50, approval=True, approval_by_another=True), Stage("full", 100))
    plane = ControlPlane({"m": replace(SPEC, stages=stages)})
    await plane.act("start")
    for verb in ("approve", "advance"):
        with pytest.raises(Conflict, match="somebody other than ada"):
            await plane.act(verb)  # type: ignore[arg-type]
    await plane.act("approve", by="bob", reason="numbers look good")
    assert (plane.state.approved_by, plane.state.phase) == ("bob", Phase.running)
    await plane.act("set-weight", percent=50.0)
    await plane.act("advance", force=True, reason="bob is on a plane")
    assert (plane.state.stage_index, (await last_evidence(plane))["forced"]) == (1, True)


# --- the people of a new run --------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["keep_assignment", "exclude_previous"])
async def test_a_restart_says_what_becomes_of_the_people_of_the_run_before(
    choice: str, plane: ControlPlane
) -> None:
    await plane.act("start", "advance", "rollback")
    await plane.act("restart", **{choice: True})
    assert await last_evidence(plane) == {choice: True}
    assert (plane.state.seed, plane.state.excluded) == (
        (1, ()) if choice == "keep_assignment" else (0, ((1, 20_000),))
    )


# --- proofs -------------------------------------------------------------------------------------------------


async def test_a_proof_is_kept_in_the_audit_log_and_changes_no_state(plane: ControlPlane) -> None:
    await plane.service.prove("m", Proof("rehearsal", True, "8 of 8 tripped", {"cases": 8}), by="ada")
    (event,) = await plane.service.read.events("m")
    assert (event.verb, event.by, event.reason, event.at) == (
        "proof", "ada", "8 of 8 tripped", plane.clock.now())  # fmt: skip
    assert event.evidence == {"kind": "rehearsal", "passed": True, "details": {"cases": 8}}
    assert (event.before, event.after, plane.state.version) == ({}, {}, 0)


async def test_nothing_is_proved_of_what_does_not_exist_or_cannot_be_written(plane: ControlPlane) -> None:
    proof = Proof("evals", False, "2 of 40 worse")
    with pytest.raises(NotFound):
        await plane.service.prove("x", proof, by="ada")
    assert "x" not in plane.server.data.events
    plane.store.away = True
    with pytest.raises(StoreUnavailable):
        await plane.service.prove("m", proof, by="ada")
