"""Which headers travel, in which direction.

Everything does, unknown ones included, except: hop-by-hop headers (RFC 9110 §7.6.1, and whatever `connection`
names), `host` and framing, which each hop makes anew, and our own `x-gateway-*`, which are for us on the way
in and ours alone on the way out.

Of a caller's two ways to say who it is, exactly one goes on, because what an API makes of both at once is not
written anywhere. `x-api-key` is the one, unless the other is the token of a login (`Bearer`, with the beta
that such tokens need): a client that has logged in means that, whatever else its environment holds.
"""

from collections.abc import Iterable, Mapping

RawHeaders = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection",
        b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade", b"http2-settings",
    }
)  # fmt: skip
_MADE_ANEW = frozenset({b"host", b"content-length", b"expect"})
_API_KEY, _BEARER = b"x-api-key", b"authorization"
_LOGIN_BETA = "oauth-2025-04-20"
OURS = b"x-gateway-"


def get(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return the first value of `name` (lower case) as text, or an empty string."""
    for key, value in headers:
        if key == name:
            return _text(value)
    return ""


def get_list(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return all values of `name` (lower case) as the one list that they are."""
    return ",".join(_text(value) for key, value in headers if key == name)


def to_upstream(headers: Iterable[tuple[bytes, bytes]], *, api_key: str | None) -> RawHeaders:
    """Return a request's headers for the upstream; `api_key` replaces the caller's credential where one is
    set.
    """
    kept = _travelling(headers)
    chosen = (_API_KEY, api_key.encode()) if api_key is not None else _chosen(kept)
    if chosen is not None and sum(pair[0] in (_API_KEY, _BEARER) for pair in kept) == 1 and chosen in kept:
        return kept
    kept = [pair for pair in kept if pair[0] not in (_API_KEY, _BEARER)]
    return kept if chosen is None else [*kept, chosen]


def credential(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's key or token; empty where there is none."""
    chosen = _chosen(headers)
    if chosen is None:
        return ""
    value = _text(chosen[1])
    if chosen[0] == _API_KEY:
        return value
    return value[7:].strip() if value[:7].lower() == "bearer " else ""


def betas(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
    """Return the values of `anthropic-beta`, in one list however many headers they came in."""
    values = get_list(headers, b"anthropic-beta").split(",")
    return tuple(value.strip() for value in values if value.strip())


def with_betas(headers: RawHeaders, values: Iterable[str]) -> RawHeaders:
    """Return request headers with these values of `anthropic-beta`, and no others."""
    kept = [pair for pair in headers if pair[0] != b"anthropic-beta"]
    joined = ",".join(values)
    return [*kept, (b"anthropic-beta", joined.encode())] if joined else kept


def decoded(headers: RawHeaders) -> RawHeaders:
    """Return request headers for a body that is no longer compressed and an answer that must not be."""
    return plainly_answered([pair for pair in headers if pair[0] != b"content-encoding"])


def plainly_answered(headers: RawHeaders) -> RawHeaders:
    """Return request headers for an answer that must not be compressed."""
    kept = [pair for pair in headers if pair[0] != b"accept-encoding"]
    return [*kept, (b"accept-encoding", b"identity")]


def is_encoded(headers: RawHeaders) -> bool:
    """Tell whether an answer is compressed."""
    return get_list(headers, b"content-encoding").strip().lower() not in ("", "identity")


def to_client(headers: Iterable[tuple[bytes, bytes]], *, length: int | None) -> RawHeaders:
    """Return an answer's headers for the client; `length` is the body's where it is known."""
    kept = [pair for pair in _travelling(headers) if pair[0] != b"date"]  # our server says it, and once
    if length is not None:
        kept.append((b"content-length", str(length).encode()))
    return kept


def ours(values: Mapping[str, str]) -> RawHeaders:
    """Return our own response headers; a value holds nothing that would end a header line."""
    return [
        (OURS + name.encode(), "".join(c if " " <= c <= "~" else "?" for c in value).encode())
        for name, value in values.items()
    ]


def _chosen(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes] | None:
    """Return the one header that says who the caller is."""
    given = [pair for pair in headers if pair[0] in (_API_KEY, _BEARER) and pair[1].strip()]
    keys = [pair for pair in given if pair[0] == _API_KEY]
    logins = [pair for pair in given if pair[0] == _BEARER and pair[1].strip()[:7].lower() == b"bearer "]
    if logins and keys and _LOGIN_BETA in betas(headers):
        return logins[0]
    return next(iter([*keys, *given]), None)


def _text(value: bytes) -> str:
    # A name in a header and the same name in JSON must be the same unit; JSON is UTF-8.
    try:
        return value.decode().strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()


def _travelling(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    pairs = [(name.lower(), value) for name, value in headers]
    named = {
        token.strip().lower() for name, value in pairs if name == b"connection" for token in value.split(b",")
    }
    return [
        pair
        for pair in pairs
        if pair[0] not in _HOP_BY_HOP
        and pair[0] not in _MADE_ANEW
        and pair[0] not in named
        and not pair[0].startswith(OURS)
    ]
