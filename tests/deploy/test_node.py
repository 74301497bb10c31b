"""The official SDK for TypeScript, in both of its API versions, as an application that knows of no gateway.

What the application does is in `node/application.mjs`; it prints what it got. It asks the same of control and
of the candidate, and must not be able to tell them apart by anything but the model's name.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import DIRECTORY, installed, node
from tests.support.deploy import Deployed, Simulated, deployed, migration, simulated, write_config
from tests.support.features import H45, H55, O45, O55

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(120)]

Seen = dict[str, Any]

PAIRS = {O45: O55, H45: H55}
VERSIONS = {"sdk-0": "2023-06-01", "sdk-1": "2026-10-21"}
GOVERNED = ("message", "stream", "counted", "prefill")
"""The parts that tell of one answer."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulated(tmp_path_factory.mktemp("upstream")) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("gateway")
    migrations = (migration(asked, asked, candidate) for asked, candidate in PAIRS.items())
    with deployed(write_config(directory, upstream.url, *migrations), directory) as running:
        for name in PAIRS:
            running.act(name, "start", reason="test")
        yield running


@pytest.fixture(scope="module", params=VERSIONS)
def sdk(request: pytest.FixtureRequest) -> str:
    """The name under which package.json has the release."""
    name: str = request.param
    return name


@pytest.fixture(scope="module", params=PAIRS)
def asked(request: pytest.FixtureRequest) -> str:
    """The model that the application names."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def on_control(gateway: Deployed, sdk: str, asked: str) -> Seen:
    return run(gateway, sdk, asked, percent=0)


@pytest.fixture(scope="module")
def on_candidate(gateway: Deployed, sdk: str, asked: str) -> Seen:
    return run(gateway, sdk, asked, percent=100)


def run(gateway: Deployed, sdk: str, asked: str, *, percent: float) -> Seen:
    """Return what the application saw with this share of the candidate."""
    installed(sdk)
    gateway.set_weight(asked, percent)
    command = [str(node()), "application.mjs", sdk, gateway.url, asked]
    done = subprocess.run(command, check=False, cwd=DIRECTORY, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    seen: Seen = json.loads(done.stdout)
    return seen


def answers(seen: Seen) -> list[Seen]:
    """What the gateway said about each governed answer."""
    return [*(seen[part] for part in GOVERNED), *seen["tools"]["seen"], *seen["conversation"]["seen"]]


def test_the_candidate_answers_every_request(on_candidate: Seen, asked: str) -> None:
    said = answers(on_candidate)
    assert {(each["arm"], each["model"], each["fallback"]) for each in said} == {
        ("candidate", PAIRS[asked], None)
    }
    assert {on_candidate[part]["spoken"] for part in ("message", "stream", "runner")} == {PAIRS[asked]}


def test_control_is_asked_in_the_application_s_own_words(on_control: Seen, asked: str) -> None:
    said = answers(on_control)
    assert {(each["arm"], each["model"], each["rewrites"]) for each in said} == {("control", asked, "")}


@pytest.mark.parametrize("part", ["message", "stream", "prefill"])
def test_answers_have_the_shape_that_control_gives_them(
    on_control: Seen, on_candidate: Seen, part: str
) -> None:
    assert on_candidate[part]["shape"] == on_control[part]["shape"]
    assert on_candidate[part]["shape"]["counted"]


def test_the_stream_s_events_come_in_the_order_that_control_gives_them(
    on_control: Seen, on_candidate: Seen
) -> None:
    for seen in (on_control, on_candidate):
        assert (seen["stream"]["agrees"], seen["stream"]["signed"]) == (True, True)
        assert seen["stream"]["indices"] == [*range(len(seen["stream"]["indices"]))]
    assert on_candidate["stream"]["outline"] == on_control["stream"]["outline"]


def test_a_session_with_a_tool_takes_the_same_turns(on_control: Seen, on_candidate: Seen) -> None:
    turns = on_candidate["tools"]["turns"]
    assert [turn["stop"] for turn in turns[:1] + turns[-1:]] == ["tool_use", "end_turn"]
    assert turns == on_control["tools"]["turns"]


def test_the_sdk_s_own_tool_runner_comes_to_its_end(on_candidate: Seen, asked: str) -> None:
    done = {"called": True, "spoken": PAIRS[asked], "stop": "end_turn"}
    # From 1.0 on the upstream holds the conversation, unless it is told not to; it goes on where it began.
    assert (on_candidate["runner"], on_candidate["held"]) == (done, done)


def test_a_prefill_is_continued_and_not_repeated(on_control: Seen, on_candidate: Seen) -> None:
    for seen in (on_control, on_candidate):
        assert (seen["prefill"]["whole"], seen["prefill"]["streamed"]) == (True, ["text"])


def test_what_is_no_message_is_the_same_on_both_arms(on_control: Seen, on_candidate: Seen) -> None:
    for part in ("errors", "models"):
        assert on_candidate[part] == on_control[part]
    assert on_candidate["errors"] == {
        "field": {"kind": True, "status": 400, "type": "invalid_request_error", "id": True},
        "model": {"kind": True, "status": 404, "type": "not_found_error", "id": True},
    }
    assert on_candidate["models"] == {"several": True, "asked": True}
    assert on_candidate["counted"]["some"]


def test_each_release_asks_for_its_own_api_version(
    gateway: Deployed, upstream: Simulated, sdk: str, asked: str
) -> None:
    since = upstream.last_seq()
    run(gateway, sdk, asked, percent=100)
    sent = [dict(each["headers"]) for each in upstream.requests(since)]
    assert {headers["anthropic-version"] for headers in sent} == {VERSIONS[sdk]}
    credentials = {("x-api-key" in headers, "authorization" in headers) for headers in sent}
    assert credentials == {(sdk == "sdk-0", sdk == "sdk-1")}, "one credential, as the application sent it"
