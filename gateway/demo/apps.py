"""What the five applications ask: conversations, filled in from the templates under `config/demo`.

One JSON document per line is one template: a request body with `{{placeholders}}`, the words to fill them
with, what the application does next (`follow_ups`, `tool_results`) and what it expects back. Every choice is
a hash of who asks, so two runs send the same requests.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from gateway.core.types import from_json
from gateway.errors import ConfigError

Expectation = Literal["answer", "json", "tool"]

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True)
class Lines:
    """A long text made of one line, filled in many times."""

    count: int
    line: str


@dataclass(frozen=True, slots=True)
class Template:
    """One thing that an application does."""

    application: str
    name: str
    body: Mapping[str, Any]
    expects: Expectation
    headers: Mapping[str, str] = field(default_factory=dict)
    fill: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Placeholder → words to choose from."""
    lists: Mapping[str, Lines] = field(default_factory=dict)
    tool_results: Sequence[str] = ()
    """What the application's tools return, in turn; a conversation ends when they are used up."""
    follow_ups: Sequence[str] = ()
    """What the user says after each finished answer."""


def load_templates(folder: Path) -> tuple[Template, ...]:
    """Return the templates of every application in `folder`; raises ConfigError naming the line that is
    wrong."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise ConfigError(f"{folder}: the demo's traffic is missing; run this from a clone of the repository")
    return tuple(template for file in files for template in _read(file))


def _read(file: Path) -> Iterable[Template]:
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        try:
            row = from_json(line, dict[str, Any])
            lists = {name: Lines(item["lines"], item["line"]) for name, item in row.get("lists", {}).items()}
            yield Template(**{**row, "application": file.stem, "lists": lists})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{file}: line {number}: {error}") from None


class Conversation:
    """One user's talk with one application, from its first request to its last."""

    def __init__(self, template: Template, *, user: str, number: int, model: str) -> None:
        self.template = template
        self.user = user
        self._seed = f"{template.application}/{template.name}/{user}/{number}"
        self._values = {
            "model": model,
            "user": user,
            "session": _uuid(self._seed),
            "account": _uuid(f"account/{user}"),
            "device": sha256(f"device/{user}".encode()).hexdigest(),
        }
        self.headers: dict[str, str] = self._filled(dict(template.headers))
        self.body: dict[str, Any] = self._filled(dict(template.body))
        self._tool_results = [self._filled(text) for text in template.tool_results]
        self._follow_ups = [self._filled(text) for text in template.follow_ups]
        self.turn = 0

    @property
    def streams(self) -> bool:
        """Whether the application asks for a stream."""
        return bool(self.body.get("stream"))

    def go_on(self, content: Sequence[Mapping[str, Any]]) -> bool:
        """Take the assistant's answer into the history and add the next user turn; False when there is
        none."""
        calls = [block for block in content if block.get("type") == "tool_use"]
        replies: list[dict[str, Any]]
        if calls and self._tool_results:
            result = self._tool_results.pop(0)
            replies = [
                {"type": "tool_result", "tool_use_id": call["id"], "content": result} for call in calls
            ]
        elif not calls and content and self._follow_ups:
            replies = [{"type": "text", "text": self._follow_ups.pop(0)}]
        else:
            return False
        self.turn += 1
        said = [{"role": "assistant", "content": list(content)}, {"role": "user", "content": replies}]
        self.body = {**self.body, "messages": [*self.body["messages"], *said]}
        return True

    def _filled(self, value: Any, line: int | None = None) -> Any:
        match value:
            case str():
                return _PLACEHOLDER.sub(lambda match: self._word(match[1], line), value)
            case dict():
                return {key: self._filled(item, line) for key, item in value.items()}
            case list() | tuple():
                return [self._filled(item, line) for item in value]
            case _:
                return value

    def _word(self, name: str, line: int | None) -> str:
        if name in self._values:
            return self._values[name]
        if name == "line" and line is not None:
            return str(line)
        if long := self.template.lists.get(name):
            return "\n".join(self._filled(long.line, number) for number in range(1, long.count + 1))
        words = self.template.fill[name]
        # A long text is the same for everybody who works on the same thing, as a shared context would be.
        seed = f"{self._seed}/{name}" if line is None else f"{self.template.name}/{name}/{line}"
        return words[int.from_bytes(sha256(seed.encode()).digest()[:4], "big") % len(words)]


def _uuid(seed: str) -> str:
    return str(UUID(bytes=sha256(seed.encode()).digest()[:16], version=4))
