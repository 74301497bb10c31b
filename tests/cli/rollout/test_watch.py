"""Look after look; a gateway that is away for a while is waited for, and whoever watches is told so."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.cli import view
from gateway.cli.admin import Admin, Token
from gateway.cli.rollout.board import Look
from gateway.cli.rollout.watch import (
    Eyes,
    InPlace,
    JsonScreen,
    Lines,
    Page,
    follow,
    height_of,
)
from gateway.errors import BadRequest, ConnectFailed, GatewayError, UpstreamTimeout
from tests.support import admin_api
from tests.support.admin_api import NAME, AdminApi, error, status
from tests.support.clock import ManualClock
from tests.support.command import run
from tests.support.looks import EVENTS, NOW, PLAN, event, look, watched

STATUS = f"GET /admin/migrations/{NAME}"
HOSTILE = "a\x1b]0;owned\x07b\x9b2Jc\u202ed\r\ne\x7f"


class Recorder:
    """A screen that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Look] = []

    def show(self, look: Look) -> None:
        self.shown.append(look)

    def close(self) -> None:
        """Nothing is left open."""


def followed(*answers: Look | GatewayError) -> list[Look]:
    """What is shown while these are the answers, one after the other, and then somebody presses Ctrl-C."""
    screen, coming = Recorder(), iter(answers)
    left = len(answers)

    def next_look() -> Look:
        answer = next(coming)
        if isinstance(answer, GatewayError):
            raise answer
        return answer

    def pause() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(next_look, screen, pause)
    return screen.shown


def test_a_gateway_that_is_away_is_waited_for_and_its_last_answer_says_so() -> None:
    away, late = ConnectFailed("no gateway\x1b answers"), UpstreamTimeout("did not answer in 10 s")
    shown = followed(look(), away, late, look(phase="paused"))
    assert [each.trouble for each in shown] == [
        "",
        "no gateway  answers",
        late.message,
        "",
    ]
    assert [each.status["phase"] for each in shown] == ["running", "running", "running", "paused"]


def test_the_first_look_must_succeed_and_what_will_not_pass_ends_it() -> None:
    with pytest.raises(ConnectFailed):
        followed(ConnectFailed("away"))
    with pytest.raises(BadRequest):
        followed(look(), BadRequest("no"), look())


def test_once_is_once() -> None:
    screen = Recorder()
    follow(look, screen, lambda: pytest.fail("it waits for another look"), once=True)
    assert len(screen.shown) == 1


# --- what is asked for --------------------------------------------------------------------------------------


@pytest.fixture
def admin(api: AdminApi) -> Iterator[Admin]:
    with Admin(api.url, Token(admin_api.TOKEN, "the test")) as admin:
        yield admin


def test_events_are_asked_for_from_the_last_one_on_and_the_plan_once_a_minute(
    api: AdminApi, admin: Admin
) -> None:
    api.script(STATUS, watched())
    api.script(f"{STATUS}/events", {"data": list(EVENTS)}, {"data": [event(4, "pause")]}, {"data": []})
    api.script(f"{STATUS}/plan", {"plan": PLAN, "markdown": ""})
    clock = ManualClock()
    eyes = Eyes(admin, f"/admin/migrations/{NAME}", clock)
    looks = [eyes.look() for _ in range(3)]
    clock.advance(61)
    eyes.look()
    assert [[each["seq"] for each in seen.events] for seen in looks] == [
        [1, 2, 3],
        [1, 2, 3, 4],
        [1, 2, 3, 4],
    ]
    assert [seen.plan for seen in looks] == [PLAN] * 3
    asked = [each.path.rpartition("/")[2] for each in api.received]
    assert (asked.count("plan"), asked.count("events"), asked.count(NAME)) == (2, 4, 4)
    assert [each.query for each in api.received if each.path.endswith("events")][:2] == ["since=0", "since=3"]


def test_without_events_and_a_plan_there_is_still_the_status(api: AdminApi, admin: Admin) -> None:
    api.script(STATUS, status())
    api.answers[f"{STATUS}/events"] = [(503, error("the store is away", "api_error"))]
    seen = Eyes(admin, f"/admin/migrations/{NAME}", ManualClock()).look()
    assert (seen.status["name"], seen.events, seen.plan) == (NAME, (), None)


def test_nothing_that_a_terminal_obeys_is_left_in_a_look(api: AdminApi, admin: Admin) -> None:
    gates = [{"name": HOSTILE, "verdict": HOSTILE, "reason": HOSTILE, "evidence": {}}]
    api.script(STATUS, watched(summary=HOSTILE, gates=gates, candidate=HOSTILE))
    api.script(f"{STATUS}/events", {"data": [event(1, HOSTILE, HOSTILE)]})
    api.script(f"{STATUS}/plan", {"plan": {**PLAN, "warnings": [HOSTILE]}, "markdown": ""})
    out = io.StringIO()
    Page(view.console(out, 120)).show(Eyes(admin, f"/admin/migrations/{NAME}", ManualClock()).look())
    text = out.getvalue()
    assert "a ]0;owned b 2Jc d e" in text
    assert not [char for char in text if char != "\n" and not char.isprintable()]


# --- where it is shown --------------------------------------------------------------------------------------


def test_in_a_pipe_there_is_a_line_when_something_is_new() -> None:
    out = io.StringIO()
    lines = Lines(view.console(out, 200))
    for shown in (look(), look(), look(summary="advancing from 25 %: every gate is green")):
        lines.show(shown)
    assert out.getvalue().splitlines() == [
        f"10:41:40  {NAME}: holding at 25 %: 633 of 1000 units, 1.5 d of 3 d",
        f"10:41:40  {NAME}: advancing from 25 %: every gate is green",
    ]


def test_on_a_terminal_the_last_board_stays() -> None:
    out = io.StringIO()
    screen = InPlace(view.console(out, 100))
    screen.show(look())
    screen.show(look(phase="soaking", metrics=[]))
    screen.close()
    assert "soaking" in out.getvalue().rpartition(NAME)[2]


def test_json_is_silent_while_the_gateway_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    screen = JsonScreen()
    screen.show(Look(NOW, status()))
    screen.show(Look(NOW, status(), trouble="away"))
    screen.close()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [status()]


@pytest.mark.parametrize(("width", "height"), [(80, 23), (99, 23), (100, 39), (200, 39)])
def test_a_board_is_lower_than_the_terminal_that_it_is_made_for(width: int, height: int) -> None:
    assert height_of(view.console(io.StringIO(), width)) == height


# --- the command --------------------------------------------------------------------------------------------


def test_once_writes_a_board(api: AdminApi) -> None:
    api.script(STATUS, watched())
    ran = run("migration", "watch", NAME, "--once", env={"COLUMNS": "80"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.first_line.startswith(f"{NAME}: running, stage early (25 %)")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert len(ran.out.splitlines()) <= 23


def test_json_is_the_status_object_and_nothing_else_is_asked_for(api: AdminApi) -> None:
    api.script(STATUS, watched())
    ran = run("migration", "watch", "--once", "--json")
    assert (ran.code, [json.loads(line) for line in ran.out.splitlines()]) == (0, [watched()])
    assert {each.path for each in api.received} == {"/admin/migrations", f"/admin/migrations/{NAME}"}


def test_it_looks_until_an_error_that_will_not_pass(api: AdminApi) -> None:
    api.answers[STATUS] = [
        (200, status()),
        (503, error("away")),
        (200, status(phase="paused")),
        (404, error("gone")),
    ]
    ran = run("migration", "watch", "--json", "--interval", "0.1")
    assert (ran.code, ran.err) == (2, "gateway: gone\n")
    assert [json.loads(line)["phase"] for line in ran.out.splitlines()] == ["running", "paused"]


def test_ctrl_c_ends_it_and_is_no_failure(api: AdminApi) -> None:
    api.script(STATUS, status())
    # What is started in the background of a script is born deaf to SIGINT, and so is what it starts.
    heeding = ("env", "--default-signal=INT")
    command = [*heeding, sys.executable, "-m", "gateway.cli.main", "migration", "watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["name"] == NAME
        watching.send_signal(signal.SIGINT)
        _, complaint = watching.communicate(timeout=30)
    assert (watching.returncode, complaint) == (0, "")
