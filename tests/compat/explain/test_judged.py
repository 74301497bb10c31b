"""The simulator shares nothing with the rules but the catalogue, and judges what they make of each feature.

Without a server: a request and its rewriting are put before the simulator's own rules.
"""

import json
from collections.abc import Iterable

import pytest

from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.request import obstacle, rewrite
from gateway.core.types import to_json
from tests.support.features import FEATURES, PLAIN, Feature, Json, body_for, context_of, together
from tests.support.judged import verdict
from tests.support.requests import KEEP
from tests.support.rows import CATALOGUE, EVERY_PAIR, name

MODELS = [model for model in CATALOGUE.models if model.lifecycle.status != "retired"]
SHORT = [feature for feature in FEATURES if len(json.dumps(feature.fields)) < 10_000]
"""All but the prompt over 200K, whose tokens would take their time to count."""


def by_name(feature: Feature) -> str:
    return feature.name


@pytest.mark.parametrize("feature", SHORT, ids=by_name)
def test_the_simulator_takes_what_the_table_says_is_taken(feature: Feature) -> None:
    headers = {"betas": feature.betas, "version": feature.version}
    told = {model.id: verdict(body_for(model.id, feature), **headers) for model in MODELS}
    refused = {
        model_id: words for model_id, words in told.items() if model_id in feature.accepted_on and words
    }
    taken = {model_id for model_id, words in told.items() if not words} - feature.accepted_on
    assert (refused, taken) == ({}, LENIENT.get(feature.name, set()))


LENIENT = {
    # Nothing says what models without fallbacks do with the default; the simulator lets it pass.
    "fallbacks by default": {model.id for model in MODELS if "fallbacks_default" not in model.features},
}


def check(fields: Json, features: tuple[Feature, ...], ways: Iterable[tuple[Model, Model]]) -> None:
    """What the simulator takes from the source it takes from the target, in the words of the rules."""
    context = context_of(*features)
    headers = {"betas": context.betas, "version": context.version}
    for source, target in ways:
        body = {"model": source.id, **PLAIN, **fields}
        if verdict(body, **headers):
            continue
        envelope = parse(to_json(body))
        if obstacle(envelope, source, target, KEEP, context) is not None:
            continue
        done = rewrite(envelope, source, target, KEEP, context)
        betas = context.betas if done.betas is None else done.betas
        told = verdict(json.loads(done.body), betas=betas, version=context.version)
        assert told == "", (*(feature.name for feature in features), source.id, target.id)


def test_the_simulator_takes_every_feature_from_the_target_on_a_sample_of_all_ways() -> None:
    for number, feature in enumerate(SHORT):
        ways = (EVERY_PAIR[(number * 11 + step * 37) % len(EVERY_PAIR)] for step in range(24))
        check(feature.fields, (feature,), ways)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("source", MODELS, ids=name)
def test_the_simulator_takes_every_feature_from_every_target(source: Model) -> None:
    for feature in SHORT:
        check(feature.fields, (feature,), [way for way in EVERY_PAIR if way[0] is source])


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_simulator_takes_two_features_at_once_on_a_sample_of_all_ways() -> None:
    for number, one in enumerate(SHORT):
        for step, other in enumerate(SHORT[number + 1 :]):
            fields = together(one, other)
            ways = (EVERY_PAIR[(number * 7 + step * 53 + at * 101) % len(EVERY_PAIR)] for at in range(30))
            if fields is not None:
                check(fields, (one, other), ways)
