"""One serving process as an ASGI application: its life, its plain pages, and a changed configuration."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.app import Gateway
from gateway.compat.catalog import Catalogue
from gateway.config import load
from gateway.errors import ConfigError
from gateway.settings import Settings
from tests.support.clock import ManualClock
from tests.support.deploy import migration, write_config
from tests.support.eventually import eventually
from tests.support.rows import CATALOGUE, O55
from tests.support.scripted import answer, replying, scripted_upstream
from tests.support.upstream import running_simulator

CONTROL, CANDIDATE = "claude-opus-4-5-20251101", "claude-opus-4-6"
SONNET = "claude-sonnet-4-5-20250929"
TOKEN = {"authorization": "Bearer secret-token", "content-type": "application/json"}
MESSAGE = json.dumps(
    {"model": CONTROL, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
).encode()
REPLY = b'{"type":"message","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{}}'


class Called:
    """One answer of an ASGI application."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: Gateway,
    method: str,
    path: str,
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    peer: str = "127.0.0.1",
) -> Called:
    """Send one request to the application, as a server would."""
    called, parts = Called(), [{"type": "http.request", "body": body, "more_body": False}]
    left = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        if parts:
            return parts.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            called.status = message["status"]
            called.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            called.body += message.get("body", b"")

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": (peer, 1234),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    await app(scope, receive, send)
    return called


@asynccontextmanager
async def living(app: Gateway) -> AsyncIterator[Gateway]:
    """Run the application's life around the block, by the lifespan protocol."""
    inbox: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    life = asyncio.ensure_future(app({"type": "lifespan"}, inbox.get, said.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    try:
        yield app
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
        await life


def made(directory: Path, upstream: str = "http://127.0.0.1:9", **env: str) -> Gateway:
    config = directory / "gateway.yaml"
    if not config.exists():
        write_config(directory, upstream, migration("m", CONTROL, CANDIDATE))
    settings = Settings.load(
        {
            "GATEWAY_CONFIG": str(config),
            "GATEWAY_DATA_DIR": str(directory / "data"),
            "GATEWAY_STORE_URL": f"sqlite:///{directory}/data/gateway.db",
            "GATEWAY_ADMIN_TOKENS": "root:admin:secret-token",
            **env,
        }
    )
    return Gateway(settings, load(config))


async def test_it_is_alive_at_once_and_ready_when_it_knows_what_to_obey(tmp_path: Path) -> None:
    app = made(tmp_path)
    assert (await call(app, "GET", "/healthz")).status == 200
    assert (await call(app, "GET", "/readyz")).status == 503
    async with living(app):
        assert (await call(app, "GET", "/readyz")).status == 200
    assert (await call(app, "GET", "/readyz")).status == 503


async def test_the_metrics_page_shows_the_build_and_the_migration(tmp_path: Path) -> None:
    async with living(made(tmp_path)) as app:
        page = await call(app, "GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'gateway_phase{migration="m",phase="draft"} 1.0' in page.body.decode()
    assert "gateway_build_info{" in page.body.decode()


async def test_the_metrics_page_shows_when_models_end_and_what_the_run_asks_for(tmp_path: Path) -> None:
    write_config(tmp_path, "http://127.0.0.1:9", migration("m", SONNET, CANDIDATE))
    async with living(made(tmp_path)) as app:
        await call(app, "POST", "/admin/migrations/m/actions/start", body=b"{}", headers=TOKEN)
        page = (await call(app, "GET", "/metrics")).body.decode().splitlines()
    ends = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
    samples = dict(line.rsplit(" ", 1) for line in page if not line.startswith("#"))
    assert float(samples['gateway_model_retires_timestamp_seconds{arm="control",migration="m"}']) == ends
    assert samples['gateway_model_retires_timestamp_seconds{arm="candidate",migration="m"}'] == "+Inf"
    assert samples['gateway_gate_limit{gate="error_rate",migration="m"}'] == "0.05"
    assert float(samples['gateway_stage_entered_timestamp_seconds{migration="m"}']) > 0


async def test_who_leads_holds_the_catalogue_against_the_list_of_the_upstream(tmp_path: Path) -> None:
    larger = Catalogue(
        replace(row, max_output_tokens=256_000) if row is O55 else row for row in CATALOGUE.models
    )
    with running_simulator(larger) as upstream:
        async with living(made(tmp_path, upstream.url, GATEWAY_UPSTREAM_API_KEY="key-of-ours")) as app:
            drift = b'gateway_catalogue_drift{field="max_output_tokens",model="claude-opus-5-5"} 1.0'
            await eventually(lambda: drift in app.metrics()[2], deadline_s=20)
        (asked,) = upstream.requests(path="/v1/models")
    assert asked.header("x-api-key") == "key-of-ours"


async def test_a_gateway_without_a_key_of_its_own_asks_for_no_list(tmp_path: Path) -> None:
    async with living(made(tmp_path)):
        running = {task.get_name() for task in asyncio.all_tasks()}
    assert "controller" in running
    assert "catalogue" not in running


async def test_a_request_is_served_by_the_arm_that_the_api_has_just_set(tmp_path: Path) -> None:
    async with (
        scripted_upstream(replying(answer(REPLY))) as upstream,
        living(made(tmp_path, upstream.url)) as app,
    ):
        before = await call(app, "POST", "/v1/messages", body=MESSAGE)
        started = await call(
            app, "POST", "/admin/migrations/m/actions/start", body=b'{"reason":"x"}', headers=TOKEN
        )
        raised = await call(
            app, "PUT", "/admin/migrations/m/weight", body=b'{"percent":100,"reason":"x"}', headers=TOKEN
        )
        after = await call(app, "POST", "/v1/messages", body=MESSAGE)
    assert (before.headers["x-gateway-arm"], before.headers["x-gateway-reason"]) == ("control", "not_running")
    assert (started.status, raised.status) == (200, 200)
    assert (after.headers["x-gateway-arm"], after.body) == ("candidate", REPLY)
    assert [json.loads(request.body)["model"] for request in upstream.requests] == [CONTROL, CANDIDATE]


async def test_without_configured_tokens_only_this_machine_may_steer_with_its_own_token(
    tmp_path: Path,
) -> None:
    async with living(made(tmp_path, GATEWAY_ADMIN_TOKENS="")) as app:
        path = tmp_path / "data" / "admin-token"
        own = {"authorization": f"Bearer {(await asyncio.to_thread(path.read_text)).strip()}"}
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await call(app, "GET", "/admin/migrations", headers=own)).status == 200
        assert (await call(app, "GET", "/admin/migrations")).status == 401
        assert (await call(app, "GET", "/admin/migrations", headers=own, peer="10.1.2.3")).status == 403


async def test_a_start_without_its_store_serves_and_says_what_it_cannot_do(tmp_path: Path) -> None:
    async with scripted_upstream(replying(answer(REPLY))) as upstream:
        app = made(tmp_path, upstream.url, GATEWAY_STORE_URL="redis://127.0.0.1:1/0")
        async with living(app):
            assert (await call(app, "GET", "/readyz")).status == 200
            assert (await call(app, "POST", "/v1/messages", body=MESSAGE)).status == 200
            refused = await call(
                app, "POST", "/admin/migrations/m/actions/start", body=b'{"reason":"x"}', headers=TOKEN
            )
    assert (refused.status, refused.json()["error"]["type"]) == (503, "overloaded_error")


async def reloaded(app: Gateway, file: Path, text: str) -> None:
    """Change a file as an editor would, and let the application look."""
    write(file, text)
    await app.reload()


def write(file: Path, text: str) -> None:
    stamp = file.stat().st_mtime_ns
    file.write_text(text)
    os.utime(file, ns=(stamp + 1_000_000_000, stamp + 1_000_000_000))


async def test_a_prompt_variant_that_conversations_may_have_is_missed_by_name_and_not_by_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "prompts" / "brief.yaml"
    file.parent.mkdir()
    text = "{name: brief, models: [claude-opus-4-6], versions: [{version: 1, mode: append, text: Hush.}]}"
    file.write_text(text)
    async with living(made(tmp_path)) as app:
        await reloaded(app, file, text.replace("[{", "[{version: 2, mode: append, text: Hush now.}, {"))
        assert not [record for record in caplog.records if "variants" in vars(record)]
        await reloaded(app, file, text.replace("Hush", "Tell"))
    (missed,) = [vars(record)["variants"] for record in caplog.records if "variants" in vars(record)]
    assert [label.partition(":")[0] for label in missed] == ["brief@1", "brief@2"]
    assert "Hush" not in caplog.text


async def test_a_changed_file_is_taken_over_and_a_broken_one_is_not(tmp_path: Path) -> None:
    async with living(made(tmp_path)) as app:
        file = tmp_path / "migrations" / "m.yaml"
        good = await asyncio.to_thread(file.read_text)
        await reloaded(app, file, good.replace("sixty", "most"))
        listed = await call(app, "GET", "/admin/migrations/m", headers=TOKEN)
        assert listed.json()["candidate"] == CANDIDATE
        await reloaded(app, file, "name: m\ncontrol: nobody\n")
        kept = await call(app, "GET", "/admin/migrations/m", headers=TOKEN)
        assert (kept.status, kept.json()["candidate"]) == (200, CANDIDATE)
        await asyncio.to_thread(file.unlink)
        await app.reload()
        assert (await call(app, "GET", "/admin/migrations/m", headers=TOKEN)).status == 404


def test_a_mistake_in_a_setting_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="STORE_URL"):
        made(tmp_path, GATEWAY_STORE_URL="mysql://x/y")


async def test_any_other_path_is_a_404_in_the_envelope(tmp_path: Path) -> None:
    async with living(made(tmp_path)) as app:
        lost = await call(app, "GET", "/somewhere")
    assert lost.status == 404
    assert lost.headers["content-type"] in ("application/json", "text/plain; charset=utf-8")


async def test_a_control_that_retires_overnight_rescues_nobody_the_day_after(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 11, 29, 23, 59, tzinfo=UTC).timestamp())
    config = write_config(tmp_path, "http://127.0.0.1:9", migration("m", SONNET, "claude-sonnet-4-6"))
    settings = Settings.load(
        {"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_STORE_URL": f"sqlite:///{tmp_path}/gateway.db"}
    )
    app = Gateway(settings, load(config), clock=clock)
    async with living(app):
        assert app.table.by_name["m"].rescues
        clock.advance(120)
        await app.reload()
        assert not app.table.by_name["m"].rescues


async def test_feedback_has_a_door_of_its_own(tmp_path: Path) -> None:
    async with (
        scripted_upstream(replying(answer(REPLY))) as upstream,
        living(made(tmp_path, upstream.url)) as app,
    ):
        await call(app, "POST", "/admin/migrations/m/actions/start", body=b"{}", headers=TOKEN)
        told = (await call(app, "POST", "/v1/messages", body=MESSAGE)).headers["x-gateway-request-id"]
        issue = json.dumps({"request_id": told, "kind": "issue"}).encode()
        came = await call(app, "POST", "/gateway/feedback", body=issue)
        named = json.dumps({"migration": "m", "unit": "u", "kind": "rating", "score": 1}).encode()
        rated = await call(app, "POST", "/gateway/feedback", body=named, headers=TOKEN)
        forged = await call(app, "POST", "/gateway/feedback", body=issue.replace(b"gw_", b"gw_f"))
        page = app.metrics()[2].decode()
    assert (came.status, came.json()) == (202, {"status": "accepted", "counted": True})
    assert (rated.status, rated.json()["counted"]) == (202, True)
    assert (forged.status, forged.json()["type"]) == (400, "error")
    for kind in ("issue", "rating"):
        assert f'gateway_feedback_total{{kind="{kind}",migration="m"}} 1.0' in page
