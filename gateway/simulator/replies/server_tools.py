"""What the server does on its own in the middle of a turn: searching, fetching, running code.

It does so when the last turn asks for one of its tools by name ("use web_search"), once per turn. "pause the
turn" makes it stop behind its result (`pause_turn`); sent back as the last message, the turn goes on from
there. A result is a block of the kind that the tool has, with a made-up content.
"""

import hashlib
import re
from collections.abc import Mapping

from gateway.simulator.rules.case import Case, Json

PAUSE = re.compile(r"\bpause the turn\b", re.IGNORECASE)

INPUTS: Mapping[str, Json] = {
    "web_search": {"query": "the question"},
    "web_fetch": {"url": "https://example.com/"},
    "code_execution": {"code": "print(1)"},
}
"""The tools of the server that are understood, by the beginning of their type, and what goes in."""
COUNTED: Mapping[str, str] = {"web_search": "web_search_requests", "web_fetch": "web_fetch_requests"}


def tool_asked_for(case: Case, text: str) -> str | None:
    """The server's tool that a text asks for, if the request offers it."""
    for tool in case.body.get("tools") or []:
        for name in INPUTS:
            asked = rf"(?i)\b(?:use|call|invoke)s?\b[^.\n]{{0,80}}\b{name}\b"
            if str(tool.get("type")).startswith(f"{name}_") and re.search(asked, text):
                return name
    return None


def resumes(case: Case) -> bool:
    """Whether a paused turn is sent back to be continued."""
    last = case.messages[-1]
    content = last["content"] if isinstance(last["content"], list) else []
    kind = str(content[-1].get("type")) if content else ""
    result = kind.endswith("_tool_result") and kind != "tool_result"
    return last["role"] == "assistant" and (kind == "server_tool_use" or result)


def round_of(name: str, seed: bytes) -> list[Json]:
    """The call of a server's tool and its result."""
    call = f"srvtoolu_01{hashlib.sha256(seed + name.encode()).hexdigest()[:22]}"
    return [
        {"type": "server_tool_use", "id": call, "name": name, "input": INPUTS[name]},
        {"type": f"{name}_tool_result", "tool_use_id": call, "content": _content(name, seed)},
    ]


def usage_of(name: str) -> Json:
    """What `usage` says of it."""
    counts = {counter: int(counter == COUNTED.get(name)) for counter in COUNTED.values()}
    return {"server_tool_use": counts}


def _content(name: str, seed: bytes) -> Json | list[Json]:
    opaque = hashlib.sha256(seed).hexdigest()
    if name == "web_search":
        found = {"type": "web_search_result", "url": "https://example.com/", "title": "An example"}
        return [{**found, "encrypted_content": opaque, "page_age": None}]
    if name == "web_fetch":
        source = {"type": "text", "media_type": "text/plain", "data": "An example."}
        document = {"type": "document", "source": source, "title": "An example"}
        fetched = {"type": "web_fetch_result", "url": "https://example.com/", "content": document}
        return {**fetched, "retrieved_at": "2026-11-20T00:00:00Z"}
    outcome = {"type": "code_execution_result", "stdout": "1\n", "stderr": "", "return_code": 0}
    return {**outcome, "content": []}
