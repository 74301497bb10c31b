"""The prompt variant of a conversation, said to its model (`compat.prompts`).

Only `system` is touched. An appended text is a block of its own behind the application's, so that every byte
before it, and every cache marker in it, is what the application sent. A text that takes the place of a system
prompt takes over its last cache marker too: otherwise nothing would be cached any more.

Where the conversation's variant is gone, its system prompt is not what it was, and thinking that was bound to
it would be an error: all earlier thinking is left out, now and for the rest of the conversation, and nothing
of what was kept of it is repeated.
"""

from collections.abc import Sequence

from msgspec import Raw

from gateway.compat.address import raw_blocks
from gateway.compat.draft import Draft
from gateway.compat.envelope import Fields, encode, present, read
from gateway.compat.prompts import PromptVariant, is_gone
from gateway.compat.replay import Replay
from gateway.compat.thread import continued
from gateway.core.types import RewriteClass


def apply(draft: Draft) -> Draft:
    """Say the variant that the conversation has."""
    variant = draft.variant
    if is_gone(draft.ruleset, variant):
        sentence = "The prompt variant that this conversation began with is no longer configured."
        return draft.but(past=Replay(broken_at=0)).note("prompt", RewriteClass.prompt, sentence)
    if variant is None or continued(draft.envelope) is not None:  # its system prompt is upstream already
        return draft
    system = draft.fields.get("system")
    before = raw_blocks(system) if system is not None and present(system) else []
    if before is None:  # the upstream has to say that it is malformed
        return draft
    after = _said(variant, before)
    if after == before:
        return draft
    return draft.put("system", after).note("prompt", RewriteClass.prompt, _sentence(variant))


def _said(variant: PromptVariant, before: Sequence[Raw]) -> list[Raw]:
    """Return the blocks of the system prompt with the variant in force; said twice, it is the same."""
    own = {"type": "text", "text": variant.text}
    if variant.mode == "append":
        block = encode(own)
        return [*before] if before and before[-1] == block else [*before, block]
    fields = [read(raw, Fields) or {} for raw in before]
    markers = [each["cache_control"] for each in fields if "cache_control" in each]
    return [encode({**own, "cache_control": markers[-1]} if markers else own)]


def _sentence(variant: PromptVariant) -> str:
    manner = "follows" if variant.mode == "append" else "replaces"
    return f"The prompt variant {variant.name}, version {variant.version}, {manner} the system prompt."
