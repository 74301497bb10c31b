"""The admin API as the command line sees it: one client, and one sentence for everything that can go wrong.

The token is GATEWAY_ADMIN_TOKEN, else the file that `gateway serve` made in its data directory. That file
opens the gateway to this machine only, so it is never sent to another one.
"""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import httpx2
import typer

from gateway.core.types import parse_json, to_json
from gateway.errors import (
    BadRequest,
    Conflict,
    ConnectFailed,
    Forbidden,
    GatewayError,
    NotFound,
    Unauthenticated,
    Unavailable,
    UpstreamTimeout,
)

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 10.0

Url = Annotated[
    str, typer.Option("--url", envvar="GATEWAY_URL", help="Where the gateway answers.", show_default=True)
]
Name = Annotated[
    str | None, typer.Argument(help="The migration; may be left out where there is one.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the gateway answered, as JSON.")]

_BY_STATUS: Mapping[int, type[GatewayError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: BadRequest,
    503: Unavailable,
}


_ANSWERS = frozenset({"data", "phase", "arm", "allow_users", "replicas", "markdown", "passed"})
"""Each answer of the admin API has one of these keys."""


@dataclass(frozen=True, slots=True)
class Token:
    """A credential, and how to name its origin to a person."""

    value: str
    origin: str


class Admin:
    """A running gateway's admin API. Use as a context manager."""

    def __init__(self, url: str, token: Token | None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        headers = {"authorization": f"Bearer {token.value}"} if token else {}
        try:
            self._client = httpx2.Client(
                base_url=self.url,
                headers=headers,
                timeout=TIMEOUT_S,
                # A proxy of the environment cannot reach this machine's own ports.
                trust_env=not is_loopback(self.url),
            )
        except (httpx2.InvalidURL, ValueError, UnicodeEncodeError):
            raise BadRequest(f"the address {url!r} or the admin token cannot be used as it is") from None

    def __enter__(self) -> "Admin":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **params: str | float) -> Any:
        """Return the answer's JSON; raises a GatewayError whose message is written for the person at the
        terminal."""
        return self._send("GET", path, params=params)

    def write(self, method: str, path: str, body: Mapping[str, Any], if_match: str | None = None) -> Any:
        """Send a change and return the answer's JSON."""
        return self._send(method, path, body=body, if_match=if_match)

    def resolve(self, name: str | None) -> str:
        """Return the path of the named migration, or of the only one there is."""
        if name is None:
            names = [status["name"] for status in self.get("/admin/migrations")["data"]]
            if not names:
                raise NotFound(
                    "the gateway has no migration; write one under config/migrations/ and restart it"
                )
            if len(names) > 1:
                raise BadRequest(f"say which migration is meant: {', '.join(names)}")
            name = names[0]
        return f"/admin/migrations/{quote(name, safe='')}"

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | float] | None = None,
        body: Mapping[str, Any] | None = None,
        if_match: str | None = None,
    ) -> Any:
        headers = {"if-match": if_match} if if_match else {}
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = to_json(body)
        try:
            answer = self._client.request(method, path, params=params, content=content, headers=headers)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise BadRequest(f"{self.url!r} is no address; it looks like {DEFAULT_URL}") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise ConnectFailed(
                f"no gateway answers at {self.url}; start one with `gateway serve`, or say where it is with "
                "--url or GATEWAY_URL"
            ) from None
        except httpx2.RemoteProtocolError:
            raise ConnectFailed(
                f"what answers at {self.url} is not a gateway's admin API, or ended before it had answered"
            ) from None
        except httpx2.TimeoutException:
            raise UpstreamTimeout(f"the gateway at {self.url} did not answer in {TIMEOUT_S:g} s") from None
        except httpx2.HTTPError as error:
            raise ConnectFailed(f"the connection to {self.url} broke: {type(error).__name__}") from None
        return self._understand(answer)

    def _understand(self, answer: httpx2.Response) -> Any:
        try:
            document = parse_json(answer.content)
        except ValueError:
            document = None
        if answer.is_success and isinstance(document, dict) and not _ANSWERS.isdisjoint(document):
            return document
        message = None if answer.is_success else _message(document)
        if message is None:
            raise BadRequest(
                f"what answers at {self.url} is not a gateway's admin API (HTTP {answer.status_code})"
            )
        if answer.status_code == 401:
            raise Unauthenticated(self._refused())
        raise _BY_STATUS.get(answer.status_code, GatewayError)(message)

    def _refused(self) -> str:
        if self._token is None:
            return (
                f"the gateway at {self.url} wants an admin token: set GATEWAY_ADMIN_TOKEN, or run this where "
                f"the gateway runs, so that {token_file()} can be read"
            )
        return f"the gateway at {self.url} does not know the admin token from {self._token.origin}"


def connect(url: str) -> Admin:
    """Return a client with the token that belongs to `url`."""
    return Admin(url, find_token(url, os.environ))


def find_token(url: str, environ: Mapping[str, str]) -> Token | None:
    """Return the token to use for `url`, if there is one."""
    if value := environ.get("GATEWAY_ADMIN_TOKEN", "").strip():
        if not (value.isascii() and value.isprintable()):
            raise Unauthenticated("GATEWAY_ADMIN_TOKEN holds a character that no header can carry")
        return Token(value, "GATEWAY_ADMIN_TOKEN")
    file = token_file(environ)
    if is_loopback(url) and file.is_file():
        try:
            return Token(file.read_text("utf-8").strip(), str(file))
        except OSError as error:
            raise Unauthenticated(f"{file} cannot be read: {error.strerror}") from None
    return None


def token_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where `gateway serve` leaves its own token."""
    return Path(environ.get("GATEWAY_DATA_DIR") or "data") / "admin-token"


def is_loopback(url: str) -> bool:
    """Tell whether the address is on this machine."""
    host = ""
    try:
        host = urlsplit(url).hostname or ""
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _message(document: object) -> str | None:
    match document:
        # The Messages API and others like it name their request; the admin API does not.
        case {"error": {"message": str() as message}, **rest} if "request_id" not in rest:
            return message
        case _:
            return None
