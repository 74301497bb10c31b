"""Papers over HTTP: as JSON or as the page, for viewers; a tick takes an operator."""

from dataclasses import replace

import pytest

from tests.support.admin_client import BOB, EVE, client, refused
from tests.support.control import SPEC, ControlPlane
from tests.support.papers import CATALOGUE

M = "/admin/migrations/m"


@pytest.fixture
def plane() -> ControlPlane:
    plane = ControlPlane({"m": replace(SPEC, checklist="required")})
    plane.catalogue = CATALOGUE
    return plane


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("plan", "# Plan of m"),
        ("runbook", "# Runbook of m"),
        ("checklist", "# Checklist of m"),
        ("report", "# Weekly report of m, 2027-01-15"),
        ("report?kind=final", "# Final report of m"),
    ],
)
async def test_a_paper_is_json_with_its_page_or_the_page_alone(
    plane: ControlPlane, path: str, title: str
) -> None:
    async with client(plane, EVE) as http:
        told = await http.get(f"{M}/{path}")
        page = await http.get(f"{M}/{path}", headers={"accept": "text/markdown"})
    assert told.status_code == page.status_code == 200
    assert told.json()["markdown"].splitlines()[0] == title
    assert page.headers["content-type"] == "text/markdown; charset=utf-8"
    assert page.text == told.json()["markdown"]


async def test_a_plan_takes_the_traffic_that_somebody_expects(plane: ControlPlane) -> None:
    async with client(plane, EVE) as http:
        answer = await http.get(f"{M}/plan?requests_per_min=4000&units_per_day=5000000&base_error_rate=0.02")
        body = answer.json()["plan"]
        assert body["traffic"]["requests_per_min"] == 4000
        assert [stage["name"] for stage in body["stages"]] == ["internal", "canary", "half", "full"]
        assert body["stages"][1]["smallest_ratio"] > 1.25
        refused(
            await http.get(f"{M}/plan?base_error_rate=2"), 400, "invalid_request_error", "base_error_rate"
        )
        refused(
            await http.get(f"{M}/plan?requests_per_min=-1"), 400, "invalid_request_error", "requests_per_min"
        )


async def test_a_tick_is_an_operators_and_names_them(plane: ControlPlane) -> None:
    async with client(plane, EVE) as http:
        refused(await http.post(f"{M}/checklist", json={"item": "plan"}), 403, "permission_error")
    async with client(plane, BOB) as http:
        answer = await http.post(f"{M}/checklist", json={"item": "plan", "note": "with ann"})
        items = {item["id"]: item for item in answer.json()["items"]}
        refused(await http.post(f"{M}/checklist", json={"item": "x"}), 400, "invalid_request_error", "known:")
        refused(await http.post(f"{M}/checklist", json={"items": []}), 400, "invalid_request_error", "items")
    assert items["plan"]["state"] == "done"
    assert items["plan"]["evidence"].startswith("ticked by bob at 2027-01-15T08:00:00Z: with ann")


async def test_incidents_bring_their_page(plane: ControlPlane) -> None:
    await plane.act("start", "advance", "rollback", force=True, reason="answers in French")
    async with client(plane, EVE) as http:
        (incident,) = (await http.get(f"{M}/incidents")).json()["data"]
    assert {"id", "at", "by", "cause", "reason", "run", "evidence", "timeline", "affected"} <= incident.keys()
    assert (incident["id"], incident["cause"], incident["by"]) == (3, "user", "ada")
    assert "answers in French" in incident["markdown"]


async def test_reports_that_are_kept_are_listed(plane: ControlPlane) -> None:
    await plane.act("start", force=True, reason="test")
    await plane.desk.keep_weekly("m", epoch=9)
    async with client(plane, EVE) as http:
        (report,) = (await http.get(f"{M}/reports")).json()["data"]
    assert (report["name"], report["kind"]) == ("report:2027-01-15", "weekly")
    assert report["markdown"].startswith("# Weekly report of m")


@pytest.mark.parametrize("paper", ["plan", "runbook", "checklist", "incidents", "reports", "report"])
async def test_of_nothing_there_is_no_paper_and_without_the_store_there_is_none(
    plane: ControlPlane, paper: str
) -> None:
    async with client(plane, EVE) as http:
        refused(await http.get(f"/admin/migrations/x/{paper}"), 404, "not_found_error", "known: m")
        plane.store.away = True
        assert (await http.get(f"{M}/{paper}")).status_code == 503


async def test_the_openapi_document_names_every_paper(plane: ControlPlane) -> None:
    async with client(plane, EVE) as http:
        paths = (await http.get("/admin/openapi.json")).json()["paths"]
    papers = ("plan", "runbook", "checklist", "incidents", "reports", "report")
    assert {f"/admin/migrations/{{name}}/{paper}" for paper in papers} <= paths.keys()
