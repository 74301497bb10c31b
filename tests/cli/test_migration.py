"""The first line is the answer, `--json` is what the gateway said, and `--wait` answers by exit code."""

import json
from typing import Any

import pytest

from gateway.cli.migration import plain
from tests.support.admin_api import NAME, AdminApi, error, status
from tests.support.command import run

STATUS = f"GET /admin/migrations/{NAME}"


def test_the_first_line_of_status_says_it_all(api: AdminApi) -> None:
    api.script(STATUS, status())
    ran = run("migration", "status", NAME)
    assert (ran.code, ran.first_line) == (
        0,
        f"{NAME}: running, stage early (25 %), 312 + 308 units enrolled, 3 of 3 replicas agree",
    )


def test_json_is_what_the_gateway_answered(api: AdminApi) -> None:
    api.script(STATUS, status())
    assert json.loads(run("migration", "status", "--json").out) == status()


def test_list_shows_every_migration(api: AdminApi) -> None:
    api.script("GET /admin/migrations", {"data": [status(), status(name="haiku", phase="draft")]})
    out = run("migration", "list").out
    assert [name in out for name in (NAME, "haiku", "draft", "312 + 308")] == [True] * 4


def test_list_says_when_there_is_none(api: AdminApi) -> None:
    api.script("GET /admin/migrations", {"data": []})
    assert run("migration", "list").out == "no migration is configured\n"


def test_explain_says_arm_and_reason_first(api: AdminApi) -> None:
    answer = {"unit": "alice", "arm": "candidate", "reason": "bucket", "bucket": 3440, "rung": "header"}
    api.script(f"{STATUS}/explain", answer)
    ran = run("migration", "explain", "alice")
    assert ran.first_line == "alice: candidate, because bucket"
    assert "3440" in ran.out
    assert api.last.query == "unit=alice"


def test_events_are_told_in_order(api: AdminApi) -> None:
    before, after = {"phase": "running", "weight_percent": 5.0}, {"phase": "running", "weight_percent": 25.0}
    event = {"seq": 4, "at": 0, "by": "ann", "verb": "advance", "reason": "looks good"}
    api.script(f"{STATUS}/events", {"data": [event | {"before": before, "after": after, "evidence": {}}]})
    out = run("migration", "events", "--since", "3").out
    for part in ("1970-01-01 00:00:00", "ann", "advance", "running 5 %", "running 25 %", "looks good"):
        assert part in out
    assert api.last.query == "since=3"


def test_no_events_are_a_sentence(api: AdminApi) -> None:
    api.script(f"{STATUS}/events", {"data": []})
    assert run("migration", "events").out == "nothing has happened yet\n"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"phase": "completed"}, 0),
        ({"phase": "soaking"}, 0),
        ({"phase": "rolled_back", "reason": "automatic"}, 1),
        ({"phase": "paused", "reason": "inconclusive"}, 3),
        ({"phase": "paused", "reason": "user"}, 3),
        ({"phase": "paused", "reason": "approval"}, 3),
    ],
)
def test_wait_returns_the_end_as_exit_code(api: AdminApi, end: dict[str, Any], code: int) -> None:
    api.script(STATUS, status(), status(), status(**end))
    ran = run("migration", "status", "--wait", "--interval", "0.01")
    assert (ran.code, end["phase"].replace("_", " ") in ran.first_line) == (code, True)


def test_wait_gives_up_after_its_timeout(api: AdminApi) -> None:
    api.script(STATUS, status())
    assert run("migration", "status", "--wait", "--timeout", "0").code == 2


def test_wait_stops_at_an_error_that_will_not_pass(api: AdminApi) -> None:
    api.answers[STATUS] = [(200, status()), (404, error("gone", "not_found_error"))]
    ran = run("migration", "status", "--wait", "--interval", "0.01")
    assert (ran.code, ran.err) == (2, "gateway: gone\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "yes"), (2.50, "2.5"), ([], "-"), (["a", 1], "a, 1"), ({"a": None}, "a -")],
)
def test_values_are_written_for_people(value: object, text: str) -> None:
    assert plain(value) == text


def test_json_is_the_same_words_without_what_a_terminal_obeys(api: AdminApi) -> None:
    answer = {"data": [{"seq": 1, "reason": "a\x1b[2J\x9b31m\u202eb\x7f é"}]}
    api.script(f"GET /admin/migrations/{NAME}/events", answer)
    out = run("migration", "events", "--json").out
    assert json.loads(out) == answer
    assert out.rstrip("\n").isprintable()
