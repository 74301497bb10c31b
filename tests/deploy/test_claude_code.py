"""Claude Code's command-line client on a governed model: it asks for one model and never learns of the other.

What it sends here is whatever its pinned version sends; `make claude-code` prints it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.claude_code import COMPAT, FIRST, SECOND, STRICT, TOOLS, ClaudeCode, report
from tests.support.deploy import Deployed, deployed, migration, write_config
from tests.support.features import H45, H55, O45, O46, O55, S45, S55
from tests.support.upstream import Upstream, running_simulator
from tests.support.wiretap import Wiretap, wiretap

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(180)]

PAIRS = {O45: O55, S45: S55, H45: H55}
TOLD = "told"
"""The migration whose answers name the model that gave them."""
LISTS = ("TaskCreate", "TaskList")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_simulator(switches=STRICT) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("gateway")
    # The last is the way back: what a newer model's client sends is asked of an older one.
    pairs = {**PAIRS, O55: O45}
    migrations = [migration(asked, asked, served, compat=COMPAT) for asked, served in pairs.items()]
    migrations.append(migration(TOLD, O46, O55))
    with deployed(write_config(directory, upstream.url, *migrations), directory) as running:
        for name in (*pairs, TOLD):
            running.act(name, "start", reason="test")
            running.set_weight(name, 100)
        yield running


@pytest.fixture
def tap(gateway: Deployed) -> Iterator[Wiretap]:
    with wiretap(gateway.url) as tap:
        yield tap


def works(client: ClaudeCode, prompt: str) -> list[str]:
    """Let it work; return the tools that were called, all of them with success."""
    turn = client.say(prompt)
    said = "\n".join(report(client))
    assert (turn.exit_code, turn.result["subtype"], turn.result["is_error"]) == (0, "success", False), said
    assert turn.result["result"], said
    assert not any(call.failed for call in turn.calls), said
    return [call.tool for call in turn.calls]


@pytest.mark.parametrize("asked", PAIRS)
def test_a_session_with_tools_is_served_by_the_candidate(
    upstream: Upstream, tap: Wiretap, asked: str, tmp_path: Path
) -> None:
    upstream.forget_requests()
    client = ClaudeCode(tap, asked, tmp_path, LISTS)
    assert works(client, FIRST)[0] == "TaskCreate"
    first_turn = len(tap.heard)
    assert works(client, SECOND)[0] == "TaskList"
    assert {heard.json()["model"] for heard in tap.heard} == {asked}
    assert {heard.status for heard in tap.heard} == {200}
    assert {heard.answered["x-gateway-arm"] for heard in tap.heard} == {"candidate"}
    assert {heard.answered["x-gateway-served-model"] for heard in tap.heard} == {PAIRS[asked]}
    assert not any("x-gateway-fallback" in heard.answered for heard in tap.heard)
    assert {sent.model for sent in upstream.requests()} == {PAIRS[asked]}
    assert tap.heard[first_turn].answered["x-gateway-reason"] == "pinned", "it resumes what it began"
    assert not tap.strayed


def test_the_client_knows_of_no_other_model_than_the_one_that_it_asked_for(
    tap: Wiretap, tmp_path: Path
) -> None:
    client = ClaudeCode(tap, O45, tmp_path, LISTS)
    works(client, FIRST)
    (turn,) = client.turns
    assert [*turn.result["modelUsage"]] == [O45]
    spoken = {event["message"]["model"] for event in turn.events if event["type"] == "assistant"}
    assert spoken == {O45}


def test_told_who_answered_it_edits_what_it_resumes_and_control_helps_out_once(
    tap: Wiretap, tmp_path: Path
) -> None:
    client = ClaudeCode(tap, O46, tmp_path, LISTS)
    works(client, FIRST)
    first_turn = len(tap.heard)
    works(client, SECOND)
    fallbacks = [heard.answered.get("x-gateway-fallback") for heard in tap.heard]
    assert set(fallbacks[: first_turn + 1]) == {None}
    assert {cause for cause in fallbacks if cause} == {"rejected_by_model"}
    answered_at = [heard.status for heard in tap.heard].index(200, fallbacks.index("rejected_by_model"))
    assert fallbacks[answered_at + 1 :]
    assert set(fallbacks[answered_at + 1 :]) == {None}


def test_agents_that_the_client_starts_stay_on_the_arm_of_their_session(tap: Wiretap, tmp_path: Path) -> None:
    client = ClaudeCode(tap, H45, tmp_path, TOOLS)
    while "Agent" not in works(client, "Please use the Agent tool."):
        assert len(client.turns) < 5
    sessions = {heard.headers["x-claude-code-session-id"] for heard in tap.heard}
    assert sessions == {client.session}
    assert {heard.answered["x-gateway-served-model"] for heard in tap.heard} == {H55}


def test_control_answers_the_same_session_in_the_same_shapes(
    gateway: Deployed, tap: Wiretap, tmp_path: Path
) -> None:
    gateway.set_weight(O45, 0)
    try:
        client = ClaudeCode(tap, O45, tmp_path, LISTS)
        assert works(client, FIRST)[0] == "TaskCreate"
    finally:
        gateway.set_weight(O45, 100)
    assert {heard.answered["x-gateway-arm"] for heard in tap.heard} == {"control"}
    # It tries a way to show thinking that this model does not know, and does without it from then on.
    tried, *others = tap.heard
    assert tried.json()["thinking"]["display"] == "updates"
    assert tried.status == 400
    assert {heard.status for heard in others} == {200}
    assert {heard.answered["x-gateway-rewrites"] for heard in tap.heard} == {""}


def test_a_session_on_the_newer_model_goes_back_or_says_why_not(tap: Wiretap, tmp_path: Path) -> None:
    client = ClaudeCode(tap, O55, tmp_path, LISTS)
    turn = client.say(FIRST)
    assert (turn.exit_code, turn.result["subtype"]) == (0, "success"), "\n".join(report(client))
    assert {heard.status for heard in tap.heard} == {200}
    for heard in tap.heard:
        served, reason = (heard.answered[f"x-gateway-{name}"] for name in ("served-model", "reason"))
        assert served == O45 or (reason == "unservable" and heard.answered["x-gateway-rewrites"])
