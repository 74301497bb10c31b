"""Thinking and effort: which spellings a model takes, and which go together."""

from collections.abc import Iterator
from typing import Any

from gateway.compat.catalog import EFFORTS
from gateway.simulator.rules.bindings.checks import CONTROLS_BETA
from gateway.simulator.rules.case import EXTRA, Case, Json, Rule
from gateway.simulator.rules.lineup import COVERED_5, COVERED_5_1, HAIKU_5_5, SONNET_5_5

UPDATES_BETA = "thinking-display-updates-2026-08-18"

USE_ADAPTIVE = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
USE_ENABLED = (
    'Thinking defaults to adaptive mode when not specified; use "thinking.type.enabled" with "budget_tokens" '
    "for extended thinking."
)
USE_BETWEEN_TOOLS = (
    'To turn thinking off on this model, send "thinking": {"type": "between_tools"} instead of '
    '{"type": "disabled"}. The model does not think before responding. The short updates it writes between '
    "tool calls come back as thinking blocks."
)

UNKNOWN_TYPE = (
    "thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
    "'adaptive', 'between_tools', 'disabled', 'enabled'"
)


def thinking_is_supported(case: Case) -> Iterator[str]:
    thinking: Json | None = case.body.get("thinking")
    if thinking is None:
        return
    kind = case.thinking_type
    if kind not in ("enabled", "adaptive", "disabled", "between_tools"):
        yield UNKNOWN_TYPE.format(kind=kind)
    elif kind not in case.model.thinking.types:
        yield _rejected_thinking(case, kind)
    else:
        yield from _thinking_siblings(case, kind, thinking)


def _rejected_thinking(case: Case, kind: str) -> str:
    types = case.model.thinking.types
    if kind == "adaptive":
        return "adaptive thinking is not supported on this model"
    if kind == "between_tools":
        return '"thinking.type.between_tools" is not supported for this model.'
    if kind == "disabled" and "between_tools" in types:
        return USE_BETWEEN_TOOLS
    old = case.switches.old_disabled_wording and case.model.id in COVERED_5 | COVERED_5_1
    instead = USE_ENABLED if kind == "disabled" and ("enabled" in types or old) else USE_ADAPTIVE
    return f'"thinking.type.{kind}" is not supported for this model. {instead}'


def _thinking_siblings(case: Case, kind: str, thinking: Json) -> Iterator[str]:
    known = {"type"} | ({"display"} if kind in ("enabled", "adaptive") else set())
    known |= {"budget_tokens"} if kind == "enabled" else set()
    known |= {"block_binding"} if _may_bind(case, kind) else set()
    yield from (f"thinking.{kind}.{key}: {EXTRA}" for key in thinking if key not in known)
    if "block_binding" in known:
        yield from _binding(f"thinking.{kind}.block_binding", thinking.get("block_binding"))
    if kind == "enabled":
        yield from _budget(case, thinking)
    display = thinking.get("display")
    updates = kind == "adaptive" and case.model.thinking.updates and UPDATES_BETA in case.betas
    shown = ("summarized", "omitted", *(("updates",) if updates else ()))
    if display is not None and display not in shown and "display" in known:
        options = " or ".join([", ".join(f"'{name}'" for name in shown[:-1]), f"'{shown[-1]}'"])
        yield f"thinking.{kind}.display: Input should be {options}"


def _may_bind(case: Case, kind: str) -> bool:
    """Whether `block_binding` is known here; models without the check take it and do nothing."""
    if CONTROLS_BETA not in case.betas or (
        case.switches.on("foundry") and not case.switches.foundry_binds_blocks
    ):
        return False
    return kind == "adaptive" or case.model.id not in (SONNET_5_5, HAIKU_5_5)


def _binding(path: str, binding: Any) -> Iterator[str]:
    if binding is not None and not isinstance(binding, dict):
        yield f"{path}: Input should be a valid dictionary"
        return
    for key, value in (binding or {}).items():
        if key != "prefix_mismatch_behavior":
            yield f"{path}.{key}: {EXTRA}"
        elif value not in (None, "error", "drop_block"):
            yield f"{path}.{key}: Input should be 'error' or 'drop_block'"


def _budget(case: Case, thinking: Json) -> Iterator[str]:
    budget, most = thinking.get("budget_tokens"), case.body.get("max_tokens")
    if "budget_tokens" not in thinking:
        yield "thinking.enabled.budget_tokens: Field required"
    elif not isinstance(budget, int) or isinstance(budget, bool):
        yield "thinking.enabled.budget_tokens: Input should be a valid integer"
    elif budget < 1024:
        yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    elif isinstance(most, int) and budget >= most:
        yield "`max_tokens` must be greater than `thinking.budget_tokens`."


def effort_is_supported(case: Case) -> Iterator[str]:
    effort = (case.body.get("output_config") or {}).get("effort")
    if effort is None:
        return
    levels = case.model.effort.levels
    if effort not in EFFORTS:
        yield "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
    elif not levels:
        yield "This model does not support the effort parameter."
    elif effort not in levels:
        known = ", ".join(sorted(levels))
        yield f"This model does not support effort level '{effort}'. Supported levels: {known}."


def effort_allows_thinking_off(case: Case) -> Iterator[str]:
    most = case.model.thinking.off_max_effort
    if case.thinking_type not in ("disabled", "between_tools") or most is None or case.effort not in EFFORTS:
        return
    if EFFORTS.index(case.effort) > EFFORTS.index(most):
        yield (
            f"output_config.effort '{case.effort}' is not supported when thinking is disabled on this model. "
            f"Use effort '{most}' or below, or enable thinking."
        )


RULES: tuple[Rule, ...] = (thinking_is_supported, effort_is_supported, effort_allows_thinking_off)
