"""The admin API's writes, and what every route is given: the verbs, the weight, the lists, and proofs.

Whoever asks stands in `request.state.by`, put there by `api.RequireToken`; the audit log shows it. A write
may say which version its author saw (`If-Match`), and a verb answers the status that it led to.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from starlette.requests import ClientDisconnect

from gateway.control.schemas import ActionBody, ListsBody, ProofBody, WeightBody, reason_in
from gateway.control.service import Ask, ControlService, Emergency, Proof
from gateway.control.status import Status
from gateway.core.rollout import Verb
from gateway.core.spec import Lists
from gateway.errors import BadRequest, NotFound

VERBS: Mapping[str, Verb] = {
    "start": "start",
    "advance": "advance",
    "pause": "pause",
    "resume": "resume",
    "approve": "approve",
    "step-back": "step-back",
    "rollback": "rollback",
    "restart": "restart",
    "complete": "complete",
}
"""What may stand behind /actions/, besides emergency-rollback, which is a route of its own."""

REASON_S = 0.5
REASON_BYTES = 64 * 1024
"""How long, and how much of it, the body of an emergency rollback is read; then it goes on without."""


def service_of(request: Request) -> ControlService:
    """Return what the admin API was built on."""
    service: ControlService = request.app.state.service
    return service


def _by(request: Request) -> str:
    by: str = request.state.by
    return by


def _seen_version(
    if_match: Annotated[
        str | None, Header(description="The version that you saw; 409 if it is another by now.")
    ] = None,
) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    digits = if_match.strip().removeprefix("W/").strip('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise BadRequest('If-Match: write the version that you saw, for example "7"')
    return int(digits)


Service = Annotated[ControlService, Depends(service_of)]
By = Annotated[str, Depends(_by)]
SeenVersion = Annotated[int | None, Depends(_seen_version)]
Name = Annotated[str, Path(description="The migration's name.")]
router = APIRouter(prefix="/admin")


@router.put("/migrations/{name}/weight")
async def set_weight(
    name: Name, body: WeightBody, service: Service, by: By, seen: SeenVersion, *, response: Response
) -> Status:
    """Set the candidate's share by hand; automation pauses until `resume`."""
    ask = Ask("set-weight", by, body.reason, percent=body.percent, if_match=seen)
    return tagged(await service.act(name, ask), response)


async def _given_reason(request: Request) -> str:
    """Read why somebody asks for an emergency rollback; nothing about the body is worth refusing it for."""
    body = b""
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(REASON_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > REASON_BYTES:
                    break
    return reason_in(body)


@router.post(
    "/migrations/{name}/actions/emergency-rollback",
    responses={202: {"model": Emergency}},
    openapi_extra={
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {"type": "object", "properties": {"reason": {"type": "string"}}}
                }
            }
        }
    },
)
async def emergency_rollback(
    name: Name, service: Service, by: By, response: Response, reason: Annotated[str, Depends(_given_reason)]
) -> Emergency:
    """Stop the candidate on every replica, whatever its version.

    Any body will do, or none: it is only looked at for a reason, as JSON or as a form. 200 once all have
    acknowledged or 2 s have passed; 202 where the store is away and only this process and those that share
    its disk have stopped: ask the missing ones as well.
    """
    emergency = await service.emergency_rollback(name, by=by, reason=reason)
    response.status_code = 200 if emergency.status == "rolled_back" else 202
    return emergency


@router.post("/migrations/{name}/actions/{verb}")
async def act(
    name: Name,
    verb: Annotated[str, Path(json_schema_extra={"enum": list(VERBS)})],
    service: Service,
    by: By,
    seen: SeenVersion,
    *,
    response: Response,
    body: ActionBody | None = None,
) -> Status:
    """Carry out a verb."""
    known = VERBS.get(verb)
    if known is None:
        raise NotFound(f"there is no verb {verb!r}; known: {', '.join(VERBS)}, emergency-rollback")
    body = body or ActionBody()
    _check_arguments(known, body)
    ask = Ask(
        known,
        by,
        body.reason,
        mode=body.mode,
        force=body.force,
        keep_assignment=body.keep_assignment,
        exclude_previous=body.exclude_previous,
        if_match=seen,
    )
    return tagged(await service.act(name, ask), response)


@router.put("/migrations/{name}/lists")
async def set_lists(name: Name, body: ListsBody, service: Service, by: By, seen: SeenVersion) -> Lists:
    """Set the lists; one that is left out stays as it is. From then on they win over the file's."""
    return await service.set_lists(name, body.apply_to, by=by, reason=body.reason, if_match=seen)


@router.post("/migrations/{name}/proofs", status_code=201)
async def prove(name: Name, body: ProofBody, service: Service, by: By) -> Proof:
    """Note for the checklist what was shown of a migration; it stands in the audit log as `proof`.

    Prompts and answers have no place in it.
    """
    proof = body.proof()
    await service.prove(name, proof, by=by)
    return proof


def _check_arguments(verb: Verb, body: ActionBody) -> None:
    if body.mode is not None and verb != "rollback":
        raise BadRequest(f"mode: belongs to rollback, not to {verb}")
    if body.force and verb not in ("start", "restart", "advance"):
        raise BadRequest(f"force: belongs to start, restart and advance, not to {verb}")
    for word in ("keep_assignment", "exclude_previous"):
        if getattr(body, word) and verb != "restart":
            raise BadRequest(f"{word}: belongs to restart, not to {verb}")
    if body.force and not body.reason.strip():
        raise BadRequest("reason: force needs one")


def tagged(status: Status, response: Response) -> Status:
    """Return `status`, and let its version be the answer's `ETag`."""
    response.headers["ETag"] = f'"{status.version}"'
    return status
