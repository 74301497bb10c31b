"""The admin API: HTTP in front of `control.service`, and nothing else. The writes are in `api_actions`.

Every request under /admin must bring a token before anything of it is read, the OpenAPI document included:
a viewer's for what changes nothing, an operator's for everything else; whoever is turned away is logged.
Every error, the framework's own too, is in one envelope; a 409 brings the migration's present status along,
so that whoever was overtaken sees by what.
"""

import logging
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import __version__
from gateway.compat.explain.request import Explained
from gateway.control.api_actions import Name, Service, service_of, tagged
from gateway.control.api_actions import router as actions
from gateway.control.api_papers import router as papers
from gateway.control.auth import Gatekeeper, Role
from gateway.control.papers.desk import Desk
from gateway.control.schemas import (
    ErrorBody,
    Listing,
    PreviewBody,
)
from gateway.control.service import ControlService
from gateway.control.status import Explanation, ReplicaStatus, Status
from gateway.core.spec import Lists
from gateway.core.types import Event
from gateway.errors import BadRequest, Conflict, GatewayError, NotFound, TooLarge, Unauthenticated

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Of any request to the admin API."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_KINDS = {NotFound.status: NotFound.kind, TooLarge.status: TooLarge.kind}
_ASKS = frozenset({"/admin/compat/preview"})
"""Bring their question as a body and change nothing."""


def build_admin(service: ControlService, gatekeeper: Gatekeeper, desk: Desk) -> FastAPI:
    """Return the ASGI app for every path under /admin."""
    app = FastAPI(
        title="Gateway admin API",
        version=__version__,
        openapi_url="/admin/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        dependencies=[Depends(HTTPBearer(auto_error=False, description="A token of GATEWAY_ADMIN_TOKENS."))],
        responses={
            "4XX": {"model": ErrorBody},
            503: {"model": ErrorBody, "description": "The store is away."},
        },
    )
    app.state.service = service
    app.state.desk = desk
    app.include_router(router)
    app.include_router(actions)
    app.include_router(papers)
    app.add_middleware(RequireToken, gatekeeper=gatekeeper)
    app.add_exception_handler(GatewayError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_form)
    app.add_exception_handler(HTTPException, _refuse_route)
    app.add_exception_handler(Exception, _fail)
    return app


class RequireToken:
    """Lets nobody into /admin without a token; whose it is stands in `request.state.by`."""

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            if not request.url.path.startswith("/admin"):
                await _envelope(NotFound(f"there is nothing at {request.url.path}"))(scope, receive, send)
                return
            reads = request.method in _READS or request.url.path in _ASKS
            needed = Role.viewer if reads else Role.operator
            peer = request.client.host if request.client else None
            try:
                token = self._gatekeeper.admit(request.headers.get("authorization"), peer, needed)
            except GatewayError as error:
                seen = {
                    "peer": peer,
                    "method": request.method,
                    "path": request.url.path,
                    "why": error.message,
                }
                logger.warning("the admin API turned somebody away", extra=seen)
                await _envelope(error)(scope, receive, send)
                return
            request.state.by = token.name
            receive = _limited(receive)
        await self._app(scope, receive, send)


def _limited(receive: Receive) -> Receive:
    """Read no more of a body than anybody may send."""
    left = MAX_BODY_BYTES

    async def limited() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(TooLarge.status, f"a body may have at most {MAX_BODY_BYTES} bytes")
        return message

    return limited


router = APIRouter(prefix="/admin")


@router.get("/migrations")
async def list_migrations(service: Service) -> Listing[Status]:
    """Return the status of every migration."""
    return Listing(data=await service.read.statuses())


@router.get("/migrations/{name}")
async def show_migration(name: Name, service: Service, response: Response) -> Status:
    """Return one migration's status; `ETag` is its version."""
    return tagged(await service.read.status(name), response)


@router.get("/migrations/{name}/lists")
async def show_lists(name: Name, service: Service) -> Lists:
    """Return the lists in force."""
    return await service.read.lists(name)


@router.get("/migrations/{name}/explain")
async def explain(
    name: Name,
    service: Service,
    unit: Annotated[str, Query(min_length=1, description="As it would stand in x-gateway-unit.")],
    task: Annotated[str | None, Query(description="As it would stand in x-gateway-task.")] = None,
) -> Explanation:
    """Return the arm that a first message from `unit` would get, and why; no side effect."""
    return await service.read.explain(name, unit, task=task)


@router.get("/migrations/{name}/events")
async def list_events(
    name: Name, service: Service, since: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0
) -> Listing[Event]:
    """Return the audit log after `since`, oldest first."""
    return Listing(data=await service.read.events(name, since))


@router.post("/compat/preview")
async def preview(body: PreviewBody, service: Service) -> Explained:
    """Return what would become of a request on its way to another model, rule by rule; no side effect."""
    return await service.read.preview(body.question(), body.migration)


@router.get("/replicas")
async def list_replicas(service: Service) -> Listing[ReplicaStatus]:
    """Return every serving process."""
    return Listing(data=await service.read.replicas())


@router.get("/models")
async def list_models(service: Service) -> Listing[dict[str, Any]]:
    """Return the catalogue."""
    return Listing(data=service.read.models())


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, GatewayError):
        return await _fail(request, error)
    current = None
    if isinstance(error, Conflict) and (name := request.path_params.get("name")):
        with suppress(GatewayError):
            current = await service_of(request).read.status(name)
    return _envelope(error, current)


async def _refuse_form(request: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    lines = (f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in problems)
    message = "; ".join(lines) or "the request cannot be understood"
    if "json" not in request.headers.get("content-type", "json"):
        message += " (a body is read as JSON only with Content-Type: application/json)"
    return _envelope(BadRequest(message))


async def _refuse_route(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    refusal = GatewayError(f"{request.method} {request.url.path}: {getattr(error, 'detail', 'failed')}")
    refusal.status = status
    refusal.kind = _KINDS.get(status, BadRequest.kind)
    response = _envelope(refusal)
    response.headers.update(getattr(error, "headers", None) or {})
    return response


async def _fail(request: Request, error: Exception) -> JSONResponse:
    logger.error("the admin API failed", extra={"path": request.url.path}, exc_info=error)
    return _envelope(GatewayError("something went wrong inside the gateway; its log says what"))


def _envelope(error: GatewayError, current: Status | None = None) -> JSONResponse:
    body: dict[str, Any] = {"type": "error", "error": {"type": error.kind, "message": error.message}}
    if current is not None:
        body["current"] = jsonable_encoder(current)
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthenticated) else None
    return JSONResponse(body, status_code=error.status, headers=headers)
