"""What is written into a conversation, and how the next turn repeats it byte for byte.

Newer models bind their thinking to the exact conversation before it, so whatever the gateway once wrote into
a conversation must be there again whenever that conversation comes back: lines that ask for a tool call,
thinking that the application never saw, an answer that was given to it in another shape. All of that is
`Edit`s, told in places of the application's own messages. Those of one answer make a `Note`.

A note is found by what the application itself sends: its address is a digest of system, tools, every message
before the answer, and the answer as it comes back. So a fork, a retry or an edited history finds exactly
what belongs to it, or nothing, and no list has to be kept of who talks to whom. What clients change between
two turns of one conversation does not count: cache markers, a text as string or as block, nulls, whitespace
in the answer, the answer's thinking.

All or nothing: a note says how many notes it stands on. Where one of them is missing, nothing from there on
is repeated, and the thinking from there on is left out, for it was bound to what cannot be said again.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Raw

from gateway.compat.envelope import THINKING_BLOCKS, Block, Envelope, Fields, Turn, encode, read

_MARKER = re.compile(rb'"cache_control"\s*:\s*(?:null|\{[^{}]*\})')
_LOOSE_COMMA = re.compile(rb",\s*(?=[,}])|(?<=\{)\s*,")


class Append(msgspec.Struct, frozen=True, tag="append"):
    """A block at the end of a message."""

    place: int
    block: Raw


class After(msgspec.Struct, frozen=True, tag="after"):
    """A message of its own behind another one; place -1 is the front."""

    place: int
    message: Raw


class Insert(msgspec.Struct, frozen=True, tag="insert"):
    """A block inside a message; `at` is its index once it is there."""

    place: int
    at: int
    block: Raw


class Replace(msgspec.Struct, frozen=True, tag="replace"):
    """Another content for a message."""

    place: int
    content: Raw


Edit = Append | After | Insert | Replace


class Note(msgspec.Struct, frozen=True):
    """What must be repeated for one answer, as long as its conversation lasts."""

    edits: tuple[Edit, ...]
    earlier: int
    """How many notes of the same conversation it stands on."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the note of one answer in a history is to be found."""

    place: int
    """Index of the answer among the application's messages."""
    digest: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What is repeated in one request."""

    edits: tuple[Edit, ...] = ()
    notes: int = 0
    """How many notes they come from."""
    broken_at: int | None = None
    """Index of the first message from which nothing can be repeated and thinking is left out."""


NOTHING = Replay()


def pack(note: Note) -> bytes:
    """Return a note as bytes."""
    return msgspec.json.encode(note)


def unpack(data: bytes) -> Note | None:
    """Read a note; None where it is none of ours."""
    return read(Raw(data), Note)


def addresses(envelope: Envelope) -> tuple[Address, ...]:
    """Return the address of every answer in a request's history, the oldest first; a prefill is none."""
    history = envelope.turns[: envelope.prefill.start] if envelope.prefill else envelope.turns
    chain, found = _Chain(envelope.fields), []
    for place, turn in enumerate(history):
        if turn.role == "assistant":
            found.append(Address(place, chain.address(echo(turn.content))))
        chain.take(turn)
    return tuple(found)


def answer_digests(envelope: Envelope, echoes: Iterable[bytes]) -> tuple[str, ...]:
    """Return the digests under which the answer to a request will be looked for; `echoes` are the ways in
    which it may come back.
    """
    history = envelope.turns[: envelope.prefill.start] if envelope.prefill else envelope.turns
    chain = _Chain(envelope.fields)
    for turn in history:
        chain.take(turn)
    return tuple(dict.fromkeys(chain.address(each) for each in echoes))


def recollect(
    answers: Sequence[Address], notes: Mapping[str, Note], unknown: frozenset[str] = frozenset()
) -> Replay:
    """Put together what is repeated; `unknown` are digests that the store gave no answer about."""
    edits: list[Edit] = []
    count, sound = 0, 0
    for answer in answers:
        note = notes.get(answer.digest)
        if answer.digest in unknown or (note is not None and note.earlier != count):
            return Replay(tuple(edits), count, broken_at=sound)
        if note is not None:
            edits += note.edits
            count += 1
            sound = answer.place + 1
    return Replay(tuple(edits), count)


def apply(messages: Sequence[Raw], edits: Iterable[Edit], *, first: int = 0) -> list[Raw]:
    """Return the messages with `edits` done to them; a message that none names stays the object it was.

    `first` is the place of the first of `messages` among the application's.
    """
    by_place = {place: tuple(group) for place, group in groupby(sorted(edits, key=_place), key=_place)}
    result = [edit.message for edit in by_place.get(-1, ()) if isinstance(edit, After)]
    for place, message in enumerate(messages, first):
        here = by_place.get(place, ())
        result.append(_edited(message, here) if here else message)
        result += [edit.message for edit in here if isinstance(edit, After)]
    return result


def without_thinking(messages: Sequence[Raw], start: int) -> list[Raw]:
    """Return the messages without the thinking of every assistant turn from index `start` on."""
    return [*messages[:start], *(_thoughtless(message) for message in messages[start:])]


# --- one message ------------------------------------------------------------------------------------------


def _place(edit: Edit) -> int:
    return edit.place


def _edited(message: Raw, edits: Sequence[Edit]) -> Raw:
    turn = read(message, Fields)
    if turn is None or all(isinstance(edit, After) for edit in edits):
        return message
    content = next((edit.content for edit in edits if isinstance(edit, Replace)), turn.get("content"))
    blocks = raw_blocks(content)
    if blocks is None:
        return message
    for edit in sorted((edit for edit in edits if isinstance(edit, Insert)), key=lambda edit: edit.at):
        blocks.insert(edit.at, edit.block)
    blocks += [edit.block for edit in edits if isinstance(edit, Append)]
    return encode(turn | {"content": encode(blocks)})


def raw_blocks(content: Raw | None) -> list[Raw] | None:
    """Return the blocks of a content, a string as one text block; None where it is neither."""
    text = read(content, str)
    if text is not None:
        return [encode({"type": "text", "text": content})] if text else []
    return read(content, list[Raw])


def _thoughtless(message: Raw) -> Raw:
    turn = read(message, Fields)
    if turn is None or read(turn.get("role"), str) != "assistant":
        return message
    blocks = read(turn.get("content"), list[Raw])
    kept = [raw for raw in blocks or () if not _is_thinking(raw)]
    if blocks is None or len(kept) == len(blocks):
        return message
    return encode(turn | {"content": encode(kept)})


def _is_thinking(raw: Raw) -> bool:
    block = read(raw, Block)
    return block is not None and block.type in THINKING_BLOCKS


# --- addresses --------------------------------------------------------------------------------------------


class _Chain:
    """A digest that grows with the conversation."""

    __slots__ = ("_hash",)

    def __init__(self, fields: Mapping[str, Raw]) -> None:
        self._hash = blake2b(digest_size=32, person=b"gateway replay")
        for name in ("system", "tools"):
            self._add(b"", *_said(fields.get(name)))

    def take(self, turn: Turn) -> None:
        if turn.role == "assistant":
            self._add(b"a", echo(turn.content))
        else:
            self._add(turn.role.encode("utf-8", "surrogatepass"), *_said(turn.content))

    def address(self, answer: bytes) -> str:
        digest = self._hash.copy()
        digest.update(b"answer")
        digest.update(answer)
        return digest.hexdigest()

    def _add(self, *parts: bytes | memoryview) -> None:
        for part in parts:
            self._hash.update(len(part).to_bytes(8, "big"))
            self._hash.update(part)
        self._hash.update(b"\xff" * 8)


def _said(content: Raw | None) -> Iterator[bytes | memoryview]:
    """Give what a content says, piece by piece, cache markers left out; a string is one text block."""
    if content is None:
        return
    if bytes(memoryview(content)[:1]) == b'"':
        yield b"t"
        yield memoryview(content)
        return
    for raw in read(content, list[Raw]) or [content]:
        block = read(raw, Fields) if bytes(memoryview(raw)[:1]) == b"{" else None
        if block is not None and block.keys() - {"cache_control"} == {"type", "text"}:
            yield b"t"
            yield memoryview(block["text"])
            continue
        yield b"b"
        data = bytes(raw)
        yield _LOOSE_COMMA.sub(b"", _MARKER.sub(b"", data)) if b'"cache_control"' in data else data


def echo(content: Raw | Sequence[Raw]) -> bytes:
    """Return an answer as it is recognised when it comes back: texts without whitespace, calls by id."""
    raws = raw_blocks(content) if isinstance(content, Raw) else content
    texts: list[str] = []
    others: list[Any] = []
    for raw in raws or ():
        block = read(raw, dict[str, Any]) or {}
        kind = block.get("type")
        if kind == "text":
            texts += str(block.get("text")).split()
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            others.append([kind, block.get("id"), block.get("name")])
        elif kind not in THINKING_BLOCKS:
            others.append(_without_nulls(block))
    return msgspec.json.encode(["".join(texts), others], order="deterministic")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item is not None and key != "cache_control"}
        return {key: _without_nulls(item) for key, item in kept.items()}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
