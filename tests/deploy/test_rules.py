"""Every alert has a severity, words, a section in the guide, and tests in which it fires and stays silent."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.programs import program

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))


def alerts() -> dict[str, dict[str, Any]]:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def sections(text: str) -> set[str]:
    """The anchors of a document's headings, as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_urgent_it_is_what_it_is_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    document, _, section = rule["annotations"]["runbook"].partition("#")
    assert section in sections((ROOT / document).read_text("utf-8"))


@pytest.mark.parametrize("name", alerts())
def test_an_alert_is_shown_firing_and_silent(name: str) -> None:
    expected = defaultdict(set)
    for file in TESTS:
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            for case in test["alert_rule_test"]:
                expected[case["alertname"]].add(bool(case["exp_alerts"]))
    assert expected[name] == {True, False}


def test_the_tests_know_no_alert_that_does_not_exist() -> None:
    named = {name for file in TESTS for name in re.findall(r"alertname: (\w+)", file.read_text("utf-8"))}
    assert named == set(alerts())


def test_whatever_leads_into_the_guide_arrives() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text("utf-8")
    links = set(re.findall(r"\(#([\w-]+)\)", guide))
    for file in DOCUMENTS:
        links |= set(re.findall(r"operations\.md#([\w-]+)", file.read_text("utf-8")))
    assert len(links) > 5
    assert links - sections(guide) == set()


@pytest.mark.deploy
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", str(PROMETHEUS / "prometheus.yml")],
        ["check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES)],
        ["test", "rules", *map(str, TESTS)],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_finds_nothing_wrong(arguments: list[str]) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
