"""Who may steer and who may call: tokens and keys, the audit log, and each verb's effect on the data path."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from gateway.core.assign import bucket_of
from tests.support.deploy import ADMIN_TOKEN, Deployed, Simulated, deployed, migration, write_config

O45, O46 = "claude-opus-4-5-20251101", "claude-opus-4-6"
OPERATOR, VIEWER = "e2e-operator-token", "e2e-viewer-token"
APP_KEY, BATCH_KEY = "key-of-the-app-31415", "key-of-the-batch-27182"
UPSTREAM_KEY = "key-of-the-company-16180"
WRONG = "nobody-knows-this-14142"
CREDENTIALS = (APP_KEY, BATCH_KEY, UPSTREAM_KEY, WRONG, ADMIN_TOKEN, OPERATOR, VIEWER)
ACTIONS = "/migrations/m/actions"


@pytest.fixture(scope="module")
def _gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("admin")
    config = write_config(directory, _upstream.url, migration("m", O45, O46))
    env = {
        "GATEWAY_CLIENT_KEYS": f"app:{APP_KEY},batch:{BATCH_KEY}",
        "GATEWAY_UPSTREAM_API_KEY": UPSTREAM_KEY,
        "GATEWAY_LOG_LEVEL": "debug",
    }
    with deployed(config, directory, env=env) as running:
        yield running


@pytest.fixture
def gateway(_gateway: Deployed) -> Deployed:
    """A new run, on its first stage."""
    phase = _gateway.status("m")["phase"]
    if phase not in ("draft", "rolled_back"):
        _gateway.act("m", "emergency-rollback", reason="next test")
    _gateway.act("m", "start" if phase == "draft" else "restart", reason="next test")
    _gateway.settle("m")
    return _gateway


def ask(gateway: Deployed, unit: str, *, key: str = APP_KEY, **headers: str) -> httpx2.Response:
    body = {"model": O45, "max_tokens": 4, "messages": [{"role": "user", "content": f"I am {unit}."}]}
    named = {"x-api-key": key, "anthropic-version": "2023-06-01", "x-gateway-unit": unit} | headers
    return gateway.http.post(f"{gateway.url}/v1/messages", json=body, headers=named)


def events(gateway: Deployed, since: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.admin("GET", f"/migrations/m/events?since={since}").json()["data"]
    return found


def last_event(gateway: Deployed) -> int:
    return max(int(event["seq"]) for event in events(gateway))


# --- tokens and roles ---------------------------------------------------------------------------------------

READS = (
    "/migrations", "/migrations/m", "/migrations/m/lists", "/migrations/m/explain?unit=alice",
    "/migrations/m/events", "/migrations/m/incidents", "/replicas", "/models", "/openapi.json",
)  # fmt: skip
WRITES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", f"{ACTIONS}/advance", {}),
    ("POST", f"{ACTIONS}/emergency-rollback", {}),
    ("PUT", "/migrations/m/weight", {"percent": 100}),
    ("PUT", "/migrations/m/lists", {"allow_users": ["eve"]}),
)


@pytest.mark.parametrize(
    "authorization", [None, "Bearer", f"Bearer {WRONG}", ADMIN_TOKEN, f"Basic {ADMIN_TOKEN}"]
)
def test_without_a_known_token_nothing_is_shown_and_nothing_done(
    gateway: Deployed, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    seen, before = last_event(gateway), gateway.status("m")
    answers = [gateway.http.get(f"{gateway.url}/admin{path}", headers=headers) for path in READS]
    for method, path, body in WRITES:
        answers.append(gateway.http.request(method, f"{gateway.url}/admin{path}", json=body, headers=headers))
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["error"]["type"] for answer in answers} == {"authentication_error"}
    assert events(gateway, seen) == []
    assert gateway.status("m")["version"] == before["version"]


def test_a_viewer_reads_everything_and_writes_nothing(gateway: Deployed) -> None:
    seen = last_event(gateway)
    assert {gateway.admin("GET", path, token=VIEWER).status_code for path in READS} == {200}
    refusals = [gateway.admin(method, path, token=VIEWER, json=body) for method, path, body in WRITES]
    assert {answer.status_code for answer in refusals} == {403}
    assert {answer.json()["error"]["type"] for answer in refusals} == {"permission_error"}
    assert events(gateway, seen) == []
    assert ask(gateway, "eve").headers["x-gateway-arm"] == "control"


def test_an_operator_writes(gateway: Deployed) -> None:
    for method, path, body in (*WRITES[2:], WRITES[0], WRITES[1]):
        answer = gateway.admin(method, path, token=OPERATOR, json=body)
        assert answer.status_code == 200, answer.text


def test_without_configured_tokens_a_local_one_is_made_that_only_its_owner_can_read(
    upstream: Simulated, directory: Path
) -> None:
    config = write_config(directory, upstream.url, migration("m", O45, O46))
    with deployed(config, directory, env={"GATEWAY_ADMIN_TOKENS": ""}) as gateway:
        file = directory / "data" / "admin-token"
        token = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert gateway.admin("GET", "/migrations", token=token).status_code == 200
        assert gateway.admin("GET", "/migrations", token=ADMIN_TOKEN).status_code == 401
        assert gateway.http.get(f"{gateway.url}/admin/migrations").status_code == 401
        log = gateway.log.read_text()
        assert str(file) in log
        assert token not in log


# --- versions and the audit log -----------------------------------------------------------------------------


def test_a_write_on_a_version_that_is_past_is_refused_with_the_present_one(gateway: Deployed) -> None:
    version = gateway.status("m")["version"]
    fresh, stale = {"if-match": f'"{version}"'}, {"if-match": f'"{version - 1}"'}
    for method, path, body in (WRITES[0], *WRITES[2:]):
        answer = gateway.admin(method, path, json=body, headers=stale)
        assert (answer.status_code, answer.json()["error"]["type"]) == (409, "conflict_error")
        assert answer.json()["current"]["version"] == version
    first = gateway.admin("PUT", "/migrations/m/weight", json={"percent": 10}, headers=fresh)
    second = gateway.admin("PUT", "/migrations/m/weight", json={"percent": 90}, headers=fresh)
    assert (first.status_code, second.status_code) == (200, 409)
    assert first.headers["etag"] == f'"{version + 1}"'
    assert gateway.status("m")["weight_percent"] == 10


def test_every_write_is_in_the_audit_log_with_its_name_and_what_it_changed(gateway: Deployed) -> None:
    seen = last_event(gateway)
    writes: list[tuple[str, str, str, str, dict[str, Any]]] = [
        ("advance", "root", "POST", f"{ACTIONS}/advance", {}),
        ("set-weight", "olga", "PUT", "/migrations/m/weight", {"percent": 33}),
        ("resume", "root", "POST", f"{ACTIONS}/resume", {}),
        ("pause", "olga", "POST", f"{ACTIONS}/pause", {}),
        ("step-back", "root", "POST", f"{ACTIONS}/step-back", {}),
        ("set-lists", "olga", "PUT", "/migrations/m/lists", {"deny_users": ["eve"]}),
        ("rollback", "root", "POST", f"{ACTIONS}/rollback", {"mode": "drain"}),
        ("restart", "olga", "POST", f"{ACTIONS}/restart", {}),
        ("emergency-rollback", "olga", "POST", f"{ACTIONS}/emergency-rollback", {}),
    ]
    tokens = {"root": ADMIN_TOKEN, "olga": OPERATOR}
    for verb, name, method, path, body in writes:
        answer = gateway.admin(method, path, token=tokens[name], json=body | {"reason": f"for {verb}"})
        assert answer.status_code == 200, answer.text
    written = events(gateway, seen)
    assert [(event["verb"], event["by"]) for event in written] == [write[:2] for write in writes]
    assert [event["reason"] for event in written] == [f"for {write[0]}" for write in writes]
    assert [event["seq"] for event in written] == list(range(seen + 1, seen + 10))
    by_verb = {event["verb"]: event for event in written}
    assert by_verb["set-weight"]["before"]["weight_percent"] == 20
    assert by_verb["set-weight"]["after"]["weight_percent"] == 33
    assert by_verb["rollback"]["after"]["phase"] == "rolled_back"
    assert not [word for word in CREDENTIALS if word in str(written)]


# --- verbs on the data path ---------------------------------------------------------------------------------


def arms(gateway: Deployed) -> tuple[float, str]:
    """Return the share that the status shows, and the arms of units below 20 %, below 60 % and above."""
    status = gateway.status("m")
    placed = ((0, 20_000), (20_000, 60_000), (60_000, 100_000))
    names = [f"unit-{n}" for n in range(200)]
    units = [
        next(name for name in names if low <= bucket_of("m", status["run"], name) < high)
        for low, high in placed
    ]
    met = [ask(gateway, unit).headers["x-gateway-arm"] for unit in units]
    return status["weight_percent"], "".join("C" if arm == "candidate" else "-" for arm in met)


def test_every_verb_is_seen_on_the_data_path(gateway: Deployed) -> None:
    steps: list[tuple[str, dict[str, Any], tuple[float, str]]] = [
        ("advance", {}, (20, "C--")),
        ("pause", {}, (20, "C--")),
        ("advance", {}, (60, "CC-")),
        ("step-back", {}, (20, "C--")),
        ("rollback", {}, (0, "---")),
        ("restart", {}, (0, "---")),
        ("advance", {}, (20, "C--")),
        ("advance", {}, (60, "CC-")),
        ("advance", {}, (100, "CCC")),
        ("advance", {}, (100, "CCC")),
        ("complete", {}, (100, "CCC")),
        ("restart", {}, (0, "---")),
        ("advance", {}, (20, "C--")),
        ("emergency-rollback", {}, (0, "---")),
    ]
    assert arms(gateway) == (0, "---")
    for verb, body, expected in steps:
        gateway.act("m", verb, reason="test", **body)
        gateway.settle("m")
        assert arms(gateway) == expected, f"after {verb}"


def test_a_weight_by_hand_holds_and_resuming_does_not_raise_it(
    gateway: Deployed,
) -> None:
    gateway.act("m", "advance", reason="test")
    gateway.set_weight("m", 60)
    assert (arms(gateway), gateway.status("m")["phase"]) == ((60, "CC-"), "paused")
    gateway.set_weight("m", 0)
    gateway.act("m", "resume", reason="test")
    gateway.settle("m")
    assert (arms(gateway), gateway.status("m")["phase"]) == ((0, "---"), "running")


def test_the_reason_is_killed_after_an_emergency_until_a_new_run(gateway: Deployed) -> None:
    gateway.set_weight("m", 100)
    assert ask(gateway, "u").headers["x-gateway-arm"] == "candidate"
    done = gateway.act("m", "emergency-rollback", reason="test")
    assert (done["status"], done["weight_percent"], done["replicas"]["missing"]) == ("rolled_back", 0, [])
    forced = {"x-gateway-force-arm": "candidate", "x-gateway-token": OPERATOR}
    assert ask(gateway, "u", **forced).headers["x-gateway-reason"] == "killed"
    assert gateway.act("m", "emergency-rollback", reason="again")["status"] == "rolled_back"
    gateway.act("m", "restart", reason="test")
    gateway.settle("m")
    assert ask(gateway, "u", **forced).headers["x-gateway-reason"] == "forced"


# --- the callers' keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"x-api-key": WRONG}, {"authorization": f"Bearer {WRONG}"}, {}])
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/messages"), ("GET", "/v1/models")])
def test_an_unknown_key_is_refused_in_the_apis_envelope(
    gateway: Deployed, upstream: Simulated, headers: dict[str, str], method: str, path: str
) -> None:
    since = upstream.last_seq()
    answer = gateway.http.request(method, f"{gateway.url}{path}", headers=headers, content=b"")
    assert (answer.status_code, answer.json()["type"]) == (401, "error")
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.json()["request_id"] == answer.headers["x-gateway-request-id"]
    assert upstream.requests(since) == []


def test_the_sdk_sees_an_unknown_key_as_what_it_is(gateway: Deployed) -> None:
    turns: Any = [{"role": "user", "content": "Hello."}]
    with (
        anthropic.Anthropic(api_key=WRONG, base_url=gateway.url, max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError) as refusal,
    ):
        client.messages.create(model=O45, max_tokens=5, messages=turns)
    assert str(refusal.value.request_id).startswith("gw_")


@pytest.mark.parametrize(
    "headers", [{"x-api-key": APP_KEY}, {"x-api-key": BATCH_KEY}, {"authorization": f"Bearer {APP_KEY}"}]
)
def test_a_known_key_is_replaced_by_the_companys(
    gateway: Deployed, upstream: Simulated, headers: dict[str, str]
) -> None:
    since = upstream.last_seq()
    body = {"model": O45, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello."}]}
    version = {"anthropic-version": "2023-06-01"}
    for method, path in (("POST", "/v1/messages"), ("GET", "/v1/models")):
        answer = gateway.http.request(method, f"{gateway.url}{path}", json=body, headers=headers | version)
        assert answer.status_code == 200, answer.text
    for entry in upstream.requests(since):
        credentials = [value for name, value in entry["headers"] if name in ("x-api-key", "authorization")]
        assert credentials == [UPSTREAM_KEY]


def test_no_credential_is_in_a_log_on_disk_or_on_a_page(gateway: Deployed, upstream: Simulated) -> None:
    since = upstream.last_seq()
    ask(gateway, "u", **{"x-gateway-token": OPERATOR, "x-gateway-force-arm": "candidate"})
    ask(gateway, "u", key=WRONG)
    ask(gateway, "u", **{"x-simulator-fault": "kind=connect"})
    gateway.admin("GET", "/migrations", token=WRONG)
    pages = [gateway.http.get(f"{gateway.url}/metrics").text]
    pages += [gateway.admin("GET", path).text for path in READS]
    pages += [str(entry["headers"]) for entry in upstream.requests(since)]
    leaked = [word for word in CREDENTIALS for page in pages if word in page and word != UPSTREAM_KEY]
    assert leaked == []
    data = gateway.log.parent
    files = [file for file in data.rglob("*") if file.is_file()]
    assert gateway.log in files
    assert b'"outcome"' in gateway.log.read_bytes()
    kept = [(word, file.name) for file in files for word in CREDENTIALS if word.encode() in file.read_bytes()]
    assert kept == []
