"""The documents are one set: read from where they say, checked together, taken whole or not at all."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import get_args

import pytest

from gateway.config import files, load, load_migration, warnings
from gateway.core.spec import CheckKind, Gates, MigrationSpec
from gateway.core.types import fingerprint, from_json, to_json
from tests.support.documents import Write, migration, problems_of, writer

STORED_BEFORE = Path(__file__).parent / "documents" / "stored_before.json"
"""What the shipped migration was kept as before stages could advance by themselves."""
SHIPPED = Path(__file__).parents[2] / "config"
TODAY = date(2026, 11, 1)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write gateway.yaml and what it names; return its path."""
    return writer(tmp_path)


# --- what ships -------------------------------------------------------------------------------------------


def test_the_shipped_configuration_is_the_interfaces_example() -> None:
    config = load(SHIPPED / "gateway.yaml")
    (spec,) = config.migrations
    assert (spec.name, spec.control, spec.candidate) == (
        "opus-4-5-to-5-5",
        "claude-opus-4-5-20251101",
        "claude-opus-5-5",
    )
    assert spec.models == ("claude-opus-4-5", "claude-opus-4-5-20251101")
    assert [(stage.name, stage.percent) for stage in spec.stages] == [
        ("internal", 0),
        ("canary", 5),
        ("early", 25),
        ("half", 50),
        ("full", 100),
    ]
    assert spec.gates == Gates()
    assert spec.lists.allow_tasks == ("internal",)
    assert (config.upstream_url, config.pin_ttl_s) == ("https://api.anthropic.com", 3600)


def test_the_shipped_configuration_warns_of_nothing_but_the_chat_that_everybody_has_to_name() -> None:
    assert warnings(load(SHIPPED / "gateway.yaml"), TODAY) == [
        "opus-4-5-to-5-5: on_rollback.notify: 'slack' is not configured under notify in gateway.yaml; "
        "it hears of nothing"
    ]


def test_what_the_shipped_configuration_shows_in_comments_is_valid(tmp_path: Path) -> None:
    shown = re.compile(r"^(  )# (- \{.*|[a-z]+: \{.*)$", re.MULTILINE)
    for name in ("gateway.yaml", "migrations/opus-4-5-to-5-5.yaml"):
        text = (SHIPPED / name).read_text("utf-8")
        assert shown.search(text)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        bare = re.sub(
            r"^(freeze: \[\]|notify: \{\})$", lambda empty: empty[0].split()[0], text, flags=re.MULTILINE
        )
        (tmp_path / name).write_text(shown.sub(r"\1\2", bare), "utf-8")
    (tmp_path / "models.yaml").write_bytes((SHIPPED / "models.yaml").read_bytes())
    (tmp_path / "migrations" / "schemas").mkdir()
    (tmp_path / "migrations" / "schemas" / "invoice.json").write_text('{"type": "object"}')
    config = load(tmp_path / "gateway.yaml")
    (spec,) = config.migrations
    assert [sink.name for sink in config.sinks] == ["slack", "ops"]
    assert {check.kind for check in spec.checks} == set(get_args(CheckKind))
    assert [freeze.name for freeze in spec.freeze] == ["nights", "holidays"]


# --- loading ----------------------------------------------------------------------------------------------


def test_an_empty_document_has_every_default(write: Write) -> None:
    config = load(write())
    assert config.migrations == ()
    assert (config.connect_timeout_s, config.first_byte_timeout_s, config.ping_after_s) == (5, 600, 15)
    assert (config.max_body_bytes, config.max_batch_bytes) == (32 * 1024 * 1024, 256 * 1024 * 1024)


def test_what_is_written_wins(write: Write) -> None:
    config = load(
        write(
            "upstream: {url: 'http://127.0.0.1:1/', connect_timeout: 1s, first_byte_timeout: 2m}\n"
            "limits: {body_mib: 0.5, batch_mib: 2}\nrelay: {ping_after: 3s}\npins: {idle_ttl: 2h}\n"
        )
    )
    assert config.upstream_url == "http://127.0.0.1:1"
    assert (config.connect_timeout_s, config.first_byte_timeout_s, config.ping_after_s) == (1, 120, 3)
    assert (config.max_body_bytes, config.max_batch_bytes, config.pin_ttl_s) == (524_288, 2 << 20, 7200)


def test_migrations_come_in_the_order_of_their_files(write: Write) -> None:
    path = write(b=migration("first", models="x"), a=migration("second", models="y"))
    assert [spec.name for spec in load(path).migrations] == ["second", "first"]
    assert [file.name for file in files(path)] == ["gateway.yaml", "models.yaml", "a.yaml", "b.yaml"]


def test_paths_are_relative_to_the_file_that_names_them_or_absolute(write: Write, tmp_path: Path) -> None:
    include = f"[one.yaml, '{tmp_path}/migrations/*.yaml', one.yaml]"
    path = write(f"catalogue: other/models.yaml\ninclude: {include}\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "models.yaml").rename(tmp_path / "other" / "models.yaml")
    (tmp_path / "one.yaml").write_text(migration("one", models="x"))
    (tmp_path / "migrations" / "two.yaml").write_text(migration("two", models="y"))
    assert [spec.name for spec in load(path).migrations] == ["one", "two"]


def test_a_file_that_is_named_must_exist(write: Write) -> None:
    path = write("catalogue: none.yaml\ninclude: [gone.yaml]\n")
    assert problems_of(load, path) == [
        "none.yaml: cannot be read: No such file or directory",
        "gone.yaml: cannot be read: No such file or directory",
    ]


def test_a_broken_root_is_watched_alone_until_it_is_mended(write: Write) -> None:
    path = write("include: [", a=migration())
    assert files(path) == (path,)
    path.write_text("")
    assert len(files(path)) == 3


def test_the_schemas_that_checks_name_are_watched_too(write: Write, tmp_path: Path) -> None:
    path = write(a=migration(more=", checks: [{kind: json_schema, schema_file: ../s.json}]"))
    (tmp_path / "s.json").write_text('{"type": "object"}')
    assert [file.name for file in files(path)] == ["gateway.yaml", "models.yaml", "a.yaml", "s.json"]
    (check,) = load(path).migrations[0].checks
    assert check.schema == '{"type": "object"}'


def test_broken_parts_are_watched_too(write: Write) -> None:
    assert len(files(write(models="[", a="["))) == 3


def test_all_documents_are_judged_before_any_is_refused(write: Write) -> None:
    path = write(models="models: []", a=migration(name="A"), b=migration(more=", stagse: 1"))
    assert [problem.partition(":")[0] for problem in problems_of(load, path)] == [
        "models.yaml",
        "migrations/a.yaml",
        "migrations/b.yaml",
    ]


# --- migrations against each other and the catalogue ------------------------------------------------------


def test_two_migrations_may_not_govern_one_id(write: Write) -> None:
    path = write(a=migration("a", models="old, x"), b=migration("b", models="y, x"))
    assert problems_of(load, path) == ["migrations/b.yaml: match.models: 'x' is governed by 'a' already"]


def test_two_migrations_may_not_share_a_name(write: Write) -> None:
    path = write(a=migration(models="x"), b=migration(models="y"))
    (problem,) = problems_of(load, path)
    assert problem.startswith("migrations/b.yaml: name: 'm' is taken by ")


@pytest.mark.parametrize("candidate", ["old", "old-20250101"])
def test_control_and_candidate_are_two_models(write: Write, candidate: str) -> None:
    assert problems_of(load, write(a=migration(candidate=candidate))) == [
        f"migrations/a.yaml: candidate: '{candidate}' is the same model as control, 'old-20250101'"
    ]


def test_a_model_that_nobody_knows_cannot_be_an_arm(write: Write) -> None:
    reason = "is not in the catalogue, and requests cannot be rewritten for a model that is not known"
    assert problems_of(load, write(a=migration(control="old-2025010", candidate="zzzzzz"))) == [
        f"migrations/a.yaml: control: 'old-2025010' {reason}; did you mean 'old-20250101'?",
        f"migrations/a.yaml: candidate: 'zzzzzz' {reason}",
    ]


# --- prompt variants ---------------------------------------------------------------------------------------


def test_prompt_variants_are_read_for_the_models_of_the_catalogue(write: Write, tmp_path: Path) -> None:
    path = write("prompts: [told/*.yaml]", a=migration())
    assert load(path).prompts == ()
    (tmp_path / "told").mkdir()
    versions = "versions: [{version: 1, mode: append, text: Be brief.}]"
    match = "match: {tasks: [t]}"
    for name, model in (("b", "new"), ("a", "old")):
        (tmp_path / "told" / f"{name}.yaml").write_text(
            f"{{name: {name}, models: [{model}], {match}, {versions}}}"
        )
    first, second = load(path).prompts
    assert (first.name, sorted(first.models)) == ("a", ["old", "old-20250101"])
    assert (second.name, sorted(second.models)) == ("b", ["new"])
    assert [file.name for file in files(path)[-2:]] == ["a.yaml", "b.yaml"]


def test_a_prompt_variant_that_cannot_be_is_refused_with_its_file(write: Write, tmp_path: Path) -> None:
    path = write("prompts: [p.yaml, q.yaml]", a=migration())
    version = "{version: 1, mode: append, text: Be brief.}"
    (tmp_path / "p.yaml").write_text(f"{{name: p, models: [odl], versions: [{version}, {version}]}}")
    (tmp_path / "q.yaml").write_text(f"{{name: p, models: [new], versions: [{version}], mode: append}}")
    assert problems_of(load, path) == [
        "p.yaml: versions[1].version: 1 stands twice",
        "p.yaml: models: 'odl' is not in the catalogue; did you mean 'old'?",
        "q.yaml: mode: unknown key; did you mean 'models'?",
    ]


def test_two_variants_for_the_same_requests_are_refused(write: Write, tmp_path: Path) -> None:
    path = write("prompts: [p.yaml, q.yaml]", a=migration())
    for name in ("p", "q"):
        said = f"{{name: {name}, models: [new], versions: [{{version: 1, mode: append, text: Hm.}}]}}"
        (tmp_path / f"{name}.yaml").write_text(said)
    (problem,) = problems_of(load, path)
    assert problem.startswith("q.yaml: match: the same requests have the variant 'p' already")


# --- drift ------------------------------------------------------------------------------------------------


def test_a_spec_that_went_through_the_store_has_the_same_fingerprint() -> None:
    spec = load_migration(SHIPPED / "migrations" / "opus-4-5-to-5-5.yaml")
    stored = from_json(to_json(spec), type(spec))
    assert stored == spec
    assert fingerprint(stored) == fingerprint(spec)


def test_spelling_and_order_do_not_change_a_fingerprint_and_a_value_does(tmp_path: Path) -> None:
    def fingerprint_of(more: str) -> str:
        (tmp_path / "m.yaml").write_text(migration(more=more))
        return fingerprint(load_migration(tmp_path / "m.yaml"))

    spelt = fingerprint_of(", gates: {breaker: {cost_ratio: {window: 60m}, error_rate: {max: 0.050}}}")
    assert spelt == fingerprint_of("") == fingerprint_of(", holdback: {percent: 0}")
    assert spelt != fingerprint_of(", gates: {breaker: {error_rate: {max: 0.051}}}")


def test_a_run_of_the_version_before_means_what_it_meant() -> None:
    """Its stored copy has none of the newer keys: what is not there is off, or at its default."""
    now = load_migration(SHIPPED / "migrations" / "opus-4-5-to-5-5.yaml")
    assert b"approval_by_another" not in STORED_BEFORE.read_bytes()
    stored = from_json(STORED_BEFORE.read_bytes(), MigrationSpec)
    assert stored.stages == now.stages
    assert stored.gates.rollback == {
        key: now.gates.rollback[key] for key in now.gates.rollback if key != "incomplete"
    }
    assert (stored.checks, stored.freeze, stored.notify, stored.checklist) == ((), (), (), "advisory")
    gates = replace(stored.gates, rollback=now.gates.rollback)
    assert fingerprint(
        replace(stored, gates=gates, checks=now.checks, checklist=now.checklist)
    ) == fingerprint(now)
