"""The documents can be checked and the catalogue read without a gateway."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.compat.catalog import Catalogue
from tests.support.command import Ran, run
from tests.support.rows import CATALOGUE, O55
from tests.support.upstream import running_simulator

CONFIG = Path(__file__).parents[2] / "config"
MIGRATION = """
name: opus-4-5-to-5-5
control: claude-opus-4-5-20251101
candidate: claude-opus-5-5
match: {models: [claude-opus-4-5]}
stages: [{name: full, percent: 100}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with the shipped catalogue and one migration."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "opus.yaml").write_text(MIGRATION)
    (tmp_path / "models.yaml").write_bytes((CONFIG / "models.yaml").read_bytes())
    (tmp_path / "gateway.yaml").write_text("include: [migrations/*.yaml]\n")
    return tmp_path / "gateway.yaml"


def test_a_valid_configuration_is_said_to_be(config: Path) -> None:
    ran = run("check", "--config", str(config))
    assert (ran.code, ran.err) == (0, "")
    assert ran.first_line.startswith(f"{config} is valid: 1 migration, ")


def test_how_a_migration_climbs_is_told(config: Path) -> None:
    file = config.parent / "migrations" / "opus.yaml"
    by_hand = run("check", "--config", str(config)).out
    assert "migration opus-4-5-to-5-5: is advanced by hand\n  full 100 %\n" in by_hand
    file.write_text(MIGRATION.replace("[{name: full, percent: 100}]", "internal"))
    lines = run("check", "--config", str(config)).out.splitlines()
    assert lines[1:6] == [
        "migration opus-4-5-to-5-5: plan internal, climbs by itself",
        "  internal 0 %: hold 3d",
        "  canary 5 %: hold 2d, 200 units",
        "  half 50 %: hold 5d, 2000 units",
        "  full 100 %",
    ]
    (told,) = json.loads(run("check", "--config", str(config), "--json").out)["migrations"]
    assert (told["plan"], told["automatic"], len(told["stages"])) == ("internal", True, 4)


def test_warnings_are_told_and_do_not_fail(config: Path) -> None:
    file = config.parent / "migrations" / "opus.yaml"
    file.write_text(MIGRATION.replace("claude-opus-4-5-20251101", "claude-opus-4-1-20250805"))
    ran = run("check", "--config", str(config))
    assert (ran.code, "warning: " in ran.out, "retired" in ran.out) == (0, True, True)
    assert json.loads(run("check", "--config", str(config), "--json").out)["warnings"]


def test_every_error_is_a_line_and_fails(config: Path) -> None:
    file = config.parent / "migrations" / "opus.yaml"
    file.write_text(MIGRATION.replace("100", "300").replace("stages:", "stage:\nstages:"))
    ran = run("check", "--config", str(config))
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 2)
    answer = json.loads(run("check", "--config", str(config), "--json").out)
    assert (answer["ok"], len(answer["errors"])) == (False, 2)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    ran = run("check", "--config", str(tmp_path / "none.yaml"))
    assert (ran.code, "none.yaml" in ran.err) == (2, True)


def test_the_environment_names_the_file_too(config: Path) -> None:
    assert run("check", env={"GATEWAY_CONFIG": str(config)}).code == 0


VARIANT = """
name: brief
models: [claude-opus-5-5]
match: {tasks: [sort, file], system_sha256: %s}
versions:
  - {version: 2, mode: replace, text: Sort these secret letters.}
  - {version: 1, mode: append, text: Be brief.}
"""


def test_prompt_variants_are_listed_without_what_they_say(config: Path) -> None:
    (config.parent / "prompts").mkdir()
    (config.parent / "prompts" / "brief.yaml").write_text(VARIANT % ("ab" * 32))
    ran = run("check", "--config", str(config))
    assert ran.code == 0
    assert ran.first_line.endswith(", 1 prompt variant")
    assert ran.out.splitlines()[1] == (
        "prompt variant brief: version 2 (kept for older conversations: 1) replaces 26 characters for "
        "claude-opus-5-5; task file, task sort, system prompt abababababab…"
    )
    shown = json.loads(run("check", "--config", str(config), "--json").out)["prompts"]
    assert [(each["name"], each["version"], each["mode"]) for each in shown] == [
        ("brief", 2, "replace"),
        ("brief", 1, "append"),
    ]
    assert "secret" not in ran.out + json.dumps(shown)


@pytest.mark.parametrize(
    "content",
    [
        b"You sort letters.\n",
        b'{"system": "You sort letters."}',
        b'{"model": "a", "messages": [], "system": [{"type": "text", "text": "You sort letters."}]}',
    ],
)
def test_the_hash_of_a_system_prompt_is_that_of_its_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prompt").write_bytes(content)
    assert run("system-hash", str(tmp_path / "prompt")).out == f"{sha256(b'You sort letters.').hexdigest()}\n"


@pytest.mark.parametrize("content", [b"", b" \n", b'{"messages": []}', b'{"system": 7}', None])
def test_what_holds_no_system_prompt_has_no_hash(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "prompt").write_bytes(content)
    ran = run("system-hash", str(tmp_path / "prompt"))
    assert (ran.code, ran.out, str(tmp_path / "prompt") in ran.err) == (2, "", True)


def test_models_are_listed(config: Path) -> None:
    out = run("models", "list", "--config", str(config)).out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("claude-opus-5-5 ")]
    assert (row[1], row[3:]) == ("opus", ["active", "4", "20", "1M"])
    listed = json.loads(run("models", "list", "--config", str(config), "--json").out)["data"]
    assert "claude-haiku-5-5" in [model["id"] for model in listed]


def test_a_model_is_shown_by_id_and_by_alias(config: Path) -> None:
    by_id, by_alias = (
        run("models", "show", name, "--config", str(config)).out
        for name in ("claude-opus-4-5-20251101", "claude-opus-4-5")
    )
    assert by_id == by_alias
    for part in ("Claude Opus 4.5", "5 in, 25 out", "200K in, 64K out", "prefill", "accepted"):
        assert part in by_id


def test_what_differs_between_models_is_shown(config: Path) -> None:
    shown = run("models", "show", "claude-sonnet-5-5", "--config", str(config)).out
    for part in (
        "task_budgets",
        "computer_20251124",
        "claude-opus-5-5",
        "and to its account",
        "since 2026-08-31",
    ):
        assert part in shown


@pytest.mark.parametrize("name", ["claude-opus-4", "claude-opus-5-5-x", ""])
def test_an_unknown_model_is_not_guessed(config: Path, name: str) -> None:
    ran = run("models", "show", name, "--config", str(config))
    assert (ran.code, "models list" in ran.err) == (2, True)


# --- models sync ------------------------------------------------------------------------------------------


def sync(config: Path, url: str, *arguments: str) -> Ran:
    env = {"GATEWAY_UPSTREAM_URL": url, "GATEWAY_UPSTREAM_API_KEY": "key-of-ours"}
    return run("models", "sync", "--config", str(config), *arguments, env=env)


def test_a_catalogue_that_agrees_with_the_live_list_is_said_to(config: Path) -> None:
    with running_simulator() as upstream:
        ran = sync(config, upstream.url)
        (asked,) = upstream.requests(path="/v1/models")
    assert (ran.code, ran.err) == (0, "")
    count = len(CATALOGUE.models)
    assert ran.out == f"the catalogue ({count} models) and {upstream.url} ({count} listed) agree\n"
    assert asked.header("x-api-key") == "key-of-ours"


def test_every_difference_is_a_row_and_the_catalogue_stays_as_it_is(config: Path) -> None:
    before = (config.parent / "models.yaml").read_bytes()
    with running_simulator(changed()) as upstream:
        ran = sync(config, upstream.url)
        answer = sync(config, upstream.url, "--json")
    assert (ran.code, answer.code, ran.err) == (1, 1, "")
    assert ran.first_line.endswith("listed) differ in 3 points")
    rows = [line.split() for line in ran.out.splitlines()[2:]]
    assert rows == [
        ["claude-opus-5-5", "max_output_tokens", "128000", "256000"],
        ["claude-haiku-5-5", "listed", "active", "not", "listed"],
        ["claude-opus-6", "listed", "not", "in", "the", "catalogue", "listed"],
    ]
    told = json.loads(answer.out)
    assert [drift["model"] for drift in told["data"]] == [row[0] for row in rows]
    assert told["counts"] == {"catalogue": len(CATALOGUE.models), "listed": len(CATALOGUE.models)}
    assert (config.parent / "models.yaml").read_bytes() == before


def changed() -> Catalogue:
    """The vendor's side: more output, one model gone, one new."""
    larger = replace(O55, max_output_tokens=256_000)
    rows = [larger if row is O55 else row for row in CATALOGUE.models if row.id != "claude-haiku-5-5"]
    return Catalogue([*rows, replace(O55, id="claude-opus-6", aliases=())])


def test_a_list_that_cannot_be_read_is_one_line(config: Path) -> None:
    with running_simulator() as upstream:
        url = upstream.url
        upstream.set_faults("kind=server_error,path=/v1/models")
        ran = sync(config, url)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"gateway: {url} does not list its models (HTTP 500)\n"
    gone = sync(config, url)
    assert (gone.code, gone.out, gone.err) == (2, "", f"gateway: no connection to {url}\n")


def test_without_a_key_there_is_no_list_to_compare_with(config: Path) -> None:
    ran = run("models", "sync", "--config", str(config), env={"GATEWAY_UPSTREAM_API_KEY": ""})
    assert (ran.code, ran.out, "GATEWAY_UPSTREAM_API_KEY" in ran.err) == (2, "", True)
    assert len(ran.err.splitlines()) == 1
