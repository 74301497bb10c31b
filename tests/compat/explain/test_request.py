"""One request explained: the same rules as in earnest, each change with its rule, and what differs."""

import json
from typing import Any

import pytest

from gateway.compat.answer.plan import AnswerPlan, ForcedCall
from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.explain.features import FEATURES, body_for
from gateway.compat.explain.request import ENDS, LONGEST_LINE, MOST_LINES, explain, in_words
from gateway.compat.request import RULES, Context, obstacle, rewrite
from gateway.core.spec import CompatPolicy
from gateway.core.types import to_json
from tests.support.requests import HELLO, KEEP, Json, asked
from tests.support.rows import EVERY_PAIR, O5, O45, O46, O47, O48, O55

PREFILLED: list[Json] = [HELLO, {"role": "assistant", "content": "{"}]


def diff(source: Model, target: Model, body: bytes) -> list[str]:
    return list(explain(parse(body), source, target, KEEP).diff)


def test_each_change_is_told_with_the_rule_that_made_it() -> None:
    told = explain(asked(O48, output_config={"effort": "max"}, temperature=1), O48, O55, KEEP)
    assert [(each.code, each.rule, each.rewrite_class) for each in told.changes] == [
        ("R3", "thinking", "E"),
        ("R3", "effort", "E"),
        ("R12", "unasked_thinking", "E"),
        ("R8", "max_tokens", "E"),
    ]


def test_what_is_told_is_what_happens() -> None:
    codes = {rule.code for rule in RULES}
    for number, feature in enumerate(FEATURES):
        source, target = EVERY_PAIR[number * 31 % len(EVERY_PAIR)]
        envelope = parse(to_json(body_for(source.id, feature)))
        context = Context(betas=feature.betas, version=feature.version)
        told, found = (
            explain(envelope, source, target, KEEP, context),
            obstacle(envelope, source, target, KEEP, context),
        )
        assert (told.obstacle is None) is (found is None)
        done = rewrite(envelope, source, target, KEEP, context)
        if found is None:
            assert [each.sentence for each in told.changes] == [each.sentence for each in done.changes]
            assert {each.code for each in told.changes} <= codes
            assert len(told.violations) == len(done.violations)


def test_an_obstacle_says_who_answers_instead() -> None:
    envelope = asked(O45, messages=PREFILLED)
    kept = explain(envelope, O45, O46, CompatPolicy(prefill="control"))
    assert kept.obstacle is not None
    assert (kept.obstacle.rule, kept.obstacle.then, kept.changes, kept.diff) == ("prefill", "control", (), ())
    refused = explain(envelope, O45, O46, CompatPolicy(prefill="reject"))
    assert refused.obstacle is not None
    assert refused.obstacle.then == "reject"


def test_only_what_differs_is_in_the_diff_with_its_numbers_as_they_were_spelled() -> None:
    body = (
        b'{"model":"claude-opus-4-5","max_tokens":1.0e3,"temperature":0.30,'
        b'"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"top_k":5}'
    )
    assert diff(O45, O47, body) == [
        "@@ -1,6 +1,5 @@",
        " {",
        '-  "model": "claude-opus-4-5",',
        '+  "model": "claude-opus-4-7",',
        '   "max_tokens": 1.0e3,',
        '-  "temperature": 0.30,',
        '   "a": 1,',
        '   "b": 2,',
        "@@ -8,5 +7,4 @@",
        '   "d": 4,',
        '   "e": 5,',
        '-  "f": 6,',
        '-  "top_k": 5',
        '+  "f": 6',
        " }",
    ]


def test_of_a_long_request_only_the_fields_that_differ_are_compared() -> None:
    numbers = [number % 500 for number in range(100_000)]  # minutes, line by line
    body = to_json({"model": O45.id, "temperature": 0.3, "messages": [HELLO], "metadata": numbers})
    shown = diff(O45, O47, body)
    assert '-  "temperature": 0.3,' in shown
    assert '   "metadata": "…"' in [line.rstrip(",") for line in shown]
    assert len(shown) < 40


def test_what_is_too_long_to_be_compared_says_so() -> None:
    turns = [HELLO, {"role": "assistant", "content": "yes"}] * MOST_LINES
    tools = [{"name": "look", "input_schema": {"type": "object"}}] * 2
    forced = asked(O45, messages=[*turns, HELLO], tools=tools, tool_choice={"type": "any"})
    (line,) = explain(forced, O45, O55, KEEP).diff
    assert line.endswith(" lines, which are too many to be compared")


def test_a_request_that_stays_the_same_has_no_diff() -> None:
    assert diff(O45, O45, b'{"model":"claude-opus-4-5-20251101","temperature":0.3}') == []


def test_a_long_line_is_shown_by_its_ends() -> None:
    text = "a" * 150 + "b" * 300 + "c" * 150
    body = json.dumps({"model": "claude-opus-4-5", "system": text}).encode()
    (line,) = (line for line in diff(O45, O47, body) if "system" in line)
    assert len(line) < LONGEST_LINE
    assert line.endswith("c" * (ENDS - 1) + '"')
    assert " characters … " in line


def test_betas_that_come_and_go_are_told() -> None:
    told = explain(asked(O5), O5, O48, KEEP, Context(betas=("a-1",)))
    assert (told.betas_removed, told.betas_added) == ((), ())


def test_what_the_target_would_still_reject_is_told() -> None:
    told = explain(asked(O45, temperature=0), O45, O47, KEEP, Context(ruleset="0"))
    assert [(each.rule, each.rewrite_class) for each in told.violations] == [("sampling", "X")]


def test_what_the_source_rejects_already_is_told() -> None:
    told = explain(asked(O47, temperature=0), O47, O48, KEEP)
    assert ([each.rule for each in told.rejected_before], told.violations) == (["sampling"], ())
    assert explain(asked(O45, temperature=0), O45, O47, KEEP).rejected_before == ()


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, []),
        ({"prefill": "{"}, ["beginning", "taken off"]),
        ({"prefill": "{", "continued": True}, ["turn of its own"]),
        ({"hides_thinking": True}, ["not shown"]),
        ({"shows_notes": True}, ["shown as text"]),
        ({"forced": ForcedCall()}, ["forced"]),
        ({"forced": ForcedCall(tool="n", wrapped=True)}, ["forced", "JSON"]),
        ({"tool_names": (("a", "b"),)}, ["names"]),
        ({"classic_stops": True}, ["Stop reasons"]),
        ({"shown_model": "claude-opus-4-5"}, ["claude-opus-4-5"]),
    ],
)
def test_what_is_done_to_the_answer_is_told_in_words(plan: Any, words: list[str]) -> None:
    told = " ".join(in_words(AnswerPlan(**plan)))
    assert all(word in told for word in words)
    assert bool(told) is bool(words)
