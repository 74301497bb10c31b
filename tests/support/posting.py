"""One request to an upstream and its whole answer, without an SDK in between."""

import http.client
import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.support.upstream import Upstream

VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Posted:
    """An answer."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""
    data: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.data)

    @property
    def text(self) -> str:
        return self.data.decode()


def post(
    upstream: Upstream,
    body: dict[str, Any],
    path: str = "/v1/messages",
    *,
    key: str = "k",
    version: str = VERSION,
    betas: Iterable[str] = (),
    **headers: str,
) -> Posted:
    """Post a body; fields that are None are left out, and underscores in headers are dashes."""
    data = json.dumps({name: value for name, value in body.items() if value is not None})
    return _asked(upstream, "POST", path, data, _head(key, version, betas) | _named(headers))


def get(upstream: Upstream, path: str, *, betas: Iterable[str] = ()) -> Posted:
    """Get what stands at a path."""
    return _asked(upstream, "GET", path, None, _head("k", VERSION, betas))


def _head(key: str, version: str, betas: Iterable[str]) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": version, "anthropic-beta": ",".join(betas)}


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _asked(upstream: Upstream, method: str, path: str, data: str | None, head: dict[str, str]) -> Posted:
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        connection.request(method, path, data, head)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Posted(answer.status, named, answer.read())
