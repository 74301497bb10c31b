"""Signatures: what a simulated model seals into a thinking block that it makes.

A signature names the model, and on newer models the account, the end user, a digest of the conversation that
came before the block and the thinking block before it (`prefix`). The text and its real size are sealed too,
so an edited block is noticed and a hidden one still has its weight.

Identifiers of tool calls carry a mark when thinking came before the call: the only trace that is left of
thinking which a client filters out.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from gateway.core.types import parse_json, to_json

DIGEST_CHARACTERS = 24
CALL_PREFIX = "toolu_01"
CALL_CHARACTERS, MARK_CHARACTERS = 16, 6


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a signature says."""

    producer: str
    """The id of the model."""
    text: str
    """Digest of the block's text."""
    tokens: int = 0
    """The size of the thinking, shown or not."""
    account: str = ""
    """The organisation that it belongs to, where the model binds to one."""
    end_user: str = ""
    prefix: str = ""
    """Digest of the conversation before it; empty: no record of one."""
    previous: str = ""
    """The thinking block before it; empty: there was none."""
    trail: str = ""
    """The digests of the conversation's beginnings, message by message, cut to `TRAIL_CHARACTERS` each."""

    def sealed(self) -> str:
        """The signature."""
        values = [
            self.producer,
            self.text,
            self.tokens,
            self.account,
            self.end_user,
            self.prefix,
            self.previous,
            self.trail,
        ]
        return base64.b64encode(to_json([*values, digest(to_json(values))])).decode()


def read(signature: str) -> Stamp | None:
    """What a signature says; None if nobody sealed it."""
    try:
        *values, seal = parse_json(base64.b64decode(signature, validate=True))
        stamp = Stamp(*values)
    except (ValueError, TypeError):
        return None
    return stamp if seal == digest(to_json(values)) else None


def summary_seal(summary: str) -> str:
    """The signature of a summary that was asked for."""
    return digest(f"compaction {summary}".encode())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS]


def name_of(block: dict[str, Any]) -> str:
    """What the thinking block behind it knows a block by."""
    return digest(sealed_in(block).encode())[:12]


def sealed_in(block: dict[str, Any]) -> str:
    """The signature of a thinking block, shown or redacted."""
    return str(block["signature"] if block["type"] == "thinking" else block["data"])


def is_thinking(block: dict[str, Any]) -> bool:
    return block.get("type") in ("thinking", "redacted_thinking")


def call_id(model_id: str, seed: str, *, thought: bool) -> str:
    """The id of a tool call; it tells `model_id` whether thinking came before it."""
    own = seed[:CALL_CHARACTERS]
    mark = _mark(model_id, own) if thought else seed[CALL_CHARACTERS : CALL_CHARACTERS + MARK_CHARACTERS]
    return f"{CALL_PREFIX}{own}{mark}"


def was_thought_before(call: str, model_ids: frozenset[str]) -> bool:
    """Whether one of these models made this call after it had thought."""
    own, mark = call.removeprefix(CALL_PREFIX)[:CALL_CHARACTERS], call[-MARK_CHARACTERS:]
    return call.startswith(CALL_PREFIX) and any(_mark(model, own) == mark for model in model_ids)


def _mark(model_id: str, own: str) -> str:
    return digest(f"{model_id} thought before {own}".encode())[:MARK_CHARACTERS]
