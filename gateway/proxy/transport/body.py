"""Reading what a client sends: whole and decoded where a migration must look into it, else as it comes.

Limits hold for what arrives and for what it decodes to, so that a small compressed body cannot fill the
memory.
"""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import zstandard

from gateway.errors import BadRequest, TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_PIECE = 1 << 20
_MEMBERS = 16
_ENCODINGS = 3


class ClientGone(Exception):
    """The client hung up."""


async def read_whole(receive: Receive, *, limit: int) -> bytes:
    """Return the request's body; raises TooLarge above `limit` bytes and ClientGone on a hang-up."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in read_stream(receive):
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"request body is larger than {limit} bytes: send less")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_stream(receive: Receive) -> AsyncIterator[bytes]:
    """Give the request's body as it arrives; raises ClientGone on a hang-up."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


def decode(body: bytes, encodings: str, *, limit: int) -> bytes:
    """Undo a `content-encoding` list; raises BadRequest (unknown or broken) or TooLarge (decodes above
    `limit`).
    """
    names = [part.strip().lower() for part in encodings.split(",") if part.strip()]
    if len(names) > _ENCODINGS:
        raise BadRequest(
            f"content-encoding names {len(names)} encodings: at most {_ENCODINGS} are undone here"
        )
    for name in reversed(names):
        if name == "identity":
            continue
        inflate = _DECODERS.get(name)
        if inflate is None:
            known = ", ".join(sorted(_DECODERS))
            raise BadRequest(f"content-encoding {name[:40]!r} is not supported here; send one of: {known}")
        try:
            body = _joined(inflate(body), limit)
        except (zlib.error, zstandard.ZstdError, EOFError):
            raise BadRequest(f"request body is not valid {name}, though content-encoding says so") from None
    return body


def _joined(pieces: Iterable[bytes], limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise TooLarge(f"request body decodes to more than {limit} bytes: send less")
        chunks.append(piece)
    return b"".join(chunks)


def _gzip(body: bytes) -> Iterable[bytes]:
    # A gzip body may have several members; one that has very many is made to keep us busy.
    for _ in range(_MEMBERS):
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        yield from _inflate(inflater, body)
        body = inflater.unused_data
        if not body:
            return
    raise BadRequest(f"request body has more than {_MEMBERS} gzip members: send one")


def _deflate(body: bytes) -> Iterable[bytes]:
    # RFC 9110 means the zlib format; some clients send the raw stream without its two-byte header.
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    yield from _inflate(zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS), body)


def _inflate(inflater: "zlib._Decompress", body: bytes) -> Iterable[bytes]:
    piece = b"-"
    while not inflater.eof and (body or piece):  # what it says last may still be inside when all is fed
        piece = inflater.decompress(body, _PIECE)
        body = inflater.unconsumed_tail
        yield piece
    if not inflater.eof:
        raise EOFError


def _zstd(body: bytes) -> Iterable[bytes]:
    yield from zstandard.ZstdDecompressor(max_window_size=1 << 27).read_to_iter(body, write_size=_PIECE)


_DECODERS: dict[str, Callable[[bytes], Iterable[bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
}
