"""A variant is said behind the application's system prompt or in its place, and nothing else is touched."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.compat.envelope import parse
from gateway.compat.prompts import PromptVariant, ruleset_of
from gateway.compat.request import RULESET, Context, Rewrite, rewrite
from gateway.core.spec import CompatPolicy
from gateway.core.types import RewriteClass
from tests.support.rows import O5, O55

APPEND = PromptVariant("brief", 3, frozenset({O55.id}), frozenset(), None, "append", "Be brief. Geheim é.")
REPLACE = replace(APPEND, mode="replace")
OWN = {"type": "text", "text": APPEND.text}
MARKER = {"type": "ephemeral", "ttl": "1h"}
HISTORY = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "s"}, OWN]},
    {"role": "user", "content": "on"},
]


def body_of(**fields: Any) -> bytes:
    turns = [{"role": "user", "content": "hi"}]
    return json.dumps({"model": O5.id, "max_tokens": 9, "messages": turns, **fields}).encode()


def said(body: bytes, variant: PromptVariant | None, ruleset: str = "", to: Any = O55) -> Rewrite:
    context = Context(ruleset=ruleset or ruleset_of(RULESET, variant), variant=variant)
    return rewrite(parse(body), O5, to, CompatPolicy(), context)


def system_of(rewritten: Rewrite) -> Any:
    return json.loads(rewritten.body)["system"]


def about_the_prompt(rewritten: Rewrite) -> list[Any]:
    return [change for change in rewritten.changes if change.rule == "prompt"]


@pytest.mark.parametrize(
    ("system", "before"),
    [
        ({}, []),
        ({"system": None}, []),
        ({"system": ""}, []),
        ({"system": "Sort."}, [{"type": "text", "text": "Sort."}]),
        (
            {"system": [{"type": "text", "text": "Sort.", "cache_control": MARKER}]},
            [{"type": "text", "text": "Sort.", "cache_control": MARKER}],
        ),
    ],
)
def test_an_appended_text_is_the_last_block(system: dict[str, Any], before: list[Any]) -> None:
    assert system_of(said(body_of(**system), APPEND)) == [*before, OWN]


def test_no_byte_of_the_applications_prompt_changes() -> None:
    prompt = '[{"text":"S\\u00f6rt.",  "type":"text", "cache_control":{"type":"ephemeral"}}]'
    body = f'{{"model":"{O5.id}","system":{prompt},"max_tokens":9,"messages":[]}}'.encode()
    assert f'"system":{prompt[:-1]},{{'.encode() in said(body, APPEND).body


@pytest.mark.parametrize(
    ("system", "marker"),
    [
        ("Sort.", None),
        (None, None),
        ([{"type": "text", "text": "Sort."}], None),
        (
            [
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "b", "cache_control": MARKER},
                {"type": "text", "text": "c"},
            ],
            MARKER,
        ),
    ],
)
def test_a_replacing_text_stands_alone_and_keeps_the_last_cache_marker(system: Any, marker: Any) -> None:
    own = {**OWN, "cache_control": marker} if marker else OWN
    assert system_of(said(body_of(system=system), REPLACE)) == [own]


@pytest.mark.parametrize("variant", [APPEND, REPLACE])
def test_saying_it_twice_changes_nothing(variant: PromptVariant) -> None:
    body = body_of(system=[{"type": "text", "text": "Sort.", "cache_control": MARKER}])
    once = said(body, variant)
    twice = said(once.body, variant)
    assert system_of(twice) == system_of(once)
    assert about_the_prompt(twice) == []


@pytest.mark.parametrize("system", [7, {"text": "Sort."}])
def test_a_malformed_prompt_is_left_for_the_upstream_to_judge(system: Any) -> None:
    rewritten = said(body_of(system=system), APPEND)
    assert system_of(rewritten) == system
    assert about_the_prompt(rewritten) == []


def test_a_thread_that_goes_on_has_its_prompt_upstream_already() -> None:
    going_on = said(body_of(thread={"type": "continue", "id": "t"}), APPEND)
    assert "system" not in json.loads(going_on.body)
    assert system_of(said(body_of(thread={"type": "create"}), APPEND)) == [OWN]


@pytest.mark.parametrize(("variant", "verb"), [(APPEND, "follows"), (REPLACE, "replaces")])
def test_it_is_disclosed_by_name_and_version_and_never_by_its_text(variant: PromptVariant, verb: str) -> None:
    (change,) = about_the_prompt(said(body_of(system="Sort."), variant))
    assert change.rewrite_class is RewriteClass.prompt
    assert change.sentence == f"The prompt variant brief, version 3, {verb} the system prompt."


# --- one's own model --------------------------------------------------------------------------------------


def test_ones_own_model_is_told_a_variant_that_names_it_and_nothing_else_changes() -> None:
    body = body_of(system="Sort.", temperature=1)
    rewritten = said(body, APPEND, to=O5)
    assert json.loads(rewritten.body) == {**json.loads(body), "system": system_of(rewritten)}
    assert system_of(rewritten)[-1] == OWN


def test_without_a_variant_ones_own_model_gets_the_very_bytes() -> None:
    body = body_of(system="Sort.")
    assert said(body, None, to=O5).body is body


def test_the_first_ruleset_has_no_variants() -> None:
    assert about_the_prompt(said(body_of(system="Sort."), APPEND, ruleset="1")) == []


# --- gone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [O5, O55])
def test_a_variant_that_is_gone_takes_all_earlier_thinking_with_it_and_says_so(to: Any) -> None:
    rewritten = said(body_of(system="Sort.", messages=HISTORY), None, ruleset_of(RULESET, APPEND), to)
    sent = json.loads(rewritten.body)
    assert sent["system"] == "Sort."
    assert [each["content"] for each in sent["messages"]] == ["hi", [OWN], "on"]
    (change,) = about_the_prompt(rewritten)
    assert change.rewrite_class is RewriteClass.prompt
    assert change.sentence == "The prompt variant that this conversation began with is no longer configured."
