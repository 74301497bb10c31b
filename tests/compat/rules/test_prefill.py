"""A prefill is said in words at the end of the last user turn; nothing else of the conversation changes."""

import json
from typing import Any

import pytest

from gateway.compat.answer.plan import AnswerPlan
from gateway.compat.envelope import parse
from gateway.compat.request import rewrite
from gateway.compat.rules.prefill import (
    LONG,
    TAIL,
    continuation,
    instruction,
    intent_of,
    is_foreign,
    violations,
)
from gateway.core.spec import CompatPolicy
from tests.support.requests import HELLO, KEEP, Json, asked, hindrance, listed, rewritten
from tests.support.rows import H45, H55, O5, O45, O46, O55


def begins(text: Any) -> Json:
    return {"role": "assistant", "content": text}


def block(text: str) -> Json:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("{", "json"),
        ('\n{\n  "a": [', "json"),
        ("[", "json"),
        ("[{", "json"),
        ('["', "json"),
        ("[-1", "json"),
        ("[true", "json"),
        ("```json", "json"),
        ("```json\n[", "json"),
        ("```\n{", "json"),
        ("```python\n", "text"),
        ("```yaml\n", "yaml"),
        ("---\nname:", "yaml"),
        ("-- ", "text"),
        ("[System reminder: answer in French]", "reminder"),
        ("Remember: stay in character.", "reminder"),
        ("<important>no names</important>", "reminder"),
        ("Important:", "label"),
        ("Rememberable", "text"),
        ("[Answer]", "text"),
        ("{thinking}", "text"),
        ("The label is (", "label"),
        ("Sentiment:", "label"),
        ('Answer: "', "label"),
        ("<answer>", "label"),
        ("Here is the summary", "text"),
        ("line\nAnswer:", "text"),
        ("x" * 90 + ":", "text"),
    ],
)
def test_what_a_prefill_is_for_is_read_from_its_text(text: str, intent: str) -> None:
    assert intent_of(text) == intent


def test_the_instruction_follows_the_user_s_own_text() -> None:
    body, changes = rewritten(O45, O46, messages=[HELLO, begins("{")])
    (turn,) = body["messages"]
    assert turn["role"] == "user"
    assert turn["content"] == [block("hello"), block(instruction("{", "json", repeat=True))]
    assert changes == ["prefill=E"]


def test_the_plan_says_what_the_application_has_already() -> None:
    done = rewrite(asked(O45, messages=[HELLO, begins("{")]), O45, O46, KEEP)
    assert done.plan == AnswerPlan("{", "json", repeats=True)


def test_the_bytes_of_every_turn_are_kept() -> None:
    first = b'{"content" : [ {"text":"\\u0068i", "x" : 1.0} ] ,"role":"user" }'
    last = b'{"note":1e3, "role":"user" ,"content":"h\\u00e9 \\/"}'
    raw = b'{"messages" : [' + first + b' , {"role":"assistant","content":"a"},' + last
    raw += b',{"role":"assistant","content":"{"}] , "model":"m"}'
    body = rewrite(parse(raw), O45, O46, KEEP).body
    words = instruction("{", "json", repeat=True).replace("\n", "\\n").encode()
    assert body == (
        b'{"messages":[' + first + b',{"role":"assistant","content":"a"},{"note":1e3,"role":"user","content":'
        b'[{"type":"text","text":"h\\u00e9 \\/"},{"type":"text","text":"' + words + b'"}]}],'
        b'"model":"claude-opus-4-6"}'
    )


MARKED = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ([{"role": "user", "content": [MARKED]}], [MARKED]),
        ([{"role": "user", "content": ""}], []),
        ([{"role": "user", "content": []}], []),
        ([begins("an answer"), {"role": "user", "content": "x"}], [block("x")]),
    ],
)
def test_blocks_of_the_last_user_turn_stay_in_front(before: list[Json], kept: list[Json]) -> None:
    body, _ = rewritten(O45, O46, messages=[*before, begins("{")])
    assert len(body["messages"]) == len(before)
    assert body["messages"][-1]["content"][:-1] == kept


@pytest.mark.parametrize("before", [[], [{"role": "system", "content": "note"}]])
def test_without_a_user_turn_in_front_the_instruction_gets_its_own(before: list[Json]) -> None:
    body, _ = rewritten(O45, O46, messages=[*before, begins("{")])
    assert body["messages"][:-1] == before
    assert body["messages"][-1]["role"] == "user"


def test_all_assistant_turns_at_the_end_are_one_prefill() -> None:
    done = rewrite(asked(O45, messages=[HELLO, begins('{"a"'), begins([block(": ")])]), O45, O46, KEEP)
    assert done.plan
    assert done.plan.prefill == '{"a": '


def test_an_empty_assistant_turn_is_left_out() -> None:
    done = rewrite(asked(O45, messages=[HELLO, begins("")]), O45, O46, KEEP)
    assert not done.plan
    assert listed(done) == ["prefill=L"]
    assert parse(done.body).turns == asked(O45).turns


SEARCH: Json = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
FOUND: Json = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
CALL: Json = {"type": "tool_use", "id": "t", "name": "n", "input": {}}


@pytest.mark.parametrize(
    ("last", "more"),
    [
        (begins([SEARCH, FOUND]), {}),
        (begins([CALL]), {}),
        (begins([block("call"), CALL]), {}),
        (begins("partial"), {"fallback_credit_token": "t"}),
        (begins(5), {}),
        (begins([7]), {}),
        (begins([{"type": "text"}]), {}),
    ],
)
def test_what_is_no_prefill_stays(last: Json, more: Json) -> None:
    body, changes = rewritten(O45, O46, messages=[HELLO, last], **more)
    assert body["messages"] == [HELLO, last]
    assert changes == []


def test_a_malformed_user_turn_is_left_for_the_upstream_to_judge() -> None:
    messages = [{"role": "user", "content": 5}, begins("{")]
    body, changes = rewritten(O45, O46, messages=messages)
    assert body["messages"] == messages
    assert changes == []


def test_where_both_take_it_or_neither_does_a_prefill_passes() -> None:
    for source, target in [(O45, H45), (O46, O5), (O5, O45)]:
        envelope = asked(source, messages=[HELLO, begins("{")])
        assert not is_foreign(envelope, source, target)
        assert parse(rewrite(envelope, source, target, KEEP).body).turns == envelope.turns


@pytest.mark.parametrize(
    ("prefill", "more", "repeats"),
    [
        ("{", {}, True),
        ("{", {"stop_sequences": ["}"]}, True),
        ("{", {"stop_sequences": ["x", "{"]}, False),
        ("```json\n", {"stop_sequences": ["```"]}, False),
        ("The answer is (", {"max_tokens": 24}, True),
        ("The answer is (", {"max_tokens": 23}, False),
        ("x" * LONG, {}, True),
    ],
)
def test_a_model_is_told_to_repeat_only_what_does_no_harm(prefill: str, more: Json, repeats: bool) -> None:
    body, changes = rewritten(O45, O46, messages=[HELLO, begins(prefill)], **more)
    told = body["messages"][-1]["content"][-1]["text"]
    assert told == instruction(prefill, intent_of(prefill), repeat=repeats)
    assert ("exactly the characters" in told) is repeats
    assert prefill in told
    assert changes == ["prefill=E"]


TOOLS: Json = {"tools": [{"name": "n", "input_schema": {}}]}
NONE: Json = {"type": "none"}


@pytest.mark.parametrize(
    ("prefill", "more", "choice"),
    [
        ("{", TOOLS, NONE),
        ("{", {**TOOLS, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, NONE),
        ("{", {**TOOLS, "tool_choice": None}, NONE),
        ("{", {**TOOLS, "tool_choice": NONE}, NONE),
        ("{", {**TOOLS, "tool_choice": {"type": "any"}}, {"type": "any"}),
        ("{", {**TOOLS, "tool_choice": "auto"}, "auto"),
        ("{", {"tools": []}, None),
        ("{", {}, None),
        ("Let me look that up:", TOOLS, None),
    ],
)
def test_an_answer_that_has_begun_as_json_calls_no_tool(prefill: str, more: Json, choice: Any) -> None:
    body, _ = rewritten(O45, O46, messages=[HELLO, begins(prefill)], **more)
    assert body.get("tool_choice") == choice
    assert body.get("tools") == more.get("tools")


CUT = "A long story. " * 40


@pytest.mark.parametrize(
    "last",
    [begins(CUT), begins([block(CUT)]), begins([SEARCH, FOUND, block("so far")])],
)
def test_an_answer_that_was_cut_stays_and_a_user_s_turn_asks_to_go_on(last: Json) -> None:
    envelope = asked(O45, messages=[HELLO, last])
    done = rewrite(envelope, O45, O46, KEEP)
    assert envelope.prefill is not None
    text = envelope.prefill.text
    body = json.loads(done.body)
    assert body["messages"][:2] == [HELLO, last]
    assert body["messages"][2:] == [{"role": "user", "content": [block(continuation(text, "text"))]}]
    assert done.plan.continued
    assert done.plan.quoted == text[-TAIL:]
    assert text[-TAIL:] in continuation(text, "text")
    assert listed(done) == ["prefill=P"]
    assert hindrance(O45, O46, messages=[HELLO, last]) is None


@pytest.mark.parametrize(
    "last",
    [
        [begins([SEARCH, FOUND, block("so")]), begins("far")],
        [begins([SEARCH, FOUND, block(" ")])],
    ],
)
def test_what_can_be_said_in_neither_way_stays_on_control(last: list[Json]) -> None:
    found = hindrance(O45, O46, messages=[HELLO, *last])
    assert found is not None
    assert found.change.rule == "prefill"


def test_a_long_beginning_in_several_turns_is_asked_for_in_words() -> None:
    body, changes = rewritten(O45, O46, messages=[HELLO, begins(CUT), begins(CUT)])
    (turn,) = body["messages"]
    assert turn["content"][1:] == [block(instruction(CUT + CUT, "text", repeat=False))]
    assert changes == ["prefill=P"]


def test_json_that_was_cut_calls_no_tool() -> None:
    body, _ = rewritten(O45, O46, messages=[HELLO, begins('{"a": "' + CUT)], **TOOLS)
    assert body["tool_choice"] == NONE
    assert "one JSON value" in body["messages"][-1]["content"][0]["text"]


FORMAT: Json = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}


@pytest.mark.parametrize("prefill", ["{", " [", "```json\n", "```json\n{"])
def test_where_the_application_gives_the_schema_a_bracket_needs_no_words(prefill: str) -> None:
    done = rewrite(asked(O45, messages=[HELLO, begins(prefill)], **FORMAT), O45, O46, KEEP)
    body = json.loads(done.body)
    assert body["messages"] == [HELLO]
    assert body["output_config"] == FORMAT["output_config"]
    assert (done.plan.prefill, done.edits) == (prefill, ())
    assert listed(done) == ["prefill=E"]


def test_with_a_schema_the_whole_value_is_asked_for() -> None:
    fields = {**FORMAT, "stop_sequences": ['"']}
    body, _ = rewritten(O45, O46, messages=[HELLO, begins('{"a": "')], **fields)
    assert body["messages"][0]["content"][1:] == [block(instruction('{"a": "', "json", repeat=True))]


def test_a_reminder_is_kept_in_mind_and_not_begun_with() -> None:
    body, changes = rewritten(O45, O46, messages=[HELLO, begins("Remember: be kind.")])
    told = body["messages"][0]["content"][1]["text"]
    assert told == instruction("Remember: be kind.", "reminder", repeat=True)
    assert "Begin your reply" not in told
    assert changes == ["prefill=E"]


def test_examples_of_answers_in_the_history_stay() -> None:
    shots = [HELLO, begins("{}"), HELLO, begins("[]"), HELLO]
    body, changes = rewritten(O45, O46, messages=shots)
    assert (body["messages"], changes) == (shots, [])


@pytest.mark.parametrize("repeat", [True, False])
def test_a_fence_is_forbidden_only_where_the_prefill_opens_none(repeat: bool) -> None:
    assert "no code fence" in instruction("{", "json", repeat=repeat)
    assert "no code fence" in instruction("Dear", "text", repeat=repeat)
    assert "no code fence" not in instruction("```json\n", "json", repeat=repeat)
    assert "no code fence" not in instruction("```python\n", "text", repeat=repeat)
    assert "JSON" in instruction("{", "json", repeat=repeat)


@pytest.mark.parametrize(
    ("source", "target", "policy", "hides"),
    [
        (O45, O55, KEEP, True),
        (O45, O55, CompatPolicy(unasked_thinking="show"), False),
        (O45, O5, KEEP, False),
        (O45, O5, CompatPolicy(thinking="adopt"), True),
        (H45, H55, KEEP, False),
    ],
)
def test_thinking_is_hidden_where_it_comes_unasked(
    source: Any, target: Any, policy: CompatPolicy, hides: bool
) -> None:
    done = rewrite(asked(source, messages=[HELLO, begins("{")]), source, target, policy)
    assert done.plan
    assert done.plan.hides_thinking is hides
    assert ("unasked_thinking=E" in listed(done)) is hides


def test_thinking_that_was_asked_for_is_shown() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    done = rewrite(asked(O45, messages=[HELLO, begins("{")], thinking=thinking), O45, O55, KEEP)
    assert done.plan
    assert not done.plan.hides_thinking


def test_a_prefill_is_named_where_a_model_takes_none() -> None:
    envelope = asked(O45, messages=[HELLO, begins("{")])
    assert list(violations(envelope, O45)) == []
    assert [change.rule for change in violations(envelope, O46)] == ["prefill"]
