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
    sent = {"x-api-key": key, "anthropic-version": version, "anthropic-beta": ",".join(betas)}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = json.dumps({name: value for name, value in body.items() if value is not None})
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        connection.request("POST", path, data, sent)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Posted(answer.status, named, answer.read())
