"""Both API versions and both ways to say who one is, through a governed model, on both arms.

The official SDK sends the newer version and its key as a bearer; a raw client sends what it was written for.
What a client said arrives as it said it: one credential, its own version, its own betas.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic
from anthropic.types import MessageParam

from tests.support.answers import folded
from tests.support.deploy import Deployed, Simulated, deployed, migration, write_config
from tests.support.talks import KEY

CONTROL, CANDIDATE = "claude-opus-4-6", "claude-opus-5-5"
SERVED = {"control": CONTROL, "candidate": CANDIDATE}
OLD, NEW = "2023-06-01", "2026-10-21"
STYLES = {"x-api-key": KEY, "authorization": f"Bearer {KEY}"}
RIVERS: list[MessageParam] = [{"role": "user", "content": "Say something about rivers."}]


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("versions")
    config = write_config(directory, _upstream.url, migration("m", CONTROL, CANDIDATE))
    with deployed(config, directory) as running:
        running.act("m", "start", reason="test")
        yield running


@pytest.fixture(scope="module", params=SERVED)
def served(request: pytest.FixtureRequest, gateway: Deployed) -> str:
    """The model that has to answer."""
    gateway.set_weight("m", {"control": 0, "candidate": 100}[request.param])
    return SERVED[request.param]


def post(gateway: Deployed, body: dict[str, Any], path: str = "", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = {"model": CONTROL, "max_tokens": 2000, "messages": RIVERS, **body}
    return gateway.http.post(f"{gateway.url}/v1/messages{path}", json=asked, headers=named)


def arrived(upstream: Simulated, since: int) -> dict[str, str]:
    """Return the headers of the only request that the upstream was sent."""
    (entry,) = upstream.requests(since)
    return dict(entry["headers"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("style", STYLES)
def test_every_version_and_style_is_served_and_arrives_as_it_was_sent(
    gateway: Deployed, served: str, upstream: Simulated, style: str, version: str, stream: bool
) -> None:
    since = upstream.last_seq()
    answer = post(gateway, {"stream": stream}, **{style: STYLES[style]}, anthropic_version=version)
    assert answer.status_code == 200, answer.text
    message = folded(answer.text) if stream else answer.json()
    assert message["model"] == served
    sent = arrived(upstream, since)
    assert sent["anthropic-version"] == version
    assert {name: sent[name] for name in STYLES if name in sent} == {style: STYLES[style]}


@pytest.mark.parametrize("version", [OLD, NEW])
def test_tokens_are_counted_in_every_version(
    gateway: Deployed, served: str, upstream: Simulated, version: str
) -> None:
    since = upstream.last_seq()
    answer = gateway.http.post(
        f"{gateway.url}/v1/messages/count_tokens",
        json={"model": CONTROL, "messages": RIVERS},
        headers={"x-api-key": KEY, "anthropic-version": version},
    )
    assert answer.json()["input_tokens"] > 0
    assert arrived(upstream, since)["anthropic-version"] == version


def test_sampling_is_what_the_version_makes_of_it(gateway: Deployed, served: str) -> None:
    old = post(gateway, {"temperature": 0.5}, x_api_key=KEY, anthropic_version=OLD)
    assert (old.status_code, old.json()["model"]) == (200, served)
    assert ("sampling=E" in old.headers["x-gateway-rewrites"]) is (served == CANDIDATE)


def test_what_a_version_rejects_for_every_model_is_heard_from_the_upstream(
    gateway: Deployed, served: str, upstream: Simulated
) -> None:
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    turns = [*RIVERS, {"role": "assistant", "content": [document]}, *RIVERS]
    refused = post(gateway, {"messages": turns}, x_api_key=KEY, anthropic_version=NEW)
    taken = post(gateway, {"messages": turns}, x_api_key=KEY, anthropic_version=OLD)
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert (taken.status_code, taken.json()["model"]) == (200, served)


@pytest.mark.parametrize("version", ["", "2031-01-01"])
def test_no_version_and_an_unknown_one_are_the_upstream_s_to_judge(
    gateway: Deployed, served: str, upstream: Simulated, version: str
) -> None:
    since = upstream.last_seq()
    post(gateway, {}, x_api_key=KEY, **({"anthropic_version": version} if version else {}))
    sent = {dict(entry["headers"]).get("anthropic-version") for entry in upstream.requests(since)}
    assert sent == {version or None}


def test_of_two_credentials_one_goes_on(gateway: Deployed, served: str, upstream: Simulated) -> None:
    login = {"anthropic_beta": "oauth-2025-04-20"}
    for more, expected in (({}, "x-api-key"), (login, "authorization")):
        since = upstream.last_seq()
        both = {"x_api_key": KEY, "authorization": "Bearer a-login-s-token"}
        post(gateway, {}, anthropic_version=NEW, **both, **more)
        for entry in upstream.requests(since):
            assert [name for name, _ in entry["headers"] if name in STYLES] == [expected]


def test_the_official_sdk_sends_the_newer_version_and_its_key_as_a_bearer(
    gateway: Deployed, served: str, upstream: Simulated
) -> None:
    since = upstream.last_seq()
    with Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0) as client:
        message = client.messages.create(model=CONTROL, max_tokens=2000, messages=RIVERS)
        batch = client.messages.batches.create(
            requests=[{"custom_id": "a", "params": {"model": CONTROL, "max_tokens": 99, "messages": RIVERS}}]
        )
        older = client.messages.create(
            model=CONTROL, max_tokens=2000, messages=RIVERS, extra_headers={"anthropic-version": OLD}
        )
    assert (message.model, older.model, batch.processing_status) == (served, served, "in_progress")
    heads = [dict(entry["headers"]) for entry in upstream.requests(since)]
    assert [head["anthropic-version"] for head in heads] == [NEW, NEW, OLD]
    assert {head["authorization"] for head in heads} == {f"Bearer {KEY}"}
    assert not [head for head in heads if "x-api-key" in head]


def test_a_batch_in_the_older_version_is_taken_with_sampling(
    gateway: Deployed, served: str, upstream: Simulated
) -> None:
    params = {"model": CONTROL, "max_tokens": 99, "messages": RIVERS, "temperature": 0.5}
    headers = {"x-api-key": KEY, "anthropic-version": OLD}
    url = f"{gateway.url}/v1/messages/batches"
    since = upstream.last_seq()
    made = gateway.http.post(url, json={"requests": [{"custom_id": "a", "params": params}]}, headers=headers)
    assert arrived(upstream, since)["anthropic-version"] == OLD
    gateway.http.get(f"{url}/{made.json()['id']}", headers=headers)
    line = json.loads(gateway.http.get(f"{url}/{made.json()['id']}/results", headers=headers).text)
    assert (line["result"]["type"], line["result"]["message"]["model"]) == ("succeeded", served)
