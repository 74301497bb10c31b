"""Every verb is one call, says where things stand afterwards, and keeps its reason for the audit log."""

import json
from typing import Any

import pytest

from tests.support.admin_api import NAME, AdminApi, error, status
from tests.support.command import run

ROOT = f"/admin/migrations/{NAME}"
VERBS = ["start", "advance", "pause", "resume", "approve", "step-back", "rollback", "restart", "complete"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_one_call(api: AdminApi, verb: str) -> None:
    api.script(f"POST {ROOT}/actions/{verb}", status(version=5))
    ran = run("migration", verb, NAME, "--reason", "because", "--if-match", "4")
    assert (ran.code, ran.first_line.startswith(f"{NAME}: ")) == (0, True)
    assert len(api.received) == 1
    assert (api.last.body, api.last.headers["if-match"]) == ({"reason": "because"}, "4")


def test_a_verb_can_answer_in_json(api: AdminApi) -> None:
    api.script(f"POST {ROOT}/actions/pause", status(phase="paused", reason="user"))
    assert json.loads(run("migration", "pause", "--json").out)["phase"] == "paused"


def test_a_stale_version_is_told_and_changes_nothing(api: AdminApi) -> None:
    api.script(f"POST {ROOT}/actions/advance", error("version 4 is not 5"), status=409)
    ran = run("migration", "advance", "--if-match", "4")
    assert (ran.code, ran.err) == (2, "gateway: version 4 is not 5\n")


@pytest.mark.parametrize("verb", ["start", "restart", "advance"])
def test_force_needs_a_reason(api: AdminApi, verb: str) -> None:
    for reason in ([], ["--reason", " "]):
        ran = run("migration", verb, "--force", *reason)
        assert (ran.code, len(ran.err.splitlines()), api.received) == (2, 1, [])
    api.script(f"POST {ROOT}/actions/{verb}", status())
    assert run("migration", verb, "--force", "--reason", "known").code == 0
    assert api.last.body == {"reason": "known", "force": True}


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("start", "restart", "advance")])
def test_nothing_else_can_be_forced(api: AdminApi, verb: str) -> None:
    assert (run("migration", verb, "--force", "--reason", "x").code, api.received) == (2, [])


@pytest.mark.parametrize("word", ["keep-assignment", "exclude-previous"])
def test_restart_says_what_becomes_of_the_people_of_the_run_before(api: AdminApi, word: str) -> None:
    api.script(f"POST {ROOT}/actions/restart", status(run=2))
    assert run("migration", "restart", f"--{word}", "--reason", "again").code == 0
    assert api.last.body == {"reason": "again", word.replace("-", "_"): True}


def test_people_cannot_be_both_kept_and_excluded(api: AdminApi) -> None:
    ran = run("migration", "restart", "--keep-assignment", "--exclude-previous")
    assert (ran.code, len(ran.err.splitlines()), api.received) == (2, 1, [])
    assert "contradict" in ran.err


@pytest.mark.parametrize(
    ("phase", "said"), [("running", "left once its other gates are green"), ("paused", "still paused")]
)
def test_an_approval_says_by_whom_and_what_it_leads_to(api: AdminApi, phase: str, said: str) -> None:
    approval = {"needed": True, "by": "bob", "at": 1795171260.0, "waiting_since": None}
    api.script(f"POST {ROOT}/actions/approve", status(phase=phase, reason="freeze", approval=approval))
    ran = run("migration", "approve", "--reason", "read it")
    assert ran.code == 0
    assert ran.out.splitlines()[1].startswith("stage early is approved by bob; ")
    assert said in ran.out


def test_a_refused_approval_is_one_line(api: AdminApi) -> None:
    why = "stage 'half' of migration 'm' must be approved by somebody other than ada, who started this run"
    api.script(f"POST {ROOT}/actions/approve", error(why), status=409)
    ran = run("migration", "approve")
    assert (ran.code, ran.err, ran.out) == (2, f"gateway: {why}\n", "")


def test_a_rollback_says_when_the_last_request_to_the_candidate_began(api: AdminApi) -> None:
    answer = status(phase="rolled_back", last_candidate_request={"b-2": None, "a-1": 1795171260.0})
    api.script(f"POST {ROOT}/actions/rollback", answer)
    ran = run("migration", "rollback")
    told = "last request to the candidate began: a-1 2026-11-20 10:41:00 UTC, b-2 never"
    assert ran.out.splitlines()[1] == told


@pytest.mark.parametrize(("arguments", "percent"), [(["25"], 25), ([NAME, "12.5"], 12.5), (["5%"], 5)])
def test_set_weight_takes_a_share(api: AdminApi, arguments: list[str], percent: float) -> None:
    api.script(f"PUT {ROOT}/weight", status(phase="paused", reason="user", weight_percent=percent))
    ran = run("migration", "set-weight", *arguments, "--reason", "slowly")
    assert (ran.code, api.last.body) == (0, {"percent": percent, "reason": "slowly"})


@pytest.mark.parametrize(
    "arguments", [["much"], [NAME, "other", "5"], ["101"], ["nan"], ["inf"], ["1e9"], [NAME, "100.1 %"]]
)
def test_set_weight_refuses_what_is_no_share(api: AdminApi, arguments: list[str]) -> None:
    ran = run("migration", "set-weight", *arguments)
    assert (ran.code, len(ran.err.splitlines()), api.received) == (2, 1, [])
    assert "set-weight [NAME] PERCENT" in ran.err


@pytest.mark.parametrize("mode", ["evict", "drain"])
def test_rollback_passes_its_mode_on(api: AdminApi, mode: str) -> None:
    api.script(f"POST {ROOT}/actions/rollback", status(phase="rolled_back", reason="user", weight_percent=0))
    ran = run("migration", "rollback", "--mode", mode)
    assert (ran.code, api.last.body) == (0, {"reason": "", "mode": mode})
    assert "rolled back (user), everything on control" in ran.first_line


def emergency(**changes: Any) -> dict[str, Any]:
    replicas = {"expected": 3, "acknowledged": 3, "missing": []}
    return {"status": "rolled_back", "weight_percent": 0, "replicas": replicas, "took_ms": 41} | changes


def test_an_emergency_names_who_has_confirmed(api: AdminApi) -> None:
    api.script(
        f"POST {ROOT}/actions/emergency-rollback",
        emergency(last_candidate_request={"a-1": 1795171260.0, "b-2": None}),
    )
    api.script("GET /admin/replicas", {"data": [{"id": "a-1"}, {"id": "b-2"}, {"id": "c-3"}]})
    ran = run("migration", "emergency-rollback", "--reason", "answers in French")
    assert ran.code == 0
    assert (
        ran.first_line
        == f"{NAME}: STOPPED. Everything is on control; 3 of 3 replicas have confirmed after 41 ms."
    )
    assert "confirmed: a-1, b-2, c-3" in ran.out
    assert "began: a-1 2026-11-20 10:41:00 UTC, b-2 never" in ran.out
    assert "MISSING" not in ran.out


def test_an_emergency_with_a_missing_replica_is_loud_and_fails(api: AdminApi) -> None:
    replicas = {"expected": 3, "acknowledged": 2, "missing": ["c-3"]}
    api.script(f"POST {ROOT}/actions/emergency-rollback", emergency(replicas=replicas))
    api.script("GET /admin/replicas", {"data": [{"id": "a-1"}, {"id": "b-2"}, {"id": "c-3"}]})
    ran = run("migration", "emergency-rollback", NAME)
    assert ran.code == 1
    assert "NOT STOPPED EVERYWHERE" in ran.first_line
    assert "MISSING: c-3" in ran.out
    assert "confirmed: a-1, b-2\n" in ran.out
    assert "load balancer" in ran.out


def test_an_emergency_without_the_store_says_how_to_go_on(api: AdminApi) -> None:
    replicas = {"expected": 2, "acknowledged": 1, "missing": ["b-2"]}
    answer = emergency(status="rolled_back_locally", replicas=replicas)
    api.script(f"POST {ROOT}/actions/emergency-rollback", answer, status=202)
    ran = run("migration", "emergency-rollback", NAME)
    assert (ran.code, "--url" in ran.out) == (1, True)


def test_an_emergency_alone_without_the_store_is_not_called_a_success(api: AdminApi) -> None:
    replicas = {"expected": 1, "acknowledged": 1, "missing": []}
    answer = emergency(status="rolled_back_locally", replicas=replicas)
    api.script(f"POST {ROOT}/actions/emergency-rollback", answer, status=202)
    ran = run("migration", "emergency-rollback", NAME)
    assert (ran.code, ran.first_line) == (1, f"{NAME}: STOPPED HERE, and unknown elsewhere after 41 ms.")
    assert "--url" in ran.out


def test_an_emergency_in_json_keeps_its_exit_code(api: AdminApi) -> None:
    answer = emergency(replicas={"expected": 2, "acknowledged": 1, "missing": ["b"]})
    api.script(f"POST {ROOT}/actions/emergency-rollback", answer)
    ran = run("migration", "emergency-rollback", NAME, "--json")
    assert (ran.code, json.loads(ran.out)) == (1, answer)


LISTS = {"allow_users": ["ann"], "allow_tasks": ["internal"], "deny_users": []}


def test_lists_are_shown(api: AdminApi) -> None:
    api.script(f"GET {ROOT}/lists", LISTS)
    out = run("migration", "lists", "show").out
    assert [part in out for part in ("allow_users", "ann", "internal")] == [True] * 3


def test_only_the_lists_that_are_given_are_sent(api: AdminApi) -> None:
    api.script(f"PUT {ROOT}/lists", LISTS | {"deny_users": ["bob", "eve"]})
    ran = run("migration", "lists", "set", "--deny-users", "bob, eve", "--allow-tasks", "")
    assert (ran.code, "bob, eve" in ran.out) == (0, True)
    assert api.last.body == {"deny_users": ["bob", "eve"], "allow_tasks": [], "reason": ""}


def test_setting_no_list_is_refused(api: AdminApi) -> None:
    ran = run("migration", "lists", "set")
    assert (ran.code, api.received) == (2, [])
    assert "--deny-users" in ran.err
