"""Whatever is asked: untouched values keep their bytes, twice is once, and what one takes the other takes."""

import json
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import parse
from gateway.compat.request import (
    GUARDS,
    JUDGES,
    RULES,
    Context,
    Guard,
    Rule,
    drafted,
    obstacle,
    rewrite,
    violations,
)
from gateway.compat.rules.tool_versions import SWAPS
from gateway.core.spec import CompatPolicy
from tests.support.requests import HELLO, KEEP, Json
from tests.support.rows import CATALOGUE, EVERY_PAIR, PAIRS
from tests.support.spelling import oddly, raw_fields, raw_items

CALL: Json = {"type": "tool_use", "id": "t", "name": "n", "input": {"n": 1.0}}
THOUGHT: Json = {"type": "thinking", "thinking": "", "signature": "s"}
RESULT: Json = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]}
USER: Json = {"role": "user", "content": [{"type": "text", "text": "h\u00e9 \u2603 \U0001f600", "more": 1.5}]}


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


MESSAGES: list[list[Json]] = [
    [HELLO],
    [USER],
    [HELLO, {"role": "assistant", "content": "answer"}, USER],
    [HELLO, {"role": "assistant", "content": "{"}],
    [USER, assistant({"type": "text", "text": "The label is ("})],
    [HELLO, {"role": "assistant", "content": ""}],
    [HELLO, assistant(CALL), RESULT],
    [HELLO, assistant(THOUGHT, CALL), RESULT],
    [HELLO, assistant(THOUGHT, CALL), RESULT, assistant(CALL), RESULT],
    [HELLO, assistant({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})],
    [HELLO, {"role": "system", "content": "note"}],
    [
        HELLO,
        assistant(
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "text", "text": "so far"},
        ),
    ],
]
THINKING: list[Any] = [
    None,
    {"type": "disabled"},
    {"type": "adaptive"},
    {"type": "adaptive", "display": "summarized"},
    {"type": "adaptive", "display": "omitted"},
    {"type": "adaptive", "display": "updates"},
    {"type": "between_tools"},
    *({"type": "enabled", "budget_tokens": budget} for budget in (1024, 5000, 16000, 63_000, 100_000)),
    {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
]
OPTIONAL: dict[str, list[Any]] = {
    "thinking": THINKING,
    "output_config": [
        {},
        {"format": {"type": "json_schema"}},
        *({"effort": effort} for effort in ("low", "medium", "high", "xhigh", "max")),
        {"effort": "max", "format": {"x": 1.0}},
    ],
    "temperature": [0, 0.7, 1, 1.0],
    "top_p": [0.5, 0.95, 0.99, 1],
    "top_k": [1, 40],
    "tool_choice": [{"type": kind} for kind in ("auto", "any", "none")],
    "system": ["be brief", [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]],
    "stop_sequences": [["{"], ["END"]],
    "metadata": [{"user_id": "u\u00fc"}],
    "tools": [[{"name": "n", "input_schema": {"type": "object", "n": 1.0}}]],
    "unknown": [{"nested": [1.0, None, {"deep": "\u2603"}]}],
}
FIELDS = st.fixed_dictionaries(
    {
        "model": st.just("anything"),
        "max_tokens": st.sampled_from([0, 1, 20, 1024, 2047, 2048, 9000, 64_000, 64_001, 128_000]),
        "messages": st.sampled_from(MESSAGES),
    },
    optional={key: st.sampled_from(values) for key, values in OPTIONAL.items()},
)
POLICIES = st.builds(
    CompatPolicy,
    effort=st.sampled_from(["preserve", "target_default", "map"]),
    effort_map=st.sampled_from([{}, {"high": "medium"}, {"max": "high", "medium": "low"}]),
    max_tokens_headroom=st.sampled_from([0, 4096, 100_000]),
    thinking=st.sampled_from(["preserve", "adopt"]),
    unasked_thinking=st.sampled_from(["hide", "show"]),
)


TOUCHES = {
    "thinking": {"thinking", "output_config"},
    "display": {"thinking"},
    "effort": {"output_config"},
    "sampling": {"temperature", "top_p", "top_k"},
    "prefill": {"messages", "tool_choice"},
    "unasked_thinking": set[str](),
    "max_tokens": {"max_tokens"},
    "system_turns": {"messages"},
    "tool_version": {"tools"},
    "forced_tool": {"messages", "tool_choice"},
}


@settings(max_examples=400)
@given(FIELDS, POLICIES, st.sampled_from(PAIRS), st.randoms(use_true_random=False))
def test_every_value_that_no_rule_names_keeps_its_bytes(
    fields: Json, policy: CompatPolicy, pair: tuple[Model, Model], random: Random
) -> None:
    source, target = pair
    body = oddly(fields, random).encode()
    done = rewrite(parse(body), source, target, policy)
    before, after = raw_fields(body), raw_fields(done.body)
    touched = {"model"}.union(*(TOUCHES[change.rule] for change in done.changes))
    assert [key for key in after if key in before] == [key for key in before if key in after]
    assert {key for key in before if after.get(key) != before[key]} <= touched
    assert after.keys() - before.keys() <= touched
    assert after["model"] == json.dumps(target.id).encode()
    if "messages" in touched:
        old, new = raw_items(before["messages"]), raw_items(after["messages"])
        assert new[:-1] == old[: len(new) - 1]
    if "output_config" in touched and "output_config" in before:
        old_options = raw_fields(before["output_config"])
        new_options = raw_fields(after.get("output_config", b"{}"))
        new_options.setdefault("effort", old_options.get("effort", b""))
        assert {**old_options, "effort": b""} == {**new_options, "effort": b""}


ADVISOR = [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}]
OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.sampled_from(
            [[{"type": kind, "name": "n"}] for kind in (*SWAPS, "custom")] + [ADVISOR, []]
        ),
        "speed": st.sampled_from(["fast", "standard"]),
        "service_tier": st.just("auto"),
        "inference_geo": st.sampled_from(["us", "global"]),
        "output_format": st.just({"type": "json_schema", "schema": {}}),
        "context_management": st.just({"edits": [{"type": "compact_20260112"}]}),
        "fallbacks": st.sampled_from(["default", [{"model": "claude-opus-5"}]]),
        "thread": st.just({"type": "create"}),
        "compaction": st.just({}),
    },
)


@settings(max_examples=600)
@given(FIELDS, OTHERS, POLICIES, st.sampled_from(PAIRS + EVERY_PAIR))
def test_what_a_request_or_two_models_give_no_reason_for_would_do_nothing(
    fields: Json, others: Json, policy: CompatPolicy, pair: tuple[Model, Model]
) -> None:
    source, target = pair
    draft = drafted(parse(json.dumps(fields | others).encode()), source, target, policy)
    for judge in JUDGES:
        if judge.reads and draft.fields.keys().isdisjoint(judge.reads):
            assert not list(judge.find(draft.envelope, target))
    for guard in GUARDS:
        if _idle(guard, draft):
            assert guard.reason(draft) == ""
    for rule in RULES:
        done = rule.apply(draft)
        assert done is draft or not _idle(rule, draft)
        draft = done


def _idle(row: Rule | Guard, draft: Draft) -> bool:
    nothing_to_read = bool(row.reads) and draft.fields.keys().isdisjoint(row.reads)
    return nothing_to_read or not row.between(draft.source, draft.target)


@settings(max_examples=600)
@given(FIELDS, POLICIES, st.sampled_from(PAIRS + EVERY_PAIR))
def test_what_the_source_takes_the_target_takes_or_an_obstacle_names_it(
    fields: Json, policy: CompatPolicy, pair: tuple[Model, Model]
) -> None:
    source, target = pair
    envelope = parse(json.dumps(fields).encode())
    assume(not violations(envelope, source))
    if obstacle(envelope, source, target, policy) is None:
        done = rewrite(envelope, source, target, policy)
        assert violations(done.body, target) == []
        assert done.violations == ()


@settings(max_examples=400)
@given(FIELDS, POLICIES, st.sampled_from(PAIRS + EVERY_PAIR), st.booleans())
def test_rewriting_twice_is_rewriting_once(
    fields: Json, policy: CompatPolicy, pair: tuple[Model, Model], counting: bool
) -> None:
    source, target = pair
    policy = replace(policy, effort_map={})
    context = Context(counting=counting)
    once = rewrite(parse(json.dumps(fields).encode()), source, target, policy, context).body
    assert rewrite(parse(once), source, target, policy, context).body == once


@settings(max_examples=200)
@given(FIELDS, POLICIES, st.sampled_from(CATALOGUE.models), st.randoms(use_true_random=False))
def test_to_its_own_model_any_request_goes_as_it_came(
    fields: Json, policy: CompatPolicy, model: Model, random: Random
) -> None:
    body = oddly({**fields, "model": model.id}, random).encode()
    done = rewrite(parse(body), model, model, policy)
    assert done.body is body
    assert done.changes == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from([*OPTIONAL, "max_tokens"]), JSON), st.lists(JSON), st.sampled_from(PAIRS)
)
def test_no_request_is_too_odd_to_be_passed_on(
    fields: Json, messages: list[Any], pair: tuple[Model, Model]
) -> None:
    source, target = pair
    envelope = parse(json.dumps({"model": "m", "messages": messages, **fields}).encode())
    obstacle(envelope, source, target, KEEP)
    done = rewrite(envelope, source, target, KEEP)
    assert json.loads(done.body)["model"] == target.id
