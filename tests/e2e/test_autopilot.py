"""Migrations that run themselves, on two real processes that share a Redis: one climbs, others roll back.

All of them run side by side, each with callers of its own: what is wrong with one candidate is nobody else's
concern. Every fault strikes the candidate alone, unless it says otherwise.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.autopilot import OPERATOR, Fleet, Json, document, failed_gates, fleet, gate, stage
from tests.support.crowd import Crowd, Met, Trade, crowd
from tests.support.deploy import Simulated, eventually
from tests.support.features import F5, F51, H45, M51, O5, O45, O46, O47, O48, O55, S5, S46, S55

SOON = {"max": 0.2, "window": "30s", "min_requests": 10, "min_units": 5}
OBEYED_S = 1.0
"""After so long every replica has heard of a decision; `test_autopilot_reaction` measures it."""
JSON_CHECK = {"kind": "json", "task": "extraction", "name": "is-json"}


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate that is not fit, and what must be said of it."""

    name: str
    control: str
    fault: str
    """What strikes the candidate."""
    gates: frozenset[str]
    """Any of which may be first to see it."""
    says: str
    """Is found in the reason, as a pattern."""
    document: Json = field(default_factory=dict)
    streams: bool = False
    task: str = ""
    rescued: bool = True
    """Control could answer, so that no caller sees an error."""

    @property
    def migration(self) -> Json:
        return document(self.name, (self.control, O55), **self.document)

    @property
    def trade(self) -> Trade:
        struck = f"kind={self.fault},model={O55}" if self.fault else ""
        return Trade(self.name, self.control, streams=self.streams, task=self.task, fault=struck)


def case(name: str, control: str, fault: str, gates: str, says: str, **more: Any) -> Case:
    return Case(name, control, fault, frozenset(gates.split()), says, **more)


CASES = (
    case("overloaded", O46, "overloaded", "fallback_rate fallback", "fallback"),
    case(
        "erring", O47, "stream_error", "error_rate", "stream_error", streams=True, rescued=False,
        document={"gates": {"rollback": {"error": None}}},
    ),
    case(
        "truncated", S46, "cut", "error_rate error incomplete", "truncated|incomplete: first failures",
        streams=True, rescued=False,
    ),
    case("refusing", O5, "refusal", "refusal", "refusal: first failures: candidate"),
    case(
        "costly", O48, "verbose,factor=9", "cost_ratio", "times control's cost",
        document={"breaker": {"cost_ratio": {"max": 2, "window": "60s", "min_requests": 10}}},
    ),
    case(
        "slow", S5, "slow_first_token,ms=900", "latency_p95_s", "p95 of",
        document={"breaker": {"latency_p95_s": {"max": 0.5, "window": "30s", "min_requests": 10}}},
    ),
    case(
        "breaking", O45, "bad_json", "quality", "check 'is-json' of task 'extraction'",
        document={"checks": [JSON_CHECK]}, task="extraction",
    ),
    case("disliked", H45, "", "quality_issues", "complaining units"),
)  # fmt: skip

CLIMB = [
    stage("internal", 0, hold="1s"),
    stage("early", 25, hold="2s", min_units=5),
    stage("half", 50, hold="2s", min_units=10, approval={"by_another": True}),
    stage("full", 100),
]
CLIMBING = document("climbing", (F5, S55), CLIMB)
OUTAGE = document("outage", (F51, S55), [stage("half", 50, hold="5s"), stage("full", 100)])
SILENT = document("silent", (M51, S55), [stage("half", 50, hold="1s"), stage("full", 100)])


@pytest.fixture(scope="module")
def pilot(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    documents = [*(each.migration for each in CASES), CLIMBING, OUTAGE, SILENT]
    with fleet(tmp_path_factory.mktemp("pilot"), _upstream, documents) as running:
        yield running


@pytest.fixture(scope="module")
def callers(pilot: Fleet) -> Iterator[Crowd]:
    """Everybody's callers; the migrations begin with them."""
    trades = [
        *(each.trade for each in CASES),
        Trade("climbing", F5),
        Trade("outage", F51, fault="kind=overloaded"),
    ]
    with crowd(pilot.urls, *trades) as asking:
        pilot.start("silent", *(trade.migration for trade in trades))
        yield asking


def complain(pilot: Fleet, callers: Crowd) -> None:
    """Let users say what they think of the candidate's answers, at whichever replica."""
    units: set[str] = set()
    answers = eventually(lambda: _of_candidate(callers, "disliked", units=6))
    for number, met in enumerate(answers):
        if met.unit not in units:
            units.add(met.unit)
            replica = pilot.replicas[number % len(pilot.replicas)]
            said = {"request_id": met.headers["x-gateway-request-id"], "kind": "issue"}
            answer = replica.http.post(f"{replica.url}/gateway/feedback", json=said)
            assert (answer.status_code, answer.json()["counted"]) == (202, True), answer.text


def _of_candidate(callers: Crowd, name: str, *, units: int) -> list[Met] | None:
    answers = [met for met in callers.of(name) if met.arm == "candidate" and met.well]
    return answers if len({met.unit for met in answers}) >= units else None


def _since(callers: Crowd, name: str, at: float, *, least: int) -> list[Met] | None:
    answers = callers.of(name, since=at)
    return answers if len(answers) >= least else None


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
def test_a_candidate_that_is_not_fit_is_rolled_back_for_what_is_wrong_with_it(
    pilot: Fleet, callers: Crowd, each: Case
) -> None:
    if each.name == "disliked":
        complain(pilot, callers)
    status = pilot.phase(each.name, "rolled_back")
    assert (status["reason"], status["weight_percent"]) == ("automatic", 0)
    (event,) = pilot.events(each.name, "automatic-rollback")
    assert set(failed_gates(event)) <= each.gates, event["reason"]
    assert re.search(each.says, event["reason"]), event["reason"]
    assert event["by"] == "controller"
    (incident,) = pilot.incidents(each.name)
    assert re.search(each.says.replace(": ", ".*"), incident["markdown"])
    listed = pilot.first.admin("GET", "/replicas").json()["data"]
    assert len(listed) == 2
    assert all(replica["id"] in incident["markdown"] for replica in listed), "when each sent its last one"
    after = eventually(lambda: _since(callers, each.name, event["at"] + OBEYED_S, least=10))
    assert {met.arm for met in after} == {"control"}
    assert {met.headers["x-gateway-reason"] for met in after} == {"not_running"}
    troubled = [met for met in callers.of(each.name) if not met.well]
    if each.rescued:
        assert troubled == []
    else:
        assert {(met.arm, met.status) for met in troubled} == {("candidate", 200)}
        assert len(troubled) >= 8


def test_a_healthy_candidate_climbs_into_soaking_and_a_person_only_approves(
    pilot: Fleet, callers: Crowd
) -> None:
    waiting = pilot.until("climbing", lambda status: status["reason"] == "approval")
    assert (waiting["phase"], waiting["weight_percent"]) == ("paused", 50)
    own = pilot.first.admin("POST", "/migrations/climbing/actions/approve", json={"reason": "mine"})
    assert own.status_code == 409, "root started the run, so somebody else approves"
    approved = pilot.first.admin(
        "POST", "/migrations/climbing/actions/approve", json={"reason": "read it"}, token=OPERATOR
    )
    assert approved.status_code == 200, approved.text
    status = pilot.phase("climbing", "soaking")
    assert status["weight_percent"] == 100
    climbed = pilot.events("climbing", "automatic-advance")
    assert [(event["before"]["weight_percent"], event["after"]["weight_percent"]) for event in climbed] == [
        (0, 25), (25, 50), (50, 100), (100, 100)
    ]  # fmt: skip
    assert all(event["evidence"]["gates"] for event in climbed)
    early = {each["name"]: each for each in climbed[1]["evidence"]["gates"]}
    assert early["hold"]["evidence"]["watched_s"] >= 2
    assert early["min_units"]["evidence"]["candidate"] >= 5
    assert early["error_rate"]["verdict"] in ("pass", "inconclusive")
    by_people = [
        (event["verb"], event["by"]) for event in pilot.events("climbing") if event["by"] != "controller"
    ]
    assert by_people == [("start", "root"), ("approve", "olga")]
    assert [met for met in callers.of("climbing") if not met.well] == []


def test_an_outage_of_the_provider_is_not_held_against_the_candidate(pilot: Fleet, callers: Crowd) -> None:
    def said(status: Json) -> bool:
        return gate(status, "fallback_rate")["reason"].startswith("provider:")

    pilot.until("outage", said)
    status = pilot.until("outage", lambda status: said(status) and gate(status, "hold")["verdict"] == "pass")
    assert (status["phase"], status["weight_percent"]) in {("running", 50), ("paused", 50)}
    assert status["decision"] == "inconclusive"
    assert gate(status, "fallback_rate")["evidence"]["control_too"] == 1
    assert pilot.events("outage", "automatic-rollback", "automatic-advance") == []
    assert {met.status for met in callers.of("outage")} == {529}


def test_nothing_advances_without_traffic(pilot: Fleet, callers: Crowd) -> None:
    status = pilot.until("silent", lambda status: gate(status, "hold")["evidence"]["watched_s"] >= 5)
    assert (status["phase"], status["weight_percent"], status["decision"]) == ("running", 50, "inconclusive")
    assert gate(status, "hold")["verdict"] == "pass"
    assert gate(status, "traffic")["verdict"] == "inconclusive"
    assert "no request of the candidate's yet" in status["summary"]
