"""Any two features together, spelled in any way: nothing is touched that no rule names, and nothing twice."""

import json
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.request import PROMPT, RULES, Context, obstacle, rewrite
from gateway.core.spec import CompatPolicy
from tests.support.features import FEATURES, PLAIN, Feature, Json, context_of, together
from tests.support.rows import CATALOGUE, EVERY_PAIR
from tests.support.spelling import oddly, raw_fields, raw_items

TOUCHES: dict[str, set[str]] = {
    "speed": {"speed"},
    "betas": set(),
    "tool_version": {"tools", "tool_choice", "messages"},
    "advisor": {"tools", "tool_choice"},
    "strict": {"tools"},
    "output_format": {"output_format", "output_config"},
    "task_budget": {"output_config"},
    "compaction": {"context_management"},
    "fallbacks": {"fallbacks"},
    "service_tier": {"service_tier"},
    "inference_geo": {"inference_geo"},
    "thinking": {"thinking", "output_config"},
    "display": {"thinking"},
    "effort": {"output_config"},
    "sampling": {"temperature", "top_p", "top_k"},
    "forced_tool": {"messages", "tools", "tool_choice", "output_config"},
    "prefill": {"messages", "tool_choice", "tools", "output_config"},
    "system_turns": {"messages"},
    "unasked_thinking": set(),
    "progress_notes": {"thinking"},
    "stop_reasons": set(),
    "max_tokens": {"max_tokens", "thinking"},
    "model_field": set(),
}
"""By rule: the fields that it may change."""

ASKED = [feature for feature in FEATURES if len(json.dumps(feature.fields)) < 10_000]
TWO = st.tuples(st.sampled_from(ASKED), st.sampled_from(ASKED))
WAYS = st.sampled_from(EVERY_PAIR)
POLICIES = st.builds(
    CompatPolicy,
    effort=st.sampled_from(["preserve", "target_default"]),
    thinking=st.sampled_from(["preserve", "adopt"]),
    unasked_thinking=st.sampled_from(["hide", "show"]),
    progress_notes=st.sampled_from(["pass", "text"]),
    stop_reasons=st.sampled_from(["pass", "classic"]),
    model_field=st.sampled_from(["served", "requested"]),
)
SECRET = "s3cr3t"


def asked(two: tuple[Feature, Feature]) -> tuple[Json, Context]:
    fields = together(*two)
    assume(fields is not None)
    return {"model": "anything", **PLAIN, **(fields or {})}, context_of(*two)


def test_every_rule_is_known_by_what_it_may_touch() -> None:
    assert TOUCHES.keys() >= {rule.name for rule in RULES if rule is not PROMPT}


@settings(max_examples=500, deadline=None)
@given(TWO, WAYS, POLICIES, st.randoms(use_true_random=False))
def test_nothing_is_touched_but_what_a_rule_names(
    two: tuple[Feature, Feature], way: tuple[Model, Model], policy: CompatPolicy, random: Random
) -> None:
    body, context = asked(two)
    spelled = oddly(body, random).encode()
    done = rewrite(parse(spelled), *way, policy, context)
    before, after = raw_fields(spelled), raw_fields(done.body)
    touched = {"model"}.union(*(TOUCHES[change.rule] for change in done.changes))
    assert [key for key in after if key in before] == [key for key in before if key in after]
    assert {key for key in before.keys() | after.keys() if after.get(key) != before.get(key)} <= touched
    for name in ("messages", "tools"):
        if name in before and name in after:
            _no_item_is_respelled(raw_items(before[name]), raw_items(after[name]))
    if done.betas is not None:
        assert {change.rule for change in done.changes} & {"betas", "speed", "tool_version", "progress_notes"}


def _no_item_is_respelled(old: list[bytes], new: list[bytes]) -> None:
    """One that means what it meant has its bytes."""
    meant = [json.loads(item) for item in old]
    assert all(item in old for item in new if json.loads(item) in meant)


@settings(max_examples=500, deadline=None)
@given(TWO, WAYS, POLICIES, st.booleans())
def test_two_features_are_rewritten_once(
    two: tuple[Feature, Feature], way: tuple[Model, Model], policy: CompatPolicy, counting: bool
) -> None:
    body, context = asked(two)
    context = replace(context, counting=counting)
    once = rewrite(parse(json.dumps(body).encode()), *way, policy, context)
    betas = context.betas if once.betas is None else once.betas
    again = rewrite(parse(once.body), *way, policy, replace(context, betas=betas))
    assert (again.body, again.betas) == (once.body, None)


@settings(max_examples=200, deadline=None)
@given(TWO, st.sampled_from(CATALOGUE.models), st.randoms(use_true_random=False))
def test_to_its_own_model_every_feature_goes_as_it_came(
    two: tuple[Feature, Feature], model: Model, random: Random
) -> None:
    body, context = asked(two)
    spelled = oddly({**body, "model": model.id}, random).encode()
    done = rewrite(parse(spelled), model, model, CompatPolicy(), context)
    assert done.body is spelled
    assert (done.changes, done.betas, done.violations) == ((), None, ())


@settings(max_examples=500, deadline=None)
@given(TWO, WAYS, POLICIES)
def test_no_sentence_holds_a_word_of_the_prompt(
    two: tuple[Feature, Feature], way: tuple[Model, Model], policy: CompatPolicy
) -> None:
    body, context = asked(two)
    envelope = parse(json.dumps(_with_secrets(body)).replace("get_weather", SECRET).encode())
    context = replace(context, betas=(*context.betas, SECRET))
    done, hindrance = rewrite(envelope, *way, policy, context), obstacle(envelope, *way, policy, context)
    told = [*done.changes, *done.violations, *([hindrance.change] if hindrance else [])]
    assert not any(SECRET in f"{change.rule} {change.sentence}" for change in told)


def _with_secrets(value: Any, key: str = "") -> Any:
    """Put the secret into every text, name and description that is the application's own."""
    if isinstance(value, dict):
        return {name: _with_secrets(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_secrets(item, key) for item in value]
    own = key in ("text", "content", "system", "description", "user_id", "data", "stop_sequences")
    return f"{value} {SECRET}" if own and isinstance(value, str) else value
