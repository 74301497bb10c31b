"""A request is explained in the terminal: what becomes of it, rule by rule, as a diff, on any width."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.support.command import run

MIGRATION = """
name: m
control: claude-opus-4-5-20251101
candidate: claude-opus-4-7
match: {models: [claude-opus-4-5]}
compat: {prefill: control, tasks: {draft: {prefill: emulate}}}
stages: [{name: full, percent: 100}]
"""
ASKED = {"model": "claude-opus-4-5", "max_tokens": 100, "temperature": 0.30, "messages": []}
PREFILLED = {
    **ASKED,
    "messages": [{"role": "user", "content": "Extract."}, {"role": "assistant", "content": "{"}],
}
WAY = ("--from", "claude-opus-4-5", "--to", "claude-opus-4-7")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    shipped = Path(__file__).parents[2] / "config" / "models.yaml"
    (tmp_path / "m.yaml").write_text(MIGRATION)
    (tmp_path / "models.yaml").write_bytes(shipped.read_bytes())
    (tmp_path / "gateway.yaml").write_text("include: [m.yaml]\n")
    return tmp_path / "gateway.yaml"


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(ASKED))
    return file


def prefilled(folder: Path) -> str:
    file = folder / "prefilled.json"
    file.write_text(json.dumps(PREFILLED))
    return str(file)


def test_the_first_line_answers_and_the_rest_tells_why(config: Path, request_file: Path) -> None:
    ran = run("explain-request", *WAY, str(request_file), "--config", str(config))
    assert (ran.code, ran.err) == (0, "")
    assert ran.first_line == "claude-opus-4-5-20251101 → claude-opus-4-7: served, with 1 change"
    assert "R1" in ran.out
    assert "E emulated" in ran.out
    assert '-  "temperature": 0.3,' in ran.out


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_terminal(config: Path, request_file: Path, width: int) -> None:
    columns = {"COLUMNS": str(width)}
    ran = run("explain-request", *WAY, str(request_file), "--config", str(config), env=columns)
    assert max(map(len, ran.out.splitlines())) <= width
    assert "sampling" in ran.out


def test_a_request_that_goes_as_it_is_is_said_to(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "same.json"
    file.write_text('{"model": "claude-opus-4-6", "messages": []}')
    way = ("--from", "claude-opus-4-6", "--to", "claude-opus-4-6")
    assert run("explain-request", *way, str(file), "--config", str(config)).first_line.endswith(
        ": goes on as it is"
    )


def test_the_policy_of_a_migration_and_its_tasks_holds(config: Path, tmp_path: Path) -> None:
    asked = ("explain-request", prefilled(tmp_path), "--config", str(config))
    kept = run(*asked, "--migration", "m")
    assert (kept.code, "control answers, because" in kept.first_line) == (0, True)
    assert "served, with" in run(*asked, "--migration", "m", "--task", "draft").first_line
    assert "served, with" in run(*asked, *WAY).first_line
    assert "control answers" in run(*asked, "--task", "other").first_line


def test_what_the_old_model_rejects_as_well_is_said(config: Path, request_file: Path) -> None:
    way = ("--from", "claude-opus-4-7", "--to", "claude-opus-4-8")
    ran = run("explain-request", *way, str(request_file), "--config", str(config))
    assert "the old model rejects it too" in ran.out


def test_a_program_gets_json(config: Path, request_file: Path) -> None:
    ran = run("explain-request", *WAY, str(request_file), "--config", str(config), "--json", "--beta", "b-1")
    told = json.loads(ran.out)
    assert (told["source"], told["target"]) == ("claude-opus-4-5-20251101", "claude-opus-4-7")
    assert [change["rule"] for change in told["changes"]] == ["sampling"]
    assert told["diff"][0].startswith("@@")


def test_a_request_can_come_from_standard_input(config: Path) -> None:
    arguments = ["explain-request", *WAY, "-", "--config", str(config), "--json"]
    result = CliRunner().invoke(app, arguments, input=json.dumps(ASKED), catch_exceptions=False)
    assert (result.exit_code, json.loads(result.stdout)["obstacle"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--from", "claude-opus-4-5"), "--to"),
        (("--from", "claude-opus-9", "--to", "claude-opus-5"), "claude-opus-9"),
        (("--migration", "other"), "other"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    config: Path, request_file: Path, arguments: tuple[str, ...], word: str
) -> None:
    ran = run("explain-request", *arguments, str(request_file), "--config", str(config))
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert word in ran.err


@pytest.mark.parametrize(("text", "word"), [("{", "JSON"), ("[]", "object"), (None, "cannot be read")])
def test_a_file_that_is_no_request_is_one_line(
    config: Path, tmp_path: Path, text: str | None, word: str
) -> None:
    file = tmp_path / "request.json"
    if text is not None:
        file.write_text(text)
    ran = run("explain-request", *WAY, str(file), "--config", str(config))
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert word in ran.err


def test_a_prompt_cannot_steer_the_terminal(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text('{"model": "x", "temperature": 0.3, "system": "\u202eevil"}')
    assert "\u202e" not in run("explain-request", *WAY, str(file), "--config", str(config)).out
