"""Signatures of thinking blocks: what a block is bound to, and what a replay of it is checked for.

A simulated signature names its model, a digest of the conversation that came before it and a digest of its
own text. So a replayed block tells whether somebody edited it, and whether somebody edited the conversation
before it - which is what a gateway that rewrites history has to be caught at.

Not edits, and left out of the digest or evened out: `cache_control`, thinking blocks, the order of tools,
whitespace around texts, whitespace-only texts, a string instead of one text block, the order of JSON keys,
parameters other than system, tools and messages. A block that another model made is not checked.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.core.types import parse_json, to_json
from gateway.simulator.rules.case import Case, Json

CONTROLS_BETA = "thinking-binding-controls-2026-08-01"
ALWAYS_CHECKED = frozenset({"claude-fable-5-2", "claude-mythos-5-2", "claude-mythos-5-1"})
CHECKED_ON_RECENT_ACCOUNTS = frozenset({
    "claude-fable-5-1", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5",
})  # fmt: skip

_BOUND_ELSEWHERE = (
    "The block is bound to a different conversation. Remove the block, or set "
    '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
)
_HEADER_NEEDED = f" That setting requires the `{CONTROLS_BETA}` value in the `anthropic-beta` header."


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a signature says."""

    model: str
    prefix: str
    text: str


def mint(model_id: str, thinking: str, prefix: str) -> str:
    """The signature of a thinking block that `model_id` writes after the conversation `prefix`."""
    text = _digest(thinking.encode())
    seal = _digest(f"{model_id} {prefix} {text}".encode())
    return base64.b64encode(to_json([model_id, prefix, text, seal])).decode()


def conversation_digest(body: Json, upto: int | None = None) -> str:
    """A digest of system, tools and the first `upto` messages (all by default), as far as edits count."""
    return _PrefixDigests(body).at(len(body["messages"]) if upto is None else upto)


def broken_signatures(case: Case) -> Iterator[str]:
    """The 400 of each thinking block in the history that was made up, edited or moved."""
    digests: _PrefixDigests | None = None
    latest = max((i for i, message in enumerate(case.messages) if message["role"] == "assistant"), default=-1)
    for index, message in enumerate(case.messages):
        content = message["content"] if isinstance(message["content"], list) else []
        for position, block in enumerate(content):
            if block.get("type") != "thinking":
                continue
            path, stamp = f"messages.{index}.content.{position}", _read(block["signature"])
            if stamp is None:
                yield f"{path}: Invalid `signature` in `thinking` block"
            elif stamp.text != _digest(str(block["thinking"]).encode()):
                yield f"{path}: {_edited(latest == index)}"
            elif stamp.model == case.model.id and _checks_history(case):
                digests = digests or _PrefixDigests(case.body)
                if stamp.prefix != digests.at(index) and not _drops_blocks(case):
                    header = "" if CONTROLS_BETA in case.betas else _HEADER_NEEDED
                    yield f"{path}: Invalid `signature` in `thinking` block. {_BOUND_ELSEWHERE}{header}"


def _edited(latest: bool) -> str:
    if not latest:
        return "Invalid `signature` in `thinking` block"
    return (
        "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
        "These blocks must remain as they were in the original response."
    )


def _checks_history(case: Case) -> bool:
    if case.model.id in ALWAYS_CHECKED:
        return True
    asked = _binding(case) is not None and CONTROLS_BETA in case.betas
    return case.model.id in CHECKED_ON_RECENT_ACCOUNTS and (case.switches.recent_account or asked)


def _drops_blocks(case: Case) -> bool:
    binding = _binding(case)
    if binding is None:
        return case.batched
    return binding.get("prefix_mismatch_behavior") == "drop_block"


def _binding(case: Case) -> Json | None:
    binding = (case.body.get("thinking") or {}).get("block_binding")
    return binding if isinstance(binding, dict) else None


class _PrefixDigests:
    """Digests of ever longer beginnings of one conversation, each message read once."""

    def __init__(self, body: Json) -> None:
        self._messages: list[Json] = body["messages"]
        self._read = 0
        system = [_plain(block) for block in _as_blocks(body.get("system"))]
        tools = {str(tool.get("name")): _plain(tool) for tool in body.get("tools") or []}
        self._hash = hashlib.sha256(to_json([system, sorted(tools.items(), key=lambda item: item[0])]))

    def at(self, upto: int) -> str:
        """The digest before message `upto`; never asked for an earlier one than before."""
        for message in self._messages[self._read : upto]:
            blocks = [_plain(block) for block in _as_blocks(message["content"]) if _counts(block)]
            self._hash.update(to_json([message["role"], blocks]))
        self._read = max(self._read, upto)
        return self._hash.hexdigest()[:24]


def _as_blocks(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, list) else []


def _counts(block: Json) -> bool:
    if block.get("type") == "text":
        return bool(str(block.get("text")).strip())
    return block.get("type") not in ("thinking", "redacted_thinking")


def _plain(block: Json) -> Any:
    plain = {key: value for key, value in block.items() if key != "cache_control"}
    if plain.get("type") == "text":
        plain["text"] = str(plain.get("text")).strip()
    return _in_order(plain)


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def _read(signature: Any) -> _Stamp | None:
    try:
        model, prefix, text, seal = parse_json(base64.b64decode(str(signature), validate=True))
    except (ValueError, TypeError):
        return None
    return _Stamp(model, prefix, text) if seal == _digest(f"{model} {prefix} {text}".encode()) else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]
