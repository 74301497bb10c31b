"""What a request weighs: prompt tokens, and how many of them a prompt cache read or wrote.

A token is four characters, or a third less with the newer tokenizers, so the same text counts about 30 %
more there. A prompt is read in the order tools, system, messages, block by block. Every `cache_control`
marks a breakpoint: the prefix up to it is written to the model's cache unless it is there, and read when it
is; up to `LOOKBACK` blocks before a breakpoint an older entry is found too. Entries live for five minutes
or an hour from their last use.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.compat.catalog import Model
from gateway.core.types import to_json
from gateway.simulator.rules.case import Json

CHARACTERS_PER_TOKEN = 4.0
FACTORS: Mapping[str, float] = {"old": 1.0, "new": 1.3, "newer": 1.3}
IMAGE_TOKENS: Mapping[str, int] = {"old": 1568, "new": 4784, "newer": 4784}
TOKENS_PER_BLOCK = 4
LOOKBACK = 20
TTL_S: Mapping[str, float] = {"5m": 300.0, "1h": 3600.0}
MAX_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class PromptUse:
    """The prompt's tokens by how they were billed."""

    plain: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def total(self) -> int:
        return self.plain + self.read + self.written_5m + self.written_1h

    def as_json(self) -> Json:
        """The input side of a `usage` object."""
        return {
            "input_tokens": self.plain,
            "cache_creation_input_tokens": self.written_5m + self.written_1h,
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written_5m,
                "ephemeral_1h_input_tokens": self.written_1h,
            },
        }


def count_text(text: str, model: Model) -> int:
    """The tokens of a text, at least one unless it is empty."""
    return -int(-len(text) * FACTORS[model.tokenizer] // CHARACTERS_PER_TOKEN)


def cut_text(text: str, tokens: int, model: Model) -> str:
    """The beginning of a text that fits into so many tokens."""
    return text[: int(tokens * CHARACTERS_PER_TOKEN / FACTORS[model.tokenizer])]


def count_prompt(body: Json, model: Model) -> int:
    """All tokens of a request's prompt."""
    return sum(_count_block(block, model) for block, _ in _blocks(body))


def _blocks(body: Json) -> Iterator[tuple[Json, str | None]]:
    """Every block of the prompt in reading order, with the lifetime that its breakpoint asks for, if it has
    one."""
    contents = [body.get("tools"), body.get("system"), *(message["content"] for message in body["messages"])]
    blocks = [block for content in contents for block in _as_blocks(content)]
    for index, block in enumerate(blocks):
        mark = block.get("cache_control")
        if mark is None and index == len(blocks) - 1:
            mark = body.get("cache_control")
        yield block, (mark.get("ttl", "5m") if isinstance(mark, dict) else None)


def _as_blocks(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def _count_block(block: Json, model: Model) -> int:
    kind = block.get("type")
    if kind == "text":
        return TOKENS_PER_BLOCK + count_text(block["text"], model)
    if kind == "image":
        return IMAGE_TOKENS[model.tokenizer]
    if kind == "tool_result":
        return TOKENS_PER_BLOCK + sum(_count_block(part, model) for part in _as_blocks(block.get("content")))
    if kind in ("thinking", "redacted_thinking"):
        return count_text(str(block.get("thinking", "")), model)
    return TOKENS_PER_BLOCK + count_text(to_json(_unmarked(block)).decode(), model)


def _unmarked(block: Json) -> Json:
    return {key: value for key, value in block.items() if key != "cache_control"}


class PromptCache:
    """The prefixes that models remember, each model its own."""

    def __init__(self) -> None:
        self._expiry: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def use(self, body: Json, model: Model, now: float) -> PromptUse:
        """Bill a prompt: what is read, what is written, what is neither."""
        blocks = list(_blocks(body))
        if not any(ttl for _, ttl in blocks):
            return PromptUse(sum(_count_block(block, model) for block, _ in blocks))
        prefixes = self._prefixes(blocks, model)
        marked = [index for index, (_, ttl) in enumerate(blocks) if ttl]
        marked = [index for index in marked if prefixes[index][1] >= model.min_cacheable_tokens]
        total = prefixes[-1][1]
        if not marked:
            return PromptUse(total)
        hit = max(
            (found for index in marked if (found := self._found(prefixes, index, now)) is not None),
            default=-1,
        )
        read = prefixes[hit][1] if hit >= 0 else 0
        written = {"5m": 0, "1h": 0}
        covered = read
        for index in marked:
            ttl = blocks[index][1] or "5m"
            written[ttl] += max(0, prefixes[index][1] - covered)
            covered = max(covered, prefixes[index][1])
            self._remember(prefixes[index][0], now + TTL_S[ttl])
        return PromptUse(total - covered, read, written["5m"], written["1h"])

    def _found(self, prefixes: list[tuple[tuple[str, bytes], int]], index: int, now: float) -> int | None:
        """The longest prefix that is remembered, at or shortly before a breakpoint."""
        for candidate in range(index, max(-1, index - LOOKBACK - 1), -1):
            if self._expiry.get(prefixes[candidate][0], 0.0) > now:
                return candidate
        return None

    @staticmethod
    def _prefixes(blocks: list[tuple[Json, str | None]], model: Model) -> list[tuple[tuple[str, bytes], int]]:
        """Key and tokens of the prefix that ends with each block."""
        prefixes, tokens, digest = [], 0, hashlib.sha256()
        for block, _ in blocks:
            digest.update(to_json(_unmarked(block)))
            tokens += _count_block(block, model)
            prefixes.append(((model.id, digest.digest()), tokens))
        return prefixes

    def _remember(self, key: tuple[str, bytes], expires_at: float) -> None:
        self._expiry[key] = max(expires_at, self._expiry.get(key, 0.0))
        self._expiry.move_to_end(key)
        if len(self._expiry) > MAX_ENTRIES:
            self._expiry.popitem(last=False)
