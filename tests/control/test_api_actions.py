"""The admin API's writes: arguments that belong to one verb, whoever must be another, and proofs."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from gateway.core.spec import Stage
from gateway.core.types import Outcome
from tests.support.admin_client import ANN, BOB, EVE, client, refused
from tests.support.control import SPEC, ControlPlane

M = "/admin/migrations/m"
ACT = f"{M}/actions"
PROOF: dict[str, Any] = {"kind": "rehearsal", "passed": True, "summary": "8 of 8 tripped"}


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane()


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(plane, ANN) as connected:
        yield connected


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "argument"),
    [
        *((verb, "force") for verb in ("pause", "resume", "approve", "step-back", "rollback", "complete")),
        *((verb, word) for verb in ("start", "advance") for word in ("keep_assignment", "exclude_previous")),
        *((verb, "mode") for verb in ("start", "advance", "restart")),
    ],
)
async def test_an_argument_of_another_verb_is_refused(
    verb: str, argument: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    body = {"reason": "x", argument: "drain" if argument == "mode" else True}
    refused(await api.post(f"{ACT}/{verb}", json=body), 400, "invalid_request_error", argument, verb)
    assert plane.verbs == []


@pytest.mark.parametrize("verb", ["start", "restart", "advance"])
async def test_force_needs_a_reason(verb: str, plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    answer = await api.post(f"{ACT}/{verb}", json={"force": True, "reason": " "})
    refused(answer, 400, "invalid_request_error", "reason")
    assert plane.verbs == []


@pytest.mark.parametrize(
    "verb",
    ["automatic-rollback", "automatic-advance", "automatic-pause", "automatic-resume", "freeze-baseline"],
)
async def test_the_controllers_verbs_are_nobody_elses(
    verb: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start")
    refused(await api.post(f"{ACT}/{verb}"), 404, "not_found_error", verb)
    assert plane.verbs == ["start"]


async def test_an_open_checklist_is_a_conflict_that_names_its_items() -> None:
    async def open_items(name: str) -> Sequence[str]:
        return ("rollback rehearsed",)

    plane = ControlPlane({"m": replace(SPEC, checklist="required")}, open_items=open_items)
    async with client(plane, BOB) as api:
        refused(await api.post(f"{ACT}/start"), 409, "conflict_error", "rollback rehearsed")
        forced = await api.post(f"{ACT}/start", json={"force": True, "reason": "known"})
    assert forced.status_code == 200


async def test_advancing_past_a_failing_gate_must_be_forced(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    await plane.count("r1", plane.counts(*[Outcome.timeout] * 10))
    body = refused(await api.post(f"{ACT}/advance"), 409, "conflict_error", "error_rate")
    assert isinstance(body["current"], dict)
    forced = await api.post(f"{ACT}/advance", json={"force": True, "reason": "it is the load test"})
    assert (forced.status_code, forced.json()["stage"]["name"]) == (200, "half")


async def test_the_approver_is_whose_token_it_is() -> None:
    stages = (Stage("half", 50, approval=True, approval_by_another=True), Stage("full", 100))
    plane = ControlPlane({"m": replace(SPEC, stages=stages)})
    async with client(plane, ANN) as ann, client(plane, BOB) as bob:
        await ann.post(f"{ACT}/start")
        refused(await ann.post(f"{ACT}/approve"), 409, "conflict_error", "other than ann")
        assert (await bob.post(f"{ACT}/approve", json={"reason": "read it"})).status_code == 200
        refused(await bob.post(f"{ACT}/approve"), 409, "conflict_error", "approved already, by bob")
    assert plane.state.approved_by == "bob"


@pytest.mark.parametrize(
    ("word", "seed", "excluded"), [("keep_assignment", 1, ()), ("exclude_previous", 0, ((1, 20_000),))]
)
async def test_a_restart_may_keep_people_or_spare_them(
    word: str,
    seed: int,
    excluded: tuple[tuple[int, int], ...],
    plane: ControlPlane,
    api: httpx2.AsyncClient,
) -> None:
    await plane.act("start", "advance", "rollback")
    both = {"keep_assignment": True, "exclude_previous": True}
    refused(await api.post(f"{ACT}/restart", json=both), 400, "invalid_request_error", "contradict")
    assert (await api.post(f"{ACT}/restart", json={word: True})).status_code == 200
    assert (plane.state.run, plane.state.seed, plane.state.excluded) == (2, seed, excluded)


async def test_a_rollback_says_when_the_last_request_to_the_candidate_began(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    plane.replica.sent_at = {"r1": 1_234.5, "r2": 0.0}
    assert (await api.get(M)).json()["last_candidate_request"] is None
    answer = await api.post(f"{ACT}/rollback")
    assert answer.json()["last_candidate_request"] == {"r1": 1_234.5, "r2": None}


# --- proofs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rehearsal", "evals", "baseline"])
@pytest.mark.parametrize("passed", [False, True])
async def test_a_proof_stands_in_the_audit_log_under_the_tokens_name(
    kind: str, passed: bool, plane: ControlPlane
) -> None:
    proof = PROOF | {"kind": kind, "passed": passed, "details": {"cases": [1, 2]}}
    async with client(plane, BOB) as api:
        answer = await api.post(f"{M}/proofs", json=proof)
    assert (answer.status_code, answer.json()) == (201, proof)
    (event,) = await plane.service.read.events("m")
    assert (event.verb, event.by, event.reason) == ("proof", "bob", "8 of 8 tripped")
    assert event.evidence == {"kind": kind, "passed": passed, "details": {"cases": [1, 2]}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "belief"}, "kind"),
        ({"passed": "yes"}, "passed"),
        ({"summary": ""}, "summary"),
        ({"summary": "x" * 1001}, "summary"),
        ({"details": [1]}, "details"),
        ({"details": {"notes": "x" * 65_536}}, "details"),
        ({"by": "somebody else"}, "by"),
    ],
)
async def test_a_proof_of_another_form_is_refused(
    change: dict[str, object], field: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    answer = await api.post(f"{M}/proofs", json=PROOF | change)
    refused(answer, 400, "invalid_request_error", field)
    assert plane.verbs == []


async def test_a_viewer_proves_nothing(plane: ControlPlane) -> None:
    async with client(plane, EVE) as api:
        refused(await api.post(f"{M}/proofs", json=PROOF), 403, "permission_error", "operator")
    assert plane.verbs == []
