"""Conversations with a gateway: what identifies one, what was said so far, the model that it began with."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx2

from tests.support.deploy import Deployed

O45, O46 = "claude-opus-4-5-20251101", "claude-opus-4-6"
HEADERS = {"x-api-key": "sk-test", "anthropic-version": "2023-06-01", "content-type": "application/json"}
KEY = "a-key-of-the-application"
numbers = count()
"""Makes names that nobody has had before."""


@dataclass
class Talk:
    """One conversation: what identifies it, and what was said so far."""

    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    turns: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    """The one that it began with."""
    reason: str = ""
    """Why it got the model of its last answer."""

    def say(self, gateway: Deployed, text: str = "Go on.") -> str:
        """Say something, keep the answer, and return the model that gave it."""
        asked = [*self.turns, {"role": "user", "content": text}]
        answer = self._ask(gateway, "", {"max_tokens": 8, "messages": asked})
        served: str = answer.json()["model"]
        assert answer.headers["x-gateway-served-model"] == served
        self.turns = [*asked, {"role": "assistant", "content": answer.json()["content"]}]
        self.model = self.model or served
        return served

    def count(self, gateway: Deployed) -> str:
        """Count the tokens of a next turn, and return the model that did."""
        asked = [*self.turns, {"role": "user", "content": "Next."}]
        answer = self._ask(gateway, "/count_tokens", {"messages": asked})
        assert answer.json()["input_tokens"] > 0
        served: str = answer.headers["x-gateway-served-model"]
        return served

    def _ask(self, gateway: Deployed, path: str, body: dict[str, Any]) -> httpx2.Response:
        url = f"{gateway.url}/v1/messages{path}"
        answer = gateway.http.post(
            url, json={"model": O45, **self.fields, **body}, headers=HEADERS | self.headers
        )
        assert answer.status_code == 200, answer.text
        self.reason = answer.headers["x-gateway-reason"]
        return answer


def by_header(number: int) -> Talk:
    return Talk(headers={"x-gateway-unit": f"unit-{number}"})


def by_user(number: int) -> Talk:
    return Talk(fields={"metadata": {"user_id": f"user-{number}"}})


def by_claude_code(number: int) -> Talk:
    names = {"device_id": f"d-{number}", "account_uuid": f"a-{number}", "session_id": f"s-{number}"}
    return Talk(fields={"metadata": {"user_id": json.dumps(names)}})


def by_what_is_said(_: int) -> Talk:
    return Talk(fields={"system": "You are brief."})


KINDS = (by_header, by_user, by_claude_code, by_what_is_said)


def begin(gateway: Deployed, kind: Callable[[int], Talk] = by_header) -> Talk:
    """Begin a conversation that nobody has had before."""
    number = next(numbers)
    talk = kind(number)
    talk.say(gateway, f"This is the beginning of conversation {number}.")
    return talk


def begin_on(gateway: Deployed, *models: str, kind: Callable[[int], Talk] = by_header) -> list[Talk]:
    """Begin conversations until there is one on each of these models."""
    found: dict[str, Talk] = {}
    for _ in range(200):
        talk = begin(gateway, kind)
        found.setdefault(talk.model, talk)
        if found.keys() >= set(models):
            return [found[model] for model in models]
    raise AssertionError(f"200 conversations, and none on all of {models}")


def models_of(gateway: Deployed, kind: Callable[[int], Talk] = by_header, talks: int = 4) -> set[str]:
    """Return the models that new conversations begin on."""
    return {begin(gateway, kind).model for _ in range(talks)}
