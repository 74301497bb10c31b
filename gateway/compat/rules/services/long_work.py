"""Task budgets and compaction (R18): what the API does about long work.

A model without task budgets is not told what is left of one. A model without compaction lets the
conversation grow until its window is full, which is seen before it is sent. A conversation that was compacted
already, or a request whose only purpose is to compact one, cannot be said to it: the compacted part is there
in the block alone. Context editing is known to every model.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from gateway.compat.catalog import Model, loses
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Fields, present, read
from gateway.core.types import Change, RewriteClass

COMPACT = "compact_20260112"
_BLOCK = b'"compaction"'


class _Edit(msgspec.Struct, frozen=True):
    type: str = ""


def apply_budget(draft: Draft) -> Draft:
    """Leave out a task budget."""
    options = draft.options("output_config")
    if options is None or "task_budget" not in options:
        return draft
    if not loses(draft.source, draft.target, "task_budgets"):
        return draft
    given = present(options["task_budget"])
    rest = {key: value for key, value in options.items() if key != "task_budget"}
    draft = draft.put("output_config", rest) if rest else draft.drop("output_config")
    sentence = f"{draft.target.id} takes no task budget: it does not see what is left of one."
    return draft.note("task_budget", RewriteClass.emulated if given else RewriteClass.lossless, sentence)


def apply_compaction(draft: Draft) -> Draft:
    """Leave out compaction on the way."""
    management = draft.options("context_management")
    edits = read((management or {}).get("edits"), list[Raw])
    if management is None or edits is None or not loses(draft.source, draft.target, "compaction"):
        return draft
    kept = [raw for raw in edits if not _compacts(raw)]
    if len(kept) == len(edits):
        return draft
    if kept:
        draft = draft.put("context_management", {**management, "edits": kept})
    else:
        draft = draft.drop("context_management")
    sentence = f"{draft.target.id} compacts no conversation: a long one ends where its window does."
    return draft.note("compaction", RewriteClass.emulated, sentence)


def _compacts(raw: Raw) -> bool:
    edit = read(raw, _Edit)
    return edit is not None and edit.type == COMPACT


def compacted(draft: Draft) -> str:
    """Say why a compacted conversation, or the wish for one, cannot be said to the target."""
    source, target = draft.source, draft.target
    if present(draft.fields.get("compaction")) and loses(source, target, "compaction_on_demand"):
        return f"the request compacts a conversation, which {target.id} does not do"
    if loses(source, target, "compaction") and _holds_compaction(draft.envelope):
        return f"the conversation was compacted, and {target.id} cannot read what is left of it"
    return ""


def _holds_compaction(envelope: Envelope) -> bool:
    answers = [turn.content for turn in envelope.turns if turn.role == "assistant"]
    held = [content for content in answers if _BLOCK in bytes(content)]
    blocks = (block for content in held for block in read(content, list[_Edit]) or ())
    return any(block.type == "compaction" for block in blocks)


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    options = read(envelope.fields.get("output_config"), Fields) or {}
    if present(options.get("task_budget")) and "task_budgets" not in model.features:
        yield Change("task_budget", RewriteClass.unservable, f"{model.id} takes no task budget")
    management = read(envelope.fields.get("context_management"), Fields) or {}
    edits = read(management.get("edits"), list[Raw]) or ()
    asks = any(_compacts(raw) for raw in edits)
    on_demand = present(envelope.fields.get("compaction"))
    if "compaction" not in model.features and (asks or _holds_compaction(envelope)):
        yield Change("compaction", RewriteClass.unservable, f"{model.id} compacts no conversation")
    if on_demand and "compaction_on_demand" not in model.features:
        yield Change("compaction", RewriteClass.unservable, f"{model.id} compacts nothing on demand")
