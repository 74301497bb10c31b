"""Options beside the conversation: fallbacks, priority, place, budgets, summaries, context editing.

Which model takes which stands in lists by hand (`lineup`). A fallback must be one that the model may hand
over to, and the request with the entry's own fields must be one that it takes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gateway.compat.catalog import Model
from gateway.simulator.rules.bindings.stamps import summary_seal
from gateway.simulator.rules.case import EXTRA, Case, Coded, Json, Rule
from gateway.simulator.rules.lineup import (
    COVERED,
    FABLE_5,
    FROM_4_6,
    MYTHOS_PREVIEW,
    NEWEST,
    OLDEST,
    OPUS_4_6,
    OPUS_4_7,
    OPUS_4_8,
    OPUS_5,
    OPUS_5_5,
    SONNET_4_6,
    SONNET_5,
    SONNET_5_5,
)

FALLBACKS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(COVERED | {MYTHOS_PREVIEW, OPUS_5_5}, (OPUS_5, OPUS_4_8)),
    OPUS_5: (OPUS_4_8,),
    SONNET_5_5: (SONNET_5,),
}
"""Whom a model may hand over to when it declines; in the order of its own default."""
FALLBACK_BETA = "server-side-fallback-"
ANY_FALLBACK_BETA = "server-side-fallback-2026-07-01"
ENTRY_KEYS = frozenset({"model", "max_tokens", "thinking", "output_config", "speed"})

TAKES_PRIORITY = OLDEST | {OPUS_4_6, OPUS_4_7, OPUS_4_8, SONNET_4_6, FABLE_5}
TAKES_GEO = FROM_4_6 - {MYTHOS_PREVIEW}
TAKES_BUDGETS = COVERED | NEWEST | {OPUS_4_7, OPUS_4_8, OPUS_5}
BUDGETS_BETA = "task-budgets-2026-03-13"
LEAST_BUDGET = 20_000

COMPACT_BETA, ON_DEMAND_BETA = "compact-2026-01-12", "compact-2026-09-04"
COMPACTS = FROM_4_6
COMPACTS_ON_DEMAND = COVERED | NEWEST
LEAST_TRIGGER = 50_000
EDITING_BETA = "context-management-2025-06-27"
EDITS: Mapping[str, str] = {
    "clear_thinking_20251015": EDITING_BETA,
    "clear_tool_uses_20250919": EDITING_BETA,
    "compact_20260112": COMPACT_BETA,
}
"""What can be done to the context, and the beta that it needs."""


def takes_priority(case: Case) -> bool:
    """Whether a request is served from priority capacity."""
    wanted = case.switches.priority_tier and case.body.get("service_tier", "auto") == "auto"
    return wanted and case.model.id in TAKES_PRIORITY and case.body.get("speed") != "fast"


def fallbacks_are_allowed(case: Case) -> Iterator[str]:
    fallbacks = case.body.get("fallbacks")
    if fallbacks is None:
        return
    if case.batched:
        yield "fallbacks: not available in batches"
    elif not case.switches.on("first_party", "aws", "google"):
        yield f"fallbacks: {EXTRA}"
    elif case.body.get("fallback_credit_token") is not None:
        yield "fallbacks: cannot be combined with fallback_credit_token"
    elif isinstance(fallbacks, list):
        yield from _listed(case, fallbacks)
    elif fallbacks != "default":
        yield "fallbacks: Input should be a valid list or 'default'"
    elif ANY_FALLBACK_BETA not in case.betas:
        yield "fallbacks: Input should be a valid list"


def _listed(case: Case, fallbacks: list[Any]) -> Iterator[str]:
    allowed = FALLBACKS.get(case.model.id, ())
    if fallbacks and not allowed:
        yield "fallbacks: this model does not support a list of fallback models"
        return
    for index, entry in enumerate(fallbacks):
        path = f"fallbacks.{index}"
        if not isinstance(entry, dict):
            yield f"{path}: Input should be a valid dictionary"
            continue
        yield from (f"{path}.{key}: {EXTRA}" for key in entry if key not in ENTRY_KEYS)
        if "model" not in entry:
            yield f"{path}.model: Field required"
        elif entry["model"] not in allowed:
            yield f"{path}.model: '{entry['model']}' is not an allowed fallback for this model"


def service_tier_is_available(case: Case) -> Iterator[str]:
    tier = case.body.get("service_tier")
    if tier not in (None, "auto", "standard_only"):
        yield "service_tier: Input should be 'auto' or 'standard_only'"
    elif tier == "auto" and case.switches.priority_tier:
        if case.model.id not in TAKES_PRIORITY:
            yield "service_tier: Priority Tier is not available for this model"
        elif case.body.get("speed") == "fast":
            yield "speed: fast mode is not available with Priority Tier"


def place_is_supported(case: Case) -> Iterator[str]:
    if case.body.get("inference_geo") is None:
        return
    if not isinstance(case.body["inference_geo"], str):
        yield "inference_geo: Input should be a valid string"
    elif case.model.id not in TAKES_GEO or not case.switches.on("first_party", "aws"):
        yield "inference_geo: not supported for this model"


def task_budget_is_supported(case: Case) -> Iterator[str]:
    budget = (case.body.get("output_config") or {}).get("task_budget")
    if budget is None:
        return
    path = "output_config.task_budget"
    if not isinstance(budget, dict):
        yield f"{path}: Input should be a valid dictionary"
    elif case.model.id not in TAKES_BUDGETS or case.switches.on("bedrock"):
        yield f"{path}: task budgets are not supported for this model"
    elif budget.get("type") != "tokens":
        yield f"{path}.type: Input should be 'tokens'"
    elif not isinstance(budget.get("total"), int) or budget["total"] < LEAST_BUDGET:
        yield f"{path}.total: Input should be greater than or equal to {LEAST_BUDGET}"
    else:
        known = {"type", "total", "remaining"}
        yield from (f"{path}.{key}: {EXTRA}" for key in budget if key not in known)


def compaction_is_supported(case: Case) -> Iterator[str]:
    """A summary on demand."""
    asked = case.body.get("compaction")
    if asked is None:
        return
    if ON_DEMAND_BETA not in case.betas:
        yield f"compaction: {EXTRA}"
    elif case.model.id not in COMPACTS_ON_DEMAND:
        yield "compaction: not supported for this model"
    elif not isinstance(asked, dict) or asked.get("type") != "summarize":
        yield "compaction.type: Input should be 'summarize'"
    elif case.body.get("context_management") is not None:
        yield "compaction: cannot be combined with context_management"
    elif case.messages[-1]["role"] == "assistant" and _calls(case.messages[-1]):
        message = "compaction: the last assistant turn is not finished"
        yield Coded(message, "compaction_incomplete_turn")


def _calls(message: Json) -> bool:
    content = message["content"]
    return isinstance(content, list) and any(block.get("type") == "tool_use" for block in content)


def summaries_come_back_whole(case: Case) -> Iterator[str]:
    """A summary that was asked for stands first in the conversation, and says what it said."""
    for index, message in enumerate(case.messages):
        for position, block in enumerate(message["content"] if isinstance(message["content"], list) else ()):
            if block["type"] != "compaction" or block.get("signature") is None:
                continue
            path = f"messages.{index}.content.{position}"
            if (index, position) != (0, 0):
                misplaced = f"{path}: a summary must be the first block of the conversation"
                yield Coded(misplaced, "compaction_block_misplaced")
            elif block["signature"] != summary_seal(str(block.get("content"))):
                invalid = f"{path}: Invalid `signature` in `compaction` block"
                yield Coded(invalid, "compaction_signature_invalid")


def context_edits_are_known(case: Case) -> Iterator[str]:
    management = case.body.get("context_management")
    if management is None:
        return
    edits = management.get("edits", []) if isinstance(management, dict) else None
    if not isinstance(edits, list) or not all(isinstance(edit, dict) for edit in edits):
        yield "context_management.edits: Input should be a valid list"
        return
    for index, edit in enumerate(edits):
        path, kind = f"context_management.edits.{index}", str(edit.get("type"))
        if kind not in EDITS or EDITS[kind] not in case.betas:
            tags = ", ".join(f"'{name}'" for name, beta in EDITS.items() if beta in case.betas)
            yield f"{path}: Input tag '{kind}' does not match any of the expected tags: {tags}"
        elif kind == "compact_20260112":
            yield from _compacting(case, path, edit)
        elif kind == "clear_thinking_20251015" and not case.thinks:
            yield f"{path}: clear_thinking_20251015 requires thinking to be enabled"


def _compacting(case: Case, path: str, edit: Json) -> Iterator[str]:
    trigger = edit.get("trigger") or {}
    if case.model.id not in COMPACTS:
        yield f"{path}: compact_20260112 is not supported for this model"
    elif not isinstance(trigger, dict) or trigger.get("value", LEAST_TRIGGER) < LEAST_TRIGGER:
        yield f"{path}.trigger.value: Input should be greater than or equal to {LEAST_TRIGGER}"


# --- attempts of a fallback ---------------------------------------------------------------------------------


def entries_of(case: Case) -> list[Json]:
    """The fallbacks of a request, in their order."""
    fallbacks = case.body.get("fallbacks")
    if fallbacks == "default":
        return [{"model": name} for name in FALLBACKS.get(case.model.id, ())]
    return fallbacks if isinstance(fallbacks, list) else []


def attempt(case: Case, entry: Json) -> Case | None:
    """The request as an entry sends it to its model; None without a model to send it to.

    With the newer beta, what the request says and the entry does not counts only where the model takes it.
    """
    model = case.catalogue.find(entry["model"]) if case.catalogue else None
    if model is None:
        return None
    body = {key: value for key, value in case.body.items() if key != "fallbacks"}
    body |= {"model": entry["model"]}
    if entry.get("max_tokens") is not None:
        body["max_tokens"] = entry["max_tokens"]
    lenient = ANY_FALLBACK_BETA in case.betas
    if lenient and "thinking" not in entry:
        entry = {**entry, "thinking": _thinking_for(model, case.body.get("thinking"))}
    if lenient and "speed" not in entry and model.fast_mode != "yes":
        entry = {**entry, "speed": None}
    for key in ("thinking", "speed"):
        if key in entry:
            body[key] = entry[key]
    body["output_config"] = _config_for(model, case.body.get("output_config"), entry, lenient=lenient)
    given = {key: value for key, value in body.items() if value is not None}
    return replace(case, body=given, model=model, memo={})


def _thinking_for(model: Model, thinking: Json | None) -> Json | None:
    kind = (thinking or {}).get("type")
    if kind in model.thinking.types:
        return thinking
    return {"type": "disabled"} if kind == "between_tools" and "disabled" in model.thinking.types else None


def _config_for(model: Model, config: Json | None, entry: Json, *, lenient: bool) -> Json | None:
    """The two `output_config` one field at a time."""
    if entry.get("output_config", {}) is None:
        return None
    merged = dict(config or {})
    if lenient and merged.get("effort") not in model.effort.levels:
        merged.pop("effort", None)
    if lenient and model.id not in TAKES_BUDGETS:
        merged.pop("task_budget", None)
    merged |= entry.get("output_config") or {}
    return {key: value for key, value in merged.items() if value is not None} or None


RULES: tuple[Rule, ...] = (
    fallbacks_are_allowed,
    service_tier_is_available,
    place_is_supported,
    task_budget_is_supported,
    compaction_is_supported,
    summaries_come_back_whole,
    context_edits_are_known,
)
