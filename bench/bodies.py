"""Request bodies of a given size that look like real ones: a coding agent's conversation.

System prompt and tools at the top, then rounds of question, call and result, with code, logs and prose that
need escapes as such texts do. Large bodies are large because of pictures: half of their bytes are base64 in a
few blocks, so that the rest still fits a window. The same size gives the same bytes.
"""

import base64
import json
from collections.abc import Iterator
from random import Random
from typing import Any

Json = dict[str, Any]

MODEL = "claude-opus-4-5-20251101"
WITH_PICTURES = 1 << 20
"""Bytes from which half of a body is pictures."""
PICTURE = 300_000
"""Bytes of one picture before it is base64."""

_PROSE = (
    "the request was moved to another model and its answer came back as if nothing had happened; "
    "a test that fails first says more than ten that never could. return self.value if key in known else "
    'None  # "quoted", with\ttabs and a path\\to\\file: 4711, 3.14, {"a": [1, 2]}'
)
_WORDS = _PROSE.split(" ")
_TOOL = {
    "name": "read_file",
    "description": "Read a file of the repository and return its lines.",
    "input_schema": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "first": {"type": "integer"}},
        "required": ["path"],
    },
}


def body_of(size: int, **fields: Any) -> bytes:
    """Return a request of about `size` bytes; `fields` stand behind its own."""
    random = Random(size)
    turns = list(_pictures(random, size // 2)) if size >= WITH_PICTURES else []
    request: Json = {
        "model": MODEL,
        "max_tokens": 8192,
        "system": [{"type": "text", "text": _prose(random, min(size // 10, 20_000)), **_marker()}],
        "tools": [_TOOL],
        "messages": turns,
    }
    room = size - len(json.dumps(request))
    number = 0
    while room > 0:
        added = _round(random, number, min(room // 2, 6_000))
        turns += added
        room -= len(json.dumps(added))
        number += 1
    turns.append({"role": "user", "content": "Go on."})
    return json.dumps({**request, **fields}).encode()


def _round(random: Random, number: int, size: int) -> list[Json]:
    call = {"type": "tool_use", "id": f"toolu_{number:06}", "name": "read_file", "input": {"path": "a/b.py"}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number:06}", "content": _prose(random, size)}
    return [
        {"role": "user", "content": f"Question {number}: {_prose(random, size // 20)}"},
        {"role": "assistant", "content": [{"type": "text", "text": _prose(random, size // 8)}, call]},
        {"role": "user", "content": [result]},
        {"role": "assistant", "content": [{"type": "text", "text": _prose(random, size // 4)}]},
    ]


def _pictures(random: Random, size: int) -> Iterator[Json]:
    for _ in range(max(1, size // (PICTURE * 4 // 3))):
        data = base64.b64encode(random.randbytes(PICTURE)).decode()
        source = {"type": "base64", "media_type": "image/png", "data": data}
        yield {"role": "user", "content": [{"type": "image", "source": source}]}
        yield {"role": "assistant", "content": "I see a page of a report."}


def _prose(random: Random, size: int) -> str:
    words: list[str] = []
    while size > 0:
        words.append(random.choice(_WORDS))
        size -= len(words[-1]) + 1
        if len(words) % 12 == 0:
            words.append("\n")
    return " ".join(words) or "Yes."


def _marker() -> Json:
    return {"cache_control": {"type": "ephemeral"}}
