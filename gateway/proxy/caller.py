"""Who calls: the credential at the door, and every name that a request or its headers give.

A gateway that pays for its callers lets in whom it knows (`client_keys`), or, without keys, programs of this
machine and no web pages. The credential itself goes no further than the upstream: what is compared or
counted is a name for it.
"""

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256

from gateway.compat.envelope import Envelope
from gateway.compat.thread import continued
from gateway.core.types import Arm
from gateway.core.units import Identity, identify
from gateway.errors import Forbidden, Unauthenticated
from gateway.proxy.call import Plane
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.headers import RawHeaders

_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """What the head of a request says about who sent it."""

    key_name: str
    """A name for the credential, never the credential."""
    unit: str
    """`x-gateway-unit`."""
    session: str
    """Claude Code's session, from its header."""
    task: str
    forced: Arm | None
    """From a force header with an operator's token."""

    def identity(self, envelope: Envelope, *, governed: bool) -> Identity:
        """Return every name that a request goes by.

        Its conversation is read only where that decides something. The next turn of a thread does not show
        it: how it began stands with the upstream.
        """
        shows = governed and continued(envelope) is None
        return identify(
            header=self.unit,
            metadata_user=envelope.user_id or "",
            session_header=self.session,
            conversation=(envelope.fingerprint or "") if shows else "",
            api_key=self.key_name,
        )


def admit(headers: RawHeaders, plane: Plane) -> Caller:
    """Return who calls; raises Unauthenticated or Forbidden for those who may not."""
    return Caller(
        key_name=_authenticate(headers, plane),
        unit=hop.get(headers, b"x-gateway-unit"),
        session=hop.get(headers, b"x-claude-code-session-id"),
        task=hop.get(headers, b"x-gateway-task"),
        forced=_forced(headers, plane),
    )


def _authenticate(headers: RawHeaders, plane: Plane) -> str:
    """Return a name for the caller's key, never the key; raises Unauthenticated where keys are configured."""
    credential = hop.credential(headers)
    if plane.client_keys:
        given = credential.encode()
        matches = [
            name for key, name in plane.client_keys.items() if hmac.compare_digest(key.encode(), given)
        ]
        if not matches:
            raise Unauthenticated("this gateway does not know your API key: ask whoever runs it for one")
        return matches[0]
    if plane.upstream_api_key is not None:
        _refuse_web_pages(headers)
    return sha256(credential.encode()).hexdigest()[:32] if credential else ""


def _refuse_web_pages(headers: RawHeaders) -> None:
    """Raise Forbidden for a request that a browser sent for some page.

    Without client keys only this machine reaches a gateway that pays for its callers, but any page that is
    open in a browser here does, too.
    """
    if hop.get(headers, b"origin") or not _LOOPBACK.fullmatch(hop.get(headers, b"host")):
        raise Forbidden(
            "this gateway has no client keys, so it serves programs of this machine only, and no web pages: "
            "call it as 127.0.0.1, or set GATEWAY_CLIENT_KEYS"
        )


def _forced(headers: RawHeaders, plane: Plane) -> Arm | None:
    arm = hop.get(headers, b"x-gateway-force-arm").lower()
    if arm not in (Arm.control.value, Arm.candidate.value):
        return None
    return Arm(arm) if plane.is_operator(hop.get(headers, b"x-gateway-token")) else None
