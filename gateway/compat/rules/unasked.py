"""Thinking that the application never asked for (R12).

Some models cannot be told not to think, and one that can writes notes between tool calls into thinking blocks
nevertheless (`between_tools`). With `unasked_thinking: hide` the blocks stay away from an application that
wanted none: it may look for its text in the first block. They come back on the next turn as a note, byte for
byte, because the model goes on from them; with `show` they pass through.
"""

from dataclasses import replace

from msgspec import Raw

from gateway.compat.draft import Draft
from gateway.compat.envelope import read
from gateway.compat.rules.thinking import unasked, wish
from gateway.core.types import RewriteClass


def apply(draft: Draft) -> Draft:
    """Plan to hide thinking that nobody asked for."""
    if draft.counting or draft.policy.unasked_thinking != "hide":
        return draft
    if unasked(draft):
        sentence = "Thinking is hidden and kept for the next turn: the application did not ask for it."
    elif _takes_notes(draft):
        sentence = "Notes between tool calls are hidden and kept: the application wants no thinking blocks."
    else:
        return draft
    draft = replace(draft, plan=replace(draft.plan, hides_thinking=True))
    return draft.note("unasked_thinking", RewriteClass.emulated, sentence)


def _takes_notes(draft: Draft) -> bool:
    """Tell whether thinking blocks will come although thinking is off, and nobody wants them as text."""
    meant, now = wish(draft.envelope.fields, draft.source), wish(draft.fields, draft.target)
    if meant is None or now is None or draft.policy.progress_notes == "text":
        return False
    tools = read(draft.fields.get("tools"), list[Raw])
    return meant.mode == "off" and now.mode == "between_tools" and bool(tools)
