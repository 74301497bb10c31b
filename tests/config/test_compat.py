"""What compat may do, as it is written: policies with a word for single tasks, and prompt variants."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.compat.catalog import Model
from gateway.compat.envelope import Headers, encode, parse
from gateway.compat.explain.features import GROUPS, body_for
from gateway.compat.prompts import PromptVariant
from gateway.compat.request import Context, obstacle, rewrite, violations
from gateway.config.compat import (
    CompatDocument,
    PromptDocument,
    collisions,
    pointless,
    repetitions,
    to_policy,
    to_variants,
    unwise,
)
from gateway.config.shapes import validated
from gateway.core.spec import CompatPolicy, MigrationSpec, Stage
from gateway.core.types import fingerprint, from_json, to_json
from gateway.errors import ConfigError
from tests.support.rows import CATALOGUE, H45, O5, O45, O46, O55, S45

FILE = Path("m.yaml")
REPOSITORY = Path(__file__).parents[2]
EVERYTHING: dict[str, Any] = {
    "prefill": "control",
    "forced_tool": "reject",
    "unservable": "reject",
    "effort": "target_default",
    "thinking": "adopt",
    "unasked_thinking": "show",
    "model_field": "requested",
    "progress_notes": "text",
    "stop_reasons": "classic",
    "max_tokens_headroom": 0,
}
MAP = {"map": {"high": "medium", "max": "high"}}


def policy_of(**compat: Any) -> CompatPolicy:
    return to_policy(validated(CompatDocument, compat, FILE))


def problems_of(shape: Any, content: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validated(shape, content, FILE)
    return caught.value.message.splitlines()


# --- policies ---------------------------------------------------------------------------------------------


def test_what_is_not_written_is_the_interfaces_default() -> None:
    assert policy_of() == CompatPolicy()


def test_every_policy_finds_its_place() -> None:
    assert policy_of(**EVERYTHING) == CompatPolicy(**EVERYTHING)
    assert set(EVERYTHING) | {"effort_map", "tasks"} == set(CompatPolicy.__slots__)


def test_an_effort_may_be_a_map_of_levels() -> None:
    policy = policy_of(effort=MAP)
    assert (policy.effort, policy.effort_map) == ("map", MAP["map"])


def test_a_tasks_policy_is_the_migrations_with_its_own_words_kept_whole() -> None:
    policy = policy_of(prefill="control", effort=MAP, tasks={"sort": {"thinking": "adopt"}, "file": {}})
    assert policy.for_task("sort") == CompatPolicy(
        prefill="control", effort="map", effort_map=MAP["map"], thinking="adopt"
    )
    assert policy.for_task("file") == replace(policy, tasks={})
    assert policy.for_task("other") is policy.for_task("") is policy


def test_a_task_may_take_back_a_map_of_levels_or_bring_its_own() -> None:
    policy = policy_of(
        effort=MAP, tasks={"a": {"effort": "preserve"}, "b": {"effort": {"map": {"low": "low"}}}}
    )
    assert policy.for_task("a") == CompatPolicy()
    assert policy.for_task("b") == CompatPolicy(effort="map", effort_map={"low": "low"})


@pytest.mark.parametrize(
    ("compat", "problem"),
    [
        ({"prefill": "maybe"}, "m.yaml: prefill: Input should be 'emulate', 'control' or 'reject'"),
        ({"effort": "high"}, "m.yaml: effort: Input should be 'preserve' or 'target_default'"),
        ({"effort": {"high": "low"}}, "m.yaml: effort.map: is required"),
        ({"effort": {"map": {}}}, "m.yaml: effort.map: "),
        ({"effort": {"map": {"hihg": "low"}}}, "m.yaml: effort.map.hihg: Input should be 'low'"),
        ({"effort": {"map": {"high": "lwo"}}}, "m.yaml: effort.map.high: Input should be 'low'"),
        ({"effort_map": {"high": "low"}}, "m.yaml: effort_map: unknown key"),
        ({"max_tokens_headroom": -1}, "m.yaml: max_tokens_headroom: "),
        ({"max_tokens_headroom": 1.5}, "m.yaml: max_tokens_headroom: "),
        ({"tasks": ["a"]}, "m.yaml: tasks: should be keys with values"),
        ({"tasks": {"": {}}}, "m.yaml: tasks.: "),
        ({"tasks": {"a": {"prefil": "emulate"}}}, "m.yaml: tasks.a.prefil: unknown key; did you mean 'pre"),
        ({"tasks": {"a": {"tasks": {}}}}, "m.yaml: tasks.a.tasks: unknown key; known here: prefill, "),
        ({"tasks": {"a": None}}, "m.yaml: tasks.a: should be keys with values"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_where_it_stands(compat: dict[str, Any], problem: str) -> None:
    (line, *more) = problems_of(CompatDocument, compat)
    assert line.startswith(problem)
    assert not any("effort" not in each for each in more)


def test_a_policy_survives_the_store_and_one_of_an_older_version_loads() -> None:
    stages = (Stage("full", 100),)
    spec = MigrationSpec("m", "a", "b", ("a",), stages, compat=policy_of(**EVERYTHING, tasks={"t": {}}))
    stored = from_json(to_json(spec), MigrationSpec)
    assert stored == spec
    assert fingerprint(stored) == fingerprint(spec)
    older: dict[str, Any] = {"name": "m", "control": "a", "candidate": "b", "models": ["a"]}
    older |= {"stages": [{"name": "full", "percent": 100.0}], "compat": {"prefill": "control"}}
    assert from_json(to_json(older), MigrationSpec).compat == CompatPolicy(prefill="control")


def test_a_word_for_one_task_is_another_fingerprint() -> None:
    def printed(**compat: Any) -> str:
        return fingerprint(MigrationSpec("m", "a", "b", ("a",), (), compat=policy_of(**compat)))

    prints = [
        printed(),
        printed(tasks={"a": {}}),
        printed(tasks={"a": {"thinking": "adopt"}}),
        printed(effort=MAP),
    ]
    assert len(set(prints)) == len(prints)


def test_every_policy_stands_in_the_guide_and_with_its_default_in_the_shipped_file() -> None:
    guide = (REPOSITORY / "docs" / "migrating.md").read_text()
    assert [key for key in CompatDocument.model_fields if f"| `{key}` |" not in guide] == []
    shipped = yaml.safe_load((REPOSITORY / "config/migrations/opus-4-5-to-5-5.yaml").read_text())["compat"]
    assert shipped.keys() == CompatDocument.model_fields.keys()
    assert policy_of(**shipped) == CompatPolicy()


@pytest.mark.parametrize(
    ("control", "candidate", "compat", "lines"),
    [
        (O45, O55, {}, []),
        (O45, O55, EVERYTHING, []),
        (O46, O55, {"prefill": "control"}, ["prefill: 'control' makes no difference: claude-opus-5-5 rej"]),
        (O55, O45, {"forced_tool": "reject"}, ["forced_tool: 'reject' makes no difference: claude-opus-4-"]),
        (O5, O55, {"thinking": "adopt"}, ["thinking: 'adopt' makes no difference: claude-opus-5-5 means t"]),
        (O55, O45, {"max_tokens_headroom": 9}, ["max_tokens_headroom: 9 makes no difference: claude-opus"]),
        (
            O55,
            O45,
            {"unasked_thinking": "show"},
            ["unasked_thinking: 'show' makes no difference: claude-opus"],
        ),
        (
            O45,
            H45,
            {"progress_notes": "text"},
            ["progress_notes: 'text' makes no difference: claude-haiku-4-"],
        ),
        (O5, O55, {"unasked_thinking": "show"}, []),
        (O45, O55, {"effort": {"map": {"high": "low"}}}, []),
        (S45, O55, {"effort": {"map": {"high": "low"}}}, []),
        (S45, O55, {"effort": {"map": {"low": "low"}}}, ["effort.map.low: is no level of claude-sonnet-4-5"]),
        (O55, O45, {"effort": {"map": {"high": "max"}}}, ["effort.map.high: 'max' is no level of claude-op"]),
        (O45, H45, {"effort": {"map": {"high": "low"}}}, ["effort.map: makes no difference: claude-haiku-"]),
        (O45, O55, {"tasks": {"a": {"effort": "preserve"}}}, ["tasks.a: says nothing but what holds witho"]),
        (
            O46,
            O55,
            {"prefill": "control", "tasks": {"a": {"thinking": "adopt"}, "b": {"prefill": "reject"}}},
            ["prefill: 'control' makes", "tasks.b.prefill: 'reject' makes no difference"],
        ),
    ],
)
def test_what_cannot_matter_between_two_models_is_named(
    control: Model, candidate: Model, compat: dict[str, Any], lines: list[str]
) -> None:
    found = list(pointless(policy_of(**compat), control, candidate))
    assert len(found) == len(lines)
    for line, beginning in zip(found, lines, strict=True):
        assert line.startswith(f"compat.{beginning}")


CURRENT = [model for model in CATALOGUE.models if model.lifecycle.status != "retired"]
FEATURES = [feature for group in GROUPS.values() for feature in group]


@pytest.mark.parametrize(
    "compat",
    [
        {"prefill": "control"},
        {"forced_tool": "control"},
        {"thinking": "adopt"},
        {"unasked_thinking": "show"},
        {"progress_notes": "text"},
        {"max_tokens_headroom": 0},
    ],
    ids=str,
)
def test_what_is_named_makes_no_difference_to_any_request(compat: dict[str, Any]) -> None:
    pairs = [(source, target) for source in CURRENT for target in CURRENT if source is not target]
    useless = [pair for pair in pairs if list(pointless(policy_of(**compat), *pair))]
    assert 0 < len(useless) < len(pairs)
    for source, target in useless[:: len(useless) // 12]:
        for feature in FEATURES:
            envelope = parse(bytes(encode(body_for(source.id, feature))))
            context = Context(betas=feature.betas, version=feature.version)
            if violations(envelope, source, Headers(feature.betas, feature.version)):
                continue
            said = [
                judge(envelope, source, target, policy, context)
                for policy in (policy_of(), policy_of(**compat))
                for judge in (obstacle, rewrite)
            ]
            assert said[:2] == said[2:], (source.id, target.id, feature.name)


# --- prompt variants --------------------------------------------------------------------------------------

FIRST = {"version": 1, "mode": "append", "text": "\nBe brief.\n"}
SECOND = {"version": 2, "mode": "replace", "text": "Sort."}
HASH = sha256(b"You sort letters.").hexdigest()
VARIANT: dict[str, Any] = {"name": "brief", "models": ["claude-opus-5-5"], "versions": [FIRST, SECOND]}


def variants_of(**changed: Any) -> tuple[PromptVariant, ...]:
    return to_variants(validated(PromptDocument, {**VARIANT, **changed}, FILE), CATALOGUE)


def test_each_version_of_a_variant_stands_by_itself() -> None:
    first, second = variants_of(match={"tasks": ["sort"], "system_sha256": HASH})
    assert (first.name, first.version, first.mode, first.text) == ("brief", 1, "append", "Be brief.")
    assert (second.name, second.version, second.mode, second.text) == ("brief", 2, "replace", "Sort.")
    assert first.tasks == second.tasks == {"sort"}
    assert first.system_sha256 == second.system_sha256 == HASH


def test_a_variant_is_for_every_name_of_its_models() -> None:
    (first, _) = variants_of(models=["claude-opus-4-5"])
    assert first.models == {O45.id, *O45.aliases}
    assert (first.tasks, first.system_sha256) == (frozenset(), None)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"versions": []}, "versions: needs at least one entry"),
        ({"versions": [{**FIRST, "version": 0}]}, "versions[0].version: "),
        ({"versions": [{**FIRST, "mode": "prepend"}]}, "versions[0].mode: Input should be 'append' or 'rep"),
        ({"versions": [{**FIRST, "text": " \n"}]}, "versions[0].text: "),
        ({"versions": [{**FIRST, "text": "\ud800"}]}, "versions[0].text: "),
        ({"versions": [{**FIRST, "words": "x"}]}, "versions[0].words: unknown key; known here: version, mo"),
        ({"models": []}, "models: needs at least one entry"),
        ({"name": "Be brief"}, "name: "),
        ({"match": {"tasks": []}}, "match.tasks: needs at least one entry"),
        ({"match": {"system_sha256": "abc"}}, "match.system_sha256: "),
        ({"match": {"system": "abc"}}, "match.system: unknown key; did you mean 'system_sha256'?"),
    ],
)
def test_a_variant_that_cannot_be_is_refused_where_it_stands(changed: dict[str, Any], problem: str) -> None:
    (line,) = problems_of(PromptDocument, {**VARIANT, **changed})
    assert line.startswith(f"m.yaml: {problem}")


def test_a_version_stands_once() -> None:
    document = validated(PromptDocument, {**VARIANT, "versions": [FIRST, SECOND, FIRST]}, FILE)
    assert list(repetitions(document)) == ["versions[2].version: 1 stands twice"]


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        ({"name": "brief"}, "b.yaml: name: 'brief' is taken by a.yaml"),
        ({}, "b.yaml: match: the same requests have the variant 'brief' already, in a.yaml"),
        ({"models": ["claude-opus-4-5", "claude-opus-5-5"]}, "b.yaml: match: the same requests"),
        ({"models": ["claude-opus-4-5"]}, None),
        ({"match": {"tasks": ["a"]}}, None),
    ],
)
def test_two_variants_share_neither_a_name_nor_their_requests(other: Any, problem: str | None) -> None:
    sources = [(Path("a.yaml"), variants_of()), (Path("b.yaml"), variants_of(**{"name": "long", **other}))]
    found = list(collisions(sources))
    assert len(found) == (problem is not None)
    assert problem is None or found[0].startswith(problem)


@pytest.mark.parametrize(
    ("one", "two", "compete"),
    [
        ({"tasks": ["a", "b"]}, {"tasks": ["b", "c"]}, True),
        ({"tasks": ["a"]}, {"tasks": ["b"]}, False),
        ({"system_sha256": HASH}, {"system_sha256": HASH}, True),
        ({"system_sha256": HASH}, {"system_sha256": HASH, "tasks": ["a"]}, False),
        ({"system_sha256": HASH}, {"tasks": ["a"]}, False),
    ],
)
def test_variants_compete_where_none_of_them_is_closer(one: Any, two: Any, compete: bool) -> None:
    sources = [(FILE, variants_of(match=one)), (FILE, variants_of(name="long", match=two))]
    assert bool(list(collisions(sources))) is compete


def test_a_variant_that_nothing_serves_or_that_everything_gets_is_probably_not_meant() -> None:
    spec = MigrationSpec("m", O45.id, O55.id, (O45.id,), (Stage("full", 100),))
    assert list(unwise(variants_of(match={"tasks": ["a"]}), [spec])) == []
    assert list(unwise(variants_of(match={"tasks": ["a"]}), [])) == [
        "prompts: brief: is for models that no migration serves"
    ]
    assert list(unwise(variants_of(), [spec])) == [
        "prompts: brief: has no match, so every request of its models gets it"
    ]
