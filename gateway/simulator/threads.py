"""Conversations that the API holds between turns: `thread`, under its beta.

`{"type": "create"}` keeps the conversation under the id of its answer. `{"type": "continue",
"previous_message_id": …}` brings the new turns only; system and tools are the thread's, and what is judged
and answered is the whole conversation.

A thread belongs to the workspace, the model and the options that it was created with (`BOUND`, and a
container's skills) and to its betas: with others it cannot be continued (400), and for another workspace it
is not there. One that is not known, was idle for `IDLE_S` or is older than `LIFE_S` is a 404. An answer is
continued once, and by one request at a time. Declined answers, those of a fallback and calls without room for
their whole input are not kept. Summaries do not go with threads.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.core.types import to_json
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.case import ApiError, Case, Head, Json

BETA = "message-threads-"
IDLE_S = 300.0
LIFE_S = 3600.0
MAX_THREADS = 1000
BOUND = (
    "cache_control", "context_management", "mcp_servers", "model", "output_config", "thinking", "tool_choice",
)  # fmt: skip
HELD = ("system", "tools")
COMPACTING = "compact_20260112"


@dataclass(slots=True)
class _Thread:
    """A conversation up to one answer."""

    account: str
    workspace: str
    fingerprint: str
    fields: Json
    """System and tools."""
    messages: list[Json]
    begun_at: float
    kept_at: float
    continued: bool = False
    in_flight: bool = False
    """Whether a request that continues it is being answered."""


class Threads:
    """The conversations that are held, the oldest forgotten first."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, _Thread] = OrderedDict()

    @contextmanager
    def held(self, body: Json, head: Head, now: float) -> Iterator[Json]:
        """Give the request with the turns that are held for it, and hold the thread for it alone meanwhile;
        raises ApiError where it cannot go on.
        """
        whole = self.whole(body, head, now)
        thread = self._continued_by(body, head) if whole is not body else None
        if thread is not None:
            thread.in_flight = True
        try:
            yield whole
        finally:
            if thread is not None:
                thread.in_flight = False

    def whole(self, body: Json, head: Head, now: float) -> Json:
        """The request with the turns that are held for it; raises ApiError where it cannot go on."""
        asked = _asked(body, head.betas)
        if asked is None:
            return body
        _check_supported(body, head)
        if asked.get("type") == "create" or not isinstance(body.get("messages"), list):
            return body
        if asked.get("type") != "continue":
            raise ApiError(400, "thread.type: Input should be 'create' or 'continue'")
        previous = asked.get("previous_message_id")
        thread = self._continued_by(body, head)
        if thread is None or now - thread.kept_at > IDLE_S or now - thread.begun_at > LIFE_S:
            raise ApiError(404, f"thread: no thread for {previous}", error_code="thread_not_found")
        for name in HELD:
            if name in body:
                raise ApiError(400, f"{name}: a thread keeps its own and takes no other")
        if thread.fingerprint != _fingerprint(body, head.betas):
            message = "thread: a thread cannot be continued with another model or other options"
            raise ApiError(400, message, error_code="thread_fingerprint_mismatch")
        if thread.in_flight:
            message = f"thread: another request is still continuing {previous}"
            raise ApiError(400, message, error_code="thread_continue_in_flight")
        if thread.continued:
            message = f"thread: {previous} was continued already"
            raise ApiError(400, message, error_code="thread_already_continued")
        return {**body, **thread.fields, "messages": [*thread.messages, *body["messages"]]}

    def keep(self, case: Case, reply: Reply, message_id: str, now: float) -> None:
        """Hold an accepted request with its answer, if it asks for that."""
        asked = _asked(case.body, case.betas)
        if asked is None or reply.stop_reason == "refusal" or _cut_in_a_call(reply) or _fell_back(reply):
            return
        previous = self._threads.get(str(asked.get("previous_message_id")))
        if previous is not None:
            previous.continued = True
        self._threads[message_id] = _Thread(
            account=case.account,
            workspace=case.workspace,
            fingerprint=_fingerprint(case.body, case.betas),
            fields={name: case.body[name] for name in HELD if name in case.body},
            messages=[*case.messages, {"role": "assistant", "content": reply.content}],
            begun_at=previous.begun_at if previous else now,
            kept_at=now,
        )
        if len(self._threads) > MAX_THREADS:
            self._threads.popitem(last=False)

    def _continued_by(self, body: Json, head: Head) -> _Thread | None:
        """The thread that a request of this account continues."""
        previous = body["thread"].get("previous_message_id")
        thread = self._threads.get(previous) if isinstance(previous, str) else None
        owner = (thread.account, thread.workspace) if thread is not None else None
        return thread if owner == (head.account, head.workspace) else None


def _asked(body: Json, betas: frozenset[str]) -> Json | None:
    """What a request says of its thread; without the beta the field is the rules' to refuse."""
    thread = body.get("thread")
    known = any(beta.startswith(BETA) for beta in betas)
    return thread if known and isinstance(thread, dict) else None


def _check_supported(body: Json, head: Head) -> None:
    """Raise what does not go with threads."""
    management = body.get("context_management")
    edits = management.get("edits") if isinstance(management, dict) else None
    kinds = [edit.get("type") for edit in edits or () if isinstance(edit, dict)]
    unsupported = ["context_management"] if COMPACTING in kinds else []
    if body.get("fallbacks") is not None and not head.switches.threads_take_fallbacks:
        unsupported.append("fallbacks")
    if unsupported or body.get("compaction") is not None:
        raise ApiError(
            400,
            f"thread: cannot be combined with {', '.join(unsupported) or 'compaction'}",
            error_code="thread_unsupported_request",
            details={"unsupported": unsupported} if unsupported else None,
        )


def _fingerprint(body: Mapping[str, object], betas: frozenset[str]) -> str:
    bound = [[name, body[name]] for name in BOUND if body.get(name) is not None]
    container = body.get("container")
    skills = container.get("skills") if isinstance(container, dict) else None
    return hashlib.sha256(to_json([bound, skills, sorted(betas)])).hexdigest()


def _cut_in_a_call(reply: Reply) -> bool:
    calls = reply.content[-1:] and reply.content[-1]["type"] == "tool_use"
    return bool(calls) and reply.stop_reason in ("max_tokens", "model_context_window_exceeded")


def _fell_back(reply: Reply) -> bool:
    return any(entry["type"] == "fallback_message" for entry in reply.usage.get("iterations", ()))
