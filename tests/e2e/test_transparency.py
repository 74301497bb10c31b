"""What reaches the upstream is what the application sent, but for what a rule names."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.deploy import Deployed, Simulated, deployed, migration, write_config

O45, O46 = "claude-opus-4-5-20251101", "claude-opus-4-6"
HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "content-type": "application/json"}

ODD = (
    b'{ "max_tokens" : 64,\n\t"metadata":{"user_id":"u\\u0031"}  ,'
    b'"model": "claude-opus-4-5-20251101",'
    b'"system":  [ {"text":"caf\\u00e9 \\/ \xc3\xa9","type":"text"} ] ,'
    b'"tools":[{"name":"t","input_schema":{"type":"object","x-odd":[1.50,1e2,-0.0, 1E-7]}}],'
    b'"messages":[ {"role" : "user","content":"a\\u0020b"} ] , "stop_sequences":[ "\\u007e" ]}'
)
VALUES = (
    b'{"user_id":"u\\u0031"}',
    b'[ {"text":"caf\\u00e9 \\/ \xc3\xa9","type":"text"} ]',
    b'[{"name":"t","input_schema":{"type":"object","x-odd":[1.50,1e2,-0.0, 1E-7]}}]',
    b'[ {"role" : "user","content":"a\\u0020b"} ]',
    b'[ "\\u007e" ]',
)


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("transparency")
    config = write_config(directory, _upstream.url, migration("m", O45, O46))
    with deployed(config, directory) as running:
        running.act("m", "start", reason="test")
        yield running


def received(upstream: Simulated, since: int) -> dict[str, Any]:
    (entry,) = upstream.requests(since)
    return entry


@pytest.mark.parametrize(("weight", "model"), [(0, O45), (100, O46)])
def test_untouched_values_arrive_byte_for_byte(
    gateway: Deployed, upstream: Simulated, weight: int, model: str
) -> None:
    gateway.set_weight("m", weight)
    since = upstream.last_seq()
    answer = gateway.http.post(f"{gateway.url}/v1/messages?beta=true", content=ODD, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    body = base64.b64decode(received(upstream, since)["body"])
    assert [value for value in VALUES if value not in body] == []
    assert b'"%s"' % model.encode() in body
    assert (body == ODD) is (weight == 0)


def test_unknown_fields_arrive_and_their_rejection_is_the_upstreams(
    gateway: Deployed, upstream: Simulated
) -> None:
    gateway.set_weight("m", 100)
    since = upstream.last_seq()
    body = ODD[:-1] + b',"from_2031": { "a":1.0 }}'
    answer = gateway.http.post(f"{gateway.url}/v1/messages", content=body, headers=HEADERS)
    assert answer.json()["error"]["message"] == "from_2031: Extra inputs are not permitted"
    asked = upstream.requests(since)
    assert [entry["model"] for entry in asked] == [O46, O45]
    assert all(b'{ "a":1.0 }' in base64.b64decode(entry["body"]) for entry in asked)
    assert answer.headers["x-gateway-fallback"] == "rejected_by_model"


def test_headers_betas_and_the_query_arrive_and_ours_do_not(gateway: Deployed, upstream: Simulated) -> None:
    since = upstream.last_seq()
    ours = {
        "x-gateway-unit": "alice",
        "x-gateway-task": "t",
        "x-gateway-anything": "1",
        "connection": "x-hop",
        "x-hop": "1",
    }
    theirs = {
        "anthropic-beta": "interleaved-thinking-2025-05-14",
        "x-stainless-lang": "python",
        "traceparent": "00-a-b-01",
    }
    answer = gateway.http.post(
        f"{gateway.url}/v1/messages?beta=true&x=%20y", content=ODD, headers=HEADERS | ours | theirs
    )
    assert answer.status_code == 200, answer.text
    entry = received(upstream, since)
    names = [name for name, _ in entry["headers"]]
    assert entry["query"] == "beta=true&x=%20y"
    assert theirs.items() <= dict(entry["headers"]).items()
    assert not [name for name in names if name.startswith("x-gateway-") or name == "x-hop"]
    assert dict(entry["headers"])["host"] == upstream.url.removeprefix("http://")
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["anthropic-ratelimit-requests-limit"]


def test_an_unknown_beta_is_the_upstreams_to_judge(gateway: Deployed, upstream: Simulated) -> None:
    gateway.set_weight("m", 0)
    since = upstream.last_seq()
    gateway.http.post(
        f"{gateway.url}/v1/messages",
        content=ODD,
        headers=HEADERS | {"anthropic-beta": "from-the-future-2031"},
    )
    assert dict(received(upstream, since)["headers"])["anthropic-beta"] == "from-the-future-2031"


def test_other_paths_pass_with_any_method_and_any_bytes(gateway: Deployed, upstream: Simulated) -> None:
    payload = bytes(range(256)) * 40_000
    uploaded = gateway.http.post(
        f"{gateway.url}/v1/files?a=1",
        content=payload,
        headers=HEADERS | {"content-type": "application/octet-stream"},
    )
    assert uploaded.status_code == 200, uploaded.text
    assert uploaded.json()["sha256"] == hashlib.sha256(payload).hexdigest()
    again = gateway.http.get(f"{gateway.url}/v1/files/{uploaded.json()['id']}/content", headers=HEADERS)
    assert again.content == payload
    assert uploaded.headers["x-gateway-reason"] == "ungoverned"
    missing = gateway.http.delete(f"{gateway.url}/v1/nowhere/at%2Fall", headers=HEADERS)
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "not_found_error"
    assert missing.json()["request_id"] == missing.headers["request-id"]


def test_the_upstreams_own_error_is_relayed_untouched(gateway: Deployed, upstream: Simulated) -> None:
    body = {"model": O45, "max_tokens": 10, "messages": [], "temperature": 7}
    direct = gateway.http.post(f"{upstream.url}/v1/messages", json=body, headers=HEADERS)
    through = gateway.http.post(f"{gateway.url}/v1/messages", json=body, headers=HEADERS)
    assert (through.status_code, through.json()["error"]) == (400, direct.json()["error"])
    assert through.json()["request_id"] == through.headers["request-id"]


@pytest.mark.parametrize(
    ("content", "headers", "status", "kind", "says"),
    [
        (b"{", {}, 400, "invalid_request_error", "not valid JSON"),
        (b"[1]", {}, 400, "invalid_request_error", "JSON object"),
        (b'{"messages": []}', {}, 400, "invalid_request_error", "model"),
        (b'{"a":' * 100_000, {}, 400, "invalid_request_error", ""),
        (b"x", {"content-encoding": "gzip"}, 400, "invalid_request_error", "gzip"),
        (b"x", {"content-encoding": "snappy"}, 400, "invalid_request_error", "snappy"),
        (b" " * (33 << 20), {}, 413, "request_too_large", "33554432"),
    ],
)
def test_a_bad_body_is_refused_in_the_apis_envelope(
    gateway: Deployed, content: bytes, headers: dict[str, str], status: int, kind: str, says: str
) -> None:
    answer = gateway.http.post(f"{gateway.url}/v1/messages", content=content, headers=HEADERS | headers)
    assert answer.status_code == status
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == kind
    assert says in answer.json()["error"]["message"]
    assert answer.json()["request_id"] == answer.headers["x-gateway-request-id"]
