"""Thinking that the application never asked for (R12).

Some models cannot be told not to think. With `unasked_thinking: hide` the blocks stay away from an
application that wanted none: it may look for its text in the first block. They come back on the next turn as
a note, byte for byte, because the model goes on from them; with `show` they pass through.
"""

from dataclasses import replace

from gateway.compat.draft import Draft
from gateway.compat.rules.thinking import unasked
from gateway.core.types import RewriteClass


def apply(draft: Draft) -> Draft:
    """Plan to hide the thinking of a model that cannot be told not to think."""
    if draft.counting or draft.policy.unasked_thinking != "hide" or not unasked(draft):
        return draft
    sentence = "Thinking is hidden and kept for the next turn: the application did not ask for it."
    draft = replace(draft, plan=replace(draft.plan, hides_thinking=True))
    return draft.note("unasked_thinking", RewriteClass.emulated, sentence)
