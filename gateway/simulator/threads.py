"""Conversations that the API holds between turns: `thread`, under its beta.

`{"type": "create"}` keeps the conversation under the id of its answer. `{"type": "continue",
"previous_message_id": …}` brings the new turns only; system and tools are the thread's, and what is judged
and answered is the whole conversation.

A thread belongs to the model and the options that it was created with (`BOUND`) and to its betas: with
others it cannot be continued (400). One that is not known, or was idle for `IDLE_S`, is a 404. An answer is
continued once. Declined answers and calls without room for their whole input are not kept.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.types import to_json
from gateway.simulator.replies.compose import Reply
from gateway.simulator.rules.case import ApiError, Case, Json

BETA = "message-threads-"
IDLE_S = 300.0
MAX_THREADS = 1000
BOUND = (
    "cache_control", "container", "context_management", "mcp_servers", "model", "output_config", "thinking",
    "tool_choice",
)  # fmt: skip
HELD = ("system", "tools")


@dataclass(slots=True)
class _Thread:
    """A conversation up to one answer."""

    fingerprint: str
    fields: Json
    """System and tools."""
    messages: list[Json]
    kept_at: float
    continued: bool = False


class Threads:
    """The conversations that are held, the oldest forgotten first."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, _Thread] = OrderedDict()

    def whole(self, body: Json, betas: frozenset[str], now: float) -> Json:
        """The request with the turns that are held for it; raises ApiError where it cannot go on."""
        asked = _asked(body, betas)
        if asked is None or asked.get("type") == "create" or not isinstance(body.get("messages"), list):
            return body
        if asked.get("type") != "continue":
            raise ApiError(400, "thread.type: Input should be 'create' or 'continue'")
        previous = asked.get("previous_message_id")
        thread = self._threads.get(previous) if isinstance(previous, str) else None
        if thread is None or now - thread.kept_at > IDLE_S:
            raise ApiError(404, f"thread: no thread for {previous}", error_code="thread_not_found")
        for name in HELD:
            if name in body:
                raise ApiError(400, f"{name}: a thread keeps its own and takes no other")
        if thread.fingerprint != _fingerprint(body, betas):
            message = "thread: a thread cannot be continued with another model or other options"
            raise ApiError(400, message, error_code="thread_fingerprint_mismatch")
        if thread.continued:
            message = f"thread: {previous} was continued already"
            raise ApiError(400, message, error_code="thread_already_continued")
        return {**body, **thread.fields, "messages": [*thread.messages, *body["messages"]]}

    def keep(self, case: Case, reply: Reply, message_id: str, now: float) -> None:
        """Hold an accepted request with its answer, if it asks for that."""
        asked = _asked(case.body, case.betas)
        if asked is None or reply.stop_reason == "refusal" or _cut_in_a_call(reply):
            return
        if (previous := self._threads.get(str(asked.get("previous_message_id")))) is not None:
            previous.continued = True
        self._threads[message_id] = _Thread(
            fingerprint=_fingerprint(case.body, case.betas),
            fields={name: case.body[name] for name in HELD if name in case.body},
            messages=[*case.messages, {"role": "assistant", "content": reply.content}],
            kept_at=now,
        )
        if len(self._threads) > MAX_THREADS:
            self._threads.popitem(last=False)


def _asked(body: Json, betas: frozenset[str]) -> Json | None:
    """What a request says of its thread; without the beta the field is the rules' to refuse."""
    thread = body.get("thread")
    known = any(beta.startswith(BETA) for beta in betas)
    return thread if known and isinstance(thread, dict) else None


def _fingerprint(body: Mapping[str, object], betas: frozenset[str]) -> str:
    bound = [[name, body[name]] for name in BOUND if body.get(name) is not None]
    return hashlib.sha256(to_json([bound, sorted(betas)])).hexdigest()


def _cut_in_a_call(reply: Reply) -> bool:
    calls = reply.content[-1:] and reply.content[-1]["type"] == "tool_use"
    return bool(calls) and reply.stop_reason == "max_tokens"
