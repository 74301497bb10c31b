"""Fallback credits: the token of a refusal, and its redemption on another model.

Under its beta a refusal of a model that has fallbacks carries a token. Redeemed within five minutes, by the
same account and workspace, on one of those models, with the same request or with the same request and what
was said before the refusal as one more assistant turn, the retry is billed as if the conversation had always
been there. A token that does not fit is a 400 that names it, or with `mode: best_effort` a note in `usage`. A
malformed token is a 400 always. Batches ignore tokens.

Nothing is remembered: all that is compared is sealed into the token.
"""

import base64
import hashlib
from dataclasses import replace
from typing import Any

from gateway.core.types import parse_json, to_json
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.bindings.prefix import as_blocks
from gateway.simulator.rules.bindings.stamps import digest, is_thinking
from gateway.simulator.rules.case import EXTRA, ApiError, Case, Json
from gateway.simulator.rules.options import FALLBACKS

BETA, OBJECT_BETA = "fallback-credit-", "fallback-credit-2026-07-01"
LIFE_S = 300.0
FIELD = "fallback_credit_token"
SAME = ("system", "messages", "tools", "tool_choice", "thinking", "output_config", "output_format")
"""What a retry must repeat."""


def offered(case: Case, reply: Reply, now: float) -> Reply:
    """A refusal with its token, where there is one."""
    asked = any(beta.startswith(BETA) for beta in case.betas)
    if reply.stop_reason != "refusal" or not asked or case.model.id not in FALLBACKS or case.batched:
        return reply
    continued = _continuable(case, reply)
    fields = [
        case.account,
        case.workspace,
        case.model.id,
        now,
        _body(case.body),
        _turn(reply.content) if continued else "",
    ]
    token = base64.b64encode(to_json([*fields, digest(to_json(fields))])).decode()
    details = {FIELD: token, "fallback_has_prefill_claim": continued}
    return replace(reply, stop_details={**(reply.stop_details or {}), **details})


def redeemed(case: Case, reply: Reply, now: float) -> Reply:
    """An answer that says what became of the token in its request; raises ApiError where that is a 400."""
    given = case.body.get(FIELD)
    if given is None or case.batched:
        return reply
    token, lenient = _read(case, given)
    why = _unfit(case, token, now)
    if why and not lenient:
        raise ApiError(400, f"{FIELD}: the token cannot be redeemed: {why}")
    status = {"type": "not_applied", "reason": why} if why else {"type": "redeemed"}
    return replace(reply, usage={**reply.usage, "fallback_credit": {"status": status}})


def _read(case: Case, given: Any) -> tuple[list[Any], bool]:
    """The fields of a token, and whether a token that does not fit is forgiven."""
    lenient = False
    if isinstance(given, dict):
        if OBJECT_BETA not in case.betas:
            raise ApiError(400, f"{FIELD}: Input should be a valid string")
        if extra := [key for key in given if key not in ("token", "mode")]:
            raise ApiError(400, f"{FIELD}.{extra[0]}: {EXTRA}")
        if given.get("mode") not in (None, "strict", "best_effort"):
            raise ApiError(400, f"{FIELD}.mode: Input should be 'strict' or 'best_effort'")
        given, lenient = given.get("token"), given.get("mode") == "best_effort"
    try:
        *fields, seal = parse_json(base64.b64decode(str(given), validate=True))
    except (ValueError, TypeError):
        fields, seal = [], None
    if seal != digest(to_json(fields)):
        raise ApiError(400, f"{FIELD}: the token is malformed")
    return fields, lenient


def _unfit(case: Case, token: list[Any], now: float) -> str | None:
    """Why a token is not redeemed here."""
    account, workspace, refused, minted_at, body, turn = token
    if account != case.account:
        return "wrong_organization"
    if workspace != case.workspace:
        return "wrong_workspace"
    if now > minted_at + LIFE_S:
        return "expired"
    if case.model.id not in FALLBACKS.get(refused, ()):
        return "invalid_target_model"
    last = case.messages[-1]
    if _body(case.body) == body:
        return None
    without = {**case.body, "messages": case.messages[:-1]}
    continues = turn and last["role"] == "assistant" and _turn(as_blocks(last["content"])) == turn
    return None if continues and _body(without) == body else "body_mismatch"


def _body(body: Json) -> str:
    fields = [[name, body[name]] for name in SAME if body.get(name) is not None]
    return hashlib.sha256(to_json(fields)).hexdigest()


def _continuable(case: Case, reply: Reply) -> bool:
    """Whether there are words to go on from, in a form in which that is allowed."""
    said = any(block["type"] == "text" and block["text"].strip() for block in reply.content)
    return said and case.output_format is None and not case.forces_tool


def _turn(content: list[Json]) -> str:
    """The turn that may be appended: what was said, without thinking and calls that nobody answered."""
    kept = [block for block in content if not is_thinking(block) and block["type"] != "tool_use"]
    texts = [block["text"] if block["type"] == "text" else to_json(block).decode() for block in kept]
    return digest("\n".join(texts).rstrip().encode())
