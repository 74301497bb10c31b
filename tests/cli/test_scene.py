"""The live view fits its terminal and says what happens; without a terminal it is lines."""

import io

import pytest

from gateway.cli import view
from gateway.cli.scene import LiveScreen, PlainScreen, moment, panel
from gateway.core.types import Arm, Reason
from gateway.demo.act import Scene
from gateway.demo.story import GOOD
from gateway.demo.tally import Seen
from tests.support.admin_api import status


def scene(number: int = 1) -> Scene:
    scene = Scene(number, "a good candidate climbs", GOOD, users=400, status=status(), elapsed_s=12.3)
    requests = [
        Seen("chat", True, Arm.control, "bucket", 0.310, cost_microusd=10_000),
        Seen("chat", True, Arm.control, "bucket", 0.320, cost_microusd=10_000),
        Seen("chat", True, Arm.control, "bucket", 0.890, cost_microusd=10_000),
        Seen("chat", True, Arm.candidate, "bucket", 0.280, cost_microusd=8_000, rewrites=("sampling",)),
        Seen("extraction", False, Arm.candidate, "pinned", 0.7, fallback="overloaded", rewrites=("prefill",)),
        Seen("classifier", True, Arm.control, Reason.unservable, 0.1, complaint="HTTP 500"),
    ]
    for request in requests:
        scene.stage.add(request)
        scene.total.add(request)
    return scene


def drawn(width: int, what: Scene) -> str:
    console = view.console(width=width)
    with console.capture() as capture:
        console.print(panel(what, width))
    return capture.get()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_panel_fits_and_shows_both_arms(width: int) -> None:
    text = drawn(width, scene())
    assert max(len(line) for line in text.splitlines()) <= width
    assert len(text.splitlines()) <= 23
    for part in (
        "act 1 of 2", "12 s", "early 25 %", GOOD.control, GOOD.candidate, " 75 %", " 25 %", "320 / 890 ms",
        "10.00", "4.00  (-60 %)", "312", "308", "1 answered by control", "sampling 1", "prefill 1",
        "classifier 1",
        "400 users, 6 requests, 1 failed", "✓ canary 5 %", "▶ early 25 %", "· half 50 %",
    ):  # fmt: skip
        assert part in text


def test_the_panel_can_be_drawn_before_anything_is_known() -> None:
    assert "act 2 of 2" in drawn(80, Scene(2, "title", GOOD, users=400))


def test_a_moment_in_one_line() -> None:
    assert moment(scene()) == (
        "opus-4-5-to-5-5: running, stage early (25 %); the candidate began 25 % of 4 conversations; "
        "6 requests, 1 failed, 1 rescued"
    )


def test_without_a_terminal_there_is_a_line_now_and_then() -> None:
    out = io.StringIO()
    screen, now = PlainScreen(view.console(out, 200)), scene()
    for tick in range(50):
        now.elapsed_s = tick / 10
        screen.show(now)
    screen.say("something [happened]")
    screen.close()
    lines = out.getvalue().splitlines()
    assert (lines[0], len(lines)) == ("act 1: a good candidate climbs", 5)
    assert lines[-1] == "  something [happened]"


def test_every_act_leaves_its_last_panel() -> None:
    out = io.StringIO()
    screen = LiveScreen(view.console(out, 100))
    screen.show(scene(1))
    screen.show(scene(2))
    screen.close()
    assert [f"act {number} of 2" in out.getvalue() for number in (1, 2)] == [True, True]
