"""Addresses that people write down: what is accepted of them, and how much of one may be shown.

What is wrong is a ValueError in words that repeat no part of the address, because it may hold a password.
A password with special characters must be percent-encoded; otherwise nobody can tell where it ends, and half
of it would be taken for a host or a path.
"""

import re
from urllib.parse import SplitResult, urlsplit

_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}")
_IP_V6 = re.compile(r"[0-9A-Fa-f:.]+")
_UPSTREAM = "should be http:// or https:// with a host, and a port and a path at most"
_STORE = "should be sqlite:///path/to/file.db, redis://host:port/db or rediss://host:port/db"
_REDIS = (
    "should be redis://[user:password@]host[:port][/db], with what is special in the password percent-encoded"
)


def upstream_address(text: str) -> str:
    """Return the base URL of an upstream without a slash at its end; raises ValueError."""
    parts = _split(text, _UPSTREAM)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or any(mark in text for mark in "?#"):
        raise ValueError(_UPSTREAM)
    _check_place(parts, _UPSTREAM)
    return text.rstrip("/")


def store_address(text: str) -> str:
    """Return the URL of a store as it is; raises ValueError."""
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite":
        if not rest.startswith("/") or not rest.strip("/") or rest == "/:memory:":
            raise ValueError("sqlite:/// needs the path of a file, which every process can open")
        return text
    if scheme not in ("redis", "rediss"):
        raise ValueError(_STORE)
    parts = _split(text, _REDIS)
    _check_place(parts, _REDIS)
    # The end of a password that was cut off at a special character.
    if "@" in parts.path or "@" in parts.query or "#" in text or not re.fullmatch(r"(/\d*)?", parts.path):
        raise ValueError(_REDIS)
    return text


def shown(text: str) -> str:
    """Return an accepted address as everybody may see it: without user, password and options."""
    if text.startswith("sqlite:"):
        return text
    parts = urlsplit(text)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def http_address(host: str, port: int) -> str:
    """Return where a server on this host and port is found."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _split(text: str, otherwise: str) -> SplitResult:
    if not _PRINTABLE.fullmatch(text):
        raise ValueError(f"{otherwise}; it holds a space or another character that no address has")
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError(otherwise) from None


def _check_place(parts: SplitResult, otherwise: str) -> None:
    host = parts.hostname or ""
    labels = host.removesuffix(".").split(".")
    if not (_IP_V6.fullmatch(host) if ":" in host else all(map(_LABEL.fullmatch, labels))):
        raise ValueError(otherwise)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{otherwise}; the port is no number from 1 to 65535")
