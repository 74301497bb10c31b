"""An answer as the wire has it: one JSON message, or the server-sent events of a stream.

A stream is `message_start`, `ping`, the blocks, `message_delta`, `message_stop`. Blocks open as empty shells
and fill up by deltas: text in pieces of a few words, tool input as fragments of JSON, thinking as text (none
when it is not shown) and one signature; blocks that the server made come whole. Counts in `message_delta` are
totals; the input side is said twice, as the API does.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.core.types import to_json
from gateway.simulator.replies.cache import PromptUse
from gateway.simulator.replies.reply import Reply
from gateway.simulator.replies.tokens import count_text
from gateway.simulator.rules.bindings.checks import CONTROLS_BETA, inspect
from gateway.simulator.rules.case import Case, Json
from gateway.simulator.rules.options import takes_priority

_PIECE = re.compile(r"\S+\s*|\s+")
WORDS_PER_DELTA = 4
CHARACTERS_PER_FRAGMENT = 24
ESTIMATES_BETA = "thinking-token-count-2026-05-13"


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a stream."""

    name: str
    data: bytes
    tokens: int = 0
    """How many tokens had to be made for it."""


def message(case: Case, reply: Reply, message_id: str, use: PromptUse) -> Json:
    """The answer as one object."""
    return {
        **_shell(case, message_id),
        "content": reply.content,
        "stop_reason": reply.stop_reason,
        "stop_sequence": reply.stop_sequence,
        "stop_details": reply.stop_details,
        **reply.beside,
        "usage": {**use.as_json(), **_spent(reply), **_terms(case)},
    }


def stream(
    case: Case, reply: Reply, message_id: str, use: PromptUse, *, opened: Case | None = None
) -> Iterator[Step]:
    """The answer as events; `opened`: the request as it was when the answer began, if another model ended
    it."""
    start = {
        **_shell(opened or case, message_id),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {**use.as_json(), "output_tokens": 1, **_terms(case)},
    }
    yield Step("message_start", event("message_start", {"message": start}))
    yield Step("ping", event("ping", {}))
    counts = ESTIMATES_BETA in case.betas
    blocks = [list(_block_events(index, block, case, counts)) for index, block in enumerate(reply.content)]
    pieces = sum(len(block) - 2 for block in blocks)
    share, rest = divmod(reply.output_tokens, max(1, pieces))
    for block in blocks:
        for name, fields in block:
            is_delta = name == "content_block_delta"
            yield Step(name, event(name, fields), (share + (rest > 0)) if is_delta else 0)
            rest -= is_delta
    yield Step("message_delta", event("message_delta", _end(case, reply, use, moved=opened is not None)))
    yield Step("message_stop", event("message_stop", {}))


def _end(case: Case, reply: Reply, use: PromptUse, *, moved: bool) -> Json:
    """What `message_delta` says."""
    delta: Json = {"stop_reason": reply.stop_reason, "stop_sequence": reply.stop_sequence}
    delta["stop_details"] = reply.stop_details
    usage = {key: count for key, count in use.as_json().items() if key != "cache_creation"} | _spent(reply)
    end: Json = {"delta": delta, "usage": usage, **reply.beside}
    if moved and CONTROLS_BETA in case.betas:
        end["input_transformations"] = inspect(case).transformations
    return end


def event(name: str, fields: Json) -> bytes:
    """One server-sent event; its data repeats the name as `type`."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), to_json({"type": name, **fields}))


def _shell(case: Case, message_id: str) -> Json:
    shell: Json = {"id": message_id, "type": "message", "role": "assistant", "model": case.model.id}
    silent = case.batched and not case.switches.batches_tell_transformations
    if CONTROLS_BETA in case.betas and not silent:
        shell["input_transformations"] = inspect(case).transformations
    return shell


def _spent(reply: Reply) -> Json:
    return {
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"thinking_tokens": reply.thinking_tokens},
        **reply.usage,
    }


def _terms(case: Case) -> Json:
    tier = "priority" if takes_priority(case) else "standard"
    # A model that does not mind being asked for a fast mode that it does not have answers as ever.
    speed = case.body.get("speed") if case.model.fast_mode in ("beta", "yes") else "standard"
    return {
        "service_tier": "batch" if case.batched else tier,
        "inference_geo": case.body.get("inference_geo") or "global",
        **({"speed": speed} if case.body.get("speed") else {}),
    }


def _block_events(index: int, block: Json, case: Case, counts: bool) -> Iterator[tuple[str, Json]]:
    yield "content_block_start", {"index": index, "content_block": _empty(block)}
    for delta in _deltas(block):
        if counts and delta["type"] == "thinking_delta":
            delta["estimated_tokens"] = count_text(delta["thinking"], case.model)
        yield "content_block_delta", {"index": index, "delta": delta}
    yield "content_block_stop", {"index": index}


def _empty(block: Json) -> Json:
    match block["type"]:
        case "text":
            return {"type": "text", "text": ""}
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_use" | "server_tool_use":
            return {**block, "input": {}}
        case "compaction":
            return {**block, "content": None}
        case _:
            return block


def _deltas(block: Json) -> Iterator[Json]:
    match block["type"]:
        case "text":
            yield from ({"type": "text_delta", "text": piece} for piece in _pieces(block["text"]))
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "compaction":
            yield {"type": "compaction_delta", "content": block["content"]}
        case "tool_use" | "server_tool_use":
            text = to_json(block["input"]).decode()
            yield {"type": "input_json_delta", "partial_json": ""}
            for start in range(0, len(text), CHARACTERS_PER_FRAGMENT):
                fragment = text[start : start + CHARACTERS_PER_FRAGMENT]
                yield {"type": "input_json_delta", "partial_json": fragment}


def _pieces(text: str) -> Iterator[str]:
    parts = _PIECE.findall(text)
    for start in range(0, len(parts), WORDS_PER_DELTA):
        yield "".join(parts[start : start + WORDS_PER_DELTA])
