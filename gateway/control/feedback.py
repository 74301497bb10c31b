"""POST /gateway/feedback: what users say of answers, booked to the arm that their request was assigned to.

    {"request_id": "gw_….…", "kind": "issue"}
    {"request_id": "gw_….…", "kind": "rating", "score": 0.8}        0 is the worst, 1 the best

The id is `x-gateway-request-id` as it stood in the answer; it says itself where its request is booked, so
nothing was stored for it. Whoever may send requests may send feedback: with client keys configured a caller
brings one. An operator's token (`x-gateway-token`, or as a bearer) does as well, and may name a `migration`
and a `unit` in place of the id: then it counts for the arm that the unit would get now.

An issue counts once per unit and run, however often it comes. What comes of requests that no migration
governs, of forced ones and of runs that are over is accepted and counted nowhere, and the answer says so.
A `comment` is taken, because applications have one, and neither stored nor logged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from gateway.core.booking import Place
from gateway.core.types import parse_json
from gateway.errors import BadRequest, GatewayError, TooLarge, TooSlow, Unauthenticated
from gateway.store.receipts import Receipts
from gateway.tasks import Clock

logger = logging.getLogger(__name__)

PATH = "/gateway/feedback"
MAX_BODY_BYTES = 16 * 1024
BODY_S = 10.0
"""How long a body may take to come."""

RawHeaders = list[tuple[bytes, bytes]]


class Body(BaseModel):
    """What a user said of an answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: Annotated[str, Field(max_length=200)] | None = None
    migration: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    unit: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    kind: Literal["issue", "rating"]
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    comment: Annotated[str, Field(max_length=8000)] | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Body":
        named = (self.migration is not None, self.unit is not None)
        if named != ((False, False) if self.request_id is not None else (True, True)):
            raise ValueError("name a request_id, or (operators) a migration and a unit")
        if (self.kind == "rating") != (self.score is not None):
            raise ValueError("a rating has a score from 0 (worst) to 1 (best), an issue has none")
        return self


class Tally(Protocol):
    """Where what users say of one migration is counted."""

    def complained(self, place: Place, request_id: str, now: float) -> None:
        """Take a complaint; it counts once per unit and run."""
        ...

    def rated(self, place: Place, score: float) -> None:
        """Book a rating."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What feedback is about."""

    migration: str = ""
    place: Place | None = None
    request_id: str = ""
    uncounted: str = ""
    """Why nothing is counted; empty: it counts."""


class Feedback:
    """The ASGI application of the feedback endpoint."""

    def __init__(
        self,
        *,
        receipts: Receipts,
        tallies: Mapping[str, Tally],
        admit: Callable[[RawHeaders], object],
        operator_named: Callable[[str], str | None],
        place_now: Callable[[str, str], Awaitable[Place]],
        over: Callable[[str, int], bool],
        told: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        """`admit` raises for callers who may not send requests; `place_now` says where a migration books a
        unit, and raises NotFound; `over` tells whether a run has ended. `told` hears of the migration and the
        kind of all that counts.
        """
        self._receipts, self._tallies = receipts, tallies
        self._admit, self._operator_named = admit, operator_named
        self._place_now, self._over, self._told, self._clock = place_now, over, told, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every failure is in the envelope."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except GatewayError as error:
            logger.info("feedback refused", extra={"status": error.status, "kind": error.kind})
            response = _refusal(error)
        except Exception:
            logger.exception("feedback failed inside the gateway")
            response = _refusal(GatewayError("something went wrong inside the gateway; its log says what"))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> JSONResponse:
        if request.method != "POST":
            refusal = BadRequest(f"{PATH} takes POST, not {request.method}")
            refusal.status = 405
            raise refusal
        by = self._operator(request)
        if by is None:
            self._admit(request.scope["headers"])
        body = _parsed(await _read(request))
        subject = await self._subject(body, is_operator=by is not None)
        if not subject.uncounted:
            self._book(body, subject)
        seen = {"migration": subject.migration, "feedback": body.kind, "counted": not subject.uncounted}
        logger.info("feedback", extra={**seen, "about": subject.request_id})
        why = {"reason": subject.uncounted} if subject.uncounted else {}
        return JSONResponse({"status": "accepted", "counted": not why, **why}, status_code=202)

    def _operator(self, request: Request) -> str | None:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = request.headers.get("x-gateway-token", "") or (bearer if scheme.lower() == "bearer" else "")
        return self._operator_named(given.strip()) if given.strip() else None

    async def _subject(self, body: Body, *, is_operator: bool) -> Subject:
        if body.request_id is not None:
            return self._of_id(body.request_id)
        if not is_operator:
            raise Unauthenticated("migration and unit are taken from operators only; send a request_id")
        migration = body.migration or ""
        place = await self._place_now(migration, body.unit or "")
        return self._in_force(Subject(migration, place))

    def _of_id(self, request_id: str) -> Subject:
        receipt = self._receipts.read(request_id, migrations=self._tallies, now=self._clock.now())
        subject = Subject(receipt.migration, receipt.place, receipt.request_id)
        if receipt.place is None:
            return _uncounted(subject, "no migration governed this request")
        if not receipt.migration:
            return _uncounted(subject, "the migration of this request is gone")
        if not receipt.counted:
            return _uncounted(subject, "an operator chose the arm of this request")
        return self._in_force(subject)

    def _in_force(self, subject: Subject) -> Subject:
        place = subject.place
        if subject.migration not in self._tallies or place is None or place.run == 0:
            return _uncounted(subject, "the migration was not running")
        if self._over(subject.migration, place.run):
            return _uncounted(subject, "the run of this request is over")
        return subject

    def _book(self, body: Body, subject: Subject) -> None:
        tally, place = self._tallies[subject.migration], subject.place
        if place is None:
            return
        if body.score is None:
            tally.complained(place, subject.request_id, self._clock.now())
        else:
            tally.rated(place, body.score)
        self._told(subject.migration, body.kind)


def _uncounted(subject: Subject, why: str) -> Subject:
    return Subject(subject.migration, subject.place, subject.request_id, why)


async def _read(request: Request) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise TooLarge(f"feedback may have at most {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise TooSlow("the body did not come in time; send it again") from None
    return body


def _parsed(body: bytes) -> Body:
    """Read a body; raises BadRequest, which repeats nothing of it."""
    try:
        return Body.model_validate(parse_json(body))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        lines = (f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in problems)
        raise BadRequest("; ".join(line.removeprefix(": ") for line in lines)) from None
    except ValueError:
        raise BadRequest("the body is not JSON") from None


def _refusal(error: GatewayError) -> JSONResponse:
    headers = {"Allow": "POST"} if error.status == 405 else None
    envelope = {"type": "error", "error": {"type": error.kind, "message": error.message}}
    return JSONResponse(envelope, status_code=error.status, headers=headers)
