"""Conversations that the upstream holds between turns: `thread`, as a request and its answer name it.

`create` brings the whole conversation and leaves it with the upstream under the id of its answer; `continue`
names that id and brings the new turns only. A thread is bound to the model and the options that began it, so
who continues one is to be served by the model that gave the answer it names.
"""

from msgspec import Raw, Struct

from gateway.compat.envelope import Envelope, Fields, read
from gateway.core.sse import SseEvent


class _Thread(Struct, frozen=True):
    type: str
    previous_message_id: str | None = None


class _Named(Struct, frozen=True):
    id: str


def leaves_thread(envelope: Envelope) -> bool:
    """Tell whether the upstream is asked to keep the conversation for its next turn."""
    return read(envelope.fields.get("thread"), _Thread) is not None


def continued(envelope: Envelope) -> str | None:
    """Return the id of the answer that a request goes on from; None where it brings its whole history."""
    thread = read(envelope.fields.get("thread"), _Thread)
    if thread is None or thread.type != "continue":
        return None
    return thread.previous_message_id or ""


def id_of(message: bytes) -> str:
    """Return the id of a whole answer; empty where it has none."""
    named = read(Raw(message), _Named)
    return named.id if named else ""


def id_in(event: SseEvent) -> str:
    """Return the id of the answer that an event of a stream begins; empty where it begins none."""
    if event.name != "message_start":
        return ""
    fields = read(Raw(event.data), Fields) or {}
    return id_of(bytes(fields.get("message", Raw(b"null"))))


class _Details(Struct, frozen=True):
    error_code: str = ""


class _Error(Struct, frozen=True):
    details: _Details | None = None


class _Refusal(Struct, frozen=True):
    error: _Error


def is_anothers(body: bytes) -> bool:
    """Tell whether an error says that the thread belongs to another model or to other options."""
    refusal = read(Raw(body), _Refusal)
    details = refusal.error.details if refusal else None
    return details is not None and details.error_code == "thread_fingerprint_mismatch"
