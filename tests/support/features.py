"""Which model takes which feature, and what becomes of it elsewhere: the reference's tables, by hand.

The features themselves are the ones that the documentation is made of (`gateway.compat.explain.features`).
Nothing else here is read from the product, so that a catalogue row or a rule which is wrong is found here.
"""

from dataclasses import dataclass
from typing import Any

from gateway.compat.explain import features as asked
from gateway.compat.explain.features import (
    PLAIN,
    TOOLS,
    VERSION,
    Json,
    assistant,
    ends_with,
    thinks,
    user,
)
from gateway.compat.request import Context

__all__ = ["PLAIN", "TOOLS", "Json", "assistant", "ends_with", "thinks", "user"]

O45, O46, O47 = "claude-opus-4-5-20251101", "claude-opus-4-6", "claude-opus-4-7"
O48, O5, O55 = "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5"
S45, S46, S5, S55 = "claude-sonnet-4-5-20250929", "claude-sonnet-4-6", "claude-sonnet-5", "claude-sonnet-5-5"
H45, H55 = "claude-haiku-4-5-20251001", "claude-haiku-5-5"
F5, F51, F52 = "claude-fable-5", "claude-fable-5-1", "claude-fable-5-2"
M5, M51, M52 = "claude-mythos-5", "claude-mythos-5-1", "claude-mythos-5-2"
MP = "claude-mythos-preview"

ALL = frozenset({
    O45, O46, O47, O48, O5, O55, S45, S46, S5, S55, H45, H55, F5, F51, F52, M5, M51, M52, MP
})  # fmt: skip
NONE = frozenset[str]()
OLDEST = frozenset({O45, S45, H45})
"""4.5: manual thinking, prefill, a window of 200K and answers of 64K."""
WITH_SAMPLING = OLDEST | {O46, S46}
WITH_BUDGET = WITH_SAMPLING | {MP}
ADAPTIVE = ALL - OLDEST
NEWER_FABLES = frozenset({F51, M51, F52, M52})
FABLES = NEWER_FABLES | {F5, M5}
TAKES_DISABLED = ALL - FABLES - {S55, O55, MP}
TAKES_EFFORT = ALL - {S45, H45}
TAKES_MAX = ADAPTIVE
TAKES_XHIGH = ADAPTIVE - {O46, S46, MP}
OFF_AT_MAX = frozenset({O47, O48, S5})
"""Take `disabled` at any effort there is."""
TAKES_DEFAULTS = WITH_SAMPLING | {S5, S55, H55}
FORCES = WITH_SAMPLING | {O47, O48, O5, S5, F5, M5, H55}
FORCES_THINKING = frozenset({O5, S5, F5, M5, H55})
SYSTEM_TURNS = FABLES | {O48, O5, O55, S55, H55}
EFFORT_PER_MESSAGE = NEWER_FABLES | {O5, O55, S55, H55}
TASK_BUDGETS = FABLES | {O47, O48, O5, O55, S55, H55}
FALLS_BACK = FABLES | {O5, O55, S55, MP}
GEO = ADAPTIVE - {MP}
FAST = frozenset({O55, F52, M52})
ADVISED = ALL - {O45, S45, MP}
ADVISED_BY_O48 = frozenset({O46, O47, O48, S46, S5, H45, H55})
COMPUTER_2025_01 = frozenset({S45, H45})
COMPUTER_2025_11 = frozenset({O45, O46, O47, O48, O5, S46, S5, F5, F51, M5, M51})
NO_COMPUTER_2025 = ALL - COMPUTER_2025_01 - COMPUTER_2025_11
COMPACTS_ON_DEMAND = FABLES | {O55, S55, H55}


@dataclass(frozen=True, slots=True)
class Known:
    """What the reference says about one feature."""

    accepted_on: frozenset[str] = ALL
    rule: str = ""
    """The rule that says it in other words to a model that would reject it; `|` where models differ in what
    they reject.
    """
    unservable_on: frozenset[str] = NONE
    """Where no rule can, and control has to serve."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One way of asking, and what is known of it."""

    asked: asked.Feature
    known: Known

    @property
    def name(self) -> str:
        return self.asked.name

    @property
    def fields(self) -> Json:
        return self.asked.fields

    @property
    def betas(self) -> tuple[str, ...]:
        return self.asked.betas

    @property
    def version(self) -> str:
        return self.asked.version

    @property
    def streams(self) -> bool:
        return self.asked.streams

    @property
    def accepted_on(self) -> frozenset[str]:
        return self.known.accepted_on

    @property
    def rule(self) -> str:
        return self.known.rule

    @property
    def unservable_on(self) -> frozenset[str]:
        return self.known.unservable_on


BUDGET = Known(WITH_BUDGET, "thinking")
THINKS = Known(ADAPTIVE, "thinking")
PREFILLS = Known(OLDEST, "prefill")
FORCED = Known(FORCES, "forced_tool")
EFFORT = Known(TAKES_EFFORT, "effort")

KNOWN: dict[str, Known] = {
    "temperature 0": Known(WITH_SAMPLING, "sampling"),
    "temperature 0.7": Known(WITH_SAMPLING, "sampling"),
    "temperature 1": Known(TAKES_DEFAULTS, "sampling"),
    "top_p 0.9": Known(WITH_SAMPLING, "sampling"),
    "top_p 0.99": Known(TAKES_DEFAULTS, "sampling"),
    "top_k 40": Known(WITH_SAMPLING, "sampling"),
    "temperature and top_k": Known(WITH_SAMPLING, "sampling"),
    "budget of 1024": BUDGET,
    "budget of 6000": BUDGET,
    "all but one": BUDGET,
    "budget of 60000": BUDGET,
    "budget of 100000": Known(WITH_BUDGET - OLDEST, "thinking|max_tokens"),
    "budget, summarized": BUDGET,
    "budget, omitted": BUDGET,
    "budget, temperature 1": Known(WITH_SAMPLING, "thinking|sampling"),
    "budget, top_p 0.95": Known(WITH_SAMPLING, "thinking|sampling"),
    "budget and effort": Known(WITH_BUDGET & TAKES_EFFORT, "thinking|effort"),
    "budget and tools": BUDGET,
    "budget, interleaved": BUDGET,
    "adaptive": THINKS,
    "adaptive, summarized": THINKS,
    "adaptive, omitted": THINKS,
    "adaptive, updates": Known(FABLES | {O55, S55}, "thinking|display"),
    "adaptive, block_binding": THINKS,
    "adaptive, little room": THINKS,
    "adaptive and tools": THINKS,
    "adaptive, max effort": Known(TAKES_MAX, "thinking"),
    "disabled": Known(TAKES_DISABLED, "thinking"),
    "disabled, high effort": Known(TAKES_DISABLED & TAKES_EFFORT, "thinking|effort"),
    "disabled, xhigh effort": Known(OFF_AT_MAX, "thinking|effort"),
    "disabled, max effort": Known(OFF_AT_MAX | {O46, S46}, "thinking|effort"),
    "between_tools": Known(frozenset({S55}), "thinking"),
    "between_tools and tools": Known(frozenset({S55}), "thinking"),
    "effort low": EFFORT,
    "effort medium": EFFORT,
    "effort high": EFFORT,
    "effort xhigh": Known(TAKES_XHIGH, "effort"),
    "effort max": Known(TAKES_MAX, "effort"),
    "effort on a system turn": Known(EFFORT_PER_MESSAGE, "system_turns"),
    "task budget": Known(TASK_BUDGETS, "task_budget"),
    "structured output, effort": EFFORT,
    "structured output, thinking": THINKS,
    "max_tokens 128000": Known(ADAPTIVE, "max_tokens"),
    **{feature.name: PREFILLS for feature in asked.PREFILL},
    "prefill, temperature 0": Known(OLDEST, "prefill"),
    "a paused turn": Known(),
    "any": FORCED,
    "any, one call": FORCED,
    "a named tool": FORCED,
    "a named tool, disabled": Known(FORCES & TAKES_DISABLED, "thinking|forced_tool"),
    "any, temperature 0": Known(WITH_SAMPLING, "sampling|forced_tool"),
    "any, adaptive": Known(FORCES_THINKING, "thinking|forced_tool"),
    "extraction by a tool": FORCED,
    "a tool's result, adaptive": THINKS,
    "a tool's result, any": FORCED,
    "web search, filtered": Known(ADAPTIVE, "tool_version"),
    "web fetch, filtered": Known(ADAPTIVE, "tool_version"),
    "programmatic tools": Known(ALL - {H45}, "", frozenset({H45})),
    "computer of January 2025": Known(COMPUTER_2025_01, "tool_version", NO_COMPUTER_2025),
    "computer of November 2025": Known(COMPUTER_2025_11, "tool_version", NO_COMPUTER_2025),
    "computer toolset": Known(
        NEWER_FABLES | {O5, O55, S55, H55}, "", ALL - NEWER_FABLES - {O5, O55, S55, H55}
    ),
    "browser toolset": Known(FABLES | {O55, H55}, "", ALL - FABLES - {O55, H55}),
    "advisor Fable 5.2": Known(ADVISED, "advisor"),
    "advisor Opus 4.8": Known(ADVISED_BY_O48, "advisor"),
    "a system turn": Known(SYSTEM_TURNS, "system_turns"),
    "a system turn, clear_at": Known(SYSTEM_TURNS, "system_turns"),
    "a tool removed on the way": Known(SYSTEM_TURNS, "system_turns"),
    "a prompt over 200K": Known(ADAPTIVE, "", OLDEST),
    # Opus 4.6 takes it on the vendor's own platform, where it does nothing.
    "speed fast": Known(FAST | {O46}, "speed"),
    "speed fast, beta": Known(FAST | {O46, O5, O48}, "speed"),
    "inference in the US": Known(GEO, "", ALL - GEO),
    "fallbacks to Opus 4.8": Known(FALLS_BACK - {S55}, "fallbacks"),
    "fallbacks to Sonnet 5": Known(frozenset({S55}), "fallbacks"),
    "fallbacks by default": Known(FALLS_BACK | {H55}, "fallbacks"),
    "compaction": Known(ADAPTIVE, "compaction"),
    "compaction on demand": Known(FABLES | {O55, S55, H55}, "", ALL - FABLES - {O55, S55, H55}),
    "temperature in 2026-10-21": Known(NONE),
}
"""By name; what is not named is accepted everywhere."""

FEATURES = [Feature(feature, KNOWN.get(feature.name, Known())) for feature in asked.FEATURES]

NOT_COUNTED = frozenset(
    {"max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "speed"}
)
"""Fields that count_tokens does not have."""


def body_for(model: str, feature: Feature) -> Json:
    """The request as an application that was written for `model` sends it."""
    return asked.body_for(model, feature.asked)


def counting(body: Json) -> Json:
    """The same request as a body for count_tokens."""
    return {key: value for key, value in body.items() if key not in NOT_COUNTED}


def context_of(*features: Feature) -> Context:
    """What the headers of a request with these features say."""
    betas = tuple(dict.fromkeys(beta for feature in features for beta in feature.betas))
    version = next((feature.version for feature in features if feature.version != VERSION), VERSION)
    return Context(betas=betas, version=version)


def together(one: Feature, other: Feature) -> Json | None:
    """Both features in one request; None where they contradict each other."""
    if VERSION not in (one.version, other.version):
        return None
    fields = dict(one.fields)
    for key, value in other.fields.items():
        both = _both(fields[key], value) if key in fields else value
        if both is None:
            return None
        fields[key] = both
    return fields


def _both(mine: Any, theirs: Any) -> Any:
    if mine == theirs:
        return mine
    if isinstance(mine, dict) and isinstance(theirs, dict) and not mine.keys() & theirs.keys():
        return {**mine, **theirs}
    if not (isinstance(mine, list) and isinstance(theirs, list)):
        return None
    names = [each.get("name") for each in [*mine, *theirs] if "name" in each]
    tools = not any("role" in each for each in [*mine, *theirs])
    return [*mine, *theirs] if tools and len(set(names)) == len(names) else None
