"""A model that thinks before each answer, and an application that never asked for it."""

import asyncio
import json
from dataclasses import replace
from typing import Any

from gateway.store.notebook import Notebook
from tests.support.plane import O45, SPEC, STREAM_HEAD, Heard, Process, chunk, error, event, message
from tests.support.scripted import Request, answer

O55 = "claude-opus-5-5"
AGEING = replace(SPEC, candidate=O55)
THOUGHT_TEXT = "Mrs Miller wants her money back"
Json = dict[str, Any]


class Thinker:
    """An upstream whose newer model thinks before each answer, and signs it with a number of its own."""

    def __init__(self) -> None:
        self.asked: list[Json] = []
        self.broken: set[str] = set()
        """Models that are overloaded."""

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body)
        self.asked.append(asked)
        number = len(self.asked)
        if asked["model"] in self.broken:
            writer.write(answer(error("overloaded_error"), status="529 X"))
        elif b"count_tokens" in request.line:
            writer.write(answer(b'{"input_tokens": 7}'))
        elif asked.get("stream"):
            writer.write(STREAM_HEAD + b"".join(chunk(each) for each in self.events(number, asked["model"])))
            writer.write(chunk(b""))
        else:
            content = [self.thought(number), {"type": "text", "text": f"answer {number}"}]
            content = content if asked["model"] == O55 else content[1:]
            writer.write(answer(message(content=content)))

    def thought(self, number: int) -> Json:
        return {"type": "thinking", "thinking": THOUGHT_TEXT, "signature": f"  sig+{number}=="}

    def events(self, number: int, model: str) -> list[bytes]:
        thought = self.thought(number)
        thinking = [
            event("content_block_start", index=0, content_block={**thought, "thinking": "", "signature": ""}),
            event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": THOUGHT_TEXT}),
            event(
                "content_block_delta",
                index=0,
                delta={"type": "signature_delta", "signature": thought["signature"]},
            ),
            event("content_block_stop", index=0),
        ]
        return [
            event("message_start", message={"id": "msg_1", "model": model, "usage": {"input_tokens": 10}}),
            *thinking,
            event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
            event("content_block_delta", index=1, delta={"type": "text_delta", "text": f"answer {number}"}),
            event("content_block_stop", index=1),
            event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}),
            event("message_stop"),
        ]


class Talk:
    """A conversation of an application that never asked for thinking."""

    def __init__(self, process: Process, thinker: Thinker, unit: str = "u", **fields: Any) -> None:
        self.process, self.thinker, self.unit, self.fields = process, thinker, unit, fields
        self.turns: list[Json] = []
        self.said = 0
        self.heard = Heard()

    async def say(self, path: str = "/v1/messages", begin: str = "") -> Json:
        """Say something, take the answer into the history, and return what the upstream was sent last.

        `begin` is how the answer is to begin.
        """
        self.said += 1
        asked = [*self.turns, {"role": "user", "content": f"question {self.said}"}]
        sent = [*asked, {"role": "assistant", "content": begin}] if begin else asked
        body = json.dumps({"model": O45, "max_tokens": 64, "messages": sent, **self.fields}).encode()
        self.heard = await self.process.post(body, path, x_gateway_unit=self.unit)
        assert self.heard.status == 200, self.heard.body
        if path == "/v1/messages":
            content = self.heard.json["content"]
            whole = [{"type": "text", "text": begin + content[0]["text"]}] if begin else content
            self.turns = [*asked, {"role": "assistant", "content": whole}]
        return self.thinker.asked[-1]

    @property
    def rewrites(self) -> str:
        return self.heard.headers["x-gateway-rewrites"]


def thoughts(asked: Json) -> list[str]:
    """Return the signatures in a request, in order."""
    blocks = [
        block for turn in asked["messages"] if isinstance(turn["content"], list) for block in turn["content"]
    ]
    return [block["signature"].strip() for block in blocks if block["type"] == "thinking"]


def another_replica(process: Process) -> None:
    """Go on as a process that shares the store and remembers nothing."""
    process.plane.notebook = Notebook(process.store, secret=b"fleet", on_error=lambda operation: None)
