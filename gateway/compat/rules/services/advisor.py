"""The advisor (R18): a second model that the first may ask.

Each model may be advised by some, never by a weaker one. One that the target may not ask is swapped for the
first of those that it may; what such a one says comes back encrypted more often, and costs what it costs. A
model that may ask nobody goes without, unless the conversation holds advice already: the API wants the tool
beside it.
"""

import re
from collections.abc import Iterator

from msgspec import Raw

from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Fields, encode, read
from gateway.compat.rules.tool_versions import Tool, tools_of
from gateway.core.types import Change, RewriteClass

RULE = "advisor"
TOOL = "advisor_20260301"
_TOOL = (TOOL.encode(),)
_ADVICE = b'"advisor_tool_result"'
_DATE = re.compile(r"-\d{8}$")


def differ(source: Model, target: Model) -> bool:
    """Tell whether the source may ask somebody whom the target may not."""
    return not {*source.advisors} <= {*target.advisors}


def apply(draft: Draft) -> Draft:
    """Ask an advisor whom the target may ask, or nobody."""
    tools = tools_of(draft.fields, _TOOL)
    foreign = [tool for _, tool in tools if tool is not None and _is_foreign(tool, draft)]
    if not foreign or advised(draft):
        return draft
    if draft.target.advisors:
        other = draft.target.advisors[0]
        fitted = [_asking(raw, other) if tool in foreign else raw for raw, tool in tools]
        sentence = f"The advisor became {other}: {draft.target.id} may not ask the one that was named."
        return draft.put("tools", fitted).note(RULE, RewriteClass.emulated, sentence)
    kept = [raw for raw, tool in tools if tool not in foreign]
    draft = draft.put("tools", kept) if kept else draft.drop("tools").drop("tool_choice")
    return draft.note(RULE, RewriteClass.emulated, f"There is no advisor: {draft.target.id} may ask none.")


def advised(draft: Draft) -> str:
    """Say why the target cannot go without its advisor."""
    if draft.target.advisors:
        return ""
    tools = [tool for _, tool in tools_of(draft.fields, _TOOL)]
    foreign = [tool for tool in tools if tool is not None and _is_foreign(tool, draft)]
    if not foreign:
        return ""
    choice = draft.options("tool_choice") or {}
    kind, chosen = read(choice.get("type"), str), read(choice.get("name"), str)
    forced = kind == "tool" and chosen in {tool.name for tool in foreign}
    if forced or (kind == "any" and len(tools) == len(foreign)):
        return f"an advisor is to be asked, and {draft.target.id} may ask none"
    if _ADVICE in draft.envelope.body:
        return f"the conversation holds an advisor's words, and {draft.target.id} may ask none"
    return ""


def _is_foreign(tool: Tool, draft: Draft) -> bool:
    return tool.type == TOOL and _may_ask(draft.source, tool) and not _may_ask(draft.target, tool)


def _may_ask(model: Model, tool: Tool) -> bool:
    return tool.model in model.advisors or _DATE.sub("", tool.model) in model.advisors


def _asking(raw: Raw, advisor: str) -> Raw:
    return encode((read(raw, Fields) or {}) | {"model": encode(advisor)})


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    for _, tool in tools_of(envelope.fields, _TOOL):
        if tool is not None and tool.type == TOOL and not _may_ask(model, tool):
            yield Change(RULE, RewriteClass.unservable, f"{model.id} may not ask this advisor")
