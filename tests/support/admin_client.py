"""A client of the admin API, in process, and what an error of it looks like."""

import httpx2

from gateway.control.api import build_admin
from gateway.control.auth import Gatekeeper, Role, Token
from tests.support.control import ControlPlane

TOKENS = [
    Token("ann", Role.admin, "s-ann"),
    Token("bob", Role.operator, "s-bob"),
    Token("eve", Role.viewer, "s-eve"),
]
ANN, BOB, EVE = ({"authorization": f"Bearer {token.secret}"} for token in TOKENS)


def client(
    plane: ControlPlane, headers: dict[str, str], *, tokens: Gatekeeper | None = None, peer: str = "192.0.2.7"
) -> httpx2.AsyncClient:
    """Return a client that sends `headers` and seems to connect from `peer`."""
    app = build_admin(plane.service, tokens or Gatekeeper(TOKENS), plane.desk)
    transport = httpx2.ASGITransport(app=app, client=(peer, 1234), raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


def refused(answer: httpx2.Response, status: int, kind: str, *words: str) -> dict[str, object]:
    """Check that `answer` is an error in the envelope, and return it."""
    body: dict[str, object] = answer.json()
    assert (answer.status_code, body["type"]) == (status, "error"), body
    error = body["error"]
    assert isinstance(error, dict)
    assert error["type"] == kind
    assert set(error) == {"type", "message"}
    for word in words:
        assert word in error["message"]
    return body
