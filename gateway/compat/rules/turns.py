"""Turns of role `system` inside a conversation (R9)."""

from collections.abc import Iterator

from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope
from gateway.core.types import Change, RewriteClass


def unknown_role(draft: Draft) -> str:
    """Say why a turn of role system cannot be said to the target."""
    told = draft.source.mid_conversation_system and not draft.target.mid_conversation_system
    if not told or not _has_system_turns(draft.envelope):
        return ""
    return f"messages hold a turn of role system, which {draft.target.id} does not take"


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    if not model.mid_conversation_system and _has_system_turns(envelope):
        sentence = f"{model.id} takes no turn of role system"
        yield Change("mid_conversation_system", RewriteClass.unservable, sentence)


def _has_system_turns(envelope: Envelope) -> bool:
    return any(turn.role == "system" for turn in envelope.turns)
