"""The admin API as HTTP: who gets in, what is answered, and how it refuses."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.control.api_actions import VERBS
from gateway.control.auth import Gatekeeper, Role, Token
from gateway.core.types import Outcome
from tests.support.admin_client import ANN, BOB, EVE, client, refused
from tests.support.control import ControlPlane

ACT = "/admin/migrations/m/actions"


@pytest.fixture
def plane() -> ControlPlane:
    return ControlPlane(emergency_store_s=0.05)


@pytest.fixture
async def api(plane: ControlPlane) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(plane, ANN) as connected:
        yield connected


# --- who gets in --------------------------------------------------------------------------------------------

ROUTES = [
    ("GET", "/admin/migrations"),
    ("GET", "/admin/migrations/m"),
    ("PUT", "/admin/migrations/m/weight"),
    *(("POST", f"{ACT}/{verb}") for verb in (*VERBS, "emergency-rollback")),
    ("GET", "/admin/migrations/m/lists"),
    ("PUT", "/admin/migrations/m/lists"),
    ("POST", "/admin/migrations/m/proofs"),
    ("GET", "/admin/migrations/m/explain?unit=alice"),
    ("GET", "/admin/migrations/m/events"),
    ("GET", "/admin/migrations/m/incidents"),
    ("GET", "/admin/replicas"),
    ("GET", "/admin/models"),
    ("GET", "/admin/openapi.json"),
]
WRITES = [route for route in ROUTES if route[0] != "GET"]
ROUTES.append(("POST", "/admin/compat/preview"))


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s-ann"}])
@pytest.mark.parametrize(
    ("method", "path"), [*ROUTES, ("GET", "/admin/nothing"), ("DELETE", "/admin/migrations/m")]
)
async def test_nobody_gets_in_without_a_known_token(
    method: str, path: str, header: dict[str, str], plane: ControlPlane
) -> None:
    async with client(plane, header) as api:
        answer = await api.request(method, path, content=b"{not json")
    refused(answer, 401, "authentication_error", "token")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert plane.verbs == []


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_viewer_cannot_write(method: str, path: str, plane: ControlPlane) -> None:
    await plane.act("start")
    async with client(plane, EVE) as api:
        refused(
            await api.request(method, path, json={"percent": 50}),
            403,
            "permission_error",
            "'eve'",
            "operator",
        )
    assert plane.verbs == ["start"]


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] == "GET"])
async def test_a_viewer_can_read_everything(method: str, path: str, plane: ControlPlane) -> None:
    async with client(plane, EVE) as api:
        assert (await api.request(method, path)).status_code == 200


async def test_an_operator_runs_every_verb_sets_lists_and_weight(plane: ControlPlane) -> None:
    async with client(plane, BOB) as api:
        for verb in ("start", "advance", "pause", "resume", "step-back", "rollback", "restart"):
            assert (await api.post(f"{ACT}/{verb}")).status_code == 200, verb
        assert (await api.put("/admin/migrations/m/weight", json={"percent": 50})).status_code == 200
        assert (await api.put("/admin/migrations/m/lists", json={"deny_users": ["x"]})).status_code == 200
        assert (await api.post(f"{ACT}/emergency-rollback")).status_code == 200
    assert {event.by for event in await plane.service.read.events("m")} == {"bob"}


@pytest.mark.parametrize(("peer", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403)])
async def test_without_configured_tokens_only_this_machine_gets_in(
    peer: str, status: int, plane: ControlPlane
) -> None:
    local = Gatekeeper([Token("local", Role.admin, "s-local")], loopback_only=True)
    async with client(plane, {"authorization": "Bearer s-local"}, tokens=local, peer=peer) as api:
        assert (await api.get("/admin/migrations")).status_code == status
    async with client(plane, {}, tokens=local, peer=peer) as api:
        assert (await api.get("/admin/migrations")).status_code in (401, 403)


@pytest.mark.parametrize(
    ("header", "why"),
    [({}, "needs a token"), ({"authorization": "Bearer hunter2"}, "not known"), (EVE, "'eve'")],
)
async def test_whoever_is_turned_away_is_logged_without_what_they_presented(
    header: dict[str, str], why: str, plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    async with client(plane, header) as api:
        await api.post(f"{ACT}/start?token=hunter2")
    (record,) = [each for each in caplog.records if each.name == "gateway.control.api"]
    seen = vars(record)
    assert (record.levelname, seen["peer"], seen["path"]) == ("WARNING", "192.0.2.7", f"{ACT}/start")
    assert why in seen["why"]
    assert not [secret for secret in ("hunter2", "s-eve") if secret in str(seen)]


@pytest.mark.parametrize("since", ["9999999999999999999999", str(2**63), "-1"])
async def test_a_number_that_no_event_can_have_is_refused(since: str, api: httpx2.AsyncClient) -> None:
    answer = await api.get(f"/admin/migrations/m/events?since={since}")
    refused(answer, 400, "invalid_request_error", "since")
    assert (await api.get(f"/admin/migrations/m/events?since={2**63 - 1}")).json() == {"data": []}


# --- status and verbs ---------------------------------------------------------------------------------------


async def test_the_status_object_has_every_field_of_the_interface(
    plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    await plane.count("r1", plane.counts(*[Outcome.timeout] * 10))
    answer = await api.get("/admin/migrations/m")
    body = answer.json()
    assert {
        "name", "control", "candidate", "phase", "reason", "stage", "weight_percent", "run", "version",
        "epoch", "config_drift", "decision", "next_check_at", "gates", "metrics", "enrolled", "replicas",
    } <= set(body)  # fmt: skip
    assert set(body["stage"]) == {"index", "name", "percent", "entered_at", "hold_until"}
    assert body["stage"]["hold_until"] == body["stage"]["entered_at"] + 600
    assert body["enrolled"] == {"control": 0, "candidate": 0}
    assert set(body["replicas"]) == {"expected", "acknowledged", "missing"}
    assert all(set(gate) == {"name", "verdict", "reason", "evidence"} for gate in body["gates"])
    assert [gate["verdict"] for gate in body["gates"][:2]] == ["fail", "pass"]
    assert all(
        set(row) == {
            "name", "control", "candidate", "ratio", "lower", "upper", "margin", "evidence", "n_control",
            "n_candidate", "verdict",
        } for row in body["metrics"]
    )  # fmt: skip
    assert {row["name"] for row in body["metrics"]} >= {"error", "ttft", "cost"}
    assert (body["decision"], body["weight_percent"]) == ("rollback", 20.0)
    assert answer.headers["etag"] == '"2"'
    assert (await api.get("/admin/migrations")).json() == {"data": [body]}


async def test_verbs_answer_the_new_status(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    answer = await api.post(f"{ACT}/start", json={"reason": "go"})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    assert (answer.json()["phase"], answer.json()["updated_by"]) == ("running", "ann")
    (event,) = (await api.get("/admin/migrations/m/events")).json()["data"]
    assert (event["seq"], event["by"], event["verb"], event["reason"]) == (1, "ann", "start", "go")
    assert set(event) == {"seq", "at", "by", "verb", "reason", "before", "after", "evidence"}


@pytest.mark.parametrize("body", [None, {}, {"reason": "why"}])
async def test_a_verb_needs_no_body(body: object, api: httpx2.AsyncClient) -> None:
    answer = await (api.post(f"{ACT}/start") if body is None else api.post(f"{ACT}/start", json=body))
    assert answer.status_code == 200


async def test_a_rollback_may_drain(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    await plane.act("start")
    assert (await api.post(f"{ACT}/rollback", json={"mode": "drain"})).json()["phase"] == "rolled_back"
    assert plane.state.draining


async def test_a_forced_start_needs_a_reason(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    refused(
        await api.post(f"{ACT}/start", json={"force": True, "reason": " "}),
        400,
        "invalid_request_error",
        "reason",
    )
    assert (await api.post(f"{ACT}/start", json={"force": True, "reason": "tested"})).status_code == 200
    assert (await plane.service.read.events("m"))[0].evidence == {"forced": True}


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("start", {"resaon": "x"}, "resaon"),
        ("start", {"mode": "drain"}, "mode"),
        ("pause", {"force": True, "reason": "x"}, "force"),
        ("rollback", {"mode": "slowly"}, "mode"),
        ("start", {"force": "yes", "reason": "x"}, "force"),
        ("start", {"reason": 5}, "reason"),
        ("start", {"reason": "x" * 1001}, "reason"),
        ("start", [], "body"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_by_name(
    verb: str, body: object, field: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    refused(await api.post(f"{ACT}/{verb}", json=body), 400, "invalid_request_error", field)
    assert plane.verbs == []


async def test_a_body_that_is_no_json_is_refused(api: httpx2.AsyncClient) -> None:
    answer = await api.post(f"{ACT}/start", content=b"{", headers={"content-type": "application/json"})
    refused(answer, 400, "invalid_request_error", "JSON")


async def test_a_body_that_is_not_called_json_is_refused_with_a_hint(api: httpx2.AsyncClient) -> None:
    answer = await api.post(f"{ACT}/start", data={"reason": "x"})
    refused(answer, 400, "invalid_request_error", "Content-Type: application/json")


@pytest.mark.parametrize("verb", ["begin", "set-weight", "automatic-rollback", "START"])
async def test_an_unknown_verb_is_answered_with_the_known_ones(verb: str, api: httpx2.AsyncClient) -> None:
    refused(await api.post(f"{ACT}/{verb}"), 404, "not_found_error", verb, "step-back", "emergency-rollback")


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "/migrations/m" in route[1]])
async def test_an_unknown_migration_is_answered_with_the_known_ones(
    method: str, path: str, api: httpx2.AsyncClient
) -> None:
    path = path.replace("/migrations/m", "/migrations/x")
    body: dict[str, object] = {"percent": 5} if path.endswith("weight") else {}
    body |= {"kind": "evals", "passed": True, "summary": "x"} if path.endswith("proofs") else {}
    refused(await api.request(method, path, json=body), 404, "not_found_error", "'x'", "known: m")


# --- weight -------------------------------------------------------------------------------------------------


async def test_a_weight_is_set_by_hand(plane: ControlPlane, api: httpx2.AsyncClient) -> None:
    await plane.act("start")
    answer = await api.put("/admin/migrations/m/weight", json={"percent": 12.5, "reason": "slowly"})
    assert (answer.status_code, answer.json()["weight_percent"], answer.json()["phase"]) == (
        200,
        12.5,
        "paused",
    )
    assert [(event.verb, event.reason) for event in await plane.service.read.events("m")][-1] == (
        "set-weight",
        "slowly",
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"percent": 101}',
        b'{"percent": -1}',
        b'{"percent": "25"}',
        b'{"percent": true}',
        b'{"percent": NaN}',
        b'{"percent": null}',
        b"{}",
    ],
)
async def test_what_is_no_percentage_is_refused(
    body: bytes, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start")
    answer = await api.put(
        "/admin/migrations/m/weight", content=body, headers={"content-type": "application/json"}
    )
    refused(answer, 400, "invalid_request_error", "percent")
    assert plane.verbs == ["start"]


async def test_a_weight_without_a_run_is_a_conflict_and_shows_the_state(api: httpx2.AsyncClient) -> None:
    answer = await api.put("/admin/migrations/m/weight", json={"percent": 5})
    body = refused(answer, 409, "conflict_error", "draft")
    assert isinstance(body["current"], dict)
    assert body["current"]["phase"] == "draft"


# --- If-Match -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ['"1"', "1", 'W/"1"'])
async def test_a_stale_version_is_a_conflict_that_shows_the_present_state(
    version: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    for method, path, body in [
        ("POST", f"{ACT}/pause", {}),
        ("PUT", "/admin/migrations/m/weight", {"percent": 5}),
        ("PUT", "/admin/migrations/m/lists", {"deny_users": ["x"]}),
    ]:
        answer = await api.request(method, path, json=body, headers={"if-match": version})
        stale = refused(answer, 409, "conflict_error", "version 2")
        assert stale["current"] == (await api.get("/admin/migrations/m")).json()
    assert plane.verbs == ["start", "advance"]


@pytest.mark.parametrize("version", ['"2"', "2", "*"])
async def test_the_present_version_lets_a_write_through(
    version: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    await plane.act("start", "advance")
    assert (await api.post(f"{ACT}/pause", headers={"if-match": version})).status_code == 200


@pytest.mark.parametrize("version", ["", "new", '"1", "2"', "-1", "1.0", "9" * 30, "²"])
async def test_a_malformed_version_is_refused(
    version: str, plane: ControlPlane, api: httpx2.AsyncClient
) -> None:
    answer = await api.post(f"{ACT}/start", headers={"if-match": version.encode()})  # type: ignore[dict-item]
    refused(answer, 400, "invalid_request_error", "If-Match")
    assert plane.verbs == []
