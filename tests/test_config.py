"""The documents are one set: read from where they say, checked together, taken whole or not at all."""

from datetime import date
from pathlib import Path

import pytest

from gateway.config import files, load, load_catalogue, load_migration, warnings
from gateway.core.spec import Gates
from gateway.core.types import fingerprint, from_json, to_json
from gateway.errors import ConfigError
from tests.support.documents import DEFAULTS, PRICES, UNJUDGED, Write, migration, problems_of, row, writer

SHIPPED = Path(__file__).parents[1] / "config"
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


def test_the_shipped_configuration_warns_of_nothing_but_what_people_still_do() -> None:
    (warning,) = warnings(load(SHIPPED / "gateway.yaml"), TODAY)
    assert warning == (
        f"opus-4-5-to-5-5: {UNJUDGED}: stages: hold, stages: min_units, stages: max_regression, "
        f"stages: approval, {DEFAULTS}, on_rollback.notify"
    )


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


def test_broken_parts_are_watched_too(write: Write) -> None:
    assert len(files(write(models="[", a="["))) == 3


def test_all_documents_are_judged_before_any_is_refused(write: Write) -> None:
    path = write(models="models: []", a=migration(name="A"), b=migration(more=", stagse: 1"))
    assert [problem.partition(":")[0] for problem in problems_of(load, path)] == [
        "models.yaml",
        "migrations/a.yaml",
        "migrations/b.yaml",
    ]


# --- YAML -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\nname: b\n", "line 2: key 'name' stands twice"),
        ("a: {b: 1, b: 2}", "line 1: key 'b' stands twice"),
        ("name: [", "line 1: expected the node content, but found '<stream end>'"),
        ("- a", "should be keys with values, not a list or a single value"),
        ("name: !!python/object:os.system x", "line 1: could not determine a constructor for the tag"),
    ],
)
def test_a_document_that_is_not_clean_yaml_says_where(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    (line,) = problems_of(load_migration, tmp_path / "m.yaml")
    assert line.startswith(f"m.yaml: {problem}")


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"name: \xff")
    assert problems_of(load_migration, tmp_path / "m.yaml") == ["m.yaml: is not UTF-8"]


def test_a_directory_is_no_document(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory$"):
        load(tmp_path)


def test_off_and_no_are_words(write: Write) -> None:
    model = load(write()).catalogue.find("new")
    assert model is not None
    assert (model.thinking.omitted, model.fast_mode) == ("off", "no")


# --- the catalogue ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"prices": PRICES.replace("5,", "-5,", 1)}, "prices: a price is not negative"),
        ({"effort": "{levels: [low], default: high}"}, "effort.default: is one of effort.levels"),
        ({"effort": "{default: high}"}, "effort.default: is one of effort.levels"),
        (
            {"sampling": "{accepts: defaults}"},
            "sampling.defaults: go with accepts: defaults, and only with it",
        ),
        (
            {"sampling": "{accepts: defaults, defaults: {topp: 1}}"},
            "sampling.defaults: only temperature, top_p and top_k",
        ),
        ({"lifecycle": "{status: retired}"}, "lifecycle.retires_on: a retired model has its date"),
        (
            {"prices": f"null\n    long_prices: {{above_prompt_tokens: 1, prices: {PRICES}}}"},
            "long_prices: needs prices for shorter prompts",
        ),
        ({"features": "[fallbacks]"}, "fallbacks: go with the feature fallbacks, and only with it"),
        ({"fallbacks": "[a]"}, "fallbacks: go with the feature fallbacks, and only with it"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(
    tmp_path: Path, changed: dict[str, str], problem: str
) -> None:
    (tmp_path / "models.yaml").write_text("models:" + row("a") + row("b", **changed))
    assert problems_of(load_catalogue, tmp_path / "models.yaml") == [f"models.yaml: models[1] (b): {problem}"]


@pytest.mark.parametrize("field", ["advisors", "fallbacks", "reads"])
@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("ab", "'ab' is not in the catalogue; did you mean 'abc'?"),
        ("nobody", "'nobody' is not in the catalogue"),
        ("abcd", "'abcd' is an alias; name the id 'abc'"),
    ],
)
def test_the_models_that_a_row_names_have_rows(tmp_path: Path, field: str, named: str, problem: str) -> None:
    features = {"features": "[fallbacks]"} if field == "fallbacks" else {}
    (tmp_path / "models.yaml").write_text(
        "models:" + row("abc", "abcd") + row("b", **{field: f"[{named}]"}, **features)
    )
    assert problems_of(load_catalogue, tmp_path / "models.yaml") == [
        f"models.yaml: models[1] (b): {field}: {problem}"
    ]


def test_an_id_in_two_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models:" + row("a", "b") + row("b"))
    assert problems_of(load_catalogue, tmp_path / "models.yaml") == [
        "models.yaml: model id 'b' stands in two rows: a and b"
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
