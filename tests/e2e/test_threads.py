"""Conversations that the upstream holds between turns, through a real gateway with the official SDK.

The SDK leaves the history with the upstream by itself, and brings it whole where the upstream says that it
has no such thread. So a change of arms in between is one more request, and nothing that an application sees.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, beta_tool
from anthropic.types.beta import BetaMessageParam

from tests.support.deploy import Deployed, Simulated, deployed, migration, write_config
from tests.support.talks import KEY

CONTROL, CANDIDATE = "claude-opus-4-5-20251101", "claude-opus-5-5"
RIVERS: BetaMessageParam = {"role": "user", "content": "Say something about rivers."}
LOOK_UP: list[BetaMessageParam] = [{"role": "user", "content": "Use the weather tool for Oslo."}]
PINNED = 'gateway_assignments_total{migration="m",reason="pinned"}'
BETAS = ["message-threads-2026-08-12"]


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with started(_upstream, tmp_path_factory.mktemp("threads")) as running:
        yield running


@contextmanager
def started(upstream: Simulated, directory: Path) -> Iterator[Deployed]:
    """Run a gateway whose migration is under way."""
    config = write_config(directory, upstream.url, migration("m", CONTROL, CANDIDATE))
    with deployed(config, directory) as running:
        running.act("m", "start", reason="test")
        yield running


def asked(upstream: Simulated, since: int) -> list[tuple[str, int]]:
    """Return the model and the status of each message that the upstream was asked for."""
    entries = [entry for entry in upstream.requests(since) if entry["path"] == "/v1/messages"]
    return [(entry["model"], entry["status"]) for entry in entries]


@pytest.mark.parametrize("weight", [0, 100])
def test_a_thread_keeps_its_model_while_the_weight_moves(
    gateway: Deployed, client: Anthropic, upstream: Simulated, weight: int
) -> None:
    gateway.set_weight("m", weight)
    model = CANDIDATE if weight else CONTROL
    before = gateway.metrics().get(PINNED, 0)
    since = upstream.last_seq()
    thread = client.beta.messages.thread(model=CONTROL, max_tokens=2000, system="Be brief.")
    answers = []
    for now in (weight, 100 - weight, 20, 100 - weight):
        gateway.set_weight("m", now)
        answers.append(thread.send(RIVERS))
    assert [answer.model for answer in answers] == [model] * 4
    assert len(thread.messages) == 8
    assert asked(upstream, since) == [(model, 200)] * 4
    assert gateway.metrics()[PINNED] - before == 3
    assert fallbacks(gateway) == {}


def test_a_thread_whose_candidate_was_rolled_back_goes_on_with_control_from_its_whole_history(
    upstream: Simulated, tmp_path: Path
) -> None:
    with started(upstream, tmp_path) as gateway, Anthropic(api_key=KEY, base_url=gateway.url) as client:
        gateway.set_weight("m", 100)
        thread = client.beta.messages.thread(model=CONTROL, max_tokens=2000, system="Be brief.")
        assert thread.send(RIVERS).model == CANDIDATE
        gateway.act("m", "emergency-rollback", reason="test")
        gateway.settle("m")
        since = upstream.last_seq()
        assert [thread.send(RIVERS).model, thread.send(RIVERS).model] == [CONTROL, CONTROL]
        # Control cannot go on from the candidate's turn, so the client brings everything.
        assert asked(upstream, since) == [(CONTROL, 400), (CONTROL, 200), (CONTROL, 200)]
        assert len(thread.messages) == 6


def test_once_completed_threads_begin_and_go_on_with_the_candidate(
    upstream: Simulated, tmp_path: Path
) -> None:
    with started(upstream, tmp_path) as gateway, Anthropic(api_key=KEY, base_url=gateway.url) as client:
        gateway.set_weight("m", 100)
        for _ in range(2):
            gateway.act("m", "advance", reason="test")
        gateway.act("m", "complete", reason="test")
        gateway.settle("m")
        late = client.beta.messages.thread(model=CONTROL, max_tokens=2000)
        assert [late.send(RIVERS).model, late.send(RIVERS).model] == [CANDIDATE, CANDIDATE]
        assert fallbacks(gateway) == {}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("weight", [0, 100])
def test_the_tool_runner_leaves_its_history_upstream_and_comes_to_its_end(
    gateway: Deployed, client: Anthropic, upstream: Simulated, weight: int, stream: bool
) -> None:
    gateway.set_weight("m", weight)
    called: list[str] = []

    @beta_tool
    def weather(place: str) -> str:
        """The weather of a place."""
        called.append(place)
        return "-3 degrees"

    since = upstream.last_seq()
    runner: Any = client.beta.messages.tool_runner(
        model=CONTROL, max_tokens=8000, messages=LOOK_UP, tools=[weather], stream=stream
    )
    answers = [turn.get_final_message() if stream else turn for turn in runner]
    assert called
    assert answers[-1].stop_reason == "end_turn"
    assert len(answers) > 1
    assert asked(upstream, since) == [(CANDIDATE if weight else CONTROL, 200)] * len(answers)
    bodies = [json.loads(base64.b64decode(entry["body"])) for entry in upstream.requests(since)]
    assert [body["thread"]["type"] for body in bodies] == ["create", *["continue"] * (len(answers) - 1)]


def test_the_options_that_a_thread_is_bound_to_are_rewritten_alike_in_every_turn(
    gateway: Deployed, client: Anthropic, upstream: Simulated
) -> None:
    gateway.set_weight("m", 100)
    options: dict[str, Any] = {
        "model": CONTROL,
        "max_tokens": 8000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "extra_body": {"temperature": 1.0},
        "betas": [*BETAS, "computer-use-2025-11-24"],
    }
    since = upstream.last_seq()
    old: dict[str, str] = {"anthropic-version": "2023-06-01"}
    first = client.beta.messages.create(
        messages=[RIVERS], system="Be brief.", thread={"type": "create"}, extra_headers=old, **options
    )
    second = client.beta.messages.create(
        messages=[RIVERS],
        thread={"type": "continue", "previous_message_id": first.id},
        extra_headers=old,
        **options,
    )
    assert (first.model, second.model) == (CANDIDATE, CANDIDATE)
    assert asked(upstream, since) == [(CANDIDATE, 200)] * 2


def fallbacks(gateway: Deployed) -> dict[str, float]:
    """What was booked against the candidate."""
    counted = gateway.metrics().items()
    return {name: n for name, n in counted if name.startswith("gateway_fallbacks_total{") and n}
