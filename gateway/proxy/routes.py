"""The door of the data path: raw ASGI, every method and path under /v1/.

`POST /v1/messages` and `/v1/messages/count_tokens` are read whole and go through the pipeline, new batches
item by item through `batches`; everything else passes through as it comes, bodies of any length included. Of
what passes only the answers about batches are looked into. Errors that the gateway makes itself are in the
API's envelope and carry the request's id.
"""

import logging
import secrets
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

from gateway.compat.envelope import parse
from gateway.core.types import Outcome, Reason
from gateway.errors import BadRequest, GatewayError, TooLarge
from gateway.logs import request_id as current_request_id
from gateway.proxy.account import outcome_of_error
from gateway.proxy.batches.create import create
from gateway.proxy.batches.items import Head
from gateway.proxy.batches.told import BATCHES, is_told, relay_told
from gateway.proxy.call import Call, Plane
from gateway.proxy.caller import admit
from gateway.proxy.pipeline import handle
from gateway.proxy.relay import outcome_of, refuse, relay_raw
from gateway.proxy.transport import headers as hop
from gateway.proxy.transport.body import ClientGone, Receive, decode, read_stream, read_whole
from gateway.proxy.transport.hangup import HangupGuard, Send
from gateway.proxy.transport.headers import RawHeaders

Scope = MutableMapping[str, Any]

logger = logging.getLogger(__name__)

MESSAGES = "/v1/messages"
COUNT_TOKENS = "/v1/messages/count_tokens"


class DataPath:
    """The ASGI application of the data path."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every outcome is an answer or a closed connection, never an exception."""
        request_id = "gw_" + secrets.token_hex(12)
        current_request_id.set(request_id)
        guard = HangupGuard(receive, send)
        # A copy: a server may append what comes behind a chunked body, and that is nobody's header.
        scope = {**scope, "headers": list(scope["headers"])}
        try:
            _refuse_tricks(scope)
            if scope["method"] == "POST" and scope["path"] in (MESSAGES, COUNT_TOKENS):
                await handle(await self._read(scope, receive, request_id), guard, self.plane)
            elif scope["method"] == "POST" and scope["path"] == BATCHES and self.plane.table.by_model:
                await self._create_batch(scope, receive, guard, request_id)
            else:
                await self._pass_through(scope, receive, guard, request_id)
        except ClientGone:
            pass
        except GatewayError as error:
            await _refuse(error, guard, request_id)
        except Exception:
            logger.exception("request failed inside the gateway")
            await _refuse(GatewayError("the gateway failed; its log has the reason"), guard, request_id)

    async def _read(self, scope: Scope, receive: Receive, request_id: str) -> Call:
        plane, headers = self.plane, scope["headers"]
        started = plane.clock.monotonic()
        caller = admit(headers, plane)
        limit = plane.limits.body_bytes
        body = await _read_body(headers, receive, limit=limit)
        encodings = hop.get_list(headers, b"content-encoding")
        envelope = parse(decode(body, encodings, limit=limit) if encodings else body)
        return Call(
            request_id=request_id,
            method=b"POST",
            target=_target(scope),
            headers=headers,
            body=body,
            envelope=envelope,
            identity=caller.identity(envelope, governed=plane.table.governing(envelope) is not None),
            task=caller.task,
            forced=caller.forced,
            counting=scope["path"] == COUNT_TOKENS,
            started=started,
        )

    async def _create_batch(
        self, scope: Scope, receive: Receive, guard: HangupGuard, request_id: str
    ) -> None:
        plane, headers = self.plane, scope["headers"]
        started = plane.clock.monotonic()
        head = Head(request_id, _target(scope), headers, admit(headers, plane), started)
        body = await _read_body(headers, receive, limit=plane.limits.batch_bytes)
        await create(body, head, guard, plane)

    async def _pass_through(
        self, scope: Scope, receive: Receive, guard: HangupGuard, request_id: str
    ) -> None:
        """Relay a request that nobody looks into, as it comes."""
        admit(scope["headers"], self.plane)
        outcome = Outcome.upstream_error
        self.plane.entered()
        try:
            async with guard:
                outcome = await self._relay_through(scope, receive, guard, request_id)
        except ClientGone:
            guard.gone = True
        except GatewayError as error:
            outcome = outcome_of_error(error)
            raise
        finally:
            self.plane.left()
            outcome = Outcome.disconnected if guard.gone else outcome
            self.plane.metrics.passthrough(outcome)
            logger.info("passed through", extra={"method": scope["method"], "outcome": outcome.value})

    async def _relay_through(
        self, scope: Scope, receive: Receive, guard: HangupGuard, request_id: str
    ) -> Outcome:
        plane, headers = self.plane, scope["headers"]
        content: bytes | AsyncIterator[bytes] = b""
        if _has_body(headers):
            content = _stream_then_listen(receive, guard)
        else:
            guard.listen()
        told, sent = is_told(scope), hop.to_upstream(headers, api_key=plane.upstream_api_key)
        exchange = await plane.wire.send(
            scope["method"].encode(),
            _target(scope),
            hop.plainly_answered(sent) if told else sent,
            content,
            length=_length(headers),
        )
        guard.listen()  # the answer may have come before the end of the body
        try:
            ours = hop.ours({"request-id": request_id, "reason": Reason.ungoverned.value})
            if told:
                await relay_told(scope, exchange, guard.send, ours, plane)
            else:
                await relay_raw(exchange, guard.send, ours)
        finally:
            exchange.close()
        return outcome_of(exchange.status, None)


async def _read_body(headers: RawHeaders, receive: Receive, *, limit: int) -> bytes:
    if (_length(headers) or 0) > limit:  # before a client that expects a 100 begins to send
        raise TooLarge(f"request body is larger than {limit} bytes: send less")
    return await read_whole(receive, limit=limit)


async def _stream_then_listen(receive: Receive, guard: HangupGuard) -> AsyncIterator[bytes]:
    async for chunk in read_stream(receive):
        yield chunk
    guard.listen()


def _refuse_tricks(scope: Scope) -> None:
    """Raise BadRequest for what no Messages API has and what could lead the upstream elsewhere."""
    if scope["method"] in ("TRACE", "CONNECT"):
        raise BadRequest(f"the method {scope['method']} is not relayed")
    if any(segment in (".", "..") for segment in scope["path"].split("/")):
        raise BadRequest("the path holds a segment of dots: send the path that it leads to")


def _target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _length(headers: RawHeaders) -> int | None:
    length = hop.get(headers, b"content-length")
    return int(length) if length.isdigit() else None


def _has_body(headers: RawHeaders) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in headers
    )


async def _refuse(error: GatewayError, guard: HangupGuard, request_id: str) -> None:
    logger.info("refused", extra={"status": error.status, "kind": error.kind, "begun": guard.begun})
    if not guard.begun:  # else the server ends the connection inside the answer, which says it
        await refuse(error, guard.send, hop.ours({"request-id": request_id}), request_id)
