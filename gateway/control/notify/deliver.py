"""One delivery: a POST that is bounded in time, signed where the sink has a key, and never redirected.

A receiver checks a webhook by `X-Gateway-Signature: t=<unix seconds>,v1=<hex>`: `v1` is HMAC-SHA256, under
the sink's key, over `<t>.<body>`. It compares in constant time and refuses a `t` that is minutes old, so that
nobody can send it again. `X-Gateway-Delivery` names the change: the same for every attempt.

Errors are written for the log: they name the sink and its host, and never the path of its URL, which for
Slack is the credential. What the receiver answers is not read; its status alone counts.
"""

import asyncio
import hashlib
import hmac
import ssl
from urllib.parse import quote

import httpx2

from gateway.control.notify.sinks import Sink
from gateway.errors import BadRequest, ConnectFailed, UpstreamError, UpstreamTimeout

TIMEOUT_S = 10.0
REFUSALS = frozenset({400, 413, 422})
"""Answers that mean this very message: it will not be taken the next time either."""


def signature(secret: str, t: int, body: bytes) -> str:
    """Return the value of `X-Gateway-Signature` for a body that is sent at `t`."""
    digest = hmac.new(secret.encode(), b"%d." % t + body, hashlib.sha256).hexdigest()
    return f"t={t},v1={digest}"


async def deliver(sink: Sink, body: bytes, *, id: str, now: float, timeout_s: float = TIMEOUT_S) -> None:
    """Send one message; raises BadRequest if the receiver will never take it, else UpstreamError."""
    headers = {"content-type": "application/json", "user-agent": "gateway", "x-gateway-delivery": quote(id)}
    if sink.kind == "webhook" and sink.secret:
        headers["x-gateway-signature"] = signature(sink.secret, int(now), body)
    try:
        async with asyncio.timeout(timeout_s):
            status = await _post(sink.url, body, headers)
    except (TimeoutError, httpx2.TimeoutException):
        raise UpstreamTimeout(f"{_named(sink)} did not answer in {timeout_s:g} s") from None
    except httpx2.ConnectError:
        raise ConnectFailed(f"no connection to {_named(sink)}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise UpstreamError(f"{_named(sink)} could not be told: {type(error).__name__}") from None
    if status in REFUSALS:
        raise BadRequest(f"{_named(sink)} refused a message (HTTP {status})")
    if not 200 <= status < 300:
        raise UpstreamError(f"{_named(sink)} did not take a message (HTTP {status})")


async def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    # Reading the machine's certificates takes a while, and others work on this loop.
    tls = await asyncio.to_thread(ssl.create_default_context)
    async with (
        httpx2.AsyncClient(verify=tls, timeout=None, trust_env=False, follow_redirects=False) as client,
        client.stream("POST", url, content=body, headers=headers) as answer,
    ):
        return int(answer.status_code)


def _named(sink: Sink) -> str:
    return f"the sink {sink.name!r} at {sink.place}"
