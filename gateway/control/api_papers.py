"""The admin API's papers: what is written for people about a migration, as JSON or as the page itself.

Each answer holds the page under `markdown`, beside what it was made of; with `Accept: text/markdown` it is
the page alone. Nothing here changes a migration: a tick of the checklist is a line in the audit log.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse, Response

from gateway.control.api_actions import By, Name
from gateway.control.papers.checklist import Checklist
from gateway.control.papers.desk import Desk, Kept, Planned, Text
from gateway.control.papers.incidents import IncidentPaper
from gateway.control.schemas import Listing, TickBody

MARKDOWN = "text/markdown"


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


def _wants_page(request: Request) -> bool:
    return MARKDOWN in request.headers.get("accept", "")


Papers = Annotated[Desk, Depends(_desk)]
WantsPage = Annotated[bool, Depends(_wants_page)]
PerMin = Annotated[float | None, Query(ge=0, le=1e9, description="In place of what was counted.")]
PerDay = Annotated[float | None, Query(ge=0, le=1e12, description="In place of what was counted.")]
Rate = Annotated[float | None, Query(gt=0, lt=1, description="Control's error rate, in place of its own.")]
router = APIRouter(prefix="/admin/migrations/{name}")


@router.get("/plan", response_model=Planned)
async def show_plan(
    name: Name,
    desk: Papers,
    page: WantsPage,
    requests_per_min: PerMin = None,
    units_per_day: PerDay = None,
    *,
    base_error_rate: Rate = None,
) -> Planned | Response:
    """Return what each stage can see at the present traffic, how long it takes and what it costs."""
    planned = await desk.plan(
        name,
        requests_per_min=requests_per_min,
        units_per_day=units_per_day,
        base_error_rate=base_error_rate,
    )
    return _page(planned.markdown) if page else planned


@router.get("/runbook", response_model=Text)
async def show_runbook(name: Name, desk: Papers, page: WantsPage) -> Text | Response:
    """Return the runbook of this migration, with its numbers of now."""
    text = await desk.runbook(name)
    return _page(text.markdown) if page else text


@router.get("/checklist", response_model=Checklist)
async def show_checklist(name: Name, desk: Papers, page: WantsPage) -> Checklist | Response:
    """Return what must be true before, during and after, and how it is known."""
    checklist = await desk.checklist(name)
    return _page(checklist.markdown) if page else checklist


@router.post("/checklist")
async def tick(name: Name, body: TickBody, desk: Papers, by: By) -> Checklist:
    """Tick an item: whoever does it answers for it, by name."""
    return await desk.tick(name, body.item, body.note, by=by)


@router.get("/incidents")
async def list_incidents(name: Name, desk: Papers) -> Listing[IncidentPaper]:
    """Return one incident per rollback, oldest first: cause, evidence, timeline, and the page."""
    return Listing(data=await desk.incidents(name))


@router.get("/reports")
async def list_reports(name: Name, desk: Papers) -> Listing[Kept]:
    """Return the reports that were written down, oldest first."""
    return Listing(data=await desk.reports(name))


@router.get("/report", response_model=Text)
async def show_report(
    name: Name, desk: Papers, page: WantsPage, kind: Literal["weekly", "final"] = "weekly"
) -> Text | Response:
    """Return a report as it would be written now; it is not kept."""
    text = await desk.report(name, kind)
    return _page(text.markdown) if page else text


def _page(markdown: str) -> Response:
    return PlainTextResponse(markdown, media_type=MARKDOWN)
