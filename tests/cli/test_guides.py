"""What the README and the guides say about commands, settings and files is true."""

import re
from datetime import date
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from gateway.cli.main import app
from gateway.compat.prompts import text_hash
from gateway.config import load, warnings
from gateway.config.stages import PLANS
from gateway.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
GUIDES = {
    name: (ROOT / name).read_text("utf-8")
    for name in ("README.md", "docs/migrating.md", "docs/operating.md", "docs/operations.md")
}
CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMENT = re.compile(r"#.*")
CALL = re.compile(r"\bgateway ((?:[a-z][a-z-]*(?: |$))+)", re.MULTILINE)


def calls() -> list[tuple[str, str]]:
    """Every `gateway …` in code, with the guide that names it."""
    code = ((name, block[1] or block[2]) for name, text in GUIDES.items() for block in CODE.finditer(text))
    return [(name, call[1].strip()) for name, text in code for call in CALL.finditer(COMMENT.sub("", text))]


@pytest.mark.parametrize(("guide", "call"), sorted(set(calls())))
def test_every_command_that_is_named_exists(guide: str, call: str) -> None:
    command = typer.main.get_command(app)
    for word in call.split():
        if not isinstance(command, TyperGroup):
            break
        assert word in command.commands, f"{guide}: gateway {call}"
        command = command.commands[word]


def test_commands_are_found_in_the_guides() -> None:
    named = {call for _, call in calls()}
    assert {"migration emergency-rollback", "check", "simulate", "migration status"} <= named


def test_every_setting_is_explained_and_exists() -> None:
    explained = set(re.findall(rf"`{PREFIX}([A-Z_]+)`", GUIDES["docs/operating.md"]))
    assert explained - {"URL", "ADMIN_TOKEN"} == {name.upper() for name in Settings.model_fields}


def test_the_documents_in_the_guide_are_valid_and_work_together(tmp_path: Path) -> None:
    written = re.findall(r"```yaml\n(.*?)```", GUIDES["docs/migrating.md"], re.DOTALL)
    migration, climb, policies, variant = written
    (tmp_path / "migration.yaml").write_text(migration + climb + policies, "utf-8")
    (tmp_path / "variant.yaml").write_text(variant, "utf-8")
    told = re.findall(r"`((?:slack|ops): \{.*?\})`", " ".join(GUIDES["docs/migrating.md"].split()))
    parts = (
        f"catalogue: {ROOT}/config/models.yaml\ninclude: [migration.yaml]\nprompts: [variant.yaml]\n"
        f"notify: {{{', '.join(told)}}}\n"
    )
    (tmp_path / "gateway.yaml").write_text(parts, "utf-8")
    documents = load(tmp_path / "gateway.yaml")
    (spec,) = documents.migrations
    assert spec.name == "opus-4-5-to-5-5"
    assert spec.compat.for_task("extract").prefill == "control"
    assert {"slack", "ops"} == {sink.name for sink in documents.sinks}
    assert [check.name for check in spec.checks] == ["extract-json", "one-letter"]
    assert documents.prompts[0].system_sha256 == text_hash("You sort letters.")
    assert warnings(documents, date(2026, 11, 1)) == []


def test_the_python_in_the_readme_is_python() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", GUIDES["README.md"], re.DOTALL)
    compile(example, "README.md", "exec")


def test_the_guide_says_what_the_plans_are() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d.* 100 %.*) \|$", GUIDES["docs/migrating.md"], re.MULTILINE))
    assert rows.keys() == PLANS.keys()
    for name, row in rows.items():
        shown = re.findall(r"(\d+) %(?: (\d+[dh])(?: and (\d+))?)?", row.partition(";")[0])
        assert shown == [
            (str(stage["percent"]), stage.get("hold", ""), str(stage.get("min_units", "")))
            for stage in PLANS[name]
        ]
