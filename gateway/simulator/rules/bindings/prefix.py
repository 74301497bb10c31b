"""Digests of the conversation before a block, as far as edits count.

Not edits, and left out or evened out: `cache_control`, thinking blocks (their chain is looked at apart), the
order of tools, deferred tools that nothing refers to, whitespace around texts, whitespace-only texts, a
string instead of one text block, the order of JSON keys, fields that are null, the query of a URL (which
rotates while the bytes stay), one turn in several messages, parameters other than system, tools and messages.
A compaction block that the server made begins a conversation anew.
"""

import hashlib
from typing import Any
from urllib.parse import urlsplit

from gateway.core.types import to_json
from gateway.simulator.rules.bindings.stamps import DIGEST_CHARACTERS, is_thinking

Json = dict[str, Any]
TRAIL_CHARACTERS = 4
UNBOUND = frozenset({"cache_control", "defer_loading", "eager_input_streaming"})
"""What may change on a tool or a block."""


class PrefixReader:
    """Reads a conversation from its beginning, block by block, and can say its digest at any point."""

    def __init__(self, body: Json) -> None:
        tools: list[Json] = body.get("tools") or []
        self._deferred = {_tool_name(tool): tool for tool in tools if tool.get("defer_loading")}
        loaded = {_tool_name(tool): _even(tool) for tool in tools if not tool.get("defer_loading")}
        system = [_even(block) for block in as_blocks(body.get("system")) if _counts(block)]
        self._base = hashlib.sha256(to_json([system, sorted(loaded.items(), key=lambda item: item[0])]))
        self._restart()
        self.trail = self._short()

    def _restart(self) -> None:
        self._hash = self._base.copy()
        self._role = ""

    def begin(self, message: Json) -> None:
        """Take what a message says beside its content."""
        beside = {key: message[key] for key in ("clear_at", "output_config") if message.get(key) is not None}
        if beside:
            self._hash.update(to_json(_in_order(beside)))

    def take(self, role: str, block: Json) -> None:
        """Take the next block; thinking is passed over."""
        if is_thinking(block) or not _counts(block):
            return
        if block.get("type") == "compaction" and block.get("content") is not None:
            self._restart()
        if role != self._role:
            self._role = role
            self._hash.update(f"\0{role}\0".encode())
        self._hash.update(to_json(_even(block)))
        if self._deferred:
            self._load(block)

    def end(self) -> None:
        """A message is over: note how far the conversation has come."""
        self.trail += self._short()

    def digest(self) -> str:
        return self._hash.hexdigest()[:DIGEST_CHARACTERS]

    def _short(self) -> str:
        return self._hash.hexdigest()[:TRAIL_CHARACTERS]

    def _load(self, value: Any) -> None:
        """Deferred tools belong to the conversation from where something refers to them."""
        if isinstance(value, list):
            for item in value:
                self._load(item)
        elif isinstance(value, dict):
            referred = value.get("type") in ("tool_reference", "tool_use")
            name = value.get("tool_name") or value.get("name")
            if referred and (tool := self._deferred.pop(str(name), None)) is not None:
                self._hash.update(to_json(_even(tool)))
            for key in ("content", "tool", "tool_references"):
                self._load(value.get(key))


def read_whole(body: Json) -> PrefixReader:
    """A reader that has come to the end of a conversation."""
    reader = PrefixReader(body)
    for message in body["messages"]:
        reader.begin(message)
        for block in as_blocks(message["content"]):
            reader.take(message["role"], block)
        reader.end()
    return reader


def first_difference(made: str, found: str) -> int | None:
    """The first message after which two trails are not the same; None: they part before the first, or do
    not."""
    if made[:TRAIL_CHARACTERS] != found[:TRAIL_CHARACTERS]:
        return None
    for start in range(TRAIL_CHARACTERS, len(made), TRAIL_CHARACTERS):
        if made[start : start + TRAIL_CHARACTERS] != found[start : start + TRAIL_CHARACTERS]:
            return start // TRAIL_CHARACTERS - 1
    return None


def as_blocks(content: Any) -> list[Json]:
    """Content as blocks; a string is one text block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _tool_name(tool: Json) -> str:
    return str(tool.get("name") or tool.get("type"))


def _counts(block: Json) -> bool:
    return block.get("type") != "text" or bool(str(block.get("text")).strip())


def _even(block: Json) -> Any:
    even = {key: value for key, value in block.items() if key not in UNBOUND and value is not None}
    if even.get("type") == "text":
        even["text"] = str(even.get("text")).strip()
    if even.get("type") == "tool_result" and isinstance(even.get("content"), str):
        even["content"] = as_blocks(even["content"])
    return _in_order(even)


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _at_rest(key, value) for key in sorted(value) if key != "cache_control"}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def _at_rest(key: str, owner: Json) -> Any:
    """A field as it stands; of the address of a source only what does not rotate."""
    if key == "url" and owner.get("type") == "url" and isinstance(owner[key], str):
        return urlsplit(owner[key])._replace(query="", fragment="").geturl()
    return _in_order(owner[key])
