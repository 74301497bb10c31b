"""A batch is created: read, rewritten item by item, sent as one, and remembered for its results.

A batch of which no item is changed goes out as the bytes that came in. Where the upstream rejects one that
was rewritten, the caller's own goes out once more with control serving wherever it can, as with a message;
where it fails in any other way its answer is relayed, for there may be a batch all the same, and a second one
would be paid for too. Until the first byte goes out an arm can be withdrawn, as with a message; then all is
assigned anew.

Nothing here enters a gate: how long a batch takes says nothing of a model, and how it ended is only known
when somebody fetches the results.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.compat.batch import batch_of
from gateway.compat.request import header
from gateway.core.types import FallbackCause, Outcome, Reason
from gateway.errors import GatewayError
from gateway.proxy.account import outcome_of_error
from gateway.proxy.batches import memory
from gateway.proxy.batches.assembly import Assembly, assemble
from gateway.proxy.batches.items import ANY, Head, Terms
from gateway.proxy.call import Plane
from gateway.proxy.forward import Withdrawn, withdrawn
from gateway.proxy.relay import outcome_of
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.body import decode
from gateway.proxy.transport.hangup import HangupGuard
from gateway.proxy.transport.wire import Exchange

Scope = MutableMapping[str, Any]

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
"""Bodies above this are sent in pieces of this size."""
_ATTEMPTS = 3
_REJECTIONS: Mapping[int, FallbackCause] = {
    400: FallbackCause.rejected_by_model,
    403: FallbackCause.rejected_by_model,
    404: FallbackCause.not_found,
    413: FallbackCause.rejected_by_model,
    422: FallbackCause.rejected_by_model,
}
"""With these the upstream has made no batch of what it was sent."""


@dataclass(slots=True)
class Creation:
    """One batch on its way."""

    head: Head
    body: bytes
    """As it came, still compressed where it was."""
    assembly: Assembly | None = None
    """None: it is no batch, or none that could be read."""
    fallback: FallbackCause | None = None
    outcome: Outcome = Outcome.upstream_error
    is_kept: bool | None = None
    """Whether the store has what its results need; None: they need nothing."""

    @property
    def changed(self) -> bool:
        return self.assembly is not None and self.assembly.changed


async def create(body: bytes, head: Head, guard: HangupGuard, plane: Plane) -> None:
    """Answer the creation of a batch and count it."""
    creation = Creation(head, body)
    plane.entered()
    try:
        async with guard:
            guard.listen()
            exchange = await _ask(creation, plane)
            try:
                await _answer(exchange, creation, guard, plane)
            finally:
                exchange.close()
    except GatewayError as error:
        creation.outcome = outcome_of_error(error)
        raise
    finally:
        plane.left()
        creation.outcome = Outcome.disconnected if guard.gone else creation.outcome
        _log(creation, plane)


async def _ask(creation: Creation, plane: Plane) -> Exchange:
    """Send the batch, and control's own once more where the upstream takes no other."""
    exchange = await _send(creation, plane, ANY)
    assembly, cause = creation.assembly, _REJECTIONS.get(exchange.status)
    if assembly is None or cause is None:
        return exchange
    if not any(governed.rescues for governed in assembly.exposed.values()):
        return exchange
    exchange.close()
    creation.fallback = cause
    for name in assembly.exposed:
        plane.metrics.fallback(name, cause)
    return await _send(creation, plane, Terms(by_control=True))


async def _send(creation: Creation, plane: Plane, terms: Terms) -> Exchange:
    head = creation.head
    encodings = hop.get_list(head.headers, b"content-encoding")
    limit = plane.limits.batch_bytes
    plain = creation.body
    if encodings:
        plain = await asyncio.to_thread(decode, creation.body, encodings, limit=limit)
    for _ in range(_ATTEMPTS):
        assembly = creation.assembly = await assemble(plain, head, plane, terms)
        with suppress(Withdrawn):
            return await _send_once(creation, assembly, plane)
    raise GatewayError("the migration kept changing while this batch was assigned; try again")


async def _send_once(creation: Creation, assembly: Assembly | None, plane: Plane) -> Exchange:
    def still_allowed() -> None:
        if any(withdrawn(each, plane) for each in (assembly.exposed.values() if assembly else ())):
            raise Withdrawn

    head = creation.head
    headers = hop.to_upstream(head.headers, api_key=plane.upstream_api_key)
    if assembly is None or not assembly.changed:
        pieces, headers = [creation.body], hop.plainly_answered(headers)
    else:
        pieces, headers = assembly.pieces, hop.decoded(headers)
        if assembly.betas != hop.betas(headers):
            headers = hop.with_betas(headers, assembly.betas)
    size = sum(map(len, pieces))
    content = b"".join(pieces) if size <= PIECE_BYTES else _in_pieces(pieces)
    return await plane.wire.send(
        b"POST", head.target, headers, content, length=size, before_send=still_allowed
    )


async def _in_pieces(parts: Sequence[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        for start in range(0, len(part), PIECE_BYTES):
            yield part[start : start + PIECE_BYTES]


async def _answer(exchange: Exchange, creation: Creation, guard: HangupGuard, plane: Plane) -> None:
    body = await exchange.read_all(plane.limits.answer_bytes)
    creation.outcome = outcome_of(exchange.status, None)
    if exchange.status < 300 and creation.assembly is not None:
        await _remember(body, creation, creation.assembly, plane)
    headers = hop.to_client(exchange.headers, length=len(body)) + hop.ours(_disclosed(creation))
    await guard.send({"type": "http.response.start", "status": exchange.status, "headers": headers})
    await guard.send({"type": "http.response.body", "body": body, "more_body": False})


async def _remember(body: bytes, creation: Creation, assembly: Assembly, plane: Plane) -> None:
    """Count what was accepted, and keep what its results will need."""
    metrics = plane.metrics
    for (name, arm), count in assembly.assigned.items():
        metrics.batch_items(name, arm, "assigned", count)
    for (name, change), count in assembly.changes.items():
        metrics.rewrite(name, change, count)
    for (name, change), count in assembly.kept_back.items():
        metrics.unservable(name, change.rule, count)
    if assembly.is_remembered:
        batch_id, created_at, expires_at = batch_of(body)
        lasts_s = memory.lasts_s(created_at, expires_at)
        keeping = memory.keep(assembly.register, batch_id, lasts_s, plane.notebook)
        # A client that leaves now has its batch all the same.
        creation.is_kept = await asyncio.shield(plane.tasks.spawn("batch-register", keeping))


def _disclosed(creation: Creation) -> dict[str, str]:
    """Return what our headers say: how many items went where, and what was done to any of them."""
    values = {"request-id": creation.head.request_id}
    assembly = creation.assembly
    if assembly is None or not assembly.assigned:
        return values | {"reason": Reason.ungoverned.value}
    values["migration"] = ",".join(sorted({name for name, _ in assembly.assigned}))
    counts = sorted(assembly.assigned.items())
    values["batch-items"] = ",".join(f"{name}:{arm.value}={count}" for (name, arm), count in counts)
    done = [change for _, change in (*assembly.changes, *assembly.kept_back)]
    values["rewrites"] = header(done)
    if creation.is_kept is not None:
        values["results"] = "kept" if creation.is_kept else "unkept"
    if creation.fallback is not None:
        values["fallback"] = creation.fallback.value
    return values


def _log(creation: Creation, plane: Plane) -> None:
    assembly, outcome = creation.assembly, creation.outcome
    if assembly is None or not assembly.assigned:
        plane.metrics.passthrough(outcome)
    arms = Counter[str]()
    for (_, arm), count in assembly.assigned.items() if assembly is not None else ():
        arms[arm.value] += count
    logger.info("batch", extra={"outcome": outcome.value, **arms})
