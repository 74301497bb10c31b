"""The rules together: what control takes the candidate takes, rewritten or named; no other byte changes."""

import json
from dataclasses import replace

import pytest

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
from tests.support.rows import CATALOGUE, F52, O5, O45, O46, O47, O48, O55, PAIRS, S45, S55, name

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


def test_what_is_left_of_the_rules_between_two_rows_is_not_taken_for_that_of_others_which_come_and_go() -> (
    None
):
    search = [{"type": "web_search_20260318", "name": "web_search"}]
    envelope = asked(O47, tools=search)
    for number in range(1500):
        rejected = frozenset({"web_search_20260318"} if number % 3 == 2 else ())
        done = rewrite(envelope, O47, replace(O48, rejects_tools=rejected), KEEP)
        assert listed(done) == ["tool_version=E"] * len(rejected)


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
        (O45, O46, SEARCHED, None),
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
