"""Who may speak to the admin API, and in which role.

A viewer reads, an operator also writes, an admin may do everything. The token's name is what the audit log
shows.

Without configured tokens the API is not open: it answers only peers on this machine, and only with the
token in `DATA_DIR/admin-token`, which the first process to look for it creates and all others read.

A presented token is compared with every known one, whatever the outcome, and by digest: how long that takes
tells nothing of which tokens exist, or of how much of one was right. No message names a token.
"""

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path

from gateway.errors import Forbidden, Unauthenticated
from gateway.store.local.disk import locked, replace_file

FILE = "admin-token"


class Role(IntEnum):
    """What a token allows; each role includes the smaller ones."""

    viewer = 1
    operator = 2
    admin = 3


@dataclass(frozen=True, slots=True)
class Token:
    """One configured credential."""

    name: str
    """Who uses it, for the audit log."""
    role: Role
    secret: str = field(repr=False)


class Gatekeeper:
    """The tokens of one process, and whether only peers on this machine may use them."""

    def __init__(self, tokens: Iterable[Token], *, loopback_only: bool = False) -> None:
        self._tokens = tuple((_digest(token.secret), token) for token in tokens)
        self._loopback_only = loopback_only

    def admit(self, authorization: str | None, peer: str | None, needed: Role) -> Token:
        """Return whose request this is; raises Unauthenticated or Forbidden.

        `authorization` is the header's value, `peer` the address that the request came from.
        """
        if self._loopback_only and not _is_loopback(peer):
            raise Forbidden(
                "the admin API answers only on this machine while no GATEWAY_ADMIN_TOKENS are configured"
            )
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("the admin API needs a token: Authorization: Bearer <token>")
        token = self._find(secret.strip())
        if token is None:
            raise Unauthenticated("this token is not known")
        if token.role < needed:
            raise Forbidden(f"{token.name!r} is a {token.role.name}; this needs the role {needed.name}")
        return token

    def operator_named(self, secret: str) -> str | None:
        """Return the name of the operator or admin whose token this is; None for anybody else."""
        token = self._find(secret)
        return token.name if token is not None and token.role >= Role.operator else None

    def _find(self, secret: str) -> Token | None:
        presented, found = _digest(secret), None
        for digest, token in self._tokens:
            if compare_digest(digest, presented):
                found = token
        return found


def local_token(data_dir: Path) -> str:
    """Return this machine's admin token, created by whoever asks first; raises OSError."""
    path = data_dir / FILE
    with locked(path):
        try:
            token = path.read_text("utf-8").strip()
        except FileNotFoundError:
            token = ""
        if token:
            os.chmod(path, 0o600)
            return token
        token = secrets.token_urlsafe(32)
        replace_file(path, f"{token}\n".encode())
        return token


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _is_loopback(peer: str | None) -> bool:
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
