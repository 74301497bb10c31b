"""What applications put into a request and which models take it: the reference's tables, by hand.

Nothing here is read from the catalogue, so that a row which is wrong there is found here.
"""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

O45, O46, O47 = "claude-opus-4-5-20251101", "claude-opus-4-6", "claude-opus-4-7"
O48, O5, O55 = "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5"
S45, S55 = "claude-sonnet-4-5-20250929", "claude-sonnet-5-5"
H45, H55 = "claude-haiku-4-5-20251001", "claude-haiku-5-5"

ALL = frozenset({O45, O46, O47, O48, O5, O55, S45, S55, H45, H55})
OLDEST = frozenset({O45, S45, H45})
"""4.5: manual thinking, prefill, a window of 200K and answers of 64K."""
WITH_BUDGET = OLDEST | {O46}
"""Manual thinking, and any sampling."""
ADAPTIVE = ALL - OLDEST
TAKES_DISABLED = ALL - {S55, O55}
TAKES_EFFORT = ALL - {S45, H45}
TAKES_MAX = ADAPTIVE
TAKES_XHIGH = ADAPTIVE - {O46}
TAKES_DEFAULTS = WITH_BUDGET | {S55, H55}
FORCES = ALL - {S55, O55}
FORCES_THINKING = frozenset({O5, H55})
SYSTEM_TURNS = frozenset({O48, O5, O55, S55, H55})

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
EXTRACTION = 'Return only JSON with these keys: "name": "...", "total": 1, "paid": true.'


@dataclass(frozen=True, slots=True)
class Feature:
    """One way of asking."""

    name: str
    accepted_on: frozenset[str]
    fields: Json
    """On top of a plain question; a field of its own goes before."""
    rule: str = ""
    """The rule that says it in other words to a model that would reject it; `|` where models differ in what
    they reject.
    """
    unservable_on: frozenset[str] = frozenset()
    """Where no rule can, and control has to serve."""
    streams: bool = True
    """It may be asked for as a stream."""


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def assistant(content: Any) -> Json:
    return {"role": "assistant", "content": content}


def ends_with(prefill: Any, question: str = "Extract from: Ada paid 12.", **more: Any) -> Json:
    """A request whose last turn begins the answer."""
    return {"system": EXTRACTION, "messages": [user(question), assistant(prefill)], **more}


def thinks(kind: str, **options: Any) -> Json:
    return {"thinking": {"type": kind, **options}}


def effort(level: str, **more: Any) -> Json:
    return {"output_config": {"effort": level}, **more}


def forces(choice: Json, **more: Any) -> Json:
    return {"tools": TOOLS, "tool_choice": choice, **more}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


PLAIN: Json = {"max_tokens": 8192, "messages": [user("Say something about rivers.")]}
CALL: Json = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"place": "Oslo"}}
RESULT: Json = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "-3 degrees"}
ROUND = [user("Use the get_weather tool for Oslo."), assistant([_text("Looking."), CALL]), user([RESULT])]
REMINDED = [user("Say something about rivers."), {"role": "system", "content": "Be brief."}]
ANY, NAMED = {"type": "any"}, {"type": "tool", "name": "get_weather"}
ONE_CALL = {"type": "auto", "disable_parallel_tool_use": True}
NEVER_FORCES = frozenset({O55, S55})

SAMPLING = [
    Feature("temperature 0", WITH_BUDGET, {"temperature": 0}, "sampling"),
    Feature("temperature 0.7", WITH_BUDGET, {"temperature": 0.7}, "sampling"),
    Feature("temperature 1", TAKES_DEFAULTS, {"temperature": 1}, "sampling"),
    Feature("temperature null", ALL, {"temperature": None}),
    Feature("top_p 0.9", WITH_BUDGET, {"top_p": 0.9}, "sampling"),
    Feature("top_p 0.99", TAKES_DEFAULTS, {"top_p": 0.99}, "sampling"),
    Feature("top_k 40", WITH_BUDGET, {"top_k": 40}, "sampling"),
    Feature("temperature and top_k", WITH_BUDGET, {"temperature": 0.2, "top_k": 5}, "sampling"),
]
THINKING = [
    Feature("thinking omitted", ALL, {}),
    Feature("budget of 1024", WITH_BUDGET, thinks("enabled", budget_tokens=1024), "thinking"),
    Feature("budget of 6000", WITH_BUDGET, thinks("enabled", budget_tokens=6000), "thinking"),
    Feature("all but one", WITH_BUDGET, thinks("enabled", budget_tokens=8191), "thinking"),
    Feature(
        "budget of 60000",
        WITH_BUDGET,
        {**thinks("enabled", budget_tokens=60_000), "max_tokens": 64_000},
        "thinking",
    ),
    Feature(
        "budget of 100000",
        frozenset({O46}),
        {**thinks("enabled", budget_tokens=100_000), "max_tokens": 128_000},
        "max_tokens",
    ),
    Feature(
        "budget, summarized",
        WITH_BUDGET,
        thinks("enabled", budget_tokens=2048, display="summarized"),
        "thinking",
    ),
    Feature(
        "budget, omitted", WITH_BUDGET, thinks("enabled", budget_tokens=2048, display="omitted"), "thinking"
    ),
    Feature(
        "budget, temperature 1",
        WITH_BUDGET,
        {**thinks("enabled", budget_tokens=2048), "temperature": 1},
        "thinking",
    ),
    Feature(
        "budget, top_p 0.95",
        WITH_BUDGET,
        {**thinks("enabled", budget_tokens=2048), "top_p": 0.95},
        "thinking",
    ),
    Feature(
        "budget and effort",
        WITH_BUDGET & TAKES_EFFORT,
        effort("low", **thinks("enabled", budget_tokens=2048)),
        "thinking",
    ),
    Feature(
        "budget and tools", WITH_BUDGET, {**thinks("enabled", budget_tokens=2048), "tools": TOOLS}, "thinking"
    ),
    Feature("adaptive", ADAPTIVE, thinks("adaptive"), "thinking"),
    Feature("adaptive, summarized", ADAPTIVE, thinks("adaptive", display="summarized"), "thinking"),
    Feature("adaptive, omitted", ADAPTIVE, thinks("adaptive", display="omitted"), "thinking"),
    Feature("adaptive, little room", ADAPTIVE, {**thinks("adaptive"), "max_tokens": 500}, "thinking"),
    Feature("adaptive and tools", ADAPTIVE, {**thinks("adaptive"), "tools": TOOLS}, "thinking"),
    Feature("adaptive, max effort", TAKES_MAX, effort("max", **thinks("adaptive")), "thinking"),
    Feature("disabled", TAKES_DISABLED, thinks("disabled"), "thinking"),
    Feature(
        "disabled, high effort",
        TAKES_DISABLED & TAKES_EFFORT,
        effort("high", **thinks("disabled")),
        "thinking|effort",
    ),
    Feature("disabled, xhigh effort", frozenset({O47, O48}), effort("xhigh", **thinks("disabled")), "effort"),
    Feature(
        "disabled, max effort", frozenset({O46, O47, O48}), effort("max", **thinks("disabled")), "effort"
    ),
    Feature("between_tools", frozenset({S55}), thinks("between_tools"), "thinking"),
    Feature(
        "between_tools and tools", frozenset({S55}), {**thinks("between_tools"), "tools": TOOLS}, "thinking"
    ),
    Feature("null", ALL, {"thinking": None}),
]
EFFORT = [
    Feature("effort low", TAKES_EFFORT, effort("low"), "effort"),
    Feature("effort medium", TAKES_EFFORT, effort("medium"), "effort"),
    Feature("effort high", TAKES_EFFORT, effort("high"), "effort"),
    Feature("effort xhigh", TAKES_XHIGH, effort("xhigh"), "effort"),
    Feature("effort max", TAKES_MAX, effort("max"), "effort"),
    Feature(
        "structured output", ALL, {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    ),
    Feature(
        "structured output, effort",
        TAKES_EFFORT,
        {"output_config": {"effort": "medium", "format": {"type": "json_schema", "schema": SCHEMA}}},
        "effort",
    ),
]
LIMITS = [
    Feature("max_tokens 0", ALL, {"max_tokens": 0}, streams=False),
    Feature("max_tokens 1", ALL, {"max_tokens": 1}),
    Feature("max_tokens 64000", ALL, {"max_tokens": 64_000}),
    Feature("max_tokens 128000", ADAPTIVE, {"max_tokens": 128_000}, "max_tokens"),
    Feature(
        "a prompt over 200K",
        ADAPTIVE,
        {"messages": [user("The river runs. " * 60_000)]},
        unservable_on=OLDEST,
    ),
]
PREFILL = [
    Feature("prefill {", OLDEST, ends_with("{"), "prefill"),
    Feature("prefill [", OLDEST, ends_with("["), "prefill"),
    Feature("prefill [{", OLDEST, ends_with("[{"), "prefill"),
    Feature("prefill of a key", OLDEST, ends_with('{"name":'), "prefill"),
    Feature("prefill of a fence", OLDEST, ends_with("```json"), "prefill"),
    Feature("prefill of text", OLDEST, ends_with("Here is what I found"), "prefill"),
    Feature("prefill of a label", OLDEST, ends_with("Sentiment:", max_tokens=5), "prefill"),
    Feature("prefill of a tag", OLDEST, ends_with("<answer>", stop_sequences=["</answer>"]), "prefill"),
    Feature("prefill, temperature 0", OLDEST, ends_with("{", temperature=0), "prefill"),
    Feature("prefill in blocks", OLDEST, ends_with([_text("{"), _text('"name":')]), "prefill"),
    Feature(
        "prefill in two turns",
        OLDEST,
        {"messages": [user("Go."), assistant("{"), assistant('"a":')]},
        "prefill",
    ),
    Feature("empty prefill", OLDEST, ends_with(""), "prefill"),
    Feature("prefill and tools", OLDEST, ends_with("{", tools=TOOLS), "prefill"),
    Feature(
        "prefill after few shots",
        OLDEST,
        {"messages": [user("1+1"), assistant('{"a": 2}'), user("1+2"), assistant("{")]},
        "prefill",
    ),
    Feature("prefill of one token", OLDEST, ends_with("(", "A or B?", max_tokens=1), "prefill"),
]
TOOL_USE = [
    Feature("tools", ALL, {"tools": TOOLS}),
    Feature("auto", ALL, forces({"type": "auto"})),
    Feature("none", ALL, forces({"type": "none"})),
    Feature("one call at most", ALL, forces(ONE_CALL)),
    Feature("any", FORCES, forces(ANY), "thinking", NEVER_FORCES),
    Feature("a named tool", FORCES, forces(NAMED), "thinking", NEVER_FORCES),
    Feature("a named tool, disabled", FORCES, forces(NAMED, **thinks("disabled")), "thinking", NEVER_FORCES),
    Feature("any, temperature 0", WITH_BUDGET, forces(ANY, temperature=0), "sampling", NEVER_FORCES),
    Feature("any, adaptive", FORCES_THINKING, forces(ANY, **thinks("adaptive")), "thinking", NEVER_FORCES),
    Feature("a tool's result", ALL, {"tools": TOOLS, "messages": ROUND}),
    Feature(
        "a tool's result, adaptive",
        ADAPTIVE,
        {**thinks("adaptive"), "tools": TOOLS, "messages": ROUND},
        "thinking",
    ),
]
CONVERSATION = [
    Feature("system", ALL, {"system": "Be brief."}),
    Feature(
        "system in blocks",
        ALL,
        {"system": [_text("Be brief."), {**_text("Be kind."), "cache_control": {"type": "ephemeral"}}]},
    ),
    Feature("few shots", ALL, {"messages": [user("1+1"), assistant("2"), user("1+2")]}),
    Feature("turns of one role", ALL, {"messages": [user("1+1"), user("and 1+2")]}),
    Feature("stop sequences", ALL, {"stop_sequences": ["result", "###"]}),
    Feature("metadata", ALL, {"metadata": {"user_id": "ada"}}),
    Feature("a system turn", SYSTEM_TURNS, {"messages": REMINDED}, "system_turns"),
]
FEATURES = [*SAMPLING, *THINKING, *EFFORT, *LIMITS, *PREFILL, *TOOL_USE, *CONVERSATION]

NOT_COUNTED = frozenset(
    {"max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "speed"}
)
"""Fields that count_tokens does not have."""


def body_for(model: str, feature: Feature) -> Json:
    """The request as an application that was written for `model` sends it."""
    return {"model": model, **PLAIN, **feature.fields}


def counting(body: Json) -> Json:
    """The same request as a body for count_tokens."""
    return {key: value for key, value in body.items() if key not in NOT_COUNTED}
