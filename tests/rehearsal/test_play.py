"""Callers of a rehearsal are told apart the way the migration tells people apart."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config import load
from gateway.core.spec import Lists, MigrationSpec, Stage
from gateway.demo.apps import Conversation, load_templates
from gateway.rehearsal.play import LISTED_OF, Played, partly, price_ratio, said
from gateway.rehearsal.report import Report
from gateway.rehearsal.scale import accelerated

SPEC = MigrationSpec("m", "claude-a", "claude-b", ("claude-a",), (Stage("full", 100),))
CONFIG = Path(__file__).parents[2] / "config"
TEMPLATES = {each.application: each for each in load_templates(CONFIG / "demo")}


def headers(spec: MigrationSpec, application: str = "chat", user: str = "user-0007") -> dict[str, str]:
    conversation = Conversation(TEMPLATES[application], user=user, number=0, model="claude-a")
    return dict(said(conversation, accelerated(spec)))


def test_everybody_has_a_key_of_their_own() -> None:
    assert headers(SPEC) == {"x-api-key": "rehearsal-user-0007"}


def test_everybody_names_themselves_where_nothing_else_does() -> None:
    assert headers(replace(SPEC, unit=("header",)))["x-gateway-unit"] == "user-0007"
    assert "x-gateway-unit" not in headers(replace(SPEC, unit=("header", "session")))


def test_what_asks_for_json_says_so() -> None:
    assert headers(SPEC, "extraction")["x-gateway-task"] == "extraction"


def test_some_stand_for_whoever_is_listed() -> None:
    listed = replace(SPEC, lists=Lists(allow_tasks=("staff",)))
    tasks = [headers(listed, user=f"user-{n:04d}").get("x-gateway-task") for n in range(2 * LISTED_OF)]
    assert tasks.count("staff") == 2
    assert headers(listed, "extraction", "user-0000")["x-gateway-task"] == "extraction"


def test_prices_are_compared_where_both_are_known() -> None:
    config = load(CONFIG / "gateway.yaml")

    def ratio(control: str, candidate: str) -> float:
        spec = replace(SPEC, control=control, candidate=candidate)
        return price_ratio(Played(spec, config.catalogue, CONFIG / "models.yaml", CONFIG / "demo"))

    assert ratio("claude-haiku-4-5-20251001", "claude-haiku-5-5") == pytest.approx(0.1)
    assert ratio("claude-a", "claude-haiku-5-5") == 1


def test_a_part_is_told_from_the_whole() -> None:
    report = Report("m", "f00d", (), (), 1.0)
    assert (report.whole, partly(report).whole) == (True, False)
