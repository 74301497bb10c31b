"""A board fits its terminal in every situation, folds no row, and says in words what it says in colour."""

from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import RenderableType

from gateway.cli import view
from gateway.cli.rollout import comparisons
from gateway.cli.rollout.board import Look, board, sentence, timeline
from tests.support.admin_api import NAME
from tests.support.looks import EVENTS, GATES, PLAN, ROWS, SITUATIONS, event, gate, look, row, stage, watched


def drawn(what: RenderableType, width: int) -> list[str]:
    console = view.console(width=width)
    with console.capture() as capture:
        console.print(what)
    return [line.rstrip() for line in capture.get().splitlines()]


def board_of(shown: Look, width: int = 120, height: int = 39) -> str:
    return "\n".join(drawn(board(shown, width, height), width))


@pytest.mark.parametrize(("width", "height"), [(80, 23), (120, 39), (120, 23), (100, 30), (70, 23)])
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_board_fits(name: str, width: int, height: int) -> None:
    lines = drawn(board(SITUATIONS[name], width, height), width)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert lines[0].startswith(f"{NAME}: ")
    assert lines[0].endswith("10:41:40 UTC")


@pytest.mark.parametrize("name", SITUATIONS)
def test_no_line_of_a_board_is_folded_by_the_terminal(name: str) -> None:
    for width, height in ((40, 23), (80, 23), (120, 39)):
        shown = board(SITUATIONS[name], width, height)
        assert len(drawn(shown, width)) == len(shown.renderables)


def test_a_running_stage_shows_everything_at_80_columns() -> None:
    text = board_of(SITUATIONS["running"], 80, 23)
    for part in (
        "running, stage early (25 %)", "holding at 25 %: 633 of 1000 units, 1.5 d of 3 d",
        "claude-opus-4-5-20251101 → claude-opus-5-5", "run 1, 3 of 3 replicas agree",
        "✓ internal 0 %   ✓ canary 5 %   ▶ early 25 %   · half 50 %   · full 100 %",
        "hold   ██████░░░░░░ 1.5 d of 3 d", "units  ███████░░░░░ 633 of 1000",
        "share  ███░░░░░░░░░ 25 % candidate       even: 312 control + 308 candidate",
        *(each["name"] for each in ROWS[:9]), "FAIL", "unsure",
        "? latency_p95_s inconclusive too little data: 12 of 20 requests", "! quality       error",
        "$148.00 control, $117.00 candidate", "at 100 % $50,803 a month, -20 %",
        "automatic-advance 5 % → 25 %: advancing", "approve by ann",
    ):  # fmt: skip
        assert part in text


def test_with_room_there_are_blank_lines_a_legend_and_whole_reasons() -> None:
    text = board_of(SITUATIONS["running"])
    assert comparisons.LEGEND in text
    assert "so far; at 100 % $50,803 a month, -20 % of control's $63,763" in text
    assert "everything is green and the plan was read" in text
    assert "\n\n" in text


def test_why_it_was_rolled_back_stands_at_the_top() -> None:
    lines = board_of(SITUATIONS["rolled back"], 80, 23).splitlines()
    assert lines[:2] == [
        f"{NAME}: rolled back (automatic), everything on control     10:41:40 UTC",
        "stopped by error: too many",
    ]
    assert any("✗ early 25 %" in line for line in lines)


def test_it_is_told_once_though_the_summary_says_it_as_well() -> None:
    seen = SITUATIONS["rolled back"]
    told = "rolled back (automatic): everybody is on control, conversations may finish there"
    status = {**seen.status, "summary": f"{told} - error: too many"}
    lines = board_of(replace(seen, status=status), 120, 40).splitlines()
    assert lines[1:3] == [told, "stopped by error: too many"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("paused", "‖ early 25 %"),
        ("soaking", "▶ soaking 98 %"),
        ("soaking", "every gate is green (1)"),
        ("draft", "· internal 0 %"),
        ("draft", "planned: over 13 d after the start at the earliest; 2 warnings: see"),
        ("completed", "✓ completed"),
        ("nothing is known", "enrolled: not known"),
        ("nothing is known", "! not heard from: a-very-long-name"),
        ("nothing is known", "! as it was at 10:41:40: x x"),
        ("nothing is known", "! the file differs"),
        ("an older gateway", "▶ early 25 %"),
    ],
)  # fmt: skip
def test_each_situation_says_what_matters_in_it(name: str, part: str) -> None:
    assert part in board_of(SITUATIONS[name])


def test_a_stage_that_compares_nothing_says_so() -> None:
    assert "no comparisons at 0 % and above 50 %" in board_of(look(metrics=[]), 80, 23)


def test_uneven_arms_are_told_at_80_columns() -> None:
    uneven = look(gates=[gate("sample_ratio", "fail")], enrolled={"control": 12_040, "candidate": 11_987})
    assert "UNEVEN: 12,040 control + 11,987" in board_of(uneven, 80, 23)


def test_what_is_left_out_is_what_worries_least_and_it_is_counted() -> None:
    gates = [*GATES, *(gate(f"gate{number}", "inconclusive") for number in range(9)), gate("error", "fail")]
    text = board_of(
        look(gates=gates, metrics=[*ROWS, *(row(f"check:{n}", evidence=0.0) for n in "abcdef")]), 80, 23
    )
    assert "✗ error         fail" in text
    assert " more: " in text
    assert " more, further from a stop: " in text
    assert "incomplete" in text
    assert len(text.splitlines()) == 23


def test_a_gate_that_a_row_speaks_for_comes_after_those_that_nothing_else_tells() -> None:
    text = board_of(look(gates=[gate("ttft", "inconclusive"), gate("traffic", "inconclusive")]))
    assert text.index("? traffic") < text.index("? ttft")


def test_a_cost_is_told_as_far_as_it_is_known() -> None:
    assert "cost   $148.00 control, $117.00 candidate so far\n" in board_of(look(plan=None))
    free = {**PLAN, "traffic": {"requests_per_min": 0.0}}
    assert "a month" not in board_of(look(plan=free))
    assert "cost  " not in board_of(look(plan=None, cost_microusd=None, metrics=[]))


def test_only_the_last_events_are_shown() -> None:
    text = board_of(look(events=(*EVENTS, event(4, "step-back", weights=(25.0, 5.0)))))
    assert "step-back 25 % → 5 % by ann" in text
    assert "first run" not in text


@pytest.mark.parametrize("width", [60, 80])
def test_a_long_ramp_takes_two_lines_and_never_hides_where_it_is(width: int) -> None:
    stages = [stage(f"a-stage-with-a-name-{number}", number) for number in range(20)]
    here = {
        "index": 10,
        "name": "a-stage-with-a-name-10",
        "percent": 10,
        "entered_at": 1.0,
        "hold_until": None,
    }
    lines = [line.plain for line in timeline(watched(stages=stages, stage=here), width)]
    assert len(lines) <= 2
    assert max(map(cell_len, lines)) <= width
    assert lines[0].startswith("✓ 10 stages   ▶ a-stage-with-a-name-10 10 %")
    assert lines[-1].endswith(" more")


def test_a_look_in_one_line() -> None:
    assert sentence(look()) == f"{NAME}: holding at 25 %: 633 of 1000 units, 1.5 d of 3 d"
    assert sentence(look(trouble="gone")).endswith(" [not now: gone]")
    assert sentence(SITUATIONS["an older gateway"]) == f"{NAME}: running, stage early (25 %)"


def test_nothing_is_told_by_colour_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(**environment: Any) -> str:
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        console = view.console(width=120)
        with console.capture() as capture:
            console.print(board(SITUATIONS["running"], 120, 39))
        return capture.get()

    assert "\x1b[" in seen(FORCE_COLOR="1", TERM="xterm")
    plain = seen(NO_COLOR="1")
    assert not [code for code in ("\x1b[3", "\x1b[1;3", "\x1b[9") if code in plain]
    assert "FAIL" in plain or "fail" in plain
