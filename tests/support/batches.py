"""Batches as they are asked for, and as an upstream tells of them and their results."""

import json
from typing import Any

from tests.support.plane import O45, Heard, Process

BATCHES = "/v1/messages/batches"
BATCH_ID = "msgbatch_1"
CREATED = "2026-01-01T00:00:00Z"
EXPIRES = "2026-01-02T00:00:00Z"


def item(custom_id: str, unit: str = "", model: str = O45, **params: Any) -> dict[str, Any]:
    """Return one item, of this end user if one is given."""
    turns = [{"role": "user", "content": f"hello from {custom_id}"}]
    fields = {"model": model, "max_tokens": 64, "messages": turns, **params}
    if unit:
        fields["metadata"] = {"user_id": unit}
    return {"custom_id": custom_id, "params": fields}


def batch_of(*items: Any, **more: Any) -> bytes:
    """Return the body that creates a batch."""
    return json.dumps({"requests": list(items), **more}).encode()


def told(batch_id: str = BATCH_ID, results_url: str | None = None) -> bytes:
    """Return a batch as the upstream tells of it."""
    doc = {
        "id": batch_id, "type": "message_batch", "processing_status": "in_progress", "created_at": CREATED,
        "expires_at": EXPIRES, "results_url": results_url,
    }  # fmt: skip
    return json.dumps(doc).encode()


def result(custom_id: str, text: str = "hi", kind: str = "succeeded") -> bytes:
    """Return one line of results, without its end."""
    message = {"id": "msg_1", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    outcome = {"type": kind, "message": message} if kind == "succeeded" else {"type": kind}
    return json.dumps({"custom_id": custom_id, "result": outcome}).encode()


def text_of(line: bytes) -> str:
    """Return the text of the answer in a line of results."""
    text: str = json.loads(line)["result"]["message"]["content"][0]["text"]
    return text


async def create(process: Process, content: bytes, **headers: str) -> Heard:
    """Create a batch."""
    return await process.post(content, BATCHES, **headers)


def items_sent(process: Process, number: int = -1) -> dict[str, dict[str, Any]]:
    """Return the params of each item as the upstream got them, by custom_id."""
    requests = json.loads(process.upstream.requests[number].body)["requests"]
    return {each["custom_id"]: each["params"] for each in requests}
