"""A status is told in one line first, and nothing that matters is told by colour alone."""

from typing import Any

import pytest
from rich.console import RenderableType

from gateway.cli import view
from tests.support.admin_api import NAME, status


def drawn(what: RenderableType, width: int = 160) -> str:
    console = view.console(width=width)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "running, stage early (25 %), 312 + 308 units enrolled, 3 of 3 replicas agree"),
        ({"phase": "draft"}, "draft, everything on control, 3 of 3 replicas agree"),
        (
            {"phase": "paused", "reason": "user", "weight_percent": 12.5},
            "paused (user), set to 12.5 % in stage early (25 %), 312 + 308 units enrolled, "
            "3 of 3 replicas agree",
        ),
        (
            {"phase": "rolled_back", "reason": "automatic"},
            "rolled back (automatic), everything on control, 312 + 308 units enrolled, 3 of 3 replicas agree",
        ),
        (
            {"phase": "soaking", "weight_percent": 98.0},
            "soaking (98 %), 312 + 308 units enrolled, 3 of 3 replicas agree",
        ),
        (
            {"enrolled": None, "store_available": False},
            "running, stage early (25 %), unknown units enrolled, 3 of 3 replicas agree, "
            "the store does not answer, so this is what one replica obeys",
        ),
    ],
)
def test_the_headline(changes: dict[str, Any], line: str) -> None:
    assert view.headline(status(**changes)) == f"{NAME}: {line}"


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        ({"expected": 1, "acknowledged": 1, "missing": []}, "1 of 1 replica agrees"),
        ({"expected": 3, "acknowledged": 2, "missing": ["c"]}, "2 of 3 replicas agree (missing: c)"),
    ],
)
def test_agreement_names_who_is_missing(replicas: dict[str, Any], words: str) -> None:
    assert view.agreement(replicas) == words


def test_the_report_warns_of_drift_and_of_silent_replicas() -> None:
    replicas = {"expected": 2, "acknowledged": 1, "missing": ["b-2"]}
    text = drawn(view.status_report(status(config_drift=True, replicas=replicas)))
    assert "next run" in text
    assert "Not heard from: b-2" in text


def test_the_report_shows_metrics_and_gates() -> None:
    metric = {
        "name": "error",
        "control": 0.0102,
        "candidate": 0.05,
        "ratio": 4.9,
        "n_control": 1204,
        "n_candidate": 388,
    }
    gate = {"name": "error_rate", "verdict": "fail", "reason": "0.05 above 0.02"}
    text = drawn(view.status_report(status(metrics=[metric | {"verdict": "fail"}], gates=[gate])))
    for part in ("0.0102", "4.9", "1,204", "error_rate", "fail", "0.05 above 0.02", "decision: hold"):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"summary": "holding at 25 %: 140 of 200 units"}, "holding at 25 %: 140 of 200 units"),
        ({"phase": "rolled_back", "summary": "rolled back - error: too many"}, "stopped by  error: too many"),
        ({"watched_s": 129_600.0}, "watched  36 h"),
        ({"approval": {"needed": True, "waiting_since": 0}}, "is all that is missing, since 1970-01-01"),
        ({"approval": {"needed": True, "by": "ann", "at": 0}}, "by ann at 1970-01-01 00:00:00"),
        ({"approval": {"needed": True}}, "will be needed to leave this stage"),
        ({"cost_microusd": {"control": 12_300_000, "candidate": 98_000}}, "$12.30 control, $0.098 candidate"),
    ],
)
def test_the_report_says_what_automation_waits_for_and_what_it_cost(
    changes: dict[str, Any], words: str
) -> None:
    assert words in drawn(view.status_report(status(**changes)))


def test_the_report_of_an_older_gateway_leaves_that_out() -> None:
    text = drawn(view.status_report(status()))
    assert [word in text for word in ("watched", "approval", "cost so far")] == [False] * 3


@pytest.mark.parametrize(
    ("microusd", "text"),
    [(0, "$0"), (1_230_000, "$1.23"), (12_300, "$0.0123"), (98_000, "$0.098"), (4.2, "$0.0000042"),
     (999_990_000, "$999.99"), (1_234_567_890, "$1,235"), (-4_100_000, "$-4.10")],
)  # fmt: skip
def test_money_is_short(microusd: float, text: str) -> None:
    assert view.money(microusd) == text


def test_a_report_in_draft_is_short() -> None:
    draft = status(phase="draft", decision="none", stage={"index": 0, "name": "canary", "entered_at": None})
    assert len(drawn(view.status_report(draft)).splitlines()) == 2


def test_words_in_square_brackets_are_text_and_no_markup() -> None:
    event = {
        "seq": 1,
        "at": 0,
        "by": "[red]ann",
        "verb": "start",
        "reason": "[/] why",
        "before": {},
        "after": {},
    }
    text = drawn(view.events_table([event]))
    assert "[red]ann" in text
    assert "[/] why" in text


HOSTILE = "a\x1b]0;owned\x07b\x9b2Jc\u202ed\r\ne\x7f"


def test_words_of_others_cannot_steer_the_terminal() -> None:
    event = {"seq": 1, "at": 0, "by": HOSTILE, "verb": HOSTILE, "reason": HOSTILE, "before": {}, "after": {}}
    replicas = {"expected": 2, "acknowledged": 1, "missing": [HOSTILE]}
    gate = {"name": HOSTILE, "verdict": "fail", "reason": HOSTILE}
    odd = status(phase="paused", reason=HOSTILE, replicas=replicas, gates=[gate], candidate=HOSTILE)
    text = "".join([
        drawn(view.events_table([event])),
        drawn(view.status_report(odd)),
        drawn(view.migrations_table([odd])),
        drawn(view.facts([(HOSTILE, HOSTILE)])),
        view.headline(odd),
    ])  # fmt: skip
    assert "a ]0;owned b 2Jc d e" in text
    assert not [char for char in text if char != "\n" and not char.isprintable()]


@pytest.mark.parametrize(("count", "text"), [(1_000_000, "1M"), (200_000, "200K"), (4096, "4.096K")])
def test_token_counts_are_short(count: int, text: str) -> None:
    assert view.tokens(count) == text
