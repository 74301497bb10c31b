"""Kinds of tools: which there are, under which beta and name, and which model takes which (§2.3).

A tool without a type, or of type `custom`, is the client's own. All others are the vendor's: a dated type,
most of them with one fixed name. A toolset has no name and stands for a family of tools.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.simulator.rules.case import EXTRA, Case, Json, Rule
from gateway.simulator.rules.lineup import (
    COVERED,
    COVERED_5,
    COVERED_5_1,
    COVERED_FROM_5_1,
    FABLE_5,
    FROM_4_6,
    HAIKU_4_5,
    HAIKU_5_5,
    MYTHOS_5,
    NEWEST,
    NEWEST_COVERED,
    OPUS_4_5,
    OPUS_4_6,
    OPUS_4_7,
    OPUS_4_8,
    OPUS_5,
    OPUS_5_5,
    SONNET_4_5,
    SONNET_4_6,
    SONNET_5,
    SONNET_5_5,
)
from gateway.simulator.rules.turns import blocks_of

FINE_GRAINED_BETA = "fine-grained-tool-streaming-2025-05-14"
PROGRAMMATIC_TYPES = ("code_execution_20260120", "code_execution_20260521")
"""Where a program may call other tools."""
CALLERS = ("direct", "code_execution_20250825", *PROGRAMMATIC_TYPES)
NO_PROGRAMMATIC_CALLS = frozenset({HAIKU_4_5})


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of the vendor's tools."""

    name: str | None = None
    """The name that it must have; None: none at all (toolsets)."""
    beta: str = ""
    """The beginning of a beta that it needs."""
    models: frozenset[str] | None = None
    """Who takes it; None: everybody."""


_SEARCHES_DYNAMICALLY = FROM_4_6
_TOOLSET = COVERED_FROM_5_1 | NEWEST | {OPUS_5}
KINDS: Mapping[str, Kind] = {
    "advisor_20260301": Kind("advisor", "advisor-tool-2026-03-01"),
    "bash_20250124": Kind("bash"),
    "browser_toolset_20260801": Kind(None, "", COVERED | {OPUS_5_5, HAIKU_5_5}),
    "code_execution_20250522": Kind("code_execution"),
    "code_execution_20250825": Kind("code_execution"),
    "code_execution_20260120": Kind("code_execution"),
    "code_execution_20260521": Kind("code_execution"),
    "computer_20250124": Kind("computer", "computer-use-2025-01-24", frozenset({SONNET_4_5, HAIKU_4_5})),
    "computer_20251124": Kind(
        "computer",
        "computer-use-2025-11-24",
        frozenset({OPUS_4_5, OPUS_4_6, OPUS_4_7, OPUS_4_8, OPUS_5, SONNET_4_6, SONNET_5})
        | COVERED_5
        | COVERED_5_1,
    ),
    "computer_toolset_20260801": Kind(None, "", _TOOLSET),
    "mcp_toolset": Kind(None, "mcp-client-"),
    "memory_20250818": Kind("memory"),
    "text_editor_20250429": Kind("str_replace_based_edit_tool"),
    "text_editor_20250728": Kind("str_replace_based_edit_tool"),
    "tool_search_tool_bm25_20251119": Kind("tool_search_tool_bm25"),
    "tool_search_tool_regex_20251119": Kind("tool_search_tool_regex"),
    "web_fetch_20250910": Kind("web_fetch"),
    "web_fetch_20260209": Kind("web_fetch", "", _SEARCHES_DYNAMICALLY),
    "web_fetch_20260309": Kind("web_fetch", "", _SEARCHES_DYNAMICALLY),
    "web_fetch_20260318": Kind("web_fetch", "", _SEARCHES_DYNAMICALLY),
    "web_search_20250305": Kind("web_search"),
    "web_search_20260209": Kind("web_search", "", _SEARCHES_DYNAMICALLY),
    "web_search_20260318": Kind("web_search", "", _SEARCHES_DYNAMICALLY),
}
GONE = frozenset({
    "bash_20241022", "computer_20241022", "text_editor_20241022", "text_editor_20250124",
})  # fmt: skip
"""Types that only models before Claude 4 took."""
TOOLSETS: Mapping[str, str] = {"computer_toolset_20260801": "computer", "browser_toolset_20260801": "browser"}
"""The family that calls of a toolset, and their results, name."""

_ON_BEDROCK_TOO = NEWEST_COVERED | {OPUS_5_5, SONNET_5_5}
"""Who takes computer_20251124 there, and nowhere else."""
_NEWEST_OPUS = frozenset({OPUS_5, OPUS_5_5})
_TO_5 = COVERED | _NEWEST_OPUS
_TO_4_7 = _TO_5 | {OPUS_4_7, OPUS_4_8, SONNET_5_5}
_TO_SONNET_5 = _TO_4_7 | {SONNET_5, HAIKU_5_5}
ADVISORS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(NEWEST_COVERED, NEWEST_COVERED),
    **dict.fromkeys(COVERED_5_1, COVERED_FROM_5_1),
    **dict.fromkeys((OPUS_5, OPUS_5_5, FABLE_5, MYTHOS_5), _TO_5),
    **dict.fromkeys((OPUS_4_7, OPUS_4_8), _TO_4_7),
    SONNET_5_5: _TO_5 | {SONNET_5_5},
    **dict.fromkeys((SONNET_5, HAIKU_5_5), _TO_SONNET_5),
    OPUS_4_6: _TO_SONNET_5 | {OPUS_4_6},
    **dict.fromkeys((HAIKU_4_5, SONNET_4_6), _TO_SONNET_5 | {OPUS_4_6, SONNET_4_6}),
}
"""Whom a model may ask for advice."""


def is_own(tool: Json) -> bool:
    """Whether a tool is the client's, not the vendor's."""
    return tool.get("type") in (None, "custom")


def tools_are_supported(case: Case) -> Iterator[str]:
    tools: list[Json] = case.body.get("tools") or []
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(names) != len(set(names)):
        yield "tools: Tool names must be unique."
    foreign = [str(tool["type"]) for tool in tools if not is_own(tool)]
    if unknown := [kind for kind in foreign if not _takes(case, kind)]:
        families = {kind.partition("_20")[0].removesuffix("_toolset") for kind in unknown}
        meant = [kind for kind in KINDS if kind.startswith(tuple(families)) and _takes(case, kind)]
        hint = f" Did you mean one of {', '.join(meant)}?" if meant else ""
        yield f"'{case.body['model']}' does not support tool types: {', '.join(unknown)}.{hint}"
    if tools and all(tool.get("defer_loading") for tool in tools):
        yield "All tools have defer_loading set. At least one tool must be loaded from the start."


def _takes(case: Case, kind: str) -> bool:
    """Whether the model takes tools of this type; a type that nobody knows is left to `kinds_are_known`."""
    if kind in GONE:
        return False
    model, switches = case.model.id, case.switches
    if kind == "browser_toolset_20260801" and switches.older_browser_toolset:
        return model in _TOOLSET | COVERED
    if kind == "computer_20251124" and switches.on("bedrock") and model in _ON_BEDROCK_TOO:
        return True
    models = KINDS[kind].models if kind in KINDS else None
    return models is None or model in models


def kinds_are_known(case: Case) -> Iterator[str]:
    """The vendor's tools by their type, beta and name."""
    for index, tool in enumerate(case.body.get("tools") or []):
        if is_own(tool):
            continue
        path, kind = f"tools.{index}", str(tool["type"])
        known = KINDS.get(kind)
        opened = known is not None and _is_open(case, known)
        if known is None or not opened:
            if known or case.switches.known_tools_only:
                yield f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags"
        elif known.name is None:
            yield from _toolset(path, kind, tool)
        elif "name" not in tool:
            yield f"{path}.{kind}.name: Field required"
        elif tool["name"] != known.name:
            yield f"{path}.{kind}.name: Input should be '{known.name}'"


def _is_open(case: Case, kind: Kind) -> bool:
    return not kind.beta or any(beta.startswith(kind.beta) for beta in case.betas)


def _toolset(path: str, kind: str, tool: Json) -> Iterator[str]:
    known = {"type", "configs", "cache_control"}
    if kind == "mcp_toolset":
        known |= {"mcp_server_name", "default_config"}
    yield from (f"{path}.{kind}.{key}: {EXTRA}" for key in tool if key not in known)


def toolsets_stand_alone(case: Case) -> Iterator[str]:
    """A toolset shares its family with no other tool, streams its own way, and is named by its results."""
    tools: list[Json] = case.body.get("tools") or []
    families = {TOOLSETS[kind] for tool in tools if (kind := str(tool.get("type"))) in TOOLSETS}
    if "computer" in families and any(tool.get("name") == "computer" for tool in tools):
        yield "tools: computer_toolset_20260801 cannot be combined with another tool named 'computer'"
    if families and FINE_GRAINED_BETA in case.betas:
        yield f"tools: toolsets cannot be combined with the `{FINE_GRAINED_BETA}` beta"
    if families:
        yield from _results_name_them(case)


def _results_name_them(case: Case) -> Iterator[str]:
    called: dict[str, str] = {}
    for index, message in enumerate(case.messages):
        for position, block in enumerate(blocks_of(message)):
            if block["type"] == "tool_use" and block.get("toolset_name"):
                called[block["id"]] = block["toolset_name"]
            family = called.get(block["tool_use_id"]) if block["type"] == "tool_result" else None
            if family and block.get("toolset_name") != family:
                path = f"messages.{index}.content.{position}.tool_result.toolset_name"
                yield f"{path}: Input should be '{family}'"


def advisors_fit(case: Case) -> Iterator[str]:
    for index, tool in enumerate(case.body.get("tools") or []):
        if tool.get("type") != "advisor_20260301":
            continue
        path = f"tools.{index}.advisor_20260301.model"
        if "model" not in tool:
            yield f"{path}: Field required"
        elif tool["model"] not in ADVISORS.get(case.model.id, frozenset()):
            yield f"{path}: '{tool['model']}' cannot advise this model"


def callers_are_allowed(case: Case) -> Iterator[str]:
    """Programs may call tools where the model writes such programs, and with a tool that runs them."""
    tools: list[Json] = case.body.get("tools") or []
    kinds = {str(tool.get("type")) for tool in tools}
    for index, tool in enumerate(tools):
        callers: Any = tool.get("allowed_callers")
        if callers is None:
            continue
        path = f"tools.{index}.allowed_callers"
        if not isinstance(callers, list) or not set(map(str, callers)) <= set(CALLERS):
            yield f"{path}: Input should be {', '.join(map(repr, CALLERS))}"
            continue
        programs = [caller for caller in callers if caller != "direct"]
        if programs and case.model.id in NO_PROGRAMMATIC_CALLS:
            yield f"{path}: programmatic tool calling is not supported for this model"
        elif missing := [caller for caller in programs if caller not in kinds & set(PROGRAMMATIC_TYPES)]:
            yield f"{path}: '{missing[0]}' needs a tool of a type in {', '.join(PROGRAMMATIC_TYPES)}"


RULES: tuple[Rule, ...] = (
    tools_are_supported,
    kinds_are_known,
    toolsets_stand_alone,
    advisors_fit,
    callers_are_allowed,
)
