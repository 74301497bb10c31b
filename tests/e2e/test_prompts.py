"""A prompt variant reaches the model that it is for and nobody else; conversations keep what they have."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.support.deploy import Deployed, Simulated, deployed, eventually, migration, write_config
from tests.support.features import O45, O55

Json = dict[str, Any]
SYSTEM = [{"type": "text", "text": "You sort letters.", "cache_control": {"type": "ephemeral"}}]
FIRST, SECOND, THIRD = "Violets are blue.", "Roses are red.", "Lilies are white."
HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01"}
BY_CONTROL = {"x-gateway-force-arm": "control", "x-gateway-token": "e2e-operator-token"}
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"


class Talk:
    """A conversation about sorting, by a person of its own."""

    def __init__(self, gateway: Deployed, upstream: Simulated, person: str, task: str = "sort") -> None:
        self.gateway, self.upstream = gateway, upstream
        self.headers = {**HEADERS, "x-gateway-unit": person, "x-gateway-task": task}
        self.turns: list[Json] = []

    def say(self, text: str, path: str = MESSAGES, **headers: str) -> httpx2.Response:
        """Say something and keep the answer."""
        asked = [*self.turns, {"role": "user", "content": text}]
        cap = {} if path == COUNT else {"max_tokens": 2000}
        body = {"model": O45, "system": SYSTEM, "messages": asked, **cap}
        answer = self.gateway.http.post(self.gateway.url + path, json=body, headers=self.headers | headers)
        assert answer.status_code == 200, answer.text
        if path == MESSAGES:
            self.turns = [*asked, {"role": "assistant", "content": answer.json()["content"]}]
        return answer

    def told(self) -> list[Json]:
        """The system prompt of the request that reached the upstream last."""
        *_, last = self.upstream.requests(self.upstream.last_seq() - 1)
        system: list[Json] = json.loads(base64.b64decode(last["body"]))["system"]
        return system


def with_variant(text: str) -> list[Json]:
    return [*SYSTEM, {"type": "text", "text": text}]


def rewrites(answer: httpx2.Response) -> list[str]:
    header: str = answer.headers["x-gateway-rewrites"]
    return header.split(",")


class Told:
    """The gateway's prompt variant, as its file says."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "prompts" / "flowers.yaml"
        self._file.parent.mkdir(parents=True, exist_ok=True)

    def say(self, *texts: str, since: int = 1) -> None:
        versions = [{"version": since + at, "mode": "append", "text": text} for at, text in enumerate(texts)]
        document = {"name": "flowers", "models": [O55], "match": {"tasks": ["sort"]}, "versions": versions}
        self._file.write_text(yaml.safe_dump(document))


@pytest.fixture
def told(directory: Path) -> Told:
    told = Told(directory)
    told.say(FIRST)
    return told


@pytest.fixture
def config(told: Told, upstream: Simulated, directory: Path) -> Path:
    return write_config(directory, upstream.url, migration("m", O45, O55))


@pytest.fixture
def gateway(config: Path, directory: Path) -> Iterator[Deployed]:
    """A gateway that sends everybody to the candidate."""
    with deployed(config, directory) as running:
        running.act("m", "start", reason="test")
        running.set_weight("m", 100)
        yield running
        said = running.log.read_text()
        assert not any(text in said for text in (FIRST, SECOND, THIRD))


def test_a_variant_reaches_only_the_candidate_and_is_disclosed(
    gateway: Deployed, upstream: Simulated
) -> None:
    talk = Talk(gateway, upstream, "ann")
    counted = talk.say("Sort a and b.", COUNT)
    assert talk.told() == with_variant(FIRST)
    assert "prompt=P" in rewrites(counted)
    answer = talk.say("Sort a and b.")
    assert answer.headers["x-gateway-served-model"] == O55
    assert talk.told() == with_variant(FIRST)
    assert "prompt=P" in rewrites(answer)

    by_control = Talk(gateway, upstream, "bob").say("Sort c and d.", **BY_CONTROL)
    assert by_control.headers["x-gateway-served-model"] == O45
    assert talk.told() == SYSTEM
    assert by_control.headers["x-gateway-rewrites"] == ""

    other = Talk(gateway, upstream, "cid", task="count").say("Count a and b.")
    assert other.headers["x-gateway-served-model"] == O55
    assert talk.told() == SYSTEM
    assert "prompt=P" not in rewrites(other)
    told = [value for series, value in gateway.metrics().items() if 'rule="prompt"' in series]
    assert sum(told) == 1


def test_a_new_version_is_for_new_conversations_and_one_that_is_gone_leaves_nothing_bound_to_it(
    config: Path, directory: Path, gateway: Deployed, upstream: Simulated, told: Told
) -> None:
    old = Talk(gateway, upstream, "ann")
    old.say("Sort a and b.")

    def begins_with(text: str) -> bool:
        talk = Talk(gateway, upstream, "dan")
        talk.say("Sort e and f.")
        return talk.told() == with_variant(text)

    told.say(FIRST, SECOND)
    eventually(lambda: begins_with(SECOND), every_s=0.2)
    old.say("And c.")
    assert old.told() == with_variant(FIRST)
    old.say("And d.", COUNT)
    assert old.told() == with_variant(FIRST)

    gateway.stop()
    with deployed(config, directory / "again", store_url=f"sqlite:///{directory}/data/gateway.db") as other:
        old.gateway = other
        assert "prompt=P" in rewrites(old.say("And e."))
        assert old.told() == with_variant(FIRST)
        new = Talk(other, upstream, "eve")
        new.say("Sort g and h.")

        told.say(SECOND, THIRD, since=2)
        eventually(lambda: "replay=E" in rewrites(old.say("And f.")), every_s=0.2)
        assert old.told() == SYSTEM
        assert "prompt=P" in rewrites(old.say("And g."))
        assert old.told() == SYSTEM
        new.say("And i.")
        assert new.told() == with_variant(SECOND)
