"""The shape of a request: known fields, required fields, types.

These rules assume nothing, and all others assume that these passed. Unknown fields are refused with their
path, as the API does; betas open some (`BETA_FIELDS`), whatever the date in the beta's name.
"""

from collections.abc import Iterator, Mapping

from gateway.simulator.rules.case import EXTRA, Case, Rule
from gateway.simulator.rules.conversation import blocks_have_a_shape

FIELDS = frozenset({
    "cache_control", "container", "diagnostics", "inference_geo", "max_tokens", "messages", "metadata",
    "model", "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "temperature",
    "thinking", "tool_choice", "tools", "top_k", "top_p",
})  # fmt: skip
"""The top-level fields of a message request and of count_tokens."""

BETA_FIELDS: Mapping[str, tuple[str, ...]] = {
    "compaction": ("compact-",),
    "context_management": ("context-management-", "compact-"),
    "fallback_credit_token": ("fallback-credit-",),
    "fallbacks": ("server-side-fallback-",),
    "mcp_servers": ("mcp-client-",),
    "output_format": ("structured-outputs-",),
    "thread": ("message-threads-",),
}
"""Fields that pass when one of these betas is in the header, whatever its date."""

TYPES: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "max_tokens": (int, "integer"),
    "metadata": (dict, "dictionary"),
    "output_config": (dict, "dictionary"),
    "stop_sequences": (list, "list"),
    "stream": (bool, "boolean"),
    "system": ((str, list), "string"),
    "temperature": ((int, float), "number"),
    "thinking": (dict, "dictionary"),
    "tool_choice": (dict, "dictionary"),
    "tools": (list, "list"),
    "top_k": (int, "integer"),
    "top_p": ((int, float), "number"),
}

TOOL_KEYS = frozenset({
    "allowed_callers", "cache_control", "defer_loading", "description", "eager_input_streaming",
    "input_examples", "input_schema", "name", "strict", "type",
})  # fmt: skip


def fields_are_known(case: Case) -> Iterator[str]:
    for field in case.body:
        prefixes = BETA_FIELDS.get(field)
        if field not in FIELDS and not (prefixes and any(beta.startswith(prefixes) for beta in case.betas)):
            yield f"{field}: {EXTRA}"


def fields_have_types(case: Case) -> Iterator[str]:
    if "max_tokens" not in case.body and not case.counting:
        yield "max_tokens: Field required"
    for field, (kind, name) in TYPES.items():
        value = case.body.get(field)
        if value is not None and (
            not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        ):
            yield f"{field}: Input should be a valid {name}"


def system_has_a_shape(case: Case) -> Iterator[str]:
    if isinstance(case.body.get("system"), list):
        yield from blocks_have_a_shape("system", case.body["system"], "system")
        if any(isinstance(block, dict) and block.get("text") == "" for block in case.body["system"]):
            yield "system: text content blocks must be non-empty"


def tools_have_a_shape(case: Case) -> Iterator[str]:
    for index, tool in enumerate(case.body.get("tools") or []):
        if not isinstance(tool, dict):
            yield f"tools.{index}: Input should be a valid dictionary"
        elif tool.get("type", "custom") == "custom":
            missing = [key for key in ("name", "input_schema") if key not in tool]
            yield from (f"tools.{index}.custom.{key}: Field required" for key in missing)
            yield from (f"tools.{index}.custom.{key}: {EXTRA}" for key in tool if key not in TOOL_KEYS)
            if not isinstance(tool.get("input_schema", {}), dict):
                yield f"tools.{index}.custom.input_schema: Input should be a valid dictionary"
        if isinstance(tool, dict) and not isinstance(tool.get("name", ""), str):
            yield f"tools.{index}.custom.name: Input should be a valid string"


def options_have_a_shape(case: Case) -> Iterator[str]:
    yield from (f"metadata.{key}: {EXTRA}" for key in case.body.get("metadata") or {} if key != "user_id")
    config = case.body.get("output_config") or {}
    known = {"effort", "format"} | ({"task_budget"} if "task-budgets-2026-03-13" in case.betas else set())
    yield from (f"output_config.{key}: {EXTRA}" for key in config if key not in known)
    if not isinstance(config.get("format") or {}, dict):
        yield "output_config.format: Input should be a valid dictionary"
    for index, stop in enumerate(case.body.get("stop_sequences") or []):
        if not isinstance(stop, str):
            yield f"stop_sequences.{index}: Input should be a valid string"
        elif not stop.strip():
            yield f"stop_sequences.{index}: each stop sequence must contain non-whitespace"


RULES: tuple[Rule, ...] = (
    fields_are_known,
    fields_have_types,
    system_has_a_shape,
    tools_have_a_shape,
    options_have_a_shape,
)
