"""Refusals: which models decline what, and how it is said.

A conversation is declined when its digest falls into the model's refusal rate (`profiles`), or when its last
turn says so:

    decline as bio              before the first word
    decline midway as cyber     after some words; what was said is to be discarded

with `cyber`, `bio`, `frontier_llm`, `reasoning_extraction`, `general_harms` or `unnamed`. A model declines
only what it knows (`CATEGORIES`), so the same words pass another model, as they should when a fallback or a
rescue serves them; `unnamed` is declined by every model but Mythos 5.
"""

import re
from collections.abc import Mapping

from gateway.simulator.replies.documents import pick
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.case import Case, Json
from gateway.simulator.rules.lineup import (
    COVERED,
    HAIKU_5_5,
    MYTHOS_5,
    OPUS_5,
    OPUS_5_5,
    SONNET_5_5,
)

ALL = ("cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms")
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(COVERED, ALL),
    MYTHOS_5: (),
    OPUS_5: ("cyber",),
    OPUS_5_5: ("cyber", "bio"),
    SONNET_5_5: ALL,
    HAIKU_5_5: ("cyber", "bio", "frontier_llm", "general_harms"),
}
"""The categories by the models that name one; the others decline without a name."""

UNNAMED = "unnamed"
_TOLD = re.compile(rf"\bdecline (?P<midway>midway )?as (?P<category>{'|'.join(ALL)}|{UNNAMED})\b")


def told(text: str, model_id: str) -> tuple[str | None, bool] | None:
    """The category as which a model declines when told so, and whether midway; None when it does not."""
    found = _TOLD.search(text)
    if found is None:
        return None
    category, midway = found["category"], found["midway"] is not None
    if category == UNNAMED:
        return None if model_id == MYTHOS_5 else (None, midway)
    return (category, midway) if category in CATEGORIES.get(model_id, ()) else None


def refusal(case: Case, seed: bytes) -> Reply:
    """A decline before the first word, as something that the model knows."""
    return declined(pick(seed + b"refusal", (*CATEGORIES.get(case.model.id, ()), None)))


def declined(category: str | None, said: Reply | None = None) -> Reply:
    """A decline, before the first word or after what was said."""
    details: Json = {
        "type": "refusal",
        "category": category,
        "explanation": "This request was declined by the simulator.",
        "recommended_model": None,
    }
    if said is None:
        return Reply([], "refusal", 1, stop_details=details)
    return Reply(said.content, "refusal", said.output_tokens, said.thinking_tokens, stop_details=details)
