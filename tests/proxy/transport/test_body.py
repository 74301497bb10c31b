"""Reading and decoding what a client sends."""

import gzip
import zlib
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
import zstandard

from gateway.errors import BadRequest, TooLarge
from gateway.proxy.transport.body import ClientGone, decode, read_whole

TEXT = b'{"model":"m"}' * 1000


def receiving(*messages: dict[str, Any]) -> Any:
    queue = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        return queue.pop(0)

    return receive


def part(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_parts_is_put_together() -> None:
    assert (
        await read_whole(receiving(part(b"ab", True), part(b"", True), part(b"c", False)), limit=3) == b"abc"
    )


async def test_a_body_over_the_limit_is_refused_before_it_is_whole() -> None:
    with pytest.raises(TooLarge, match="larger than 3 bytes"):
        await read_whole(receiving(part(b"ab", True), part(b"cd", True)), limit=3)


async def test_a_client_that_leaves_inside_its_body_is_gone() -> None:
    with pytest.raises(ClientGone):
        await read_whole(receiving(part(b"ab", True), {"type": "http.disconnect"}), limit=3)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("X-GZIP", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("zstd", zstandard.compress(TEXT)),
        ("identity", TEXT),
        ("gzip, zstd", zstandard.compress(gzip.compress(TEXT, mtime=0))),
    ],
    ids=["gzip", "upper", "members", "zlib", "raw", "zstd", "identity", "both"],
)
def test_a_compressed_body_is_decoded(encoding: str, body: bytes) -> None:
    assert decode(body, encoding, limit=1 << 20) == TEXT


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_body_that_is_not_what_it_says_is_a_bad_request(encoding: str) -> None:
    with pytest.raises(BadRequest, match=encoding):
        decode(b"not compressed at all", encoding, limit=1 << 20)


def test_a_body_cut_short_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        decode(gzip.compress(TEXT, mtime=0)[:-20], "gzip", limit=1 << 20)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress)]
)
def test_a_small_body_that_decodes_to_a_huge_one_is_refused(encoding: str, pack: Any) -> None:
    with pytest.raises(TooLarge, match="decodes to more than 1000 bytes"):
        decode(pack(bytes(50_000_000)), encoding, limit=1000)


def test_an_encoding_that_nobody_knows_is_named() -> None:
    with pytest.raises(BadRequest, match="'br' is not supported here; send one of: deflate, gzip"):
        decode(b"x", "br", limit=10)


@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, (1 << 20) + 258, 3 << 20])
@pytest.mark.parametrize("encode", [zlib.compress, raw_deflate])
def test_a_body_that_ends_near_a_piece_of_the_decoders_is_decoded_to_its_last_byte(
    encode: Callable[[bytes], bytes], size: int
) -> None:
    data = b"a" * size
    assert decode(encode(data), "deflate", limit=4 << 20) == data
