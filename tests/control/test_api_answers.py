"""The admin API's other answers: emergencies, lists, explanations, and errors of every origin."""

import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from gateway.config import load_catalogue
from gateway.core.spec import Lists, MigrationSpec
from tests.support.admin_client import ANN, client, refused
from tests.support.control import SPEC, ControlPlane

M = "/admin/migrations/m"
EMERGENCY = f"{M}/actions/emergency-rollback"


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane(emergency_store_s=0.05)


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(plane, ANN) as connected:
        yield connected


# --- emergency ----------------------------------------------------------------------------------------------


async def test_an_emergency_answers_as_the_interface_says(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    plane.replica.others, plane.replica.silent = ("r2", "r3"), ("r3",)
    plane.replica.sent_at = {"r2": 12.5, "r1": 0.0}
    answer = await api.post(EMERGENCY, json={"reason": "it insults people"})
    took_ms = answer.json()["took_ms"]
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "rolled_back",
        "weight_percent": 0,
        "replicas": {"expected": 3, "acknowledged": 2, "missing": ["r3"]},
        "took_ms": took_ms,
        "last_candidate_request": {"r1": None, "r2": 12.5},
    }
    assert isinstance(took_ms, int)
    assert [(event.by, event.reason) for event in await plane.service.read.events("m")][-1] == (
        "ann", "it insults people")  # fmt: skip


async def test_an_emergency_may_be_repeated_without_a_second_event(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start")
    for _ in range(3):
        answer = await api.post(EMERGENCY)
        assert (answer.status_code, answer.json()["status"]) == (200, "rolled_back")
    assert plane.verbs == ["start", "emergency-rollback"]
    assert len((await api.get(f"{M}/incidents")).json()["data"]) == 1


@pytest.mark.parametrize("version", ['"1"', "7", "nonsense"])
async def test_an_emergency_ignores_the_version(
    version: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    assert (await api.post(EMERGENCY, headers={"if-match": version})).status_code == 200
    assert plane.state.killed


@pytest.mark.parametrize(
    "kind", [None, "application/json", "application/x-www-form-urlencoded", "text/plain"]
)
@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"", ""),
        (b'{"reason": "bad answers"}', "bad answers"),
        (b"reason=bad+answers", "bad answers"),
        (b'{"reason": "' + 2_000 * b"x" + b'"}', 999 * "x" + "…"),
        (b'{"reason": 5, "mode": "evict", "oops": 1}', ""),
        (b"[" * 100_000, ""),
        (b'{"reason": "cut off', ""),
        (b"\xff\x00", ""),
    ],
    ids=str,
)
async def test_no_body_keeps_an_emergency_from_happening(
    body: bytes, kept: str, kind: str | None, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start")
    answer = await api.post(EMERGENCY, content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == 200, answer.text
    assert (plane.verbs[-1], plane.state.killed) == ("emergency-rollback", True)
    assert (await plane.service.read.events("m"))[-1].reason == kept


async def test_a_body_that_never_ends_keeps_no_emergency_waiting(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1024

    assert (await api.post(EMERGENCY, content=endless())).status_code == 200
    assert plane.state.killed


@pytest.mark.parametrize("trouble", ["away", "hangs"])
async def test_without_the_store_an_emergency_is_accepted_and_names_the_missing(
    trouble: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    plane.replica.others = ("r2",)
    if trouble == "hangs":
        plane.store.hang()
    plane.store.away = True
    answer = await api.post(EMERGENCY)
    assert answer.status_code == 202
    assert answer.json()["status"] == "rolled_back_locally"
    assert answer.json()["weight_percent"] == 0
    assert answer.json()["replicas"] == {"expected": 2, "acknowledged": 1, "missing": ["r2"]}
    assert plane.replica.kills == [("m", "ann", "")]


async def test_a_completed_migration_is_not_killed(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    await plane.act("start", "advance", "advance", "advance", "advance", "complete")
    body = refused(await api.post(EMERGENCY), 409, "conflict_error", "completed")
    assert isinstance(body["current"], dict)


# --- lists --------------------------------------------------------------------------------------------------


async def test_lists_are_read_and_written(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    plane.specs["m"] = replace(SPEC, lists=Lists(allow_tasks=("internal",)))
    lists = {"allow_users": [], "allow_tasks": ["internal"], "deny_users": []}
    assert (await api.get(f"{M}/lists")).json() == lists
    lists = {"allow_users": ["zoe"], "allow_tasks": [], "deny_users": ["eve"]}
    assert (await api.put(f"{M}/lists", json={**lists, "reason": "asked"})).json() == lists
    assert (await api.get(f"{M}/lists")).json() == lists
    (event,) = (await api.get(f"{M}/events")).json()["data"]
    assert (event["verb"], event["by"], event["reason"]) == ("set-lists", "ann", "asked")


async def test_a_list_that_is_left_out_stays_as_it_is(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    plane.specs["m"] = replace(SPEC, lists=Lists(allow_users=("zoe",), deny_users=("eve",)))
    answer = await api.put(f"{M}/lists", json={"deny_users": []})
    assert answer.json() == {"allow_users": ["zoe"], "allow_tasks": [], "deny_users": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [({"allow": []}, "allow"), ({"deny_users": "eve"}, "deny_users"), ({"deny_users": [""]}, "deny_users.0"),
     ({"deny_users": [7]}, "deny_users.0"), ([], "body")],
)  # fmt: skip
async def test_lists_of_another_form_are_refused(
    body: object, field: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    refused(await api.put(f"{M}/lists", json=body), 400, "invalid_request_error", field)
    assert plane.verbs == []


# --- questions ----------------------------------------------------------------------------------------------


async def test_an_explanation_names_arm_reason_bucket_and_rung(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    answer = (await api.get(f"{M}/explain", params={"unit": "alice"})).json()
    told = {
        "unit": "alice", "arm": "candidate", "reason": "bucket", "bucket": 3440, "rung": "header",
        "run": 1, "weight_percent": 20.0,
    }  # fmt: skip
    assert told.items() <= answer.items()


@pytest.mark.parametrize("params", [{}, {"unit": ""}])
async def test_an_explanation_needs_a_unit(params: Mapping[str, str], api: httpx2.AsyncClient) -> None:
    refused(await api.get(f"{M}/explain", params=params), 400, "invalid_request_error", "query.unit")


async def test_events_can_be_followed(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    await plane.act("start", "advance", "pause")
    answer = await api.get(f"{M}/events", params={"since": 1})
    assert [event["seq"] for event in answer.json()["data"]] == [2, 3]


@pytest.mark.parametrize("since", ["-1", "yesterday"])
async def test_events_since_nonsense_are_refused(since: str, api: httpx2.AsyncClient) -> None:
    refused(
        await api.get(f"{M}/events", params={"since": since}), 400, "invalid_request_error", "query.since"
    )


async def test_an_incident_shows_cause_evidence_before_and_after(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    await plane.act("rollback", reason="too slow")
    (incident,) = (await api.get(f"{M}/incidents")).json()["data"]
    assert (incident["cause"], incident["by"], incident["reason"]) == ("user", "ada", "too slow")
    assert (incident["before"]["weight_percent"], incident["after"]["phase"]) == (20.0, "rolled_back")


async def test_replicas_are_listed(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    await plane.report("r1", {"m": (3, 7)})
    (replica,) = (await api.get("/admin/replicas")).json()["data"]
    assert (replica["id"], replica["versions"], replica["leader"], replica["in_flight"]) == (
        "r1", {"m": [3, 7]}, False, 0)  # fmt: skip


async def test_models_are_listed(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    plane.catalogue = load_catalogue(Path(__file__).parents[2] / "config" / "models.yaml")
    rows = (await api.get("/admin/models")).json()["data"]
    assert [row["id"] for row in rows] == [model.id for model in plane.catalogue.models]
    assert {"tier", "lifecycle", "prices"} <= set(rows[0])


async def test_the_openapi_document_describes_every_route(api: httpx2.AsyncClient) -> None:
    document = (await api.get("/admin/openapi.json")).json()
    assert set(document["paths"]) == {
        "/admin/migrations", "/admin/migrations/{name}", "/admin/migrations/{name}/weight",
        "/admin/migrations/{name}/actions/emergency-rollback", "/admin/migrations/{name}/actions/{verb}",
        "/admin/migrations/{name}/lists", "/admin/migrations/{name}/explain",
        "/admin/migrations/{name}/proofs", "/admin/migrations/{name}/events",
        "/admin/migrations/{name}/incidents", "/admin/migrations/{name}/plan",
        "/admin/migrations/{name}/runbook", "/admin/migrations/{name}/checklist",
        "/admin/migrations/{name}/report", "/admin/migrations/{name}/reports",
        "/admin/replicas", "/admin/models", "/admin/compat/preview",
    }  # fmt: skip
    weight = document["paths"]["/admin/migrations/{name}/weight"]["put"]
    assert {"HTTPBearer": []} in weight["security"]
    assert "422" not in weight["responses"]
    assert {"stage", "gates", "weight_percent"} <= set(
        document["components"]["schemas"]["Status"]["properties"]
    )


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/", 404, "not_found_error"),
        ("GET", "/favicon.ico", 404, "not_found_error"),
        ("GET", "/admin", 404, "not_found_error"),
        ("GET", "/admin/nothing", 404, "not_found_error"),
        ("GET", "/admin/migrations/", 404, "not_found_error"),
        ("GET", "/admin/docs", 404, "not_found_error"),
        ("GET", EMERGENCY, 405, "invalid_request_error"),
        ("DELETE", M, 405, "invalid_request_error"),
    ],
)
async def test_what_the_framework_refuses_is_in_the_envelope_too(
    method: str, path: str, status: int, kind: str, api: httpx2.AsyncClient
) -> None:
    answer = await api.request(method, path)
    refused(answer, status, kind, path)
    assert ("allow" in answer.headers) is (status == 405)


async def test_without_the_store_reads_say_what_is_obeyed_and_writes_say_why_not(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    plane.store.away = True
    status = (await api.get(M)).json()
    assert (status["store_available"], status["weight_percent"], status["enrolled"]) == (False, 20.0, None)
    for method, path in [("POST", f"{M}/actions/pause"), ("GET", f"{M}/events"), ("GET", "/admin/replicas")]:
        refused(await api.request(method, path), 503, "overloaded_error", "store")


async def test_what_goes_wrong_inside_is_logged_and_not_told(
    plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(dict[str, MigrationSpec]):
        def get(self, *_: object) -> MigrationSpec:
            raise RuntimeError("a secret of the inside")

    plane.specs = Broken(plane.specs)
    async with client(plane, ANN) as api:
        answer = await api.get(M)
    refused(answer, 500, "api_error", "its log says what")
    assert "secret" not in answer.text
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [
        True
    ]
