"""Thinking and its display (R3, R2, R7): the same meaning in the other model's words.

A missing `thinking` means off to one model and adaptive to another, so it is first read as the model that
the application wrote for would take it, then spelled for the model that serves. A spelling that the target
already understands in the same way stays as it is.

    meant           spelled, first that the target knows
    off             disabled, between_tools, left out, else adaptive at the lowest effort with room to think
    adaptive        adaptive, else enabled with a budget by effort, else off
    enabled         enabled, else adaptive at an effort by budget, else off
    between_tools   between_tools, else as off

Thinking is turned off where it cannot be kept without an error: a forced tool on models that force only with
thinking off, no room for a budget, an open tool round whose turns do not begin with thinking on models with
manual thinking. With `thinking: adopt` a missing value is left to the target's own meaning.

Budgets and efforts have no official mapping. Ours goes there and back: below 4 096 tokens is low, below
16 384 medium, more is high (a Haiku is asked for no more than its default); low is 2 048, medium 8 192, high
16 384, xhigh 24 576, max 32 768, but never more than half of `max_tokens`, so that there is room for the
answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal

from msgspec import Raw

from gateway.compat.catalog import EFFORTS, Effort, Model, ThinkingType
from gateway.compat.draft import Draft
from gateway.compat.envelope import (
    THINKING_BLOCKS,
    Envelope,
    Fields,
    Turn,
    blocks_of,
    encode,
    present,
    read,
    whole_number,
)
from gateway.compat.rules import tools
from gateway.core.types import Change, RewriteClass

Mode = Literal["off", "adaptive", "enabled", "between_tools"]

MIN_BUDGET = 1024
BUDGETS: Mapping[str, int] = {"low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
_MODES: Mapping[str, Mode] = {
    "disabled": "off",
    "adaptive": "adaptive",
    "enabled": "enabled",
    "between_tools": "between_tools",
}
_ON = frozenset({"adaptive", "enabled"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says about thinking, as a model reads it."""

    mode: Mode
    explicit: bool
    """The request says so; otherwise the model's default does."""
    options: Fields
    """The `thinking` object; empty where it is missing. Shared, so never changed."""
    budget: int = 0

    @property
    def on(self) -> bool:
        return self.mode in _ON


_LEFT_OUT: Mapping[str, Wish] = {
    "off": Wish("off", False, {}),
    "adaptive": Wish("adaptive", False, {}),
}
"""What it means to leave `thinking` out."""


def wish(fields: Mapping[str, Raw], model: Model) -> Wish | None:
    """Read what a request means to `model`; None where it is malformed and the upstream has to say so."""
    raw = fields.get("thinking")
    if raw is None or not present(raw):
        return _LEFT_OUT[model.thinking.omitted]
    data = bytes(raw)
    return _spelled(data) if len(data) <= _SHORT else _read_wish(data)


def _read_wish(data: bytes) -> Wish | None:
    options = read(Raw(data), Fields)
    mode = _MODES.get(read(options.get("type"), str) or "") if options is not None else None
    if options is None or mode is None:
        return None
    if mode != "enabled":
        return Wish(mode, True, options)
    budget = whole_number(options.get("budget_tokens"))
    return None if budget is None else Wish(mode, True, options, budget)


_spelled = lru_cache(maxsize=256)(_read_wish)
"""Applications have few spellings, and the rules ask a dozen times for one request."""
_SHORT = 128
"""Bytes of what they write; longer ones are not kept."""


def unasked(draft: Draft) -> bool:
    """Tell whether the target will think although the application did not want it to."""
    meant = wish(draft.envelope.fields, draft.source)
    now = wish(draft.fields, draft.target)
    return meant is not None and now is not None and not meant.on and now.on


def pin(draft: Draft) -> Draft:
    """Say what the source takes for granted, where the target takes something else for granted; and say off
    in the target's words (R3).
    """
    meant = _meant(draft)
    if meant is None:
        return draft
    if not meant.on:
        return _turn_off(draft, meant, "")
    if reason := _cannot_think(draft, meant):
        return _turn_off(draft, meant, reason)
    rules = draft.target.thinking
    if meant.explicit or "adaptive" not in rules.types or rules.omitted == "adaptive":
        return draft
    sentence = f"Adaptive thinking is named for {draft.target.id}."
    return draft.put("thinking", {"type": "adaptive"}).note("thinking", RewriteClass.lossless, sentence)


def convert(draft: Draft) -> Draft:
    """Ask for thinking by budget or by effort, as the target has it (R2)."""
    meant = _meant(draft)
    if meant is None or not meant.on or meant.mode in draft.target.thinking.types:
        return draft
    if _cannot_think(draft, meant):  # left out, which is off to the target
        return draft
    return _with_effort(draft, meant) if meant.mode == "enabled" else _with_budget(draft, meant)


def show(draft: Draft) -> Draft:
    """Keep showing as much thinking as the source shows (R7)."""
    meant, now = wish(draft.envelope.fields, draft.source), wish(draft.fields, draft.target)
    if meant is None or now is None or not (meant.on and now.on) or _adopts(draft, meant):
        return draft
    source, target = draft.source.thinking, draft.target.thinking
    asked = meant.options.get("display")
    if present(asked):
        if read(asked, str) != "updates" or (target.updates and now.mode == "adaptive"):
            return draft
        draft = draft.put("thinking", now.options | {"display": encode("summarized")})
        sentence = f"{draft.target.id} shows no updates while it thinks: summaries are asked for."
        return draft.note("display", RewriteClass.emulated, sentence)
    if source.display_default == target.display_default:
        return draft
    shown = {"type": encode(now.mode), **now.options, "display": encode(source.display_default)}
    sentence = f"The display of thinking, by default {source.display_default}, is named for the model."
    return draft.put("thinking", shown).note("display", RewriteClass.lossless, sentence)


def _meant(draft: Draft) -> Wish | None:
    """Return what the request as it stands means to the source; None where it is not ours to spell."""
    meant = wish(draft.fields, draft.source)
    return None if meant is None or _adopts(draft, meant) else meant


def _adopts(draft: Draft, meant: Wish) -> bool:
    return not meant.explicit and draft.policy.thinking == "adopt"


def _cannot_think(draft: Draft, meant: Wish) -> str:
    """Return why thinking would be an error that the source would not have made; empty where it is none."""
    source, target = draft.source, draft.target
    if target.forced_tool == "thinking_off" and source.forced_tool == "always" and tools.forced(draft.fields):
        return "a tool is forced"
    if not target.thinking.types & _ON:
        return "the model does not think"
    if meant.mode == "adaptive" and "adaptive" not in target.thinking.types:
        if _budget(draft) < MIN_BUDGET:
            return "max_tokens leaves no room for a budget"
        if _open_round_without_thinking(draft.envelope.turns):
            return "a turn of the open tool round does not begin with thinking"
    return ""


def _turn_off(draft: Draft, meant: Wish, reason: str) -> Draft:
    types, target = draft.target.thinking.types, draft.target.id
    same = RewriteClass.lossless if meant.mode == "off" else RewriteClass.emulated
    why = f" because {reason}" if reason else ""
    if _means_off(draft, meant):
        if why:
            draft = draft.note("thinking", same, f"Thinking stays off on {target}{why}.")
    elif "disabled" in types:
        draft = draft.put("thinking", {"type": "disabled"})
        draft = draft.note("thinking", same, f"Thinking is set to disabled for {target}{why}.")
    elif "between_tools" in types:
        draft = draft.put("thinking", {"type": "between_tools"})
        sentence = f"Thinking is set to between_tools, the nearest to off on {target}{why}."
        draft = draft.note("thinking", RewriteClass.emulated, sentence)
    elif draft.target.thinking.omitted == "off":
        draft = draft.drop("thinking")
        draft = draft.note("thinking", same, f"Thinking is left out, which means off on {target}{why}.")
    else:
        draft = _turn_low(draft, meant)
    return draft


def _means_off(draft: Draft, meant: Wish) -> bool:
    """Tell whether the request as it stands is off to the target too."""
    if not meant.explicit:
        return draft.target.thinking.omitted == "off"
    return not meant.on and _type_of(meant) in draft.target.thinking.types


def _type_of(meant: Wish) -> ThinkingType:
    return "disabled" if meant.mode == "off" else meant.mode


def _turn_low(draft: Draft, meant: Wish) -> Draft:
    """Think as little as a model can that cannot be told not to.

    It is written out, so that the rewritten request itself says that thinking is on and that nobody wants to
    see it. A request that only warms the cache (`max_tokens: 0`) may not ask for thinking: there it is left
    out.
    """
    if draft.envelope.max_tokens == 0:
        draft = draft.drop("thinking")
    else:
        draft = draft.put("thinking", {"type": "adaptive", "display": "omitted"})
    levels = draft.target.effort.levels
    options = draft.options("output_config")
    if not levels or options is None:
        sentence = f"Thinking cannot be off on {draft.target.id}."
        draft = draft.note("thinking", RewriteClass.emulated, sentence)
        return draft
    lowest = min(levels, key=EFFORTS.index)
    asked = read(options.get("effort"), str)
    draft = draft.put("output_config", options | {"effort": encode(lowest)})
    sentence = f"Thinking cannot be off on {draft.target.id}: it is adaptive at effort {lowest}."
    draft = draft.note("thinking", RewriteClass.emulated, sentence)
    if asked not in (None, lowest):
        draft = draft.note(
            "effort", RewriteClass.emulated, f"Effort is {lowest}, so that there is little thinking."
        )
    return draft


def _with_effort(draft: Draft, meant: Wish) -> Draft:
    options = {key: value for key, value in meant.options.items() if key != "budget_tokens"}
    draft = draft.put("thinking", options | {"type": encode("adaptive")})
    draft, effort = _with_effort_of_budget(draft, meant.budget)
    sentence = f"A thinking budget of {meant.budget} tokens became adaptive thinking at effort {effort}."
    return draft.note("thinking", RewriteClass.emulated, sentence)


def _with_budget(draft: Draft, meant: Wish) -> Draft:
    budget = _budget(draft)
    display = {key: value for key, value in meant.options.items() if key == "display"}
    draft = draft.put("thinking", {"type": "enabled", "budget_tokens": budget, **display})
    sentence = f"Adaptive thinking became a thinking budget of {budget} tokens for {draft.target.id}."
    return draft.note("thinking", RewriteClass.emulated, sentence)


def _with_effort_of_budget(draft: Draft, budget: int) -> tuple[Draft, str]:
    """Ask for the effort that stands for a budget, unless the application names one itself; return it too."""
    options = draft.options("output_config")
    if options is None:
        return draft, "as given"
    if present(options.get("effort")):
        return draft, read(options["effort"], str) or "as given"
    wanted: Effort = "low" if budget < 4096 else "medium" if budget < 16384 else "high"
    effort = at_most(wanted, draft.target.effort.levels)
    if effort is None:
        return draft, "by default"
    default = draft.target.effort.default
    if draft.target.line == "haiku" and default is not None:
        effort = default if EFFORTS.index(default) < EFFORTS.index(effort) else effort
    return draft.put("output_config", options | {"effort": encode(effort)}), effort


def at_most(wanted: Effort, levels: tuple[Effort, ...]) -> Effort | None:
    """Return the highest of `levels` up to `wanted`, else the lowest there is; None without levels."""
    ordered = sorted(levels, key=EFFORTS.index)
    lower = [level for level in ordered if EFFORTS.index(level) <= EFFORTS.index(wanted)]
    return lower[-1] if lower else next(iter(ordered), None)


def _budget(draft: Draft) -> int:
    """Return the budget that stands for the request's effort, at most half of what the answer may have."""
    options = draft.options("output_config") or {}
    effort = read(options.get("effort"), str) or draft.source.effort.default or "high"
    budget = BUDGETS.get(effort, BUDGETS["high"])
    most = draft.envelope.max_tokens
    if draft.counting or most is None:
        return budget
    return min(budget, min(most, draft.target.max_output_tokens) // 2)


def _open_round_without_thinking(turns: tuple[Turn, ...]) -> bool:
    """Tell whether an answer to tool results is due, and a turn of that round does not begin with thinking.

    Models with manual thinking want the turn that called the tools to begin with its thinking block. The
    published text names the last such turn; all turns of the round are looked at, which is never wrong.
    """
    newest_first = (turn for turn in reversed(turns) if turn.role != "system")
    for role, run in groupby(newest_first, key=lambda turn: turn.role):
        kinds = [[block.type for block in blocks_of(turn.content) or ()] for turn in run]
        if role == "assistant":
            if not THINKING_BLOCKS.intersection(kinds[-1][:1]):
                return True
        elif not any("tool_result" in each for each in kinds):
            return False
    return False


# --- what a model rejects ---------------------------------------------------------------------------------


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    now = wish(envelope.fields, model)
    if now is None:
        yield _violation("thinking", "thinking is malformed")
        return
    if now.explicit:
        yield from _thinking_violations(envelope, now, model)
    if now.on and model.forced_tool == "thinking_off" and tools.forced(envelope.fields):
        yield _violation("forced_tool", f"{model.id} forces a tool only while thinking is off")


def _thinking_violations(envelope: Envelope, now: Wish, model: Model) -> Iterator[Change]:
    if _type_of(now) not in model.thinking.types:
        yield _violation("thinking", f"{model.id} does not take {_type_of(now)}")
    siblings = now.options.keys() - {"type"}
    if not now.on and siblings:
        yield _violation("thinking", "thinking that is off takes no other options")
    if now.mode == "adaptive" and "budget_tokens" in siblings:
        yield _violation("thinking", "adaptive thinking takes no budget")
    display = now.options.get("display")
    shown = {"summarized", "omitted"} | ({"updates"} if model.thinking.updates else set())
    if present(display) and read(display, str) not in shown:
        yield _violation("display", f"{model.id} does not take this display")
    if now.mode == "enabled":
        most = envelope.max_tokens
        if now.budget < MIN_BUDGET or (most is not None and now.budget >= most):
            yield _violation("thinking", "the budget is not between 1024 and max_tokens")
        if _open_round_without_thinking(envelope.turns):
            yield _violation("thinking", "a turn of the open tool round does not begin with thinking")


def _violation(rule: str, sentence: str) -> Change:
    return Change(rule, RewriteClass.unservable, sentence)
