"""Values of `anthropic-beta` (R16).

A value whose feature the target does not have is left out, because one that a model does not know can fail
the whole request; so is fast mode's where it needs none any more. The computer tool's follows its version.
Every other value goes on as it came, above all one that nobody here knows.

Values are judged by the two models alone, never by what the body holds: the turns of a thread must all name
the same ones, and its later turns do not bring the tools again. None is added here, because not every
organisation has what it stands for. (`fine-grained-tool-streaming` beside a toolset is an error for every
model that takes toolsets, so it is the caller's to mend.)
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from gateway.compat.catalog import Feature, Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Headers
from gateway.compat.rules.tool_versions import tools_of
from gateway.core.types import Change, RewriteClass

FINE_GRAINED = "fine-grained-tool-streaming-2025-05-14"
TOOLSETS = frozenset({"computer_toolset_20260801", "browser_toolset_20260801"})
_TOOLSETS = tuple(kind.encode() for kind in TOOLSETS)

Knows = Callable[[Model], bool]


def _has(feature: Feature, model: Model) -> bool:
    return feature in model.features


def _takes(tool: str, model: Model) -> bool:
    return tool not in model.rejects_tools


def _may_ask(model: Model) -> bool:
    return bool(model.advisors)


def _is_fast_as_a_beta(model: Model) -> bool:
    return model.fast_mode == "beta"


def _hears_the_system(model: Model) -> bool:
    return model.mid_conversation_system


def _tells_its_progress(model: Model) -> bool:
    return model.thinking.updates


_TURN_EFFORT, _TOOL_CHANGES = partial(_has, "per_message_effort"), partial(_has, "tool_changes")
_FALLBACKS = partial(_has, "fallbacks_default")

KNOWN: Mapping[str, Knows] = {
    "advisor-tool-2026-03-01": _may_ask,
    "compact-2026-01-12": partial(_has, "compaction"),
    "compact-2026-09-04": partial(_has, "compaction_on_demand"),
    "computer-use-2025-01-24": partial(_takes, "computer_20250124"),
    "computer-use-2025-11-24": partial(_takes, "computer_20251124"),
    "fast-mode-2026-02-01": _is_fast_as_a_beta,
    "inline-tools-2026-09-15": _TOOL_CHANGES,
    "mid-conversation-effort-2026-08-01": _TURN_EFFORT,
    "mid-conversation-output-config-2026-07-01": _TURN_EFFORT,
    "mid-conversation-system-clear-at-2026-08-21": _hears_the_system,
    "mid-conversation-tool-changes-2026-07-01": _TOOL_CHANGES,
    "output-300k-2026-03-24": partial(_has, "batch_300k"),
    "per-turn-control-2026-07-01": _TURN_EFFORT,
    "server-side-fallback-2026-06-01": _FALLBACKS,
    "server-side-fallback-2026-07-01": _FALLBACKS,
    "task-budgets-2026-03-13": partial(_has, "task_budgets"),
    "thinking-display-updates-2026-08-18": _tells_its_progress,
}
"""Which models have a use for a value; all other values pass."""

OTHERS: Mapping[str, str] = {
    "computer-use-2025-01-24": "computer-use-2025-11-24",
    "computer-use-2025-11-24": "computer-use-2025-01-24",
}
"""What takes the place of a value where the target has a use for that."""


def apply(draft: Draft) -> Draft:
    """Leave out what only the source has a use for."""
    sent: list[str] = []
    left: list[str] = []
    for value in draft.betas:
        other = _fitted(value, draft)
        if other != value:
            left.append(value)
        if other is not None and (other == value or other not in draft.betas):
            sent.append(other)
    if not left:
        return draft
    sentence = f"anthropic-beta goes without {', '.join(left)}: {draft.target.id} has no use for it."
    return draft.but(betas=tuple(sent)).note("betas", RewriteClass.lossless, sentence)


def _fitted(value: str, draft: Draft) -> str | None:
    """Return what is sent in a value's place."""
    knows = KNOWN.get(value)
    if knows is None or not knows(draft.source) or knows(draft.target):
        return value
    other = OTHERS.get(value)
    return other if other is not None and KNOWN[other](draft.target) else None


def violations(envelope: Envelope, model: Model, headers: Headers) -> Iterator[Change]:
    """Name what `model` would reject because of a beta."""
    if FINE_GRAINED not in headers.betas:
        return
    if any(tool.type in TOOLSETS for _, tool in tools_of(envelope.fields, _TOOLSETS) if tool is not None):
        sentence = f"{model.id} takes no {FINE_GRAINED} beside a toolset"
        yield Change("betas", RewriteClass.unservable, sentence)
