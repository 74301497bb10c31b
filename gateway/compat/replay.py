"""What is written into a conversation, and how the next turn repeats it byte for byte.

Newer models bind their thinking to the exact conversation before it, so whatever the gateway once wrote into
a conversation must be there again whenever that conversation comes back: lines that ask for a tool call,
thinking that the application never saw, an answer that was given to it in another shape. All of that is
`Edit`s, told in places of the application's own messages. Those of one answer make a `Note`.

A note is found by what the application itself sends (`address`).

All or nothing: a note names those it stands on. Where one of them is missing, nothing from there on is
repeated, and the thinking from there on is left out, for it was bound to what cannot be said again. The
note of the answer to that says so. What was left out once stays left out, and the conversation goes on from
there: everything behind that answer is repeated again.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

import msgspec
from msgspec import Raw

from gateway.compat.address import Address, raw_blocks
from gateway.compat.envelope import THINKING_BLOCKS, Block, Fields, Turn, encode, read


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


class Results(msgspec.Struct, frozen=True, tag="results"):
    """Results of a call that the model never made, said as text; `call` is its id."""

    place: int
    call: str


class Strict(msgspec.Struct, frozen=True, tag="strict"):
    """A tool whose input must fit its schema, from the turn at `place` on."""

    place: int
    tool: str


Edit = Append | After | Insert | Replace | Results | Strict


class Note(msgspec.Struct, frozen=True):
    """What must be repeated for one answer, as long as its conversation lasts."""

    edits: tuple[Edit, ...]
    earlier: int | None
    """How many notes of the same conversation it stands on; None: on none, the answer was somebody else's."""
    since: int | None = None
    """Index of the first message from which thinking was left out before it, and nothing repeated."""
    upon: str = ""
    """Mark of the last note that it stands on, which in turn names the one before."""

    @property
    def mark(self) -> str:
        """Return a digest of the note and all that it stands on."""
        return blake2b(pack(self), digest_size=12).hexdigest()


FOREIGN = Note((), None)
"""Says of an answer that it came from elsewhere, and that nothing has to be repeated for it."""
UNBOUND = Note((), 0, since=0)
"""The same, and that all thinking before it is left out from now on: the model did not take it any more."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What is repeated in one request."""

    edits: tuple[Edit, ...] = ()
    notes: int = 0
    """How many notes they come from."""
    broken_at: int | None = None
    """Index of the first message from which nothing can be repeated and thinking is left out."""
    left_out: tuple[tuple[int, int], ...] = ()
    """Where thinking was left out on earlier turns: index of the first message, and of the one behind."""
    mark: str = ""
    """Of the last of its notes."""

    def __bool__(self) -> bool:
        return self != NOTHING

    def note(self, edits: Iterable[Edit]) -> Note:
        """Return the note of an answer that was given with this repeated."""
        return Note(tuple(edits), self.notes, self.broken_at, self.mark)


NOTHING = Replay()


def pack(note: Note) -> bytes:
    """Return a note as bytes."""
    return msgspec.json.encode(note)


def unpack(data: bytes) -> Note | None:
    """Read a note; None where it is none of ours."""
    return read(Raw(data), Note)


def recollect(
    answers: Sequence[Address],
    notes: Mapping[str, Note],
    unknown: Collection[str] = frozenset(),
    expected: Collection[str] = frozenset(),
) -> Replay:
    """Put together what is repeated.

    `unknown` are digests that the store gave no answer about, `expected` those that must have a note.
    """
    trail = _Trail()
    for answer in answers:
        note = notes.get(answer.digest)
        if note is not None:
            trail.take(answer.place, note)
        elif answer.digest in unknown or answer.digest in expected:
            trail.lose(answer.place)
    return trail.replay


class _Trail:
    """Follows the notes of a history, the oldest first."""

    def __init__(self) -> None:
        self._notes: list[tuple[int, Note]] = []
        self._left_out: list[tuple[int, int]] = []
        self._broken_at: int | None = None

    def take(self, place: int, note: Note) -> None:
        """Go on with a note if it stands on what was found before it; that also mends what was lost there."""
        if note.earlier is None:
            return
        since = place if note.since is None else note.since
        below = bisect_left(self._notes, since, key=_place_of)
        if below != note.earlier or _mark(self._notes[max(below - 1, 0) : below]) != note.upon:
            self.lose(self._notes[-1][0] + 1 if self._notes else 0)
            return
        if note.since is not None:
            self._left_out = [each for each in self._left_out if each[0] < since] + [(since, place)]
        self._notes[below:] = [(place, note)]
        self._broken_at = None

    def lose(self, place: int) -> None:
        """Note that nothing can be repeated from `place` on."""
        self._broken_at = place if self._broken_at is None else min(place, self._broken_at)

    @property
    def replay(self) -> Replay:
        edits = tuple(edit for _, note in self._notes for edit in note.edits)
        return Replay(
            edits, len(self._notes), self._broken_at, tuple(self._left_out), mark=_mark(self._notes)
        )


def _place_of(noted: tuple[int, Note]) -> int:
    return noted[0]


def _mark(notes: Sequence[tuple[int, Note]]) -> str:
    return notes[-1][1].mark if notes else ""


def apply(messages: Sequence[Raw], edits: Iterable[Edit], *, first: int = 0) -> list[Raw]:
    """Return the messages with `edits` done to them; a message that none names stays the object it was.

    `first` is the place of the first of `messages` among the application's.
    """
    by_place = {place: tuple(group) for place, group in groupby(sorted(edits, key=_place), key=_place)}
    result = [edit.message for edit in by_place.get(-1, ()) if isinstance(edit, After)]
    for place, message in enumerate(messages, first):
        here = by_place.get(place)
        if here is None:
            result.append(message)
            continue
        result.append(_edited(message, here))
        result += [edit.message for edit in here if isinstance(edit, After)]
    return result


def without_lost(messages: Sequence[Raw], past: Replay) -> list[Raw]:
    """Return the messages without the thinking that was bound to what cannot be repeated."""
    whole = list(messages)
    gone = (*past.left_out, *(((past.broken_at, len(whole)),) if past.broken_at is not None else ()))
    for first, behind in gone:
        whole[first:behind] = [_thoughtless(message) for message in whole[first:behind]]
    return whole


# --- the last messages alone ------------------------------------------------------------------------------

_SPACE = b" \t\r\n"
_CONTENT_NEXT = re.compile(rb'\{\s*"role"\s*:\s*"[a-z]+"\s*,\s*"content"\s*:\s*')
_NEAR = 96
_CHUNK = 1 << 16


def split(messages: Raw, turns: Sequence[Turn], at: int) -> tuple[Raw, list[Raw]] | None:
    """Return all messages before the one at `at` in one piece, and each of those from there on.

    `turns` are all of them. They are found from behind, so that most bytes are not read again; None where one
    is spelled in a way that does not say where it begins. Where the bytes before the last brace are the
    content, and those before it open an object, nothing else can stand in it: strings are left where they
    were entered, and braces match.
    """
    view, found = memoryview(messages), list[Raw]()
    end = _before(b"]", view, len(view))
    for turn in reversed(turns[at:]):
        content = memoryview(turn.content)
        behind = _before(b"}", view, end)
        start = behind - len(content)
        if start < 0 or content[0] not in b'"[' or not _same(view[start:behind], content):
            return None
        first = _opened(view, start)
        if first < 0:
            return None
        found.append(Raw(view[first:end]))
        end = _before(b",", view, first)
    return None if end < 0 else (Raw(view[1:end]), found[::-1])


def _before(mark: bytes, view: memoryview, end: int) -> int:
    """Return where the value in front of a mark ends, space aside; negative where the mark is not there."""
    start = max(0, end - _NEAR)
    near = bytes(view[start : max(0, end)]).rstrip(_SPACE)
    return start + len(near[:-1].rstrip(_SPACE)) if near[-1:] == mark else -1


def _opened(view: memoryview, end: int) -> int:
    """Return where a message begins whose content begins at `end`; negative where that is not to be told."""
    near = bytes(view[max(0, end - _NEAR) : end])
    brace = max(0, near.rfind(b"{"))
    return end - len(near) + brace if _CONTENT_NEXT.fullmatch(near, brace) else -1


def _same(some: memoryview, others: memoryview) -> bool:
    """Compare bytes, some at a time: views are compared one byte after another, and copies need room."""
    return all(
        bytes(some[start : start + _CHUNK]) == bytes(others[start : start + _CHUNK])
        for start in range(0, len(others), _CHUNK)
    )


# --- one message ------------------------------------------------------------------------------------------


def _place(edit: Edit) -> int:
    return edit.place


_BESIDE = (After, Strict)
"""Edits that leave the message at their place as it is."""


def _edited(message: Raw, edits: Sequence[Edit]) -> Raw:
    inside = [edit for edit in edits if not isinstance(edit, _BESIDE)]
    turn = read(message, Fields) if inside else None
    if turn is None:
        return message
    blocks = raw_blocks(turn.get("content"))
    replacing = [edit.content for edit in inside if isinstance(edit, Replace)]
    if replacing:
        blocks = _marked_like(raw_blocks(replacing[0]) or [], blocks or ())
    if blocks is None:
        return message
    calls = {edit.call for edit in inside if isinstance(edit, Results)}
    if calls:
        blocks = [said for raw in blocks for said in _result_as_text(raw, calls)]
    for edit in sorted([edit for edit in inside if isinstance(edit, Insert)], key=_at):
        blocks.insert(edit.at, edit.block)
    blocks += [edit.block for edit in inside if isinstance(edit, Append)]
    return encode(turn | {"content": blocks})


def _at(edit: Insert) -> int:
    return edit.at


def _marked_like(blocks: list[Raw], shown: Sequence[Raw]) -> list[Raw]:
    """Return the blocks with the last cache marker of those in whose place they stand, at their end."""
    markers = [
        fields["cache_control"] for raw in shown if "cache_control" in (fields := read(raw, Fields) or {})
    ]
    at = next((at for at in reversed(range(len(blocks))) if not _is_thinking(blocks[at])), None)
    if not markers or at is None:
        return blocks
    marked = encode((read(blocks[at], Fields) or {}) | {"cache_control": markers[-1]})
    return [*blocks[:at], marked, *blocks[at + 1 :]]


def _result_as_text(raw: Raw, calls: Collection[str]) -> list[Raw]:
    """Return a block as it is, or what a result of one of `calls` says; a cache marker stays at its end."""
    block = read(raw, Fields) or {}
    if read(block.get("type"), str) != "tool_result" or read(block.get("tool_use_id"), str) not in calls:
        return [raw]
    failed = read(block.get("is_error"), bool) or False
    said = encode({"type": "text", "text": "That failed:" if failed else "The result of that:"})
    whole = [said, *(raw_blocks(block.get("content")) or ())]
    if "cache_control" in block:
        last = read(whole[-1], Fields) or {}
        whole[-1] = encode(last | {"cache_control": block["cache_control"]})
    return whole


def strictly(tools: Raw, edits: Iterable[Edit]) -> Raw:
    """Return the tools with those that `edits` name held to their schemas; the others keep their bytes."""
    names = {edit.tool for edit in edits if isinstance(edit, Strict)}
    raws = read(tools, list[Raw]) if names else None
    if raws is None:
        return tools
    return encode([_strict(raw) if _name(raw) in names else raw for raw in raws])


def _strict(tool: Raw) -> Raw:
    return encode((read(tool, Fields) or {}) | {"strict": True})


def _name(tool: Raw) -> str:
    return read((read(tool, Fields) or {}).get("name"), str) or ""


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
