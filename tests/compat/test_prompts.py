"""Which variant a request gets, and how a conversation finds its own again."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from gateway.compat.envelope import Envelope, parse
from gateway.compat.prompts import (
    PromptVariant,
    is_gone,
    pinned_variant,
    ruleset_of,
    system_hash,
    text_hash,
    variant_in_force,
)
from gateway.core.types import to_json

MODEL = "claude-opus-5-5"
PROMPT = "You sort letters."
FOR_ALL = PromptVariant("b", 1, frozenset({MODEL, "opus"}), frozenset(), None, "append", "Be brief.")
FOR_A_TASK = replace(FOR_ALL, name="c", tasks=frozenset({"sort", "file"}))
FOR_A_PROMPT = replace(FOR_ALL, name="d", system_sha256=sha256(PROMPT.encode()).hexdigest())
FOR_BOTH = replace(FOR_A_PROMPT, name="e", tasks=frozenset({"sort"}))
EVERY = (FOR_ALL, FOR_A_TASK, FOR_A_PROMPT, FOR_BOTH)


def request(system: Any = None) -> Envelope:
    said = {} if system is None else {"system": system}
    return parse(to_json({"model": "old", "messages": [{"role": "user", "content": "hi"}], **said}))


@pytest.mark.parametrize(
    ("task", "system", "found"),
    [
        ("", None, FOR_ALL),
        ("other", "You do something else.", FOR_ALL),
        ("file", None, FOR_A_TASK),
        ("", PROMPT, FOR_A_PROMPT),
        ("file", PROMPT, FOR_A_PROMPT),
        ("sort", PROMPT, FOR_BOTH),
    ],
)
def test_the_closest_variant_is_in_force(task: str, system: str | None, found: PromptVariant) -> None:
    for variants in (EVERY, EVERY[::-1]):
        assert variant_in_force(variants, request(system), task, MODEL) is found


@pytest.mark.parametrize("variant", [FOR_A_TASK, FOR_A_PROMPT, FOR_BOTH])
def test_what_does_not_match_is_not_in_force(variant: PromptVariant) -> None:
    assert variant_in_force([variant], request("You sort letters and post."), "post", MODEL) is None


def test_a_variant_is_for_the_models_that_it_names_by_id_or_alias() -> None:
    assert variant_in_force(EVERY, request(), "", "opus") is FOR_ALL
    assert variant_in_force(EVERY, request(), "", "claude-opus-5") is None


def test_of_versions_the_highest_counts_even_where_only_an_older_one_would_match() -> None:
    older, newer = replace(FOR_ALL, version=9), replace(FOR_A_TASK, name="b", version=10)
    assert variant_in_force([newer, older], request(), "sort", MODEL) is newer
    assert variant_in_force([newer, older], request(), "", MODEL) is None


def test_of_two_that_are_equally_close_the_first_by_name_is_in_force() -> None:
    other = replace(FOR_ALL, name="a")
    assert variant_in_force([FOR_ALL, other], request(), "", MODEL) is other


# --- the hash ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "system",
    [
        PROMPT,
        f"\n {PROMPT}\n",
        [{"type": "text", "text": PROMPT}],
        [{"type": "text", "text": PROMPT, "cache_control": {"type": "ephemeral"}}],
    ],
)
def test_a_prompt_has_one_hash_however_it_is_sent(system: Any) -> None:
    assert system_hash(request(system)) == text_hash(PROMPT + "\n") == sha256(PROMPT.encode()).hexdigest()


def test_blocks_are_joined_by_a_line_break() -> None:
    blocks = [{"type": "text", "text": "One.\n"}, {"type": "text", "text": "Two."}]
    assert system_hash(request(blocks)) == text_hash("One.\n\nTwo.")


@pytest.mark.parametrize("system", [None, "", " \n", [], 7, {"text": PROMPT}, [{"type": "text", "text": 7}]])
def test_what_is_no_prompt_has_no_hash(system: Any) -> None:
    assert system_hash(request(system)) is None


def test_half_a_surrogate_pair_is_hashed_too() -> None:
    body = b'{"model": "old", "system": "a\\ud800", "messages": []}'
    with pytest.raises(Exception, match="surrogate"):
        parse(body)


# --- the pin ----------------------------------------------------------------------------------------------


def test_a_ruleset_names_the_variant_and_finds_it_again() -> None:
    newer = replace(FOR_ALL, version=2, text="Be very brief.")
    pinned = ruleset_of("2", FOR_ALL)
    assert pinned.startswith("2;b@1:")
    assert pinned_variant([newer, FOR_ALL], pinned) is FOR_ALL
    assert not is_gone(pinned, FOR_ALL)


def test_a_ruleset_without_a_variant_names_none() -> None:
    assert ruleset_of("2", None) == "2"
    assert pinned_variant(EVERY, "2") is None
    assert not is_gone("2", None)


@pytest.mark.parametrize(
    "left", [[], [replace(FOR_ALL, text="Be long.")], [replace(FOR_ALL, mode="replace")], [FOR_A_TASK]]
)
def test_a_variant_whose_words_are_not_there_any_more_is_gone(left: list[PromptVariant]) -> None:
    pinned = ruleset_of("2", FOR_ALL)
    assert pinned_variant(left, pinned) is None
    assert is_gone(pinned, None)


def test_who_a_variant_is_for_may_change_under_a_conversation_that_has_it() -> None:
    moved = replace(FOR_ALL, tasks=frozenset({"other"}))
    assert pinned_variant([moved], ruleset_of("2", FOR_ALL)) is moved
