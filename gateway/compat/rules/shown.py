"""What the application is shown of an answer that it would not know what to do with (R12 to R15).

Some models cannot be told not to think, and one that can writes notes between tool calls into thinking blocks
nevertheless (`between_tools`); and one makes forced calls without thinking, where others think first. With
`unasked_thinking: hide` such blocks stay away from an application that wanted none: it may look for its text,
or its call, in the first block. They come back on the next turn as a note, byte for byte, because the model
goes on from them; with `show` they pass through.

What older models said between tool calls was text. With `progress_notes: text` the newer ones' notes are text
again; where they would come silent, they are asked for (`display: updates`). Thinking whose summaries the
application wants to see is left alone, because notes cannot be told from summaries.

`stop_reasons: classic` tells stop reasons that older applications do not know as ones that they do, and
`model_field: requested` shows the model that was asked for. Logs, metrics and `x-gateway-served-model` keep
the truth.
"""

from dataclasses import replace

from msgspec import Raw

from gateway.compat.draft import Draft
from gateway.compat.envelope import encode, present, read
from gateway.compat.rules.thinking import unasked, wish
from gateway.compat.rules.tools import forced
from gateway.compat.thread import leaves_thread
from gateway.core.types import RewriteClass

UPDATES_BETA = "thinking-display-updates-2026-08-18"


def hide_thinking(draft: Draft) -> Draft:
    """Plan to hide thinking that nobody asked for (R12)."""
    if draft.counting or draft.policy.unasked_thinking != "hide":
        return draft
    if not (unasked(draft) or _takes_notes(draft) or _called_without_thinking(draft)):
        return draft
    sentence = "Thinking is hidden and kept for the next turn: the application did not ask for it."
    draft = draft.but(plan=replace(draft.plan, hides_thinking=True))
    return draft.note("unasked_thinking", RewriteClass.emulated, sentence)


def show_notes(draft: Draft) -> Draft:
    """Plan to show notes between tool calls as text, and ask for them where they would be silent (R13)."""
    if draft.counting or draft.policy.progress_notes != "text" or draft.source.thinking.updates:
        return draft
    if not _may_call(draft):
        return draft
    if not _takes_notes(draft):
        # A model that takes over when this one declines may not know updates, and then takes nothing over.
        if not _thinks_unseen(draft) or present(draft.fields.get("fallbacks")):
            return draft
        options = draft.options("thinking") or {}
        draft = draft.put("thinking", {"type": encode("adaptive"), **options, "display": encode("updates")})
        if UPDATES_BETA not in draft.betas:
            draft = draft.but(betas=(*draft.betas, UPDATES_BETA))
    draft = draft.but(plan=replace(draft.plan, shows_notes=True))
    sentence = "Notes between tool calls, which come as thinking, are shown as text."
    return draft.note("progress_notes", RewriteClass.emulated, sentence)


def name_stops(draft: Draft) -> Draft:
    """Plan to tell newer stop reasons as older ones (R14)."""
    if draft.counting or draft.policy.stop_reasons != "classic":
        return draft
    draft = draft.but(plan=replace(draft.plan, classic_stops=True))
    sentence = "Stop reasons that older applications do not know are told as ones that they do."
    return draft.note("stop_reasons", RewriteClass.emulated, sentence)


def name_model(draft: Draft) -> Draft:
    """Plan to show the model that was asked for (R15); to be done for both models alike."""
    if draft.counting or draft.policy.model_field != "requested" or draft.envelope.model == draft.target.id:
        return draft
    draft = draft.but(plan=replace(draft.plan, shown_model=draft.envelope.model))
    return draft.note("model_field", RewriteClass.lossless, "The answer names the model that was asked for.")


def _may_call(draft: Draft) -> bool:
    """Tell whether there may be tools: later turns of a thread do not bring them, and all must be alike."""
    return bool(read(draft.fields.get("tools"), list[Raw])) or leaves_thread(draft.envelope)


def _takes_notes(draft: Draft) -> bool:
    """Tell whether notes will come as thinking blocks although thinking is off."""
    meant, now = wish(draft.envelope.fields, draft.source), wish(draft.fields, draft.target)
    if meant is None or now is None or not _may_call(draft):
        return False
    return meant.mode == "off" and now.mode == "between_tools"


def _called_without_thinking(draft: Draft) -> bool:
    """Tell whether the target will think before a call that the source, when forced, makes without."""
    if "unthinking_calls" not in draft.source.features or not forced(draft.envelope.fields):
        return False
    now = wish(draft.fields, draft.target)
    return now is not None and now.on and "unthinking_calls" not in draft.target.features


def _thinks_unseen(draft: Draft) -> bool:
    """Tell whether the target thinks, and shows nothing of it, its notes included."""
    now = wish(draft.fields, draft.target)
    if now is None or now.mode != "adaptive" or not draft.target.thinking.updates:
        return False
    display = now.options.get("display")
    shown = read(display, str) if present(display) else draft.target.thinking.display_default
    return shown == "omitted"
