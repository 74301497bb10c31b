"""What /metrics says after a known lot of requests, with two workers behind one page."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from gateway.compat.catalog import Prices
from tests.support.deploy import Deployed, Simulated, deployed, eventually, migration, write_config
from tests.support.samples import Samples, labelled, read_page
from tests.support.upstream import shipped_catalogue

O45, O55 = "claude-opus-4-5-20251101", "claude-opus-5-5"
HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "content-type": "application/json"}
LENIENT = {"error_rate": {"max": 1}, "fallback_rate": {"max": 1}}
LONG = "All work and no play makes Jack a dull boy. " * 1500
CACHED = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]
HOURLY = [{"type": "text", "text": LONG.upper(), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
SCREEN = {"type": "computer_20251124", "name": "computer", "display_width_px": 800, "display_height_px": 600}
"""A tool that the older model takes and the newer one does not."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Requests of one sort, and how each of them is to be counted."""

    fields: dict[str, Any]
    outcome: str
    """`arm served outcome`."""
    fault: str = ""
    fallback: str = ""
    times: int = 4


LOTS = (
    Lot({}, "candidate candidate ok", times=8),
    Lot({"stream": True}, "candidate candidate ok", times=8),
    Lot({"system": CACHED}, "candidate candidate ok", times=3),
    Lot({"system": CACHED, "stream": True}, "candidate candidate ok", times=3),
    Lot({"system": HOURLY}, "candidate candidate ok", times=2),
    Lot({"temperature": 0.3}, "candidate candidate ok"),
    Lot({"tools": [SCREEN]}, "control control ok"),
    Lot({}, "candidate control ok", f"kind=overloaded,model={O55}", "overloaded"),
    Lot({"stream": True}, "candidate control ok", f"kind=first_event_error,model={O55}", "overloaded"),
    Lot({}, "candidate control ok", f"kind=bad_request,model={O55}", "rejected_by_model"),
    Lot({"max_tokens": -1}, "candidate control client_error"),
    Lot({"stream": True}, "candidate candidate stream_error", "kind=stream_error"),
    Lot({"stream": True}, "candidate candidate truncated", "kind=cut"),
    Lot({}, "candidate candidate empty", "kind=empty"),
    Lot({}, "candidate candidate refused", "kind=refusal"),
)


@dataclass(frozen=True, slots=True)
class Done:
    """One request that was answered."""

    lot: Lot
    arm: str
    served: str
    usage: dict[str, Any]


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("metrics")
    document = migration("m", O45, O55, gates={"breaker": LENIENT})
    config = write_config(directory, _upstream.url, document, migration("idle", "claude-haiku-4-5", O55))
    with deployed(config, directory, workers=2) as running:
        eventually(lambda: len(running.admin("GET", "/replicas").json()["data"]) == 2, within_s=60)
        running.act("m", "start", reason="test")
        running.set_weight("m", 100)
        yield running


@pytest.fixture(scope="module")
def done(gateway: Deployed) -> list[Done]:
    """The whole lot, each on a connection of its own so that both workers get some."""
    asking = [(lot, number) for lot in LOTS for number in range(lot.times)]
    with ThreadPoolExecutor(6) as together:
        answered = list(together.map(lambda each: ask(gateway, *each), asking))
    for path in ("/v1/models", "/v1/messages/count_tokens"):
        body = {"model": O45, "messages": [{"role": "user", "content": "Count."}]}
        method = "GET" if path == "/v1/models" else "POST"
        assert gateway.http.request(method, gateway.url + path, json=body, headers=HEADERS).status_code == 200
    eventually(lambda: sum(labelled(gateway.metrics(), "requests_total", "outcome").values()) >= len(asking))
    return answered


def ask(gateway: Deployed, lot: Lot, number: int) -> Done:
    turns = [{"role": "user", "content": f"Tell me something about the number {number}."}]
    body = {"model": O45, "max_tokens": 60, "messages": turns, **lot.fields}
    headers = HEADERS | {"x-gateway-unit": f"person-{number}", "x-simulator-fault": lot.fault}
    headers |= {"anthropic-beta": "computer-use-2025-11-24"}
    with httpx2.Client(timeout=30) as client:
        answer = client.post(f"{gateway.url}/v1/messages", json=body, headers=headers)
    assert answer.headers.get("x-gateway-fallback", "") == lot.fallback or "client_error" in lot.outcome
    return Done(
        lot, answer.headers["x-gateway-arm"], answer.headers["x-gateway-served-model"], usage_of(answer)
    )


def usage_of(answer: httpx2.Response) -> dict[str, Any]:
    """Return what an answer says it used, as a caller reads it: the last word on each key counts."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        usage: dict[str, Any] = answer.json().get("usage", {})
        return usage
    merged: dict[str, Any] = {}
    for line in answer.text.splitlines():
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            merged |= event.get("usage") or event.get("message", {}).get("usage") or {}
    return merged


def served_as(each: Done) -> str:
    return f"{each.arm} {'control' if each.served == O45 else 'candidate'}"


# --- counting -----------------------------------------------------------------------------------------------


def test_every_request_is_counted_once_by_arm_served_and_outcome(gateway: Deployed, done: list[Done]) -> None:
    expected = Counter({lot.outcome: 0 for lot in LOTS})
    for each in done:
        expected[each.lot.outcome] += 1
    samples = gateway.metrics()
    assert labelled(samples, "requests_total", "arm", "served", "outcome", migration="m") == expected
    assert labelled(samples, "requests_total", "migration") == {"m": len(done)}


def test_the_page_is_the_same_whichever_worker_says_it(gateway: Deployed, done: list[Done]) -> None:
    pages = []
    for _ in range(8):
        with httpx2.Client() as client:
            pages.append(read_page(client.get(f"{gateway.url}/metrics").text))
    counters = [{name: value for name, value in page.items() if "_total" in name} for page in pages]
    assert all(page == counters[0] for page in counters)


def test_histograms_hold_every_request(gateway: Deployed, done: list[Done]) -> None:
    samples, arms = gateway.metrics(), Counter(each.arm for each in done)
    for name in ("request_duration_seconds", "overhead_seconds", "time_to_first_token_seconds"):
        assert labelled(samples, f"{name}_count", "arm", migration="m") == arms, name
        assert labelled(samples, f"{name}_bucket", "arm", migration="m", le="+Inf") == arms, name
    assert 0 < labelled(samples, "overhead_seconds_sum", "migration")["m"] < 0.1 * len(done)


def test_fallbacks_assignments_and_what_passed_by_are_counted(gateway: Deployed, done: list[Done]) -> None:
    samples = gateway.metrics()
    fallbacks = Counter(each.lot.fallback for each in done if each.lot.fallback)
    assert labelled(samples, "fallbacks_total", "cause", migration="m") == fallbacks
    reasons = labelled(samples, "assignments_total", "reason", migration="m")
    assert reasons.total() == len(done)
    assert reasons["unservable"] == 4
    assert set(reasons) == {"unservable", "bucket", "recorded"}
    assert labelled(samples, "unservable_total", "rule", migration="m") == {"tool_version": 4}
    assert labelled(samples, "rewrites_total", "rule", migration="m")["sampling"] == 4
    assert labelled(samples, "passthrough_total", "outcome") == {"ok": 1}
    assert samples["gateway_in_flight"] == 0


# --- tokens and money ---------------------------------------------------------------------------------------


def tokens_of(usage: dict[str, Any]) -> Counter[str]:
    details = usage.get("output_tokens_details") or {}
    return +Counter(
        {
            "input": usage.get("input_tokens", 0),
            "output": usage.get("output_tokens", 0),
            "cache_read": usage.get("cache_read_input_tokens", 0),
            "cache_write": usage.get("cache_creation_input_tokens", 0),
            "thinking": details.get("thinking_tokens", 0),
        }
    )


def test_tokens_are_those_that_the_answers_name(gateway: Deployed, done: list[Done]) -> None:
    expected: Counter[str] = Counter()
    for each in done:
        for kind, count in tokens_of(each.usage).items():
            expected[f"{served_as(each)} {kind}"] += count
    counted = labelled(gateway.metrics(), "tokens_total", "arm", "served", "kind", migration="m")
    assert counted == expected
    kinds = {name.split()[2] for name in counted if name.startswith("candidate candidate")}
    assert kinds >= {"input", "output", "cache_read", "cache_write"}
    assert {" ".join(name.split()[:2]) for name in counted} == {
        "candidate candidate",
        "candidate control",
        "control control",
    }


def cost_of(usage: dict[str, Any], prices: Prices) -> float:
    """Return what an answer costs, in dollars, by the price list."""
    split = usage.get("cache_creation") or {}
    per_million: float = (
        usage.get("input_tokens", 0) * prices.input
        + usage.get("output_tokens", 0) * prices.output
        + usage.get("cache_read_input_tokens", 0) * prices.cache_read
        + split.get("ephemeral_5m_input_tokens", 0) * prices.cache_write_5m
        + split.get("ephemeral_1h_input_tokens", 0) * prices.cache_write_1h
    )
    return per_million / 1_000_000


def test_cost_is_usage_times_the_catalogues_prices_of_whoever_served(
    gateway: Deployed, done: list[Done]
) -> None:
    catalogue, expected = shipped_catalogue(), dict[str, float]()
    for each in done:
        model = catalogue.find(each.served)
        assert model is not None
        assert model.prices is not None
        assert model.long_prices is None
        name = served_as(each)
        expected[name] = expected.get(name, 0.0) + cost_of(each.usage, model.prices)
    counted = labelled(gateway.metrics(), "cost_usd_total", "arm", "served", migration="m")
    # Each answer's cost is rounded to a micro-dollar.
    rounded = 1e-6 * len(done)
    assert dict(counted) == {name: pytest.approx(cost, abs=rounded) for name, cost in expected.items()}
    assert any((each.usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") for each in done)


# --- the rollout, and what is never shown -------------------------------------------------------------------


def one(samples: Samples, metric: str, **where: str) -> float:
    (value,) = labelled(samples, metric, **where).values() or (0.0,)
    return value


def test_the_rollout_is_shown_as_the_status_has_it(gateway: Deployed, done: list[Done]) -> None:
    gateway.set_weight("m", 25)
    status = gateway.status("m")
    eventually(lambda: one(gateway.metrics(), "weight_percent", migration="m") == 25)
    samples = gateway.metrics()
    assert one(samples, "weight_percent", migration="idle") == 0
    assert one(samples, "stage", migration="m") == status["stage"]["index"]
    assert labelled(samples, "phase", "phase", migration="m") == {"paused": 1}
    assert labelled(samples, "phase", "phase", migration="idle") == {"draft": 1}
    eventually(lambda: gateway.metrics()["gateway_leader"] == 1)
    eventually(lambda: gateway.metrics()["gateway_snapshot_version"] > 0)
    assert gateway.metrics()["gateway_snapshot_age_seconds"] < 30
    eventually(lambda: gateway.metrics()["gateway_store_backlog"] == 0)
    named = {gate["name"] for gate in gateway.status("m")["gates"]}
    assert {"error_rate", "fallback_rate"} <= named
    eventually(lambda: set(labelled(gateway.metrics(), "gate_verdict", "gate", migration="m")) == named)
    assert labelled(samples, "build_info", "version").total() == 1
    gateway.act("m", "resume")
    eventually(lambda: one(gateway.metrics(), "watched_seconds", migration="m") > 0)
    gateway.set_weight("m", 100)


def test_labels_are_closed_sets(gateway: Deployed, done: list[Done]) -> None:
    for path in ("/v1/messages", "/v1/x-made-up-path", "/admin/nowhere"):
        body = {"model": "made-up-model", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
        gateway.http.post(gateway.url + path, json=body, headers=HEADERS | {"x-gateway-unit": "made-up-unit"})
    page = gateway.http.get(f"{gateway.url}/metrics").text
    assert not [word for word in ("made-up", "person-", "sk-test", "claude-") if word in page]
    named = [name.split("{")[1] for name in read_page(page) if "{" in name]
    labels = {pair.split("=")[0] for labels in named for pair in labels.split(",")}
    assert labels <= {
        "migration", "arm", "served", "outcome", "kind", "cause", "rule", "class", "reason", "phase", "gate",
        "verdict", "operation", "le", "version", "python", "pid", "model", "field", "result",
    }  # fmt: skip


def test_what_both_workers_count_is_on_one_page(gateway: Deployed, done: list[Done]) -> None:
    def counted_in() -> int:
        return sum(
            b"passthrough_total" in file.read_bytes() for file in gateway.log.parent.rglob("counter_*.db")
        )

    before, asked = passed(gateway), 0
    while counted_in() < 2 and asked < 500:
        with httpx2.Client() as client:
            assert client.get(f"{gateway.url}/v1/models", headers=HEADERS).status_code == 200
        asked += 1
    assert counted_in() == 2
    eventually(lambda: passed(gateway) - before == asked)


def passed(gateway: Deployed) -> float:
    return sum(labelled(gateway.metrics(), "passthrough_total", "outcome").values())
