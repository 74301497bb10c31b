"""The vendor's own list of models: `GET /v1/models`, page by page, with the gateway's own credential.

For who compares it with the catalogue, once a day or on command; the data path knows nothing of it. An answer
is bounded in time, pages and bytes, and redirects are not followed, because a credential travels along. Like
the data path it takes no proxy from the environment. What comes back are objects as they were parsed; what
they hold is for the reader to doubt.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import httpx2

from gateway.core.types import parse_json
from gateway.errors import ConnectFailed, Unauthenticated, UpstreamError, UpstreamTimeout

API_VERSION = "2023-06-01"
PAGE_SIZE = 1000
MAX_PAGES = 20
MAX_PAGE_BYTES = 8 * 1024 * 1024
TIMEOUT_S = 30.0


async def list_models(
    url: str, api_key: str, *, timeout_s: float = TIMEOUT_S, page_size: int = PAGE_SIZE
) -> tuple[Mapping[str, Any], ...]:
    """Return every object of the list at the upstream `url`; raises a GatewayError whose message is written
    for the person who runs the gateway.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _all_pages(url, api_key, page_size)
    except (TimeoutError, httpx2.TimeoutException):
        raise UpstreamTimeout(f"{url} did not list its models in {timeout_s:g} s") from None
    except httpx2.ConnectError:
        raise ConnectFailed(f"no connection to {url}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise UpstreamError(f"{url} broke off while it listed its models: {type(error).__name__}") from None


async def _all_pages(url: str, api_key: str, page_size: int) -> tuple[Mapping[str, Any], ...]:
    # Reading the machine's certificates takes a while, and others work on this loop.
    tls = await asyncio.to_thread(ssl.create_default_context)
    headers = {"x-api-key": api_key, "anthropic-version": API_VERSION, "user-agent": "gateway"}
    found: list[Mapping[str, Any]] = []
    after: str | None = None
    async with httpx2.AsyncClient(headers=headers, verify=tls, timeout=None, trust_env=False) as client:
        for _ in range(MAX_PAGES):
            page = await _page(client, url, page_size, after)
            found += [entry for entry in page["data"] if isinstance(entry, dict)]
            last = page.get("last_id")
            if page.get("has_more") is not True:
                return tuple(found)
            if not isinstance(last, str) or last == after:
                break
            after = last
    raise UpstreamError(f"the list of models at {url} does not come to an end")


async def _page(client: httpx2.AsyncClient, url: str, page_size: int, after: str | None) -> dict[str, Any]:
    params = {"limit": str(page_size)} | ({"after_id": after} if after is not None else {})
    async with client.stream("GET", f"{url}/v1/models", params=params) as answer:
        if answer.status_code in (401, 403):
            raise Unauthenticated(f"{url} does not accept the gateway's own key (HTTP {answer.status_code})")
        if answer.status_code != 200:
            raise UpstreamError(f"{url} does not list its models (HTTP {answer.status_code})")
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_PAGE_BYTES:
                raise UpstreamError(f"the list of models at {url} is too long")
    try:
        page = parse_json(bytes(body))
    except ValueError:
        page = None
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise UpstreamError(f"what answers at {url} is not a Models API")
    return page
