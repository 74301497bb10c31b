"""Who declines what, by the reference's list of categories."""

import pytest

from gateway.simulator.replies.refusals import ALL, CATEGORIES, declined, refusal, told
from gateway.simulator.replies.reply import Reply
from tests.support.judged import case_of, catalogue

CURRENT = {row.id for row in catalogue().models if row.lifecycle.status != "retired"}
COVERED = [f"claude-{line}-{number}" for line in ("fable", "mythos") for number in ("5", "5-1", "5-2")]


@pytest.mark.parametrize(
    ("model", "categories"),
    [
        *((model, ALL) for model in COVERED if model != "claude-mythos-5"),
        ("claude-mythos-5", ()),
        ("claude-opus-5", ("cyber",)),
        ("claude-opus-5-5", ("cyber", "bio")),
        ("claude-sonnet-5-5", ALL),
        ("claude-haiku-5-5", ("cyber", "bio", "frontier_llm", "general_harms")),
        ("claude-opus-4-8", ()),
        ("claude-sonnet-5", ()),
        ("claude-opus-4-5-20251101", ()),
    ],
)
def test_a_model_declines_what_it_knows(model: str, categories: tuple[str, ...]) -> None:
    for category in ALL:
        known = category in categories
        assert told(f"Please decline as {category}.", model) == ((category, False) if known else None)
        assert told(f"decline midway as {category}", model) == ((category, True) if known else None)
    unnamed = None if model == "claude-mythos-5" else (None, False)
    assert told("decline as unnamed", model) == unnamed


def test_other_words_are_no_reason() -> None:
    assert told("We decline politely.", "claude-fable-5-2") is None
    assert told("decline as rude", "claude-fable-5-2") is None
    assert set(CATEGORIES) <= CURRENT


def test_a_refusal_by_itself_names_what_the_model_knows() -> None:
    for model in CURRENT:
        case = case_of({"model": model})
        named = {(refusal(case, bytes([n])).stop_details or {})["category"] for n in range(60)}
        assert named == {*CATEGORIES.get(model, ()), None}


def test_a_refusal_says_so_with_or_without_words() -> None:
    empty = declined("bio")
    assert (empty.content, empty.stop_reason, empty.output_tokens) == ([], "refusal", 1)
    assert empty.stop_details == {
        "type": "refusal",
        "category": "bio",
        "explanation": "This request was declined by the simulator.",
        "recommended_model": None,
    }
    said = declined(None, Reply([{"type": "text", "text": "Well"}], "end_turn", 9, 4))
    assert (said.content, said.stop_reason) == ([{"type": "text", "text": "Well"}], "refusal")
    assert (said.output_tokens, said.thinking_tokens) == (9, 4)
