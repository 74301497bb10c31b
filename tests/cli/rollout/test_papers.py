"""Pages go out as they were written, tables answer first, and what does not exist is one line."""

import json
from typing import Any

import pytest

from tests.support.admin_api import NAME, AdminApi
from tests.support.command import run

BASE = f"/admin/migrations/{NAME}"
HOSTILE = "a\x1b]0;owned\x07b\x9b2Jc\u202ed\re\x7f"


def item(name: str, state: str, part: str = "pre", **more: Any) -> dict[str, Any]:
    known = {"title": f"About {name}", "proof": "auto", "evidence": f"told by ann\\_b of {name}"}
    return {"id": name, "part": part, "state": state, **known, **more}


CHECKLIST = {
    "migration": NAME,
    "required": True,
    "items": [item("evals", "open"), item("prices", "done"), item("holdback", "not_applicable", "post")],
    "markdown": "# Checklist\n",
}
INCIDENTS = {
    "data": [
        {
            "id": number, "at": 0.0, "by": "controller", "cause": "automatic", "reason": reason, "run": 1,
            "affected": {"units": 1200, "rescued": 31, "failing": {"timeout": 2, "refused": 3}},
            "markdown": f"# Incident {number}\n\n{reason}\n",
        }
        for number, reason in ((3, "error: too many"), (7, "latency"))
    ]
}  # fmt: skip
REPORTS = {
    "data": [
        {"name": "report:2026-11-20", "kind": "weekly", "written_at": 0.0, "markdown": "# Week\n"},
        {"name": "final", "kind": "final", "written_at": 86_400.0, "markdown": "# The end\n"},
    ]
}


@pytest.mark.parametrize(
    ("arguments", "path", "query"),
    [
        (["plan"], "plan", ""),
        (["plan", "--requests-per-min", "12.5", "--base-error-rate", "0.02"], "plan",
         "requests_per_min=12.5&base_error_rate=0.02"),
        (["plan", "--units-per-day", "300"], "plan", "units_per_day=300.0"),
        (["runbook"], "runbook", ""),
        (["report"], "report", "kind=weekly"),
        (["report", "--kind", "final"], "report", "kind=final"),
    ],
)  # fmt: skip
def test_a_page_goes_out_as_it_was_written(
    api: AdminApi, arguments: list[str], path: str, query: str
) -> None:
    answer = {"migration": NAME, "markdown": "# Title\n\n- one\n- two\n"}
    api.script(f"GET {BASE}/{path}", answer)
    ran = run("migration", *arguments)
    assert (ran.code, ran.out) == (0, "# Title\n\n- one\n- two\n")
    assert api.last.query == query
    assert json.loads(run("migration", *arguments, "--json").out) == answer


def test_a_page_keeps_its_lines_and_steers_no_terminal(api: AdminApi) -> None:
    api.script(f"GET {BASE}/runbook", {"markdown": f"# {HOSTILE}\n\nend\n"})
    assert run("migration", "runbook").out == "# a ]0;owned b 2Jc d e \n\nend\n"


def test_the_checklist_says_first_what_it_means_for_a_start(api: AdminApi) -> None:
    api.script(f"GET {BASE}/checklist", CHECKLIST, {**CHECKLIST, "required": False})
    ran = run("migration", "checklist")
    assert ran.first_line == (
        f"{NAME}: 1 of 2 items before the start are open; a start must be forced until then"
    )
    assert "☐  evals" in ran.out
    assert "✓  prices" in ran.out
    assert "does not apply: told by ann_b of holdback" in ran.out
    assert "it is advice" in run("migration", "checklist").first_line


def test_with_nothing_open_it_says_that(api: AdminApi) -> None:
    api.script(f"GET {BASE}/checklist", {**CHECKLIST, "items": [item("prices", "done")]})
    assert run("migration", "checklist").first_line == f"{NAME}: nothing before the start is open"


def test_an_item_is_ticked_with_what_was_seen(api: AdminApi) -> None:
    api.script(f"POST {BASE}/checklist", CHECKLIST)
    ran = run("migration", "checklist", NAME, "--tick", "evals", "--note", "all 400 passed", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, CHECKLIST)
    assert api.last.body == {"item": "evals", "note": "all 400 passed"}


def test_a_note_without_a_tick_is_refused(api: AdminApi) -> None:
    ran = run("migration", "checklist", "--note", "seen")
    assert (ran.code, ran.out, ran.err) == (2, "", "gateway: --note belongs to --tick ITEM\n")
    assert api.received == []


def test_incidents_are_a_line_each(api: AdminApi) -> None:
    api.script(f"GET {BASE}/incidents", INCIDENTS)
    lines = run("migration", "incidents").out.splitlines()
    assert len(lines) == 3
    for part in ("3", "1970-01-01 00:00:00", "automatic (controller)", "error: too many", "1,200", "31", "5"):
        assert part in lines[1]


def test_an_incident_as_a_page(api: AdminApi) -> None:
    api.script(f"GET {BASE}/incidents", INCIDENTS)
    assert run("migration", "incidents", "--markdown", "--id", "7").out == "# Incident 7\n\nlatency\n"
    assert run("migration", "incidents", "--markdown").out.count("# Incident ") == 2
    assert json.loads(run("migration", "incidents", "--id", "3", "--json").out) == {
        "data": INCIDENTS["data"][:1]
    }


def test_without_incidents_there_is_a_sentence(api: AdminApi) -> None:
    api.script(f"GET {BASE}/incidents", {"data": []})
    assert run("migration", "incidents").out == "nothing was ever rolled back\n"


def test_kept_reports_are_listed_and_shown(api: AdminApi) -> None:
    api.script(f"GET {BASE}/reports", REPORTS)
    out = run("migration", "reports").out
    assert [part in out for part in ("report:2026-11-20", "weekly", "1970-01-02 00:00:00")] == [True] * 3
    assert run("migration", "reports", "--show", "final").out == "# The end\n"
    assert json.loads(run("migration", "reports", "--json").out) == REPORTS


def test_without_reports_there_is_a_sentence(api: AdminApi) -> None:
    api.script(f"GET {BASE}/reports", {"data": []})
    assert run("migration", "reports").out.startswith("no report has been written yet; ")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["incidents", "--id", "4"], "there is no incident 4; known: 3, 7"),
        (["reports", "--show", "x"], "there is no report 'x'; known: report:2026-11-20, final"),
    ],
)
def test_what_there_is_not_is_one_line(api: AdminApi, arguments: list[str], error: str) -> None:
    api.script(f"GET {BASE}/incidents", INCIDENTS)
    api.script(f"GET {BASE}/reports", REPORTS)
    ran = run("migration", *arguments)
    assert (ran.code, ran.out, ran.err) == (2, "", f"gateway: {error}\n")


@pytest.mark.parametrize(
    "command", ["plan", "runbook", "checklist", "incidents", "report", "reports", "watch"]
)
def test_a_gateway_that_refuses_is_one_line(api: AdminApi, command: str) -> None:
    ran = run("migration", command)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("gateway: nothing at GET ")


@pytest.mark.parametrize(
    "command", ["plan", "runbook", "checklist", "incidents", "report", "reports", "watch"]
)
def test_every_command_says_what_it_is_for(command: str) -> None:
    ran = run("migration", command, "--help")
    assert ran.code == 0
    assert "--json" in ran.out
