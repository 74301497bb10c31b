"""A request as it was received, and as it is on its way to another model.

`parse` reads the top level of a body and nothing below it: every value stays the bytes it came in. What
else the gateway wants to know (does it stream, who is it for, does it continue a conversation) is read on
first use and costs what that part costs. Only what the gateway itself needs is checked; everything else is
the upstream's to judge, so a value of the wrong type is simply not known (None) and passes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from gateway.errors import BadRequest

T = TypeVar("T")
Fields = dict[str, Raw]

THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking"})

MAX_MESSAGES = 100_000
"""Of one request, as the API has it; more are not even looked at."""
_MANY_BYTES = 1 << 20
"""A smaller body cannot hold so many."""
_TOO_MANY_BYTES = 8 << 20
"""In a smaller body too many messages may be read before they are counted; in a larger one that costs too
much memory.
"""

_FIELDS = msgspec.json.Decoder(Fields)
_DECODERS: dict[object, msgspec.json.Decoder[Any]] = {}
"""By type; making one costs more than most of what is read with it."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MEDIA_TYPE = b'"media_type"'
_NEAR = 64
_BASE64 = re.compile(rb"[A-Za-z0-9+/=_\\-]{1024}")
_DATA = re.compile(rb'"data"\s*:\s*"$')
_DATA_BEFORE = re.compile(rb'"\s*,\s*(?:"type"\s*:\s*"base64"\s*,\s*)?$')
_DATA_BEHIND = re.compile(
    rb'"media_type"\s*:\s*"[^"]*"\s*,\s*(?:"type"\s*:\s*"base64"\s*,\s*)?"data"\s*:\s*"(?=%s)'
    % _BASE64.pattern
)
_LONE_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")


class Turn(msgspec.Struct, frozen=True):
    """One message, looked at no closer than needed."""

    role: str
    content: Raw = Raw(b"null")


class Block(msgspec.Struct, frozen=True):
    """One content block: what it is and, in a text block, what it says."""

    type: str
    text: Raw = Raw(b"null")


class _Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Prefill:
    """The beginning of the answer, given by the application as the last assistant turn."""

    start: int
    """Index of the first message that belongs to it; all later ones do too."""
    text: str
    removable: bool
    """It is nothing but text and thinking, so it can be said another way; server tools' results cannot."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers say about how a body is read."""

    betas: tuple[str, ...] = ()
    """Values of `anthropic-beta`."""
    version: str = ""
    """The `anthropic-version`."""


BARE = Headers()

_READ_FROM: Mapping[str, tuple[str, ...]] = {
    "turns": ("messages",),
    "roles": ("messages",),
    "prefill": ("messages", "fallback_credit_token"),
    "max_tokens": ("max_tokens",),
    "stream": ("stream",),
    "pictures": (),
}
"""The fields that a part is read from; pictures stay what they are whatever is written."""


@dataclass(frozen=True, eq=False)
class Envelope:
    """A request body, its top level read; not slotted, because parts are kept once they are read."""

    body: bytes
    fields: Mapping[str, Raw]
    """The top level in its order, each value as the bytes it came in."""
    model: str

    @cached_property
    def stream(self) -> bool:
        """Whether the answer is to be a stream."""
        return read(self.fields.get("stream"), bool) or False

    @cached_property
    def max_tokens(self) -> int | None:
        """The cap on the answer."""
        return whole_number(self.fields.get("max_tokens"))

    @cached_property
    def user_id(self) -> str | None:
        """`metadata.user_id`, as it was sent."""
        metadata = read(self.fields.get("metadata"), _Metadata)
        return metadata.user_id if metadata else None

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """The messages; empty where they are missing or one of them is none."""
        return read(self.fields.get("messages"), tuple[Turn, ...]) or ()

    @cached_property
    def roles(self) -> frozenset[str]:
        """Whose turns there are."""
        return frozenset([turn.role for turn in self.turns])

    @cached_property
    def prefill(self) -> Prefill | None:
        """The beginning of the answer, where the last turn is one.

        A paused turn that is sent back (it ends in a server tool's block), a turn that ends in a tool call
        and the turn that redeems a fallback credit end with the assistant too, and are none.
        """
        if present(self.fields.get("fallback_credit_token")):
            return None
        return _read_prefill(self.turns)

    @cached_property
    def continues(self) -> bool:
        """Whether the history holds an assistant turn; a prefill is none."""
        if self.prefill is None:
            return "assistant" in self.roles
        return any(turn.role == "assistant" for turn in self.turns[: self.prefill.start])

    @cached_property
    def opening(self) -> str | None:
        """Fingerprint of the first user turn; None without one."""
        return _digest(self._first_user_turn)

    @cached_property
    def fingerprint(self) -> str | None:
        """Fingerprint of system and first user turn: the same for every request of one conversation.

        Cache markers, the spelling of a single text (string or block), key order and whitespace do not
        count, because clients change them between the requests of one conversation.
        """
        return _digest(self.fields.get("system", Raw(b"null")), self._first_user_turn)

    def with_fields(
        self,
        fields: Mapping[str, Raw],
        messages: Sequence[tuple[Raw, Turn | None]] | None = None,
        before: tuple[Raw, tuple[Turn, ...]] | None = None,
    ) -> "Envelope":
        """Return the request with other fields, and other messages where given; `before` holds those in front
        of them, in one piece.
        """
        pieces = None if messages is None else [*(before or ())[:1], *(raw for raw, _ in messages)]
        body, fields = _composed(fields, pieces)
        changed = Envelope(body, fields, read(fields.get("model"), str) or "")
        if messages is not None:
            turns = tuple([turn for _, turn in messages if turn is not None])
            known = len(turns) == len(messages)
            vars(changed)["turns"] = ((before[1] if before else ()) + turns) if known else ()
        for part, names in _READ_FROM.items():
            if part in vars(self) and all(fields.get(name) is self.fields.get(name) for name in names):
                vars(changed)[part] = vars(self)[part]
        return changed

    @cached_property
    def pictures(self) -> tuple[int, int]:
        """How many blocks hold data in base64, and its bytes."""
        sizes = tuple(_pictures(self.body))
        return len(sizes), sum(sizes)

    @property
    def _first_user_turn(self) -> Raw | None:
        return next((turn.content for turn in self.turns if turn.role == "user"), None)


def parse(body: bytes) -> Envelope:
    """Read the top level of a request body; raises BadRequest where the gateway cannot work with it."""
    try:
        fields = _FIELDS.decode(body)
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.") from None
    except msgspec.ValidationError:
        raise BadRequest("The request body must be a JSON object.") from None
    except _UNREADABLE as error:
        raise BadRequest(f"The request body is not valid JSON: {_position(body, error)}.") from None
    if "model" not in fields:
        raise BadRequest("model: Field required")
    model = read(fields["model"], str)
    if model is None:
        raise BadRequest("model: Input should be a valid string")
    if "messages" in fields and _head(fields["messages"]) != b"[":
        raise BadRequest("messages: Input should be a valid list")
    envelope = Envelope(body, fields, model)
    if len(body) > _MANY_BYTES and _has_too_many(envelope):
        raise BadRequest(f"messages: there may be at most {MAX_MESSAGES} of them")
    return envelope


def _composed(fields: Mapping[str, Raw], messages: Sequence[Raw] | None) -> tuple[bytes, Mapping[str, Raw]]:
    """Return a body and its fields; every value is copied once, from where it stands to where it goes."""
    pieces: list[bytes | Raw] = []
    place: slice | None = None
    for name, raw in fields.items():
        pieces += (b"," if pieces else b"{", msgspec.json.encode(name), b":")
        if messages is None or name != "messages":
            pieces.append(raw)
            continue
        head = pieces
        pieces = [b"[", *[piece for message in messages for piece in (b",", message)][1:], b"]"]
        place = slice(len(head), len(head) + len(pieces))
        pieces = head + pieces
    body = b"".join((*pieces, b"}") if pieces else (b"{}",))
    if place is None:
        return body, fields
    start, behind = (
        sum(len(memoryview(piece)) for piece in part)
        for part in (pieces[: place.start], pieces[place.stop :])
    )
    return body, {**fields, "messages": Raw(memoryview(body)[start : len(body) - 1 - behind])}


def _has_too_many(envelope: Envelope) -> bool:
    """Count the messages; in a body of this size that needs as long as reading them."""
    if len(envelope.body) > _TOO_MANY_BYTES:
        return envelope.body.count(b'"role"') > MAX_MESSAGES
    return len(envelope.turns) > MAX_MESSAGES


def read(raw: Raw | None, kind: type[T]) -> T | None:
    """Return a value as `kind`, or None where it is missing or something else."""
    if raw is None:
        return None
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        value: T = decoder.decode(raw)
    except _UNREADABLE:
        return None
    return value


def present(raw: Raw | None) -> bool:
    """Tell whether a value is there; the API reads null as absence."""
    return raw is not None and bytes(memoryview(raw)[:1]) != b"n"


def whole_number(raw: Raw | None) -> int | None:
    """Return a value that means an integer; the API takes 1024.0 for one too."""
    number = read(raw, float)
    if number is None or number != number // 1:
        return None
    return read(raw, int) or int(number)


def encode(value: object) -> Raw:
    """Return `value` as raw JSON."""
    return Raw(msgspec.json.encode(value))


def blocks_of(content: Raw) -> list[Block] | None:
    """Return the content of a message as blocks, a string as one text block; None where it is neither."""
    if _head(content) == b'"':
        return [] if content == Raw(b'""') else [Block("text", content)]
    return read(content, list[Block])


def _head(raw: Raw) -> bytes:
    """The first byte of a value, which tells its type."""
    return bytes(memoryview(raw)[:1])


def _pictures(body: bytes) -> Iterator[int]:
    """Give the bytes of data of each block that holds some, found by the media type beside it.

    Most bytes of a picture are not looked at, which is why this is no search for what pictures look like.
    """
    place = body.find(_MEDIA_TYPE)
    while place >= 0:
        begun = _DATA_BEHIND.match(body, place)
        behind = body.find(b'"', begun.end()) if begun else place + 1
        ended = None if begun else _DATA_BEFORE.search(body, max(0, place - _NEAR), place)
        if begun:
            yield behind - begun.end()
        elif ended:
            start = body.rfind(b'"', 0, ended.start()) + 1
            if _DATA.search(body, max(0, start - _NEAR), start) and _BASE64.match(body, start):
                yield ended.start() - start
        place = body.find(_MEDIA_TYPE, behind)


def _position(body: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "a field's name is not valid UTF-8"
    reason = str(error).removeprefix("JSON is malformed: ")
    truncated = reason == "Input data was truncated"
    if (truncated or "escape" in reason) and (surrogate := _LONE_SURROGATE.search(body)):
        return f"half of a surrogate pair (byte {surrogate.start()})"
    return f"it ends too early (byte {len(body)})" if truncated else reason


def _read_prefill(turns: tuple[Turn, ...]) -> Prefill | None:
    start = len(turns)
    while start and turns[start - 1].role == "assistant":
        start -= 1
    if start == len(turns):
        return None
    blocks: list[Block] = []
    for turn in turns[start:]:
        found = blocks_of(turn.content)
        if found is None:
            return None
        blocks += found
    kinds = {block.type for block in blocks}
    if "tool_use" in kinds or (blocks and blocks[-1].type != "text"):
        return None
    texts = [read(block.text, str) for block in blocks if block.type == "text"]
    said = [text for text in texts if text is not None]
    if len(said) < len(texts):
        return None
    return Prefill(start, "".join(said), kinds <= THINKING_BLOCKS | {"text"})


_MARKER = re.compile(rb'"cache_control"\s*:\s*\{[^{}]*\}')
_LARGE = 256 * 1024
"""Above this size contents are compared as the bytes they are: reading them would cost too much."""


def _digest(*contents: Raw | None) -> str | None:
    if sum(len(memoryview(content)) for content in contents if content is not None) > _LARGE:
        return _digest_of_bytes(contents)
    canonical: list[list[Any]] = []
    for content in contents:
        blocks = _canonical(content)
        if blocks is None:
            return None
        canonical.append(blocks)
    try:
        text = msgspec.json.encode(_without_markers(canonical), order="deterministic")
    except RecursionError:
        return None
    return sha256(text).hexdigest()


def _digest_of_bytes(contents: tuple[Raw | None, ...]) -> str | None:
    """Fingerprint large contents, cache markers aside, in one pass and without building anything of them."""
    digest = sha256()
    for content in contents:
        if content is None:
            return None
        data, behind = bytes(content), 0
        for marker in _MARKER.finditer(data) if b'"cache_control"' in data else ():
            digest.update(data[behind : marker.start()].rstrip(b", \t\r\n"))
            behind = marker.end()
        digest.update(memoryview(data)[behind:])
        digest.update(b"\0")
    return digest.hexdigest()


def _canonical(content: Raw | None) -> list[Any] | None:
    if content is None:
        return None
    if not present(content):
        return []
    text = read(content, str)
    if text is None:
        return read(content, list[Any])
    return [{"type": "text", "text": text}] if text else []


def _without_markers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_markers(item) for key, item in value.items() if key != "cache_control"}
    return [_without_markers(item) for item in value] if isinstance(value, list) else value
