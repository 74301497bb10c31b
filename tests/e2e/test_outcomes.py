"""How requests end: what callers see, what is booked, who is asked, and what the breaker learns of it.

Faults are named per request (`x-simulator-fault`), most of them for the candidate only.
"""

import base64
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import pytest
import zstandard

from tests.support.deploy import Deployed, Simulated, deployed, eventually, migration, write_config
from tests.support.samples import labelled

O45, O46, RETIRED = "claude-opus-4-5-20251101", "claude-opus-4-6", "claude-opus-4-20250514"
HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "content-type": "application/json"}
ASK: dict[str, Any] = {
    "model": O45,
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Tell me about the sea, in a few sentences."}],
}
LENIENT = {"error_rate": {"max": 1, "window": "1h"}, "fallback_rate": {"max": 1, "window": "1h"}}
"""Breakers that count and never strike."""


def started(gateway: Deployed, *names: str) -> Deployed:
    for name in names:
        gateway.act(name, "start", reason="test")
        gateway.set_weight(name, 100)
    return gateway


@pytest.fixture(scope="module")
def _gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("outcomes")
    config = write_config(
        directory,
        _upstream.url,
        migration("m", O45, O46, gates={"breaker": LENIENT}),
        migration("retired", RETIRED, O46, gates={"breaker": LENIENT}),
    )
    with deployed(config, directory) as running:
        yield started(running, "m", "retired")


@pytest.fixture
def gateway(_gateway: Deployed) -> Deployed:
    """Everybody is on the candidate."""
    if _gateway.status("m")["weight_percent"] != 100:
        _gateway.set_weight("m", 100)
    return _gateway


@pytest.fixture(scope="module")
def hasty(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A gateway that does not wait long, and pings soon."""
    directory = tmp_path_factory.mktemp("hasty")
    config = write_config(
        directory,
        _upstream.url,
        migration("m", O45, O46, gates={"breaker": LENIENT}),
        upstream={"first_byte_timeout": "1s"},
        relay={"ping_after": "0.1s"},
    )
    with deployed(config, directory) as running:
        yield started(running, "m")


def post(gateway: Deployed, fault: str = "", **fields: Any) -> httpx2.Response:
    headers = HEADERS | ({"x-simulator-fault": fault} if fault else {})
    return gateway.http.post(f"{gateway.url}/v1/messages", json=ASK | fields, headers=headers)


def on_control(gateway: Deployed) -> Deployed:
    gateway.set_weight("m", 0)
    return gateway


SERIES = {"requests_total": ("arm", "served", "outcome"), "fallbacks_total": ("cause",)}


def counted(gateway: Deployed) -> dict[str, Counter[str]]:
    samples = gateway.metrics()
    return {name: labelled(samples, name, *labels, migration="m") for name, labels in SERIES.items()}


@contextmanager
def booking(gateway: Deployed, outcome: str, fallback: str | None = None) -> Iterator[None]:
    """Check that what happens inside is booked as this (`arm served outcome`), once, and as nothing else."""
    before = counted(gateway)
    yield
    eventually(lambda: counted(gateway)["requests_total"] != before["requests_total"])
    added = {name: dict(counts - before[name]) for name, counts in counted(gateway).items()}
    assert added == {"requests_total": {outcome: 1}, "fallbacks_total": {fallback: 1} if fallback else {}}


def asked(upstream: Simulated, since: int) -> list[str]:
    return [entry["model"] for entry in upstream.requests(since)]


def failures(gateway: Deployed) -> tuple[int, int, int]:
    """Return what the breakers' window holds of the candidate: requests, errors, fallbacks."""
    gates = {gate["name"]: gate["evidence"] for gate in gateway.status("m")["gates"]}
    if not gates.get("error_rate") or "requests" not in gates["error_rate"]:
        return 0, 0, 0
    errors, fallbacks = gates["error_rate"]["failures"], gates["fallback_rate"]["failures"]
    return gates["error_rate"]["requests"], errors, fallbacks


def all_booked(gateway: Deployed) -> tuple[int, int, int]:
    """Return what the window should hold: all that was counted but client_error and disconnected."""
    ends = labelled(gateway.metrics(), "requests_total", "outcome", migration="m", arm="candidate")
    errors = sum(ends[each] for each in ("upstream_error", "stream_error", "truncated", "empty", "timeout"))
    fallbacks = counted(gateway)["fallbacks_total"].total()
    return ends["ok"] + ends["refused"] + errors, errors, fallbacks


# --- what callers see, and how it is booked -----------------------------------------------------------------


def stream_text(gateway: Deployed, fault: str) -> str:
    with (
        anthropic.Anthropic(api_key="sk-test", base_url=gateway.url, max_retries=0) as client,
        client.messages.stream(**ASK, extra_headers={"x-simulator-fault": fault}) as stream,
    ):
        return "".join(stream.text_stream)


@pytest.mark.parametrize(("kind", "outcome"), [("stream_error", "stream_error"), ("cut", "truncated")])
@pytest.mark.parametrize("arm", ["candidate", "control"])
def test_a_stream_that_fails_midway_raises_in_the_sdk_and_is_the_arms_failure(
    gateway: Deployed, kind: str, outcome: str, arm: str
) -> None:
    if arm == "control":
        on_control(gateway)
    with booking(gateway, f"{arm} {arm} {outcome}"), pytest.raises(anthropic.APIError):
        stream_text(gateway, f"kind={kind}")


def test_a_cut_stream_ends_with_one_error_event(gateway: Deployed) -> None:
    answer = post(gateway, "kind=cut", stream=True)
    events = answer.text.split("\n\n")
    assert events[-1] == ""
    assert events[-2].startswith("event: error\n")
    assert json.loads(events[-2].split("data: ")[1])["error"]["type"] == "api_error"
    assert answer.text.count("event: error") == 1


@pytest.mark.parametrize(
    ("kind", "outcome", "status"),
    [
        ("server_error", "upstream_error", 500),
        ("overloaded", "upstream_error", 529),
        ("rate_limited", "upstream_error", 429),
        ("bad_request", "client_error", 400),
        ("retired", "client_error", 404),
        ("empty", "empty", 200),
        ("refusal", "refused", 200),
        ("cut", "upstream_error", 502),
        ("connect", "upstream_error", 502),
        ("first_event_error", "upstream_error", 529),
    ],
)
def test_controls_own_ends_are_relayed_and_never_rescued(
    gateway: Deployed, upstream: Simulated, kind: str, outcome: str, status: int
) -> None:
    on_control(gateway)
    since = upstream.last_seq()
    with booking(gateway, f"control control {outcome}"):
        answer = post(gateway, f"kind={kind}")
    assert answer.status_code == status
    assert "x-gateway-fallback" not in answer.headers
    assert set(asked(upstream, since)) == {O45}


@pytest.mark.parametrize(("kind", "outcome"), [("empty", "empty"), ("refusal", "refused")])
@pytest.mark.parametrize("stream", [True, False])
def test_an_empty_answer_and_a_refusal_of_the_candidates_are_answers(
    gateway: Deployed, upstream: Simulated, kind: str, outcome: str, stream: bool
) -> None:
    since = upstream.last_seq()
    with booking(gateway, f"candidate candidate {outcome}"):
        assert post(gateway, f"kind={kind}", stream=stream).status_code == 200
    assert asked(upstream, since) == [O46]


def test_what_the_caller_spoilt_is_nobodys_failure(gateway: Deployed) -> None:
    with booking(gateway, "candidate control client_error"):
        answer = post(gateway, max_tokens=-1)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("max_tokens")


def test_failures_reach_the_breakers_window_and_what_callers_did_does_not(gateway: Deployed) -> None:
    eventually(lambda: failures(gateway) == all_booked(gateway), within_s=15)
    requests, errors, fallbacks = failures(gateway)
    assert "event: error" in post(gateway, "kind=stream_error", stream=True).text
    assert "event: error" in post(gateway, "kind=cut", stream=True).text
    assert post(gateway, f"kind=overloaded,model={O46}").status_code == 200
    assert post(gateway, max_tokens=-1).status_code == 400
    hang_up(gateway)
    expected = (requests + 3, errors + 2, fallbacks + 1)
    eventually(lambda: failures(gateway) == all_booked(gateway) == expected, within_s=15)


def hang_up(gateway: Deployed) -> None:
    """Leave a stream after its first line."""
    slow = HEADERS | {"x-simulator-fault": "kind=slow,ms=300"}
    ask = ASK | {"stream": True}
    with gateway.http.stream("POST", f"{gateway.url}/v1/messages", json=ask, headers=slow) as answer:
        next(answer.iter_lines())


def test_a_client_that_hangs_up_stops_the_upstream_and_is_booked_once(
    gateway: Deployed, upstream: Simulated
) -> None:
    since = upstream.last_seq()
    with booking(gateway, "candidate candidate disconnected"):
        hang_up(gateway)
        eventually(lambda: upstream.requests(since)[0]["hung_up"])
    eventually(lambda: gateway.metrics()["gateway_in_flight"] == 0)
    assert len(asked(upstream, since)) == 1


def test_a_client_that_hangs_up_before_the_first_byte_is_booked_once_and_not_rescued(
    gateway: Deployed, upstream: Simulated
) -> None:
    since = upstream.last_seq()
    with booking(gateway, "candidate candidate disconnected"):
        with pytest.raises(httpx2.TimeoutException):
            gateway.http.post(
                f"{gateway.url}/v1/messages",
                json=ASK,
                headers=HEADERS | {"x-simulator-fault": "kind=timeout"},
                timeout=0.3,
            )
        eventually(lambda: upstream.requests(since)[0]["hung_up"])
    assert asked(upstream, since) == [O46]


def test_a_client_that_hangs_up_on_what_passes_through_stops_it_too(
    gateway: Deployed, upstream: Simulated
) -> None:
    since = upstream.last_seq()
    upstream.faults("kind=timeout,path=/v1/models")
    with pytest.raises(httpx2.TimeoutException):
        gateway.http.get(f"{gateway.url}/v1/models", headers=HEADERS, timeout=0.3)
    eventually(lambda: upstream.requests(since)[0]["hung_up"])


# --- rescue -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("overloaded", "overloaded"),
        ("rate_limited", "rate_limited"),
        ("server_error", "server_error"),
        ("retired", "not_found"),
        ("bad_request", "rejected_by_model"),
        ("connect", "connect"),
        ("first_event_error", "overloaded"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_control_answers_where_the_candidate_fails(
    gateway: Deployed, upstream: Simulated, kind: str, cause: str, stream: bool
) -> None:
    since = upstream.last_seq()
    with booking(gateway, "candidate control ok", cause):
        answer = post(gateway, f"kind={kind},model={O46}", stream=stream)
    assert answer.status_code == 200
    assert answer.headers["x-gateway-fallback"] == cause
    assert answer.headers["x-gateway-arm"] == "candidate"
    assert answer.headers["x-gateway-served-model"] == O45
    assert O45 in answer.text
    assert "event: error" not in answer.text
    models = asked(upstream, since)
    assert (models.count(O45), models[-1]) == (1, O45)


def test_a_candidate_that_is_too_late_is_rescued(hasty: Deployed, upstream: Simulated) -> None:
    since = upstream.last_seq()
    with booking(hasty, "candidate control ok", "timeout"):
        answer = post(hasty, f"kind=timeout,model={O46}")
    assert (answer.status_code, answer.headers["x-gateway-fallback"]) == (200, "timeout")
    entries = upstream.requests(since)
    assert [(entry["model"], entry["hung_up"]) for entry in entries] == [(O46, True), (O45, False)]


def test_where_both_are_too_late_it_is_a_timeout(hasty: Deployed, upstream: Simulated) -> None:
    since = upstream.last_seq()
    with booking(hasty, "candidate control timeout", "timeout"):
        answer = post(hasty, "kind=timeout")
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")
    assert asked(upstream, since) == [O46, O45]


def test_where_control_says_4xx_too_it_is_relayed_named_and_not_booked(
    gateway: Deployed, upstream: Simulated
) -> None:
    since = upstream.last_seq()
    with booking(gateway, "candidate control client_error"):
        answer = post(gateway, "kind=bad_request")
    assert answer.json()["error"]["message"] == "simulated fault: bad_request"
    assert answer.json()["request_id"] == answer.headers["request-id"]
    assert (answer.status_code, answer.headers["x-gateway-fallback"]) == (400, "rejected_by_model")
    assert asked(upstream, since) == [O46, O45]


def test_where_control_fails_as_well_its_answer_is_relayed(gateway: Deployed, upstream: Simulated) -> None:
    since = upstream.last_seq()
    with booking(gateway, "candidate control upstream_error", "overloaded"):
        answer = post(gateway, "kind=overloaded")
    assert (answer.status_code, answer.json()["error"]["type"]) == (529, "overloaded_error")
    assert answer.headers["x-gateway-fallback"] == "overloaded"
    assert asked(upstream, since) == [O46, O45]


def test_a_retired_control_is_never_rescued_to(gateway: Deployed, upstream: Simulated) -> None:
    since = upstream.last_seq()
    answer = post(gateway, "kind=overloaded", model=RETIRED)
    assert answer.headers["x-gateway-migration"] == "retired"
    assert (answer.status_code, asked(upstream, since)) == (529, [O46])
    assert "x-gateway-fallback" not in answer.headers
    assert post(gateway, model=RETIRED).json()["model"] == O46


def test_a_rescue_moves_no_pin(gateway: Deployed, upstream: Simulated) -> None:
    unit = {"x-gateway-unit": "rescued"}
    rescued = gateway.http.post(
        f"{gateway.url}/v1/messages",
        json=ASK,
        headers=HEADERS | unit | {"x-simulator-fault": f"kind=overloaded,model={O46}"},
    )
    assert rescued.headers["x-gateway-fallback"] == "overloaded"
    turns = [*ASK["messages"], {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "More."}]
    again = gateway.http.post(
        f"{gateway.url}/v1/messages", json=ASK | {"messages": turns}, headers=HEADERS | unit
    )
    assert (again.headers["x-gateway-reason"], again.headers["x-gateway-served-model"]) == ("pinned", O46)


# --- pings --------------------------------------------------------------------------------------------------


def test_silence_is_filled_with_pings_between_events(hasty: Deployed, upstream: Simulated) -> None:
    ask = ASK | {"stream": True, "max_tokens": 6, "model": O46}
    plain = upstream.http.post(f"{upstream.url}/v1/messages", json=ask, headers=HEADERS).content
    slow = HEADERS | {"x-simulator-fault": "kind=slow,ms=250"}
    through = hasty.http.post(f"{hasty.url}/v1/messages", json=ask | {"model": O45}, headers=slow).content
    before, after = shape(plain), shape(through)
    assert before.count("ping") == 1
    assert after.count("ping") >= 4
    assert [name for name in after if name != "ping"] == [name for name in before if name != "ping"]


def shape(stream: bytes) -> list[str]:
    """Return the names of its events; one that stands inside another would not parse."""
    names = []
    for each in stream.removesuffix(b"\n\n").split(b"\n\n"):
        name, data = each.split(b"\n")
        names.append(json.loads(data.removeprefix(b"data: "))["type"])
        assert name == b"event: " + names[-1].encode()
    return names


# --- compressed requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress)],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_compressed_request_is_decoded_and_rewritten(
    gateway: Deployed, upstream: Simulated, encoding: str, encode: Callable[[bytes], bytes], path: str
) -> None:
    since = upstream.last_seq()
    ask = {key: value for key, value in ASK.items() if "count" not in path or key != "max_tokens"}
    answer = gateway.http.post(
        f"{gateway.url}{path}",
        content=encode(json.dumps(ask).encode()),
        headers=HEADERS | {"content-encoding": encoding},
    )
    assert answer.status_code == 200, answer.text
    (entry,) = upstream.requests(since)
    assert json.loads(base64.b64decode(entry["body"])) == ask | {"model": O46}
    assert "content-encoding" not in dict(entry["headers"])
