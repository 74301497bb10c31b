"""What applications put into a request, one way of asking a row: the lines of docs/compatibility.md.

A feature is data: what stands in the body on top of a plain question, and the headers that it needs. Which
model takes it is not said here; that is what the rules are asked (and what the tests know by hand).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

VERSION, NEWER_VERSION = "2023-06-01", "2026-10-21"


@dataclass(frozen=True, slots=True)
class Feature:
    """One way of asking."""

    name: str
    fields: Json
    """On top of a plain question; a field of its own goes before."""
    betas: tuple[str, ...] = ()
    """Values of `anthropic-beta` that it needs."""
    version: str = VERSION
    streams: bool = True
    """It may be asked for as a stream."""


PLAIN: Json = {"max_tokens": 8192, "messages": [{"role": "user", "content": "Say something about rivers."}]}


def body_for(model: str, feature: Feature) -> Json:
    """Return the request as an application that was written for `model` sends it."""
    return {"model": model, **PLAIN, **feature.fields}


def user(content: Any) -> Json:
    """Return a turn of the user."""
    return {"role": "user", "content": content}


def assistant(content: Any) -> Json:
    """Return a turn of the assistant."""
    return {"role": "assistant", "content": content}


def ends_with(prefill: Any, question: str = "Extract from: Ada paid 12.", **more: Any) -> Json:
    """Return a request whose last turn begins the answer."""
    return {"system": EXTRACTION, "messages": [user(question), assistant(prefill)], **more}


def thinks(kind: str, **options: Any) -> Json:
    """Return a request with `thinking`."""
    return {"thinking": {"type": kind, **options}}


def effort(level: str, **more: Any) -> Json:
    """Return a request with an effort."""
    return {"output_config": {"effort": level}, **more}


def forces(choice: Json, **more: Any) -> Json:
    """Return a request with tools and a choice of them."""
    return {"tools": TOOLS, "tool_choice": choice, **more}


def _text(text: str, **more: Any) -> Json:
    return {"type": "text", "text": text, **more}


def _tool(kind: str, name: str, **more: Any) -> Json:
    return {"tools": [{"type": kind, "name": name, **more}]}


def _cached(ttl: str | None = None) -> Json:
    return {"cache_control": {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}}


def _document(**more: Any) -> Json:
    source = {"type": "text", "media_type": "text/plain", "data": "The Rhine is 1 233 km long."}
    return {"type": "document", "source": source, **more}


TOOLS: list[Json] = [
    {
        "name": "get_weather",
        "description": "The weather of a place.",
        "input_schema": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["place"],
        },
    },
    {"name": "stop", "description": "Give up.", "input_schema": {"type": "object", "properties": {}}},
]
SCHEMA: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "total": {"type": "number"}},
    "required": ["name", "total"],
    "additionalProperties": False,
}
EXTRACTOR: Json = {"name": "save", "description": "Keep what was found.", "input_schema": SCHEMA}
EXTRACTION = 'Return only JSON with these keys: "name": "...", "total": 1, "paid": true.'
CALL: Json = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"place": "Oslo"}}
RESULT: Json = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "-3 degrees"}
ROUND = [user("Use the get_weather tool for Oslo."), assistant([_text("Looking."), CALL]), user([RESULT])]
SEARCHED: list[Json] = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rivers"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
]
ANY, NAMED = {"type": "any"}, {"type": "tool", "name": "get_weather"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
RIVERS = user("Say something about rivers.")
FORMAT: Json = {"type": "json_schema", "schema": SCHEMA}

UPDATES = ("thinking-display-updates-2026-08-18",)
BINDING = ("thinking-binding-controls-2026-08-01",)
CLEAR_AT = ("mid-conversation-system-clear-at-2026-08-21",)
PER_MESSAGE = ("mid-conversation-output-config-2026-07-01",)
TOOL_CHANGES = ("mid-conversation-tool-changes-2026-07-01",)
FALLBACKS = ("server-side-fallback-2026-07-01",)
CONTEXT = ("context-management-2025-06-27",)
ADVISOR = ("advisor-tool-2026-03-01",)

SAMPLING = (
    Feature("temperature 0", {"temperature": 0}),
    Feature("temperature 0.7", {"temperature": 0.7}),
    Feature("temperature 1", {"temperature": 1}),
    Feature("temperature null", {"temperature": None}),
    Feature("top_p 0.9", {"top_p": 0.9}),
    Feature("top_p 0.99", {"top_p": 0.99}),
    Feature("top_k 40", {"top_k": 40}),
    Feature("temperature and top_k", {"temperature": 0.2, "top_k": 5}),
)
THINKING = (
    Feature("thinking omitted", {}),
    Feature("thinking null", {"thinking": None}),
    Feature("budget of 1024", thinks("enabled", budget_tokens=1024)),
    Feature("budget of 6000", thinks("enabled", budget_tokens=6000)),
    Feature("all but one", thinks("enabled", budget_tokens=8191)),
    Feature("budget of 60000", {**thinks("enabled", budget_tokens=60_000), "max_tokens": 64_000}),
    Feature("budget of 100000", {**thinks("enabled", budget_tokens=100_000), "max_tokens": 128_000}),
    Feature("budget, summarized", thinks("enabled", budget_tokens=2048, display="summarized")),
    Feature("budget, omitted", thinks("enabled", budget_tokens=2048, display="omitted")),
    Feature("budget, temperature 1", {**thinks("enabled", budget_tokens=2048), "temperature": 1}),
    Feature("budget, top_p 0.95", {**thinks("enabled", budget_tokens=2048), "top_p": 0.95}),
    Feature("budget and effort", effort("low", **thinks("enabled", budget_tokens=2048))),
    Feature("budget and tools", {**thinks("enabled", budget_tokens=2048), "tools": TOOLS}),
    Feature(
        "budget, interleaved",
        {**thinks("enabled", budget_tokens=2048), "tools": TOOLS},
        ("interleaved-thinking-2025-05-14",),
    ),
    Feature("adaptive", thinks("adaptive")),
    Feature("adaptive, summarized", thinks("adaptive", display="summarized")),
    Feature("adaptive, omitted", thinks("adaptive", display="omitted")),
    Feature("adaptive, updates", thinks("adaptive", display="updates"), UPDATES),
    Feature(
        "adaptive, block_binding",
        thinks("adaptive", block_binding={"prefix_mismatch_behavior": "drop_block"}),
        BINDING,
    ),
    Feature("adaptive, little room", {**thinks("adaptive"), "max_tokens": 500}),
    Feature("adaptive and tools", {**thinks("adaptive"), "tools": TOOLS}),
    Feature("adaptive, max effort", effort("max", **thinks("adaptive"))),
    Feature("disabled", thinks("disabled")),
    Feature("disabled, high effort", effort("high", **thinks("disabled"))),
    Feature("disabled, xhigh effort", effort("xhigh", **thinks("disabled"))),
    Feature("disabled, max effort", effort("max", **thinks("disabled"))),
    Feature("between_tools", thinks("between_tools")),
    Feature("between_tools and tools", {**thinks("between_tools"), "tools": TOOLS}),
)
EFFORT = (
    Feature("effort low", effort("low")),
    Feature("effort medium", effort("medium")),
    Feature("effort high", effort("high")),
    Feature("effort xhigh", effort("xhigh")),
    Feature("effort max", effort("max")),
    Feature(
        "effort on a system turn",
        {"messages": [RIVERS, {"role": "system", "content": [], "output_config": {"effort": "low"}}]},
        PER_MESSAGE,
    ),
    Feature(
        "task budget",
        {"output_config": {"task_budget": {"type": "tokens", "total": 40_000}}},
        ("task-budgets-2026-03-13",),
    ),
)
OUTPUT = (
    Feature("structured output", {"output_config": {"format": FORMAT}}),
    Feature("structured output, effort", {"output_config": {"effort": "medium", "format": FORMAT}}),
    Feature("structured output, thinking", {"output_config": {"format": FORMAT}, **thinks("adaptive")}),
    Feature("output_format", {"output_format": FORMAT}, ("structured-outputs-2025-11-13",)),
    Feature("stop sequences", {"stop_sequences": ["result", "###"]}),
    Feature("stream", {"stream": True}),
    Feature("max_tokens 0", {"max_tokens": 0}, streams=False),
    Feature("max_tokens 1", {"max_tokens": 1}),
    Feature("max_tokens 64000", {"max_tokens": 64_000}),
    Feature("max_tokens 128000", {"max_tokens": 128_000}),
)
PREFILL = (
    Feature("prefill {", ends_with("{")),
    Feature("prefill [", ends_with("[")),
    Feature("prefill [{", ends_with("[{")),
    Feature("prefill of a key", ends_with('{"name":')),
    Feature("prefill of a fence", ends_with("```json")),
    Feature("prefill of YAML", ends_with("name: Ada\ntotal:")),
    Feature("prefill of text", ends_with("Here is what I found")),
    Feature("prefill of a label", ends_with("Sentiment:", max_tokens=5)),
    Feature("prefill of a tag", ends_with("<answer>", stop_sequences=["</answer>"])),
    Feature(
        "prefill of a cut answer", ends_with("The river rises in the Alps and flows north. " * 12 + "It")
    ),
    Feature("prefill of a reminder", ends_with("(Reminder to myself: answer in German.)")),
    Feature("prefill, temperature 0", ends_with("{", temperature=0)),
    Feature("prefill in blocks", ends_with([_text("{"), _text('"name":')])),
    Feature("prefill in two turns", {"messages": [user("Go."), assistant("{"), assistant('"a":')]}),
    Feature("empty prefill", ends_with("")),
    Feature("prefill and tools", ends_with("{", tools=TOOLS)),
    Feature(
        "prefill after few shots",
        {"messages": [user("1+1"), assistant('{"a": 2}'), user("1+2"), assistant("{")]},
    ),
    Feature("prefill of one token", ends_with("(", "A or B?", max_tokens=1)),
    Feature("prefill after a search", ends_with([*SEARCHED, _text("I found")])),
    Feature(
        "a paused turn",
        {"messages": [RIVERS, assistant(SEARCHED)], **_tool("web_search_20250305", "web_search")},
    ),
)
TOOL_USE = (
    Feature("tools", {"tools": TOOLS}),
    Feature("auto", forces({"type": "auto"})),
    Feature("none", forces({"type": "none"})),
    Feature("one call at most", forces({"type": "auto", "disable_parallel_tool_use": True})),
    Feature("any", forces(ANY)),
    Feature("any, one call", forces({**ANY, "disable_parallel_tool_use": True})),
    Feature("a named tool", forces(NAMED)),
    Feature("a named tool, disabled", forces(NAMED, **thinks("disabled"))),
    Feature("any, temperature 0", forces(ANY, temperature=0)),
    Feature("any, adaptive", forces(ANY, **thinks("adaptive"))),
    Feature("extraction by a tool", {"tools": [EXTRACTOR], "tool_choice": {"type": "tool", "name": "save"}}),
    Feature("a tool's result", {"tools": TOOLS, "messages": ROUND}),
    Feature("a tool's result, adaptive", {**thinks("adaptive"), "tools": TOOLS, "messages": ROUND}),
    Feature("a tool's result, any", {**forces(ANY), "messages": ROUND}),
    Feature("strict tool", {"tools": [{**EXTRACTOR, "strict": True}]}),
    Feature("eager input streaming", {"tools": [{**TOOLS[0], "eager_input_streaming": True}]}),
)
TOOL_TYPES = (
    Feature("bash tool", _tool("bash_20250124", "bash")),
    Feature("text editor", _tool("text_editor_20250728", "str_replace_based_edit_tool")),
    Feature("memory tool", _tool("memory_20250818", "memory"), CONTEXT),
    Feature("web search", _tool("web_search_20250305", "web_search")),
    Feature("web search, filtered", _tool("web_search_20260209", "web_search")),
    Feature("web fetch", _tool("web_fetch_20250910", "web_fetch"), ("web-fetch-2025-09-10",)),
    Feature("web fetch, filtered", _tool("web_fetch_20260209", "web_fetch")),
    Feature("code execution", _tool("code_execution_20250825", "code_execution")),
    Feature(
        "programmatic tools",
        {
            "tools": [
                {"type": "code_execution_20260120", "name": "code_execution"},
                {**TOOLS[0], "allowed_callers": ["code_execution_20260120"]},
            ]
        },
    ),
    Feature(
        "tool search",
        {
            "tools": [
                {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
                {**TOOLS[0], "defer_loading": True},
            ]
        },
    ),
    Feature(
        "computer of January 2025",
        _tool("computer_20250124", "computer", display_width_px=1024, display_height_px=768),
        ("computer-use-2025-01-24",),
    ),
    Feature(
        "computer of November 2025",
        _tool("computer_20251124", "computer", display_width_px=1024, display_height_px=768),
        ("computer-use-2025-11-24",),
    ),
    Feature("computer toolset", {"tools": [{"type": "computer_toolset_20260801"}]}),
    Feature("browser toolset", {"tools": [{"type": "browser_toolset_20260801"}]}),
    Feature("advisor Fable 5.2", _tool("advisor_20260301", "advisor", model="claude-fable-5-2"), ADVISOR),
    Feature("advisor Opus 4.8", _tool("advisor_20260301", "advisor", model="claude-opus-4-8"), ADVISOR),
    Feature(
        "MCP servers",
        {
            "mcp_servers": [{"type": "url", "url": "https://mcp.example/sse", "name": "docs"}],
            "tools": [{"type": "mcp_toolset", "mcp_server_name": "docs"}],
        },
        ("mcp-client-2025-11-20",),
    ),
)
CONVERSATION = (
    Feature("system", {"system": "Be brief."}),
    Feature("system in blocks", {"system": [_text("Be brief."), _text("Be kind.", **_cached())]}),
    Feature("few shots", {"messages": [user("1+1"), assistant("2"), user("1+2")]}),
    Feature("turns of one role", {"messages": [user("1+1"), user("and 1+2")]}),
    Feature("a system turn", {"messages": [RIVERS, {"role": "system", "content": "Be brief."}]}),
    Feature(
        "a system turn, clear_at",
        {"messages": [RIVERS, {"role": "system", "content": "Hm.", "clear_at": "next_user_message"}]},
        CLEAR_AT,
    ),
    Feature(
        "a tool removed on the way",
        {
            "tools": TOOLS,
            "messages": [
                RIVERS,
                {
                    "role": "system",
                    "content": [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "stop"}}],
                },
            ],
        },
        TOOL_CHANGES,
    ),
    Feature(
        "an image",
        {
            "messages": [
                user(
                    [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                        }
                    ]
                )
            ]
        },
    ),
    Feature("a document", {"messages": [user([_document(), _text("How long is it?")])]}),
    Feature(
        "citations", {"messages": [user([_document(citations={"enabled": True}), _text("How long is it?")])]}
    ),
    Feature("a prompt over 200K", {"messages": [user("The river runs. " * 60_000)]}),
)
CACHING = (
    Feature("cache for 5 minutes", {"messages": [user([_text("Say something.", **_cached())])]}),
    Feature("cache for an hour", {"messages": [user([_text("Say something.", **_cached("1h"))])]}),
    Feature("cache, top level", _cached()),
    Feature("cached tools", {"tools": [{**TOOLS[0], **_cached()}]}),
)
SERVICE = (
    Feature("speed fast", {"speed": "fast"}),
    Feature("speed fast, beta", {"speed": "fast"}, ("fast-mode-2026-02-01",)),
    Feature("service tier auto", {"service_tier": "auto"}),
    Feature("service tier standard", {"service_tier": "standard_only"}),
    Feature("inference in the US", {"inference_geo": "us"}),
    Feature("fallbacks to Opus 4.8", {"fallbacks": [{"model": "claude-opus-4-8"}]}, FALLBACKS),
    Feature("fallbacks to Sonnet 5", {"fallbacks": [{"model": "claude-sonnet-5"}]}, FALLBACKS),
    Feature("fallbacks by default", {"fallbacks": "default"}, FALLBACKS),
    Feature(
        "compaction",
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        ("compact-2026-01-12",),
    ),
    Feature("compaction on demand", {"compaction": {"type": "summarize"}}, ("compact-2026-09-04",)),
    Feature(
        "context editing", {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, CONTEXT
    ),
    Feature("metadata", {"metadata": {"user_id": "ada"}}),
    Feature("a thread begun", {"thread": {"type": "create"}}, ("message-threads-2026-08-12",)),
    Feature("container", {"container": "container_011"}),
    Feature("beta of a long context", {}, ("context-1m-2025-08-07",)),
    Feature("API version 2026-10-21", {}, version=NEWER_VERSION),
    Feature("temperature in 2026-10-21", {"temperature": 1}, version=NEWER_VERSION),
)
GROUPS: Mapping[str, tuple[Feature, ...]] = {
    "Thinking": THINKING,
    "Effort and budgets": EFFORT,
    "Sampling": SAMPLING,
    "Output": OUTPUT,
    "Prefill": PREFILL,
    "Tools": TOOL_USE,
    "Tools that the vendor defines": TOOL_TYPES,
    "Conversation": CONVERSATION,
    "Caching": CACHING,
    "Service": SERVICE,
}
FEATURES: tuple[Feature, ...] = tuple(feature for group in GROUPS.values() for feature in group)
