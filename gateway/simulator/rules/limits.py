"""Limits: how much may be asked for, and what the account must have agreed to."""

from collections.abc import Iterator
from typing import Any

from gateway.simulator.rules.case import Case, Json, Rule
from gateway.simulator.rules.lineup import NEWEST, OPUS_4_6

MAX_BREAKPOINTS = 4
LONG_OUTPUT_BETA, LONG_OUTPUT_TOKENS = "output-300k-2026-03-24", 300_000
"""In batches, the newest of each line write more under this beta."""
FAST_BETA = "fast-mode-2026-02-01"


def max_tokens_is_in_range(case: Case) -> Iterator[str]:
    tokens, most = case.body.get("max_tokens"), case.model.max_output_tokens
    if case.batched and case.model.id in NEWEST and LONG_OUTPUT_BETA in case.betas:
        most = LONG_OUTPUT_TOKENS
    if tokens is None:
        return
    if tokens < 0:
        yield "max_tokens: Input should be greater than or equal to 0"
    elif tokens > most:
        yield (
            f"max_tokens: {tokens} > {most}, which is the maximum allowed number of output tokens "
            f"for {case.body['model']}"
        )
    elif tokens == 0 and (other := _not_with_zero(case)):
        yield f"max_tokens: 0 cannot be combined with {other}"


def _not_with_zero(case: Case) -> str:
    """What keeps a request from only warming the cache."""
    if case.body.get("stream"):
        return "stream"
    if case.thinking_type == "enabled":
        return "thinking"
    if case.output_format is not None:
        return "output_config.format"
    if case.forces_tool:
        return "a forced tool_choice"
    if case.body.get("compaction"):
        return "compaction"
    return "batches" if case.batched else ""


def cache_breakpoints_fit(case: Case) -> Iterator[str]:
    marks = list(_cache_marks(case.body))
    if len(marks) > MAX_BREAKPOINTS:
        yield f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marks)}."
    lifetimes = [mark.get("ttl", "5m") for mark in marks]
    for index, ttl in enumerate(lifetimes):
        if ttl not in ("5m", "1h"):
            yield "cache_control.ephemeral.ttl: Input should be '5m' or '1h'"
        elif ttl == "1h" and "5m" in lifetimes[:index]:
            yield "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"


def _cache_marks(body: Json) -> Iterator[Json]:
    """Every cache_control in the order in which a prompt is read; a top-level one counts as the last."""
    system = body.get("system")
    contents = [message["content"] for message in body["messages"]]
    for blocks in (body.get("tools"), system, *contents):
        yield from _marks_in(blocks)
    if isinstance(body.get("cache_control"), dict):
        yield body["cache_control"]


def _marks_in(blocks: Any) -> Iterator[Json]:
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict):
            yield from _marks_in(block.get("content"))
            if isinstance(block.get("cache_control"), dict):
                yield block["cache_control"]


def speed_is_supported(case: Case) -> Iterator[str]:
    speed = case.body.get("speed")
    if speed not in (None, "standard", "fast"):
        yield "speed: Input should be 'standard' or 'fast'"
    elif speed == "fast" and case.batched:
        yield "speed: fast mode is not available in batches"
    elif speed == "fast" and case.model.id == OPUS_4_6 and case.switches.on("first_party"):
        return  # It once had a fast mode, and now answers at the usual speed.
    elif speed == "fast" and case.model.fast_mode in ("no", "ignored"):
        yield "speed: fast mode is not supported for this model"
    elif speed == "fast" and case.model.fast_mode == "beta" and FAST_BETA not in case.betas:
        yield "speed: Extra inputs are not permitted"


def data_is_retained(case: Case) -> Iterator[str]:
    if case.model.line in ("fable", "mythos") and not case.switches.data_retention:
        yield (
            "In order to access this model, your organization or workspace must have data retention enabled."
        )


def prompt_fits(case: Case, tokens: int) -> Iterator[str]:
    if tokens > (most := case.model.context_tokens):
        yield f"prompt is too long: {tokens} tokens > {most} maximum"


RULES: tuple[Rule, ...] = (
    max_tokens_is_in_range,
    cache_breakpoints_fit,
    speed_is_supported,
    data_is_retained,
)
