"""The rules together: what control takes the candidate takes, rewritten or named; no other byte changes."""

import json
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.compat.answer.plan import PLAIN
from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.request import (
    RULES,
    RULESET,
    Context,
    header,
    in_force,
    obstacle,
    rewrite,
    violations,
)
from gateway.core.spec import CompatPolicy
from gateway.core.types import Change, RewriteClass
from tests.support.requests import HELLO, KEEP, Json, asked, draft_of, hindrance, listed
from tests.support.rows import CATALOGUE, EVERY_PAIR, F52, O5, O45, O46, O47, O48, O55, PAIRS, S45, S55, name

# --- what is sent -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", CATALOGUE.models, ids=name)
def test_to_its_own_model_a_request_goes_as_it_came(model: Model) -> None:
    body = json.dumps(
        {"model": model.id, "max_tokens": 10**6, "temperature": 0.3, "messages": [HELLO]}
    ).encode()
    done = rewrite(parse(body), model, model, KEEP)
    assert done.body is body
    assert (done.changes, done.plan) == ((), PLAIN)


def test_an_alias_is_replaced_and_nothing_else() -> None:
    body = b'{ "max_tokens" : 1e6,"model" : "claude-opus-4-5", "temperature":0.30 , "x":[ ] }'
    done = rewrite(parse(body), O45, O45, KEEP)
    assert done.body == b'{"max_tokens":1e6,"model":"claude-opus-4-5-20251101","temperature":0.30,"x":[ ]}'
    assert done.changes == ()


def test_a_target_under_its_alias_is_still_the_source() -> None:
    body = b'{"model":"claude-opus-4-5","max_tokens":1e6}'
    done = rewrite(parse(body), O45, replace(O45, id="claude-opus-4-5"), KEEP)
    assert done.body is body


def test_where_no_rule_fires_the_same_bytes_go_out() -> None:
    body = b'{ "model":"claude-opus-4-7","messages" : [] }'
    assert rewrite(parse(body), O47, replace(O48, id="claude-opus-4-7-x"), KEEP).body != body
    assert rewrite(parse(body), O48, O47, KEEP).body is body


def test_the_changes_are_listed_in_the_order_of_the_rules() -> None:
    messages = [HELLO, {"role": "assistant", "content": "{"}]
    fields = {"temperature": 0, "messages": messages, "output_config": {"effort": "high"}}
    done = rewrite(asked(O45, **fields), O45, O55, KEEP)
    rules = ["thinking", "effort", "sampling", "prefill", "unasked_thinking", "max_tokens"]
    assert listed(done) == [f"{rule}=E" for rule in rules]
    assert header(done.changes) == ",".join(f"{rule}=E" for rule in rules)


def test_the_header_names_a_rule_once_with_its_gravest_class() -> None:
    lossless, emulated, prompt = RewriteClass.lossless, RewriteClass.emulated, RewriteClass.prompt
    changes = [
        Change("a", emulated, ""),
        Change("b", lossless, ""),
        Change("a", lossless, ""),
        Change("b", prompt, ""),
    ]
    assert header(changes) == "a=E,b=P"
    assert header([]) == ""


def test_a_ruleset_is_a_number_and_has_the_rules_that_came_with_it_or_before() -> None:
    assert in_force(RULESET) == RULES
    assert in_force(f"{RULESET};terse@3:9f86d081") == RULES
    assert in_force("10") == RULES
    assert in_force("1") == tuple(rule for rule in RULES if rule.since == "1")
    assert in_force("0") == ()


def test_an_older_ruleset_goes_on_without_what_came_later() -> None:
    envelope = asked(O45, temperature=0)
    assert listed(rewrite(envelope, O45, O47, KEEP, Context(ruleset="1"))) == ["sampling=E"]
    assert rewrite(envelope, O45, O47, KEEP, Context(ruleset="0")).changes == ()


def test_what_the_rules_leave_for_the_target_to_reject_is_named_unless_the_source_rejects_it_too() -> None:
    envelope = asked(O45, temperature=0)
    unruly = rewrite(envelope, O45, O47, KEEP, Context(ruleset="0"))
    assert [(change.rule, str(change.rewrite_class)) for change in unruly.violations] == [("sampling", "X")]
    assert rewrite(envelope, O45, O47, KEEP).violations == ()
    assert rewrite(asked(O47, temperature=0), O47, O48, KEEP).violations == ()
    assert rewrite(envelope, O47, O47, KEEP).violations == ()


def test_a_request_is_judged_as_it_goes_out() -> None:
    prefilled = asked(O45, messages=[HELLO, {"role": "assistant", "content": "{"}])
    done = rewrite(prefilled, O45, O55, KEEP)
    assert (done.violations, violations(done.body, O55)) == ((), [])
    draft = draft_of(prefilled, O45, O55).put("temperature", 0)
    assert draft.sent.turns == prefilled.turns
    assert [change.rule for change in violations(draft.sent, O55)] == ["sampling", "prefill"]


def test_a_sentence_never_shows_the_prompt() -> None:
    secret = "s3cr3t"
    messages = [{"role": "user", "content": secret}, {"role": "assistant", "content": secret}]
    fields: Json = {
        "messages": messages,
        "temperature": 0.5,
        "system": secret,
        "metadata": {"user_id": secret},
    }
    for source, target in PAIRS:
        envelope = asked(source, **fields)
        hindering = obstacle(envelope, source, target, KEEP)
        sentences = [change.sentence for change in rewrite(envelope, source, target, KEEP).changes]
        sentences += [hindering.change.sentence] if hindering else []
        assert not any(secret in sentence for sentence in sentences)


# --- what cannot be sent ----------------------------------------------------------------------------------

FORCED: Json = {"tool_choice": {"type": "any"}, "tools": [{"name": "n", "input_schema": {}}]}
PREFILLED: Json = {"messages": [HELLO, {"role": "assistant", "content": "{"}]}
NOTED: Json = {"messages": [HELLO, {"role": "system", "content": "note"}]}
ADDED: Json = {
    "messages": [
        HELLO,
        {
            "role": "system",
            "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "n"}}],
        },
    ]
}
SEARCHED: Json = {
    "messages": [
        HELLO,
        {
            "role": "assistant",
            "content": [
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                {"type": "text", "text": "so far"},
            ],
        },
    ]
}
LONG: Json = {"system": "x" * 720_000}
REJECT, CONTROL = CompatPolicy(unservable="reject"), CompatPolicy(unservable="control")


@pytest.mark.parametrize(
    ("source", "target", "fields", "rule"),
    [
        (O45, O55, FORCED, None),
        (S45, S55, FORCED, None),
        (O5, F52, {**FORCED, "tools": []}, "forced_tool"),
        (O45, O5, FORCED, None),
        (O5, O48, FORCED, None),
        (O55, S55, FORCED, None),
        (O45, O46, PREFILLED, None),
        (O45, O46, SEARCHED, "prefill"),
        (O46, O47, SEARCHED, None),
        (O48, O47, ADDED, "tool_changes"),
        (O55, O45, ADDED, "tool_changes"),
        (O48, O5, ADDED, None),
        (O48, O47, NOTED, None),
        (O45, O48, NOTED, None),
        (O46, O45, LONG, "context_window"),
        (O45, O46, LONG, None),
        (O45, S45, LONG, None),
        (O45, O46, {"thread": {"type": "create"}}, None),
        (O46, O45, {"thread": {"type": "continue", "previous_message_id": "msg_1"}}, None),
    ],
    ids=name,
)
def test_what_the_source_serves_and_the_target_cannot_is_an_obstacle(
    source: Model, target: Model, fields: Json, rule: str | None
) -> None:
    found = hindrance(source, target, **fields)
    assert (found.change.rule if found else None) == rule
    if found is not None:
        assert found.change.rewrite_class is RewriteClass.unservable
        assert target.id in found.change.sentence
        assert not found.reject
        refused = hindrance(source, target, REJECT, **fields)
        assert refused is not None
        assert refused.reject


@pytest.mark.parametrize(
    ("policy", "fields", "reject"),
    [
        (CompatPolicy(forced_tool="reject"), FORCED, True),
        (CompatPolicy(forced_tool="control", unservable="reject"), FORCED, False),
        (CompatPolicy(forced_tool="emulate", unservable="reject"), {**FORCED, "tools": []}, True),
        (CompatPolicy(prefill="reject"), PREFILLED, True),
        (CompatPolicy(prefill="control", unservable="reject"), PREFILLED, False),
        (CompatPolicy(prefill="control"), SEARCHED, False),
    ],
)
def test_a_rule_s_own_policy_goes_before_the_one_for_all(
    policy: CompatPolicy, fields: Json, reject: bool
) -> None:
    found = hindrance(O45, O55, policy, **fields)
    assert found is not None
    assert found.reject is reject


def test_violations_of_a_whole_body_are_named() -> None:
    body = json.dumps({"model": "m", "max_tokens": 10**6, "temperature": 1, **FORCED, **NOTED}).encode()
    found = [change.rule for change in violations(body, replace(O55, mid_conversation_system=False))]
    assert found == ["sampling", "forced_tool", "max_tokens", "system_turns"]


# --- properties -------------------------------------------------------------------------------------------

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
    SEARCHED["messages"],
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


def oddly(value: Any, random: Random) -> str:
    """Spell JSON as nobody would: spaces, escapes, numbers with exponents, and the same meaning."""

    def space() -> str:
        return random.choice(["", "", " ", "\n", "\t ", "  \r\n"])

    if isinstance(value, dict):
        inner = ",".join(f"{space()}{oddly(k, random)}{space()}:{oddly(v, random)}" for k, v in value.items())
        return f"{space()}{{{inner}{space()}}}{space()}"
    if isinstance(value, list):
        return f"{space()}[{','.join(oddly(item, random) for item in value)}{space()}]{space()}"
    if isinstance(value, str):
        return '"' + "".join(_char(char, random) for char in value) + '"'
    if isinstance(value, float) and random.random() < 0.5:
        return f"{value * 10:.3f}e-1"
    return json.dumps(value)


def _char(char: str, random: Random) -> str:
    plain = json.dumps(char, ensure_ascii=False)[1:-1]
    escaped = "".join(f"\\u{unit:04x}" for unit in _utf16(char))
    return random.choice([plain, plain, plain, escaped, escaped.replace("\\U", "\\u")])


def _utf16(char: str) -> list[int]:
    encoded = char.encode("utf-16-be")
    return [int.from_bytes(encoded[at : at + 2], "big") for at in range(0, len(encoded), 2)]


def raw_fields(body: bytes) -> dict[str, bytes]:
    return {key: bytes(raw) for key, raw in msgspec.json.decode(body, type=dict[str, msgspec.Raw]).items()}


def raw_items(array: bytes) -> list[bytes]:
    return [bytes(raw) for raw in msgspec.json.decode(array, type=list[msgspec.Raw])]


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
