"""Versions of the tools that the API knows itself (R10).

A type that the target rejects is swapped for one that it takes where the calls look the same, so that the
application's loop need not know: the computer tool without zoom, web search and fetch whose results are not
filtered by code, code execution that no code calls. The text editor changed its name with Claude 4; the
answer calls it by the old one, and earlier calls in the conversation have the new.

A toolset is no version of the tool before it: its calls look different, so there is nothing to swap. Nor can
a tool that only code may call be offered to a model whose code calls no tools. Types that no row names pass.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import msgspec
from msgspec import Raw

from gateway.compat.catalog import Model, loses
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, Fields, encode, present, read
from gateway.core.types import Change, RewriteClass

RULE = "tool_version"
_OLD_EDITOR, _EDITOR = "str_replace_editor", "str_replace_based_edit_tool"
_TOOLSET = "computer_toolset_20260801"
_CALLERS = b'"allowed_callers"'
_DATED = "_20"
_EDITORS = frozenset({"text_editor_20250429", "text_editor_20250728"})
_JUDGED = _EDITORS | {_TOOLSET, "defer_loading"}


class Tool(msgspec.Struct, frozen=True):
    """What the rules want to know of one tool."""

    type: str = "custom"
    name: str = ""
    model: str = ""
    """Of an advisor."""
    enable_zoom: Raw = Raw(b"null")
    allowed_callers: Raw = Raw(b"null")
    defer_loading: Raw = Raw(b"null")
    strict: Raw = Raw(b"null")


@dataclass(frozen=True, slots=True)
class Swap:
    """The type that takes another one's place."""

    to: str
    rewrite_class: RewriteClass
    loss: str = ""
    """For people; empty where nothing is lost."""
    unknown: frozenset[str] = frozenset()
    """Options that the other type does not have."""
    name: str = ""
    """The name that goes with it, where that is another one."""


_PLAIN = "results are not filtered by code"
_SEARCH = Swap("web_search_20250305", RewriteClass.emulated, _PLAIN, frozenset({"response_inclusion"}))
_FETCH = Swap(
    "web_fetch_20250910", RewriteClass.emulated, _PLAIN, frozenset({"response_inclusion", "use_cache"})
)
_CODE = Swap("code_execution_20250825", RewriteClass.emulated, "code calls no tools")
_NEWER_EDITOR = Swap("text_editor_20250728", RewriteClass.prompt, "it undoes no edits", name=_EDITOR)

SWAPS: Mapping[str, Swap] = {
    "computer_20250124": Swap("computer_20251124", RewriteClass.lossless),
    "computer_20251124": Swap("computer_20250124", RewriteClass.lossless, unknown=frozenset({"enable_zoom"})),
    "web_search_20260209": _SEARCH,
    "web_search_20260318": _SEARCH,
    "web_fetch_20260209": _FETCH,
    "web_fetch_20260309": _FETCH,
    "web_fetch_20260318": _FETCH,
    "code_execution_20260120": _CODE,
    "code_execution_20260521": _CODE,
    "text_editor_20241022": _NEWER_EDITOR,
    "text_editor_20250124": _NEWER_EDITOR,
}
"""By the type that is rejected."""


def tools_of(fields: Mapping[str, Raw], words: Collection[bytes]) -> list[tuple[Raw, Tool | None]]:
    """Return the tools of a request, each with what it is, or None where it is malformed.

    They are not even looked at where none of `words` stands anywhere in them.
    """
    tools = fields.get("tools", Raw(b""))
    data = bytes(tools)
    if not any(word in data for word in words):
        return []
    return [(raw, read(raw, Tool)) for raw in read(tools, list[Raw]) or ()]


def differ(source: Model, target: Model) -> bool:
    """Tell whether the source takes tools, or uses of them, that the target does not."""
    return bool(target.rejects_tools - source.rejects_tools) or loses(source, target, "programmatic_tools")


@lru_cache(maxsize=256)
def _words(kinds: frozenset[str]) -> tuple[bytes, ...]:
    """Return what stands in tools of these kinds; what dated ones share is enough to look for."""
    undated = [kind.encode() for kind in kinds if _DATED not in kind]
    return (_CALLERS, *undated, *([_DATED.encode()] if len(undated) < len(kinds) else []))


def apply(draft: Draft) -> Draft:
    """Swap the types that the target rejects, and let code call no tools where it cannot."""
    tools = tools_of(draft.fields, _words(draft.target.rejects_tools))
    swaps = {tool.type: swap for _, tool in tools if tool and (swap := _swap(tool, draft))}
    freed = [tool for _, tool in tools if tool and _by_code_too(tool) and _loses_callers(draft)]
    if not swaps and not freed:
        return draft
    draft = draft.put("tools", [_fitted(raw, tool, draft) for raw, tool in tools])
    for kind, swap in swaps.items():
        loss = f"; {swap.loss}" if swap.loss else ""
        sentence = f"The tool {kind} became {swap.to}, which {draft.target.id} takes{loss}."
        draft = draft.note(RULE, swap.rewrite_class, sentence)
    if freed:
        sentence = f"Tools are called by the model only: {draft.target.id} lets no code call them."
        draft = draft.note(RULE, RewriteClass.emulated, sentence)
    return _renamed(draft, swaps)


def unswappable(draft: Draft) -> str:
    """Say why a tool cannot be offered to the target."""
    for _, tool in tools_of(draft.fields, _words(draft.target.rejects_tools)):
        if tool is None:
            continue
        if _is_foreign(tool, draft) and _swap(tool, draft) is None:
            return f"{draft.target.id} does not take the tool {tool.type}, and none takes its place"
        if _loses_callers(draft) and _by_code_only(tool):
            return f"a tool is for code alone to call, which {draft.target.id} does not do"
    return ""


def _is_foreign(tool: Tool, draft: Draft) -> bool:
    return tool.type in draft.target.rejects_tools - draft.source.rejects_tools


def _swap(tool: Tool, draft: Draft) -> Swap | None:
    """Return what takes a tool's place, where the target rejects it and the source did not."""
    swap = SWAPS.get(tool.type)
    if swap is None or not _is_foreign(tool, draft) or swap.to in draft.target.rejects_tools:
        return None
    unpaired = bool(swap.name) and tool.name != _OLD_EDITOR
    return None if unpaired or read(tool.enable_zoom, bool) else swap


def _loses_callers(draft: Draft) -> bool:
    return loses(draft.source, draft.target, "programmatic_tools")


def _callers(tool: Tool) -> set[str]:
    return {*(read(tool.allowed_callers, list[str]) or ())}


def _by_code_only(tool: Tool) -> bool:
    callers = _callers(tool)
    return bool(callers) and "direct" not in callers


def _by_code_too(tool: Tool) -> bool:
    return _callers(tool) > {"direct"}


def _fitted(raw: Raw, tool: Tool | None, draft: Draft) -> Raw:
    if tool is None:
        return raw
    swap = _swap(tool, draft)
    freed = _by_code_too(tool) and _loses_callers(draft)
    if swap is None and not freed:
        return raw
    fields = read(raw, Fields) or {}
    if freed:
        fields.pop("allowed_callers", None)
    if swap is not None:
        fields = {key: value for key, value in fields.items() if key not in swap.unknown}
        fields |= {"type": encode(swap.to)} | ({"name": encode(swap.name)} if swap.name else {})
    return encode(fields)


# --- a tool of another name -------------------------------------------------------------------------------


def _renamed(draft: Draft, swaps: Mapping[str, Swap]) -> Draft:
    """Call the editor by its new name in choice and conversation, and by the old one in the answer."""
    new = next((swap.name for swap in swaps.values() if swap.name), None)
    if new is None:
        return draft
    names = {_OLD_EDITOR: new}
    choice = draft.options("tool_choice") or {}
    chosen = names.get(read(choice.get("name"), str) or "")
    if chosen is not None:
        draft = draft.put("tool_choice", choice | {"name": encode(chosen)})
    back = (*draft.plan.tool_names, (new, _OLD_EDITOR))
    draft = draft.but(plan=replace(draft.plan, tool_names=back))
    return draft.reworded(partial(with_names, names=names))


class _Call(msgspec.Struct, frozen=True):
    type: str = ""
    name: str = ""


def with_names(messages: Sequence[Raw], names: Mapping[str, str]) -> list[Raw]:
    """Return the messages with calls of tools under their new names."""
    return [_with_names(raw, names) if _mentions(raw, names) else raw for raw in messages]


def _mentions(raw: Raw, names: Mapping[str, str]) -> bool:
    data = bytes(raw)
    return any(name.encode() in data for name in names)


def _with_names(raw: Raw, names: Mapping[str, str]) -> Raw:
    message = read(raw, Fields) or {}
    blocks = read(message.get("content"), list[Raw])
    if blocks is None or read(message.get("role"), str) != "assistant":
        return raw
    calls = [read(block, _Call) or _Call() for block in blocks]
    if not any(call.type == "tool_use" and call.name in names for call in calls):
        return raw
    said = [
        encode((read(block, Fields) or {}) | {"name": encode(names[call.name])})
        if call.type == "tool_use" and call.name in names
        else block
        for block, call in zip(blocks, calls, strict=True)
    ]
    return encode(message | {"content": encode(said)})


# --- what a model rejects ---------------------------------------------------------------------------------


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    words = _words(model.rejects_tools | _JUDGED)
    tools = [tool for _, tool in tools_of(envelope.fields, words) if tool is not None]
    kinds = {tool.type for tool in tools}
    wrong = [f"{model.id} does not take the tool {kind}" for kind in sorted(kinds & model.rejects_tools)]
    if "programmatic_tools" not in model.features and any(_callers(tool) - {"direct"} for tool in tools):
        wrong.append(f"{model.id} lets no code call a tool")
    if any(tool.type in _EDITORS and tool.name != _EDITOR for tool in tools):
        wrong.append(f"the text editor's name is {_EDITOR}")
    if _TOOLSET in kinds and any(tool.name == "computer" for tool in tools):
        wrong.append("the computer toolset takes no other tool named computer beside it")
    if tools and all(present(tool.defer_loading) and read(tool.defer_loading, bool) for tool in tools):
        wrong.append("no tool is loaded from the beginning")
    yield from (Change(RULE, RewriteClass.unservable, sentence) for sentence in wrong)
