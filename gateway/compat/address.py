"""Where the note of an answer is found: by the conversation itself, as the application sends it.

An address is a digest of system, tools, every message before the answer, and the answer as it comes back. So
a fork, a retry or an edited history finds exactly what belongs to it, or nothing, and no list has to be kept
of who talks to whom. What clients change between two turns of one conversation does not count: cache
markers, a text as string or as block, nulls, the order of a block's keys, whitespace in the answer, the
answer's thinking.

One pass over the messages makes all addresses of a history: the digest grows with it, and each answer is
hashed onto a copy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from gateway.compat.envelope import THINKING_BLOCKS, Envelope, Fields, Turn, encode, read

T = TypeVar("T")

_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_BLANK = b" \t\r\n\f\v"
_QUOTE, _BRACKET = b'"['
_NULL = Raw(b"null")


class _Part(msgspec.Struct, frozen=True):
    """One block of an answer, as far as it is recognised by it."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None


# Made once: a decoder costs more than most of what it reads here.
_PART = msgspec.json.Decoder(_Part)
_PARTS = msgspec.json.Decoder(list[_Part])
_RAWS = msgspec.json.Decoder(list[Raw])
_BLOCKS = msgspec.json.Decoder(list[Fields])


@dataclass(frozen=True, slots=True)
class Address:
    """Where the note of one answer in a history is to be found."""

    place: int
    """Index of the answer among the application's messages."""
    digest: str


def addresses(envelope: Envelope) -> tuple[Address, ...]:
    """Return the address of every answer in a request's history, the oldest first; a prefill is none."""
    return _told(envelope)[1]


def answer_digests(envelope: Envelope, echoes: Iterable[bytes]) -> tuple[str, ...]:
    """Return the digests under which the answer to a request will be looked for; `echoes` are the ways in
    which it may come back.
    """
    chain, _ = _told(envelope)
    return tuple(dict.fromkeys(chain.address(each) for each in echoes))


def _told(envelope: Envelope) -> "tuple[_Chain, tuple[Address, ...]]":
    """Return the digest of a whole history, and the addresses on the way; it is gone through once, and the
    answer to it is hashed onto what is known.
    """
    kept: tuple[_Chain, tuple[Address, ...]] | None = vars(envelope).get("told")
    if kept is None:
        chain, found = _Chain(envelope.fields), []
        turns = envelope.turns[: envelope.prefill.start] if envelope.prefill else envelope.turns
        for place, turn in enumerate(turns):
            answer = chain.take(turn)
            if answer is not None:
                found.append(Address(place, answer))
        kept = vars(envelope)["told"] = (chain, tuple(found))
    return kept


def echo(content: Raw | Sequence[Raw]) -> bytes:
    """Return an answer as it is recognised when it comes back: texts without whitespace, calls by id."""
    if not isinstance(content, Raw):
        content = encode(content)
    if _head(content) == _QUOTE:
        return _recognised([read(content, str) or ""], [], [])
    texts: list[str] = []
    calls: list[list[str | None]] = []
    parts = _read(_PARTS, content)
    if parts is not None and all(_take(part, texts, calls) for part in parts):
        return _recognised(texts, calls, [])
    texts, calls, others = [], [], []
    for raw in _read(_RAWS, content) or []:
        part = _read(_PART, raw)
        if part is None or not _take(part, texts, calls):
            others.append(_plain(raw))
    return _recognised(texts, calls, others)


def _take(part: "_Part", texts: list[str], calls: list[list[str | None]]) -> bool:
    """Add what a block is recognised by; False where that is more than is known of it here."""
    kind = part.type
    if kind == "text" and part.text is not None:
        texts.append(part.text)
    elif kind in _CALLS and part.id is not None:
        calls.append([kind, part.id, part.name])
    else:
        return kind in THINKING_BLOCKS
    return True


def _recognised(texts: Sequence[str], calls: Sequence[Sequence[str | None]], others: Sequence[Any]) -> bytes:
    text = "".join(texts).encode("utf-8", "surrogatepass").translate(None, _BLANK)
    if not calls and not others:
        return text + b"\0[[],[]]"
    return text + b"\0" + msgspec.json.encode([calls, others], order="deterministic")


def raw_blocks(content: Raw | None) -> list[Raw] | None:
    """Return the blocks of a content, a string as one text block; None where it is neither."""
    if content is None or _head(content) != _QUOTE:
        return read(content, list[Raw])
    text = read(content, str)
    if text is None:
        return None
    return [encode({"type": "text", "text": content})] if text else []


class _Chain:
    """A digest that grows with the conversation."""

    __slots__ = ("_hash",)

    def __init__(self, fields: Mapping[str, Raw]) -> None:
        self._hash = sha256(b"gateway replay")
        for name in ("system", "tools"):
            self._add(_said(fields.get(name), [b""]))

    def take(self, turn: Turn) -> str | None:
        """Go on behind a turn; return the address of an answer."""
        if turn.role != "assistant":
            self._add(_said(turn.content, [_name(turn.role)]))
            return None
        answer = echo(turn.content)
        address = self.address(answer)
        self._add([b"a", len(answer).to_bytes(8, "big"), answer])
        return address

    def address(self, answer: bytes) -> str:
        digest = self._hash.copy()
        digest.update(b"answer" + answer)
        return digest.hexdigest()

    def _add(self, pieces: list[bytes | Raw]) -> None:
        self._hash.update(b"\0".join([*pieces, b"\0"]))  # one call a turn: each costs as much as 1 KB


def _said(content: Raw | None, pieces: list[bytes | Raw]) -> list[bytes | Raw]:
    """Add what a content says, piece by piece; a string is one text block.

    The pieces are JSON, which holds no zero byte, so one stands between them.
    """
    if content is None:
        return pieces
    if _head(content) != _BRACKET:
        pieces += (b"t", content)
        return pieces
    blocks = _read(_BLOCKS, content)
    if blocks is None:
        pieces += (b"?", content)
        return pieces
    for block in blocks:
        _add_block(block, pieces)
    return pieces


def _add_block(block: Fields, pieces: list[bytes | Raw]) -> None:
    """Add what a block says; cache markers, nulls and the order of its keys are left out."""
    if len(block) == 2 and "text" in block and "type" in block:
        pieces += (b"t", block["text"])
        return
    names = sorted([name for name, value in block.items() if value != _NULL and name != "cache_control"])
    if names == ["text", "type"]:
        pieces += (b"t", block["text"])
        return
    pieces.append(b"{")
    for name in names:
        pieces.append(_name(name))
        if name == "content":
            _said(block[name], pieces)
        else:
            pieces.append(block[name])
    pieces.append(b"}")


def _spelled(name: str) -> bytes:
    return b"." + name.encode("utf-8", "surrogatepass").replace(b"\0", b"\0.")


_USUAL = {
    name: _spelled(name)
    for name in (
        "user",
        "system",
        "type",
        "text",
        "source",
        "content",
        "tool_use_id",
        "is_error",
        "id",
        "name",
    )
}


def _name(name: str) -> bytes:
    return _USUAL.get(name) or _spelled(name)


def _read(decoder: "msgspec.json.Decoder[T]", raw: Raw) -> T | None:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _head(raw: Raw) -> int:
    return memoryview(raw)[0]


def _plain(raw: Raw) -> Any:
    """Return a block without what does not count; one that is nested too deeply is taken by its bytes."""
    try:
        return _without_nulls(read(raw, Any))
    except RecursionError:
        return bytes(raw).hex()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item is not None and key != "cache_control"}
        return {key: _without_nulls(item) for key, item in kept.items()}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
