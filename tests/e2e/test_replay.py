"""Conversations with a model that holds its thinking to what was said before it, through real gateways.

The application was written for Opus 4.5 and never saw a thinking block; Opus 5.5 thinks before each answer
and rejects a conversation in which anything before a thinking block was changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.deploy import Deployed, eventually, migration, two_replicas, write_config
from tests.support.redis_server import RedisServer, binaries
from tests.support.talks import HEADERS
from tests.support.upstream import LoggedRequest, Upstream, running_simulator

O45, O55 = "claude-opus-4-5-20251101", "claude-opus-5-5"
Json = dict[str, Any]
TOOLS: list[Json] = [
    {"name": "look_up", "description": "Look something up.", "input_schema": {"type": "object"}},
    {"name": "note", "description": "Write something down.", "input_schema": {"type": "object"}},
]
PRIVATE = "Wilhelmina Ottersbach"


@pytest.fixture(scope="module")
def vendor() -> Iterator[Upstream]:
    """An upstream that holds every conversation to what it was."""
    with running_simulator(switches=Switches(recent_account=True)) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(next(iter(binaries().values()))) as server:
        yield server


@pytest.fixture(scope="module")
def replicas(
    vendor: Upstream, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Deployed]]:
    """Two gateways on one Redis, everybody on the candidate."""
    directory = tmp_path_factory.mktemp("replay")
    config = write_config(directory, vendor.url, migration("m", O45, O55))
    with two_replicas(config, directory, redis.url) as made:
        yield made


@dataclass
class Talk:
    """One conversation, wherever its turns go."""

    unit: str
    turns: list[Json] = field(default_factory=list)
    rewrites: str = ""
    reason: str = ""

    def say(self, gateway: Deployed, text: str, **fields: Any) -> list[Json]:
        """Say something, or bring what the tools found, and return the answer's blocks."""
        last = self.turns[-1]["content"] if self.turns else []
        found: list[Json] = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": f"{PRIVATE} owes 42 euros."}
            for block in last
            if block["type"] == "tool_use"
        ]
        said: Json = {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}
        asked = [*_unmarked(self.turns), {"role": "user", "content": [*found, said]}]
        prefill = fields.pop("prefill", None)
        body: Json = {"model": O45, "max_tokens": 1000, "tools": TOOLS, "messages": asked, **fields}
        if prefill is not None:
            body["messages"] = [*asked, {"role": "assistant", "content": prefill}]
        answer = gateway.http.post(
            f"{gateway.url}/v1/messages", json=body, headers=HEADERS | {"x-gateway-unit": self.unit}
        )
        assert answer.status_code == 200, answer.text
        assert "x-gateway-fallback" not in answer.headers
        self.rewrites, self.reason = answer.headers["x-gateway-rewrites"], answer.headers["x-gateway-reason"]
        content: list[Json] = answer.json()["content"]
        whole = [{"type": "text", "text": prefill + content[0]["text"]}] if prefill is not None else content
        self.turns = [*asked, {"role": "assistant", "content": whole}]
        return content


def _unmarked(turns: list[Json]) -> list[Json]:
    """A client moves its cache marker to the newest turn."""

    def unmarked(block: Json) -> Json:
        return {key: value for key, value in block.items() if key != "cache_control"}

    return [{**turn, "content": [unmarked(block) for block in turn["content"]]} for turn in turns]


def thoughts(request: LoggedRequest) -> list[int]:
    """Return how many thinking blocks each answer in a request's history has."""
    return [
        sum(block["type"] == "thinking" for block in turn["content"])
        for turn in request.json["messages"]
        if turn["role"] == "assistant"
    ]


def sent(vendor: Upstream, since: int) -> list[LoggedRequest]:
    return [request for request in vendor.requests(since=since) if request.path == "/v1/messages"]


def notes_in(redis: RedisServer) -> int:
    with redis.client() as client:
        return sum(1 for _ in client.scan_iter("*:note:*"))


def last_seq(vendor: Upstream) -> int:
    return max((request.seq for request in vendor.requests()), default=0)


def test_what_the_store_lost_is_named_and_is_no_error(
    vendor: Upstream, replicas: list[Deployed], redis: RedisServer
) -> None:
    since, talk = last_seq(vendor), Talk("flushed")
    for number in range(3):
        talk.say(replicas[number % 2], f"Tell me about it, {number}; use a tool.")
    eventually(lambda: notes_in(redis) == 3)
    redis.empty()
    talk.say(replicas[1], "And now?")
    assert talk.reason == "pinned"
    assert "replay=E" in talk.rewrites.split(",")
    for number in range(4):
        talk.say(replicas[number % 2], f"Go on, {number}; use a tool.")
        assert "replay" not in talk.rewrites
    asked = sent(vendor, since)
    assert {(request.model, request.status) for request in asked} == {(O55, 200)}
    assert thoughts(asked[3]) == [1, 1, 0]
    assert thoughts(asked[-1]) == [1, 1, 0, 1, 1, 1, 1]


def test_ten_turns_with_tools_forced_calls_and_beginnings_break_no_binding(
    vendor: Upstream, replicas: list[Deployed]
) -> None:
    since, talk = last_seq(vendor), Talk("ten-turns")
    for number in range(10):
        match number % 5:
            case 1:
                talk.say(replicas[0], "Go on.", tool_choice={"type": "any"})
            case 2:
                talk.say(replicas[0], "And once more.", tool_choice={"type": "tool", "name": "note"})
            case 4:
                talk.say(
                    replicas[0],
                    f"Sum it up, {number}.",
                    tools=TOOLS,
                    tool_choice={"type": "none"},
                    prefill="Sum:",
                )
            case _:
                talk.say(replicas[0], f"Tell me about it, {number}; use a tool.")
        assert not any(block["type"] == "thinking" for block in talk.turns[-1]["content"])
    asked = sent(vendor, since)
    assert {(request.model, request.status) for request in asked} == {(O55, 200)}
    assert sum(thoughts(asked[-1])) >= 5
    for before, after in pairwise(asked):
        assert thoughts(after)[: len(thoughts(before))] == thoughts(before)


def test_the_official_sdk_streams_and_goes_on_without_noticing(
    vendor: Upstream, replicas: list[Deployed]
) -> None:
    since, turns = last_seq(vendor), []
    headers = {"x-gateway-unit": "sdk"}
    with anthropic.Anthropic(api_key="sk-test", base_url=replicas[0].url, max_retries=0) as client:
        for number in range(5):
            turns.append({"role": "user", "content": f"Tell me more, {number}."})
            with client.messages.stream(
                model=O45,
                max_tokens=500,
                messages=turns,  # type: ignore[arg-type]
                extra_headers=headers,
            ) as stream:
                answer = stream.get_final_message()
            assert [block.type for block in answer.content] == ["text"]
            turns.append({"role": "assistant", "content": answer.content})  # type: ignore[dict-item]
    asked = sent(vendor, since)
    assert {request.status for request in asked} == {200}
    assert [sum(thoughts(request)) for request in asked] == [0, 1, 2, 3, 4]


def test_two_replicas_take_turns(vendor: Upstream, replicas: list[Deployed]) -> None:
    since, talk = last_seq(vendor), Talk("taking-turns")
    for number in range(8):
        talk.say(replicas[number % 2], f"Tell me about it, {number}; use a tool.")
        assert "replay" not in talk.rewrites
    asked = sent(vendor, since)
    assert {(request.model, request.status) for request in asked} == {(O55, 200)}
    assert all(all(thoughts(request)) for request in asked)


def test_nothing_of_a_conversation_is_readable_in_the_store(
    replicas: list[Deployed], redis: RedisServer
) -> None:
    talk = Talk("private")
    for number in range(3):
        talk.say(replicas[0], f"{PRIVATE} wants her money back, {number}; use a tool.")
    words = {
        word
        for turn in talk.turns
        for block in turn["content"]
        for word in str(block.get("text", block.get("content", ""))).split()
        if len(word) > 5
    }
    assert {"Wilhelmina", "Ottersbach"} <= words
    with redis.client() as client:
        notes = list(client.scan_iter("*:note:*"))
        assert len(notes) >= 3
        assert all(0 < client.ttl(key) <= 86_400 for key in notes)
        stored = [client.get(key) for key in notes] + [client.dump(key) for key in client.scan_iter("*")]
        names = list(client.scan_iter("*"))
    everything = b" ".join([*(value for value in stored if isinstance(value, bytes)), *names])
    assert len(everything) > 1000
    assert not [word for word in words if word.encode() in everything]


def test_counting_tokens_counts_what_is_repeated(vendor: Upstream, replicas: list[Deployed]) -> None:
    talk = Talk("counted")
    talk.say(replicas[0], "Tell me about it.", tools=TOOLS[:1])
    since = last_seq(vendor)
    body = {"model": O45, "tools": TOOLS[:1], "messages": [*talk.turns, {"role": "user", "content": "And?"}]}
    answer = httpx2.post(
        f"{replicas[1].url}/v1/messages/count_tokens",
        json=body,
        headers=HEADERS | {"x-gateway-unit": talk.unit},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    [counted] = vendor.requests(since=since)
    assert (counted.path, thoughts(counted)) == ("/v1/messages/count_tokens", [1])
