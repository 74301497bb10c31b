"""Structured outputs: JSON that follows a schema, and tools whose input does.

The format's older spelling at the top level is deprecated, and where it ends is not said; it is moved to
where every model takes it, away from the generation that it came with. A format cannot be had from a model
without structured outputs; a strict tool there is a tool whose input may miss its schema.

What no model takes together with a format (citations) or with an answer of no tokens is named in
`violations`, because other rules must not bring it about.
"""

import re
from collections.abc import Iterator

from msgspec import Raw

from gateway.compat.catalog import Model, loses
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Fields, encode, present, read
from gateway.compat.rules.tool_versions import Tool, tools_of
from gateway.core.types import Change, RewriteClass

_CITES = re.compile(rb'"citations"\s*:\s*\{[^{}"]*"enabled"\s*:\s*true')
_STRICT = (b'"strict"',)
_FORCING = frozenset({"any", "tool"})


def apply_format(draft: Draft) -> Draft:
    """Move a format from its old place."""
    asked, options = draft.fields.get("output_format"), draft.options("output_config")
    if asked is None or options is None or not loses(draft.source, draft.target, "output_format"):
        return draft
    if not present(asked):
        sentence = "The empty output_format is left out."
        return draft.drop("output_format").note("output_format", RewriteClass.lossless, sentence)
    if present(options.get("format")) or "structured_outputs" not in draft.target.features:
        return draft
    draft = draft.put("output_config", options | {"format": asked}).drop("output_format")
    sentence = f"output_format became output_config.format, as {draft.target.id} spells it."
    return draft.note("output_format", RewriteClass.lossless, sentence)


def apply_strict(draft: Draft) -> Draft:
    """Hold no tool's input to its schema where the target cannot."""
    if not loses(draft.source, draft.target, "structured_outputs"):
        return draft
    tools = tools_of(draft.fields, _STRICT)
    if not any(_strict(tool) for _, tool in tools):
        return draft
    draft = draft.put("tools", [_loose(raw) if _strict(tool) else raw for raw, tool in tools])
    sentence = f"{draft.target.id} holds no tool's input to its schema."
    return draft.note("strict", RewriteClass.emulated, sentence)


def _strict(tool: Tool | None) -> bool:
    return tool is not None and (read(tool.strict, bool) or False)


def _loose(raw: Raw) -> Raw:
    return encode({key: value for key, value in (read(raw, Fields) or {}).items() if key != "strict"})


def unformattable(draft: Draft) -> str:
    """Say why a format cannot be had from the target."""
    if not loses(draft.source, draft.target, "structured_outputs") or _format(draft.envelope) is None:
        return ""
    return f"the answer is to follow a JSON schema, to which {draft.target.id} cannot be held"


def _format(envelope: Envelope) -> Raw | None:
    """The schema asked for, in either spelling."""
    options = read(envelope.fields.get("output_config"), Fields) or {}
    found = (options.get("format"), envelope.fields.get("output_format"))
    return next((raw for raw in found if raw is not None and present(raw)), None)


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    wrong: list[tuple[str, str]] = []
    asked = _format(envelope)
    if "structured_outputs" not in model.features:
        if asked is not None:
            wrong.append(("structured_output", f"{model.id} follows no schema"))
        if any(_strict(tool) for _, tool in tools_of(envelope.fields, _STRICT)):
            wrong.append(("strict", f"{model.id} knows no strict tools"))
    if asked is not None and _CITES.search(memoryview(envelope.fields.get("messages", Raw(b"")))):
        wrong.append(("structured_output", "a format and citations exclude each other"))
    if envelope.max_tokens == 0 and (other := _not_with_nothing(envelope)):
        wrong.append(("prewarm", f"max_tokens 0 and {other} exclude each other"))
    yield from (Change(rule, RewriteClass.unservable, sentence) for rule, sentence in wrong)


def _not_with_nothing(envelope: Envelope) -> str:
    """What asks for an answer although there is to be none."""
    thinking = read(envelope.fields.get("thinking"), Fields) or {}
    choice = read(envelope.fields.get("tool_choice"), Fields) or {}
    wrong = {
        "a stream": envelope.stream,
        "thinking": read(thinking.get("type"), str) == "enabled",
        "a format": _format(envelope) is not None,
        "a forced tool": read(choice.get("type"), str) in _FORCING,
        "compaction": present(envelope.fields.get("compaction")),
    }
    return next((name for name, there in wrong.items() if there), "")
