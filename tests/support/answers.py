"""Answers as a client reads them: a stream folded into the message that it tells."""

import json
from typing import Any

Json = dict[str, Any]


def events(text: str) -> list[tuple[str, Json]]:
    """The events of a stream with their data, in order."""
    found: list[tuple[str, Json]] = []
    for part in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def folded(text: str) -> Json:
    """The message that a stream tells; fails where it tells none, or not to its end."""
    told = events(text)
    names = [name for name, _ in told]
    assert names[0] == "message_start", names
    assert names[-1] == "message_stop", names
    assert "error" not in names
    message: Json = told[0][1]["message"]
    for name, data in told:
        if name == "content_block_start":
            assert data["index"] == len(message["content"]), "indices have a gap"
            message["content"].append({**data["content_block"], "json": ""})
        elif name == "content_block_delta":
            _grow(message["content"][data["index"]], data["delta"])
        elif name == "message_delta":
            message |= data["delta"]
            message["usage"] |= data["usage"]
    message["content"] = [_whole(block) for block in message["content"]]
    return message


def _grow(block: Json, delta: Json) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] += delta["signature"]
        case "input_json_delta":
            block["json"] += delta["partial_json"]
        case "compaction_delta":
            block["content"] = delta["content"]


def _whole(block: Json) -> Json:
    text = block.pop("json")
    return {**block, "input": json.loads(text)} if text else block


def text_of(message: Json) -> str:
    """Everything that a message says."""
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")
