"""Faults and pace, on real connections: what a client of the Messages API gets to see."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from gateway.core.sse import SseScanner
from tests.support.upstream import LoggedRequest, Upstream, running_simulator

MODEL = "claude-opus-5-5"
HEADERS = {"x-api-key": "k", "anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with running_simulator() as upstream:
        yield upstream


@pytest.fixture
def upstream(running: Upstream) -> Iterator[Upstream]:
    running.forget_requests()
    yield running
    running.set_faults()


def body(**fields: Any) -> str:
    message = {"role": "user", "content": "Tell me more."}
    return json.dumps({"model": MODEL, "max_tokens": 1000, "messages": [message], **fields})


def post(
    upstream: Upstream, data: str | None = None, path: str = "/v1/messages", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, data or body(), HEADERS | sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def events(data: bytes) -> list[tuple[str, Any]]:
    return [(event.name, json.loads(event.data)) for event in SseScanner().feed(data)]


def logged(upstream: Upstream) -> LoggedRequest:
    [request] = upstream.requests()
    return request


@pytest.mark.parametrize(
    ("kind", "status", "error_type"),
    [
        ("overloaded", 529, "overloaded_error"),
        ("rate_limited", 429, "rate_limit_error"),
        ("server_error", 500, "api_error"),
        ("bad_request", 400, "invalid_request_error"),
        ("retired", 404, "not_found_error"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_fault_answers_in_the_models_place(
    upstream: Upstream, kind: str, status: int, error_type: str, path: str
) -> None:
    upstream.set_faults(f"kind={kind}")
    got, headers, data = post(upstream, path=path)
    envelope = json.loads(data)
    assert (got, envelope["type"], envelope["error"]["type"]) == (status, "error", error_type)
    assert envelope["request_id"] == headers["request-id"]
    assert headers.get("retry-after") == ("1" if kind == "rate_limited" else None)
    assert (logged(upstream).status, logged(upstream).fault) == (status, kind)
    upstream.set_faults()
    assert post(upstream, path=path)[0] == 200


def test_a_retired_model_looks_like_an_unknown_one(upstream: Upstream) -> None:
    upstream.set_faults(f"kind=retired,model={MODEL}")
    assert json.loads(post(upstream)[2])["error"]["message"] == f"model: {MODEL}"


def test_how_long_a_limited_client_waits(upstream: Upstream) -> None:
    upstream.set_faults("kind=rate_limited,ms=2001")
    assert post(upstream)[1]["retry-after"] == "3"


def test_a_fault_strikes_before_the_rules_or_not_at_all(upstream: Upstream) -> None:
    upstream.set_faults("kind=overloaded")
    assert post(upstream, body(temperature=0))[0] == 529
    upstream.set_faults("kind=cut")
    status, _, data = post(upstream, body(temperature=0))
    assert (status, json.loads(data)["error"]["message"]) == (
        400,
        "`temperature` is deprecated for this model.",
    )


def test_faults_of_another_model_do_not_matter(upstream: Upstream) -> None:
    upstream.set_faults("kind=overloaded,model=claude-opus-4-5")
    assert post(upstream)[0] == 200
    assert post(upstream, body(model="claude-opus-4-5-20251101"))[0] == 529


def test_a_connection_is_closed_without_an_answer(upstream: Upstream) -> None:
    upstream.set_faults("kind=connect")
    with pytest.raises(http.client.RemoteDisconnected):
        post(upstream)
    request = finished(upstream)
    assert (request.status, request.fault, request.hung_up) == (None, "connect", False)


def finished(upstream: Upstream) -> LoggedRequest:
    [request] = upstream.wait_for(lambda log: all(request.finished_at for request in log))
    return request


def send_and_wait_for_the_log(upstream: Upstream, data: str) -> socket.socket:
    """A connection on which a request was sent, once the upstream has it."""
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    request = f"POST /v1/messages HTTP/1.1\r\nhost: a\r\n{head}content-length: {len(data)}\r\n\r\n{data}"
    connection.sendall(request.encode())
    upstream.wait_for(lambda log: [request for request in log if request.body])
    return connection


def test_no_answer_until_the_client_leaves(upstream: Upstream) -> None:
    upstream.set_faults("kind=timeout")
    with send_and_wait_for_the_log(upstream, body()) as connection:
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert logged(upstream).finished_at is None
        assert upstream.stats()["in_flight"] == 1
    request = finished(upstream)
    assert (request.status, request.hung_up, request.fault) == (None, True, "timeout")


def test_a_stream_whose_client_leaves_is_noted(upstream: Upstream) -> None:
    upstream.set_faults("kind=slow,ms=1000")
    with send_and_wait_for_the_log(upstream, body(stream=True)) as connection:
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200 OK")
    request = finished(upstream)
    assert (request.status, request.hung_up) == (200, True)


def test_a_stream_fails_after_its_first_deltas(upstream: Upstream) -> None:
    upstream.set_faults("kind=stream_error")
    status, _, data = post(upstream, body(stream=True))
    found = events(data)
    assert status == 200
    assert [name for name, _ in found].count("content_block_delta") == 3
    assert found[-1][0] == "error"
    assert found[-1][1]["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert "message_stop" not in [name for name, _ in found]


def test_a_short_stream_fails_before_its_end(upstream: Upstream) -> None:
    upstream.set_faults("kind=stream_error")
    found = events(post(upstream, body(stream=True, max_tokens=1))[2])
    assert [name for name, _ in found][-2:] == ["content_block_stop", "error"]


def test_a_stream_fails_with_its_first_event(upstream: Upstream) -> None:
    upstream.set_faults("kind=first_event_error")
    status, headers, data = post(upstream, body(stream=True))
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert [name for name, _ in events(data)] == ["error"]


def test_a_stream_is_cut(upstream: Upstream) -> None:
    upstream.set_faults("kind=cut")
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(upstream, body(stream=True))
    names = [name for name, _ in events(caught.value.partial)]
    assert names[0] == "message_start"
    assert names.count("content_block_delta") == 3
    assert not {"message_delta", "message_stop", "error"} & set(names)
    assert not finished(upstream).hung_up


def test_json_is_cut_in_the_middle(upstream: Upstream) -> None:
    upstream.set_faults("kind=cut")
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(upstream)
    assert len(caught.value.partial) > 100
    assert caught.value.expected


@pytest.mark.parametrize(("kind", "status"), [("stream_error", 500), ("first_event_error", 529)])
def test_without_a_stream_an_error_is_a_status(upstream: Upstream, kind: str, status: int) -> None:
    upstream.set_faults(f"kind={kind}")
    assert post(upstream)[0] == status


def test_an_empty_answer_and_a_refusal(upstream: Upstream) -> None:
    upstream.set_faults("kind=empty")
    empty = json.loads(post(upstream)[2])
    assert (empty["content"], empty["stop_reason"]) == ([], "end_turn")
    upstream.set_faults("kind=refusal")
    refused = events(post(upstream, body(stream=True))[2])
    assert [name for name, _ in refused] == ["message_start", "ping", "message_delta", "message_stop"]
    assert refused[2][1]["delta"]["stop_reason"] == "refusal"
    assert refused[2][1]["delta"]["stop_details"]["type"] == "refusal"


def test_the_first_token_can_be_slow(upstream: Upstream) -> None:
    upstream.set_faults("kind=slow_first_token,ms=120")
    for data in (body(), body(stream=True)):
        began = time.monotonic()
        assert post(upstream, data)[0] == 200
        assert time.monotonic() - began >= 0.12


def test_every_token_can_be_slow(upstream: Upstream) -> None:
    upstream.set_faults("kind=slow,ms=2")
    began = time.monotonic()
    tokens = json.loads(post(upstream, body(max_tokens=50))[2])["usage"]["output_tokens"]
    assert tokens == 50
    assert time.monotonic() - began >= 0.1


def test_a_request_can_bring_its_own_fault(upstream: Upstream) -> None:
    assert post(upstream, x_simulator_fault="kind=overloaded")[0] == 529
    assert post(upstream, x_simulator_fault=f"kind=overloaded,model={MODEL}")[0] == 529
    assert post(upstream, x_simulator_fault="kind=overloaded,model=claude-opus-4-5")[0] == 200
    status, _, data = post(upstream, x_simulator_fault="kind=explode")
    assert (status, json.loads(data)["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("habit", "starts"), [("repeat", "{"), ("spaced", "\n{"), ("fenced", "```json\n{"), ("continue", '"')]
)
def test_a_request_can_say_how_its_beginning_is_answered(upstream: Upstream, habit: str, starts: str) -> None:
    message = {"role": "user", "content": 'Begin your reply with "{".'}
    data = body(messages=[message], model="claude-opus-4-8")
    answer = json.loads(post(upstream, data, x_simulator_prefill=habit)[2])
    assert answer["content"][0]["text"].startswith(starts)


def test_an_unknown_habit_is_refused(upstream: Upstream) -> None:
    assert post(upstream, x_simulator_prefill="shout")[0] == 400


def test_the_cache_is_written_and_then_read(upstream: Upstream) -> None:
    system = [{"type": "text", "text": "rules " * 4000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    first, second = (json.loads(post(upstream, body(system=system))[2])["usage"] for _ in range(2))
    assert first["cache_creation"]["ephemeral_1h_input_tokens"] == first["cache_creation_input_tokens"] > 5000
    assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"]
    assert second["cache_creation_input_tokens"] == 0
    streamed = events(post(upstream, body(system=system, stream=True))[2])
    assert streamed[0][1]["message"]["usage"]["cache_read_input_tokens"] == second["cache_read_input_tokens"]


def test_models_answer_at_their_pace_divided_by_the_speed() -> None:
    with running_simulator(speed=10) as upstream:
        began = time.monotonic()
        assert post(upstream, body(max_tokens=20))[0] == 200
        assert 0.09 <= time.monotonic() - began < 5


def test_an_enormous_speed_waits_for_nothing() -> None:
    with running_simulator(speed=1e12) as upstream:
        assert post(upstream, body(stream=True))[0] == 200
