"""A message batch: its items told apart and put together again, and the lines of its results.

A batch may have 256 MB and 100 000 items, so its body is never read as a whole: `Batch.slices` gives a few
items at a time, about a megabyte of them, and whoever works on them may rest in between. What lies between
the items is left as it is, and so is every slice of which nothing was changed; of an item that was, only
`params` is another. What has not the shape of a batch is the upstream's to judge.

How a slice is found: after a megabyte, at the next place where one object ends and another begins with
`custom_id` or `params`. In valid JSON that text stands nowhere inside a string. It may stand deeper than the
items do, but then the slice that ends there cannot be read, and goes on to the next such place.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.answer.response import restore
from gateway.compat.envelope import Fields, encode, read

SLICE_BYTES = 1 << 20
ITEM_BYTES = 64 << 20
"""Twice what the API takes for one request; a larger item is nobody's."""

_HEAD = re.compile(rb'\s*\{\s*"requests"\s*:\s*\[')
_TAIL = re.compile(rb"\]\s*\}\s*\Z")
_TAIL_BYTES = 256
_SEAM = re.compile(rb'\}(\s*,\s*)\{\s*"(?:custom_id|params)"\s*:')
_ITEMS = msgspec.json.Decoder(list[Raw])
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_RESULTS_PATH = re.compile(r"/v1/messages/batches/[^/?#]+/results(?=[?#]|\Z)")


class NotABatch(Exception):
    """The body has not the shape of a batch."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch."""

    custom_id: str
    params: bytes
    raw: bytes
    fields: Mapping[str, Raw]

    def saying(self, params: bytes) -> bytes:
        """Return the item with other params."""
        return msgspec.json.encode({**self.fields, "params": Raw(params)})


@dataclass(frozen=True, slots=True)
class Slice:
    """Some items that follow each other."""

    raw: bytes
    """With what stands between them, and without what stands around."""
    items: tuple[Item | bytes, ...]
    """An item that is none stays the bytes it came in."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch whose items have not been read yet."""

    body: bytes
    head: bytes
    """What stands before the first item."""
    tail: bytes
    """What stands behind the last one."""
    start: int
    end: int
    """Of the items inside `body`."""

    @classmethod
    def alone(cls, body: bytes) -> "Batch":
        """Find the items where the body holds nothing else, without reading it; raises NotABatch.

        A mistake about that shows in the last slice.
        """
        head = _HEAD.match(body)
        tail = _TAIL.search(body, max(len(body) - _TAIL_BYTES, head.end() if head else 0))
        if head is None or tail is None:
            raise NotABatch
        return cls(body, head[0], tail[0], head.end(), tail.start())

    @classmethod
    def among_others(cls, body: bytes) -> "Batch":
        """Find the items among other fields; raises NotABatch."""
        fields = read(Raw(body), Fields)
        requests = bytes(fields["requests"]) if fields and "requests" in fields else b""
        if fields is None or requests[:1] != b"[":
            raise NotABatch
        others = msgspec.json.encode({name: raw for name, raw in fields.items() if name != "requests"})
        comma = b"," if len(fields) > 1 else b""
        return cls(requests, others[:-1] + comma + b'"requests":[', b"]}", 1, len(requests) - 1)

    def slices(self) -> Iterator[Slice]:
        """Give the items in their order, some at a time; raises NotABatch where they are no list."""
        start = self.start
        while start < self.end:
            found, stride, seam = None, SLICE_BYTES, start
            while found is None:
                between = _SEAM.search(self.body, min(start + stride, self.end), self.end)
                if seam == self.end or stride > ITEM_BYTES:
                    raise NotABatch
                seam, after = between.span(1) if between else (self.end, self.end)
                raw = self.body[start:seam]
                found = _items(raw)
                stride *= 2  # so that what is read in vain is never more than what is there
            yield Slice(raw, found)
            start = after


def _items(raw: bytes) -> tuple[Item | bytes, ...] | None:
    try:
        parts = _ITEMS.decode(b"[%b]" % raw)
    except _UNREADABLE:
        return None
    return tuple(_item(part) for part in parts)


def _item(raw: Raw) -> Item | bytes:
    fields = read(raw, Fields) or {}
    custom_id = read(fields.get("custom_id"), str)
    if custom_id is None or "params" not in fields:
        return bytes(raw)
    return Item(custom_id, bytes(fields["params"]), bytes(raw), fields)


# --- what must be known when the results come ---------------------------------------------------------------


class Group(msgspec.Struct, frozen=True):
    """What items of a batch have in common."""

    migration: str
    arm: str
    plan: AnswerPlan


class Register(msgspec.Struct):
    """Which group each item of a batch belongs to, as far as one does."""

    groups: list[Group]
    members: dict[str, int]
    """custom_id → index of its group."""

    def find(self, custom_id: str) -> Group | None:
        """Return the group of an item."""
        index = self.members.get(custom_id)
        return self.groups[index] if index is not None else None


class Index(msgspec.Struct, frozen=True):
    """The first part of a stored register: its groups, and how many pages its members fill."""

    groups: list[Group]
    pages: int


PAGE_MEMBERS = 10_000


def pages_of(register: Register) -> list[bytes]:
    """Return a register in parts that can be stored: its index, and its members page by page."""
    names = list(register.members)
    pages = [
        {name: register.members[name] for name in names[start : start + PAGE_MEMBERS]}
        for start in range(0, len(names), PAGE_MEMBERS)
    ]
    return [msgspec.json.encode(part) for part in (Index(register.groups, len(pages)), *pages)]


def read_index(page: bytes) -> Index | None:
    """Return the index of a stored register."""
    return read(Raw(page), Index)


def read_register(index: Index, pages: Sequence[bytes]) -> Register | None:
    """Put a stored register together; None where a page says something else."""
    members: dict[str, int] = {}
    for page in pages:
        part = read(Raw(page), dict[str, int])
        if part is None or not all(0 <= group < len(index.groups) for group in part.values()):
            return None
        members |= part
    return Register(index.groups, members)


# --- results ------------------------------------------------------------------------------------------------


class _Line(msgspec.Struct, frozen=True):
    custom_id: str
    result: Raw


class _Kind(msgspec.Struct, frozen=True):
    type: str


def result_of(line: bytes) -> tuple[str, str] | None:
    """Return the item that a line of results is about, and how it ended; None where it is no such line."""
    known = read(Raw(line), _Line)
    kind = read(known.result, _Kind) if known else None
    return (known.custom_id, kind.type) if known and kind else None


def restore_line(line: bytes, plan: AnswerPlan) -> bytes:
    """Put the answer in a line of results back; returns `line` itself where nothing is to be done."""
    fields = read(Raw(line), Fields) or {}
    result = read(fields.get("result"), Fields) or {}
    message = result.get("message")
    if message is None:
        return line
    before = bytes(message)
    after = restore(before, plan).body
    if after is before:
        return line
    return msgspec.json.encode({**fields, "result": encode({**result, "message": Raw(after)})})


# --- where results are --------------------------------------------------------------------------------------


def batch_of(body: bytes) -> tuple[str, str, str]:
    """Return id, creation and expiry of a batch as the upstream tells of it; empty where it does not."""
    fields = read(Raw(body), Fields) or {}
    known = [read(fields.get(name), str) or "" for name in ("id", "created_at", "expires_at")]
    return known[0], known[1], known[2]


def readdress(body: bytes, base_url: str) -> bytes:
    """Return what the upstream tells of batches, with `results_url` at `base_url`.

    Returns `body` itself where nothing is to be done.
    """
    fields = read(Raw(body), Fields)
    if fields is None:
        return body
    listed = read(fields.get("data"), list[Fields])
    if listed is not None:
        moved = [_readdressed(each, base_url) for each in listed]
        changed = moved != listed
        return msgspec.json.encode({**fields, "data": encode(moved)}) if changed else body
    after = _readdressed(fields, base_url)
    return body if after is fields else msgspec.json.encode(after)


def _readdressed(fields: Fields, base_url: str) -> Fields:
    url = read(fields.get("results_url"), str)
    path = _RESULTS_PATH.search(url) if url else None
    if url is None or path is None:
        return fields
    return {**fields, "results_url": encode(base_url.rstrip("/") + url[path.start() :])}
