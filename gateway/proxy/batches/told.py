"""What the upstream tells of batches, on its way back: where results are, and the results.

`results_url` names the upstream, and a client that followed it would pass by the gateway and get answers that
nobody has put back. So it is told at the gateway's own address instead: the configured one, else the host and
scheme that the client itself used. Whoever sends a false host has only itself to tell it to.

Results come as lines of JSON, each restored by the plan of its item as it passes; never more than one line
and what arrived with it is held. Of a batch that is not known here every line passes as it is, and a header
says so.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from itertools import islice
from typing import Any

from gateway.compat.batch import Register, readdress, restore_line, result_of
from gateway.proxy.batches import memory
from gateway.proxy.call import Plane
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.hangup import Send
from gateway.proxy.transport.headers import RawHeaders
from gateway.proxy.transport.wire import Exchange

Scope = MutableMapping[str, Any]
Relay = Callable[[Exchange, Send, RawHeaders], Awaitable[None]]

BATCHES = "/v1/messages/batches"
LINE_BYTES = 64 << 20
"""A longer line is relayed as it is."""
LINES_AT_ONCE = 32
"""Most that are put back without a rest."""
_RESULTS = re.compile(rf"{BATCHES}/([^/]+)/results")
_TOLD = re.compile(rf"{BATCHES}(/[^/]+(/cancel)?)?")
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


def is_told(scope: Scope) -> bool:
    """Tell whether a request's answer is about batches."""
    method, path = scope["method"], scope["path"]
    return method in ("GET", "POST") and bool(_TOLD.fullmatch(path) or _RESULTS.fullmatch(path))


async def relay_told(scope: Scope, exchange: Exchange, send: Send, ours: RawHeaders, plane: Plane) -> None:
    """Relay an answer about batches."""
    results = _RESULTS.fullmatch(scope["path"])
    if results is not None and scope["method"] == "GET":
        register = await memory.find(results[1], plane.notebook)
        await _relay_results(exchange, send, ours, register, plane)
    else:
        body = await exchange.read_all(plane.limits.answer_bytes)
        body = readdress(body, address) if (address := public_address(scope, plane)) else body
        headers = hop.to_client(exchange.headers, length=len(body)) + ours
        await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def public_address(scope: Scope, plane: Plane) -> str:
    """Return where the client reaches the gateway; empty where nobody has said it."""
    host = hop.get(scope["headers"], b"host")
    if plane.public_url or not _HOST.fullmatch(host):
        return plane.public_url
    return f"{scope.get('scheme', 'http')}://{host}"


async def _relay_results(
    exchange: Exchange, send: Send, ours: RawHeaders, register: Register | None, plane: Plane
) -> None:
    readable = exchange.status == 200 and not hop.is_encoded(exchange.headers)
    known = register is not None and readable
    length = hop.get(exchange.headers, b"content-length") if not known else ""
    headers = hop.to_client(exchange.headers, length=int(length) if length.isdigit() else None) + ours
    if readable:
        headers += hop.ours({"results": "restored" if known else "as_they_are"})
    await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    out = Results(register) if known and register is not None else None
    try:
        while chunk := await exchange.read():
            parts = iter((chunk,)) if out is None else out.take(chunk)
            while data := b"".join(islice(parts, LINES_AT_ONCE)):
                await send({"type": "http.response.body", "body": data, "more_body": True})
                await asyncio.sleep(0)
        rest = b"" if out is None else out.rest()
        await send({"type": "http.response.body", "body": rest, "more_body": False})
    finally:
        for (migration, arm, result), count in out.counted.items() if out is not None else ():
            plane.metrics.batch_items(migration, arm, result, count)


class Results:
    """The lines of one batch's results, in chunks as they arrive."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self._held: list[bytes] = []
        self._size = 0
        self._passing = False
        """Inside a line that is too long to be read."""
        self.counted: Counter[tuple[str, str, str]] = Counter()
        """Migration, arm and result of the items that were seen."""

    def take(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes and give the lines that they complete, none of it empty."""
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            yield self._ended(line)
        self._held.append(rest)
        self._size += len(rest)
        if self._size > LINE_BYTES:
            self._passing = True
        if self._passing and self._size:
            yield self._drained()

    def rest(self) -> bytes:
        """Return what came behind the last line end."""
        return self._drained() if self._passing else self._restored(self._drained())

    def _ended(self, line: bytes) -> bytes:
        self._held.append(line)
        whole = self._drained()
        passing, self._passing = self._passing, False
        return (whole if passing else self._restored(whole)) + b"\n"

    def _drained(self) -> bytes:
        whole = b"".join(self._held)
        self._held, self._size = [], 0
        return whole

    def _restored(self, line: bytes) -> bytes:
        result = result_of(line)
        group = self._register.find(result[0]) if result is not None else None
        if result is None or group is None:
            return line
        self.counted[group.migration, group.arm, result[1]] += 1
        return restore_line(line, group.plan) if group.plan else line
