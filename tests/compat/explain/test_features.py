"""What the source takes, each target takes in its own words, or an obstacle says why not.

First feature by feature, against what the reference says by hand; then every two features together.
"""

from collections.abc import Iterator
from itertools import combinations

import pytest

from gateway.compat.catalog import Model
from gateway.compat.envelope import Envelope, Headers, parse
from gateway.compat.request import Context, obstacle, rewrite, violations
from gateway.core.types import to_json
from tests.support.features import ALL, FEATURES, KNOWN, PLAIN, Feature, Json, body_for, context_of, together
from tests.support.requests import KEEP
from tests.support.rows import CATALOGUE, EVERY_PAIR, name

MODELS = [model for model in CATALOGUE.models if model.lifecycle.status != "retired"]
PAIRS = [*EVERY_PAIR]


def by_name(feature: Feature) -> str:
    return feature.name


def headers_of(context: Context) -> Headers:
    return Headers(context.betas, context.version)


def test_the_tables_name_every_current_model_and_every_feature() -> None:
    assert {model.id for model in MODELS} == ALL
    assert KNOWN.keys() <= {feature.name for feature in FEATURES}
    assert len({feature.name for feature in FEATURES}) == len(FEATURES) >= 60


@pytest.mark.parametrize("feature", FEATURES, ids=by_name)
def test_the_rows_say_what_the_reference_says(feature: Feature) -> None:
    headers = headers_of(context_of(feature))
    body = {model.id: parse(to_json(body_for(model.id, feature))) for model in MODELS}
    accepted = {model.id for model in MODELS if not violations(body[model.id], model, headers)}
    assert accepted == feature.accepted_on


@pytest.mark.parametrize("feature", FEATURES, ids=by_name)
def test_what_the_source_takes_is_said_to_each_target_or_named(feature: Feature) -> None:
    context = context_of(feature)
    for source, target in PAIRS:
        if source.id not in feature.accepted_on:
            continue
        envelope = parse(to_json(body_for(source.id, feature)))
        hindrance = obstacle(envelope, source, target, KEEP, context)
        assert (hindrance is not None) is (target.id in feature.unservable_on), (source.id, target.id)
        if hindrance is not None:
            continue
        done = rewrite(envelope, source, target, KEEP, context)
        assert done.violations == (), (source.id, target.id)
        if target.id not in feature.accepted_on:
            rules = {change.rule for change in done.changes}
            assert rules & set(feature.rule.split("|")), (source.id, target.id, done.changes)


# --- two at once ------------------------------------------------------------------------------------------


TOGETHER = [(pair, fields) for pair in combinations(FEATURES, 2) if (fields := together(*pair)) is not None]


def check(pair: tuple[Feature, Feature], fields: Json, ways: Iterator[tuple[Model, Model]]) -> None:
    context = context_of(*pair)
    asked: dict[str, tuple[Envelope, bool]] = {}
    for source, target in ways:
        if any(source.id not in feature.accepted_on for feature in pair):
            continue
        if source.id not in asked:
            envelope = parse(to_json({"model": source.id, **PLAIN, **fields}))
            asked[source.id] = envelope, not violations(envelope, source, headers_of(context))
        envelope, accepted = asked[source.id]
        hindrance = obstacle(envelope, source, target, KEEP, context)
        done = rewrite(envelope, source, target, KEEP, context)
        if accepted and hindrance is None:
            told = " and ".join(feature.name for feature in pair), source.id, target.id
            assert done.violations == (), told
            assert rewrite(parse(done.body), target, target, KEEP).body is not None


@pytest.mark.timeout(120)
def test_two_features_at_once_are_said_together_on_a_sample_of_all_ways() -> None:
    """Each pair of features goes another few of the ways, so that all ways and all pairs are covered."""
    ways = len(PAIRS)
    for number, (pair, fields) in enumerate(TOGETHER):
        check(pair, fields, (PAIRS[(number * 7 + step * 53) % ways] for step in range(4)))


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("source", MODELS, ids=name)
def test_two_features_at_once_are_said_together_on_every_way(source: Model) -> None:
    for pair, fields in TOGETHER:
        check(pair, fields, ((source, target) for target in MODELS if target is not source))
