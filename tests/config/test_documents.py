"""Documents are validated whole, with one sentence per problem that says where and what."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.documents import (
    CatalogueDocument,
    GatewayDocument,
    MigrationDocument,
    inconsistencies,
    to_spec,
)
from gateway.config.shapes import Document, validated
from gateway.core.spec import (
    CompatPolicy,
    Holdback,
    Lists,
    MigrationSpec,
    OnRollback,
    Stage,
)
from gateway.errors import ConfigError

FILE = Path("m.yaml")
MINIMAL: dict[str, Any] = {
    "name": "m",
    "control": "old",
    "candidate": "new",
    "match": {"models": ["old"]},
    "stages": [{"name": "full", "percent": 100}],
}


def spec_of(**more: Any) -> MigrationSpec:
    return to_spec(validated(MigrationDocument, {**MINIMAL, **more}, FILE))


def problems_of(**more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        spec_of(**more)
    return caught.value.message.splitlines()


def test_a_minimal_migration_has_the_defaults_of_the_interface() -> None:
    stages = (Stage("full", 100.0),)
    assert spec_of() == MigrationSpec("m", "old", "new", ("old",), stages, checklist="required")


def test_every_option_finds_its_place() -> None:
    spec = spec_of(
        unit=["user", "api_key"],
        lists={"allow_users": ["a"], "deny_users": ["b"]},
        compat={"prefill": "reject", "thinking": "adopt"},
        stages=[
            {"name": "canary", "percent": 5, "hold": "48h", "min_units": 200, "max_regression": 0.03},
            {"name": "half", "percent": 50.5, "hold": "5d", "approval": True},
        ],
        on_rollback={"mode": "drain", "notify": ["slack"]},
        holdback={"percent": 2, "until": "2027-01-01"},
        notify=["ops"],
        checklist="advisory",
    )
    assert (spec.notify, spec.checklist) == (("ops",), "advisory")
    assert spec.unit == ("user", "api_key")
    assert spec.lists == Lists(allow_users=("a",), deny_users=("b",))
    assert spec.compat == CompatPolicy(prefill="reject", thinking="adopt")
    assert spec.stages == (
        Stage("canary", 5, 172_800, 200, 0.03),
        Stage("half", 50.5, 432_000, approval=True),
    )
    assert spec.on_rollback == OnRollback("drain", ("slack",))
    assert spec.holdback == Holdback(2, "2027-01-01")


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["name", "control", "candidate", "match", "stages"])
def test_five_keys_are_required(missing: str) -> None:
    document = {key: value for key, value in MINIMAL.items() if key != missing}
    with pytest.raises(ConfigError, match=f"^m.yaml: {missing}: is required$"):
        validated(MigrationDocument, document, FILE)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"stagse": []}, "m.yaml: stagse: unknown key; did you mean 'stages'?"),
        (
            {"match": {"models": ["a"], "model": "a"}},
            "m.yaml: match.model: unknown key; did you mean 'models'?",
        ),
        (
            {"stages": [{"name": "a", "percent": 1, "holds": "3d"}]},
            "m.yaml: stages[0].holds: unknown key; did you mean 'hold'?",
        ),
        (
            {"gates": {"breaker": {"error_rates": {"max": 1}}}},
            "m.yaml: gates.breaker.error_rates: unknown key; did you mean 'error_rate'?",
        ),
        (
            {"gates": {"breaker": {"error_rate": {"maxx": 1}}}},
            "m.yaml: gates.breaker.error_rate.maxx: unknown key; did you mean 'max'?",
        ),
        ({"compat": {"prefil": "emulate"}}, "m.yaml: compat.prefil: unknown key; did you mean 'prefill'?"),
        (
            {"lists": {"zzz": []}},
            "m.yaml: lists.zzz: unknown key; known here: allow_users, allow_tasks, deny_users",
        ),
        (
            {"gates": {"hold": {"require": "non_inferior"}}},
            "m.yaml: gates.hold.require: unknown key; known here: ttft, slow_share, cost, output_tokens",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_meant(more: dict[str, Any], problem: str) -> None:
    assert problems_of(**more) == [problem]


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"name": "Opus 5"}, "name"),
        ({"name": "-a"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"control": ""}, "control"),
        ({"match": {"models": []}}, "match.models"),
        ({"stages": []}, "stages"),
        ({"stages": [{"name": "a", "percent": 101}]}, "stages[0].percent"),
        ({"stages": [{"name": "a", "percent": -1}]}, "stages[0].percent"),
        ({"stages": [{"name": "a", "percent": float("nan")}]}, "stages[0].percent"),
        ({"stages": [{"name": "a", "percent": 1, "hold": 30}]}, "stages[0].hold"),
        ({"stages": [{"name": "a", "percent": 1, "min_units": -1}]}, "stages[0].min_units"),
        ({"unit": []}, "unit"),
        ({"unit": ["cookie"]}, "unit[0]"),
        ({"compat": {"prefill": "maybe"}}, "compat.prefill"),
        ({"gates": {"breaker": {"error_rate": {"window": "0s"}}}}, "gates.breaker.error_rate.window"),
        ({"gates": {"rollback": {"alpha": 1}}}, "gates.rollback.alpha"),
        ({"gates": {"hold": {"cost": {"max_ratio": 0}}}}, "gates.hold.cost.max_ratio"),
        ({"on_rollback": {"mode": "leave"}}, "on_rollback.mode"),
        ({"holdback": {"percent": 2, "until": "soon"}}, "holdback.until"),
        ({"lists": None}, "lists"),
    ],
)
def test_a_value_that_cannot_be_is_refused_where_it_stands(more: dict[str, Any], where: str) -> None:
    (problem,) = problems_of(**more)
    assert problem.startswith(f"m.yaml: {where}: ")


def test_every_problem_has_its_line() -> None:
    assert len(problems_of(name="A", unit=["cookie"], stage=[])) == 3


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            {"stages": [{"name": "a", "percent": 5}, {"name": "a", "percent": 6}]},
            "stages[1].name: 'a' stands twice",
        ),
        (
            {"stages": [{"name": "a", "percent": 5}, {"name": "b", "percent": 5}]},
            "stages[1].percent: 5 is not above 5",
        ),
        ({"unit": ["user", "user"]}, "unit: 'user' stands twice"),
        ({"match": {"models": ["old", "old"]}}, "match.models: 'old' stands twice"),
        ({"notify": ["ops", "ops"]}, "notify: 'ops' stands twice"),
        ({"on_rollback": {"notify": ["ops", "ops"]}}, "on_rollback.notify: 'ops' stands twice"),
        (
            {"freeze": [{"name": "a", "days": ["sat"]}, {"name": "a", "days": ["sun"]}]},
            "freeze[1].name: 'a' stands twice",
        ),
        (
            {"shadow": {"percent": 5}},
            "shadow.percent: shadow traffic is not supported yet; leave it at 0",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_named(more: dict[str, Any], problem: str) -> None:
    assert list(inconsistencies(spec_of(**more))) == [problem]


def test_a_ramp_may_end_below_everything() -> None:
    stages = [{"name": "watch", "percent": 0}, {"name": "some", "percent": 20}]
    assert list(inconsistencies(spec_of(stages=stages))) == []


# --- the other documents ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "api.anthropic.com",
        "ftp://host",
        "https://",
        "https://user:pw@host",
        "https://host?key=1",
        "https://a b",
        "http://host:99999",
        "http://host:abc",
    ],
)
def test_an_upstream_is_a_plain_http_url(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^g.yaml: upstream.url: ") as caught:
        validated(GatewayDocument, {"upstream": {"url": url}}, Path("g.yaml"))
    assert "pw" not in caught.value.message


@pytest.mark.parametrize("shape", [MigrationDocument, GatewayDocument, CatalogueDocument])
@pytest.mark.parametrize("content", [["a"], "a", 1])
def test_a_document_of_another_shape_is_refused_in_the_words_of_yaml(
    shape: type[Document], content: object
) -> None:
    with pytest.raises(ConfigError) as caught:
        validated(shape, content, Path("x.yaml"))
    assert caught.value.message == "x.yaml: should be keys with values, not a list or a single value"


def test_so_are_its_parts() -> None:
    with pytest.raises(ConfigError) as caught:
        validated(MigrationDocument, {**MINIMAL, "match": [], "unit": "user", "lists": 3}, FILE)
    assert sorted(caught.value.message.splitlines()) == [
        f"{FILE}: lists: should be keys with values, not a list or a single value",
        f"{FILE}: match: should be keys with values, not a list or a single value",
        f"{FILE}: unit: should be a list",
    ]


def test_a_catalogue_row_is_checked_to_its_leaves() -> None:
    content = {"models": [{"id": "a", "prices": {"input": "cheap", "inptu": 1}}]}
    with pytest.raises(ConfigError) as caught:
        validated(CatalogueDocument, content, Path("c.yaml"))
    problems = caught.value.message.splitlines()
    assert "c.yaml: models[0].prices.inptu: unknown key; did you mean 'input'?" in problems
    assert "c.yaml: models[0].prices.output: is required" in problems
    assert "c.yaml: models[0].thinking: is required" in problems
    assert any(
        problem.startswith("c.yaml: models[0].prices.input: Input should be a valid number")
        for problem in problems
    )


def test_lists_inside_the_lists_of_a_row_are_taken_apart() -> None:
    plain = (Path(__file__).parents[2] / "config" / "models.yaml").read_text()
    (row, *_) = yaml.safe_load(plain)["models"]
    nested = {
        **row,
        "features": [["fallbacks", ["tool_changes"]], [], "compaction"],
        "reads": [["a", "b"], "c"],
    }
    (model,) = validated(CatalogueDocument, {"models": [nested]}, FILE).models
    assert model.features == {"fallbacks", "tool_changes", "compaction"}
    assert model.reads == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"features": [["compactoin"]]}, "m.yaml: models[0].features"),
        ({"features": "fallbacks"}, "m.yaml: models[0].features"),
        ({"checks_prefix": "sometimes"}, "m.yaml: models[0].checks_prefix"),
        ({"advisers": []}, "m.yaml: models[0].advisers: unknown key; did you mean 'advisors'?"),
    ],
)
def test_a_row_that_says_what_it_may_not_is_refused(changed: dict[str, Any], problem: str) -> None:
    (row, *_) = yaml.safe_load((Path(__file__).parents[2] / "config" / "models.yaml").read_text())["models"]
    with pytest.raises(ConfigError) as caught:
        validated(CatalogueDocument, {"models": [{**row, **changed}]}, FILE)
    assert caught.value.message.startswith(problem)


def test_a_catalogue_is_a_list_of_rows() -> None:
    with pytest.raises(ConfigError, match=r"^m.yaml: models: "):
        validated(CatalogueDocument, {"models": {"id": "a"}}, FILE)
    with pytest.raises(ConfigError, match=r"^m.yaml: models\[0\]: "):
        validated(CatalogueDocument, {"models": ["a"]}, FILE)
