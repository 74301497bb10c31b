"""Who a request is about: the ladder from an explicit header down to the API key.

The first rung that is present wins; an empty string is missing. Claude Code puts a JSON object into
`metadata.user_id`: there the account (or, where that is empty, the device) is the end user and `session_id`
the session. Values are hashed as the bare strings they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.spec import UnitKind
from gateway.core.types import Unit, parse_json


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything in a request that could name its unit."""

    header: str = ""
    """`x-gateway-unit`."""
    user: str = ""
    session: str = ""
    conversation: str = ""
    """Fingerprint of system and first user turn."""
    api_key: str = ""
    """A name for the caller's credential, never the credential."""


def identify(
    *, header: str, metadata_user: str, session_header: str, conversation: str, api_key: str
) -> Identity:
    """Take a request's names apart; `metadata_user` is `metadata.user_id` as it was sent."""
    user, session = _end_user(metadata_user)
    return Identity(header, user, session_header or session, conversation, api_key)


def find_unit(identity: Identity, ladder: tuple[UnitKind, ...]) -> Unit | None:
    """Return the unit on the first rung of `ladder` that the request stands on."""
    for kind in ladder:
        value = _RUNGS[kind](identity)
        if value:
            return Unit(kind, value)
    return None


def _end_user(metadata_user: str) -> tuple[str, str]:
    """Return (end user, session) of a `metadata.user_id`."""
    if not metadata_user.lstrip().startswith("{"):
        return metadata_user, ""
    try:
        fields = parse_json(metadata_user)
    except ValueError:
        return metadata_user, ""
    if not isinstance(fields, dict):
        return metadata_user, ""
    user = _text(fields, "account_uuid") or _text(fields, "device_id")
    session = _text(fields, "session_id")
    return (user, session) if user or session else (metadata_user, "")


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


_RUNGS: Mapping[UnitKind, Callable[[Identity], str]] = {
    "header": lambda identity: identity.header,
    "user": lambda identity: identity.user,
    "session": lambda identity: identity.session,
    "conversation": lambda identity: identity.conversation,
    "api_key": lambda identity: identity.api_key,
}
